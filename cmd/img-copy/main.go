// Img-copy is one tool of imgtools: see img-copy(1).
package main

import (
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/copy"
)

func main() { cli.Main(copy.Tool()) }
