package copy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

func options() Options { return Options{Gate: AdmitAll, Source: "a", Destination: "b"} }

func mustCopy(t *testing.T, dst image.Destination, src image.Source, o Options) Result {
	t.Helper()
	r, err := Copy(t.Context(), dst, src, o)
	if err != nil {
		t.Fatalf("Copy: %v", err)
	}
	return r
}

// The first promise: what the name names is copied whole, byte for byte,
// whatever kind it is and however the destination takes its blobs.
func TestCopyExactly(t *testing.T) {
	for name, c := range imagetest.Everything() {
		for _, w := range []image.Wants{{}, {Ordered: true, Sizes: true}} {
			t.Run(fmt.Sprintf("%s/ordered=%v", name, w.Ordered), func(t *testing.T) {
				dst := imagetest.NewMemory(w)
				r := mustCopy(t, dst, c.Source(), options())
				if r.Root.Digest != c.Root.Digest || r.Moved != len(c.Blobs) {
					t.Errorf("Copy = %s with %d blobs; want %s with %d", r.Root.Digest, r.Moved, c.Root.Digest, len(c.Blobs))
				}
				if err := imagetest.Check(t.Context(), dst.Source(), c); err != nil {
					t.Error(err)
				}
				if dst.Begun == nil {
					t.Errorf("Begin was not called")
				}
			})
		}
	}
}

func layerOrder(t *testing.T, c *imagetest.Content) []digest.Digest {
	t.Helper()
	tree, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = tree.Grow(t.Context(), c.Source(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	var order []digest.Digest
	for d := range tree.Blobs() {
		order = append(order, d.Digest)
	}
	return order
}

// A stream gives its manifests first or last, and its blobs in any order; the
// small ones it may not give at all, because they wait in memory.
func TestCopyStream(t *testing.T) {
	c := imagetest.Index()
	order := layerOrder(t, c)
	backwards := slices.Clone(order)
	slices.Reverse(backwards)
	for _, late := range []bool{false, true} {
		for i, o := range [][]digest.Digest{order, backwards, order[:3], nil} {
			for _, w := range []image.Wants{{}, {Ordered: true, Sizes: true}} {
				t.Run(fmt.Sprintf("late=%v/order%d/ordered=%v", late, i, w.Ordered), func(t *testing.T) {
					dst := imagetest.NewMemory(w)
					mustCopy(t, dst, c.Stream(late, o...), options())
					if err := imagetest.Check(t.Context(), dst.Source(), c); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func TestPlatforms(t *testing.T) {
	c := imagetest.Index()
	for _, tt := range []struct {
		want   string
		sparse bool
		count  int // manifests written
		same   bool
	}{
		{"linux/amd64", false, 3, false}, // index, image, attestation
		{"linux/amd64,linux/arm64", false, 5, false},
		{"linux/arm64/v8", false, 3, false},
		{"linux/amd64,linux/arm64,linux/s390x", false, 7, true},
		{"linux/s390x", true, 3, true},
	} {
		t.Run(tt.want, func(t *testing.T) {
			o := options()
			o.Sparse = tt.sparse
			for _, s := range strings.Split(tt.want, ",") {
				p, err := oci.ParsePlatform(s)
				if err != nil {
					t.Fatal(err)
				}
				o.Platforms = append(o.Platforms, p)
			}
			dst := imagetest.NewMemory(image.Wants{})
			r := mustCopy(t, dst, c.Source(), o)
			if len(dst.Manifests) != tt.count {
				t.Errorf("%d manifests were written; want %d", len(dst.Manifests), tt.count)
			}
			if same := r.Root.Digest == c.Root.Digest; same != tt.same {
				t.Errorf("root is the same: %v; want %v", same, tt.same)
			}
			if (tt.sparse || !tt.same) && len(r.Notes) == 0 {
				t.Errorf("nothing was said about the index")
			}
		})
	}
	o := options()
	o.Platforms = []oci.Platform{{OS: "plan9", Architecture: "mips"}}
	if _, err := Copy(t.Context(), imagetest.NewMemory(image.Wants{}), c.Source(), o); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("copy of a platform that is not there: %v; want %v", err, image.ErrNotFound)
	}
}

// A platform that a single image is not for must not be copied in its place.
func TestPlatformOfSingleImage(t *testing.T) {
	o := options()
	o.Platforms = []oci.Platform{imagetest.ARM64}
	dst := imagetest.NewMemory(image.Wants{})
	if _, err := Copy(t.Context(), dst, imagetest.Image().Source(), o); !errors.Is(err, image.ErrNotFound) || dst.Committed {
		t.Errorf("Copy = %v, committed %v", err, dst.Committed)
	}
}

func TestSingle(t *testing.T) {
	for _, c := range []*imagetest.Content{imagetest.Index(), imagetest.Nested()} {
		dst := imagetest.NewMemory(image.Wants{Single: true})
		o := options()
		o.Platforms = []oci.Platform{imagetest.AMD64}
		r := mustCopy(t, dst, c.Source(), o)
		if oci.IsIndexType(r.Root.MediaType) || len(dst.Manifests) != 1 {
			t.Errorf("copied %s with %d manifests; want one image", r.Root.MediaType, len(dst.Manifests))
		}
		if r.Source != c.Root.Digest {
			t.Errorf("Source = %s; want %s", r.Source, c.Root.Digest)
		}
	}
}

func TestGate(t *testing.T) {
	c := imagetest.Image()
	c.Manifests[c.Root.Digest] = oci.Raw{Bytes: []byte("not even JSON")}
	refuse := errors.New("no")
	o := options()
	o.Gate = func(_ context.Context, raw oci.Raw) error {
		if string(raw.Bytes) != "not even JSON" {
			t.Errorf("the gate saw %q", raw.Bytes)
		}
		return refuse
	}
	if _, err := Copy(t.Context(), imagetest.NewMemory(image.Wants{}), c.Source(), o); !errors.Is(err, refuse) {
		t.Errorf("Copy = %v; want the gate's error: it comes before parsing", err)
	}
	o.Gate = nil
	if _, err := Copy(t.Context(), imagetest.NewMemory(image.Wants{}), imagetest.Image().Source(), o); !errors.Is(err, image.ErrRejected) {
		t.Errorf("Copy without a gate = %v; want %v", err, image.ErrRejected)
	}
}

func TestPinAndTarget(t *testing.T) {
	c, other := imagetest.Image(), imagetest.Docker().Root.Digest
	o := options()
	o.Target = other
	if _, err := Copy(t.Context(), imagetest.NewMemory(image.Wants{}), c.Source(), o); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("Copy to another digest = %v; want %v", err, image.ErrMismatch)
	}
	o = options()
	o.Pin = other
	c.Manifests[other] = c.Manifests[c.Root.Digest] // a source that lies
	if _, err := Copy(t.Context(), imagetest.NewMemory(image.Wants{}), c.Source(), o); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("Copy of another digest = %v; want %v", err, image.ErrMismatch)
	}
}

// Every way in which a source's bytes can be wrong must name the source, and
// commit nothing.
func TestLyingSource(t *testing.T) {
	for name, spoil := range map[string]func(c *imagetest.Content){
		"blob changed": func(c *imagetest.Content) {
			for d, b := range c.Blobs {
				c.Blobs[d] = append(slices.Clone(b[1:]), 'x')
			}
		},
		"blob missing": func(c *imagetest.Content) { clear(c.Blobs) },
		"child changed": func(c *imagetest.Content) {
			for d, raw := range c.Manifests {
				if d != c.Root.Digest {
					c.Manifests[d] = oci.Raw{MediaType: raw.MediaType, Bytes: append(slices.Clone(raw.Bytes), ' ')}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := imagetest.Index()
			spoil(c)
			dst := imagetest.NewMemory(image.Wants{})
			_, err := Copy(t.Context(), dst, c.Source(), options())
			var e *image.Error
			if !errors.As(err, &e) || e.Side != image.SideSource || e.Reference != "a" {
				t.Errorf("Copy = %v; want an error of the source", err)
			}
			if dst.Committed {
				t.Errorf("it was committed all the same")
			}
		})
	}
}

// broken is a destination whose n-th Put fails, without reading its blob.
type broken struct {
	*imagetest.Memory
	left *int
	mu   *sync.Mutex
}

var errDisk = errors.New("disk full")

func (b broken) Put(ctx context.Context, x *blob.Blob) (oci.Descriptor, error) {
	b.mu.Lock()
	*b.left--
	fail := *b.left < 0
	b.mu.Unlock()
	if fail {
		return oci.Descriptor{}, errDisk
	}
	return b.Memory.Put(ctx, x)
}

func TestBrokenDestination(t *testing.T) {
	c := imagetest.Index()
	for n := range len(c.Blobs) {
		for _, w := range []image.Wants{{}, {Ordered: true}} {
			for _, src := range []image.Source{c.Source(), c.Stream(false, layerOrder(t, c)...), c.Stream(true, layerOrder(t, c)...)} {
				left := n
				dst := broken{imagetest.NewMemory(w), &left, new(sync.Mutex)}
				_, err := Copy(t.Context(), dst, src, options())
				var e *image.Error
				if !errors.Is(err, errDisk) || !errors.As(err, &e) || e.Side != image.SideDestination || dst.Committed {
					t.Fatalf("Put %d fails: Copy = %v, committed %v", n, err, dst.Committed)
				}
			}
		}
	}
}

// resolving is a destination that knows what its name stands for.
type resolving struct {
	*imagetest.Memory
	now digest.Digest
}

func (r resolving) Resolve(context.Context) (digest.Digest, error) { return r.now, nil }

// counting counts what a source is asked for.
type counting struct {
	image.Source
	manifests, blobs int
}

func (c *counting) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	c.manifests++
	return c.Source.Manifest(ctx, d)
}

func (c *counting) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	c.blobs++
	return c.Source.Blob(ctx, d)
}

// A copy of what is there already asks the source for one manifest, and the
// destination for one.
func TestNothingToDo(t *testing.T) {
	c := imagetest.Index()
	src := &counting{Source: c.Source()}
	dst := resolving{imagetest.NewMemory(image.Wants{}), c.Root.Digest}
	r := mustCopy(t, dst, src, options())
	if !r.Same || dst.Committed || src.manifests != 1 || src.blobs != 0 {
		t.Errorf("Copy = %+v, committed %v, %d manifests and %d blobs read", r, dst.Committed, src.manifests, src.blobs)
	}
}

// made is a source that made its manifest up.
type made struct{ image.Source }

func (made) Made() bool { return true }

// Layers that nobody can have pinned are compressed where that is wanted; the
// manifest and the destination then agree about them.
func TestCompressMade(t *testing.T) {
	plain, _ := imagetest.Layer("x", []byte(strings.Repeat("content", 1000)))
	c := imagetest.Plain(plain)
	dst := imagetest.NewMemory(image.Wants{Layers: image.Compressed})
	r := mustCopy(t, dst, made{c.Source()}, options())
	if r.Root.Digest == c.Root.Digest {
		t.Fatalf("nothing was compressed")
	}
	tree, err := image.Root(t.Context(), dst.Source(), r.Root.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Parse(); err != nil {
		t.Fatal(err)
	}
	layer := tree.Manifest.Layers[0]
	if layer.MediaType != oci.MediaTypeDockerLayerGzip || blob.Sniff(dst.Blobs[layer.Digest]) != blob.Gzip {
		t.Errorf("layer is %s", layer.MediaType)
	}
	if err := imagetest.Check(t.Context(), dst.Source(), &dst.Content); err != nil {
		t.Error(err)
	}
	dst = imagetest.NewMemory(image.Wants{Layers: image.Compressed})
	if r := mustCopy(t, dst, c.Source(), options()); r.Root.Digest != c.Root.Digest {
		t.Errorf("a manifest that is known by its digest was changed")
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, w := range []image.Wants{{}, {Ordered: true}} {
		dst := imagetest.NewMemory(w)
		if _, err := Copy(ctx, dst, imagetest.Index().Source(), options()); !errors.Is(err, context.Canceled) || dst.Committed {
			t.Errorf("Copy = %v, committed %v; want %v", err, dst.Committed, context.Canceled)
		}
	}
}

func TestEvents(t *testing.T) {
	var mu sync.Mutex
	seen := map[image.Kind]int{}
	o := options()
	o.Notify = func(e image.Event) { mu.Lock(); seen[e.Kind]++; mu.Unlock() }
	c := imagetest.Image()
	mustCopy(t, imagetest.NewMemory(image.Wants{}), c.Source(), o)
	if seen[image.EventPlan] != 1 || seen[image.EventCopy] != 4 || seen[image.EventDone] != 4 || seen[image.EventCommit] != 1 {
		t.Errorf("events: %v", seen)
	}
}

// with adds an index of entries to c, as its root.
func with(t *testing.T, c *imagetest.Content, entries ...oci.Descriptor) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": entries})
	if err != nil {
		t.Fatal(err)
	}
	raw := oci.Raw{MediaType: oci.MediaTypeIndex, Bytes: b}
	c.Root = raw.Descriptor()
	c.Manifests[c.Root.Digest] = raw
}

// A blob moves once, whoever names it. An image that says two sizes of it would
// be committed with one of them unchecked.
func TestTwoSizes(t *testing.T) {
	c := imagetest.Image()
	first := c.Root
	lie := oci.Raw{MediaType: first.MediaType, Bytes: bytes.Replace(c.Manifests[first.Digest].Bytes, []byte(`"size": `), []byte(`"size": 1`), 1)}
	c.Manifests[lie.Digest()] = lie
	with(t, c, first, lie.Descriptor())
	dst := imagetest.NewMemory(image.Wants{})
	if _, err := Copy(t.Context(), dst, c.Source(), options()); !errors.Is(err, oci.ErrInvalid) || dst.Puts > 0 {
		t.Errorf("Copy = %v after %d blobs; want %v before the first", err, dst.Puts, oci.ErrInvalid)
	}
}

// A chain of indexes is followed as deep as a tree of them may be, no deeper:
// each link is a request to a server that can make up any number.
func TestInstanceDepth(t *testing.T) {
	c := imagetest.Image()
	for range oci.MaxDepth {
		d := c.Root
		d.Platform = &imagetest.AMD64
		with(t, c, d)
	}
	instance := func() error {
		root, err := image.Root(t.Context(), c.Source(), "")
		if err != nil {
			return err
		}
		_, err = Instance(t.Context(), c.Source(), root, imagetest.AMD64)
		return err
	}
	if err := instance(); err != nil {
		t.Errorf("%d indexes: %v", oci.MaxDepth, err)
	}
	with(t, c, c.Root)
	if err := instance(); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("%d indexes: %v; want %v", oci.MaxDepth+1, err, oci.ErrInvalid)
	}
}

// What is no image has no platform. It is copied, but not without a word: the
// user has asked for something that was not done.
func TestPlatformOfArtifact(t *testing.T) {
	c := imagetest.Artifact()
	o := options()
	o.Platforms = []oci.Platform{imagetest.ARM64}
	r := mustCopy(t, imagetest.NewMemory(image.Wants{}), c.Source(), o)
	if r.Root.Digest != c.Root.Digest || len(r.Notes) != 1 {
		t.Errorf("copied %s with notes %q; want %s and one note", r.Root.Digest, r.Notes, c.Root.Digest)
	}
}

// Where a stream's copy fails in one place, everything else is cancelled; the
// user is to read of the place, and not of the cancelling.
func TestStreamSaysOneError(t *testing.T) {
	c := imagetest.Index()
	for n := range 3 {
		left := n
		dst := broken{imagetest.NewMemory(image.Wants{}), &left, new(sync.Mutex)}
		_, err := Copy(t.Context(), dst, c.Stream(true, layerOrder(t, c)...), options())
		if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "cancel") {
			t.Errorf("Copy = %q; want the disk alone", err)
		}
	}
}

// The directory that a layer is spooled in is the destination's: that it is
// full is no fault of the source.
func TestSpoolBlamesDestination(t *testing.T) {
	plain, _ := imagetest.Layer("x", []byte("content"))
	dst := imagetest.NewMemory(image.Wants{Layers: image.Compressed, Sizes: true, Spool: "/nonexistent"})
	_, err := Copy(t.Context(), dst, made{imagetest.Plain(plain).Source()}, options())
	var e *image.Error
	if !errors.As(err, &e) || e.Side != image.SideDestination || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Copy = %v; want an error of the destination", err)
	}
}

// half is a destination that reads a little of a blob and then fails.
type half struct{ *imagetest.Memory }

func (half) Put(_ context.Context, b *blob.Blob) (oci.Descriptor, error) {
	if _, err := io.ReadFull(b, make([]byte, 5)); err != nil {
		return oci.Descriptor{}, err
	}
	return oci.Descriptor{}, errDisk
}

// A copy that fails leaves nothing behind that runs: the bubble fails the test
// if a goroutine that compresses is left at its end.
func TestFailureLeavesNothing(t *testing.T) {
	plain, _ := imagetest.Layer("x", bytes.Repeat([]byte("content"), 1_000_000))
	for _, w := range []image.Wants{{Layers: image.Compressed}, {Layers: image.Compressed, Ordered: true}, {Ordered: true}} {
		synctest.Test(t, func(t *testing.T) {
			dst := half{imagetest.NewMemory(w)}
			if _, err := Copy(t.Context(), dst, made{imagetest.Plain(plain).Source()}, options()); !errors.Is(err, errDisk) {
				t.Errorf("Copy = %v; want %v", err, errDisk)
			}
		})
	}
}

// opening counts the blobs that are open at the same time.
type opening struct {
	image.Source
	mu        sync.Mutex
	now, most int
}

type closing struct {
	io.ReadCloser
	o *opening
}

func (o *opening) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now++
	o.most = max(o.most, o.now)
	rc, err := o.Source.Blob(ctx, d)
	return closing{rc, o}, err
}

func (c closing) Close() error {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	c.o.now--
	return c.ReadCloser.Close()
}

// A server that allows one connection must see one, whatever the order; and
// what was opened is closed, whether the copy succeeds or not.
func TestJobs(t *testing.T) {
	for _, w := range []image.Wants{{}, {Ordered: true}} {
		for _, jobs := range []int{1, 2, 100} {
			for _, n := range []int{0, 1, 3, 100} {
				src := &opening{Source: imagetest.Index().Source()}
				o := options()
				o.Jobs = jobs
				left := n
				_, err := Copy(t.Context(), broken{imagetest.NewMemory(w), &left, new(sync.Mutex)}, src, o)
				if (err == nil) != (n == 100) {
					t.Errorf("Put %d fails: Copy = %v", n, err)
				}
				if src.most > jobs || src.now != 0 {
					t.Errorf("ordered=%v, %d jobs: %d blobs open at once, %d left open", w.Ordered, jobs, src.most, src.now)
				}
			}
		}
	}
}

// again is a destination whose transfers break off once, and go on.
type again struct{ *imagetest.Memory }

func (a again) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	if _, err := io.ReadFull(b, make([]byte, 10)); err != nil {
		return oci.Descriptor{}, err
	}
	rc, err := b.Reopen(4)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer rc.Close()
	rest, err := io.ReadAll(rc)
	if err == nil && int64(len(rest)) != b.Desc.Size-4 {
		err = fmt.Errorf("reopened at 4, it has %d bytes of %d", len(rest), b.Desc.Size)
	}
	a.Blobs[b.Desc.Digest] = nil
	return b.Desc, err
}

