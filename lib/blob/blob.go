// Package blob holds content on its way from one place to another: readers
// that check it, measure it, pack and unpack it.
//
// Bytes are untrusted until Verify has seen their end. The package knows of
// no place that content comes from or goes to; it imports only lib/oci.
package blob

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// ErrMismatch is returned in place of io.EOF when content is not what its
// descriptor says: another digest, more bytes or fewer.
var ErrMismatch = errors.New("content does not match its digest")

// A Blob is content on its way: a reader, and what it is said to be.
//
// Desc.Digest is "" and Desc.Size -1 while they are not known. A stage that
// changes the bytes makes them so, until the reader has reached its end.
// Whoever gets a Blob reads it to its end once; closing it is the duty of
// whoever opened it, and freeing it that of whoever put it through stages.
type Blob struct {
	Desc oci.Descriptor
	io.Reader

	// Reopen, if set, reads the content once more, from offset bytes into
	// it, for a destination whose transfer broke off. The reader that was
	// there before is not used any more. The caller closes the new one.
	Reopen func(offset int64) (io.ReadCloser, error)

	// Placed, if set, is told the descriptor under which the content now
	// lies at the destination. A source that does not know its blobs'
	// digests beforehand learns them from it.
	Placed func(oci.Descriptor)

	free func() // set by stages that hold something
}

// Free ends what the stages before b still do and hold: a goroutine, a file.
// It is called when nobody reads b any more, whether or not its end was
// reached, and before its source is closed; it is idempotent.
func (b *Blob) Free() {
	if b.free != nil {
		b.free()
	}
}

// Known reports whether the blob's digest and size are known beforehand.
func (b *Blob) Known() bool { return b.Desc.Digest != "" && b.Desc.Size >= 0 }

// A Stage makes one blob out of another. All but Spool read nothing before the
// blob that they return is read. If a stage fails, the blob that it was given
// is still to be freed.
type Stage func(*Blob) (*Blob, error)

// Verify is the stage that no blob passes without having the size and digest
// of its descriptor: the reader ends with an error that wraps ErrMismatch
// instead of io.EOF, and never gives out more bytes than promised. A blob
// whose digest is not known is measured instead.
func Verify(b *Blob) (*Blob, error) {
	if b.Desc.Digest == "" {
		return Measure(b)
	}
	if err := oci.CheckDigest(b.Desc.Digest); err != nil {
		return nil, err
	}
	v := &verifier{r: b.Reader, h: b.Desc.Digest.Algorithm().Hash(), want: b.Desc}
	out := &Blob{Desc: b.Desc, Reader: v, Placed: b.Placed, free: b.free}
	if b.Reopen != nil {
		c := &checkpoints{reopen: b.Reopen}
		v.marks, out.Reopen = c, c.verified(b.Desc)
	}
	return out, nil
}

type verifier struct {
	r     io.Reader
	h     hash.Hash
	n     int64
	want  oci.Descriptor
	marks *checkpoints // nil: the content cannot be reopened
	err   error
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.n += int64(n)
	if v.want.Size >= 0 && v.n > v.want.Size {
		v.err = fmt.Errorf("%s: %w: it is longer than %d bytes", v.want.Digest, ErrMismatch, v.want.Size)
		return 0, v.err
	}
	v.h.Write(p[:n])
	v.marks.note(v.n, v.h)
	switch err {
	case nil:
		return n, nil
	case io.EOF:
		v.err = v.end()
	default:
		v.err = err
	}
	return n, v.err
}

func (v *verifier) end() error {
	if v.want.Size >= 0 && v.n != v.want.Size {
		return fmt.Errorf("%s: %w: it has %d bytes, not %d", v.want.Digest, ErrMismatch, v.n, v.want.Size)
	}
	if got := digest.NewDigest(v.want.Digest.Algorithm(), v.h); got != v.want.Digest {
		return fmt.Errorf("%s: %w: it is %s", v.want.Digest, ErrMismatch, got)
	}
	return io.EOF
}

// Measure is the stage that fills in the blob's digest, by sha256, and size
// when its reader has reached the end.
func Measure(b *Blob) (*Blob, error) {
	m := &Blob{Desc: b.Desc, Placed: b.Placed, free: b.free} // Reopen goes: what was measured of the first reading must be what is sent
	m.Desc.Digest, m.Desc.Size = "", -1
	m.Reader = &meter{r: b.Reader, h: digest.SHA256.Hash(), d: &m.Desc, want: b.Desc.Size}
	return m, nil
}

type meter struct {
	r    io.Reader
	h    hash.Hash
	n    int64
	d    *oci.Descriptor
	want int64 // a size known beforehand, or -1
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.h.Write(p[:n])
	m.n += int64(n)
	if err != io.EOF {
		return n, err
	}
	if m.want >= 0 && m.n != m.want {
		return n, fmt.Errorf("%w: it has %d bytes, not %d", ErrMismatch, m.n, m.want)
	}
	m.d.Digest, m.d.Size = digest.NewDigest(digest.SHA256, m.h), m.n
	return n, io.EOF
}

// ReadAll reads the content that d describes from r, into memory, and checks
// it. Content of more than limit bytes, or that is not what d says, is an
// error: one that wraps ErrTooLarge, or ErrMismatch.
func ReadAll(r io.Reader, d oci.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, more than %d", d.Digest, ErrTooLarge, d.Size, limit)
	}
	b, err := Verify(&Blob{Desc: d, Reader: r})
	if err != nil {
		return nil, err
	}
	return ReadLimited(b, limit)
}

// ErrTooLarge says that something is larger than this program takes.
var ErrTooLarge = errors.New("too large")

// ReadLimited reads r to its end, into memory. More than limit bytes are an
// error that wraps ErrTooLarge; no more than limit+1 are read.
func ReadLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return b, nil
}

// bufferSize is in bytes. A gigabyte from a registry to a disk costs least with
// this many: with half, or twice, it is slower.
const bufferSize = 512 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// Copy copies src to dst until the end of src, through a buffer that is
// shared among copies. It returns the number of bytes written.
func Copy(dst io.Writer, src io.Reader) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(onlyWriter{dst}, onlyReader{src}, *buf)
}

// Content that must be seen by us may not pass around our buffer by the
// short cuts that io.Copy knows.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
