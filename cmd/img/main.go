// Img is all the tools in one binary: it runs the one that it is called as, or
// that its first argument names. See img(1).
package main

import (
	"os"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool/copy"
	"github.com/imgtools/imgtools/lib/tool/delete"
	"github.com/imgtools/imgtools/lib/tool/inspect"
	"github.com/imgtools/imgtools/lib/tool/listtags"
	"github.com/imgtools/imgtools/lib/tool/login"
	"github.com/imgtools/imgtools/lib/tool/manifestdigest"
	"github.com/imgtools/imgtools/lib/tool/skopeo"
)

func main() {
	os.Exit(cli.Multi("img", os.Args, entries()))
}

func entries() []cli.Entry {
	return []cli.Entry{
		{Name: "img-copy", Tool: copy.Tool},
		{Name: "img-delete", Tool: delete.Tool},
		{Name: "img-inspect", Tool: inspect.Tool},
		{Name: "img-list-tags", Tool: listtags.Tool},
		{Name: "img-login", Tool: login.Login},
		{Name: "img-logout", Tool: login.Logout},
		{Name: "img-manifest-digest", Tool: manifestdigest.Tool},
		{Name: "skopeo", Main: skopeo.Main, Short: "a drop-in for skopeo"},
	}
}
