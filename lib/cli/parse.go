package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Errors that end a program before its Run.
var (
	// ErrUsage marks wrong use. See [Usagef].
	ErrUsage = errors.New("wrong use")
	// ErrHelp is what Parse returns for --help.
	ErrHelp = errors.New("help wanted")

	errVersion = errors.New("version wanted")
)

// completionWish ends parsing when a completion script is wanted.
type completionWish struct{ shell string }

func (completionWish) Error() string { return "completion script wanted" }

// usageError is an error about wrong use, with its own text.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string        { return e.err.Error() }
func (e *usageError) Unwrap() error        { return e.err }
func (e *usageError) Is(target error) bool { return target == ErrUsage }

// Usagef returns an error for which errors.Is(err, ErrUsage) holds. [Tool.Execute]
// prints it together with the synopsis and returns CodeUsage.
func Usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// Parse sets the flags that args holds and returns the operands. Options follow
// the GNU conventions: --name value, --name=value, -n value, -nvalue, -n=value,
// grouped letters; a switch is true alone or takes =BOOL; options and operands
// may be mixed; "--" ends the options; "-" is an operand. Beside the table there is
// only --help: it ends parsing with ErrHelp. For any other error
// errors.Is(err, ErrUsage) holds. Parse should be called once.
func (t *Tool) Parse(args []string) (operands []string, err error) {
	return t.parse(t.rows(standard()[:1]), args)
}

func (t *Tool) parse(rows []Flag, args []string) (operands []string, err error) {
	if err := refuseTestFlags(args); err != nil {
		return nil, err
	}
	fs := pflag.NewFlagSet(t.Name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for i := range rows {
		fs.AddFlag(rows[i].pflag())
	}
	if err := fs.Parse(args); err != nil {
		return nil, explainParse(rows, err)
	}
	return fs.Args(), nil
}

// refuseTestFlags fails for -test.something, which pflag drops without a word
// because Go's test binaries use it. A dropped option is worse than a refused
// file name: that can be written --option=-test.x.
func refuseTestFlags(args []string) error {
	for _, a := range args {
		if a == "--" {
			return nil
		}
		if strings.HasPrefix(a, "-test.") {
			return Usagef("unknown shorthand flag: 't' in %s", a)
		}
	}
	return nil
}

// explainParse turns pflag's error into ours: same text, plus a hint.
func explainParse(rows []Flag, err error) error {
	var wish completionWish
	switch {
	case errors.Is(err, ErrHelp):
		return ErrHelp
	case errors.Is(err, errVersion):
		return errVersion
	case errors.As(err, &wish):
		return wish
	}
	e := &usageError{err: err}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		for _, f := range rows {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		}
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			e.hint = "did you mean --" + near + "?"
		}
	}
	return e
}

// pflag returns the row in the form that the parser knows.
func (f *Flag) pflag() *pflag.Flag {
	p := &pflag.Flag{Name: f.Name, Value: pflagValue{f.Value, "string"}}
	if f.Short != 0 {
		p.Shorthand = string(rune(f.Short))
	}
	if f.Arg == "" {
		p.NoOptDefVal = "true"
		p.Value = pflagValue{f.Value, "bool"}
	}
	return p
}

// pflagValue adds to a Value what pflag wants to know.
type pflagValue struct {
	Value
	typ string
}

func (v pflagValue) Type() string { return v.typ }

// nearest returns the candidate that a misspelt word probably meant: one that
// ends in "-word" if there is just one, else the closest within two typing errors;
// "" if there is none.
func nearest(word string, candidates []string) string {
	best, bestDist := "", 3
	suffix, suffixes := "", 0
	for _, c := range candidates {
		if strings.HasSuffix(c, "-"+word) {
			suffix = c
			suffixes++
		}
		if d := Distance(word, c); d < bestDist && d < len(word) {
			best, bestDist = c, d
		}
	}
	if suffixes == 1 {
		return suffix
	}
	return best
}

// Distance counts the single-byte insertions, deletions and replacements
// between a and b (Levenshtein).
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}
