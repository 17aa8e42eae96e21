package archive

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// Which image is meant, and what is said if none is: scripts match on some of
// these messages.
func TestSelect(t *testing.T) {
	a, b := imagetest.Image(), tiny()
	path := filepath.Join(t.TempDir(), "a.tar")
	writeTo(t, path, a, Options{Name: "v1"})
	writeTo(t, path, b, Options{Labels: []reference.Docker{docker(t, "foo/bar:v1")}})
	writeTo(t, path, imagetest.Index(), Options{Name: "list"})
	other := digest.FromString("other")
	for _, tt := range []struct {
		sel  Selection
		want digest.Digest
		is   error
		text string
	}{
		{Selection{View: OCI, Name: "v1"}, a.Root.Digest, nil, ""},
		{Selection{View: OCI, Position: 2}, b.Root.Digest, nil, ""},
		{Selection{View: OCI, Digest: b.Root.Digest}, b.Root.Digest, nil, ""},
		{Selection{View: OCI, Name: "v1", Digest: a.Root.Digest}, a.Root.Digest, nil, ""},
		{Selection{View: OCI, Name: "v1@" + a.Root.Digest.String()}, a.Root.Digest, nil, ""},
		{Selection{View: OCI, Name: "@" + b.Root.Digest.String()}, b.Root.Digest, nil, ""},
		{Selection{View: OCI, Digest: treeOf(t, imagetest.Index()).Kids[0].Desc.Digest}, treeOf(t, imagetest.Index()).Kids[0].Desc.Digest, nil, ""},
		{Selection{View: Docker, Name: "foo/bar:v1"}, b.Root.Digest, nil, ""},
		{Selection{View: Docker, Name: "docker.io/foo/bar:v1"}, b.Root.Digest, nil, ""},
		{Selection{View: Docker, Position: 1}, a.Root.Digest, nil, ""},
		{Selection{View: Docker, Digest: b.Root.Digest}, b.Root.Digest, nil, ""},
		{Selection{Name: "foo/bar:v1"}, b.Root.Digest, nil, ""},
		{Selection{Name: "v1"}, a.Root.Digest, nil, ""},

		{Selection{View: OCI, Name: "v1", Digest: other}, "", image.ErrMismatch, "manifest " + other.String() + ": content does not match its digest: it is " + a.Root.Digest.String()},
		{Selection{View: OCI, Name: "v1@" + other.String()}, "", image.ErrMismatch, "manifest " + other.String() + ": content does not match its digest: it is " + a.Root.Digest.String()},
		{Selection{View: OCI}, "", image.ErrUnsupported, "more than one image in oci, choose an image"},
		{Selection{View: OCI, Name: "v2"}, "", image.ErrNotFound, `image "v2": not found in index.json`},
		{Selection{View: OCI, Position: 4}, "", image.ErrNotFound, "index 3 is too large, only 3 entries available"},
		{Selection{View: OCI, Digest: other}, "", image.ErrNotFound, strconv.Quote(blobName(other)) + ": not found in the archive"},
		{Selection{View: Docker}, "", image.ErrUnsupported, "Unexpected tar manifest.json: expected 1 item, got 2"},
		{Selection{View: Docker, Position: 3}, "", image.ErrNotFound, "Invalid source index @2, only 2 manifest items available"},
		{Selection{View: Docker, Name: "foo/bar"}, "", image.ErrNotFound, `Tag "docker.io/foo/bar:latest" not found`},
		{Selection{}, "", image.ErrUnsupported, `not supported here: there are 3 images in the archive, choose one: "v1", "docker.io/foo/bar:v1", "list"`},
	} {
		src, err := OpenFile(path, tt.sel)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := src.Manifest(t.Context(), "")
		src.Close()
		if tt.is == nil {
			if err != nil || raw.Digest() != tt.want {
				t.Errorf("%+v: %s, %v; want %s", tt.sel, raw.Digest(), err, tt.want)
			}
			continue
		}
		if !errors.Is(err, tt.is) || err.Error() != tt.text {
			t.Errorf("%+v: %v; want %s", tt.sel, err, tt.text)
		}
	}
}

