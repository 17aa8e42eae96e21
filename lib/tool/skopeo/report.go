package skopeo

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// log writes one line on standard error as skopeo's logger does: for a
// terminal in colour, else in logfmt.
func (p *program) log(level, msg string) {
	if p.std.ErrIsTerminal() {
		colour := map[string]int{"fatal": 31, "warning": 33}[level]
		fmt.Fprintf(p.std.Err, "\x1b[%dm%s\x1b[0m[0000] %s \n", colour, strings.ToUpper(level)[:4], cli.Clean(msg))
		return
	}
	fmt.Fprintf(p.std.Err, "time=%s level=%s msg=%s\n", strconv.Quote(time.Now().Format(time.RFC3339)), level, quote(msg))
}

// quote is what logfmt needs: words of plain characters stand as they are.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._/@^+", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return strconv.Quote(s)
}

func (p *program) start() {
	if p.global.debug {
		p.std.EnableDebug()
	}
}

// A countError is about the number of operands of a subcommand whose help then
// goes to standard error first.
type countError struct{ text string }

func (e *countError) Error() string { return e.text }

// isNotFound reports whether skopeo's exit code for err is 2: a registry says
// MANIFEST_UNKNOWN, or a layout has no such name.
func isNotFound(err error) bool {
	var parse *parseError
	if errors.As(err, &parse) {
		return false
	}
	var r *registry.Error
	if errors.As(err, &r) {
		return r.Code == "MANIFEST_UNKNOWN"
	}
	var l *layoutError
	return errors.As(err, &l)
}

// A parseError is about a name that could not be read; its chain says nothing.
type parseError struct{ text string }

func (e *parseError) Error() string { return e.text }

// A layoutError is about an oci: or oci-archive: name that is not in it.
type layoutError struct{ error }

func (e *layoutError) Unwrap() error { return e.error }

// cause puts the library's errors into skopeo's words: it takes off the frame
// that names the side and the operation, and puts its own on.
func cause(name transport.Name, err error) error {
	var e *image.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	var r *registry.Error
	d := name.Docker()
	if errors.As(err, &r) && !d.IsZero() {
		return fmt.Errorf("reading manifest %s in %s: %w", cmp.Or(d.Tag, d.Digest.String()), d.Domain+"/"+d.Path, r)
	}
	kind, detail, _ := strings.Cut(name.String(), ":")
	byIndex := strings.Contains(detail, ":@") // which skopeo does not count as a name
	if errors.Is(err, image.ErrNotFound) && strings.HasPrefix(kind, "oci") && !byIndex {
		return &layoutError{err}
	}
	return err
}

// initializing says of a source that could not be opened, or has no manifest,
// what skopeo does, which finds out about the one before the other.
func initializing(name transport.Name, err error) error {
	if missing := missingDir(name, err); missing != nil {
		return fmt.Errorf("determining manifest MIME type for %s: %w", name, missing)
	}
	return fmt.Errorf("initializing source %s: %w", show(name), cause(name, err))
}

// missingDir is what skopeo, which opens files only, says of a dir: that does
// not exist; nil if err is another error.
func missingDir(name transport.Name, err error) error {
	path, ok := strings.CutPrefix(name.String(), "dir:")
	if !ok || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &fs.PathError{Op: "open", Path: path + "/manifest.json", Err: syscall.ENOENT}
}

// show is how skopeo writes a name: a layout's has a colon behind the path.
func show(name transport.Name) string {
	s := name.String()
	if detail, ok := strings.CutPrefix(s, "oci:"); ok && !strings.Contains(detail, ":") {
		return s + ":"
	}
	return s
}
