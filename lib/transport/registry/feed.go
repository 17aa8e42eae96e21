package registry

import (
	"context"
	"errors"
	"io"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/oci"
)

// A feed gives out the bytes of a blob, to one request after the other.
type feed struct {
	b    *blob.Blob
	desc oci.Descriptor // of b, as far as it is known
	lend func() *[]byte
	back func(*[]byte)

	pump   *pump
	again  io.Closer // what the pump reads, if the blob was reopened
	memory []byte    // all of it, where that is little
	small  bool      // memory is set
	head   []piece   // came from the pump, but not given out
	pos    int64     // of the next byte to give out
	err    error     // of the blob: io.EOF when its end was seen
}

// failed returns what went wrong with the source, if anything did.
func (f *feed) failed() error {
	if f.err == io.EOF {
		return nil
	}
	return f.err
}

// first waits for the beginning of the blob, for all of it if it is small.
// Nothing is worth sending before.
func (f *feed) first(ctx context.Context) error {
	f.desc = f.b.Desc
	f.open(f.b, 0)
	for n := 0; f.err == nil; {
		if err := f.next(ctx.Done()); err != nil {
			break
		}
		n += len(f.head[len(f.head)-1].b)
		if n > bufferSize || f.desc.Size > bufferSize {
			return nil
		}
	}
	switch {
	case f.err == io.EOF:
		f.keep()
		return nil
	case f.err != nil:
		return f.err
	}
	return context.Cause(ctx)
}

func (f *feed) open(r io.Reader, offset int64) {
	f.pump = (&pump{r: r, size: f.desc.Size, at: offset, lend: f.lend, back: f.back}).start()
	f.pos, f.err = offset, nil
}

// next takes one more piece from the pump. It gives up when gone is closed.
func (f *feed) next(gone <-chan struct{}) error {
	if f.err != nil {
		return f.err
	}
	select {
	case x := <-f.pump.out:
		if x.err == nil {
			f.head = append(f.head, x)
			return nil
		}
		if f.err = x.err; f.err == io.EOF {
			f.desc = f.b.Desc // complete by now
		}
		return f.err
	case <-gone:
		return errBodyClosed
	}
}

// keep takes all of a small blob into memory.
func (f *feed) keep() {
	for _, x := range f.head {
		f.memory = append(f.memory, x.b...)
	}
	f.small, f.desc.Size = true, int64(len(f.memory))
	f.drop()
}

// more reports whether there is something to give out.
func (f *feed) more(ctx context.Context) bool {
	if f.desc.Size >= 0 {
		return f.pos < f.desc.Size
	}
	return len(f.head) > 0 || f.next(ctx.Done()) == nil
}

// until returns a reader of what is left of a blob that is not small, which
// gives up when gone is closed.
func (f *feed) until(gone <-chan struct{}) io.Reader { return &feedReader{f, gone} }

type feedReader struct {
	f    *feed
	gone <-chan struct{}
}

func (r *feedReader) Read(p []byte) (int, error) {
	f := r.f
	if len(f.head) == 0 {
		if err := f.next(r.gone); err != nil {
			return 0, err
		}
	}
	x := &f.head[0]
	n := copy(p, x.b)
	x.b = x.b[n:]
	if len(x.b) == 0 {
		f.back(x.buf)
		f.head = f.head[1:]
	}
	f.pos += int64(n)
	return n, nil
}

// errOnce says that a blob cannot be read a second time.
var errOnce = errors.New("the source cannot be read again")

// canSeek reports whether the feed can go back.
func (f *feed) canSeek() bool { return f.small || f.b.Reopen != nil }

// seek makes offset the next byte to give out.
func (f *feed) seek(ctx context.Context, offset int64) error {
	switch {
	case f.small:
		f.pos = offset
		return nil
	case f.pos == offset && f.failed() == nil:
		return nil
	case f.b.Reopen == nil:
		return errOnce
	}
	f.release(ctx)
	rc, err := f.b.Reopen(offset)
	if err != nil {
		f.err = err
		return err
	}
	f.again = rc
	f.open(rc, offset)
	return nil
}

// release gives back what the feed holds, but for the blob that it was given.
func (f *feed) release(ctx context.Context) {
	if f.pump != nil {
		f.pump.stop(ctx.Done())
		f.pump = nil
	}
	f.drop()
	if f.again != nil {
		f.again.Close()
		f.again = nil
	}
}

// drop forgets what came from the pump.
func (f *feed) drop() {
	for _, x := range f.head {
		f.back(x.buf)
	}
	f.head = nil
}
