// Img-manifest-digest is one tool of imgtools: see img-manifest-digest(1).
package main

import (
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/manifestdigest"
)

func main() { cli.Main(manifestdigest.Tool()) }
