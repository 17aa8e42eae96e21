// Package wan makes a wide-area line of loopback: a TCP proxy with a
// round-trip time, a shared rate in each direction and, optionally, a rate for
// any one connection. It knows nothing of HTTP. TCP's slow start is not
// imitated: a new connection has its full rate after one round trip.
package wan

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// window is how many bytes one connection may have under way, each direction.
const window = 4 << 20

// Counts is what went over a line: connections, and bytes to and from servers.
type Counts struct {
	Conns int64 `json:"conns"`
	Up    int64 `json:"up"`
	Down  int64 `json:"down"`
}

// Line is one line that all its listeners share.
type Line struct {
	rtt             time.Duration
	connRate        float64
	up, down        *pacer
	conns, nUp, nDn atomic.Int64
	mu              sync.Mutex
	listeners       []net.Listener
}

// New returns a line. Rates are in bytes a second, 0 for no limit: rate is
// that of all connections together, connRate that of any one.
func New(rtt time.Duration, rate, connRate float64) *Line {
	return &Line{rtt: rtt, connRate: connRate, up: &pacer{rate: rate}, down: &pacer{rate: rate}}
}

// Listen forwards connections on a free loopback port, whose address it
// returns, to target.
func (l *Line) Listen(target string) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	l.listeners = append(l.listeners, ln)
	l.mu.Unlock()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.conns.Add(1)
			go l.serve(c, target)
		}
	}()
	return ln.Addr().String(), nil
}

// Take returns the counts and begins them anew.
func (l *Line) Take() Counts {
	return Counts{l.conns.Swap(0), l.nUp.Swap(0), l.nDn.Swap(0)}
}

// Close stops listening; open connections go on until either end closes.
func (l *Line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.listeners {
		ln.Close()
	}
}

func (l *Line) serve(c net.Conn, target string) {
	defer c.Close()
	s, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer s.Close()
	// The TCP handshake costs the client a round trip before its first byte.
	start := time.Now().Add(l.rtt)
	var wg sync.WaitGroup
	wg.Go(func() { l.flow(s, c, l.up, start, &l.nUp) })
	wg.Go(func() { l.flow(c, s, l.down, start, &l.nDn) })
	wg.Wait()
}

// pacer says when bytes leave a line of a given rate.
type pacer struct {
	mu   sync.Mutex
	next time.Time
	rate float64 // bytes a second, 0: no limit
}

// depart returns when n bytes that are there at now have left.
func (p *pacer) depart(now time.Time, n int) time.Time {
	if p.rate == 0 {
		return now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / p.rate * 1e9))
	return p.next
}

// packet is some bytes and when they arrive.
type packet struct {
	b  []byte
	at time.Time
}

// direction is one direction of one connection.
type direction struct {
	shared, own *pacer
	half        time.Duration // half a round trip
	count       *atomic.Int64
	packets     chan packet
	acks        chan int // bytes that the far end is known to have
}

// flow moves bytes from src to dst until src ends: each piece leaves when the
// line has room for it and arrives half a round trip later.
func (l *Line) flow(dst, src net.Conn, shared *pacer, start time.Time, count *atomic.Int64) {
	d := &direction{shared: shared, own: &pacer{rate: l.connRate}, half: l.rtt / 2, count: count,
		packets: make(chan packet, 1024), acks: make(chan int, 4096)}
	go func() {
		defer close(d.packets)
		time.Sleep(time.Until(start))
		d.send(src)
	}()
	d.deliver(dst)
	if t, ok := dst.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	for range d.packets { // after a write error: let the reader come to its end
	}
}

// send reads src and schedules what it read.
func (d *direction) send(src net.Conn) {
	inflight := 0
	for {
		inflight = d.acknowledged(inflight)
		b := make([]byte, 32<<10)
		n, err := src.Read(b)
		if n > 0 {
			d.count.Add(int64(n))
			now := time.Now()
			at := d.shared.depart(now, n)
			if own := d.own.depart(now, n); own.After(at) {
				at = own
			}
			time.Sleep(time.Until(at))
			inflight += n
			d.packets <- packet{b[:n], at.Add(d.half)}
		}
		if err != nil {
			return
		}
	}
}

// acknowledged takes the acknowledgements that are there, and waits for more
// while the window is full.
func (d *direction) acknowledged(inflight int) int {
	for {
		if inflight >= window {
			inflight -= <-d.acks
			continue
		}
		select {
		case n := <-d.acks:
			inflight -= n
		default:
			return inflight
		}
	}
}

// deliver writes each packet when its time has come, and acknowledges it half
// a round trip after that.
func (d *direction) deliver(dst net.Conn) {
	for p := range d.packets {
		time.Sleep(time.Until(p.at))
		if _, err := dst.Write(p.b); err != nil {
			// Nobody acknowledges any more: open the window for good.
			d.acks <- 1 << 62
			return
		}
		n := len(p.b)
		time.AfterFunc(d.half, func() {
			select {
			case d.acks <- n:
			default:
			}
		})
	}
}