// The details of names become the right selections.
func TestSelectionOfReferences(t *testing.T) {
	l, err := reference.ParseLayoutArchive("f.tar:a/b:1")
	if got, want := SelectLayout(l), (Selection{View: OCI, Name: "a/b:1"}); err != nil || got != want {
		t.Errorf("SelectLayout = %+v, %v; want %+v", got, err, want)
	}
	l, err = reference.ParseLayoutArchive("f.tar:@1")
	if got, want := SelectLayout(l), (Selection{View: OCI, Position: 2}); err != nil || got != want {
		t.Errorf("SelectLayout = %+v, %v; want %+v", got, err, want)
	}
	a, err := reference.ParseArchive("f.tar:busybox")
	if got, want := SelectDocker(a), (Selection{View: Docker, Name: "docker.io/library/busybox:latest"}); err != nil || got != want {
		t.Errorf("SelectDocker = %+v, %v; want %+v", got, err, want)
	}
	a, err = reference.ParseArchive("f.tar:@0")
	if got, want := SelectDocker(a), (Selection{View: Docker, Position: 1}); err != nil || got != want {
		t.Errorf("SelectDocker = %+v, %v; want %+v", got, err, want)
	}
}

// One image under several names is still one.
func TestOnlyImage(t *testing.T) {
	b := streamOf(t, imagetest.Image(), Options{Name: "a", Labels: []reference.Docker{docker(t, "b:1"), docker(t, "c:1")}})
	for kind, src := range readers(t, b, Selection{View: OCI}) {
		if _, err := src.Manifest(t.Context(), ""); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// An entry that is no image cannot be selected by its name as one.
func TestForeignType(t *testing.T) {
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"text/plain","digest":%q,"size":1,"annotations":{"org.opencontainers.image.ref.name":"x"}}]}`, digest.FromString("x"))
	for kind, src := range readers(t, tarOf(t, member{name: indexName, body: []byte(index)}), Selection{View: OCI, Name: "x"}) {
		_, err := src.Manifest(t.Context(), "")
		if want := `reference "x" matches unsupported manifest MIME types ["text/plain"]`; err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %s", kind, err, want)
		}
	}
}

func TestList(t *testing.T) {
	a, b := imagetest.Image(), imagetest.Index()
	path := filepath.Join(t.TempDir(), "a.tar")
	writeTo(t, path, a, Options{Name: "z", Labels: []reference.Docker{docker(t, "foo/bar:1")}})
	writeTo(t, path, b, Options{Name: "y"})
	packed := fileOf(t, gzipOf(t, mustRead(t, path)))
	for _, tt := range []struct {
		view View
		want []string
	}{
		{OCI, []string{"z@1", "1@2", "y@3"}},
		{Any, []string{"z@1", "docker.io/foo/bar:1@2", "y@3"}},
		{Docker, []string{"docker.io/foo/bar:1@1"}},
	} {
		for _, p := range []string{path, packed} {
			if got := listed(t, p, tt.view); !slices.Equal(got, tt.want) {
				t.Errorf("List(%v) = %q; want %q", tt.view, got, tt.want)
			}
		}
	}
	src, err := OpenFile(path, Selection{View: OCI})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if got, err := image.Tags(t.Context(), src); err != nil || !slices.Equal(got, []string{"z", "1", "y"}) {
		t.Errorf("Tags = %q, %v", got, err)
	}
	old := fileOf(t, dockerSave(t, []string{"b:2", "a:1"}, newOldImage("x")))
	if got, want := listed(t, old, Any), []string{"b:2@1", "a:1@1"}; !slices.Equal(got, want) {
		t.Errorf("List = %q; want %q", got, want)
	}
	if _, err := List(t.Context(), old, OCI); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("List of %s in an old docker archive: %v", indexName, err)
	}
	if _, err := List(t.Context(), fileOf(t, gzipOf(t, mustRead(t, path))[:200]), Any); err == nil {
		t.Errorf("List of a file that was cut succeeded")
	}
}

// A tree that was taken out of an index is announced with its platform.
func TestPlatform(t *testing.T) {
	c := imagetest.Index()
	tree := treeOf(t, c).Kids[1]
	var h holdings
	if err := h.add(tree, &Options{}); err != nil {
		t.Fatal(err)
	}
	if got := h.entries[0].Platform; got == nil || oci.FormatPlatform(*got) != "linux/arm64/v8" {
		t.Errorf("platform is %v; want linux/arm64/v8", got)
	}
}

// An index with one image, as BuildKit makes them with what attests to it, can
// be loaded by Docker too.
func TestSingleInIndex(t *testing.T) {
	tree := treeOf(t, imagetest.Index())
	if single(tree) != nil {
		t.Errorf("three platforms are taken for one")
	}
	one := *tree
	one.Kids = slices.Clone(tree.Kids)
	one.Kids[1], one.Kids[2], one.Kids[4], one.Kids[5] = nil, nil, nil, nil
	if m := single(&one); m == nil || m.Config.Digest != tree.Kids[0].Manifest.Config.Digest {
		t.Errorf("single = %+v; want the image and not what attests to it", m)
	}
}
