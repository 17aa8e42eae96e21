// Img-login is one tool of imgtools: see img-login(1).
package main

import (
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/login"
)

func main() { cli.Main(login.Login()) }
