package bound

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
)

// remote is one tag of a registry, as source and as sink.
type remote struct {
	probe *Probe
	c     *registry.Client
	tag   string
	from  string // the repository to mount from; the own one asks "is it there?"
}

func (r *remote) root(ctx context.Context) ([]byte, string, error) { return r.c.Manifest(ctx, r.tag) }

func (r *remote) child(ctx context.Context, d oci.Descriptor) ([]byte, error) {
	b, _, err := r.c.Manifest(ctx, d.Digest)
	return b, err
}

func (r *remote) blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if r.probe.Ranges && d.Size > 2*rangeSize {
		return r.ranged(ctx, d), nil
	}
	return r.c.Blob(ctx, d.Digest)
}

func (r *remote) digest(ctx context.Context) string {
	d, err := r.c.ManifestDigest(ctx, r.tag)
	if err != nil {
		return ""
	}
	return d
}

func (r *remote) put(ctx context.Context, d oci.Descriptor, src source) error {
	location, done, err := r.c.StartUpload(ctx, d.Digest, r.from)
	if err != nil || done {
		return err
	}
	body, err := src.blob(ctx, d)
	if err != nil {
		return err
	}
	defer body.Close()
	if f, ok := body.(*os.File); ok {
		// The registry checks the digest, so the kernel may send the file.
		return r.c.PutUpload(ctx, location, d.Digest, f, d.Size)
	}
	h := sha256.New()
	if err := r.c.PutUpload(ctx, location, d.Digest, &hashReader{body, h}, d.Size); err != nil {
		return err
	}
	return checkSum(h, d.Digest)
}

func (r *remote) manifest(ctx context.Context, b []byte, mediaType string, root bool) error {
	ref := oci.Digest(b)
	if root {
		ref = r.tag
	}
	return r.c.PutManifest(ctx, ref, mediaType, b)
}

func (r *remote) close() error { return nil }

const rangeSize = 8 << 20

// ranged reads one blob over several connections, in order.
func (r *remote) ranged(ctx context.Context, d oci.Descriptor) io.ReadCloser {
	parts := ahead(r.probe.Jobs, numbers(int((d.Size+rangeSize-1)/rangeSize)), func(i int) ([]byte, error) {
		lo := int64(i) * rangeSize
		return r.c.Range(ctx, d.Digest, lo, min(lo+rangeSize, d.Size))
	})
	pr, pw := io.Pipe()
	go func() {
		for part := range parts {
			p := <-part
			if p.err != nil {
				pw.CloseWithError(p.err)
				return
			}
			if _, err := pw.Write(p.v); err != nil {
				return
			}
		}
		pw.Close()
	}()
	return pr
}

// result is what f of ahead returned.
type result[T any] struct {
	v   T
	err error
}

// ahead runs f over the items, n at once, and gives the results in order.
func ahead[In, Out any](n int, items []In, f func(In) (Out, error)) <-chan chan result[Out] {
	queue := make(chan chan result[Out], n-1)
	go func() {
		defer close(queue)
		for _, it := range items {
			c := make(chan result[Out], 1)
			queue <- c
			go func() {
				v, err := f(it)
				c <- result[Out]{v, err}
			}()
		}
	}()
	return queue
}

// layout is one tag of an OCI layout on disk.
type layout struct {
	dir, tag string
	fsync    bool
	named    oci.Descriptor
}

func (l *layout) root(context.Context) ([]byte, string, error) {
	tags, err := oci.Tags(l.dir)
	if err != nil {
		return nil, "", err
	}
	d := tags[l.tag]
	b, err := os.ReadFile(oci.BlobPath(l.dir, d.Digest))
	return b, d.MediaType, err
}

func (l *layout) child(_ context.Context, d oci.Descriptor) ([]byte, error) {
	return os.ReadFile(oci.BlobPath(l.dir, d.Digest))
}

func (l *layout) blob(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return os.Open(oci.BlobPath(l.dir, d.Digest))
}

func (l *layout) digest(context.Context) string { return "" }

func (l *layout) put(ctx context.Context, d oci.Descriptor, src source) error {
	path := oci.BlobPath(l.dir, d.Digest)
	if st, err := os.Stat(path); err == nil && st.Size() == d.Size {
		return nil
	}
	body, err := src.blob(ctx, d)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.CreateTemp(l.dir, ".blob")
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(teeWriter{f, h}, onlyReader{body}, make([]byte, 512<<10)); err != nil {
		return err
	}
	if err := checkSum(h, d.Digest); err != nil {
		return err
	}
	if l.fsync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), path)
}

func (l *layout) manifest(_ context.Context, b []byte, mediaType string, root bool) error {
	d, err := oci.WriteBlob(l.dir, mediaType, b)
	if root {
		l.named = d.Tagged(l.tag)
	}
	return err
}

func (l *layout) close() error { return oci.WriteHead(l.dir, []oci.Descriptor{l.named}) }

// hashReader hashes what is read through it.
type hashReader struct {
	r io.Reader
	h hash.Hash
}

func (h *hashReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	return n, err
}

// onlyReader hides WriteTo, so that io.CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }

// onlyWriter hides ReadFrom, likewise.
type onlyWriter struct{ io.Writer }

// teeWriter hashes and writes each buffer.
type teeWriter struct {
	w io.Writer
	h hash.Hash
}

func (w teeWriter) Write(p []byte) (int, error) {
	w.h.Write(p)
	return w.w.Write(p)
}

func checkSum(h hash.Hash, digest string) error {
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return fmt.Errorf("content is %s; want %s", got, digest)
	}
	return nil
}
