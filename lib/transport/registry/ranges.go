package registry

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Sizes of what is read by several requests at once, in bytes.
const (
	aheadMemory = 12 << 20 // of all pieces in memory, however many they are
	aheadLeast  = 64 << 20 // of what is left of a blob, for it to be worth it
	maxRanges   = 16
)

// A stock is what it takes to read a blob in pieces. Only one blob at a time
// is: where there are others beside it, they fill the line as well.
type stock struct {
	memory  int64 // aheadMemory
	least   int64 // aheadLeast
	taken   atomic.Bool
	buffers [][]byte // of whoever has taken it
}

// An ahead reads one blob by several range requests at once (RFC 9110, section
// 14), and gives out the bytes in order. That fills a long line where a single
// connection does not. When anything goes wrong, the blob is read on by one
// request. The digest of the whole is for the reader to check, as ever.
type ahead struct {
	mu    sync.Mutex // held by Read, and by Close after it has ended that
	alone *download  // goes on when this is over
	stock *stock
	size  int64              // of a piece
	stop  context.CancelFunc // ends the tasks
	tasks sync.WaitGroup
	free  chan []byte
	queue chan chan part // in order; has room for all there can be

	start int64
	off   int64 // of the next byte to give out
	buf   []byte
	left  []byte // of buf
	over  bool
}

// A part is one piece of a blob, or why it did not come.
type part struct {
	buf []byte
	n   int
	err error
}

// pieceSize returns how long the ranges of a blob are to be, 0 if it is to be
// read by one request, as most are. Otherwise the stock is taken.
func (s *session) pieceSize(left int64) int64 {
	n, stock := int64(min(s.o.Network.Ranges, maxRanges)), &s.remote.stock
	if n < 2 || left < stock.least || !stock.taken.CompareAndSwap(false, true) {
		return 0
	}
	return stock.memory / n
}

// inPieces opens a blob that dl would read from its offset on. The first
// request is for the first piece: a server that does not know ranges answers
// with everything, and that is read instead.
func (s *session) inPieces(dl *download, size int64) (io.ReadCloser, error) {
	a := &ahead{
		alone: dl, stock: &s.remote.stock, size: size, start: dl.off, off: dl.off,
		free: make(chan []byte, maxRanges), queue: make(chan chan part, maxRanges),
	}
	ctx, stop := context.WithCancel(dl.ctx)
	a.stop = stop
	first := a.piece(ctx, dl.off)
	if err := s.retry.do(ctx, first.connect); err != nil {
		a.finish(err)
		return nil, err
	}
	dl.etag = first.etag
	if first.last != first.until {
		dl.ctx, dl.body, dl.anew = ctx, first.body, first.anew
		a.stock.taken.Store(false)
		return dl, nil
	}
	n := int(a.stock.memory / size)
	for len(a.stock.buffers) < n {
		a.stock.buffers = append(a.stock.buffers, make([]byte, size))
	}
	for _, b := range a.stock.buffers {
		a.free <- b
	}
	a.tasks.Go(func() { a.run(ctx, first) })
	return a, nil
}

// piece returns a download of one piece.
func (a *ahead) piece(ctx context.Context, at int64) *download {
	d := a.alone
	return &download{
		ctx: ctx, s: d.s, d: d.d, sources: d.sources, etag: d.etag, end: d.end,
		off: at, until: min(at+a.size, d.end), strict: at > a.start,
	}
}

// run asks for one piece after the other, as buffers become free.
func (a *ahead) run(ctx context.Context, d *download) {
	defer close(a.queue)
	for {
		select {
		case buf := <-a.free:
			c := make(chan part, 1)
			a.queue <- c
			d := d
			a.tasks.Go(func() { c <- d.fill(buf) })
		case <-ctx.Done():
			return
		}
		if d.until == a.alone.end {
			return
		}
		d = a.piece(ctx, d.until)
	}
}

// fill reads the piece that a download is for.
func (d *download) fill(buf []byte) part {
	if d.body == nil {
		if err := d.s.retry.hold(d.ctx); err != nil {
			return part{buf: buf, err: err}
		}
		if err := d.connect(); err != nil {
			return part{buf: buf, err: err}
		}
	}
	defer d.body.Close()
	if d.last != d.until {
		return part{buf: buf, err: fmt.Errorf("%w: asked for %d bytes, got %d", errShort, d.until-d.off, d.last-d.off)}
	}
	n, err := io.ReadFull(d.body, buf[:d.until-d.off])
	return part{buf, n, err}
}

// Read returns content; errors are those of a download.
func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.over {
		if len(p) == 0 {
			return 0, nil
		}
		if len(a.left) > 0 {
			n := copy(p, a.left)
			a.left, a.off = a.left[n:], a.off+int64(n)
			return n, nil
		}
		if a.buf != nil {
			a.free <- a.buf
			a.buf = nil
		}
		c, more := <-a.queue
		if !more { // it has come to the end, or nobody wants more
			a.finish(context.Cause(a.alone.ctx))
			break
		}
		x := <-c
		if a.buf, a.left = x.buf, x.buf[:x.n]; x.err != nil {
			a.left = nil
			a.finish(x.err)
		}
	}
	return a.alone.Read(p)
}

// finish ends the reading in pieces. The download goes on where it was, if
// there is more.
func (a *ahead) finish(why error) {
	a.over = true
	a.stop()
	a.tasks.Wait()
	a.stock.taken.Store(false)
	a.alone.off, a.alone.fresh, a.alone.lost = a.off, a.off-a.start, why
}

// Close frees the connections, for others if all was read.
func (a *ahead) Close() error {
	a.alone.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.finish(errBodyClosed)
	}
	return a.alone.Close()
}
