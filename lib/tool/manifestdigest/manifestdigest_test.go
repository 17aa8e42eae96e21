package manifestdigest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// From a file, from "-" and from nothing the digest is that of the exact bytes.
func TestTool(t *testing.T) {
	c := imagetest.Index()
	raw := c.Manifests[c.Root.Digest].Bytes
	dir := t.TempDir()
	path := filepath.Join(dir, "manifest.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		out  string
		err  string
	}{
		{nil, 0, c.Root.Digest.String() + "\n", ""},
		{[]string{"-"}, 0, c.Root.Digest.String() + "\n", ""},
		{[]string{path}, 0, c.Root.Digest.String() + "\n", ""},
		{[]string{path, path}, cli.CodeUsage, "", "want one FILE"},
		{[]string{path + ".none"}, cli.CodeNotFound, "", path + ".none"},
		{[]string{dir}, cli.CodeFailed, "", "is a directory"},
	} {
		var out, errs bytes.Buffer
		code := Tool().Execute(t.Context(), &cli.IO{In: bytes.NewReader(raw), Out: &out, Err: &errs}, tt.args)
		if code != tt.code || out.String() != tt.out || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("img-manifest-digest %q: exit %d, %q, %s", tt.args, code, out.String(), errs.String())
		}
	}
}

// What is longer than a manifest may be is not read to its end.
func TestDigestTooLarge(t *testing.T) {
	r := strings.NewReader(strings.Repeat(" ", oci.MaxManifest+1000))
	if _, err := Digest(r); !errors.Is(err, blob.ErrTooLarge) || r.Len() < 900 {
		t.Errorf("Digest = %v with %d bytes left; want %v", err, r.Len(), blob.ErrTooLarge)
	}
}
