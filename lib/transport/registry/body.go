package registry

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
)

// A body is what a request carries. net/http reads it in a goroutine that may
// outlive the request: from stop on, it does not touch its reader any more.
type body struct {
	r     io.Reader
	size  int64 // -1: not known
	watch *watch

	closed atomic.Bool
	busy   chan struct{} // held while r is being read, and for good when nobody may
}

var errBodyClosed = errors.New("body was closed")

func newBody(r io.Reader, size int64) *body {
	return &body{r: r, size: size, busy: make(chan struct{}, 1)}
}

// Read lets the watch rest while it waits for what is to be sent.
func (b *body) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errBodyClosed
	}
	b.busy <- struct{}{}
	defer func() { <-b.busy }()
	if b.closed.Load() {
		return 0, errBodyClosed
	}
	b.watch.ours(sending)
	n, err := b.r.Read(p)
	b.watch.network(sending, b.watch.idle)
	return n, err
}

func (b *body) Close() error {
	b.closed.Store(true)
	return nil
}

// stop closes the body, and waits until nobody reads from its reader. It
// reports whether that is so: ctx may have ended before.
func (b *body) stop(ctx context.Context) bool {
	b.closed.Store(true)
	select {
	case b.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}
