//go:build unix

package cli

import (
	"context"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// interruptible is standard input whose Read returns when the context ends. A
// read of a pipe or a terminal cannot be called back once it waits, so Read waits
// with poll(2) for either: input, or the end of the context.
type interruptible struct {
	file *os.File
	ctx  context.Context
	once sync.Once
	fds  []unix.PollFd // input and wake-up; empty: read without waiting before
	wake *os.File      // keeps the descriptor of fds[1] open
}

// newInput returns file, or a reader of it that ends with ctx if its reads may
// wait for long.
func newInput(ctx context.Context, file *os.File) io.Reader {
	if info, err := file.Stat(); err != nil || info.Mode().IsRegular() {
		return file
	}
	return &interruptible{file: file, ctx: ctx}
}

// Read implements [io.Reader]. It must not be called by two goroutines at once.
func (r *interruptible) Read(p []byte) (int, error) {
	r.once.Do(r.arm)
	if err := r.wait(); err != nil {
		return 0, err
	}
	return r.file.Read(p)
}

// arm makes the pipe whose writing end is closed when the context ends. If that
// cannot be had, Read does without.
func (r *interruptible) arm() {
	wake, end, err := os.Pipe()
	if err != nil {
		return
	}
	context.AfterFunc(r.ctx, func() { end.Close() })
	r.wake = wake
	for _, f := range []*os.File{r.file, wake} {
		withFd(f, func(fd int) {
			r.fds = append(r.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		})
	}
}

func (r *interruptible) wait() error {
	for len(r.fds) == 2 && r.ctx.Err() == nil {
		n, err := unix.Poll(r.fds, -1)
		switch {
		case err == unix.EINTR || err == nil && n == 0:
			continue
		case err == nil && r.fds[1].Revents != 0:
			return context.Cause(r.ctx)
		}
		return nil // what is wrong with the input, its Read says
	}
	return context.Cause(r.ctx)
}

// unwrap returns the file behind a reader or writer that Live made.
func unwrap(v any) any {
	switch v := v.(type) {
	case *output:
		return v.w
	case *interruptible:
		return v.file
	}
	return v
}
