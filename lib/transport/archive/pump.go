package archive

import (
	"context"
	"io"

	"github.com/imgtools/imgtools/lib/blob"
)

// Whoever is at the other end of a pipe may stop without closing it, and a
// read or write then lasts for ever. So each pipe has a goroutine of its own,
// which alone waits for it; our side waits for that goroutine or for the end
// of its context. It also lets us work while the pipe moves.
const pumpSize = 128 << 10

// An inflow reads what is in a stream, unpacked.
type inflow struct {
	ctx  context.Context // of whoever reads now
	full chan chunk
	free chan []byte
	stop chan struct{}
	cur  chunk
	rest []byte // of cur
}

type chunk struct {
	b   []byte
	err error // behind b
}

func newInflow(r io.Reader) *inflow {
	in := &inflow{ctx: context.Background(), full: make(chan chunk), free: make(chan []byte, 2), stop: make(chan struct{})}
	in.free <- make([]byte, pumpSize)
	in.free <- make([]byte, pumpSize)
	go in.run(r)
	return in
}

func (in *inflow) run(r io.Reader) {
	rc, _, err := blob.Decompress(r)
	if err == nil {
		defer rc.Close()
	}
	for {
		var b []byte
		select {
		case b = <-in.free:
		case <-in.stop:
			return
		}
		n := 0
		if err == nil {
			n, err = rc.Read(b[:pumpSize])
		}
		select {
		case in.full <- chunk{b[:n], err}:
		case <-in.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

func (in *inflow) Read(p []byte) (int, error) {
	for len(in.rest) == 0 {
		if in.cur.err != nil {
			return 0, in.cur.err
		}
		if in.cur.b != nil {
			in.free <- in.cur.b
			in.cur.b = nil
		}
		if err := live(in.ctx); err != nil {
			return 0, err
		}
		select {
		case in.cur = <-in.full:
			in.rest = in.cur.b
		case <-in.ctx.Done():
			return 0, context.Cause(in.ctx)
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// close ends the goroutine, as soon as the stream lets it.
func (in *inflow) close() { close(in.stop) }

// An outflow writes to a stream.
type outflow struct {
	ctx  context.Context // of whoever writes now
	full chan []byte
	free chan written
	cur  []byte
	away int // buffers that are not here
	err  error
}

type written struct {
	b   []byte
	err error
}

func newOutflow(w io.Writer) *outflow {
	out := &outflow{ctx: context.Background(), full: make(chan []byte, 2), free: make(chan written, 2), away: 2}
	out.free <- written{b: make([]byte, 0, pumpSize)}
	out.free <- written{b: make([]byte, 0, pumpSize)}
	go func() {
		var err error // after one nothing is written
		for b := range out.full {
			if err == nil {
				_, err = w.Write(b)
			}
			out.free <- written{b[:0], err}
		}
	}()
	return out
}

// Write takes p. What becomes of it the next calls tell; flush waits for it.
func (out *outflow) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 && out.err == nil {
		if out.cur == nil {
			out.err = out.take()
			continue
		}
		k := copy(out.cur[len(out.cur):pumpSize], p)
		out.cur = out.cur[:len(out.cur)+k]
		n, p = n+k, p[k:]
		if len(out.cur) == pumpSize {
			out.send()
		}
	}
	return n, out.err
}

// take waits for a buffer that has been written.
func (out *outflow) take() error {
	if err := live(out.ctx); err != nil {
		return err
	}
	select {
	case w := <-out.free:
		out.cur, out.away = w.b, out.away-1
		return w.err
	case <-out.ctx.Done():
		return context.Cause(out.ctx)
	}
}

func (out *outflow) send() {
	out.full <- out.cur
	out.cur, out.away = nil, out.away+1
}

// push lets what has been written begin to move.
func (out *outflow) push() {
	if len(out.cur) > 0 {
		out.send()
	}
}

// flush waits until everything has been written.
func (out *outflow) flush() error {
	out.push()
	for out.err == nil && out.away > 0 {
		out.err = out.take() // what it has had is empty
	}
	return out.err
}

// close ends the goroutine, as soon as the stream lets it.
func (out *outflow) close() { close(out.full) }
