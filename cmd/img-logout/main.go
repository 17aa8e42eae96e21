// Img-logout is one tool of imgtools: see img-logout(1).
package main

import (
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/login"
)

func main() { cli.Main(login.Logout()) }
