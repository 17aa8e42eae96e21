package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Times that only a broken component needs.
const (
	startLimit = 60 * time.Second
	stopLimit  = 15 * time.Second
	poll       = 10 * time.Millisecond
)

// service is a component that runs beside a test.
type service struct {
	cmd  *exec.Cmd
	log  string // file with what it printed
	done chan struct{}
}

// launch starts a program and waits until ready returns nil. The program is
// stopped when the test ends; the kernel kills it if the test process dies.
func launch(t T, log string, ready func() error, name string, args ...string) (*service, error) {
	t.Helper()
	s := &service{cmd: exec.Command(Tool(t, name), args...), log: log, done: make(chan struct{})}
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s.cmd.Dir = filepath.Dir(log)
	s.cmd.Env = Environ(t)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	if err := s.await(ready); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w\n%s", name, err, s.tail())
	}
	t.Cleanup(func() {
		select {
		case <-s.done:
			t.Logf("%s ended before the test: %v\n%s", name, s.cmd.ProcessState, s.tail())
		default:
			s.stop()
		}
	})
	return s, nil
}

func (s *service) await(ready func() error) error {
	limit := time.After(startLimit)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("ended at once: %v", s.cmd.ProcessState)
		case <-limit:
			return fmt.Errorf("not ready after %v: %w", startLimit, err)
		case <-time.After(poll):
		}
	}
}

// stop ends the component, by force if it does not go when asked to.
func (s *service) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(stopLimit):
		s.cmd.Process.Kill()
		<-s.done
	}
}

// tail returns the end of what the component printed.
func (s *service) tail() string {
	b, _ := os.ReadFile(s.log)
	return string(b[max(0, len(b)-1500):])
}

// freeAddr returns a loopback address that nobody listened on a moment ago.
func freeAddr(t T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listening returns a check that something accepts connections at addr.
func listening(network, addr string) func() error {
	return func() error {
		c, err := net.Dial(network, addr)
		if err == nil {
			c.Close()
		}
		return err
	}
}
