package skopeo

import (
	"context"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// maxLine is how many bytes a line typed by a user may have.
const maxLine = 4 << 10

// ask asks on standard output and takes the answer from standard input. A
// secret is typed at a terminal, which does not show it, or not at all.
func (p *program) ask(ctx context.Context, prompt string, secret bool) (string, error) {
	if _, err := io.WriteString(p.std.Out, prompt); err != nil {
		return "", err
	}
	if !secret {
		return readLine(p.std.In)
	}
	if !p.std.InIsTerminal() {
		return "", syscall.ENOTTY
	}
	f, ok := p.std.In.(*os.File)
	if !ok {
		f = os.Stdin // which is behind In
	}
	answer, err := unseen(ctx, int(f.Fd()))
	if err == nil {
		_, err = io.WriteString(p.std.Out, "\n") // the user's own was not shown
	}
	return answer, err
}

// unseen reads a line from a terminal that does not show it. If ctx ends
// meanwhile, the terminal is left as it was found.
func unseen(ctx context.Context, fd int) (string, error) {
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type result struct {
		line []byte
		err  error
	}
	done := make(chan result, 1)
	go func() { // a read of a terminal can not be called back
		b, err := term.ReadPassword(fd)
		done <- result{b, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, state) // it is all that can be done
		return "", context.Cause(ctx)
	case r := <-done:
		return string(r.line), r.err
	}
}

// readLine reads a line with its end, and nothing of the next. Input that ends
// before is an error, as it is to skopeo.
func readLine(r io.Reader) (string, error) {
	var line strings.Builder
	var b [1]byte
	for line.Len() < maxLine {
		n, err := r.Read(b[:])
		if n > 0 && b[0] == '\n' {
			return line.String(), nil
		}
		if n > 0 {
			line.WriteByte(b[0])
		}
		if err != nil {
			return "", err
		}
	}
	return "", io.ErrShortBuffer
}
