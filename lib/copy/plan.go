package copy

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Plan is what a copy will do.
type Plan struct {
	Tree   *image.Tree   // what will be committed, unless layers change their form; nil for Later
	Source digest.Digest // of the source's own manifest
	Same   bool          // the destination has it: nothing to do
	Later  bool          // the source is a stream that has not told yet what it holds
	Steps  []Step        // a blob each
	Notes  []string      // what will differ from the source, in a line each

	dst image.Destination
	src image.Source
	o   Options
}

// A Step is what happens to one blob, if the destination does not have it.
type Step struct {
	Blob     oci.Descriptor
	Skip     bool // a foreign layer: it stays where its URLs say
	Compress bool
}

// Prepare reads the manifests in src and decides what there is to do. It asks
// dst only what its name stands for, and changes nothing.
func Prepare(ctx context.Context, dst image.Destination, src image.Source, o Options) (*Plan, error) {
	if o.Gate == nil {
		return nil, o.atSource("admit image", errNoGate)
	}
	p := &Plan{dst: dst, src: src, o: o}
	root, have, err := p.look(ctx)
	if errors.Is(err, image.ErrLater) {
		if _, ok := src.(image.Sequence); ok {
			p.Later = true
			return p, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return p, p.admit(ctx, root, have)
}

// look asks both sides at the same time what their names stand for.
func (p *Plan) look(ctx context.Context) (root *image.Tree, have digest.Digest, err error) {
	eg, ctx := errgroup.WithContext(ctx)
	eg.Go(func() error {
		var err error
		root, err = image.Root(ctx, p.src, p.o.Pin)
		return p.o.atSource("read manifest", err)
	})
	eg.Go(func() error {
		var err error
		have, err = image.Resolve(ctx, p.dst)
		return p.o.atDestination("look up name", err)
	})
	err = eg.Wait()
	return root, have, err
}

// admit decides, once the root's bytes are known, what of them to copy.
func (p *Plan) admit(ctx context.Context, root *image.Tree, have digest.Digest) error {
	p.Source = root.Desc.Digest
	if err := p.o.Gate(ctx, root.Raw); err != nil {
		return p.o.atSource("admit image", err)
	}
	if err := root.Parse(); err != nil {
		return p.o.atSource("read manifest", err)
	}
	if p.whole(root) && have == root.Desc.Digest && p.o.With.None() {
		p.Tree, p.Same = root, true
		return p.checkTarget()
	}
	tree, err := p.choose(ctx, root)
	if err == nil {
		p.Tree = tree
		err = p.attach(ctx, root)
	}
	if _, ok := p.src.(image.Sequence); ok && errors.Is(err, image.ErrLater) {
		p.Later, p.Tree, p.Notes = true, nil, nil
		return nil
	}
	if err != nil {
		return p.o.atSource("read manifest", err)
	}
	if err := oneSize(tree); err != nil {
		return p.o.atSource("read manifest", err)
	}
	if err := p.checkTarget(); err != nil {
		return err
	}
	p.Steps = p.steps(tree)
	p.Same, err = p.same(ctx, have)
	return p.o.atDestination("look up what is attached", err)
}

// same reports whether the destination, whose name stands for have, has all of
// the tree.
func (p *Plan) same(ctx context.Context, have digest.Digest) (bool, error) {
	if have == "" || have != p.Tree.Desc.Digest {
		return false, nil
	}
	if p.o.With.None() {
		return true, nil
	}
	list, known, err := p.missing(ctx)
	return known && len(list) == 0, err
}

// whole reports whether all of root is to be copied.
func (p *Plan) whole(root *image.Tree) bool {
	if !root.Manifest.IsIndex() {
		return len(p.o.Platforms) == 0
	}
	return len(p.o.Platforms) == 0 && !p.o.Sparse && !p.single()
}

// single reports whether one image is to be taken out of an index.
func (p *Plan) single() bool { return p.o.Instance != nil || p.dst.Wants().Single }

func (p *Plan) checkTarget() error {
	if t := p.o.Target; t != "" && t != p.Tree.Desc.Digest {
		return p.o.atDestination("check name", fmt.Errorf("%w: the destination is to be %s, what would be written is %s", image.ErrMismatch, t, p.Tree.Desc.Digest))
	}
	return nil
}

// oneSize refuses a tree in which a blob has two sizes: blobs move once, and
// only one of the sizes would be checked.
func oneSize(t *image.Tree) error {
	sizes := map[digest.Digest]int64{}
	for k := range t.Walk() {
		if k.Manifest == nil {
			continue
		}
		for _, d := range k.Manifest.Blobs() {
			if n, ok := sizes[d.Digest]; ok && n != d.Size {
				return fmt.Errorf("%s: %w: blob %s has %d bytes, and elsewhere in the image %d", k.Desc.Digest, oci.ErrInvalid, d.Digest, d.Size, n)
			}
			sizes[d.Digest] = d.Size
		}
	}
	return nil
}

// compresses reports whether layers are compressed on the way: only where the
// destination wants that, and nobody can know the manifest by its digest.
func (p *Plan) compresses() bool {
	return p.dst.Wants().Layers == image.Compressed && image.Made(p.src)
}

func (p *Plan) steps(t *image.Tree) []Step {
	compress := p.compresses()
	var steps []Step
	for d := range t.Blobs() {
		steps = append(steps, Step{
			Blob:     d,
			Skip:     oci.IsForeign(d) && !p.o.Foreign,
			Compress: compress && blob.Compresses(d.MediaType),
		})
	}
	return steps
}

// changes reports whether the tree will be another one when its blobs have
// moved.
func (p *Plan) changes() bool {
	for _, s := range p.Steps {
		if s.Compress {
			return true
		}
	}
	return false
}
