package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// parallelDeletes is how many requests to delete there are at a time.
const parallelDeletes = 8

// A Shelf is a repository as a place with many images. It is an image.Shelf.
type Shelf struct {
	Source

	mu       sync.Mutex
	subjects map[digest.Digest]digest.Digest // of the manifests that were read, "" for none
}

// Shelf opens the repository for listing and deleting. It sends nothing.
func (r *Repository) Shelf() *Shelf {
	return &Shelf{Source: Source{r.session("pull", "delete")}, subjects: map[digest.Digest]digest.Digest{}}
}

// Manifest returns the manifest with that digest, and nothing for "". Errors
// are those of Source.Manifest.
func (s *Shelf) Manifest(ctx context.Context, want digest.Digest) (oci.Raw, error) {
	if want == "" {
		return oci.Raw{}, fmt.Errorf("%w: a repository is not one image", image.ErrUnsupported)
	}
	raw, err := s.Source.Manifest(ctx, want)
	if err == nil {
		subject := digest.Digest("")
		if m, err := oci.Parse(raw); err == nil && m.Subject != nil {
			subject = m.Subject.Digest
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.subjects[want] = subject
	}
	return raw, err
}

// Delete deletes names and manifests (distribution-spec, content management;
// see image.Shelf). A name is deleted by a request that means the name and
// nothing else. Registries that cannot do that refuse it, as version 2 of the
// distribution project's does, and the error wraps image.ErrUnsupported. Nothing
// else is tried then, and it is not asked afterwards what else may be gone: a
// registry that takes the request and deletes the manifest with all its names
// cannot be told beforehand.
//
// Where the registry lists no referrers by itself, manifests that have a subject
// are taken out of the list under the tag of that, as far as this is known: a
// warning says where it fails.
func (s *Shelf) Delete(ctx context.Context, list []image.Deletion) error {
	var failed failures
	var gone []digest.Digest
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(parallelDeletes)
	for _, d := range list {
		g.Go(func() error {
			err := s.delete(ctx, d)
			s.o.Notify.Send(image.Event{Kind: image.EventDelete, Side: s.o.Side, Text: d.String(), Err: err})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", d, err))
			} else if d.Name == "" {
				gone = append(gone, d.Digest)
			}
			return nil
		})
	}
	g.Wait()
	s.unlist(ctx, gone)
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("deleting in %s: %w", s.ref.Name(), failed)
}

func (s *Shelf) delete(ctx context.Context, d image.Deletion) error {
	name := d.String()
	if err := checkDeletion(d); err != nil {
		return err
	}
	if d.Name == "" && s.unlisted.Load() {
		s.learn(ctx, d.Digest)
	}
	req := &request{method: http.MethodDelete, path: s.path("manifests", name)}
	err := s.ask(ctx, req, func(*response) error { return nil })
	var answer *Error
	if !errors.As(err, &answer) || answer.token {
		return err
	}
	switch answer.Status {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		return err
	}
	// It is not there, or the request is not known: the answers look alike.
	_, there := s.find(ctx, name)
	switch {
	case errors.Is(there, image.ErrNotFound):
		return nil
	case there != nil:
		return there
	}
	return fmt.Errorf("%w: the registry does not delete %s: %v", image.ErrUnsupported, kindOf(d), err)
}

// checkDeletion makes sure that a name is deleted as a name, and a digest as a
// digest.
func checkDeletion(d image.Deletion) error {
	switch {
	case d.Name == "":
		return oci.CheckDigest(d.Digest)
	case !reference.ValidTag(d.Name):
		return fmt.Errorf("%.300q is not a tag: %w", d.Name, reference.ErrFormat)
	}
	return nil
}

// kindOf is what a user calls what is to be deleted.
func kindOf(d image.Deletion) string {
	if d.Name != "" {
		return "tags"
	}
	return "manifests"
}

// failures are the errors of several things that were done at the same time.
// The text is one line, and not a long one.
type failures []error

func (f failures) Unwrap() []error { return f }

func (f failures) Error() string {
	const most = 3
	var text []string
	for _, err := range f[:min(len(f), most)] {
		text = append(text, err.Error())
	}
	if more := len(f) - most; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(text, "; ")
}

var (
	_ image.Shelf    = (*Shelf)(nil)
	_ image.Lister   = (*Shelf)(nil)
	_ image.Namer    = (*Shelf)(nil)
	_ image.Referrer = (*Shelf)(nil)
)
