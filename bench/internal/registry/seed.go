package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"

	"github.com/imgtools/imgtools/bench/internal/oci"
)

// Each runs f over the items, at most n at once, and returns the first error.
func Each[T any](n int, items []T, f func(T) error) error {
	slots := make(chan struct{}, n)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for _, it := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(it); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}

// Seed pushes every tag of the layout dir.
func (c *Client) Seed(ctx context.Context, dir string) error {
	refs, err := oci.Tags(dir)
	if err != nil {
		return err
	}
	var tags []string
	for t := range refs {
		tags = append(tags, t)
	}
	sort.Strings(tags)
	s := seeder{c: c, dir: dir, done: map[string]bool{}}
	for _, t := range tags {
		if err := s.push(ctx, refs[t], t); err != nil {
			return err
		}
	}
	return nil
}

type seeder struct {
	c    *Client
	dir  string
	mu   sync.Mutex
	done map[string]bool
}

func (s *seeder) push(ctx context.Context, d oci.Descriptor, ref string) error {
	b, m, err := oci.ReadManifest(s.dir, d.Digest)
	if err != nil {
		return err
	}
	for _, child := range m.Manifests {
		if err := s.push(ctx, child, child.Digest); err != nil {
			return err
		}
	}
	if err := Each(4, m.Blobs(), func(d oci.Descriptor) error { return s.blob(ctx, d) }); err != nil {
		return err
	}
	return s.c.PutManifest(ctx, ref, d.MediaType, b)
}

func (s *seeder) blob(ctx context.Context, d oci.Descriptor) error {
	s.mu.Lock()
	seen := s.done[d.Digest]
	s.done[d.Digest] = true
	s.mu.Unlock()
	if seen {
		return nil
	}
	return s.c.PutBlob(ctx, d, func() (io.ReadCloser, error) { return os.Open(oci.BlobPath(s.dir, d.Digest)) })
}

// Check proves that ref and all it names are there and returns how many
// objects that were. With root set, the manifest must have that digest.
func (c *Client) Check(ctx context.Context, ref, root string) (int, error) {
	w := checker{c: c, seen: map[string]bool{}}
	got, err := w.walk(ctx, ref)
	if err == nil && root != "" && got != root {
		err = fmt.Errorf("%s is %s; want %s", ref, got, root)
	}
	return len(w.seen), err
}

type checker struct {
	c    *Client
	seen map[string]bool
}

func (w *checker) walk(ctx context.Context, ref string) (string, error) {
	b, _, err := w.c.Manifest(ctx, ref)
	if err != nil {
		return "", err
	}
	digest := oci.Digest(b)
	w.seen[digest] = true
	var m oci.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return "", err
	}
	for _, child := range m.Manifests {
		if _, err := w.walk(ctx, child.Digest); err != nil {
			return "", err
		}
	}
	for _, d := range m.Blobs() {
		if w.seen[d.Digest] {
			continue
		}
		w.seen[d.Digest] = true
		if ok, err := w.c.HasBlob(ctx, d.Digest); err != nil || !ok {
			return "", fmt.Errorf("blob %s: present %v, %v", d.Digest, ok, err)
		}
	}
	return digest, nil
}
