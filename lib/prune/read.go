package prune

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// maxNodes is how many manifests are read for one plan.
const maxNodes = 1 << 18

// A node is a manifest as far as it matters here: what it points at, and how
// old it is.
type node struct {
	missing bool  // it is not there
	err     error // why it cannot be read; nil if it could, or is missing

	kids    []digest.Digest // the manifests in an index
	others  []digest.Digest // what else is in it, by what it says
	subject digest.Digest
	config  oci.Descriptor // of an image
	image   bool           // it is an image that somebody runs
	created time.Time      // by its annotation
}

// A reader reads manifests and configurations, each once, and looks up names.
type reader struct {
	shelf image.Shelf

	mu      sync.Mutex
	nodes   map[digest.Digest]*node
	configs map[digest.Digest]time.Time // when those images were made, zero if nobody knows
	extras  map[digest.Digest]bool      // attestations within an index: no images
	vague   map[digest.Digest]bool      // true for what is only ever in others
	dated   map[digest.Digest]time.Time // what created has found
}

func newReader(shelf image.Shelf) *reader {
	return &reader{
		shelf: shelf, nodes: map[digest.Digest]*node{}, extras: map[digest.Digest]bool{}, vague: map[digest.Digest]bool{},
		configs: map[digest.Digest]time.Time{}, dated: map[digest.Digest]time.Time{},
	}
}

// each calls f for all of the list, several at a time.
func each[T any](ctx context.Context, list []T, f func(context.Context, T) error) error {
	eg, own := errgroup.WithContext(ctx)
	eg.SetLimit(parallel)
	for _, v := range list {
		if own.Err() != nil {
			break
		}
		eg.Go(func() error { return f(own, v) })
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// find looks up names. Those that stand for nothing are left out.
func (r *reader) find(ctx context.Context, names []string) (map[string]digest.Digest, error) {
	found := make(map[string]digest.Digest, len(names))
	err := each(ctx, names, func(ctx context.Context, name string) error {
		d, err := image.Find(ctx, r.shelf, name)
		if errors.Is(err, image.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = oci.CheckDigest(d.Digest)
		}
		if err != nil {
			return fmt.Errorf("look up %s: %w", name, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		found[name] = d.Digest
		return nil
	})
	return found, err
}

// read reads the manifests with these digests, unless that has been done, and
// with deep all that is below them.
func (r *reader) read(ctx context.Context, list []digest.Digest, deep bool) error {
	for depth := 0; len(list) > 0; depth++ {
		fresh := r.fresh(list)
		if len(r.nodes) > maxNodes {
			return fmt.Errorf("%w: more than %d manifests", image.ErrTooLarge, maxNodes)
		}
		if err := each(ctx, fresh, r.readOne); err != nil {
			return err
		}
		if !deep {
			return nil
		}
		list = r.below(list, depth)
	}
	return nil
}

// fresh returns those of the list that have not been read, each once, and
// makes their nodes.
func (r *reader) fresh(list []digest.Digest) []digest.Digest {
	var fresh []digest.Digest
	for _, d := range list {
		if r.nodes[d] == nil {
			r.nodes[d] = &node{}
			fresh = append(fresh, d)
		}
	}
	return fresh
}

// below returns what the indexes of the list name. What is nested deeper than
// any index may be counts as not readable.
func (r *reader) below(list []digest.Digest, depth int) []digest.Digest {
	seen := map[digest.Digest]bool{}
	var next []digest.Digest
	for _, d := range list {
		n := r.nodes[d]
		if len(n.kids) > 0 && depth >= oci.MaxDepth {
			n.err = fmt.Errorf("%w: indexes nested deeper than %d", oci.ErrInvalid, oci.MaxDepth)
			continue
		}
		for _, k := range n.kids {
			if !seen[k] {
				seen[k] = true
				next = append(next, k)
			}
		}
	}
	return next
}

// readOne reads one manifest into its node. What is not there or cannot be
// understood is noted; the error is for what may be otherwise the next time.
func (r *reader) readOne(ctx context.Context, d digest.Digest) error {
	r.mu.Lock()
	n := r.nodes[d]
	r.mu.Unlock()
	t, err := image.Root(ctx, r.shelf, d)
	if err == nil {
		err = t.Parse()
	}
	switch {
	case errors.Is(err, image.ErrNotFound):
		n.missing = true
		return nil
	case errors.Is(err, oci.ErrSchema1): // it points at no other manifest
		return nil
	case errors.Is(err, oci.ErrInvalid), errors.Is(err, image.ErrMismatch), errors.Is(err, image.ErrTooLarge):
		n.err = err
		return nil
	case err != nil:
		return err // it names the manifest
	}
	r.note(n, t.Manifest)
	return nil
}

// note keeps of a manifest what matters.
func (r *reader) note(n *node, m *oci.Manifest) {
	n.created = annotated(m.Annotations)
	if m.Subject != nil {
		n.subject = m.Subject.Digest
	}
	if m.IsImage() {
		n.image, n.config = true, *m.Config
		n.config.Annotations, n.config.Data = nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range m.Manifests {
		if !oci.IsManifestType(k.MediaType) { // it may be one all the same
			n.others = append(n.others, k.Digest)
			if _, known := r.vague[k.Digest]; !known {
				r.vague[k.Digest] = true
			}
			continue
		}
		n.kids = append(n.kids, k.Digest)
		r.vague[k.Digest] = false
		if p := k.Platform; p != nil && p.OS == "unknown" && p.Architecture == "unknown" {
			r.extras[k.Digest] = true
		}
	}
}
