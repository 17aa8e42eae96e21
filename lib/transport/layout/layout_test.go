package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/test/harness"
)

// Some tests need a writer that is another process, to kill it or to have it
// compete. It is this program again.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(harness.Main(m))
}

// A place is one of the two transports, for tests that both must pass.
type place struct {
	name   string
	create func(dir, name string, s disk.Step) (image.Destination, error)
	open   func(dir, name string) (image.Source, error)
}

func ref(dir, name string) reference.Layout {
	return reference.Layout{Path: dir, Name: name, Index: -1}
}

var places = []place{
	{
		"oci",
		func(dir, name string, s disk.Step) (image.Destination, error) {
			return createOCI(ref(dir, name), Options{}, s)
		},
		func(dir, name string) (image.Source, error) { return OpenOCI(ref(dir, name), Options{}) },
	},
	{
		"dir",
		func(dir, _ string, s disk.Step) (image.Destination, error) { return createDir(dir, s) },
		func(dir, _ string) (image.Source, error) { return OpenDir(dir) },
	},
}

func TestConformance(t *testing.T) {
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			imagetest.TestPlace(t, func(t *testing.T) imagetest.Place {
				dir := filepath.Join(t.TempDir(), "x")
				return imagetest.Place{
					Create: func(t *testing.T) image.Destination { return must(p.create(dir, "v1", nil))(t) },
					Open:   func(*testing.T) (image.Source, error) { return p.open(dir, "v1") },
				}
			})
		})
	}
}

// must takes the two results of a call, and fails the test on an error.
func must[V any](v V, err error) func(testing.TB) V {
	return func(t testing.TB) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send copies src to dst as the engine does: jobs blobs at a time.
func send(ctx context.Context, dst image.Destination, src image.Source, jobs int) error {
	tree, err := image.Root(ctx, src, "")
	if err != nil {
		return err
	}
	if err := tree.Grow(ctx, src, nil); err != nil {
		return err
	}
	eg, gctx := errgroup.WithContext(ctx)
	eg.SetLimit(jobs)
	for d := range tree.Blobs() {
		eg.Go(func() error {
			ok, err := image.Mount(gctx, dst, d, src)
			if ok || err != nil {
				return err
			}
			rc, err := src.Blob(gctx, d)
			if err != nil {
				return err
			}
			defer rc.Close()
			b, err := blob.Verify(&blob.Blob{Desc: d, Reader: rc})
			if err == nil {
				_, err = dst.Put(gctx, b)
			}
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	return dst.Commit(ctx, tree)
}

// write makes the name stand for c.
func (p place) write(dir, name string, c *imagetest.Content, jobs int, s disk.Step) error {
	dst, err := p.create(dir, name, s)
	if err != nil {
		return err
	}
	err = send(context.Background(), dst, c.Source(), jobs)
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	return err
}

// read returns an error unless the name stands for the whole of c.
func (p place) read(dir, name string, c *imagetest.Content) error {
	src, err := p.open(dir, name)
	if err != nil {
		return err
	}
	defer src.Close()
	return imagetest.Check(context.Background(), src, c)
}

// imageOf makes an image of one layer for each text, each of its own size.
func imageOf(texts ...string) *imagetest.Content {
	var layers [][]byte
	for i, s := range texts {
		layers = append(layers, bytes.Repeat([]byte(s), 300*(i+1)))
	}
	return imagetest.Plain(layers...)
}

// leftovers lists the temporary files and stages below dir.
func leftovers(t testing.TB, dir string) []string {
	t.Helper()
	var found []string
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if strings.HasPrefix(e.Name(), ".") && path != dir {
			found = append(found, strings.TrimPrefix(path, dir))
		}
		return err
	}))
	return found
}

// files lists all files below dir.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			b, rerr := os.ReadFile(path)
			found[strings.TrimPrefix(path, dir+"/")], err = string(b), rerr
		}
		return err
	}))
	return found
}

// content is an image that is made by hand, with digests of any algorithm.
type content struct{ *imagetest.Content }

