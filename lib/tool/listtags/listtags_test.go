package listtags

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// run is what a user sees of img-list-tags.
func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	return runTool(t, Tool(), args...)
}

func runTool(t *testing.T, tl *cli.Tool, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = tl.Execute(t.Context(), &cli.IO{In: strings.NewReader(""), Out: &o, Err: &e}, args)
	return code, o.String(), e.String()
}

// lines joins words to lines.
func lines(words string) string {
	var b strings.Builder
	for w := range strings.FieldsSeq(words) {
		b.WriteString(w + "\n")
	}
	return b.String()
}

func TestRegistry(t *testing.T) {
	c := imagetest.Image()
	s := registrytest.Start(t, registrytest.Options{PageSize: 3})
	sig := oci.ReferrersTag(c.Root.Digest) + ".sig"
	for _, tag := range []string{"latest", "1.2", "1.10", "v1.9.1", "2.0-rc.1", "0.9", sig} {
		s.Put("a/b", tag, c.Root.Digest, c.Manifests, c.Blobs)
	}
	s.Put("empty", "x", c.Root.Digest, c.Manifests, c.Blobs)
	repo := "docker://" + s.Addr + "/a/b"
	json := fmt.Sprintf("{\n    \"Repository\": \"%s/a/b\",\n    \"Tags\": [\n        \"latest\"\n    ]\n}\n", s.Addr)
	pinned := "\"" + c.Root.Digest.String() + "\""
	for _, tt := range []struct{ args, want string }{
		{"", lines("0.9 1.10 1.2 2.0-rc.1 latest v1.9.1")},
		{"--all", lines("0.9 1.10 1.2 2.0-rc.1 latest " + sig + " v1.9.1")},
		{"--sort=version", lines("latest 0.9 1.2 v1.9.1 1.10 2.0-rc.1")},
		{"--sort=version --reverse --limit=2", lines("2.0-rc.1 1.10")},
		{"--sort=name --reverse", lines("v1.9.1 latest 2.0-rc.1 1.2 1.10 0.9")},
		{"--semver=^1", lines("1.10 1.2 v1.9.1")},
		{"--semver=>=1.2-0", lines("1.10 1.2 2.0-rc.1 v1.9.1")},
		{"--match=^1", lines("1.10 1.2")},
		{"--match=^z", ""},
		{"--limit=1", lines("0.9")},
		{"--match=^v --digests", "v1.9.1\t" + c.Root.Digest.String() + "\n"},
		{"--json --match=latest", json},
		{"--json --match=^z", strings.Replace(json, "[\n        \"latest\"\n    ]", "[]", 1)},
		{"--json --match=latest --digests", strings.Replace(json, "]\n", "],\n    \"Digests\": {\n        \"latest\": "+pinned+"\n    }\n", 1)},
	} {
		code, out, errs := run(t, append(strings.Fields(tt.args), repo)...)
		if code != 0 || out != tt.want || errs != "" {
			t.Errorf("%s: exit %d\n%s%s\nwant\n%s", tt.args, code, out, errs, tt.want)
		}
	}
	code, out, errs := run(t, "--catalog", s.Addr)
	if code != 0 || out != lines("a/b empty") {
		t.Errorf("--catalog: exit %d, %q, %s", code, out, errs)
	}
	if code, _, errs := run(t, "docker://"+s.Addr+"/none"); code != cli.CodeNotFound || !strings.Contains(errs, "docker://"+s.Addr+"/none: list tags: ") {
		t.Errorf("no repository: exit %d, %s", code, errs)
	}
}

// 5,000 tags: a request for each page, and with --digests one for each tag.
func TestManyTags(t *testing.T) {
	c := imagetest.Image()
	s := registrytest.Start(t, registrytest.Options{PageSize: 1000})
	for i := range 5000 {
		s.Put("app", fmt.Sprint(i), c.Root.Digest, c.Manifests, c.Blobs)
	}
	code, out, errs := run(t, "docker://"+s.Addr+"/app")
	if n := s.Count("", "/v2/app/**"); code != 0 || strings.Count(out, "\n") != 5000 || n != 5 {
		t.Errorf("exit %d, %d lines after %d requests: %s", code, strings.Count(out, "\n"), n, errs)
	}
	s.Forget()
	code, out, errs = run(t, "--digests", "--match=7$", "docker://"+s.Addr+"/app")
	if n := s.Count("HEAD", "/v2/app/manifests/*"); code != 0 || strings.Count(out, "\n") != 500 || n != 500 || s.Count("GET", "/v2/app/manifests/*") != 0 {
		t.Errorf("--digests: exit %d, %d lines after %d requests: %s", code, strings.Count(out, "\n"), n, errs)
	}
}

