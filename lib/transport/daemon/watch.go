package daemon

import (
	"context"
	"io"
	"sync"
	"time"
)

// A watch ends an exchange in which the daemon is silent for too long. It
// rests while it is our turn: while the next bytes for the daemon are not
// there yet, or nobody reads what came.
type watch struct {
	idle  time.Duration
	timer *time.Timer

	mu   sync.Mutex
	turn bool // it is ours
}

// newWatch returns a watch that begins with the daemon's turn.
func newWatch(cancel context.CancelCauseFunc, idle time.Duration) *watch {
	return &watch{idle: idle, timer: time.AfterFunc(idle, func() { cancel(silence(idle)) })}
}

// ours begins our turn, or ends it.
func (w *watch) ours(turn bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn = turn; turn {
		w.timer.Stop()
		return
	}
	w.timer.Reset(w.idle)
}

// alive says that something came from the daemon.
func (w *watch) alive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.turn {
		w.timer.Reset(w.idle)
	}
}

// A sent body is read by the daemon: it is our turn while it reads in r.
type sent struct {
	r io.Reader
	w *watch
}

func (s sent) Read(p []byte) (int, error) {
	s.w.ours(true)
	defer s.w.ours(false)
	return s.r.Read(p)
}

// A heard body is an answer to which we listen all the time.
type heard struct {
	r io.Reader
	w *watch
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.w.alive()
	return n, err
}
