package prune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// epoch is the first year of which a date is believed. Builds that are to give
// the same bytes each time write 1970 or 1980; no container image is that old.
const epoch = 1981

// believe returns t, or zero if it cannot be when an image was made.
func believe(t time.Time) time.Time {
	if t.Year() < epoch {
		return time.Time{}
	}
	return t
}

// annotationCreated is where the image-spec's annotations.md has the date.
const annotationCreated = "org.opencontainers.image.created"

// annotated is the date in a manifest's annotations, zero if there is none.
func annotated(annotations map[string]string) time.Time {
	t, err := time.Parse(time.RFC3339, annotations[annotationCreated])
	if err != nil {
		return time.Time{}
	}
	return believe(t)
}

// dates reads what is needed to know the age of these manifests: what is below
// them, and the configurations of images.
func (r *reader) dates(ctx context.Context, list []digest.Digest) error {
	if err := r.read(ctx, list, true); err != nil {
		return err
	}
	var configs []oci.Descriptor
	seen := map[digest.Digest]bool{}
	var visit func(list []digest.Digest)
	visit = func(list []digest.Digest) {
		for _, d := range list {
			n := r.nodes[d]
			if n == nil || seen[d] {
				continue
			}
			seen[d] = true
			if n.image && !r.extras[d] && !seen[n.config.Digest] {
				seen[n.config.Digest] = true
				configs = append(configs, n.config)
			}
			visit(n.kids)
		}
	}
	visit(list)
	return each(ctx, configs, r.date)
}

// date reads one configuration, unless that has been done.
func (r *reader) date(ctx context.Context, d oci.Descriptor) error {
	r.mu.Lock()
	_, known := r.configs[d.Digest]
	r.mu.Unlock()
	if known {
		return nil
	}
	var created time.Time
	c, err := image.Config(ctx, r.shelf, &oci.Manifest{Config: &d})
	switch {
	case err == nil && c.Created != nil:
		created = believe(*c.Created)
	case err == nil, errors.Is(err, image.ErrNotFound), errors.Is(err, oci.ErrInvalid), errors.Is(err, image.ErrMismatch), errors.Is(err, image.ErrTooLarge):
	default:
		return fmt.Errorf("read configuration %s: %w", d.Digest, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.configs[d.Digest] = created
	return nil
}

// created returns when the image with that manifest was made: of an index the
// newest of its images, and zero if that of one is not known.
func (r *reader) created(d digest.Digest) time.Time {
	if t, ok := r.dated[d]; ok {
		return t
	}
	r.dated[d] = time.Time{} // no manifest is below itself, whatever a stranger says
	t := r.age(d)
	r.dated[d] = t
	return t
}

func (r *reader) age(d digest.Digest) time.Time {
	n := r.nodes[d]
	switch {
	case n == nil, n.missing, n.err != nil:
		return time.Time{}
	case n.image:
		if t := r.configs[n.config.Digest]; !t.IsZero() {
			return t
		}
		return n.created
	}
	newest, known := r.newest(n.kids)
	if known && newest.IsZero() {
		return n.created
	}
	return newest
}

// newest returns when the newest of the images in an index was made, zero if it
// has none. It is not known if that of one image is not.
func (r *reader) newest(kids []digest.Digest) (newest time.Time, known bool) {
	for _, k := range kids {
		n := r.nodes[k]
		if n == nil || n.missing || r.extras[k] {
			continue
		}
		t := r.created(k)
		if t.IsZero() && (n.image || len(n.kids) > 0 || n.err != nil) {
			return time.Time{}, false
		}
		if t.After(newest) {
			newest = t
		}
	}
	return newest, true
}
