// Package conf is the room of the configuration files that a machine already
// carries: registries.conf with its drop-ins, registries.d, certs.d and the
// file of TLS details. It says what they mean for one reference, or for one
// host; what is done about it is for others.
//
// A file is read when it is asked for, and never before. Files are small,
// regular and trusted, but typed by people: every error about the content of
// one names file, line and problem. The package opens nothing but these files
// and knows no network.
package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/imgtools/imgtools/lib/disk"
)

const (
	maxFile  = 1 << 20 // bytes of one file
	maxFiles = 1000    // files of one directory
	maxQuote = 120     // bytes of a file that a message repeats at once
)

// ErrMalformed is wrapped by every error about the content of a file.
var ErrMalformed = errors.New("malformed configuration file")

// An Error says where a configuration file is wrong. It wraps ErrMalformed.
type Error struct {
	Path    string
	Line    int // from 1
	Problem string
}

func (e *Error) Error() string {
	return fmt.Sprintf("configuration file %q, line %d: %s", e.Path, e.Line, e.Problem)
}

func (e *Error) Unwrap() error { return ErrMalformed }

// A Finder finds the configuration files of this user. The zero value is
// ready. It keeps nothing between two calls, and its methods may be called at
// the same time.
type Finder struct {
	// Env looks up an environment variable. Nil: os.Getenv.
	Env func(string) string
	// Debug takes what is odd but no error, such as a key that nothing here
	// knows: one line each. Nil: it is dropped.
	Debug func(string)

	root string // of the file system; "" is "/"
	uid  string // whose files; "" are this process's
}

func (f Finder) env(name string) string {
	if f.Env != nil {
		return f.Env(name)
	}
	return os.Getenv(name)
}

func (f Finder) debug(format string, args ...any) {
	if f.Debug != nil {
		f.Debug(fmt.Sprintf(format, args...))
	}
}

func (f Finder) user() string {
	if f.uid != "" {
		return f.uid
	}
	return strconv.Itoa(os.Geteuid())
}

// home returns the user's home directory, or "" if there is none to find.
func (f Finder) home() string {
	if home := f.env("HOME"); home != "" {
		return home
	}
	u, err := user.LookupId(f.user())
	if err != nil {
		return ""
	}
	return u.HomeDir
}

// homeFile returns the path of a file below the home directory, or "".
func (f Finder) homeFile(elem ...string) string {
	home := f.home()
	if home == "" {
		return ""
	}
	return filepath.Join(home, filepath.Join(elem...))
}

// system returns the path of a file that belongs to no user.
func (f Finder) system(elem ...string) string {
	return filepath.Join("/", f.root, filepath.Join(elem...))
}

// missing reports whether an error says that there is no such file.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// readFile reads a configuration file, or nothing from the null device.
func readFile(path string) ([]byte, error) { return disk.ReadFile(path, maxFile) }

// listDir returns the names in a directory that have the suffix, sorted. A
// directory that is not there has none, nor has a file in its place. More than
// maxFiles are an error.
func listDir(dir, suffix string) ([]string, error) {
	// O_DIRECTORY: opening a FIFO that nobody writes to must not wait.
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for {
		some, err := f.Readdirnames(maxFiles)
		for _, name := range some {
			if strings.HasSuffix(name, suffix) {
				names = append(names, name)
			}
		}
		switch {
		case len(names) > maxFiles:
			return nil, &fs.PathError{Op: "read", Path: dir, Err: fmt.Errorf("more than %d files named *%s", maxFiles, suffix)}
		case errors.Is(err, io.EOF):
			slices.Sort(names)
			return names, nil
		case err != nil:
			return nil, err
		}
	}
}

// checkText returns an error if a file is not UTF-8 or holds characters that
// are for terminals rather than for files. The parsers refuse most of these
// too, but do not all say where.
func checkText(path string, data []byte) error {
	line := 1
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return &Error{path, line, "not UTF-8"}
		case r == '\n':
			line++
		case unicode.IsControl(r) && r != '\t' && r != '\r':
			return &Error{path, line, fmt.Sprintf("control character %U", r)}
		}
		i += n
	}
	return nil
}

// cut returns a string of a file without what would make a message long.
func cut(s string) string {
	if len(s) <= maxQuote {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuote], "") + "..."
}

// short returns a string of a file in a form fit for a message without quotes
// around it: not at length, on one line, and printable.
func short(s string) string {
	s = cut(s)
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		s = strconv.Quote(s)
		s = s[1 : len(s)-1]
	}
	return s
}
