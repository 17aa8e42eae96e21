package registry

import (
	"errors"
	"fmt"
	"io"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
)

// A feed gives out the bytes of a blob, to one request after the other. The
// last of them it keeps back until the blob's reader has said that all is
// well: content that is wrong is never sent whole.
type feed struct {
	b     *blob.Blob
	r     io.Reader // of b, or what it was reopened as
	again io.Closer // that
	lend  func() *[]byte
	back  func(*[]byte)

	memory []byte  // all of it, where that is little
	small  bool    // memory is set
	buf    *[]byte // on loan
	head   []byte  // bytes in buf that were read, but not given out
	pos    int64   // of the next byte to give out
	err    error   // of the blob: io.EOF when its end was seen
}

// failed returns what went wrong with the source, if anything did.
func (f *feed) failed() error {
	if f.err == io.EOF {
		return nil
	}
	return f.err
}

// first reads the beginning of the blob, all of it if it is small. Nothing is
// worth sending before.
func (f *feed) first() error {
	f.r = f.b.Reader
	f.buf = f.lend()
	n := 0
	for f.err == nil && n < len(*f.buf) {
		var m int
		m, f.err = f.r.Read((*f.buf)[n:])
		n += m
		if n > 0 && f.b.Desc.Size > bufferSize {
			break // large: the rest can wait
		}
	}
	f.head = (*f.buf)[:n]
	if f.failed() != nil {
		return f.err
	}
	if f.err == io.EOF {
		return f.keep()
	}
	if n == len(*f.buf) && f.b.Desc.Size == bufferSize {
		if f.confirm(); f.err != io.EOF {
			return f.err
		}
		return f.keep()
	}
	return nil
}

// keep takes all of a small blob into memory.
func (f *feed) keep() error {
	if size := f.b.Desc.Size; size >= 0 && size != int64(len(f.head)) {
		f.err = fmt.Errorf("%w: it has %d bytes, not %d", image.ErrMismatch, len(f.head), size)
		return f.err
	}
	f.memory, f.small, f.head = append([]byte(nil), f.head...), true, nil
	f.giveBack()
	return nil
}

// confirm makes sure that the blob is at its end.
func (f *feed) confirm() {
	var one [1]byte
	for f.err == nil {
		n, err := f.r.Read(one[:])
		if n > 0 {
			err = fmt.Errorf("%w: it is longer than %d bytes", image.ErrMismatch, f.b.Desc.Size)
		}
		f.err = err
	}
}

// more reports whether there is something to give out.
func (f *feed) more() bool {
	if f.small {
		return f.pos < int64(len(f.memory))
	}
	if size := f.b.Desc.Size; size >= 0 {
		return f.pos < size
	}
	for f.err == nil && len(f.head) == 0 {
		if f.buf == nil {
			f.buf = f.lend()
		}
		var n int
		n, f.err = f.r.Read(*f.buf)
		f.head = (*f.buf)[:n]
	}
	return len(f.head) > 0
}

// Read gives out the next bytes of a blob that is not small.
func (f *feed) Read(p []byte) (int, error) {
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		if len(f.head) == 0 {
			f.giveBack()
		}
		f.pos += int64(n)
		return n, nil
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(p)
	f.err = err
	size := f.b.Desc.Size
	if end := f.pos + int64(n); size >= 0 {
		if end == size {
			f.confirm()
		}
		if end > size || f.err == io.EOF && end < size {
			f.err = fmt.Errorf("%w: it has not %d bytes", image.ErrMismatch, size)
		}
	}
	if f.failed() != nil {
		return 0, f.err
	}
	f.pos += int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, f.err
}

// errOnce says that a blob cannot be read a second time.
var errOnce = errors.New("the source cannot be read again")

// canSeek reports whether the feed can go back.
func (f *feed) canSeek() bool { return f.small || f.b.Reopen != nil }

// seek makes offset the next byte to give out.
func (f *feed) seek(offset int64) error {
	switch {
	case f.small:
		f.pos = offset
		return nil
	case f.pos == offset && f.failed() == nil:
		return nil
	case f.b.Reopen == nil:
		return errOnce
	}
	f.release()
	rc, err := f.b.Reopen(offset)
	if err != nil {
		f.err = err
		return err
	}
	f.r, f.again, f.pos, f.err = rc, rc, offset, nil
	return nil
}

func (f *feed) giveBack() {
	if f.buf != nil {
		f.back(f.buf)
		f.buf = nil
	}
}

// release gives back what the feed holds, but for the blob that it was given.
func (f *feed) release() {
	f.head = nil
	f.giveBack()
	if f.again != nil {
		f.again.Close()
		f.again = nil
	}
}
