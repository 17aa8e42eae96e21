package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
)

func tryRun(t *testing.T, run func(ctx context.Context, std *IO, args []string) error) (code int, out, errs string) {
	t.Helper()
	tool := &Tool{Name: "img-x", Args: "A B", Short: "do x", Run: run, Explain: explain}
	std, o, e := testIO()
	code = tool.Execute(t.Context(), std, nil)
	return code, o.String(), e.String()
}

var errGone = errors.New("not found")

func explain(err error) (int, string) {
	if errors.Is(err, errGone) {
		return CodeNotFound, "img-list-tags a.example/x shows what there is\n"
	}
	return 0, ""
}

func TestExecuteCodes(t *testing.T) {
	usage := "usage: img-x [option ...] A B\nimg-x: hint: img-x --help lists the options\n"
	for _, tc := range []struct {
		err  error
		code int
		errs string
	}{
		{nil, CodeOK, ""},
		{errors.New("broken"), CodeFailed, "img-x: broken\n"},
		{fmt.Errorf("source: %w", errGone), CodeNotFound, "img-x: source: not found\nimg-x: hint: img-list-tags a.example/x shows what there is\n"},
		{Usagef("want %d operands", 2), CodeUsage, "img-x: want 2 operands\n" + usage},
		{fmt.Errorf("wrapped: %w", Usagef("bad")), CodeUsage, "img-x: wrapped: bad\n" + usage},
		{fmt.Errorf("%w: x", ErrUsage), CodeUsage, "img-x: wrong use: x\n" + usage},
		// What a server says must not reach the terminal as it is, nor make lines.
		{errors.New("server: \x1b]0;pwned\x07\r\nimg-x: done\x9b\u202e"), CodeFailed, `img-x: server: \x1b]0;pwned\a; img-x: done\x9b\u202e` + "\n"},
		{errors.Join(errors.New("one"), errors.New("two\n")), CodeFailed, "img-x: one; two\n"},
		{errors.New(""), CodeFailed, "img-x: failed\n"},
		{fmt.Errorf("x: %w", ErrOutput), CodeOutput, "img-x: x: cannot write standard output\n"},
		{context.Canceled, CodeFailed, "img-x: context canceled\n"},
	} {
		code, out, errs := tryRun(t, func(context.Context, *IO, []string) error { return tc.err })
		if code != tc.code || out != "" || errs != tc.errs {
			t.Errorf("Execute(%v) = %d, %q, %q; want %d, \"\", %q", tc.err, code, out, errs, tc.code, tc.errs)
		}
	}
}

func TestExecuteServes(t *testing.T) {
	tool, _ := sample()
	tool.Run = func(context.Context, *IO, []string) error {
		t.Error("Run was called")
		return nil
	}
	for args, want := range map[string]string{
		"--help":               "img-sample - show what a table can say\n\nUsage: ",
		"-h --nope":            "img-sample - show what a table can say\n\nUsage: ",
		"--version":            "img-sample dev (go1.",
		"--completion bash":    "# bash completion for img-sample\n",
		"x --completion=fish":  "# fish completion for img-sample\n",
		"--completion zsh a b": "#compdef img-sample\n",
	} {
		std, out, errs := testIO()
		code := tool.Execute(t.Context(), std, strings.Fields(args))
		if code != CodeOK || !strings.HasPrefix(out.String(), want) || errs.Len() > 0 {
			t.Errorf("Execute(%s) = %d, %.80q, %q; want 0, %q...", args, code, out, errs, want)
		}
	}
	for args, want := range map[string]string{
		"--platfrom x":      "img-sample: unknown flag: --platfrom\nusage: img-sample [option ...] SOURCE [DESTINATION|-]\nimg-sample: hint: did you mean --platform?\n",
		"--secrt":           "img-sample: unknown flag: --secrt\nusage: img-sample [option ...] SOURCE [DESTINATION|-]\nimg-sample: hint: img-sample --help lists the options\n",
		"--completion=tcsh": "img-sample: invalid argument \"tcsh\" for \"--completion\" flag: want bash, zsh or fish\nusage: img-sample [option ...] SOURCE [DESTINATION|-]\nimg-sample: hint: img-sample --help lists the options\n",
	} {
		std, out, errs := testIO()
		code := tool.Execute(t.Context(), std, strings.Fields(args))
		if code != CodeUsage || out.Len() > 0 || errs.String() != want {
			t.Errorf("Execute(%s) = %d, %q, %q; want %d, nothing, %q", args, code, out, errs, CodeUsage, want)
		}
	}
}

