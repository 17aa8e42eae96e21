// Package helper is the room of the transports that are programs of their own:
// what img-transport(7) calls img-transport-NAME. It starts them, speaks the
// image stream with them, and sees that they end.
//
// A program is a stranger. What it says on standard error is cleaned before a
// user sees it, its stream is checked as any other, and its exit code is read
// before the end of its stream is believed. It gets the user's environment and
// nothing of ours.
//
// The package imports lib/oci, lib/reference, lib/blob, lib/image and, as the
// one door to a neighbour, lib/transport/archive, which reads and writes the
// stream. It knows no network.
package helper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// prefix is what the name of a transport has before it in that of its program.
const prefix = "img-transport-"

// Limits on what is taken of a program.
const (
	maxName  = 64       // bytes of a transport's name
	maxTold  = 64 << 10 // bytes of capabilities
	maxNames = 16 << 20 // bytes of names, or of digests
)

// Verbs, the first argument of a program.
const (
	verbCapabilities = "capabilities"
	verbGet          = "get"
	verbPut          = "put"
	verbHas          = "has"
	verbList         = "list"
)

var (
	// ErrProgram is wrapped by the error about a transport of which there
	// is no program.
	ErrProgram = errors.New("no program for the transport")

	// ErrFailed is wrapped by the error about a program that failed, and
	// did not say why by an exit code that has a meaning.
	ErrFailed = errors.New("the program failed")
)

// outcomes are the exit codes of a program that have a meaning.
var outcomes = map[int]error{
	2: reference.ErrFormat,
	3: image.ErrNotFound,
	4: image.ErrUnsupported,
}

// Options say how programs are run. The zero value is silent.
type Options struct {
	// Stderr gets what the programs say on standard error, a line with
	// each Write, with the name of the program before it and free of
	// control characters. It is written to from a goroutine of its own for
	// each program that runs. Nil is nowhere.
	Stderr io.Writer

	// Stream is how the stream is written that a program is to put.
	Stream archive.Options
}

// A Program is a transport that is a program.
type Program struct {
	name string // img-transport-NAME
	path string // absolute
	o    Options
}

// Find looks for the program of a transport on PATH, but never in the current
// directory nor in any that PATH does not name from the root. Errors:
// ErrProgram, also for a name that can be none of a transport: letters of
// ASCII, digits and '-' can.
func Find(transport string, o Options) (*Program, error) {
	if !isName(transport) {
		return nil, fmt.Errorf("%w %.100q: letters, digits and '-' make its name", ErrProgram, transport)
	}
	name := prefix + transport
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w %q: %s is not in $PATH", ErrProgram, transport, name)
	case errors.Is(err, exec.ErrDot) || err == nil && !filepath.IsAbs(path):
		return nil, fmt.Errorf("%w %q: $PATH leads to %s from the current directory, which is not trusted", ErrProgram, transport, name)
	case err != nil:
		return nil, fmt.Errorf("%w %q: %w", ErrProgram, transport, err)
	}
	return &Program{name, path, o}, nil
}

func isName(s string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-'
	}
	return s != "" && len(s) <= maxName && strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0
}

// List returns the names beside the one that detail is, in the order of the
// program. Errors: ErrUnsupported if it does not list any, oci.ErrInvalid for a
// name that cannot be shown, ErrTooLarge, and those of exit codes.
func (p *Program) List(ctx context.Context, detail string) ([]string, error) {
	out, err := p.ask(ctx, verbList, detail, "", maxNames)
	if err != nil {
		return nil, err
	}
	names := lines(out)
	for _, s := range names {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
			return nil, fmt.Errorf("%s %s: %w: the name %.100q", p.name, verbList, oci.ErrInvalid, s)
		}
	}
	return names, nil
}

// offers reports whether the program has the verb. One that tells no
// capabilities has get and put.
func (p *Program) offers(ctx context.Context, verb, detail string) (bool, error) {
	out, err := p.ask(ctx, verbCapabilities, detail, "", maxTold)
	if errors.Is(err, image.ErrUnsupported) {
		return verb == verbGet || verb == verbPut, nil
	}
	for _, s := range lines(out) {
		if s == verb {
			return true, err
		}
	}
	return false, err
}

// lines returns the lines of a program's answer that are not empty.
func lines(b []byte) []string {
	var list []string
	for s := range strings.Lines(string(b)) {
		if s = strings.TrimRight(s, "\r\n"); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// unprintable reports whether a character could do something to a terminal.
func unprintable(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }
