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
	if m.o.Notify != nil {
		b.Reader = &counter{r: b.Reader, d: b.Desc, notify: m.o.Notify, last: time.Now()}
	}
	return b, nil
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
	b.Reader = &blamer{b.Reader, op, &m.o}
	if reopen := b.Reopen; reopen != nil {
		b.Reopen = func(offset int64) (io.ReadCloser, error) {
			rc, err := reopen(offset)
			if err != nil {
				return nil, m.o.atSource(op, err)
			}
			return struct {
				io.Reader
				io.Closer
			}{&blamer{rc, op, &m.o}, rc}, nil
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
