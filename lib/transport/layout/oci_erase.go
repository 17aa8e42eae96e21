package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// An eraser takes deletions out of an index.
type eraser struct {
	*Shelf
	*listing
	graph   *graph
	was     map[string]bool // bases of the names that belonged to manifests here, or do not any more
	changed bool
}

// rewrite writes the index.json without what is to be deleted, and returns
// what it leads to. What could not be deleted it says in errs, and nothing was
// if it fails.
func (s *Shelf) rewrite(ctx context.Context, list []image.Deletion, errs []error) (*marks, error) {
	s.mu.Lock()
	err := s.load()
	l := s.listing
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	e := &eraser{Shelf: s, listing: l, graph: newGraph(s.file), was: map[string]bool{}}
	if err := e.look(ctx); err != nil {
		return nil, err
	}
	gone := map[digest.Digest]bool{}
	for i, d := range list {
		if d.Name != "" {
			errs[i] = e.name(d)
		} else if errs[i] = oci.CheckDigest(d.Digest); errs[i] == nil {
			gone[d.Digest] = true
		}
	}
	if err := e.digests(ctx, gone); err != nil {
		return nil, err
	}
	m := e.settle(ctx)
	if err := live(ctx); err != nil {
		return nil, err
	}
	if e.changed {
		if err := writeIndex(s.root, e.index); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// look notes to which manifests names may belong, before any is deleted.
func (e *eraser) look(ctx context.Context) error {
	m := newMarks(e.graph)
	for _, x := range e.entries {
		m.add(link{x.desc, true})
	}
	for d := range m.followed(ctx, func(error) bool { return true }) {
		e.was[oci.ReferrersTag(d)] = true
	}
	return live(ctx)
}

// name takes a name away.
func (e *eraser) name(d image.Deletion) error {
	if i := e.named(d.Name); i >= 0 && d.Digest != "" && e.entries[i].desc.Digest != d.Digest {
		return fmt.Errorf("%w: it stands for %s now, not for %s", image.ErrMismatch, e.entries[i].desc.Digest, d.Digest)
	}
	if e.remove(func(x entry) bool { return x.name == d.Name }) {
		e.changed = true
	}
	return nil
}

// digests takes manifests away, with all their names, and out of all lists of
// referrers.
func (e *eraser) digests(ctx context.Context, gone map[digest.Digest]bool) error {
	if len(gone) == 0 {
		return nil
	}
	for d := range gone {
		e.was[oci.ReferrersTag(d)] = true
	}
	if e.remove(func(x entry) bool { return gone[x.desc.Digest] }) {
		e.changed = true
	}
	for i := 0; i < len(e.entries); i++ {
		x := e.entries[i]
		if base, ok := baseOf(x.name); !ok || base != x.name {
			continue
		}
		left, err := e.unlist(ctx, x, gone)
		if err != nil {
			return err
		}
		if left == nil {
			e.entries = slices.Delete(e.entries, i, i+1)
			i--
			continue
		}
		e.entries[i] = *left
	}
	return nil
}

// unlist takes manifests out of a list of referrers, and returns its new entry,
// or nil if nothing is left in it. A list that cannot be read stays as it is:
// collecting fails for it, if it is needed.
func (e *eraser) unlist(ctx context.Context, x entry, gone map[digest.Digest]bool) (*entry, error) {
	raw, m, err := e.list(ctx, x)
	if err != nil {
		return &x, live(ctx)
	}
	keep := func(i int) bool { return !gone[m.Manifests[i].Digest] }
	left := 0
	for i := range m.Manifests {
		if keep(i) {
			left++
		}
	}
	switch left {
	case len(m.Manifests):
		return &x, nil
	case 0:
		e.changed = true
		return nil, nil
	}
	if raw, err = raw.Select(keep); err != nil {
		return nil, err
	}
	d := x.desc
	d.Digest, d.Size = d.Digest.Algorithm().FromBytes(raw.Bytes), int64(len(raw.Bytes))
	if err := e.putList(d, raw); err != nil {
		return nil, err
	}
	e.changed = true
	now, err := newEntry(d, x.name)
	return &now, err
}

// putList writes a list that index.json is going to name.
func (e *eraser) putList(d oci.Descriptor, raw oci.Raw) error {
	dir := e.blobs[0]
	if err := putBytes(dir, blobName(d.Digest), raw.Bytes); err != nil {
		return err
	}
	return dir.Sync(path.Dir(blobName(d.Digest)))
}

// settle marks all that the index leads to, and takes out of it the names that
// belong to a manifest which was there and is not marked.
func (e *eraser) settle(ctx context.Context) *marks {
	m := newMarks(e.graph)
	waiting := map[string][]entry{}
	for _, x := range e.entries {
		if base, ok := baseOf(x.name); ok && e.was[base] {
			waiting[base] = append(waiting[base], x)
			continue
		}
		m.add(link{x.desc, true})
	}
	for d := range m.followed(ctx, func(err error) bool { m.err = err; return false }) {
		base := oci.ReferrersTag(d)
		for _, x := range waiting[base] {
			m.add(link{x.desc, true})
		}
		delete(waiting, base)
	}
	if m.err != nil || live(ctx) != nil || len(waiting) == 0 {
		return m
	}
	e.changed = true
	e.remove(func(x entry) bool {
		base, ok := baseOf(x.name)
		return ok && waiting[base] != nil
	})
	return m
}

// baseOf returns the part of a name that says to which digest it belongs, if
// it does to any: what oci.ReferrersTag makes of that.
func baseOf(name string) (string, bool) {
	if !oci.IsAttachedTag(name) {
		return "", false
	}
	for _, alg := range algorithms {
		if n := len(alg) + 1 + 64; len(name) >= n && name[:len(alg)] == alg {
			return name[:n], true
		}
	}
	return "", false
}

func live(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// collect removes the blobs that are not marked.
func (s *Shelf) collect(ctx context.Context, m *marks) error {
	if m.err != nil {
		return m.err
	}
	blobs := s.blobs[0]
	s.root.Sweep(".", tempPrefix)
	for _, alg := range algorithms {
		blobs.Sweep(alg, tempPrefix)
		names, err := blobs.Names(alg)
		if err != nil {
			return err
		}
		removed := false
		for _, name := range names {
			d := digest.Digest(alg + ":" + name)
			if oci.CheckDigest(d) != nil || m.has(d) {
				continue
			}
			if err := live(ctx); err != nil {
				return err
			}
			file := blobName(d)
			if info, err := blobs.Lstat(file); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := blobs.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			removed = true
		}
		if removed {
			if err := blobs.Sync(alg); err != nil {
				return err
			}
		}
	}
	return nil
}
