package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// learn reads a manifest that is about to be deleted, to know its subject. If
// it cannot be read, there is none that anybody could know.
func (s *Shelf) learn(ctx context.Context, d digest.Digest) {
	s.mu.Lock()
	_, known := s.subjects[d]
	s.mu.Unlock()
	if !known {
		s.Manifest(ctx, d) // an error says nothing that the deletion will not
	}
}

// unlist takes manifests that are gone out of the lists that clients keep under
// the tags of their subjects (distribution-spec, content management). Lists of
// subjects that are gone too are of no use to anybody.
func (s *Shelf) unlist(ctx context.Context, gone []digest.Digest) {
	lost := map[digest.Digest]bool{}
	for _, d := range gone {
		lost[d] = true
	}
	lists := map[digest.Digest]bool{}
	s.mu.Lock()
	for _, d := range gone {
		if subject := s.subjects[d]; subject != "" && !lost[subject] {
			lists[subject] = true
		}
	}
	s.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(parallelDeletes)
	for subject := range lists {
		g.Go(func() error {
			if err := s.unlistFrom(ctx, subject, lost); err != nil {
				s.o.Notify.Send(image.Event{Kind: image.EventWarning, Side: s.o.Side, Text: fmt.Sprintf("the list of referrers of %s in %s still names what was deleted: %s", subject, s.ref.Name(), oneLine(err))})
			}
			return nil
		})
	}
	g.Wait()
}

func (s *Shelf) unlistFrom(ctx context.Context, subject digest.Digest, lost map[digest.Digest]bool) error {
	at, err := s.referrers(ctx, subject)
	if err != nil || !at.tagged {
		return err
	}
	gone := func(e oci.Descriptor) bool { return lost[e.Digest] }
	return s.updateList(ctx, subject, at, func(list []oci.Descriptor) []oci.Descriptor {
		return slices.DeleteFunc(slices.Clone(list), gone)
	})
}
