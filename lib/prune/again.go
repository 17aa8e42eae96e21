package prune

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

var errTaken = errors.New("left, because a name was given to it, or to what needs it, since this was begun")

// again looks, before the first manifest goes, for names that were not there
// when the plan was made, and leaves what they need: somebody may have given an
// old image a new name. Names that were moved meanwhile would have to be looked
// up all over; they are not.
func (r *runner) again(ctx context.Context) {
	if r.known == nil || r.halt != nil {
		return
	}
	names, err := image.Tags(ctx, r.shelf)
	if err != nil {
		r.halt = fmt.Errorf("see what names there are by now: %w", err)
		return
	}
	for _, name := range names {
		if r.known[name] || oci.IsAttachedTag(name) {
			continue
		}
		if err := r.spare(ctx, name); err != nil && !errors.Is(err, image.ErrNotFound) {
			r.halt = fmt.Errorf("see what the new name %s stands for: %w", name, err)
			return
		}
	}
}

// spare leaves what a name stands for, and all that it needs.
func (r *runner) spare(ctx context.Context, name string) error {
	d, err := image.Find(ctx, r.shelf, name)
	if err != nil {
		return err
	}
	r.leave(errTaken, d.Digest)
	root, err := image.Root(ctx, r.shelf, d.Digest)
	if err != nil {
		return err
	}
	if err := root.Grow(ctx, r.shelf, nil); err != nil {
		return err
	}
	for t := range root.Walk() {
		r.leave(errTaken, t.Desc.Digest)
		if t.Manifest != nil && t.Manifest.Subject != nil {
			r.leave(errTaken, t.Manifest.Subject.Digest)
		}
	}
	return nil
}

// leave leaves manifests, and with these what they point at and what is
// attached to them.
func (r *runner) leave(why error, list ...digest.Digest) {
	for len(list) > 0 {
		d := list[0]
		list = list[1:]
		if r.stuck[d] == nil {
			r.stuck[d] = why
			list = append(append(list, r.points[d]...), r.clings[d]...)
		}
	}
}
