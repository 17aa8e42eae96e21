package registry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

const (
	farewell     = 1500 * time.Millisecond // for what is left to be cleaned up at the end
	parallelPuts = 8                       // manifests at a time
)

// A Destination writes one image to a registry. It is an image.Destination
// that mounts, resolves, lists tags and referrers, looks up other names, and
// wants to know the tree beforehand.
type Destination struct {
	*session
	mounts    atomic.Bool // the registry has been seen to mount
	mountless atomic.Bool // the registry does not take mounts
	patchOnly atomic.Bool // the registry does not take a blob with the closing PUT
	chunk     atomic.Int64

	mu   sync.Mutex
	open map[digest.Digest]*place

	background sync.WaitGroup
	life       context.Context // of what is in the background
	end        context.CancelFunc
}

// Destination opens the repository for writing. It sends nothing.
func (r *Repository) Destination() *Destination {
	d := &Destination{session: r.session("pull", "push"), open: map[digest.Digest]*place{}}
	d.life, d.end = context.WithCancel(context.Background())
	d.chunk.Store(r.o.ChunkSize)
	return d
}

// Expect is told, best before the first request, where blobs will come from.
// If that is a Source of the same registry, or has one, they will be mounted
// from there, and tokens are asked for that allow it.
func (d *Destination) Expect(src image.Source) {
	for _, s := range sourcesOf(src) {
		if s.remote.same(d.remote) && s.ref.Path != d.ref.Path {
			d.auth.expect(repositoryScope(s.ref.Path, "pull"))
		}
	}
}

// Shares reports whether src is of the same registry.
func (d *Destination) Shares(src image.Source) bool { return d.shared(src) != nil }

// shared returns the Source of the same registry that src is or has, nil if
// there is none.
func (d *Destination) shared(src image.Source) *Source {
	for _, s := range sourcesOf(src) {
		if s.remote.same(d.remote) {
			return s
		}
	}
	return nil
}

// Wants says that layers should be compressed.
func (d *Destination) Wants() image.Wants { return image.Wants{Layers: image.Compressed} }

// Begin refuses a tree that could not be committed in the end: another one
// than the digest that the destination is named by.
func (d *Destination) Begin(_ context.Context, t *image.Tree) error { return d.checkPin(t) }

func (d *Destination) checkPin(t *image.Tree) error {
	pin := d.ref.Digest
	if pin == "" {
		return nil
	}
	if got := t.Raw.DigestBy(pin.Algorithm()); got != pin {
		return fmt.Errorf("%w: the image to be written is %s, not %s", image.ErrMismatch, got, pin)
	}
	return nil
}

// Resolve returns the digest of what is there under the destination's name.
// Errors wrap image.ErrNotFound if nothing is.
func (d *Destination) Resolve(ctx context.Context) (digest.Digest, error) {
	if d.ref.Unknown {
		return "", fmt.Errorf("%s: %w: it has no name yet", d.ref.Name(), image.ErrNotFound)
	}
	now, err := d.find(ctx, nameOf(d.ref))
	return now.Digest, err
}

// Has reports whether the repository has a blob of that digest and size.
func (d *Destination) Has(ctx context.Context, desc oci.Descriptor) (bool, error) {
	return d.hasBlob(ctx, desc)
}

// Mount reports whether a blob is there, or could be brought there by the
// registry itself. If not, an upload may be open for it, until Put or Close.
func (d *Destination) Mount(ctx context.Context, desc oci.Descriptor, src image.Source) (bool, error) {
	if desc.Digest == "" {
		return false, nil
	}
	d.Expect(src)
	from := d.ref.Path
	if s := d.shared(src); s != nil {
		from = s.ref.Path
	}
	there, err := d.mount(ctx, desc, from)
	if err != nil {
		return false, fmt.Errorf("looking for blob %s in %s: %w", desc.Digest, d.ref.Name(), err)
	}
	return there, nil
}

// Put uploads a blob. When its own reader fails, that is the error, as it
// came; what was uploaded is cancelled.
func (d *Destination) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	if b.Desc.Digest != "" {
		if err := oci.CheckDigest(b.Desc.Digest); err != nil {
			return oci.Descriptor{}, err
		}
	}
	return d.put(ctx, b)
}

// Commit writes the manifests of the tree by their digests, those below before
// those above; then what is attached, after its subjects, but for what is there
// already; and the root last, under the destination's name. Where the registry
// does not list referrers by itself, they are added to the list under the tag of
// their subject. A tree that does not have the name's digest is refused before
// anything is sent.
func (d *Destination) Commit(ctx context.Context, t *image.Tree) error {
	if err := d.checkPin(t); err != nil {
		return err
	}
	if err := d.putBelow(ctx, t); err != nil {
		return err
	}
	name := nameOf(d.ref)
	if name == "" {
		name = t.Raw.Digest().String()
	}
	put := ""
	if referred(t) {
		if put = t.Desc.Digest.String(); d.ref.Digest != "" {
			put = name
		}
		if _, err := d.putManifest(ctx, put, rawOf(t), ""); err != nil {
			return err
		}
	}
	if err := d.putAttached(ctx, t); err != nil || name == put {
		return err
	}
	_, err := d.putManifest(ctx, name, rawOf(t), "")
	return err
}

// putBelow writes the manifests below t, several at a time, those below before
// those above.
func (d *Destination) putBelow(ctx context.Context, t *image.Tree) error {
	for _, level := range levels(t) {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelPuts)
		for _, k := range level {
			g.Go(func() error {
				_, err := d.putManifest(ctx, k.Desc.Digest.String(), rawOf(k), "")
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// rawOf returns the manifest with the type that the tree knows it by.
func rawOf(t *image.Tree) oci.Raw {
	raw := t.Raw
	if t.Manifest != nil {
		raw.MediaType = t.Manifest.MediaType
	} else if t.Desc.MediaType != "" {
		raw.MediaType = t.Desc.MediaType
	}
	return raw
}

// levels returns what is below the root, each digest once, so that whatever
// points at something is in a later level than that.
func levels(t *image.Tree) [][]*image.Tree {
	var out [][]*image.Tree
	height := map[digest.Digest]int{}
	var visit func(t *image.Tree) int
	visit = func(t *image.Tree) int {
		if h, ok := height[t.Desc.Digest]; ok {
			return h
		}
		h := 0
		for _, k := range t.Kids {
			if k == nil {
				continue
			}
			h = max(h, visit(k)+1)
		}
		height[t.Desc.Digest] = h
		for len(out) <= h {
			out = append(out, nil)
		}
		out[h] = append(out[h], t)
		return h
	}
	root := visit(t)
	return out[:root]
}

// Close cancels uploads that were not used, within a second or two, and lets
// go of connections.
func (d *Destination) Close() error {
	d.mu.Lock()
	left := d.open
	d.open = map[digest.Digest]*place{}
	d.mu.Unlock()
	for _, at := range left {
		d.abandon(at, false)
	}
	done := make(chan struct{})
	go func() {
		d.background.Wait()
		close(done)
	}()
	t := time.NewTimer(farewell)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	d.end()
	<-done
	d.remote.free()
	return nil
}

var (
	_ image.Destination = (*Destination)(nil)
	_ image.Beginner    = (*Destination)(nil)
	_ image.Mounter     = (*Destination)(nil)
	_ image.Resolver    = (*Destination)(nil)
	_ image.Sharer      = (*Destination)(nil)
	_ image.Lister      = (*Destination)(nil)
	_ image.Namer       = (*Destination)(nil)
	_ image.Referrer    = (*Destination)(nil)
)
