package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/term"
)

// ErrOutput marks a failed write to standard output. It has CodeOutput.
var ErrOutput = errors.New("cannot write standard output")

// IO is what a tool sees of the world, so that a test can give it another one.
// Out carries the product and nothing else; all talk goes to Err, through Warnf
// and Debugf, which also keep out of the way of a renderer's bars. The methods
// may be called by several goroutines. An IO must not be copied.
type IO struct {
	In       io.Reader
	Out, Err io.Writer

	// Log takes what Debugf is told; nil: nothing does. See EnableDebug.
	Log *slog.Logger

	name   string               // of the tool, begins each line of talk
	mu     sync.Mutex           // guards Err
	active atomic.Pointer[feed] // the renderer that draws on Err now
}

// named returns std as the tool with that name sees it. Whatever becomes of
// standard output is remembered in the Out of the result.
func (std *IO) named(name string) *IO {
	run := &IO{In: std.In, Out: std.Out, Err: std.Err, Log: std.Log, name: name}
	if _, ok := run.Out.(*output); !ok {
		run.Out = &output{w: run.Out}
	}
	return run
}

// InIsTerminal tells whether In is a terminal.
func (std *IO) InIsTerminal() bool { return isTerminal(std.In) }

// OutIsTerminal tells whether Out is a terminal.
func (std *IO) OutIsTerminal() bool { return isTerminal(std.Out) }

// ErrIsTerminal tells whether Err is a terminal.
func (std *IO) ErrIsTerminal() bool { return isTerminal(std.Err) }

// RefuseTerminal returns a usage error if w is a terminal and force is not set.
// It is for products that are raw bytes or a stream.
func RefuseTerminal(w io.Writer, force bool) error {
	if force || !isTerminal(w) {
		return nil
	}
	return Usagef("will not write raw data to a terminal: redirect it or give --force")
}

// Warnf tells the user something that does not stop the work, as one line:
// "img-copy: warning: text". While a renderer is open it is an event of its.
func (std *IO) Warnf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if f := std.active.Load(); f != nil {
		f.Event(Event{Kind: KindWarning, Text: text})
		return
	}
	std.talk("warning: " + oneLine(text))
}

// Debugf tells Log something; without Log it does nothing.
func (std *IO) Debugf(format string, args ...any) {
	if std.Log != nil {
		std.Log.Debug(fmt.Sprintf(format, args...))
	}
}

// EnableDebug makes Log write lines such as "img-copy: debug: text key=value"
// to Err. It must be called before other goroutines use std.
func (std *IO) EnableDebug() { std.Log = slog.New(&lineHandler{std: std}) }

// talk writes one line of talk, the tool's name first.
func (std *IO) talk(line string) {
	if std.name != "" {
		line = std.name + ": " + line
	}
	std.say(line)
}

// say writes a line to Err. A failure of that is nobody's concern.
func (std *IO) say(line string) {
	if f := std.active.Load(); f != nil {
		f.note(line)
		return
	}
	std.mu.Lock()
	defer std.mu.Unlock()
	io.WriteString(std.Err, line+"\n")
}

// output is standard output with a memory. A tool that drops the error of a
// write does not make the loss of its product a success.
type output struct {
	w     io.Writer
	wrote atomic.Bool
	first atomic.Pointer[error]
}

func (o *output) Write(p []byte) (int, error) {
	if !o.wrote.Load() {
		o.wrote.Store(true)
	}
	n, err := o.w.Write(p)
	if err != nil {
		err = o.fail(err)
	}
	return n, err
}

func (o *output) fail(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	err = fmt.Errorf("%w: %w", ErrOutput, err)
	o.first.CompareAndSwap(nil, &err)
	return err
}

// err returns what went wrong first, or nil.
func (o *output) err() error {
	if p := o.first.Load(); p != nil {
		return *p
	}
	return nil
}

// close closes standard output if something was written to it: some file
// systems tell only then that the bytes found no room.
func (o *output) close() error {
	c, ok := o.w.(io.Closer)
	if !ok || !o.wrote.Load() || o.err() != nil {
		return o.err()
	}
	if err := c.Close(); err != nil {
		return o.fail(err)
	}
	return nil
}

// isTerminal tells whether v, a reader or writer, is a terminal.
func isTerminal(v any) bool {
	is := false
	withFd(v, func(fd int) { is = term.IsTerminal(fd) })
	return is
}

// terminalSize returns the columns and rows of the terminal v, or 0, 0.
func terminalSize(v any) (width, height int) {
	withFd(v, func(fd int) {
		if w, h, err := term.GetSize(fd); err == nil {
			width, height = w, h
		}
	})
	return width, height
}

// withFd calls f with the file descriptor of v if it has one. Unlike Fd it
// leaves the descriptor's blocking mode as it is.
func withFd(v any, f func(fd int)) {
	file, ok := unwrap(v).(*os.File)
	if !ok || file == nil {
		return
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	control(conn, f)
}

func control(conn syscall.RawConn, f func(fd int)) {
	// A closed file is no terminal; f is not called then.
	_ = conn.Control(func(fd uintptr) { f(int(fd)) })
}

// Clean returns s with everything that a terminal might act on, or that ends a
// line, written as an escape: control characters, invisible and
// direction-changing ones, bytes that are not UTF-8. It is idempotent.
func Clean(s string) string {
	i := 0
	for i < len(s) && ' ' <= s[i] && s[i] <= '~' {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)+16), s[:i]...)
	for j, r := range s[i:] {
		switch {
		case strconv.IsPrint(r) && r != '\uFFFD':
			b = append(b, string(r)...)
		case r == '\uFFFD' && strings.HasPrefix(s[i+j:], "\uFFFD"):
			b = append(b, "\uFFFD"...)
		case r == '\uFFFD': // a byte that is not UTF-8
			b = fmt.Appendf(b, `\x%02x`, s[i+j])
		default:
			q := strconv.QuoteRune(r)
			b = append(b, q[1:len(q)-1]...)
		}
	}
	return string(b)
}

// oneLine cleans s and joins its lines, as of several errors, by semicolons.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return Clean(strings.Join(lines, "; "))
}
