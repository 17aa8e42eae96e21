package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/oci"
)

// With says which of the things that are attached to an image are meant.
type With struct {
	Referrers bool // manifests whose subject it is
	Tags      bool // what has a name made of its digest, as cosign's .sig, .att and .sbom
}

// None reports whether nothing is meant.
func (w With) None() bool { return w == With{} }

// Attach reads all that is attached in src to the manifests of t, and to what
// is attached in turn, whole, into the Attached of each. A referrer that is not
// there, or has another subject than src says, is left out. Errors: those of Grow, of Tags
// and of Referrers.
func (t *Tree) Attach(ctx context.Context, src Source, w With) error {
	a := &attacher{src: src, with: w, seen: map[digest.Digest]bool{}}
	if w.Tags {
		names, err := Tags(ctx, src)
		if err != nil && !errors.Is(err, ErrUnsupported) {
			return err
		}
		a.names = slices.DeleteFunc(names, func(s string) bool { return !oci.IsAttachedTag(s) })
	}
	return a.level(ctx, slices.Collect(t.Walk()), 0)
}

type attacher struct {
	src   Source
	with  With
	names []string // that belong to some digest
	seen  map[digest.Digest]bool
	total atomic.Int64
}

// take counts manifests that are about to be read, or have been, of all that is
// attached together.
func (a *attacher) take(n int) error {
	if a.total.Add(int64(n)) > oci.MaxEntries {
		return fmt.Errorf("%w: more than %d manifests attached", oci.ErrInvalid, oci.MaxEntries)
	}
	return nil
}

// level attaches to each of the trees, and then to all that was attached.
func (a *attacher) level(ctx context.Context, trees []*Tree, depth int) error {
	trees = slices.DeleteFunc(trees, func(t *Tree) bool {
		known := a.seen[t.Desc.Digest]
		a.seen[t.Desc.Digest] = true
		return known
	})
	if len(trees) == 0 {
		return nil
	}
	if depth >= oci.MaxDepth {
		return fmt.Errorf("%s: %w: referrers of referrers, deeper than %d", trees[0].Desc.Digest, oci.ErrInvalid, oci.MaxDepth)
	}
	eg, own := errgroup.WithContext(ctx)
	eg.SetLimit(parallel(a.src))
	for _, t := range trees {
		eg.Go(func() error { return a.attach(own, t) })
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	var next []*Tree
	for _, t := range trees {
		for _, k := range t.Attached {
			next = append(next, slices.Collect(k.Walk())...)
		}
	}
	return a.level(ctx, next, depth+1)
}

// attach finds what belongs to t itself.
func (a *attacher) attach(ctx context.Context, t *Tree) error {
	if a.with.Referrers {
		list, err := Referrers(ctx, a.src, t.Desc.Digest)
		if err == nil {
			err = a.take(len(list))
		}
		if err != nil {
			return err
		}
		for _, d := range list {
			k, err := a.read(ctx, d)
			if k == nil && errors.Is(err, ErrNotFound) {
				continue // a list that clients keep may be out of date
			}
			if err != nil {
				return err
			}
			if s := k.Manifest.Subject; s == nil || s.Digest != t.Desc.Digest {
				continue
			}
			t.Attached = append(t.Attached, k)
		}
	}
	names := oci.AttachedTags(a.names, t.Desc.Digest)
	if err := a.take(len(names)); err != nil {
		return err
	}
	for _, name := range names {
		d, err := Find(ctx, a.src, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		k, err := a.read(ctx, oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		k.Name = name
		t.Attached = append(t.Attached, k)
	}
	return nil
}

// read reads what is attached, and what is below it. Without a tree, d itself
// could not be read.
func (a *attacher) read(ctx context.Context, d oci.Descriptor) (*Tree, error) {
	if err := oci.CheckDescriptor(d); err != nil {
		return nil, err
	}
	raw, err := fetch(ctx, a.src, d)
	if err != nil {
		return nil, err
	}
	k := &Tree{Desc: d, Raw: raw}
	if err := k.Grow(ctx, a.src, nil); err != nil {
		return k, err
	}
	return k, a.take(len(slices.Collect(k.Walk())) - 1)
}
