// Img-list-tags is one tool of imgtools: see img-list-tags(1).
package main

import (
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/listtags"
)

func main() { cli.Main(listtags.Tool()) }
