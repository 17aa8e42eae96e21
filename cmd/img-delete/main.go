// Img-delete is one tool of imgtools: see img-delete(1).
package main

import (
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/delete"
)

func main() { cli.Main(delete.Tool()) }