func newContent() content {
	return content{&imagetest.Content{Manifests: map[digest.Digest]oci.Raw{}, Blobs: map[digest.Digest][]byte{}}}
}

func (c content) blob(alg digest.Algorithm, mediaType string, b []byte) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: alg.FromBytes(b), Size: int64(len(b))}
	c.Blobs[d.Digest] = b
	return d
}

func (c content) manifest(alg digest.Algorithm, mediaType string, v any) oci.Descriptor {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c.Root = oci.Descriptor{MediaType: mediaType, Digest: alg.FromBytes(b), Size: int64(len(b))}
	c.Manifests[c.Root.Digest] = oci.Raw{MediaType: mediaType, Bytes: b}
	return c.Root
}

// mixed is an index whose parts have digests of all three algorithms.
func mixed() *imagetest.Content {
	c := newContent()
	config := c.blob(digest.SHA384, oci.MediaTypeConfig, []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	layer := c.blob(digest.SHA512, oci.MediaTypeLayer, bytes.Repeat([]byte("x"), 5000))
	m := c.manifest(digest.SHA512, oci.MediaTypeManifest, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": config, "layers": []oci.Descriptor{layer}})
	c.manifest(digest.SHA256, oci.MediaTypeIndex, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": []oci.Descriptor{m}})
	return c.Content
}

func TestAlgorithms(t *testing.T) {
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, p.write(dir, "v1", mixed(), 4, nil))
		check(t, p.read(dir, "v1", mixed()))
		check(t, p.write(dir, "v1", mixed(), 4, nil)) // finds all of it
		check(t, p.read(dir, "v1", mixed()))
	}
}

// A blob whose digest nobody knows beforehand gets the name of what it turned
// out to be.
func TestPutUnknown(t *testing.T) {
	for _, p := range places {
		dst := must(p.create(filepath.Join(t.TempDir(), "x"), "v1", nil))(t)
		defer dst.Close()
		b := must(blob.Measure(&blob.Blob{Desc: oci.Descriptor{MediaType: "a/b", Size: -1}, Reader: strings.NewReader("hello")}))(t)
		got := must(dst.Put(t.Context(), b))(t)
		if want := (oci.Descriptor{MediaType: "a/b", Digest: digest.FromString("hello"), Size: 5}); got.Digest != want.Digest || got.Size != want.Size || got.MediaType != want.MediaType {
			t.Errorf("%s: Put = %v; want %v", p.name, got, want)
		}
		if ok, err := dst.Has(t.Context(), got); !ok || err != nil {
			t.Errorf("%s: Has = %v, %v after Put", p.name, ok, err)
		}
	}
}

// What a document calls a digest becomes a path: nothing but a digest may.
func TestEvilDigests(t *testing.T) {
	c := imagetest.Image()
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, p.write(dir, "v1", c, 1, nil))
		before := files(t, dir)
		src, dst := must(p.open(dir, "v1"))(t), must(p.create(dir, "v1", nil))(t)
		for _, s := range []string{
			"sha256:../../x", "sha256:..", "../x:abc", "sha256", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e",
			"sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("a", 63), "sha256:" + strings.Repeat("a", 63) + "/", "/etc/passwd",
		} {
			d := oci.Descriptor{Digest: digest.Digest(s), Size: 1}
			if _, err := src.Blob(t.Context(), d); err == nil {
				t.Errorf("%s: Blob(%q) opened something", p.name, s)
			}
			if _, err := src.Manifest(t.Context(), d.Digest); err == nil {
				t.Errorf("%s: Manifest(%q) read something", p.name, s)
			}
			if ok, err := dst.Has(t.Context(), d); ok || err == nil {
				t.Errorf("%s: Has(%q) = %v, %v; want an error", p.name, s, ok, err)
			}
			if _, err := dst.Put(t.Context(), &blob.Blob{Desc: d, Reader: strings.NewReader("x")}); err == nil {
				t.Errorf("%s: Put(%q) succeeded", p.name, s)
			}
		}
		src.Close()
		check(t, dst.Close())
		if after := files(t, dir); len(after) != len(before) {
			t.Errorf("%s: files are %v; want %v", p.name, after, before)
		}
	}
}

