package layout

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// A Shelf is an OCI layout that images can be deleted from. It is an
// image.Shelf, Lister, Namer and Referrer.
//
// Where an OCISource holds its lock from the first use to Close, a Shelf lets
// it go for each Delete, and then reads index.json again. While its process
// has another source or destination open in the same layout, Delete waits for
// that to be closed.
type Shelf struct {
	*OCISource
	o Options
}

// OpenShelf opens the layout at l.Path; l's name or position do not matter. It
// must have an oci-layout of a version that we know. Errors: those of OpenOCI,
// image.ErrUnsupported.
func OpenShelf(l reference.Layout, o Options) (*Shelf, error) { return openShelf(l, o, nil) }

func openShelf(l reference.Layout, o Options, step disk.Step) (*Shelf, error) {
	src, err := openOCI(reference.Layout{Path: l.Path, Index: -1}, o, step)
	if err != nil {
		return nil, err
	}
	ok, err := readLayoutFile(src.root)
	if err == nil && !ok {
		err = fail(fmt.Sprintf("%s is not an OCI layout: it has no %s", src.root.Name(), layoutFile), image.ErrUnsupported)
	}
	if err != nil {
		src.Close()
		return nil, err
	}
	return &Shelf{src, o}, nil
}

// Manifest implements image.Source, for digests only.
func (s *Shelf) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	if d == "" {
		return oci.Raw{}, fmt.Errorf("%w: a layout is no image for itself", image.ErrUnsupported)
	}
	return s.OCISource.Manifest(ctx, d)
}

// Delete implements image.Shelf. A name goes with all entries of index.json
// that have it, a digest with all that describe it; it goes out of the lists of
// referrers too. What had a name that belongs to the digest of a manifest which
// has gone by this, and not before, goes with it: its lists of referrers and
// cosign's signatures. All this is one new index.json.
//
// Then the blobs are removed that nothing in index.json leads to, whoever left
// them. A manifest that an index leads to stays, even if it was to be deleted
// by its digest; being the subject of a referrer does not make one stay. So
// that no blob goes which somebody relies on, Delete waits until nobody reads
// or writes images in the layout. Blobs that are shared with other layouts
// stay, and so do all where the file system has no locks; an
// image.EventWarning says so.
//
// Whoever is stopped leaves the old index.json or the new one, and nothing in
// it that leads nowhere; the next Delete, be it of nothing, removes the blobs
// that are left.
//
// Errors, besides those of image.Shelf: image.ErrMismatch if a name stands for
// another digest than was thought. One that has to do with blobs says that
// names and manifests are deleted, and blobs left. A manifest that cannot be
// read, and may lead to any blob, is one.
func (s *Shelf) Delete(ctx context.Context, list []image.Deletion) error {
	s.mu.Lock()
	s.letGo()
	s.mu.Unlock()
	end, collects, err := s.lock(ctx)
	if err != nil {
		return s.report(list, nil, err)
	}
	defer end()
	errs := make([]error, len(list))
	m, err := s.rewrite(ctx, list, errs)
	err = s.report(list, errs, err)
	if m == nil || !collects {
		return err
	}
	if cerr := s.collect(ctx, m); cerr != nil {
		err = errors.Join(err, fmt.Errorf("remove blobs: %w", cerr))
	}
	return err
}

// report tells what became of each deletion: all failed with err, unless it is
// nil, and otherwise each as errs says. It returns them as one error.
func (s *Shelf) report(list []image.Deletion, errs []error, err error) error {
	var all []error
	for i, d := range list {
		failed := err
		if err == nil && errs[i] != nil {
			failed = fmt.Errorf("%s: %w", d, errs[i])
			all = append(all, failed)
		}
		s.o.Notify.Send(image.Event{Kind: image.EventDelete, Text: d.String(), Err: failed})
	}
	if err != nil {
		return err
	}
	return errors.Join(all...)
}

// lock waits until the layout is ours, and reports whether blobs may be
// removed.
func (s *Shelf) lock(ctx context.Context) (end func(), collects bool, err error) {
	end = func() {}
	switch {
	case s.o.SharedBlobs != "":
		s.warn("blobs are not removed: others share " + s.o.SharedBlobs)
	default:
		guard, err := s.root.Exclude(ctx, blobsDir, func() { s.warn("waiting until others are done with " + s.root.Name()) })
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			s.warn("blobs are not removed: there are no locks in " + s.root.Name() + ", and so nobody knows who uses them")
		case err != nil:
			return nil, false, err
		default:
			collects, end = true, func() { guard.Close() }
		}
	}
	lock, err := s.root.Lock(ctx, layoutFile)
	if err != nil {
		end()
		return nil, false, err
	}
	first := end
	return func() { lock.Close(); first() }, collects, nil
}

func (s *Shelf) warn(text string) {
	s.o.Notify.Send(image.Event{Kind: image.EventWarning, Text: text})
}
