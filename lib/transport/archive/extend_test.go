package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// namesIn lists the names in a file, each with the digest that it stands for.
func namesIn(t testing.TB, path string) map[string]digest.Digest {
	t.Helper()
	all, err := List(t.Context(), path, OCI)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]digest.Digest{}
	for _, l := range all {
		if m[l.Name] != "" {
			t.Errorf("%q stands twice in the archive", l.Name)
		}
		m[l.Name] = l.Root.Digest
	}
	return m
}

// wantNamed fails unless every name gives its image whole.
func wantNamed(t testing.TB, path string, want map[string]*imagetest.Content) {
	t.Helper()
	if got := namesIn(t, path); len(got) != len(want) {
		t.Errorf("the archive has %d names: %v; want %d", len(got), got, len(want))
	}
	for name, c := range want {
		src, err := OpenFile(path, Selection{View: OCI, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		got, err := take(context.Background(), src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			sameImage(t, got, c)
		}
		src.Close()
	}
}

// An archive takes one image after the other. Each stays whole, names move, and
// what has no name any more goes, with the blobs that only it had.
func TestExtend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	a, b, c := imagetest.Image(), imagetest.Index(), imagetest.Artifact()
	writeTo(t, path, a, Options{Name: "a"})
	writeTo(t, path, b, Options{Name: "b"})
	writeTo(t, path, c, Options{Name: "c"})
	wantNamed(t, path, map[string]*imagetest.Content{"a": a, "b": b, "c": c})
	writeTo(t, path, b, Options{Name: "a"})
	wantNamed(t, path, map[string]*imagetest.Content{"a": b, "b": b, "c": c})
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range membersOf(t, content) {
		if seen[m.name] {
			t.Errorf("%s stands twice in the archive", m.name)
		}
		seen[m.name] = true
	}
	if seen[blobName(a.Root.Digest)] {
		t.Errorf("the manifest of an image without a name is still there")
	}
	if shared := treeOf(t, b).Kids[0].Manifest.Layers[0].Digest; !seen[blobName(shared)] {
		t.Errorf("a layer that another image has is gone")
	}
	writeTo(t, path, a, Options{Name: "x", Existing: Replace})
	wantNamed(t, path, map[string]*imagetest.Content{"x": a})
	noLitter(t, path)
}

// The same images in the same order are the same bytes, and a copy of an image
// that is there already changes nothing.
func TestExtendIsStable(t *testing.T) {
	var results [2][]byte
	for i := range results {
		path := filepath.Join(t.TempDir(), "a.tar")
		writeTo(t, path, imagetest.Index(), Options{Name: "a"})
		writeTo(t, path, imagetest.Docker(), Options{Labels: []reference.Docker{docker(t, "foo:1"), docker(t, "foo:2")}})
		if i == 1 {
			writeTo(t, path, imagetest.Docker(), Options{Labels: []reference.Docker{docker(t, "foo:1"), docker(t, "foo:2")}})
		}
		results[i], _ = os.ReadFile(path)
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Errorf("the same images made different archives")
	}
}

// What docker load sees of an archive follows what index.json has.
func TestExtendDockerView(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	one, two := imagetest.Image(), tiny()
	write := func(c *imagetest.Content, labels ...string) {
		o := Options{View: Docker}
		for _, l := range labels {
			o.Labels = append(o.Labels, docker(t, l))
		}
		writeTo(t, path, c, o)
	}
	tags := func() []string {
		images := listed(t, path, Docker)
		return images
	}
	write(one, "foo:1", "foo:2")
	write(two, "bar:1")
	if got, want := tags(), []string{"docker.io/library/foo:1@1", "docker.io/library/foo:2@1", "docker.io/library/bar:1@2"}; !slices.Equal(got, want) {
		t.Errorf("names are %q; want %q", got, want)
	}
	write(two, "foo:2", "bar:2")
	if got, want := tags(), []string{"docker.io/library/foo:1@1", "docker.io/library/bar:1@2", "docker.io/library/foo:2@2", "docker.io/library/bar:2@2"}; !slices.Equal(got, want) {
		t.Errorf("names are %q; want %q", got, want)
	}
	write(two, "foo:1")
	for _, got := range tags() {
		if !strings.HasSuffix(got, "@1") {
			t.Errorf("%s is left of an image that has no name", got)
		}
	}
	for _, tag := range []string{"foo:1", "foo:2", "bar:1", "bar:2"} {
		src, err := OpenFile(path, Selection{View: Docker, Name: tag})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := take(t.Context(), src); err != nil {
			t.Errorf("%s: %v", tag, err)
		} else {
			sameImage(t, got, two)
		}
		src.Close()
	}
}

// listed are the names in an archive, with their positions.
func listed(t testing.TB, path string, v View) []string {
	t.Helper()
	all, err := List(t.Context(), path, v)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, l := range all {
		s = append(s, l.Name+"@"+string(rune('0'+l.Position)))
	}
	return s
}

// Nothing is overwritten that is not an archive of images, and nothing is lost
// that we could not keep.
func TestRefuseToOverwrite(t *testing.T) {
	o := newOldImage("a")
	ours := streamOf(t, imagetest.Image(), Options{Name: "a"})
	damaged := bytes.Clone(ours)
	damaged[bytes.Index(damaged, []byte(`"layers"`))+2] ^= 1
	for name, tt := range map[string]struct {
		content  []byte
		existing Existing
		ok       bool
	}{
		"text, extend":         {[]byte("my thesis"), Extend, false},
		"text, replace":        {[]byte("my thesis"), Replace, false},
		"tar, extend":          {tarOf(t, member{name: "thesis.txt", body: []byte("x")}), Extend, false},
		"tar, replace":         {tarOf(t, member{name: "thesis.txt", body: []byte("x")}), Replace, false},
		"old docker, extend":   {dockerSave(t, nil, o), Extend, false},
		"old docker, replace":  {dockerSave(t, nil, o), Replace, true},
		"compressed, extend":   {gzipOf(t, ours), Extend, false},
		"compressed, replace":  {gzipOf(t, ours), Replace, true},
		"damaged, extend":      {damaged, Extend, false},
		"cut, extend":          {ours[:len(ours)-1024], Extend, false},
		"ours, refuse":         {ours, Refuse, false},
		"empty, refuse":        {nil, Refuse, true},
		"empty, extend":        {nil, Extend, true},
		"empty, replace":       {nil, Replace, true},
		"docker 25, extend":    {dockerSave25(t, imagetest.Docker()), Extend, true},
		"other layout, extend": {tarOf(t, member{name: "./" + indexName, body: []byte(`{"schemaVersion":2,"manifests":[]}`)}), Extend, true},
	} {
		path := fileOf(t, tt.content)
		dst, err := Create(path, Options{Name: "n", Existing: tt.existing})
		if (err == nil) != tt.ok {
			t.Errorf("%s: Create = %v; want success: %v", name, err, tt.ok)
		}
		if err != nil {
			if got, _ := os.ReadFile(path); !bytes.Equal(got, tt.content) {
				t.Errorf("%s: the file was changed", name)
			}
			continue
		}
		if err := imagetest.Send(t.Context(), dst, imagetest.Image()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		dst.Close()
		src, err := OpenFile(path, Selection{View: OCI, Name: "n"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := take(t.Context(), src); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		src.Close()
		noLitter(t, path)
	}
	if _, err := Create(t.TempDir(), Options{}); err == nil {
		t.Errorf("a directory was accepted as an archive")
	}
	path := filepath.Join(t.TempDir(), "a.tar")
	if err := os.Symlink("nowhere", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, Options{}); err == nil {
		t.Errorf("a link to nothing was followed")
	}
	if _, err := Create(filepath.Join(t.TempDir(), "no", "a.tar"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Create in a directory that is not there: %v", err)
	}
}

// A name that is as long as the file system allows leaves room for those of the
// files beside it.
func TestLongName(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("n", 255))
	writeTo(t, path, imagetest.Image(), Options{Name: "a"})
	noLitter(t, path)
}

// What few may read is not for others either while it is being written.
func TestModeOfTemporary(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.tar")
	writeTo(t, path, imagetest.Image(), Options{Name: "a"})
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	dst, err := Create(path, Options{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := image.Begin(t.Context(), dst, treeOf(t, imagetest.Docker())); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, tempPrefix(path)+"*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("temporary files: %q, %v", names, err)
	}
	if info, err := os.Stat(names[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, %v; want 0600", info.Mode(), err)
	}
}

// The archive behind a link is the one that is written, and it keeps its mode.
func TestLinkAndMode(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "a.tar"), filepath.Join(dir, "l.tar")
	writeTo(t, path, imagetest.Image(), Options{Name: "a"})
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.tar", link); err != nil {
		t.Fatal(err)
	}
	writeTo(t, link, imagetest.Docker(), Options{Name: "b"})
	info, err := os.Lstat(link)
	if err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if info, err = os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, %v; want 0600", info.Mode(), err)
	}
	if got := namesIn(t, path); len(got) != 2 {
		t.Errorf("names are %v; want a and b", got)
	}
}

// Writers that do not know of each other keep each other's images.
func TestWritersAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	kinds := []*imagetest.Content{imagetest.Image(), imagetest.Docker(), imagetest.Index(), imagetest.Artifact(), imagetest.Nested(), imagetest.DockerList()}
	want := map[string]*imagetest.Content{}
	var wait sync.WaitGroup
	for i, c := range kinds {
		name := "n" + string(rune('a'+i))
		want[name] = c
		wait.Go(func() {
			dst, err := Create(path, Options{Name: name})
			if err != nil {
				t.Error(err)
				return
			}
			defer dst.Close()
			if err := imagetest.Send(t.Context(), dst, c); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	wantNamed(t, path, want)
	noLitter(t, path)
}

// What came under the name between the first look and the commit is looked at
// again: an image is kept, and something else is not overwritten.
func TestChangedMeanwhile(t *testing.T) {
	a, b := imagetest.Image(), imagetest.Docker()
	begin := func(path string, e Existing) image.Destination {
		dst, err := Create(path, Options{Name: "b", Existing: e})
		if err != nil {
			t.Fatal(err)
		}
		tree := treeOf(t, b)
		if err := image.Begin(t.Context(), dst, tree); err != nil {
			t.Fatal(err)
		}
		for d := range tree.Blobs() {
			if err := putBytes(t.Context(), dst, d, b.Blobs[d.Digest]); err != nil {
				t.Fatal(err)
			}
		}
		return dst
	}
	path := filepath.Join(t.TempDir(), "a.tar")
	dst := begin(path, Extend)
	writeTo(t, path, a, Options{Name: "a"})
	if err := dst.Commit(t.Context(), treeOf(t, b)); err != nil {
		t.Error(err)
	}
	dst.Close()
	wantNamed(t, path, map[string]*imagetest.Content{"a": a, "b": b})
	noLitter(t, path)

	for _, e := range []Existing{Extend, Replace, Refuse} {
		path := filepath.Join(t.TempDir(), "a.tar")
		dst := begin(path, e)
		if err := os.WriteFile(path, []byte("my thesis"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := dst.Commit(t.Context(), treeOf(t, b)); !errors.Is(err, image.ErrUnsupported) {
			t.Errorf("Commit over another file: %v", err)
		}
		dst.Close()
		if got, _ := os.ReadFile(path); string(got) != "my thesis" {
			t.Errorf("another file was overwritten")
		}
		noLitter(t, path)
	}
}

// A blob that the old archive has is not asked for again, if it is what its
// digest says; if not, a good one heals the archive.
func TestReuse(t *testing.T) {
	c := imagetest.Image()
	path := filepath.Join(t.TempDir(), "a.tar")
	writeTo(t, path, c, Options{Name: "a"})
	layer := treeOf(t, c).Manifest.Layers[0]
	has := func() bool {
		dst, err := Create(path, Options{Name: "b"})
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		ok, err := dst.Has(t.Context(), layer)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !has() {
		t.Errorf("Has = false; the layer is in the archive")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, c.Blobs[layer.Digest])
	b[i+20] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if has() {
		t.Errorf("Has = true; the layer in the archive is damaged")
	}
	writeTo(t, path, c, Options{Name: "b"})
	wantNamed(t, path, map[string]*imagetest.Content{"a": c, "b": c})
}

// A name stands for an image only if all of that is there.
func TestResolve(t *testing.T) {
	a, b := imagetest.Image(), imagetest.DockerList()
	path := filepath.Join(t.TempDir(), "a.tar")
	labels := []reference.Docker{docker(t, "foo:1"), docker(t, "foo:2")}
	writeTo(t, path, a, Options{Name: "a"})
	writeTo(t, path, b, Options{Labels: labels})
	var sparse []member
	content, _ := os.ReadFile(path)
	for _, m := range membersOf(t, content) {
		if m.name != blobName(treeOf(t, b).Kids[1].Desc.Digest) {
			sparse = append(sparse, m)
		}
	}
	sparsePath := fileOf(t, tarOf(t, sparse...))
	for _, tt := range []struct {
		path string
		o    Options
		want digest.Digest
	}{
		{path, Options{Name: "a"}, a.Root.Digest},
		{path, Options{Name: "b"}, ""},
		{path, Options{}, ""},
		{path, Options{Labels: labels}, b.Root.Digest},
		{path, Options{Labels: labels[:1]}, b.Root.Digest},
		{path, Options{Name: "a", Labels: labels}, ""},
		{path, Options{Name: "a", Existing: Replace}, ""},
		{sparsePath, Options{Name: "a"}, a.Root.Digest},
		{sparsePath, Options{Labels: labels}, ""},
		{filepath.Join(t.TempDir(), "a.tar"), Options{}, ""},
	} {
		dst, err := Create(tt.path, tt.o)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := image.Resolve(t.Context(), dst); err != nil || got != tt.want {
			t.Errorf("Resolve(%+v) = %q, %v; want %q", tt.o, got, err, tt.want)
		}
		dst.Close()
	}
	writeTo(t, sparsePath, a, Options{Name: "c"}) // a sparse index stays what it is
	if got := namesIn(t, sparsePath); got["1"] != b.Root.Digest || got["c"] != a.Root.Digest {
		t.Errorf("names are %v", got)
	}
}

// withForeign is c with these layers in the place of its own.
func withForeign(t *testing.T, c *imagetest.Content, layers ...oci.Descriptor) *imagetest.Content {
	t.Helper()
	list, err := json.Marshal(layers)
	if err != nil {
		t.Fatal(err)
	}
	raw := c.Manifests[c.Root.Digest]
	head, _, _ := bytes.Cut(raw.Bytes, []byte(`"layers":`))
	raw.Bytes = fmt.Appendf(nil, `%s"layers":%s}`, head, list)
	return &imagetest.Content{Root: raw.Descriptor(), Manifests: map[digest.Digest]oci.Raw{raw.Digest(): raw}, Blobs: c.Blobs}
}

func foreign(text string, size int64) oci.Descriptor {
	return oci.Descriptor{MediaType: oci.MediaTypeDockerForeignGz, Digest: digest.FromString(text), Size: size, URLs: []string{"https://a.example/" + text}}
}

// What came of a layer that failed, and may be had elsewhere, must not stand
// where the end mark belongs.
func TestForeignFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	layer := foreign("away", 4)
	c := withForeign(t, fixed(), layer)
	tree := treeOf(t, c)
	dst, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := image.Begin(t.Context(), dst, tree); err != nil {
		t.Fatal(err)
	}
	config := *tree.Manifest.Config
	if err := putBytes(t.Context(), dst, config, c.Blobs[config.Digest]); err != nil {
		t.Fatal(err)
	}
	if err := putBytes(t.Context(), dst, layer, []byte("awry")); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("Put of another blob = %v; want %v", err, image.ErrMismatch)
	}
	if err := dst.Commit(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	if got := namesIn(t, path); len(got) != 1 {
		t.Errorf("the archive has %d images; want 1", len(got))
	}
}

// Of two layers that are to be had elsewhere one may be in the archive already.
// That is no reason to refuse the image.
func TestForeignInOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	here, away := foreign("here", 4), foreign("away", 4)
	first, second := withForeign(t, fixed(), here), withForeign(t, fixed(), away, here)
	for _, c := range []*imagetest.Content{first, second} {
		tree := treeOf(t, c)
		dst, err := Create(path, Options{Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		config := *tree.Manifest.Config
		if err := putBytes(t.Context(), dst, config, c.Blobs[config.Digest]); err != nil {
			t.Fatal(err)
		}
		if c == first {
			if err := putBytes(t.Context(), dst, here, []byte("here")); err != nil {
				t.Fatal(err)
			}
		}
		if err := dst.Commit(t.Context(), tree); err != nil {
			t.Fatal(err)
		}
		dst.Close()
	}
	src, err := OpenFile(path, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if b, err := image.ReadBlob(t.Context(), src, here, 4); string(b) != "here" {
		t.Errorf("the layer that was there: %q, %v", b, err)
	}
}

// Sizes that nobody has checked, because the layers need not come, must not
// lead to a place that another member has.
func TestForeignSizes(t *testing.T) {
	const huge = math.MaxInt64 - 1<<20
	for what, layers := range map[string][]oci.Descriptor{
		"one":   {foreign("a", math.MaxInt64)},
		"three": {foreign("a", huge), foreign("b", huge), foreign("c", 4<<20)},
	} {
		path := filepath.Join(t.TempDir(), "a.tar")
		c := withForeign(t, fixed(), append(layers, foreign("away", 4))...)
		tree := treeOf(t, c)
		dst, err := Create(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := image.Begin(t.Context(), dst, tree); !errors.Is(err, image.ErrTooLarge) {
			t.Errorf("%s: Begin = %v; want %v", what, err, image.ErrTooLarge)
		}
		dst.Close()
	}
}

// Layers that are to be had elsewhere are written if they come, and announced
// if they do not.
func TestForeign(t *testing.T) {
	c := fixed()
	tree := treeOf(t, c)
	layer := tree.Manifest.Layers[0]
	raw := oci.Raw{MediaType: tree.Raw.MediaType, Bytes: bytes.Replace(tree.Raw.Bytes, []byte(`"size":1024`), []byte(`"size":1024,"urls":["https://a.example/x"]`), 1)}
	f := &imagetest.Content{Root: raw.Descriptor(), Manifests: map[digest.Digest]oci.Raw{raw.Digest(): raw}, Blobs: c.Blobs}
	for _, fetched := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "a.tar")
		dst, err := Create(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree := treeOf(t, f)
		if err := image.Begin(t.Context(), dst, tree); err != nil {
			t.Fatal(err)
		}
		for d := range tree.Blobs() {
			if d.Digest != layer.Digest || fetched {
				if err := putBytes(t.Context(), dst, d, c.Blobs[d.Digest]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := dst.Commit(t.Context(), tree); err != nil {
			t.Fatal(err)
		}
		dst.Close()
		src, err := OpenFile(path, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := grow(t.Context(), src); err != nil {
			t.Error(err)
		}
		if _, err := src.Blob(t.Context(), layer); (err == nil) != fetched {
			t.Errorf("the layer was fetched: %v; Blob: %v", fetched, err)
		}
		src.Close()
	}
}