// A blob file of the wrong length must not even be read.
func TestLyingSize(t *testing.T) {
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, p.write(dir, "v1", imagetest.Image(), 1, nil))
		src := must(p.open(dir, "v1"))(t)
		defer src.Close()
		for d, b := range imagetest.Image().Blobs {
			rc, err := src.Blob(t.Context(), oci.Descriptor{Digest: d, Size: int64(len(b)) + 1})
			if rc != nil || !errors.Is(err, image.ErrMismatch) {
				t.Errorf("%s: Blob of another size: %v; want %v", p.name, err, image.ErrMismatch)
			}
			got := must(image.BlobAt(t.Context(), src, oci.Descriptor{Digest: d, Size: -1}, 7))(t)
			rest := must(io.ReadAll(got))(t)
			if !bytes.Equal(rest, b[7:]) {
				t.Errorf("%s: BlobAt(7) gave %d bytes; want %d", p.name, len(rest), len(b)-7)
			}
			got.Close()
		}
	}
}

// Has must not believe what a file is called: others write here too.
func TestHasReads(t *testing.T) {
	c := imagetest.Image()
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, p.write(dir, "v1", c, 1, nil))
		for name, text := range files(t, dir) {
			if len(filepath.Base(name)) == 64 { // same length, other content
				check(t, os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte{'x'}, len(text)), 0o644))
			}
		}
		dst := must(p.create(dir, "v1", nil))(t)
		for d, b := range c.Blobs {
			if ok, err := dst.Has(t.Context(), oci.Descriptor{Digest: d, Size: int64(len(b))}); ok || err != nil {
				t.Errorf("%s: Has of a spoilt blob = %v, %v", p.name, ok, err)
			}
		}
		check(t, dst.Close())
		check(t, p.write(dir, "v1", c, 1, nil)) // heals it
		check(t, p.read(dir, "v1", c))
	}
}

// A dangling name is worse than none.
func TestCommitIncomplete(t *testing.T) {
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		dst := must(p.create(dir, "v1", nil))(t)
		tree := must(image.Root(t.Context(), imagetest.Image().Source(), ""))(t)
		check(t, tree.Parse())
		if err := dst.Commit(t.Context(), tree); !errors.Is(err, image.ErrIncomplete) {
			t.Errorf("%s: Commit without blobs: %v; want %v", p.name, err, image.ErrIncomplete)
		}
		dst.Close()
		if p.read(dir, "v1", imagetest.Image()) == nil {
			t.Errorf("%s: there is an image all the same", p.name)
		}
	}
}

// Layers that are to be had from elsewhere may stay there; what nobody asked
// to be copied out of an index may be missing too.
func TestCommitSparse(t *testing.T) {
	c := newContent()
	config := c.blob(digest.SHA256, oci.MediaTypeConfig, []byte(`{}`))
	away := oci.Descriptor{MediaType: oci.MediaTypeDockerForeignGz, Digest: digest.FromString("away"), Size: 4, URLs: []string{"https://a.example/x"}}
	m := c.manifest(digest.SHA256, oci.MediaTypeManifest, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": config, "layers": []oci.Descriptor{away}})
	other := oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString("other"), Size: 5}
	c.manifest(digest.SHA256, oci.MediaTypeIndex, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": []oci.Descriptor{m, other}})
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		dst := must(p.create(dir, "v1", nil))(t)
		tree := must(image.Root(t.Context(), c.Source(), ""))(t)
		check(t, tree.Grow(t.Context(), c.Source(), func(*oci.Manifest) (func(int) bool, error) { return func(i int) bool { return i == 0 }, nil }))
		_, err := dst.Put(t.Context(), &blob.Blob{Desc: config, Reader: strings.NewReader("{}")})
		check(t, err)
		check(t, dst.Commit(t.Context(), tree))
		check(t, dst.Close())
		src := must(p.open(dir, "v1"))(t)
		defer src.Close()
		if raw := must(src.Manifest(t.Context(), ""))(t); raw.Digest() != c.Root.Digest {
			t.Errorf("%s: Manifest = %s; want %s", p.name, raw.Digest(), c.Root.Digest)
		}
		if _, err := src.Manifest(t.Context(), other.Digest); !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s: Manifest of what was left out: %v; want %v", p.name, err, image.ErrNotFound)
		}
	}
}

