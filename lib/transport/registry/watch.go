package registry

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"
)

// A watch ends an exchange in which the network is silent for too long. It
// runs only while it is the network's turn: not while a body waits for its
// source, and not while nobody reads the answer.
type watch struct {
	idle  time.Duration
	timer *time.Timer

	mu    sync.Mutex
	limit time.Duration
	phase phase
}

type phase int

const (
	sending phase = iota
	answered
	ended
)

// silence says that nothing came, or went, for that long.
type silence time.Duration

func (s silence) Error() string { return "no data for " + time.Duration(s).String() }

func newWatch(cancel context.CancelCauseFunc, idle time.Duration) *watch {
	w := &watch{idle: idle}
	w.timer = time.AfterFunc(time.Hour, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		cancel(silence(w.limit))
	})
	w.timer.Stop()
	return w
}

// network says that it is the network's turn, for at most d, in that phase.
// What belongs to an earlier phase comes too late.
func (w *watch) network(in phase, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in == w.phase {
		w.limit = d
		w.timer.Reset(d)
	}
}

// ours says that it is our turn, in that phase or a later one.
func (w *watch) ours(in phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in >= w.phase {
		w.phase = in
		w.timer.Stop()
	}
}

// watched is the body of an answer.
type watched struct {
	io.ReadCloser
	w      *watch
	limit  *Limiter
	cancel context.CancelCauseFunc
	ctx    context.Context // of the caller
	own    context.Context // of the exchange
	method string
	url    *url.URL
}

// Read lets the watch rest while it waits for the limit on what is read.
func (b *watched) Read(p []byte) (int, error) {
	b.w.network(answered, b.w.idle)
	n, err := b.ReadCloser.Read(b.limit.some(p))
	b.w.ours(answered)
	if !b.limit.wait(b.own.Done(), n) {
		err = context.Cause(b.own)
	}
	if err != nil && err != io.EOF {
		err = failure(b.ctx, b.own, b.method, b.url, fmt.Errorf("reading the answer: %w", err), true)
	}
	return n, err
}

// Close frees the connection, for others if the body was read to its end.
func (b *watched) Close() error {
	b.w.ours(ended)
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
