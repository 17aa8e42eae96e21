package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/test/harness"
)

// TestMain is where the test program, started anew, writes archives until it
// is killed; see crash_test.go.
func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		writeForever(path)
	}
	os.Exit(harness.Main(m))
}

// treeOf returns the tree of c, grown.
func treeOf(t testing.TB, c *imagetest.Content) *image.Tree {
	t.Helper()
	tree, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = tree.Grow(t.Context(), c.Source(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// streamOf returns c as a stream.
func streamOf(t testing.TB, c *imagetest.Content, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, o)
	defer w.Close()
	if err := imagetest.Send(t.Context(), w, c); err != nil {
		t.Fatalf("write stream: %v", err)
	}
	return b.Bytes()
}

// writeTo sends c into the file path.
func writeTo(t testing.TB, path string, c *imagetest.Content, o Options) {
	t.Helper()
	dst, err := Create(path, o)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	if err := imagetest.Send(t.Context(), dst, c); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	if err := dst.Close(); err != nil {
		t.Fatalf("close %s: %v", path, err)
	}
}

// take copies what src holds into memory, as the engine does: a stream's blobs
// as they come and, if its manifest comes late, before it. The content is
// returned only if all of it is there and verified.
func take(ctx context.Context, src image.Source) (*imagetest.Memory, error) {
	dst := imagetest.NewMemory(image.Wants{})
	tree, err := grow(ctx, src)
	seq, isSeq := src.(image.Sequence)
	if err != nil && !(isSeq && errors.Is(err, image.ErrLater)) {
		return nil, err
	}
	if isSeq {
		if err := takeAll(ctx, dst, seq); err != nil {
			return nil, err
		}
	}
	if tree == nil {
		if tree, err = grow(ctx, src); err != nil {
			return nil, err
		}
	}
	for d := range tree.Blobs() {
		if _, ok := dst.Blobs[d.Digest]; ok {
			continue
		}
		b, err := image.ReadBlob(ctx, src, d, 1<<30)
		if err != nil {
			return nil, err
		}
		dst.Blobs[d.Digest] = b
	}
	return dst, dst.Commit(ctx, tree)
}

func grow(ctx context.Context, src image.Source) (*image.Tree, error) {
	tree, err := image.Root(ctx, src, "")
	if err != nil {
		return nil, err
	}
	if err := tree.Grow(ctx, src, nil); err != nil {
		return nil, err
	}
	return tree, nil
}

func takeAll(ctx context.Context, dst *imagetest.Memory, seq image.Sequence) error {
	for {
		b, err := seq.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		placed := b.Placed
		if b, err = blob.Verify(b); err != nil {
			return err
		}
		now, err := dst.Put(ctx, b)
		if err != nil {
			return err
		}
		if placed != nil {
			placed(now)
		}
	}
}

// readers are the ways to read the tar b.
func readers(t testing.TB, b []byte, sel Selection) map[string]image.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	all := map[string]image.Source{"stream": NewReader(bytes.NewReader(b), sel)}
	if s, err := OpenFile(path, sel); err != nil {
		all["file"] = broken{err}
	} else {
		all["file"] = s
	}
	t.Cleanup(func() {
		for _, s := range all {
			s.Close()
		}
	})
	return all
}

// broken is a source that could not be opened.
type broken struct{ err error }

func (b broken) Manifest(context.Context, digest.Digest) (oci.Raw, error) { return oci.Raw{}, b.err }
func (b broken) Blob(context.Context, oci.Descriptor) (io.ReadCloser, error) {
	return nil, b.err
}
func (broken) Close() error { return nil }

// sameImage fails unless got is c.
func sameImage(t testing.TB, got *imagetest.Memory, c *imagetest.Content) {
	t.Helper()
	if err := imagetest.Check(t.Context(), got.Source(), c); err != nil {
		t.Error(err)
	}
}

// member is a member of a tar made by hand.
type member struct {
	name, link string
	kind       byte // 0 for a regular file, or for a symbolic link if link is set
	body       []byte
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Linkname: m.link, Typeflag: m.kind, Size: int64(len(m.body)), Mode: 0o644}
		switch {
		case m.kind == 0 && m.link != "":
			h.Typeflag = tar.TypeSymlink
		case m.kind == 0:
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// membersOf is the opposite of tarOf.
func membersOf(t testing.TB, b []byte) []member {
	t.Helper()
	var all []member
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, member{h.Name, h.Linkname, h.Typeflag, body})
	}
}