// The name of a manifest is its digest here too.
func TestCommitWrongManifest(t *testing.T) {
	for _, p := range places {
		dst := must(p.create(filepath.Join(t.TempDir(), "x"), "v1", nil))(t)
		defer dst.Close()
		tree := must(image.Root(t.Context(), imagetest.Artifact().Source(), ""))(t)
		tree.Desc.Digest = digest.FromString("something else")
		if err := dst.Commit(t.Context(), tree); !errors.Is(err, image.ErrMismatch) {
			t.Errorf("%s: Commit = %v; want %v", p.name, err, image.ErrMismatch)
		}
	}
}

func blobOf(c *imagetest.Content, d oci.Descriptor) *blob.Blob {
	b, err := blob.Verify(&blob.Blob{Desc: d, Reader: bytes.NewReader(c.Blobs[d.Digest])})
	if err != nil {
		panic(err)
	}
	return b
}

func badBlob() *blob.Blob {
	return &blob.Blob{Desc: desc("bad"), Reader: io.MultiReader(strings.NewReader("b"), failing{})}
}

// A blob that is long enough for the disk to begin early, and one that turns
// out to have another size than was said.
func TestPutSizes(t *testing.T) {
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		dst := must(p.create(dir, "v1", nil))(t)
		long := patterns(1, 9<<20+5)[0]
		d := must(dst.Put(t.Context(), long()))(t)
		check(t, dst.Close())
		dst = must(p.create(dir, "v1", nil))(t)
		if ok, err := dst.Has(t.Context(), d); !ok || err != nil || d.Size != 9<<20+5 {
			t.Errorf("%s: Has = %v, %v after Put of %d bytes", p.name, ok, err, d.Size)
		}
		short := &blob.Blob{Desc: desc("abc"), Reader: strings.NewReader("ab")} // by a caller that verifies nothing
		if _, err := dst.Put(t.Context(), short); !errors.Is(err, image.ErrMismatch) {
			t.Errorf("%s: Put of too few bytes: %v; want %v", p.name, err, image.ErrMismatch)
		}
		check(t, dst.Close())
	}
}

// Nothing may be named behind the back of a user who has said stop.
func TestCommitCancelled(t *testing.T) {
	for _, p := range places {
		dir, c := filepath.Join(t.TempDir(), "x"), imagetest.Image()
		dst := must(p.create(dir, "v1", nil))(t)
		tree := must(image.Root(t.Context(), c.Source(), ""))(t)
		check(t, tree.Parse())
		for d := range tree.Blobs() {
			must(dst.Put(t.Context(), blobOf(c, d)))(t)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := dst.Commit(ctx, tree); !errors.Is(err, context.Canceled) || p.read(dir, "v1", c) == nil {
			t.Errorf("%s: Commit = %v; want %v and no image", p.name, err, context.Canceled)
		}
		check(t, dst.Close())
	}
}

// Some file systems have no hard links; then more is written, and all the same
// becomes of it.
func TestNoLinks(t *testing.T) {
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		for _, c := range []*imagetest.Content{imagetest.Index(), imagetest.Image()} {
			check(t, p.write(dir, "v1", c, 2, func(op, _ string) error {
				if op == "link" {
					return unix.EPERM
				}
				return nil
			}))
			check(t, p.read(dir, "v1", c))
		}
		if l := leftovers(t, dir); l != nil {
			t.Errorf("%s: left %v", p.name, l)
		}
	}
}
