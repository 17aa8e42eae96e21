package auth

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// pipe returns the number of a file descriptor from which data can be read, as
// a shell leaves one to a program.
func pipe(t *testing.T, data string) int {
	t.Helper()
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	go func() {
		w := os.NewFile(uintptr(fds[1]), "pipe")
		io.WriteString(w, data)
		w.Close()
	}()
	t.Cleanup(func() { syscall.Close(fds[0]) })
	return fds[0]
}

func TestFromFD(t *testing.T) {
	tests := []struct{ in, want, err string }{
		{"alice:s3cr3t\n", "alice:s3cr3t", ""},
		{"alice:s3cr3t\r\n", "alice:s3cr3t", ""},
		{"alice:s3:cr3t ", "alice:s3:cr3t ", ""},
		{"alice:s3cr3t\n\n", "", "more than one line"},
		{`{"Username": "alice", "Secret": "s3cr3t"}`, "alice:s3cr3t", ""},
		{"{\n\"ServerURL\": \"x\", \"Username\": \"alice\",\n\"Secret\": \"s3\\ncr3t\"}\n", "alice:s3\ncr3t", ""},
		{`{"Username": "<token>", "Secret": "s3cr3t"}`, ":<s3cr3t>", ""},
		{"", "", "there is nothing"},
		{"\n", "", "there is nothing"},
		{"s3cr3t", "", "want USER:PASSWORD or a JSON object with Username and Secret"},
		{":s3cr3t", "", "want USER:PASSWORD or a JSON object with Username and Secret"},
		{`{"Username": "alice"}`, "", "there is no Secret in the JSON object"},
		{`{"Username": "alice", "Secret": 1234567}`, "", "not a JSON object with Username and Secret"},
		{`{"Secret": "s3cr3t"`, "", "not a JSON object with Username and Secret"},
		{`{"Secret": "s3cr3t"}s3cr3t`, "", "not a JSON object with Username and Secret"},
		{"a:" + strings.Repeat("x", maxSecret-2), "a:" + strings.Repeat("x", maxSecret-2), ""},
		{"a:" + strings.Repeat("x", maxSecret-1), "", "more than 65536 bytes"},
	}
	for _, tt := range tests {
		got, err := FromFD(t.Context(), pipe(t, tt.in))
		text := message(err)
		if i := strings.LastIndex(text, ": "); i >= 0 {
			text = text[i+2:]
		}
		if plain(got) != tt.want || text != tt.err {
			t.Errorf("FromFD of %.40q = %.40q, %v; want %.40q, %q", tt.in, plain(got), err, tt.want, tt.err)
		}
		if strings.Contains(message(err), "s3cr3t") || strings.Contains(message(err), "1234567") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestFromFDNotOpen(t *testing.T) {
	for _, fd := range []int{-1, 1 << 20} {
		if _, err := FromFD(t.Context(), fd); !errors.Is(err, syscall.EBADF) {
			t.Errorf("FromFD(%d) = %v; want %v", fd, err, syscall.EBADF)
		}
		if _, err := (Explicit{FD: &fd}).Lookup(nil); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Lookup of %d = %v; want %v", fd, err, syscall.EBADF)
		}
	}
	// Nobody writes, and nobody waits.
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[1])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FromFD(ctx, fds[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("FromFD of a silent pipe = %v; want %v", err, context.Canceled)
	}
}

// A descriptor that both sides of a copy were told to read has its secret once.
// Whatever the program opens meanwhile must not be taken for it, nor be closed.
func TestFDReadTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other")
	write(t, path, "mallory:1")
	fd := pipe(t, "alice:s3cr3t\n")
	var lookups []Lookup
	for range 2 {
		l, err := (Explicit{FD: &fd}).Lookup(nil)
		if err != nil {
			t.Fatal(err)
		}
		lookups = append(lookups, l)
	}
	if c, err := lookups[0](t.Context(), "h.example"); err != nil || c != alice() {
		t.Errorf("the first Lookup = %q, %v", plain(c), err)
	}
	other, err := os.Open(path) // which gets the number, if that was closed
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if c, err := lookups[1](t.Context(), "h.example"); !strings.HasSuffix(message(err), ": there is nothing") {
		t.Errorf("the second Lookup = %q, %v; want nothing", plain(c), err)
	}
	if _, err := other.Stat(); err != nil {
		t.Errorf("another file was closed: %v", err)
	}
}

