package imagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Shelf is a place with many images, in memory. It is an image.Shelf, and
// counts what it is asked.
type Shelf struct {
	Content

	// Together says that a name cannot be deleted without what it stands
	// for, as in registries without tag deletion.
	Together bool

	// Takes says that who deletes a name deletes what it stands for, and
	// is not told: there are registries that do that.
	Takes bool

	// Fail, if set, is asked before each request. What it returns is the
	// answer, unless it is nil.
	Fail func(op, what string) error

	Notify image.Notify

	// Asked counts the requests: "find 1.0", "manifest sha256:…", "blob
	// sha256:…", "referrers sha256:…", "delete 1.0", and "tags".
	Asked map[string]int
	Gone  []string // what was deleted, in order
	Peak  int      // the most requests at one time

	mu       sync.Mutex
	busy     int
	subjects map[digest.Digest][]oci.Descriptor // what belongs to each
}

// NewShelf returns an empty shelf.
func NewShelf() *Shelf {
	return &Shelf{Content: *newContent(), Asked: map[string]int{}, subjects: map[digest.Digest][]oci.Descriptor{}}
}

// Image adds an image with a configuration that was created at that time,
// none for "". Images with another label are other images.
func (s *Shelf) Image(created, label string) oci.Descriptor {
	config := map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Labels": map[string]string{"which": label}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{digest.FromString(label)}},
	}
	if created != "" {
		config["created"] = created
	}
	return s.Put(map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": s.blob(oci.MediaTypeConfig, mustJSON(config)),
		"layers": []oci.Descriptor{s.blob(oci.MediaTypeLayerGzip, []byte(label))},
	})
}

// Index adds an index of entries, with annotations given as keys and values in
// turn.
func (s *Shelf) Index(entries []oci.Descriptor, annotations ...string) oci.Descriptor {
	return s.manifest(oci.MediaTypeIndex, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": append([]oci.Descriptor{}, entries...), "annotations": pairs(annotations),
	})
}

// Artifact adds an artifact that belongs to subject, unless that is nil, with
// annotations given as keys and values in turn.
func (s *Shelf) Artifact(label string, subject *oci.Descriptor, annotations ...string) oci.Descriptor {
	m := map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "artifactType": "application/vnd.example.thing",
		"config": s.blob("application/vnd.oci.empty.v1+json", []byte("{}")),
		"layers": []oci.Descriptor{s.blob("text/plain", []byte(label))}, "annotations": pairs(annotations),
	}
	if subject == nil {
		return s.Put(m)
	}
	m["subject"] = oci.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	d := s.Put(m)
	s.List(*subject, d)
	return d
}

// List makes Referrers say that d belongs to subject, which need not be so.
func (s *Shelf) List(subject, d oci.Descriptor) {
	s.subjects[subject.Digest] = append(s.subjects[subject.Digest], d)
}

// Put adds an OCI image manifest of any content.
func (s *Shelf) Put(v map[string]any) oci.Descriptor { return s.manifest(oci.MediaTypeManifest, v) }

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}

// Tag gives d names.
func (s *Shelf) Tag(d oci.Descriptor, names ...string) {
	for _, n := range names {
		s.Names[n] = d
	}
}

// begin counts a request, and holds the shelf until it is ended.
func (s *Shelf) begin(ctx context.Context, op, what string) (end func(), err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.Asked[op+what]++
	s.busy++
	s.Peak = max(s.Peak, s.busy)
	s.mu.Unlock()
	if s.Fail != nil {
		err = s.Fail(op, what)
	}
	s.mu.Lock()
	s.busy--
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return s.mu.Unlock, nil
}

// Manifest implements image.Source.
func (s *Shelf) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	end, err := s.begin(ctx, "manifest ", d.String())
	if err != nil {
		return oci.Raw{}, err
	}
	defer end()
	raw, ok := s.Manifests[d]
	if !ok {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w", d, image.ErrNotFound)
	}
	return raw, nil
}

// Blob implements image.Source.
func (s *Shelf) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	end, err := s.begin(ctx, "blob ", d.Digest.String())
	if err != nil {
		return nil, err
	}
	defer end()
	b, ok := s.Blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, image.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Tags implements image.Lister. The names are sorted.
func (s *Shelf) Tags(ctx context.Context) ([]string, error) {
	end, err := s.begin(ctx, "tags", "")
	if err != nil {
		return nil, err
	}
	defer end()
	return slices.Sorted(maps.Keys(s.Names)), nil
}

// Find implements image.Namer. A name whose manifest is gone is not found,
// though Tags has it.
func (s *Shelf) Find(ctx context.Context, name string) (oci.Descriptor, error) {
	end, err := s.begin(ctx, "find ", name)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer end()
	d, ok := s.Names[name]
	if _, there := s.Manifests[d.Digest]; !ok || !there {
		return oci.Descriptor{}, fmt.Errorf("%s: %w", name, image.ErrNotFound)
	}
	return d, nil
}

// Referrers implements image.Referrer, for what Artifact and List made.
func (s *Shelf) Referrers(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	end, err := s.begin(ctx, "referrers ", subject.String())
	if err != nil {
		return nil, err
	}
	defer end()
	list := slices.Clone(s.subjects[subject])
	return slices.DeleteFunc(list, func(d oci.Descriptor) bool { return s.Manifests[d.Digest].Bytes == nil }), nil
}

// Delete implements image.Shelf.
func (s *Shelf) Delete(ctx context.Context, list []image.Deletion) error {
	var errs []error
	for _, d := range list {
		err := s.delete(ctx, d)
		s.Notify.Send(image.Event{Kind: image.EventDelete, Text: d.String(), Err: err})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Shelf) delete(ctx context.Context, d image.Deletion) error {
	end, err := s.begin(ctx, "delete ", d.String())
	if err != nil {
		return err
	}
	defer end()
	what := d.String()
	if s.Takes && d.Name != "" {
		d = image.Deletion{Digest: s.Names[d.Name].Digest}
	}
	switch {
	case d.Name != "" && s.Together:
		return fmt.Errorf("%w: names are not deleted by themselves", image.ErrUnsupported)
	case d.Name != "":
		delete(s.Names, d.Name)
	default:
		delete(s.Manifests, d.Digest)
		maps.DeleteFunc(s.Names, func(_ string, at oci.Descriptor) bool { return at.Digest == d.Digest })
	}
	s.Gone = append(s.Gone, what)
	return nil
}

// Count returns how many requests there were whose name has that beginning.
func (s *Shelf) Count(prefix string) int {
	n := 0
	for what, times := range s.Asked {
		if len(what) >= len(prefix) && what[:len(prefix)] == prefix {
			n += times
		}
	}
	return n
}

// Close implements image.Source.
func (s *Shelf) Close() error { return nil }