// Layouts, archives and streams have names too.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	c := imagetest.Image()
	for _, name := range []string{"oci:" + dir + "/layout:b", "oci:" + dir + "/layout:a", "oci-archive:" + dir + "/oci.tar:one", "docker-archive:" + dir + "/docker.tar:r.example/x:1"} {
		n, err := transport.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		dst, err := n.Destination(t.Context(), &transport.Access{})
		if err == nil {
			err = errors.Join(imagetest.Send(t.Context(), dst, c), dst.Close())
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	pack(t, dir+"/oci.tar", dir+"/oci.tar.gz")
	root := c.Root.Digest.String()
	for name, want := range map[string]string{
		"oci:" + dir + "/layout":                "b\t" + root + "\na\t" + root + "\n",
		"oci-archive:" + dir + "/oci.tar":       "one\t" + root + "\n",
		"oci-archive:" + dir + "/oci.tar.gz":    "one\t" + root + "\n",
		"docker-archive:" + dir + "/docker.tar": "r.example/x:1\t",
	} {
		code, out, errs := run(t, "--digests", name)
		if code != 0 || !strings.HasPrefix(out, want) || errs != "" {
			t.Errorf("%s: exit %d, %q, %s; want %q", name, code, out, errs, want)
		}
	}
	code, out, errs := run(t, "--json", "docker-archive:"+dir+"/docker.tar")
	if want := "{\n    \"Tags\": [\n        \"r.example/x:1\"\n    ]\n}\n"; code != 0 || out != want {
		t.Errorf("--json: exit %d, %s%s; want %s", code, out, errs, want)
	}
	if code, _, errs := run(t, "dir:"+dir); code != cli.CodeFailed && code != cli.CodeNotFound {
		t.Errorf("dir: exit %d, %s", code, errs)
	}
}

func pack(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(from))
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	if err := os.WriteFile(to, z.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A tag whose manifest is gone is not passed over in silence, and a fault that
// may pass is no tag without manifest.
func TestLost(t *testing.T) {
	s := imagetest.NewShelf()
	d := s.Image("", "x")
	s.Tag(d, "a", "b")
	gone := s.Image("", "gone")
	s.Tag(gone, "c\nd")
	delete(s.Manifests, gone.Digest)
	for _, json := range []bool{false, true} {
		c := &command{digests: true, json: json}
		var o, e bytes.Buffer
		std := &cli.IO{Out: &o, Err: &e}
		err := c.list(t.Context(), std, place{s}, nil)
		var lost *lostError
		code, _ := explain(err)
		if !errors.As(err, &lost) || lost.n != 1 || code != cli.CodePartial || !strings.Contains(o.String(), d.Digest.String()) || strings.Contains(o.String(), "c\n") || !strings.Contains(e.String(), `c; d stands for nothing`) {
			t.Errorf("%v, exit %d\n%s%s", err, code, o.String(), e.String())
		}
	}
	s.Fail = func(op, what string) error {
		if op == "find " && what == "b" {
			return image.ErrNetwork
		}
		return nil
	}
	var o bytes.Buffer
	err := (&command{digests: true}).list(t.Context(), &cli.IO{Out: &o, Err: &o}, place{s}, nil)
	if !errors.Is(err, image.ErrNetwork) || o.Len() > 0 {
		t.Errorf("%v, %q", err, o.String())
	}
	// What a stranger calls an image stays on its line.
	o.Reset()
	if err := (&command{}).list(t.Context(), &cli.IO{Out: &o, Err: &o}, place{s}, nil); err != nil || o.String() != "a\nb\nc\\nd\n" {
		t.Errorf("%v, %q", err, o.String())
	}
}

// A place is a name that leads to a shelf.
type place struct{ *imagetest.Shelf }

func (place) String() string                                                    { return "here" }
func (place) Docker() (d reference.Docker)                                      { return d }
func (place) Pinned(digest.Digest) string                                       { return "" }
func (p place) Source(context.Context, *transport.Access) (image.Source, error) { return p.Shelf, nil }
func (place) Destination(context.Context, *transport.Access) (image.Destination, error) {
	return nil, image.ErrUnsupported
}

func TestCatalog(t *testing.T) {
	var asked string
	c := &command{common: tool.NewCommonConfig(), repositories: func(_ context.Context, host string, _ *transport.Access) ([]string, error) {
		asked = host
		return []string{"b/c", "a", "sha256-" + strings.Repeat("a", 64)}, nil
	}}
	code, out, errs := runTool(t, c.tool(), "--catalog", "--json", "--sort=name", "--limit=2", "r.example:5000")
	if want := "{\n    \"Registry\": \"r.example:5000\",\n    \"Repositories\": [\n        \"a\",\n        \"b/c\"\n    ]\n}\n"; code != 0 || out != want || asked != "r.example:5000" {
		t.Errorf("exit %d, %s%s; want %s", code, out, errs, want)
	}
	c = &command{common: tool.NewCommonConfig(), repositories: func(context.Context, string, *transport.Access) ([]string, error) {
		return nil, image.ErrDenied
	}}
	code, out, errs = runTool(t, c.tool(), "--catalog", "r.example")
	if code != cli.CodeUnauthorized || out != "" || errs != "img-list-tags: r.example: list repositories: denied\n" {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"a", "b"}, {"nothing"}, {"docker://a.example/x:1"}, {"docker://a.example/x@sha256:" + strings.Repeat("a", 64)}, {"oci:x:y"}, {"oci:x:@0"},
		{"oci-archive:x:y"}, {"docker-archive:x:y"}, {"docker-archive:x:@0"}, {"--limit=-1", "docker://x"}, {"--match=(", "docker://x"},
		{"--semver=foo", "docker://x"}, {"--sort=age", "docker://x"}, {"--catalog", "docker://a.example"}, {"--catalog", "--digests", "a.example"},
		{"--catalog", "--semver=1", "a.example"}, {"--catalog", "--all", "a.example"},
	} {
		if code, out, errs := run(t, args...); code != cli.CodeUsage || out != "" {
			t.Errorf("%q: exit %d, %s%s", args, code, out, errs)
		}
	}
}
