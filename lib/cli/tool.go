// Package cli makes a program out of a table. One [Tool] is all there is to say
// about a command: from it come the parser of its options, its --help, its man
// page, its shell completions and its exit codes. The package also holds what
// every command needs around its work: signals, the rules of standard output,
// and the renderers that show progress on standard error.
//
// It is on the lowest floor. It knows nothing of images, registries or files in
// any format, and imports none of the other packages of this module; of third
// parties only pflag, x/term and x/sys.
package cli

import (
	"context"
	"runtime/debug"
	"strings"
)

// Exit codes. All tools share them; they are promised in img(1).
const (
	CodeOK           = 0 // done
	CodeFailed       = 1 // failed, for a reason that no other code names
	CodeUsage        = 2 // wrong use: options or operands
	CodeNotFound     = 3 // what was named is not there
	CodeUnauthorized = 4 // not logged in, or not allowed to
	CodeNetwork      = 5 // network or a passing fault, retries used up
	CodeRejected     = 6 // refused by policy or signature
	CodeMismatch     = 7 // content does not match its digest
	CodePartial      = 8 // some of several jobs failed
	CodeOutput       = 9 // standard output could not be written
)

// signalBase is added to a signal's number when a signal ended the program.
const signalBase = 128

var codeTexts = [...]string{
	CodeOK:           "Done.",
	CodeFailed:       "Failed, for a reason that no other status names.",
	CodeUsage:        "Wrong use: options or operands.",
	CodeNotFound:     "What was named does not exist.",
	CodeUnauthorized: "Not logged in, or not allowed to.",
	CodeNetwork:      "Network trouble or a passing fault of a server, retries used up.",
	CodeRejected:     "Refused by policy, or by a signature that does not fit.",
	CodeMismatch:     "Content does not match its digest or size.",
	CodePartial:      "Of several jobs some failed.",
	CodeOutput:       "Standard output could not be written.",
}

// A Tool is one command. The table says everything about it.
type Tool struct {
	Name     string // "img-copy"
	Args     string // operands as shown in usage: "SOURCE DESTINATION"
	Short    string // one line, lower case, no full stop
	Long     string // optional paragraphs for --help, parted by empty lines
	Flags    []Flag
	Examples []Example
	Words    []string // optional: what an operand may begin with ("oci:"), for completion
	See      []string // optional: other manual pages, "img-events(5)"

	// Explain, if set, maps an error of Run to an exit code (Code*; 0 counts
	// as CodeFailed) and to a hint: one line that says what to type next, or "".
	Explain func(error) (code int, hint string)

	// Run does the work. It should return soon after ctx ends. It is not
	// called when --help, --version or a wrong option decides before it.
	Run func(ctx context.Context, std *IO, args []string) error

	entries []Entry // of the multi-call program, for its completions
}

// A Flag is one row of a tool's table.
type Flag struct {
	Name   string // "dest-creds", without dashes
	Short  byte   // 'a', or 0
	Arg    string // name of the argument: "USER[:PASSWORD]"; "" for a switch
	Help   string // sentences
	Value  Value  // what the flag sets
	Hidden bool   // understood, but in no documentation
}

// An Example is a command and the text that introduces it.
type Example struct{ Text, Command string }

// Version is stamped by the linker: -ldflags "-X .../lib/cli.Version=1.2.3".
var Version = "dev"

// versionLine is the answer to --version. For a build without a stamp it adds
// what the build information knows; that is read only here, as it costs time.
func versionLine(name string) string {
	line := name + " " + Version
	if Version != "dev" {
		return line + "\n"
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return line + "\n"
	}
	extra := []string{info.GoVersion}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			extra = append(extra, s.Value)
		case s.Key == "vcs.modified" && s.Value == "true":
			extra = append(extra, "modified")
		}
	}
	return line + " (" + strings.Join(extra, ", ") + ")\n"
}

// standard returns the rows that every tool has without naming them, --help first.
func standard() []Flag {
	return []Flag{
		{Name: "help", Short: 'h', Help: "Show this help.", Value: stop(ErrHelp)},
		{Name: "version", Help: "Show the version.", Value: stop(errVersion)},
		{
			Name: "completion", Arg: "SHELL", Help: "Print a completion script for bash, zsh or fish.",
			Value: &completionValue{},
		},
	}
}

// rows returns the table and behind it those standard rows that it does not define
// itself. A standard row gives up its letter to a row of the table.
func (t *Tool) rows(standard []Flag) []Flag {
	rows := t.Flags[:len(t.Flags):len(t.Flags)]
	for _, s := range standard {
		taken := false
		for _, f := range t.Flags {
			taken = taken || f.Name == s.Name
			if f.Short == s.Short {
				s.Short = 0
			}
		}
		if !taken {
			rows = append(rows, s)
		}
	}
	return rows
}

// visible returns the documented rows.
func (t *Tool) visible() []Flag {
	var rows []Flag
	for _, f := range t.rows(standard()) {
		if !f.Hidden {
			rows = append(rows, f)
		}
	}
	return rows
}
