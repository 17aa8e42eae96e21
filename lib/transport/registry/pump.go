package registry

import (
	"fmt"
	"io"
	"time"

	"github.com/imgtools/imgtools/lib/image"
)

// pieceSize is how much of a blob is read, and sent, at a time, in bytes.
const pieceSize = 64 << 10

// A piece is some of a blob, or how it ended.
type piece struct {
	buf *[]byte // on loan
	b   []byte  // in it
	err error   // io.EOF if all is well
}

// A pump reads a blob while what it has read before is being sent. The last
// piece before an error is not given out: content that is wrong is never sent
// whole.
type pump struct {
	r    io.Reader
	size int64 // of the blob, or -1
	at   int64 // of the next byte to be read
	lend func() *[]byte
	back func(*[]byte)

	out  chan piece
	quit chan struct{} // closed when nobody wants more
	done chan struct{} // closed when r is not read any more
}

// start starts to read.
func (p *pump) start() *pump {
	p.out, p.quit, p.done = make(chan piece), make(chan struct{}), make(chan struct{})
	go p.run()
	return p
}

func (p *pump) run() {
	defer close(p.done)
	held, next := piece{}, p.empty()
	defer func() {
		p.drop(held)
		p.drop(next)
	}()
	for {
		err := p.read(&next)
		switch {
		case err == io.EOF:
			if p.give(&held, true) && p.give(&next, true) {
				p.give(&piece{err: io.EOF}, true)
			}
			return
		case err != nil:
			p.give(&piece{err: err}, true)
			return
		case len(next.b) == 0:
		case held.buf == nil || p.give(&held, len(next.b) == len(*next.buf)):
			held, next = next, p.empty()
		}
		select {
		case <-p.quit:
			return
		default:
		}
	}
}

func (p *pump) empty() piece {
	buf := p.lend()
	return piece{buf: buf, b: (*buf)[:0]}
}

func (p *pump) drop(x piece) {
	if x.buf != nil {
		p.back(x.buf)
	}
}

// read adds to a piece.
func (p *pump) read(x *piece) error {
	n, err := p.r.Read((*x.buf)[len(x.b):])
	x.b = x.b[:len(x.b)+n]
	p.at += int64(n)
	if p.size >= 0 && (p.at > p.size || err == io.EOF && p.at < p.size) {
		return fmt.Errorf("%w: it has not %d bytes", image.ErrMismatch, p.size)
	}
	return err
}

// give hands a piece over, and reports whether it could. If it is not to wait,
// that is only if somebody is waiting for it.
func (p *pump) give(x *piece, wait bool) bool {
	if x.err == nil && len(x.b) == 0 {
		return true
	}
	if !wait {
		select {
		case p.out <- *x:
			x.buf = nil
			return true
		default:
			return false
		}
	}
	select {
	case p.out <- *x:
		x.buf = nil
		return true
	case <-p.quit:
		return false
	}
}

// patience is how long stop waits for a reader that has nothing to give.
const patience = time.Second

// stop ends the pump, and waits until its reader is not read any more; not for
// ever, and not when gone is closed.
func (p *pump) stop(gone <-chan struct{}) {
	close(p.quit)
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.done:
	case <-gone:
	case <-t.C:
	}
}
