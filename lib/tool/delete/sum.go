package delete

import (
	"errors"
	"fmt"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool"
)

// What is wrong with values of options.
var (
	errNumber = errors.New("want a number, 0 or more")
	errEmpty  = errors.New("want a regular expression; .* matches all")
)

// A sum is what all the work came to.
type sum struct {
	std    *cli.IO
	done   int // things deleted
	failed []error
}

func (s *sum) fail(err error) { s.failed = append(s.failed, err) }

// err returns what the exit code is made of. Of several errors each is told in
// a line of its own before.
func (s *sum) err() error {
	if len(s.failed) == 0 {
		return nil
	}
	err := s.failed[0]
	if len(s.failed) > 1 {
		for _, e := range s.failed {
			s.std.Warnf("%v", e)
		}
		err = &severalError{s.failed}
	}
	if s.done > 0 {
		return &partialError{err}
	}
	return err
}

// A severalError stands for errors that have been told.
type severalError struct{ errs []error }

func (e *severalError) Error() string {
	return fmt.Sprintf("not all went well: %d errors", len(e.errs))
}
func (e *severalError) Unwrap() []error { return e.errs }

// A partialError is one beside which something was deleted.
type partialError struct{ error }

func (e *partialError) Unwrap() error { return e.error }

// A refusedError says that a tag cannot be deleted by itself.
type refusedError struct {
	error
	hint string
}

func (e *refusedError) Unwrap() error { return e.error }

// explain is tool.Explain, and knows the errors of this package.
func explain(err error) (code int, hint string) {
	code, hint = tool.Explain(err)
	var partial *partialError
	var refused *refusedError
	if errors.As(err, &partial) {
		code = cli.CodePartial
	}
	if errors.As(err, &refused) {
		hint = refused.hint
	}
	return code, hint
}
