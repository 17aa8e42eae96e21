package copy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

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
