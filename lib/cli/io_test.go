package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for s, want := range map[string]string{
		"":                  "",
		"plain ~ text":      "plain ~ text",
		"Grüße, 世界 🙂":       "Grüße, 世界 🙂",
		"a\nb\tc\r":         `a\nb\tc\r`,
		"\x1b[31mred\x1b[m": `\x1b[31mred\x1b[m`,
		"\x00\x07\x7f":      `\x00\a\x7f`,
		"\u009b31m":         `\u009b31m`, // CSI as one character
		"\x9b31m":           `\x9b31m`,   // CSI as one byte
		"a\xffb":            `a\xffb`,
		"\uFFFD":            "\uFFFD", // somebody else's replacement may stay
		"x\u202egpj.exe":    `x\u202egpj.exe`,
		"zero\u200bwidth":   `zero\u200bwidth`,
		"\u2028":            `\u2028`,
		"\U000e0041":        `\U000e0041`,
		`back\slash`:        `back\slash`,
	} {
		if got := Clean(s); got != want {
			t.Errorf("Clean(%q) = %q; want %q", s, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[0m\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("Clean(%q) = %q; want UTF-8", s, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("Clean(%q) = %q with %U", s, got, r)
			}
		}
		if again := Clean(got); again != got {
			t.Errorf("Clean(Clean(%q)) = %q; want %q", s, again, got)
		}
		if line := oneLine(s); strings.ContainsAny(line, "\r\n") || Clean(line) != line {
			t.Errorf("oneLine(%q) = %q", s, line)
		}
	})
}

// The master side of a pseudo terminal is a terminal too.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestTerminal(t *testing.T) {
	tty := openTerminal(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	closed, err := os.Create(filepath.Join(t.TempDir(), "g"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tc := range []struct {
		name string
		v    io.ReadWriter
		want bool
	}{
		{"terminal", tty, true},
		{"file", file, false},
		{"closed file", closed, false},
		{"no file", (*os.File)(nil), false},
		{"buffer", new(bytes.Buffer), false},
	} {
		std := (&IO{In: tc.v, Out: tc.v, Err: tc.v}).named("img-x")
		// Out is wrapped by now; it must be seen through.
		if in, out, errs := std.InIsTerminal(), std.OutIsTerminal(), std.ErrIsTerminal(); in != tc.want || out != tc.want || errs != tc.want {
			t.Errorf("%s is a terminal: %v, %v, %v; want %v", tc.name, in, out, errs, tc.want)
		}
		err := RefuseTerminal(std.Out, false)
		if (err != nil) != tc.want {
			t.Errorf("RefuseTerminal(%s, false) = %v; want refused: %v", tc.name, err, tc.want)
		}
		if err := RefuseTerminal(std.Out, true); err != nil {
			t.Errorf("RefuseTerminal(%s, true) = %v; want nil", tc.name, err)
		}
	}
}

func TestTalk(t *testing.T) {
	std, out, errs := testIO()
	std = std.named("img-x")
	std.Debugf("nobody asked")
	std.Warnf("a %s\nb\x1b", "warning")
	std.EnableDebug()
	std.Debugf("took %d", 3)
	std.Log.Info("hello", "key", "a value", slog.Group("g", "n", 1))
	std.Log.With("a", 1).WithGroup("in").With("b", 2).Warn("careful\x07", "c", "x\ny")
	std.Log.WithGroup("").Error("bad", slog.Group("", "inline", true), slog.Attr{})
	want := `img-x: warning: a warning; b\x1b
img-x: debug: took 3
img-x: info: hello key=a value g.n=1
img-x: warning: careful\a a=1 in.b=2 in.c=x; y
img-x: error: bad inline=true
`
	if errs.String() != want || out.Len() > 0 {
		t.Errorf("talk = %q and %q on stdout; want %q", errs, out, want)
	}
	if !std.Log.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("Log is not enabled for debug")
	}
}

// While bars are drawn, talk must not run into them; with JSON a warning is an
// event like any other.
func TestTalkThroughRenderer(t *testing.T) {
	for mode, want := range map[string]string{
		"bars":  "img-x: warning: careful\nimg-x: debug: low\n",
		"plain": "img-x: warning: careful\nimg-x: debug: low\n",
		"none":  "img-x: warning: careful\nimg-x: debug: low\n",
		"json":  `{"time":"T","kind":"warning","text":"careful"}` + "\nimg-x: debug: low\n",
	} {
		std, _, errs := testIO()
		std = std.named("img-x")
		std.EnableDebug()
		r, err := NewRenderer(mode, std, "img-x")
		if err != nil {
			t.Fatal(err)
		}
		std.Warnf("careful")
		std.Debugf("low")
		if err := r.Close(); err != nil {
			t.Errorf("Close = %v; want nil", err)
		}
		got := errs.String()
		if i := strings.Index(got, `"time":"`); i >= 0 {
			got = got[:i+8] + "T" + got[i+8+len(timeFormat):]
		}
		if got != want {
			t.Errorf("mode %s shows %q; want %q", mode, got, want)
		}
		std.Warnf("after")
		if !strings.HasSuffix(errs.String(), "img-x: warning: after\n") {
			t.Errorf("mode %s: %q; want talk after Close to be shown", mode, errs)
		}
	}
}
