package registrytest

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// A Stall makes requests hang until the test releases them, the client gives
// up, or the server ends. It takes the place of anything that is slow: the
// test waits for Reached, lets time pass on its own clock, and sees what the
// client does.
type Stall struct {
	reached chan struct{}
	release chan struct{}
	once    sync.Once
}

// NewStall returns a Stall that holds what its actions bring to it.
func NewStall() *Stall {
	return &Stall{reached: make(chan struct{}, 1024), release: make(chan struct{})}
}

// Reached yields a value for each request that has come to hang.
func (s *Stall) Reached() <-chan struct{} { return s.reached }

// Release lets those that hang go on, and those that come later pass. It may
// be called again.
func (s *Stall) Release() { s.once.Do(func() { close(s.release) }) }

// hang waits. It reports whether it was released.
func (s *Stall) hang(ctx context.Context) bool {
	select {
	case <-s.release:
		return true
	default:
	}
	select {
	case s.reached <- struct{}{}:
	default: // nobody counts that far
	}
	select {
	case <-s.release:
		return true
	case <-ctx.Done():
		return false
	}
}

// Answer hangs before the answer.
func (s *Stall) Answer() Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if !s.hang(q.Context()) {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, q)
		})
	}
}

// Body hangs when n bytes of the answer's body have been sent.
func (s *Stall) Body(n int) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			a := capture(next, w, q)
			n := min(n, len(a.Body))
			w.WriteHeader(a.Status)
			w.Write(a.Body[:n])
			http.NewResponseController(w).Flush()
			if !s.hang(q.Context()) {
				panic(http.ErrAbortHandler)
			}
			w.Write(a.Body[n:])
		})
	}
}

// Request hangs when n bytes of the request's body have been read.
func (s *Stall) Request(n int64) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			body := q.Body
			gate := readerFunc(func([]byte) (int, error) {
				if !s.hang(q.Context()) {
					return 0, io.ErrUnexpectedEOF
				}
				return 0, io.EOF
			})
			q.Body = io.NopCloser(io.MultiReader(io.LimitReader(body, n), gate, body))
			next.ServeHTTP(w, q)
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
