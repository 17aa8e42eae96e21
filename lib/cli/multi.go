package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// An Entry is one tool of a multi-call program. Its table is built only when it
// is wanted.
type Entry struct {
	Name string       // "img-copy": as the program's name, and as its first argument
	Tool func() *Tool // builds the table; nil: Main does everything

	// Main runs an entry without a table and returns its exit code. It should
	// call [Live]. The args begin behind the entry's name.
	Main  func(args []string) int
	Short string // what it is, for --help, if there is no table
}

// short returns the line that says what the entry is.
func (e *Entry) short() string {
	if e.Tool != nil {
		return e.Tool().Short
	}
	return e.Short
}

// Multi runs the entry that args ask for and returns the exit code: the one that
// args[0], without its folders, is named after; else the one that args[1] names,
// with or without "name-" before it. All else is for [MultiTool]. The caller exits:
//
//	func main() { os.Exit(cli.Multi("img", os.Args, entries())) }
func Multi(name string, args []string, entries []Entry) int {
	e, rest := pick(name, args, entries)
	if e == nil {
		return runTool(MultiTool(name, entries), rest)
	}
	if e.Tool == nil {
		return e.Main(rest)
	}
	return runTool(e.Tool(), rest)
}

func runTool(t *Tool, args []string) int {
	return Live(t.Name, func(ctx context.Context, std *IO) int {
		return t.Execute(ctx, std, args)
	})
}

// pick returns the entry and its arguments, or nil and the program's own.
func pick(name string, args []string, entries []Entry) (*Entry, []string) {
	if len(args) == 0 {
		return nil, nil
	}
	if e := find(entries, filepath.Base(args[0])); e != nil {
		return e, args[1:]
	}
	if len(args) > 1 {
		for _, want := range []string{args[1], name + "-" + args[1]} {
			if e := find(entries, want); e != nil {
				return e, args[2:]
			}
		}
	}
	return nil, args[1:]
}

func find(entries []Entry, name string) *Entry {
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i]
		}
	}
	return nil
}

// multi is the multi-call program without a tool.
type multi struct {
	name    string
	entries []Entry
	list    bool
	install bool
	skopeo  bool
}

// MultiTool returns the table of the multi-call program itself: it lists its
// entries, and installs itself under their names. All entries with a table are
// installed, those without only if their name is given as an option.
func MultiTool(name string, entries []Entry) *Tool {
	m := &multi{name: name, entries: entries}
	t := &Tool{
		Name:  name,
		Args:  "TOOL [argument ...]",
		Short: "all the tools in one program",
		Long:  "Runs the tool that it is called as, or else the one that the first operand names.",
		Flags: []Flag{
			{Name: "list", Help: "List the names of the tools, one a line.", Value: Bool(&m.list)},
			{
				Name:  "install",
				Help:  "Make a symbolic link to this program for each tool, in the directory given as operand.",
				Value: Bool(&m.install),
			},
		},
		Examples: []Example{{
			Text:    "Make the tools callable by their own names:",
			Command: name + " --install /usr/local/bin",
		}},
		Run:     m.run,
		entries: entries,
	}
	if find(entries, "skopeo") != nil {
		t.Flags = append(t.Flags, Flag{
			Name: "skopeo", Help: "With --install: make the link skopeo too.", Value: Bool(&m.skopeo),
		})
	}
	return t
}

func (m *multi) run(_ context.Context, std *IO, args []string) error {
	switch {
	case m.list && len(args) == 0:
		for _, e := range m.entries {
			if _, err := io.WriteString(std.Out, e.Name+"\n"); err != nil {
				return err
			}
		}
		return nil
	case m.install && len(args) == 1:
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		return install(exe, m.name, args[0], m.links())
	case m.install:
		return Usagef("--install wants one directory")
	case len(args) == 0:
		return Usagef("no tool named")
	}
	return m.unknown(args[0])
}

// links returns the names to install.
func (m *multi) links() []string {
	var names []string
	for _, e := range m.entries {
		if e.Tool != nil || e.Name == "skopeo" && m.skopeo {
			names = append(names, e.Name)
		}
	}
	return names
}

func (m *multi) unknown(word string) error {
	err := &usageError{
		err:  fmt.Errorf("no tool named %q", word),
		hint: m.name + " --list names the tools",
	}
	var names []string
	for _, e := range m.entries {
		names = append(names, strings.TrimPrefix(e.Name, m.name+"-"))
	}
	if near := nearest(strings.TrimPrefix(word, m.name+"-"), names); near != "" {
		err.hint = "did you mean " + m.name + " " + near + "?"
	}
	return err
}

// install makes in dir a symbolic link to the program exe for each name. The
// links are relative, so that a tree may be moved or mounted elsewhere. A link to
// a program of that name is renewed; anything else in the way is an error, and
// then nothing has been changed.
func install(exe, program, dir string, names []string) error {
	target, err := linkTarget(exe, program, dir)
	if err != nil {
		return err
	}
	var missing, stale []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		old, err := os.Readlink(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			missing = append(missing, path)
		case err == nil && old == target, sameFile(path, exe):
		case err == nil && filepath.Base(old) == program:
			stale = append(stale, path)
		default:
			return fmt.Errorf("%s exists and is not a link to %s", path, program)
		}
	}
	for _, path := range missing {
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	for _, path := range stale {
		if err := replaceLink(target, path); err != nil {
			return err
		}
	}
	return nil
}

// linkTarget returns what the links in dir should hold: the program's bare name
// if it lies there itself.
func linkTarget(exe, program, dir string) (string, error) {
	if sameFile(filepath.Join(dir, program), exe) {
		return program, nil
	}
	from, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(from); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", dir)
	}
	if from, err = filepath.Abs(from); err != nil {
		return "", err
	}
	return filepath.Rel(from, exe)
}

// replaceLink makes the link in one step, so that the name is never missing.
func replaceLink(target, path string) error {
	temp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
