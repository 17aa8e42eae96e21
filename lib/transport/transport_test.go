package transport

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// Every transport obeys the same law, under the names that users write.
func TestTransports(t *testing.T) {
	for transport, name := range map[string]func(t *testing.T) string{
		"docker": func(t *testing.T) string {
			return "docker://" + registrytest.Start(t, registrytest.Options{}).Addr + "/a/b:c"
		},
		"oci":            func(t *testing.T) string { return "oci:" + filepath.Join(t.TempDir(), "new") + ":tag" },
		"dir":            func(t *testing.T) string { return "dir:" + filepath.Join(t.TempDir(), "new") },
		"oci-archive":    func(t *testing.T) string { return "oci-archive:" + filepath.Join(t.TempDir(), "x.tar") + ":tag" },
		"docker-archive": func(t *testing.T) string { return "docker-archive:" + filepath.Join(t.TempDir(), "x.tar") + ":a/b:c" },
	} {
		t.Run(transport, func(t *testing.T) {
			imagetest.TestPlace(t, func(t *testing.T) imagetest.Place { return placeOf(t, name(t)) })
		})
	}
}

func placeOf(t *testing.T, name string) imagetest.Place {
	n, err := Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return imagetest.Place{
		Create: func(t *testing.T) image.Destination {
			dst, err := n.Destination(t.Context(), &Access{})
			if err != nil {
				t.Fatal(err)
			}
			return dst
		},
		Open: func(t *testing.T) (image.Source, error) { return n.Source(t.Context(), &Access{}) },
	}
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	for _, s := range []string{"-", "oci:" + dir, "oci:" + dir + ":a/b", "dir:" + dir + ":x@y", "oci-archive:x.tar", "docker-archive:x.tar:docker.io/a/b:c"} {
		if n, err := Parse(s); err != nil || n.String() != s {
			t.Errorf("Parse(%q) = %v, %v", s, n, err)
		}
	}
	for s, want := range map[string]struct {
		err  error
		text string
	}{
		"foo":            {reference.ErrNoTransport, `Invalid image name "foo", expected colon-separated transport:reference`},
		"foo:bar":        {ErrTransport, `Invalid image name "foo:bar", unknown transport "foo"`},
		"docker:x":       {reference.ErrFormat, "docker: image reference x does not start with //"},
		"docker://A/b:c": {reference.ErrFormat, "invalid reference format: repository name must be lowercase"},
	} {
		if _, err := Parse(s); !errors.Is(err, want.err) || err.Error() != want.text {
			t.Errorf("Parse(%q) = %v; want %s", s, err, want.text)
		}
	}
	if _, err := Parse("dir:" + dir + "/no/such"); err == nil {
		t.Errorf("a directory whose parent does not exist was taken")
	}
}

// What a tool prints of a copy names exactly that copy, and can be read.
func TestPinned(t *testing.T) {
	c := imagetest.Image()
	addr := registrytest.Start(t, registrytest.Options{}).Addr
	for _, name := range []string{
		"docker://" + addr + "/a/b:c",
		"oci:" + filepath.Join(t.TempDir(), "new") + ":tag",
		"oci:" + filepath.Join(t.TempDir(), "new"),
		"dir:" + filepath.Join(t.TempDir(), "new"),
		"oci-archive:" + filepath.Join(t.TempDir(), "x.tar") + ":tag",
		"docker-archive:" + filepath.Join(t.TempDir(), "x.tar") + ":a/b:c",
	} {
		p := placeOf(t, name)
		dst := p.Create(t)
		if err := imagetest.Send(t.Context(), dst, c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		dst.Close()
		n, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		for d, ok := range map[digest.Digest]bool{c.Root.Digest: true, imagetest.Docker().Root.Digest: false} {
			pinned := n.Pinned(d)
			src, err := placeOf(t, pinned).Open(t)
			if err == nil {
				err = imagetest.Check(t.Context(), src, c)
				src.Close()
			}
			if (err == nil) != ok {
				t.Errorf("reading %s: %v", pinned, err)
			}
		}
	}
}

func TestScopes(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct{ transport, first string }{
		"docker://busybox":              {"docker", "docker.io/library/busybox:latest"},
		"oci:" + dir + ":x":             {"oci", dir},
		"dir:" + dir:                    {"dir", dir},
		"oci-archive:" + dir + "/x:tag": {"oci-archive", dir + "/x"},
	} {
		n, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		transport, scopes := Scopes(n)
		if transport != want.transport || len(scopes) == 0 || scopes[0] != want.first {
			t.Errorf("Scopes(%s) = %s, %q", name, transport, scopes)
		}
		if slices.Contains(scopes, "") || slices.Contains(scopes, "/") {
			t.Errorf("Scopes(%s) = %q", name, scopes)
		}
	}
}
