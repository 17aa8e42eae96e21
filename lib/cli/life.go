package cli

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// grace is how long a program may go on after the first signal.
const grace = 2 * time.Second

// Main runs t with the arguments of the process and exits with its code.
func Main(t *Tool) {
	os.Exit(Live(t.Name, func(ctx context.Context, std *IO) int {
		return t.Execute(ctx, std, os.Args[1:])
	}))
}

// Live runs body with the life of a process around it and returns the exit code.
// The rules:
//
//   - SIGINT, SIGTERM and SIGHUP end ctx, unless they were ignored from the start
//     (nohup, "&" of a shell without job control). The exit code is then 128 plus
//     the signal's number, but for a body that still returns 0: it had its work done.
//   - A read of std.In that waits for a pipe or a terminal fails when ctx ends.
//   - A second signal, or two seconds after the first, ends the process as it is.
//     So whatever may lie about on disk must be harmless and found by the next run.
//   - SIGPIPE becomes an error of the write. Child processes get it as usual.
//   - Standard output is closed at the end; an error of that is CodeOutput.
//   - A panic of body is one line and CodeFailed.
//   - What libraries log is dropped: standard error is for the tool.
//   - The heap is kept small, unless the environment has GOGC.
//
// Live must be called at most once in a process.
func Live(name string, body func(ctx context.Context, std *IO) int) int {
	log.SetOutput(io.Discard) // net/http would quote there what servers send
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return live(name, grace, body)
}

// gcPercent makes the heap grow by half, not to twice its size, before it is
// swept: where buffers are most of it, a third of the memory for a little time.
const gcPercent = 50

func live(name string, grace time.Duration, body func(context.Context, *IO) int) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	out := &output{w: os.Stdout}
	std := &IO{In: newInput(ctx, os.Stdin), Out: out, Err: os.Stderr, name: name}
	signals := catch()
	done := make(chan int, 1)
	go func() { done <- std.guard(ctx, body) }()
	select {
	case code := <-done:
		return std.finish(out, code)
	case s := <-signals:
		first := stopped{s}
		cancel(first)
		return std.drain(out, first, grace, done, signals)
	}
}

// catch returns the channel on which the signals come that should end the program.
func catch() <-chan os.Signal {
	c := make(chan os.Signal, 2)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	// Catching, not ignoring: what is ignored stays so in child processes, and
	// then a helper of ours would write on into a closed pipe.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return c
}

// guard calls body and survives its panic.
func (std *IO) guard(ctx context.Context, body func(context.Context, *IO) int) (code int) {
	defer func() {
		if p := recover(); p != nil {
			code = std.crash(p)
		}
	}()
	return body(ctx, std)
}

// drain waits for the body after the first signal.
func (std *IO) drain(out *output, first stopped, grace time.Duration, done <-chan int, more <-chan os.Signal) int {
	select {
	case code := <-done:
		if code == CodeOK {
			return std.finish(out, code)
		}
	case s := <-more:
		return stopped{s}.code()
	case <-time.After(grace):
		std.complainBriefly(first.Error() + ", and did not stop in time")
	}
	return first.code()
}

// complainBriefly is complain for a process that must end even if nobody reads
// its standard error.
func (std *IO) complainBriefly(text string) {
	said := make(chan struct{})
	go func() {
		std.complain(text)
		close(said)
	}()
	select {
	case <-said:
	case <-time.After(100 * time.Millisecond):
	}
}

func (std *IO) finish(out *output, code int) int {
	if err := out.close(); err != nil && code == CodeOK {
		std.complain(err.Error())
		return CodeOutput
	}
	return code
}

// stopped is why a context ended: a signal. It counts as context.Canceled.
type stopped struct{ sig os.Signal }

func (s stopped) Error() string {
	switch s.sig {
	case os.Interrupt:
		return "interrupted"
	case syscall.SIGTERM:
		return "terminated"
	}
	return "ended by signal: " + s.sig.String()
}

func (s stopped) Is(target error) bool { return target == context.Canceled }

func (s stopped) code() int {
	n, _ := s.sig.(syscall.Signal)
	return signalBase + int(n)
}

// signalOf tells whether a signal ended ctx, and which.
func signalOf(ctx context.Context) (stopped, bool) {
	s, ok := context.Cause(ctx).(stopped)
	return s, ok
}
