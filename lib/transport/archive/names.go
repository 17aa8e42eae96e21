package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// maxLooked bounds the bytes of manifests that are looked into for their
// subjects.
const maxLooked = 256 << 20

// tags lists the names of all images, in the order of the archive. An image of
// manifest.json that has none is called @ and its place, from 0.
func (c *catalogue) tags(v View) ([]string, error) {
	all, err := c.list(v)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, l := range all {
		switch {
		case l.Name != "":
			tags = append(tags, l.Name)
		case l.Root.Digest == "":
			tags = append(tags, "@"+strconv.Itoa(l.Position-1))
		}
	}
	return tags, nil
}

// find returns the image with a name of those that tags lists.
func (c *catalogue) find(v View, name string) (*choice, error) {
	if name == "" {
		return nil, fmt.Errorf("no name: %w", image.ErrNotFound)
	}
	if v != Docker {
		ix, err := c.readIndex()
		if err == nil {
			d, err := entryNamed(ix.Manifests, Selection{View: v, Name: name})
			return &choice{root: d}, err
		}
		if v == OCI || !errors.Is(err, image.ErrNotFound) {
			return nil, err
		}
	}
	s := Selection{View: Docker, Name: name}
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "@")); err == nil && name[0] == '@' && n >= 0 {
		s = Selection{View: Docker, Position: n + 1}
	}
	return c.lookDocker(s)
}

// referrers returns the referrers of subject, each once: those in the list
// that its name in index.json stands for, and those that are entries of
// index.json themselves, as some programs write them. The Docker view has none.
func (c *catalogue) referrers(v View, subject digest.Digest) ([]oci.Descriptor, error) {
	if err := oci.CheckDigest(subject); err != nil || v == Docker {
		return nil, err
	}
	ix, err := c.readIndex()
	if errors.Is(err, image.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := c.lookForSubjects(ix); err != nil {
		return nil, err
	}
	var listed []oci.Descriptor
	tag := oci.ReferrersTag(subject)
	i := slices.IndexFunc(ix.Manifests, func(d oci.Descriptor) bool {
		return d.Annotations[oci.AnnotationRefName] == tag && oci.IsIndexType(d.MediaType)
	})
	if i >= 0 {
		m, err := c.read(ix.Manifests[i])
		if err != nil && !errors.Is(err, image.ErrNotFound) {
			return nil, fmt.Errorf("referrers of %s: %w", subject, err)
		}
		if m != nil {
			listed = m.Manifests
		}
	}
	return once(slices.Concat(listed, c.subjects.of[subject])), nil
}

// once returns a list with each digest once.
func once(list []oci.Descriptor) []oci.Descriptor {
	seen := map[digest.Digest]bool{}
	return slices.DeleteFunc(list, func(d oci.Descriptor) bool {
		known := seen[d.Digest]
		seen[d.Digest] = true
		return known
	})
}

// mayRefer reports whether an entry of index.json may be a referrer: it has no
// name, or an artifact type.
func mayRefer(d oci.Descriptor) bool {
	return (nameOf(d) == "" || d.ArtifactType != "") && oci.IsManifestType(d.MediaType)
}

// subjects are what the entries of index.json that may be referrers belong to.
type subjects struct {
	next  int   // entry to look at
	bytes int64 // of manifests that were looked into
	seen  map[digest.Digest]bool
	of    map[digest.Digest][]oci.Descriptor
}

// lookForSubjects reads, once, the manifests of all entries that may be
// referrers; of a stream as far as it has come, or image.ErrLater. Those that
// are not there, or none, are passed over.
func (c *catalogue) lookForSubjects(ix *oci.Manifest) error {
	s := &c.subjects
	if s.of == nil {
		s.seen, s.of = map[digest.Digest]bool{}, map[digest.Digest][]oci.Descriptor{}
	}
	for ; s.next < len(ix.Manifests); s.next++ {
		d := ix.Manifests[s.next]
		if !mayRefer(d) || s.seen[d.Digest] {
			continue
		}
		if d.Size > maxLooked-s.bytes {
			return fmt.Errorf("%w: manifests that may be referrers, more than %d bytes", image.ErrTooLarge, maxLooked)
		}
		m, err := c.read(d)
		switch {
		case errors.Is(err, image.ErrNotFound), errors.Is(err, oci.ErrInvalid):
		case err != nil:
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		case m.Subject != nil:
			of := m.Subject.Digest
			s.of[of] = append(s.of[of], oci.Referrer(d, m))
		}
		s.seen[d.Digest] = true
		s.bytes += d.Size
	}
	return nil
}

// Tags implements image.Lister: the names of all images, in the order of the
// archive.
func (s *file) Tags(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat.tags(s.sel.View)
}

// Find implements image.Namer.
func (s *file) Find(ctx context.Context, name string) (oci.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch, err := s.cat.find(s.sel.View, name)
	if err != nil || ch.docker == nil {
		return found(ch, err)
	}
	made, err := s.makeUp(ctx, ch.docker)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return made.raw.Descriptor(), nil
}

// found is the manifest of a choice.
func found(ch *choice, err error) (oci.Descriptor, error) {
	if err != nil {
		return oci.Descriptor{}, err
	}
	return ch.root, nil
}

// Referrers implements image.Referrer.
func (s *file) Referrers(_ context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat.referrers(s.sel.View, subject)
}

// Tags implements image.Lister. As Manifest does it reads on as far as it can:
// the error is image.ErrLater if index.json, or the end of a stream without
// one, lies behind what Next has to give out first. The same holds for Find
// and Referrers.
func (r *Reader) Tags(ctx context.Context) (tags []string, err error) {
	err = r.look(ctx, func() (err error) {
		tags, err = r.cat.tags(r.sel.View)
		return err
	})
	return tags, err
}

// Find implements image.Namer, for names of index.json. An image that has no
// manifest cannot be found in a stream: the error is image.ErrUnsupported.
func (r *Reader) Find(ctx context.Context, name string) (d oci.Descriptor, err error) {
	err = r.look(ctx, func() error {
		ch, err := r.cat.find(r.sel.View, name)
		if err == nil && ch.docker != nil {
			err = fmt.Errorf("%q: %w: it has no manifest", name, image.ErrUnsupported)
		}
		d, err = found(ch, err)
		return err
	})
	return d, err
}

// Referrers implements image.Referrer.
func (r *Reader) Referrers(ctx context.Context, subject digest.Digest) (list []oci.Descriptor, err error) {
	err = r.look(ctx, func() error {
		list, err = r.cat.referrers(r.sel.View, subject)
		return err
	})
	return list, err
}
