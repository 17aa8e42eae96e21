package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// What is attached to an image comes after it and what is below it, by digest:
// the distribution-spec lets a referrer come before its subject, but not all
// registries do.

// putAttached writes all that is attached to t and to what is below it; then
// what is attached to that, and so on.
func (d *Destination) putAttached(ctx context.Context, t *image.Tree) error {
	for list := family(t); len(list) > 0; {
		all, err := d.lookAttached(ctx, list)
		if err == nil {
			err = d.putMissing(ctx, all)
		}
		if err == nil {
			err = d.enlistAll(ctx, all)
		}
		if err != nil {
			return err
		}
		var next []*image.Tree
		for _, t := range list {
			for _, k := range t.Attached {
				next = append(next, family(k)...)
			}
		}
		list = next
	}
	return nil
}

// family returns t and all that is below it.
func family(t *image.Tree) []*image.Tree {
	list := []*image.Tree{t}
	for _, k := range t.Kids {
		if k != nil {
			list = append(list, family(k)...)
		}
	}
	return list
}

// referred reports whether something attached to t says that t is its subject.
func referred(t *image.Tree) bool {
	return slices.ContainsFunc(t.Attached, func(k *image.Tree) bool { return k.Name == "" })
}

// attachments are what is attached to one manifest, and what there is of it.
type attachments struct {
	subject digest.Digest
	trees   []*image.Tree // with and without names
	listed  referrers

	mu       sync.Mutex
	missing  []*image.Tree
	unlisted []oci.Descriptor // which the registry does not list by itself
}

// lookAttached finds out what is there of all that is attached to the trees.
func (d *Destination) lookAttached(ctx context.Context, list []*image.Tree) ([]*attachments, error) {
	var all []*attachments
	lists, own := errgroup.WithContext(ctx)
	lists.SetLimit(parallelPuts)
	for _, t := range list {
		if len(t.Attached) == 0 {
			continue
		}
		a := &attachments{subject: t.Desc.Digest, trees: t.Attached}
		all = append(all, a)
		if referred(t) {
			lists.Go(func() (err error) {
				a.listed, err = d.referrers(own, a.subject)
				return err
			})
		}
	}
	if err := lists.Wait(); err != nil {
		return nil, err
	}
	trees, ctx := errgroup.WithContext(ctx)
	trees.SetLimit(parallelPuts)
	for _, a := range all {
		for _, k := range a.trees {
			trees.Go(func() error { return d.lookFor(ctx, a, k) })
		}
	}
	return all, trees.Wait()
}

// lookFor adds k to what is missing, if it is.
func (d *Destination) lookFor(ctx context.Context, a *attachments, k *image.Tree) error {
	there, err := d.hasAttached(ctx, a, k)
	if err != nil || there {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.missing = append(a.missing, k)
	return nil
}

// hasAttached reports whether nothing is to be done for k. What the registry
// itself lists, it has; a list that clients keep may be out of date.
func (d *Destination) hasAttached(ctx context.Context, a *attachments, k *image.Tree) (bool, error) {
	name := k.Name
	if name == "" {
		if listed := a.listed.has[k.Desc.Digest]; !listed || !a.listed.tagged {
			return listed, nil
		}
		name = k.Desc.Digest.String()
	}
	now, err := d.Find(ctx, name) // which refuses what is no tag: the name is a stranger's
	if errors.Is(err, image.ErrNotFound) {
		return false, nil
	}
	return now.Digest == k.Desc.Digest, err
}

// putMissing writes what is missing, and notes what of it the registry does
// not list.
func (d *Destination) putMissing(ctx context.Context, all []*attachments) error {
	top := &image.Tree{}
	for _, a := range all {
		for _, k := range a.missing {
			top.Kids = append(top.Kids, k.Kids...)
		}
	}
	if err := d.putBelow(ctx, top); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelPuts)
	for _, a := range all {
		for _, k := range a.missing {
			g.Go(func() error { return d.attach(ctx, a, k) })
		}
	}
	return g.Wait()
}

// attach writes one manifest under its name or its digest.
func (d *Destination) attach(ctx context.Context, a *attachments, k *image.Tree) error {
	if k.Name != "" {
		_, err := d.putManifest(ctx, k.Name, rawOf(k), "")
		return err
	}
	subject, err := d.putManifest(ctx, k.Desc.Digest.String(), rawOf(k), "")
	if err != nil || subject == a.subject {
		return err
	}
	entry := oci.Descriptor{MediaType: k.Desc.MediaType, Digest: k.Desc.Digest, Size: k.Desc.Size}
	if k.Manifest != nil {
		entry = oci.Referrer(k.Desc, k.Manifest)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlisted = append(a.unlisted, entry)
	return nil
}

// enlistAll brings every list up to date that the registry does not keep.
func (d *Destination) enlistAll(ctx context.Context, all []*attachments) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelPuts)
	for _, a := range all {
		if len(a.unlisted) > 0 {
			slices.SortFunc(a.unlisted, func(x, y oci.Descriptor) int { return cmp.Compare(x.Digest, y.Digest) })
			g.Go(func() error { return d.enlist(ctx, a) })
		}
	}
	return g.Wait()
}

// enlist adds to the list under the subject's tag what it lacks.
func (d *Destination) enlist(ctx context.Context, a *attachments) error {
	at, err := a.listed, error(nil)
	if !at.tagged { // it may have been listed without being said to be
		if at, err = d.referrers(ctx, a.subject); err == nil && !at.tagged && len(lacking(at.list, a.unlisted)) > 0 {
			at, err = d.taggedReferrers(ctx, a.subject)
		}
	}
	if err != nil {
		return err
	}
	return d.updateList(ctx, a.subject, at, func(list []oci.Descriptor) []oci.Descriptor {
		return slices.Concat(list, lacking(list, a.unlisted))
	})
}

// lacking returns those of the entries that are not in a list.
func lacking(list, entries []oci.Descriptor) []oci.Descriptor {
	has := map[digest.Digest]bool{}
	for _, e := range list {
		has[e.Digest] = true
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e oci.Descriptor) bool { return has[e.Digest] })
}