// One request that is given up must not be the end of all others.
func TestCommandGivenUp(t *testing.T) {
	command := script(t, "echo alice:s3cr3t")
	lookup, err := (Explicit{Command: &command}).Lookup(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lookup(ctx, "h.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("Lookup that was given up = %v; want %v", err, context.Canceled)
	}
	if c, err := lookup(t.Context(), "h.example"); err != nil || c != alice() {
		t.Errorf("the next Lookup = %q, %v", plain(c), err)
	}
}

// script writes a program and returns its name.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFromCommand(t *testing.T) {
	tests := []struct{ name, script, want, err string }{
		{"pair", `read -r host && test $# = 2 && echo "$1:$host $2"`, "a b:h.example:5000 $c", ""},
		{"answer of a helper", `echo '{"Username": "alice", "Secret": "s3cr3t"}'`, "alice:s3cr3t", ""},
		{"token", `echo '{"Username": "<token>", "Secret": "s3cr3t"}'`, ":<s3cr3t>", ""},
		{"failure", `echo alice: my s3cr3t is; exit 3`, "", "exit status 3"},
		{"nothing", `exit 0`, "", "there is nothing"},
		{"no pair", `echo s3cr3t`, "", "want USER:PASSWORD or a JSON object with Username and Secret"},
		{"much", `while :; do echo s3cr3t; done`, "", "more than 65536 bytes of output"},
	}
	for _, tt := range tests {
		got, err := FromCommand(t.Context(), script(t, tt.script)+` "a b" \$c`, "h.example:5000")
		text := message(err)
		if tt.err != "" {
			text = strings.TrimPrefix(text, `credential helper failed: command "prog": `)
		}
		if plain(got) != tt.want || text != tt.err || err != nil && !errors.Is(err, ErrHelper) {
			t.Errorf("%s: FromCommand() = %q, %v; want %q, %q", tt.name, plain(got), err, tt.want, tt.err)
		}
	}
	for _, command := range []string{"", " ", "'open", `""`, "no-such-program x"} {
		if _, err := FromCommand(t.Context(), command, "h.example"); err == nil {
			t.Errorf("FromCommand(%q): no error", command)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FromCommand(ctx, script(t, "exec sleep 600"), "h.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("FromCommand() cancelled = %v; want %v", err, context.Canceled)
	}
}

// The command line goes before the files, a pipe can be read only once, and a
// program that asks for a finger should be run once for each registry.
func TestLookup(t *testing.T) {
	files := func(context.Context, string) (Credential, error) { return Credential{Username: "files"}, nil }
	creds, fd := "a:b", pipe(t, "alice:1")
	log := filepath.Join(t.TempDir(), "log")
	command := script(t, "read -r host; echo $host >>"+log+"; echo alice:$host")
	tests := []struct {
		name string
		e    Explicit
		want [3]string // for h.example/a, h.example/b, i.example/a
	}{
		{"nothing", Explicit{}, [3]string{"files", "files", "files"}},
		{"creds", Explicit{Creds: &creds}, [3]string{"a:b", "a:b", "a:b"}},
		{"no-creds", Explicit{NoCreds: true}, [3]string{}},
		{"creds-fd", Explicit{FD: &fd}, [3]string{"alice:1", "alice:1", "alice:1"}},
		{"creds-command", Explicit{Command: &command}, [3]string{"alice:h.example", "alice:h.example", "alice:i.example"}},
	}
	for _, tt := range tests {
		find, err := tt.e.Lookup(files)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var wg sync.WaitGroup
		for i, repository := range []string{"h.example/a", "h.example/b", "i.example/a"} {
			wg.Go(func() {
				if got, err := find(t.Context(), repository); err != nil || plain(got) != tt.want[i] {
					t.Errorf("%s: %s has %q, %v; want %q", tt.name, repository, plain(got), err, tt.want[i])
				}
			})
		}
		wg.Wait()
	}
	b, err := os.ReadFile(log)
	lines := strings.Fields(string(b))
	slices.Sort(lines)
	if err != nil || strings.Join(lines, " ") != "h.example i.example" {
		t.Errorf("the command was run for %q, %v", lines, err)
	}
	open := "'"
	for _, e := range []Explicit{{Command: &open}, {Creds: &creds, FD: &fd}} {
		if _, err := e.Lookup(files); err == nil {
			t.Errorf("Lookup(%+v): no error", e)
		}
	}
}

func TestExplicitSources(t *testing.T) {
	s, n := "x", 3
	with := map[string]Explicit{
		"creds": {Creds: &s}, "username": {Username: &s, Password: &s}, "no-creds": {NoCreds: true}, "creds-fd": {FD: &n}, "creds-command": {Command: &s},
	}
	for a, x := range with {
		for b, y := range with {
			both := Explicit{Creds: x.Creds, Username: x.Username, Password: x.Password, NoCreds: x.NoCreds || y.NoCreds, FD: x.FD, Command: x.Command}
			if y.Creds != nil {
				both.Creds = y.Creds
			}
			if y.Username != nil {
				both.Username, both.Password = y.Username, y.Password
			}
			if y.FD != nil {
				both.FD = y.FD
			}
			if y.Command != nil {
				both.Command = y.Command
			}
			_, _, err := both.Credential()
			if a == b && err != nil || a != b && !strings.HasSuffix(message(err), " cannot be specified at the same time") {
				t.Errorf("%s and %s: %v", a, b, err)
			}
			if a != b && (!strings.Contains(message(err), a) || !strings.Contains(message(err), b)) {
				t.Errorf("%s and %s: %v; want both named", a, b, err)
			}
		}
	}
}

func TestSplitCommand(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"pass show x", []string{"pass", "show", "x"}},
		{"  a\t'b  c'\n", []string{"a", "b  c"}},
		{`a "b 'c' \"d\" \\ \n" e`, []string{"a", `b 'c' "d" \ \n`, "e"}},
		{`a\ b 'c\d'"e"f`, []string{"a b", `c\def`}},
		{`a '' ""`, []string{"a", "", ""}},
		{`a $HOME |;b`, []string{"a", "$HOME", "|;b"}},
		{`a\`, []string{`a\`}},
	}
	for _, tt := range tests {
		if got, err := splitCommand(tt.in); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("splitCommand(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

// FuzzSplitCommand: what is quoted comes out as it went in, and nothing panics.
func FuzzSplitCommand(f *testing.F) {
	f.Add("a b", "it's")
	f.Add(`\`, `"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		splitCommand(a)
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
		got, err := splitCommand("x " + quote(a) + " \t" + quote(b))
		if err != nil || !slices.Equal(got, []string{"x", a, b}) {
			t.Errorf("splitCommand of %q and %q, quoted = %q, %v", a, b, got, err)
		}
	})
}

// FuzzParseSecret: an error holds nothing of what was read.
func FuzzParseSecret(f *testing.F) {
	f.Add([]byte(`{"Username": "Hunter2-S3cret`))
	f.Add([]byte("Hunter2-S3cret\n\n"))
	f.Add([]byte(`{"Secret": Hunter2-S3cret}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseSecret(append(data, "Hunter2-S3cret"...))
		if err != nil && (strings.Contains(err.Error(), "Hunter2") || !c.IsZero()) {
			t.Errorf("parseSecret(%q) = %v, %v", data, c, err)
		}
	})
}
