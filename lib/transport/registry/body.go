package registry

import (
	"errors"
	"io"
	"sync"
)

// A body is what a request carries. net/http reads it in a goroutine that may
// outlive the request: from stop on, it does not touch its reader any more.
type body struct {
	r     io.Reader
	size  int64 // -1: not known
	watch *watch
	limit *Limiter

	gone chan struct{} // closed when nobody wants the body any more
	once sync.Once
	busy sync.Mutex // held while r is being read
}

var errBodyClosed = errors.New("body was closed")

// newBody returns a body of what r gives out. A reader that may have to wait
// is given by a function, and has to give up when gone is closed: net/http
// cannot end a request whose body is being read.
func newBody(size int64, r func(gone <-chan struct{}) io.Reader) *body {
	b := &body{size: size, gone: make(chan struct{})}
	b.r = r(b.gone)
	return b
}

// Read lets the watch rest while it waits for what is to be sent, and for the
// limit on that.
func (b *body) Read(p []byte) (int, error) {
	b.busy.Lock()
	defer b.busy.Unlock()
	select {
	case <-b.gone:
		return 0, errBodyClosed
	default:
	}
	b.watch.ours(sending)
	n, err := b.r.Read(b.limit.some(p))
	if !b.limit.wait(b.gone, n) {
		return 0, errBodyClosed
	}
	b.watch.network(sending, b.watch.idle)
	return n, err
}

func (b *body) Close() error {
	b.once.Do(func() { close(b.gone) })
	return nil
}

// stop closes the body, and waits until nobody reads from its reader.
func (b *body) stop() {
	b.Close()
	b.busy.Lock()
	defer b.busy.Unlock()
}