func docker(t testing.TB, s string) reference.Docker {
	t.Helper()
	d, err := reference.ParseDocker(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fileOf(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// The law for all transports, for a file that may be read in place and for
// one that is a stream.
func TestPlaces(t *testing.T) {
	places := map[string]struct {
		o   Options
		sel Selection
	}{
		"named":   {Options{View: OCI, Name: "v1"}, Selection{View: OCI, Name: "v1"}},
		"unnamed": {Options{View: OCI}, Selection{View: OCI}},
		"any":     {Options{Labels: []reference.Docker{docker(t, "a.example/b:c")}}, Selection{Name: "a.example/b:c"}},
		"replace": {Options{View: OCI, Existing: Replace}, Selection{View: OCI}},
	}
	for name, p := range places {
		t.Run(name, func(t *testing.T) {
			imagetest.TestPlace(t, func(t *testing.T) imagetest.Place {
				path := filepath.Join(t.TempDir(), "a.tar")
				return imagetest.Place{
					Create: func(t *testing.T) image.Destination {
						dst, err := Create(path, p.o)
						if err != nil {
							t.Fatal(err)
						}
						return dst
					},
					Open: func(*testing.T) (image.Source, error) { return OpenFile(path, p.sel) },
				}
			})
		})
	}
}

// A shared buffer is written by one goroutine and looked at by another.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

// A stream is a place whose name stands for something when its end has come.
func TestStreamPlace(t *testing.T) {
	imagetest.TestPlace(t, func(t *testing.T) imagetest.Place {
		var last *shared
		var committed []byte
		look := func() {
			if last == nil {
				return
			}
			b := last.bytes()
			r := NewReader(bytes.NewReader(b), Selection{})
			defer r.Close()
			if _, err := take(context.Background(), r); err == nil {
				committed = b
			}
		}
		return imagetest.Place{
			Create: func(*testing.T) image.Destination {
				look()
				last = new(shared)
				return NewWriter(last, Options{})
			},
			Open: func(*testing.T) (image.Source, error) {
				look()
				if committed == nil {
					return nil, image.ErrNotFound
				}
				return NewReader(bytes.NewReader(committed), Selection{}), nil
			},
		}
	})
}

// What the docker view writes must be found again by both views, with the same
// digest.
func TestDockerView(t *testing.T) {
	for _, c := range []*imagetest.Content{imagetest.Image(), imagetest.Docker()} {
		path := filepath.Join(t.TempDir(), "a.tar")
		writeTo(t, path, c, Options{View: Docker, Labels: []reference.Docker{docker(t, "foo/bar:1"), docker(t, "foo/bar:2")}})
		for _, sel := range []Selection{
			{View: Docker}, {View: Docker, Name: "foo/bar:2"}, {View: Docker, Position: 1},
			{View: OCI}, {View: OCI, Name: "1"}, {}, {Name: "docker.io/foo/bar:1"}, {View: OCI, Position: 2},
		} {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for kind, src := range readers(t, b, sel) {
				got, err := take(t.Context(), src)
				if err != nil {
					t.Errorf("%s, %+v: %v", kind, sel, err)
					continue
				}
				sameImage(t, got, c)
				if image.Made(src) {
					t.Errorf("%s, %+v: Made() = true; the manifest is in the archive", kind, sel)
				}
			}
		}
	}
	for name, c := range map[string]*imagetest.Content{"artifact": imagetest.Artifact(), "index": imagetest.Index()} {
		w := NewWriter(io.Discard, Options{View: Docker})
		if err := imagetest.Send(t.Context(), w, c); !errors.Is(err, image.ErrUnsupported) {
			t.Errorf("docker archive of an %s: %v; want %v", name, err, image.ErrUnsupported)
		}
		w.Close()
	}
}

// The same image gives the same bytes, to a stream and to a file, in whatever
// order its blobs are put into the file.
func TestBytesAreTheSame(t *testing.T) {
	for name, c := range imagetest.Everything() {
		o := Options{Name: "v1", Labels: []reference.Docker{docker(t, "a.example/b:c")}}
		want := streamOf(t, c, o)
		if again := streamOf(t, c, o); !bytes.Equal(again, want) {
			t.Errorf("%s: two streams differ", name)
		}
		path := filepath.Join(t.TempDir(), "a.tar")
		writeTo(t, path, c, o)
		if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
			t.Errorf("%s: the file differs from the stream", name)
		}
		path = filepath.Join(t.TempDir(), "a.tar")
		if err := sendBackwards(t, path, c, o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
			t.Errorf("%s: the file differs when its blobs come backwards", name)
		}
	}
}

// sendBackwards puts the last blob first.
func sendBackwards(t *testing.T, path string, c *imagetest.Content, o Options) error {
	dst, err := Create(path, o)
	if err != nil {
		return err
	}
	defer dst.Close()
	tree := treeOf(t, c)
	if err := image.Begin(t.Context(), dst, tree); err != nil {
		return err
	}
	blobs := slices.Collect(tree.Blobs())
	slices.Reverse(blobs)
	for _, d := range blobs {
		if err := putBytes(t.Context(), dst, d, c.Blobs[d.Digest]); err != nil {
			return err
		}
	}
	return dst.Commit(t.Context(), tree)
}

func putBytes(ctx context.Context, dst image.Destination, d oci.Descriptor, b []byte) error {
	v, err := blob.Verify(&blob.Blob{Desc: d, Reader: bytes.NewReader(b)})
	if err != nil {
		return err
	}
	_, err = dst.Put(ctx, v)
	return err
}

// A destination whose tree is not known beforehand gets the head last. Small
// blobs, which come several at a time, must not change the bytes by their
// order.
func TestHeadLast(t *testing.T) {
	c := imagetest.Index()
	tree := treeOf(t, c)
	var results [][]byte
	for _, backwards := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "a.tar")
		dst, err := Create(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		blobs := slices.Collect(tree.Blobs())
		if backwards {
			slices.Reverse(blobs)
		}
		for _, d := range blobs {
			if err := putBytes(t.Context(), dst, d, c.Blobs[d.Digest]); err != nil {
				t.Fatal(err)
			}
		}
		if err := dst.Commit(t.Context(), tree); err != nil {
			t.Fatal(err)
		}
		dst.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, b)
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Errorf("the order in which blobs came changed the archive")
	}
	var s bytes.Buffer
	w := NewWriter(&s, Options{})
	defer w.Close()
	for d := range tree.Blobs() {
		if err := putBytes(t.Context(), w, d, c.Blobs[d.Digest]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{results[0], s.Bytes()} {
		for kind, src := range readers(t, b, Selection{}) {
			got, err := take(t.Context(), src)
			if err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			sameImage(t, got, c)
		}
	}
}

// Nothing may be committed that is not all there.
func TestCommitIncomplete(t *testing.T) {
	c := imagetest.Image()
	tree := treeOf(t, c)
	path := filepath.Join(t.TempDir(), "a.tar")
	f, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, dst := range []image.Destination{NewWriter(io.Discard, Options{}), f} {
		if err := image.Begin(t.Context(), dst, tree); err != nil {
			t.Fatal(err)
		}
		d := tree.Manifest.Layers[0]
		if err := putBytes(t.Context(), dst, d, c.Blobs[d.Digest]); err != nil {
			t.Fatal(err)
		}
		if err := dst.Commit(t.Context(), tree); !errors.Is(err, image.ErrIncomplete) {
			t.Errorf("Commit = %v; want %v", err, image.ErrIncomplete)
		}
		dst.Close()
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat = %v; want no file", err)
	}
	noLitter(t, path)
}

// noLitter fails if something lies beside path.
func noLitter(t testing.TB, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// A tree that changes after the head was written would make a stream that
// announces another image than it holds.
func TestOtherTree(t *testing.T) {
	w := NewWriter(io.Discard, Options{})
	defer w.Close()
	if err := w.Begin(t.Context(), treeOf(t, imagetest.Artifact())); err != nil {
		t.Fatal(err)
	}
	if err := w.Begin(t.Context(), treeOf(t, imagetest.Image())); !errors.Is(err, errOther) {
		t.Errorf("Begin = %v; want %v", err, errOther)
	}
	if err := w.Commit(t.Context(), treeOf(t, imagetest.Artifact())); err == nil {
		t.Errorf("a stream was committed after an error")
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
