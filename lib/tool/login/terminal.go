package login

import (
	"context"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLine is how many bytes a line typed by a user may have.
const maxLine = 4 << 10

// terminal is an Ask of the user at the controlling terminal, wherever the
// standard streams lead to. However it ends, by ctx too, the terminal is left
// as it was found.
func terminal(ctx context.Context, prompt string, secret bool) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", ErrNoTerminal
	}
	defer tty.Close()
	if secret { // before the prompt, or what is typed quickly shows
		show, err := hide(tty)
		if err != nil {
			return "", err
		}
		defer func() {
			show()
			_, _ = io.WriteString(tty, "\n") // the user's own did not show
		}()
	}
	if _, err := io.WriteString(tty, prompt); err != nil {
		return "", err
	}
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() { // a read of a terminal can not be called back
		line, err := readLine(tty)
		done <- result{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-done:
		return r.line, r.err
	}
}

// hide keeps what is typed from being shown, until show is called.
func hide(tty *os.File) (show func(), err error) {
	conn, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var before *unix.Termios
	set := func(t unix.Termios) error {
		var err error
		if cerr := conn.Control(func(fd uintptr) { err = unix.IoctlSetTermios(int(fd), setTermios, &t) }); cerr != nil {
			return cerr
		}
		return err
	}
	cerr := conn.Control(func(fd uintptr) { before, err = unix.IoctlGetTermios(int(fd), getTermios) })
	if cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	return func() { _ = set(*before) }, set(hidden)
}

// readLine reads a line without its end, and nothing of the next.
func readLine(r io.Reader) (string, error) {
	var line strings.Builder
	var b [1]byte
	for line.Len() < maxLine {
		n, err := r.Read(b[:])
		switch {
		case n > 0 && b[0] == '\n':
			return strings.TrimSuffix(line.String(), "\r"), nil
		case n > 0:
			line.WriteByte(b[0])
		case err != nil && (err != io.EOF || line.Len() == 0):
			return "", err
		case err == io.EOF:
			return line.String(), nil
		}
	}
	return "", io.ErrShortBuffer
}
