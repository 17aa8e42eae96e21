// Img-inspect is one tool of imgtools: see img-inspect(1).
package main

import (
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/inspect"
)

func main() { cli.Main(inspect.Tool()) }