func TestVersionStamped(t *testing.T) {
	old := Version
	defer func() { Version = old }()
	Version = "1.2.3"
	if got := versionLine("img-x"); got != "img-x 1.2.3\n" {
		t.Errorf("versionLine = %q; want img-x 1.2.3", got)
	}
}

func TestExecutePassesOperands(t *testing.T) {
	tool, o := sample()
	var got []string
	tool.Run = func(_ context.Context, _ *IO, args []string) error {
		got = args
		return nil
	}
	std, _, _ := testIO()
	code := tool.Execute(t.Context(), std, []string{"a", "--all", "-"})
	if code != CodeOK || strings.Join(got, " ") != "a -" || !o.all {
		t.Errorf("Execute = %d, operands %q, all %v; want 0, [a -], true", code, got, o.all)
	}
}

func TestExecutePanic(t *testing.T) {
	boom := func(context.Context, *IO, []string) error { panic(fmt.Errorf("nil\nmap \x1b")) }
	t.Setenv("IMG_DEBUG", "")
	code, _, errs := tryRun(t, boom)
	if want := "img-x: internal error: nil; map \\x1b\n"; code != CodeFailed || errs != want {
		t.Errorf("Execute = %d, %q; want 1, %q", code, errs, want)
	}
	t.Setenv("IMG_DEBUG", "1")
	_, _, errs = tryRun(t, boom)
	if !strings.Contains(errs, "TestExecutePanic") {
		t.Errorf("with IMG_DEBUG: %q; want a stack that names the culprit", errs)
	}
}

// A renderer left open would hold the last messages back.
func TestExecuteClosesRenderer(t *testing.T) {
	for name, end := range map[string]func() error{
		"error": func() error { return errors.New("broken") },
		"panic": func() error { panic("broken") },
	} {
		_, _, errs := tryRun(t, func(_ context.Context, std *IO, _ []string) error {
			r, err := NewRenderer("plain", std, "img-x")
			if err != nil {
				return err
			}
			r.Event(Event{Kind: KindCommit, Ref: "a"})
			return end()
		})
		if !strings.HasPrefix(errs, "commit   a\nimg-x: ") || !strings.HasSuffix(errs, "broken\n") {
			t.Errorf("%s: %q; want the event and then the message", name, errs)
		}
	}
}

// failing fails each write after the first n bytes.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, syscall.EPIPE
	}
	return len(p), nil
}

// A tool that drops the error of a write, or reports another one that came of it,
// has lost its product all the same.
func TestExecuteOutputLost(t *testing.T) {
	for name, tc := range map[string]struct {
		run  func(std *IO) error
		errs string
	}{
		"dropped": {
			func(std *IO) error { fmt.Fprint(std.Out, "too long"); return nil },
			"img-x: cannot write standard output: broken pipe\n",
		},
		"returned": {
			func(std *IO) error {
				_, err := io.WriteString(std.Out, "too long")
				return fmt.Errorf("stream: %w", err)
			},
			"img-x: stream: cannot write standard output: broken pipe\n",
		},
		"hidden": {
			func(std *IO) error { fmt.Fprint(std.Out, "too long"); return errors.New("source closed") },
			"img-x: cannot write standard output: broken pipe\n",
		},
	} {
		std, _, errs := testIO()
		std.Out = &failing{3}
		tool := &Tool{Name: "img-x", Run: func(_ context.Context, std *IO, _ []string) error { return tc.run(std) }}
		code := tool.Execute(t.Context(), std, nil)
		if code != CodeOutput || errs.String() != tc.errs {
			t.Errorf("%s: Execute = %d, %q; want %d, %q", name, code, errs, CodeOutput, tc.errs)
		}
	}
	std, _, _ := testIO()
	std.Out = &failing{3}
	tool, _ := sample()
	if code := tool.Execute(t.Context(), std, []string{"--help"}); code != CodeOutput {
		t.Errorf("--help into a closed pipe = %d; want %d", code, CodeOutput)
	}
}
