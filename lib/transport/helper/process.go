package helper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/imgtools/imgtools/lib/blob"
)

// How long a program has to end. After linger nobody is heard any more who
// holds a pipe of a program that has ended. SIGTERM comes twice, grace apart: a
// shell that was about to start something when the first came now waits for
// that, and has it ended by the second. After grace again SIGKILL follows, and
// after last we go on without the program.
const (
	linger = time.Second
	grace  = 750 * time.Millisecond
	last   = 400 * time.Millisecond
)

// A process is one run of a program. It is the leader of a process group, so
// that what it started can be ended with it.
type process struct {
	label  string // for messages: program and verb
	pid    int
	stdin  *os.File // nil if there is nothing to say
	stdout *os.File // nil if nothing is listened to

	over chan struct{} // closed when the program has ended, and its last words were heard
	err  error         // after over: what its exit code means
	once sync.Once
	mute atomic.Bool // it is being ended: what it says of that is no news
}

// start runs the program with a verb.
func (p *Program) start(verb, detail string, in, out bool) (*process, error) {
	c := &process{label: p.name + " " + verb, over: make(chan struct{})}
	cmd := exec.Command(p.path, verb, detail)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var pipes pipes
	if in {
		cmd.Stdin, c.stdin = pipes.make()
	}
	if out {
		var r, w *os.File
		r, w = pipes.make()
		c.stdout, cmd.Stdout = r, w
		pipes.swap()
	}
	stderr, w := pipes.make()
	cmd.Stderr = w
	pipes.swap()
	err := pipes.err
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		pipes.close(true)
		return nil, fmt.Errorf("%s: %w", c.label, err)
	}
	pipes.close(false)
	c.pid = cmd.Process.Pid
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		defer stderr.Close()
		s := &speech{w: p.o.Stderr, name: p.name, mute: c.mute.Load}
		s.relay(stderr)
	}()
	go c.await(cmd, stderr, heard)
	return c, nil
}

// pipes are made for one start.
type pipes struct {
	theirs, ours []*os.File
	err          error
}

// make makes a pipe for a program to read from.
func (p *pipes) make() (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		p.err = err
		return nil, nil
	}
	p.theirs, p.ours = append(p.theirs, r), append(p.ours, w)
	return r, w
}

// swap makes the last pipe one for the program to write to.
func (p *pipes) swap() {
	if i := len(p.ours) - 1; i >= 0 && p.err == nil {
		p.theirs[i], p.ours[i] = p.ours[i], p.theirs[i]
	}
}

func (p *pipes) close(all bool) {
	for i := range p.theirs {
		p.theirs[i].Close()
		if all {
			p.ours[i].Close()
		}
	}
}

// await waits until the program has ended, and ends what it left behind in its
// group: that could hold the pipes for ever.
func (c *process) await(cmd *exec.Cmd, stderr *os.File, heard chan struct{}) {
	c.err = c.meaning(cmd.Wait())
	c.signal(syscall.SIGKILL)
	stderr.SetReadDeadline(time.Now().Add(linger))
	<-heard
	if c.stdout != nil {
		c.stdout.SetReadDeadline(time.Now().Add(linger))
	}
	close(c.over)
}

// meaning is what the end of a program stands for.
func (c *process) meaning(err error) error {
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", c.label, err)
	}
	is, ok := outcomes[exit.ExitCode()]
	if !ok {
		is = ErrFailed
	}
	return fmt.Errorf("%s: %w (%w)", c.label, is, exit)
}

func (c *process) signal(s syscall.Signal) { syscall.Kill(-c.pid, s) }

func (c *process) ended() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// Read reads standard output. The exit code takes the place of its end, unless
// that is 0.
func (c *process) Read(b []byte) (int, error) {
	for {
		ended := c.ended()
		if ended {
			c.stdout.SetReadDeadline(time.Now().Add(linger))
		}
		n, err := c.stdout.Read(b)
		if err == nil || n > 0 {
			return n, nil
		}
		late := errors.Is(err, os.ErrDeadlineExceeded)
		if late && !ended {
			continue // it has ended meanwhile
		}
		if err != io.EOF && !late {
			return 0, fmt.Errorf("%s: %w", c.label, err)
		}
		<-c.over
		if c.err != nil {
			return 0, c.err
		}
		return 0, io.EOF
	}
}

// wait waits for the program to end by itself, and returns what its exit code
// means.
func (c *process) wait(ctx context.Context) error {
	select {
	case <-c.over:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end ends the program, if it has not ended by itself, within two seconds. Its
// standard input stays open until then: a program that is told nothing more
// must not take that for the end of what it is told.
func (c *process) end() {
	c.once.Do(func() {
		if c.stdout != nil {
			c.stdout.Close()
		}
		if !c.ended() {
			c.mute.Store(true)
			c.signal(syscall.SIGTERM)
			if !c.within(grace) {
				c.signal(syscall.SIGTERM)
			}
			if !c.within(grace) {
				c.signal(syscall.SIGKILL)
				c.within(last)
			}
		}
		if c.stdin != nil {
			c.stdin.Close()
		}
	})
}

func (c *process) within(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.over:
		return true
	case <-t.C:
		return false
	}
}

// ask runs a verb that answers in lines, of at most limit bytes, to input.
func (p *Program) ask(ctx context.Context, verb, detail, input string, limit int64) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c, err := p.start(verb, detail, input != "", true)
	if err != nil {
		return nil, err
	}
	defer c.end()
	defer context.AfterFunc(ctx, c.end)()
	if input != "" {
		go func() {
			io.Copy(c.stdin, strings.NewReader(input)) // it need not read all to answer
			c.stdin.Close()
		}()
	}
	out, err := blob.ReadLimited(c, limit)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, blob.ErrTooLarge):
		return nil, fmt.Errorf("%s: %w", c.label, err)
	}
	return out, err
}
