package archive

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A fifo is a named pipe. To open one lasts until somebody opens its other
// end, perhaps for ever: that is left to the first Read or Write, which belong
// to the pump.
type fifo struct {
	path string
	flag int // os.O_RDONLY or os.O_WRONLY

	mu     sync.Mutex
	f      *os.File // nil before
	closed bool
}

func (p *fifo) Read(b []byte) (int, error) {
	f, err := p.open()
	if err != nil {
		return 0, err
	}
	return f.Read(b)
}

func (p *fifo) Write(b []byte) (int, error) {
	f, err := p.open()
	if err != nil {
		return 0, err
	}
	return f.Write(b)
}

// open is called by one goroutine only.
func (p *fifo) open() (*os.File, error) {
	p.mu.Lock()
	f, closed := p.f, p.closed
	p.mu.Unlock()
	if closed {
		return nil, os.ErrClosed
	}
	if f != nil {
		return f, nil
	}
	f, err := os.OpenFile(p.path, p.flag, 0)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		f.Close()
		return nil, os.ErrClosed
	}
	p.f = f
	return f, nil
}

// Close does not wait. Whoever waits at the other end learns of it, even if
// this one was never used.
func (p *fifo) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.f != nil {
		return p.f.Close()
	}
	if f, err := os.OpenFile(p.path, p.flag|unix.O_NONBLOCK, 0); err == nil {
		f.Close()
	}
	return nil
}
