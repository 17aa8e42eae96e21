package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// listTries is how often a list is written that others are writing too.
const listTries = 3

// updateList changes the list of referrers under the subject's tag, of which at
// is what it was. Whoever else does that at the same moment may overwrite it,
// with registries that know no conditions: so it is read again, and written
// again. A change that changes the number of entries no more has been made.
func (s *session) updateList(ctx context.Context, subject digest.Digest, at referrers, change func([]oci.Descriptor) []oci.Descriptor) error {
	refused := ""
	for try := 0; ; try++ {
		if len(change(at.list)) == len(at.list) {
			return nil
		}
		if try == listTries {
			return fmt.Errorf("%w: the list of referrers of %s is overwritten by others, %d times now", image.ErrIncomplete, subject, try)
		}
		if at.etag == refused {
			at.etag = "" // it refuses what it has itself said: it cannot mean it
		}
		err := s.putList(ctx, subject, at, change)
		var answer *Error
		if errors.As(err, &answer) && answer.Status == http.StatusPreconditionFailed {
			refused, err = at.etag, nil
		}
		if err == nil {
			at, err = s.taggedReferrers(ctx, subject)
		}
		if err != nil {
			return err
		}
	}
}

// putList writes the changed list. Where a registry takes no index of what it
// does not have, entries whose manifests are gone are left out.
func (s *session) putList(ctx context.Context, subject digest.Digest, at referrers, change func([]oci.Descriptor) []oci.Descriptor) error {
	err := s.putIndex(ctx, subject, change(at.list), at.etag)
	if !errors.Is(err, image.ErrIncomplete) {
		return err
	}
	there, err := s.present(ctx, at.list)
	if err != nil {
		return err
	}
	return s.putIndex(ctx, subject, change(there), at.etag)
}

// present returns those entries of a list whose manifests are there.
func (s *session) present(ctx context.Context, list []oci.Descriptor) ([]oci.Descriptor, error) {
	there := make([]bool, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelPuts)
	for i, e := range list {
		g.Go(func() error {
			_, err := s.find(ctx, e.Digest.String())
			if there[i] = err == nil; errors.Is(err, image.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var kept []oci.Descriptor
	for i, e := range list {
		if there[i] {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

func (s *session) putIndex(ctx context.Context, subject digest.Digest, list []oci.Descriptor, match string) error {
	raw, err := oci.ReferrersIndex(list)
	if err != nil {
		return err
	}
	if len(raw.Bytes) > oci.MaxManifest {
		return fmt.Errorf("%w: the list of referrers of %s has more than %d bytes", image.ErrTooLarge, subject, oci.MaxManifest)
	}
	_, err = s.putManifest(ctx, oci.ReferrersTag(subject), raw, match)
	return err
}
