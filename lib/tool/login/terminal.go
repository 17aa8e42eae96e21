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
// standard streams lead to.
func terminal(ctx context.Context, prompt string, secret bool) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", ErrNoTerminal
	}
	defer tty.Close()
	if secret {
		return Converse(ctx, tty, tty, tty, prompt)
	}
	return Converse(ctx, tty, tty, nil, prompt)
}

// Converse writes a prompt to out and reads a line from in, of at most 4 KiB,
// without its end and nothing of the next. A line that is cut is no answer: the
// error is that of the read, io.EOF for one.
//
// Hidden is the terminal behind in, if it must not show what is typed. However
// Converse ends, by ctx too, it leaves the terminal as it was found. If hidden
// is no terminal nothing is read.
func Converse(ctx context.Context, in io.Reader, out io.Writer, hidden *os.File, prompt string) (string, error) {
	var failed error
	if hidden != nil { // before the prompt, or what is typed quickly shows
		var show func()
		if show, failed = hide(hidden); failed == nil {
			defer func() {
				show()
				_, _ = io.WriteString(out, "\n") // the user's own did not show
			}()
		}
	}
	if _, err := io.WriteString(out, prompt); err != nil {
		return "", err
	}
	if failed != nil {
		return "", failed
	}
	return await(ctx, func() (string, error) { return readLine(in) })
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
		case err != nil:
			return "", err
		}
	}
	return "", io.ErrShortBuffer
}
