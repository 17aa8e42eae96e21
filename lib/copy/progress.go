package copy

import (
	"io"
	"time"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

const progressEvery = 200 * time.Millisecond

// watch is the stage that tells, now and then, how far a blob has come. It
// and fromSource put their readers around the one that is there, so that the
// blob stays the one that blob.Measure fills in.
func (m *mover) watch(b *blob.Blob) (*blob.Blob, error) {
	if m.o.Notify == nil {
		return b, nil
	}
	around(b, func(r io.Reader, offset int64) io.Reader {
		return &counter{r: r, d: b.Desc, n: offset, notify: m.o.Notify, last: time.Now()}
	})
	return b, nil
}

// around puts wrap around the blob's reader, and around those that it will be
// read by from an offset.
func around(b *blob.Blob, wrap func(r io.Reader, offset int64) io.Reader) {
	b.Reader = wrap(b.Reader, 0)
	reopen := b.Reopen
	if reopen == nil {
		return
	}
	b.Reopen = func(offset int64) (io.ReadCloser, error) {
		rc, err := reopen(offset)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{wrap(rc, offset), rc}, nil
	}
}

type counter struct {
	r      io.Reader
	d      oci.Descriptor
	n      int64
	notify image.Notify
	last   time.Time
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if now := time.Now(); now.Sub(c.last) >= progressEvery {
		c.last = now
		c.notify.Send(image.Event{Kind: image.EventProgress, Blob: c.d, Done: c.n})
	}
	return n, err
}

// fromSource is the stage that makes every error in reading the blob one of
// the source's, so that the destination's own can be told apart.
func (m *mover) fromSource(b *blob.Blob) (*blob.Blob, error) {
	op := "read " + name(b.Desc)
	around(b, func(r io.Reader, _ int64) io.Reader { return &blamer{r, op, &m.o} })
	if reopen := b.Reopen; reopen != nil {
		b.Reopen = func(offset int64) (io.ReadCloser, error) {
			rc, err := reopen(offset)
			return rc, m.o.atSource(op, err)
		}
	}
	return b, nil
}

type blamer struct {
	r  io.Reader
	op string
	o  *Options
}

func (b *blamer) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = b.o.atSource(b.op, err)
	}
	return n, err
}