// Progress goes on where a transfer does, and counts from there.
func TestProgressOfReopened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most int64
		o := options()
		o.Jobs = 1
		o.Notify = func(e image.Event) {
			if e.Kind == image.EventProgress {
				most = max(most, e.Done)
			}
		}
		_, packed := imagetest.Layer("x", noise(100_000))
		c := imagetest.Plain(packed)
		mustCopy(t, again{imagetest.NewMemory(image.Wants{})}, slow{c.Source()}, o)
		if most != int64(len(packed)) {
			t.Errorf("progress came to %d bytes; want %d", most, len(packed))
		}
	})
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

// slow is a source that takes a second, by the clock of a bubble, for a read.
type slow struct{ image.Source }

func (s slow) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	rc, err := s.Source.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{delayed{rc}, rc}, nil
}

type delayed struct{ r io.Reader }

func (d delayed) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return d.r.Read(p)
}

// A stream that ends in good order and lacks a blob, as the head of one does,
// is not whole: nobody has looked for something that is not there.
func TestStreamLacksBlob(t *testing.T) {
	for _, late := range []bool{false, true} {
		c := imagetest.Index()
		order := layerOrder(t, c)
		delete(c.Blobs, order[len(order)-1])
		dst := imagetest.NewMemory(image.Wants{})
		_, err := Copy(t.Context(), dst, c.Stream(late, order[:len(order)-1]...), options())
		if !errors.Is(err, image.ErrIncomplete) || errors.Is(err, image.ErrNotFound) || dst.Committed {
			t.Errorf("late=%v: Copy = %v; want %v", late, err, image.ErrIncomplete)
		}
	}
}
