package bound

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
)

// whole is the size up to which a blob of a stream is held in memory, so that
// the next ones need not wait for its round trips.
const whole = 2 << 20

// widen makes the pipe f as large as a user may; any other file stays as it is.
func widen(f *os.File) {
	const setPipeSize = 1031 // F_SETPIPE_SZ
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), setPipeSize, 1<<20)
}

// fetched is a blob: its bytes if it is small, else its opened body.
type fetched struct {
	d    oci.Descriptor
	b    []byte
	body io.ReadCloser
}

// streamOut writes an image stream, head first. Blobs are asked for ahead.
func (p *Probe) streamOut(ctx context.Context, src source, f *os.File) error {
	widen(f)
	raw, mt, err := src.root(ctx)
	if err != nil {
		return err
	}
	t, err := p.load(ctx, src, raw, mt)
	if err != nil {
		return err
	}
	blobs := ahead(p.Jobs, t.blobs, func(d oci.Descriptor) (fetched, error) { return fetch(ctx, src, d) })
	tw := tar.NewWriter(f)
	root := oci.Descriptor{MediaType: mt, Digest: oci.Digest(raw), Size: int64(len(raw))}
	index := oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{root}}
	if err := writeMember(tw, "index.json", oci.JSON(index)); err != nil {
		return err
	}
	for _, b := range append([][]byte{raw}, t.kids...) {
		if err := writeMember(tw, oci.BlobPath("", oci.Digest(b)), b); err != nil {
			return err
		}
	}
	for next := range blobs {
		r := <-next
		if r.err != nil {
			return r.err
		}
		if err := writeBlob(tw, r.v); err != nil {
			return err
		}
	}
	return tw.Close()
}

func fetch(ctx context.Context, src source, d oci.Descriptor) (fetched, error) {
	body, err := src.blob(ctx, d)
	if err != nil || d.Size > whole {
		return fetched{d: d, body: body}, err
	}
	defer body.Close()
	b := make([]byte, d.Size)
	_, err = io.ReadFull(body, b)
	return fetched{d: d, b: b}, err
}

func writeMember(tw *tar.Writer, name string, b []byte) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := tw.Write(b)
	return err
}

func writeBlob(tw *tar.Writer, x fetched) error {
	name := oci.BlobPath("", x.d.Digest)
	if x.body == nil {
		if oci.Digest(x.b) != x.d.Digest {
			return fmt.Errorf("%s has other content", x.d.Digest)
		}
		return writeMember(tw, name, x.b)
	}
	defer x.body.Close()
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: x.d.Size}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(onlyWriter{tw}, &hashReader{x.body, h}, make([]byte, 512<<10)); err != nil {
		return err
	}
	return checkSum(h, x.d.Digest)
}

// session is an opened upload, or word that the blob is there.
type session struct {
	location string
	done     bool
}

// streamIn sends an image stream, of the order that streamOut writes, to a
// registry. Upload sessions are opened ahead; small blobs are sent together.
func (p *Probe) streamIn(ctx context.Context, f *os.File, c *registry.Client, tag string) error {
	widen(f)
	tr := tar.NewReader(f)
	t, err := readHead(tr)
	if err != nil {
		return err
	}
	sessions := ahead(p.Jobs, t.blobs, func(d oci.Descriptor) (session, error) {
		location, done, err := c.StartUpload(ctx, d.Digest, c.Repo)
		return session{location, done}, err
	})
	up := uploads{slots: make(chan struct{}, p.Jobs)}
	for _, d := range t.blobs {
		s := <-<-sessions
		if s.err != nil {
			return s.err
		}
		if err := expectMember(tr, d); err != nil {
			return err
		}
		if s.v.done {
			continue
		}
		if err := up.blob(ctx, c, d, s.v.location, tr); err != nil {
			return err
		}
	}
	if err := up.wait(); err != nil {
		return err
	}
	if err := registry.Each(p.Jobs, numbers(len(t.kids)), func(i int) error {
		return c.PutManifest(ctx, t.children[i].Digest, t.children[i].MediaType, t.kids[i])
	}); err != nil {
		return err
	}
	return c.PutManifest(ctx, tag, t.mt, t.raw)
}

func expectMember(tr *tar.Reader, d oci.Descriptor) error {
	h, err := tr.Next()
	if err != nil {
		return err
	}
	if !strings.HasSuffix(h.Name, strings.TrimPrefix(d.Digest, "sha256:")) || h.Size != d.Size {
		return fmt.Errorf("member %s of %d bytes; want %s of %d", h.Name, h.Size, d.Digest, d.Size)
	}
	return nil
}

// readHead reads a stream up to its first layer or config.
func readHead(tr *tar.Reader) (*tree, error) {
	var index, m oci.Manifest
	if _, err := readJSON(tr, &index); err != nil {
		return nil, err
	}
	raw, err := readJSON(tr, &m)
	if err != nil {
		return nil, err
	}
	t := &tree{raw: raw, mt: index.Manifests[0].MediaType, children: m.Manifests}
	images := []oci.Manifest{m}
	for range m.Manifests {
		var kid oci.Manifest
		b, err := readJSON(tr, &kid)
		if err != nil {
			return nil, err
		}
		t.kids = append(t.kids, b)
		images = append(images, kid)
	}
	t.collect(images)
	return t, nil
}

func readJSON(tr *tar.Reader, v any) ([]byte, error) {
	if _, err := tr.Next(); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(tr)
	if err != nil {
		return nil, err
	}
	return b, json.Unmarshal(b, v)
}

// uploads sends small blobs beside each other.
type uploads struct {
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error
}

func (u *uploads) blob(ctx context.Context, c *registry.Client, d oci.Descriptor, location string, r io.Reader) error {
	if d.Size > whole {
		return c.PutUpload(ctx, location, d.Digest, onlyReader{r}, d.Size)
	}
	b := make([]byte, d.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	u.slots <- struct{}{}
	u.wg.Go(func() {
		defer func() { <-u.slots }()
		if err := c.PutUpload(ctx, location, d.Digest, bytes.NewReader(b), d.Size); err != nil {
			u.mu.Lock()
			u.err = err
			u.mu.Unlock()
		}
	})
	return nil
}

func (u *uploads) wait() error {
	u.wg.Wait()
	return u.err
}
