package wan

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// The pacer is the whole rate limit, so its arithmetic is held exactly: bytes
// queue behind each other, and an idle line does not save up credit.
func TestPacer(t *testing.T) {
	t0 := time.Unix(1000, 0)
	p := &pacer{rate: 1000}
	for i, c := range []struct {
		at   time.Duration
		n    int
		want time.Duration
	}{
		{0, 500, 500 * time.Millisecond},
		{0, 500, time.Second},
		{100 * time.Millisecond, 1000, 2 * time.Second},
		{10 * time.Second, 100, 10100 * time.Millisecond},
	} {
		if got := p.depart(t0.Add(c.at), c.n).Sub(t0); got != c.want {
			t.Errorf("step %d: depart(%v, %d) = %v; want %v", i, c.at, c.n, got, c.want)
		}
	}
	if got := (&pacer{}).depart(t0, 1<<40); got != t0 {
		t.Errorf("depart without a rate = %v; want at once", got)
	}
}

// echo answers each connection with what it sent, and closes when it ends.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

// Half-close must pass through: HTTP/1.0 clients and the pipe of a registry
// depend on it. More than a window goes through, so acknowledgements work.
func TestLine(t *testing.T) {
	const rtt = 2 * time.Millisecond
	l := New(rtt, 0, 0)
	defer l.Close()
	addr, err := l.Listen(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("imgtools"), (window+window/2)/8)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("echo gave %d bytes, %v; want the %d sent", len(got), err, len(sent))
	}
	// A lower bound never fails for being slow: handshake and one round trip.
	if d := time.Since(start); d < 2*rtt {
		t.Errorf("took %v; want at least two round trips, %v", d, 2*rtt)
	}
	want := Counts{1, int64(len(sent)), int64(len(sent))}
	if got := l.Take(); got != want {
		t.Errorf("Take = %+v; want %+v", got, want)
	}
	if got := l.Take(); got != (Counts{}) {
		t.Errorf("second Take = %+v; want zeros", got)
	}
}

// A client that goes away must not leave the reader blocked on a full window.
func TestLineClientGone(t *testing.T) {
	l := New(0, 0, 0)
	defer l.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr, err := l.Listen(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
	done := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, 64<<20)) // far over window and socket buffers
		done <- err
	}()
	select {
	case <-done: // an error or all taken: either way nothing hangs
	case <-time.After(30 * time.Second):
		t.Error("the server's write hangs after its client is gone")
	}
}
