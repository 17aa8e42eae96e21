package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

func mustParse(t *testing.T, s string) Name {
	t.Helper()
	n, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func refs(t *testing.T, names ...string) []reference.Docker {
	t.Helper()
	var list []reference.Docker
	for _, s := range names {
		d, err := reference.ParseDocker(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

// Whether a place can give an image one more name is known before anything is
// copied there.
func TestAlso(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string][]string{
		"docker://r.example/a/b:1":    {"docker://r.example/a/b:2"},
		"oci:" + dir + ":1":           {"oci:" + dir + ":2"},
		"oci-archive:x.tar:1":         nil,
		"docker-archive:x.tar:a/b:1":  nil,
		"-":                           nil,
		"docker://r.example/a/c:1":    {"unsupported"},
		"docker://other.example/a/b":  {"unsupported"},
		"dir:" + dir:                  {"unsupported"},
		"docker://r.example/a/b:same": {"docker://r.example/a/b:2"},
	} {
		also, err := Also(mustParse(t, name), refs(t, "r.example/a/b:2"))
		var got []string
		for _, n := range also {
			got = append(got, n.String())
		}
		if errors.Is(err, image.ErrUnsupported) {
			got = []string{"unsupported"}
		} else if err != nil {
			t.Errorf("Also(%s): %v", name, err)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("Also(%s) = %q; want %q", name, got, want)
		}
		if more, err := Also(mustParse(t, name), nil); len(more) != 0 || err != nil {
			t.Errorf("Also(%s) of nothing = %v, %v", name, more, err)
		}
	}
}

// A further name costs no blob: what it names is there.
func TestTag(t *testing.T) {
	c := imagetest.Index()
	s := registrytest.Start(t, registrytest.Options{})
	for _, name := range []string{"docker://" + s.Addr + "/a/b:1", "oci:" + filepath.Join(t.TempDir(), "new") + ":1"} {
		n := mustParse(t, name)
		p := placeOf(t, name)
		dst := p.Create(t)
		if err := imagetest.Send(t.Context(), dst, c); err != nil {
			t.Fatal(err)
		}
		dst.Close()
		uploads := s.Uploads()
		tree, err := image.Root(t.Context(), c.Source(), "")
		if err == nil {
			err = tree.Grow(t.Context(), c.Source(), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		also, err := Also(n, refs(t, s.Addr+"/a/b:2", s.Addr+"/a/b:3"))
		if err == nil {
			err = Tag(t.Context(), also, &Access{}, tree)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, m := range also {
			src, err := m.Source(t.Context(), &Access{})
			if err == nil {
				err = imagetest.Check(t.Context(), src, c)
				src.Close()
			}
			if err != nil {
				t.Errorf("%s: %v", m, err)
			}
		}
		if s.Uploads() != uploads {
			t.Errorf("%s: blobs were written for a name", name)
		}
	}
}

// Tag fails with the name that could not be given, in one line.
func TestTagFails(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	c := imagetest.Image()
	tree, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = tree.Parse()
	}
	if err != nil {
		t.Fatal(err)
	}
	n := mustParse(t, "docker://"+s.Addr+"/a/b:2")
	err = Tag(t.Context(), []Name{n}, &Access{}, tree) // its blobs are not there
	if err == nil || !strings.HasPrefix(err.Error(), n.String()+": ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Tag = %v; want an error about %s", err, n)
	}
}

// Nothing but the image may go where the image goes, whatever it is called.
func TestIsStdout(t *testing.T) {
	if !IsStdout(mustParse(t, "docker-archive:/dev/stdout:a/b:1")) {
		t.Errorf("/dev/stdout is not standard output")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Symlink(path, path+".link"); err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	defer func() { os.Stdout = old }()
	os.Stdout = f
	for name, want := range map[string]bool{
		"-":                                 true,
		"oci-archive:" + path:               true,
		"docker-archive:" + path + ":a/b:1": true,
		"oci-archive:" + path + ".link:x":   true,
		"oci-archive:" + path + ".new":      false,
		"oci-archive:" + os.DevNull:         false,
		"dir:" + dir:                        false,
		"docker://r.example/a":              false,
	} {
		if got := IsStdout(mustParse(t, name)); got != want {
			t.Errorf("IsStdout(%s) = %v; want %v", name, got, want)
		}
	}
}

// artifacts is an index of two artifacts, which share the empty config.
func artifacts(t *testing.T) *imagetest.Content {
	t.Helper()
	c := imagetest.Artifact()
	first := c.Root
	other := oci.Raw{MediaType: first.MediaType, Bytes: append(bytes.Clone(c.Manifests[first.Digest].Bytes), '\n')}
	c.Manifests[other.Digest()] = other
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": []oci.Descriptor{first, other.Descriptor()}})
	if err != nil {
		t.Fatal(err)
	}
	root := oci.Raw{MediaType: oci.MediaTypeIndex, Bytes: b}
	c.Root = root.Descriptor()
	c.Manifests[c.Root.Digest] = root
	return c
}

// The head of a stream is all that a decision needs: every manifest and every
// config, each once, and no layer.
func TestHead(t *testing.T) {
	contents := imagetest.Everything()
	contents["artifacts"] = artifacts(t)
	for name, c := range contents {
		tree, err := image.Root(t.Context(), c.Source(), "")
		if err == nil {
			err = tree.Grow(t.Context(), c.Source(), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := Head(t.Context(), c.Source(), tree, &Access{Stdout: &b}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		src, err := streamName{}.Source(t.Context(), &Access{Stdin: &b})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		got, err := image.Root(t.Context(), src, c.Root.Digest)
		if err == nil {
			err = got.Grow(t.Context(), src, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for k := range got.Walk() {
			if !k.Manifest.IsImage() {
				continue
			}
			if _, err := image.Config(t.Context(), src, k.Manifest); err != nil && !errors.Is(err, image.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A manifest alone on standard input is a source that has nothing else; what is
// missing is not there, by any name.
func TestDocument(t *testing.T) {
	c := imagetest.Index()
	raw := c.Manifests[c.Root.Digest]
	src, err := streamName{}.Source(t.Context(), &Access{Stdin: bytes.NewReader(raw.Bytes)})
	if err != nil {
		t.Fatal(err)
	}
	root, err := image.Root(t.Context(), src, c.Root.Digest)
	if err != nil || root.Desc.Digest != c.Root.Digest {
		t.Fatalf("Root = %v, %v", root, err)
	}
	if err := root.Parse(); err != nil {
		t.Fatal(err)
	}
	_, merr := src.Manifest(t.Context(), root.Manifest.Manifests[0].Digest)
	_, berr := src.Blob(t.Context(), oci.Descriptor{Digest: digest.FromString("x")})
	for _, err := range []error{merr, berr} {
		if !errors.Is(err, image.ErrNotFound) || !errors.Is(err, image.ErrUnsupported) || strings.Contains(err.Error(), "\n") {
			t.Errorf("what is not in a manifest: %v", err)
		}
	}
	if _, err := (streamName{}).Source(t.Context(), &Access{Stdin: strings.NewReader("")}); !errors.Is(err, image.ErrIncomplete) {
		t.Errorf("an empty input: %v; want %v", err, image.ErrIncomplete)
	}
	long := strings.NewReader("{" + strings.Repeat(" ", oci.MaxManifest))
	if _, err := (streamName{}).Source(t.Context(), &Access{Stdin: long}); !errors.Is(err, image.ErrTooLarge) {
		t.Errorf("an endless document: %v; want %v", err, image.ErrTooLarge)
	}
}

// Nowhere takes a plan's questions and nothing else.
func TestNowhere(t *testing.T) {
	for name, single := range map[string]bool{"dir:" + t.TempDir(): false, "docker-archive:x.tar:a:1": true, "-": false} {
		dst, err := Nowhere(t.Context(), mustParse(t, name), &Access{})
		if err != nil {
			t.Fatal(err)
		}
		if dst.Wants().Single != single {
			t.Errorf("%s: Single = %v", name, !single)
		}
		if err := imagetest.Send(t.Context(), dst, imagetest.Image()); !errors.Is(err, image.ErrUnsupported) {
			t.Errorf("%s: a dry run was written to: %v", name, err)
		}
		if err := dst.Close(); err != nil {
			t.Error(err)
		}
	}
}
