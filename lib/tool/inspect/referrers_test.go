package inspect

import (
	"bytes"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
)

// A person sees the shape of it, and only what has to do with attachments.
func TestReferrersTree(t *testing.T) {
	c := imagetest.Signed()
	root, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = root.Grow(t.Context(), c.Source(), nil)
	}
	if err == nil {
		err = root.Attach(t.Context(), c.Source(), image.With{Referrers: true, Tags: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := newNode(root).print(&out, 0); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		_, rest, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		rest, _, _ = strings.Cut(rest, "sha256-")
		got = append(got, indent+rest)
	}
	want := map[string]bool{
		"":              true,
		"  linux/amd64": true,
		"    application/vnd.oci.image.config.v1+json ":     true,
		"  application/spdx+json":                           true,
		"    application/vnd.dev.sigstore.bundle.v0.3+json": true,
		"  application/vnd.dev.sigstore.bundle.v0.3+json":   true,
	}
	if len(got) != len(want) {
		t.Errorf("printed\n%s", out.String())
	}
	for _, line := range got {
		if !want[line] {
			t.Errorf("line %q is not wanted in\n%s", line, out.String())
		}
	}
}
