package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noSleep keeps a program under the race detector from waiting a second at its end.
const noSleep = "GORACE=atexit_sleep_ms=0"

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets the test binary be the program under test: what a signal or a
// closed pipe does to a process can be seen only from outside.
func TestMain(m *testing.M) {
	if mode := os.Getenv("CLI_TEST_PROGRAM"); mode != "" {
		os.Exit(program(mode))
	}
	os.Exit(m.Run())
}

// program is the tool that the tests start as a process. Its grace is long
// enough for a machine under load, short enough for a test.
func program(mode string) int {
	t := &Tool{Name: "img-test", Short: "be tested", Run: programRun(mode)}
	wait := time.Minute
	switch mode {
	case "main":
		Main(t)
	case "multi":
		return Multi("img", os.Args, testEntries())
	case "stubborn-short":
		wait = 50 * time.Millisecond
	case "body-panics":
		return Live(t.Name, func(context.Context, *IO) int { panic("of the body") })
	}
	return live(t.Name, wait, func(ctx context.Context, std *IO) int {
		return t.Execute(ctx, std, os.Args[1:])
	})
}

func programRun(mode string) func(context.Context, *IO, []string) error {
	return func(ctx context.Context, std *IO, args []string) error {
		switch mode {
		case "polite", "main": // ends with the context
			fmt.Fprintln(std.Out, "ready")
			<-ctx.Done()
			return fmt.Errorf("copying: %w", context.Cause(ctx))
		case "reader": // waits for input that does not come
			fmt.Fprintln(std.Out, "ready")
			n, err := io.Copy(std.Out, std.In)
			return fmt.Errorf("stdin after %d bytes: %w", n, err)
		case "finisher": // has its work done in spite of the signal
			fmt.Fprintln(std.Out, "ready")
			<-ctx.Done()
			return nil
		case "failing": // fails in its own way because of the signal
			fmt.Fprintln(std.Out, "ready")
			<-ctx.Done()
			return errors.New("disk full")
		case "stubborn", "stubborn-short": // hears nothing
			fmt.Fprintln(std.Out, "ready")
			<-ctx.Done()
			fmt.Fprintln(std.Out, "ignored")
			select {}
		case "writer", "careless": // writes until that fails
			return write(std, mode == "careless")
		case "child": // shows which signals a child process ignores
			cmd := exec.Command("grep", "SigIgn", "/proc/self/status")
			cmd.Stdout = std.Out
			return cmd.Run()
		case "panic":
			panic("a line\nand \x1b[31manother")
		case "ok":
			_, err := io.WriteString(std.Out, "fine\n")
			return err
		}
		return fmt.Errorf("unknown mode %q", mode)
	}
}

func write(std *IO, careless bool) error {
	for range 1000 {
		_, err := std.Out.Write(make([]byte, 4096))
		switch {
		case err != nil && careless:
			return nil
		case err != nil:
			return err
		}
	}
	return errors.New("nothing stopped me")
}

// start returns the command that runs this test binary as the program.
func start(t *testing.T, mode string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "CLI_TEST_PROGRAM="+mode, noSleep)
	return cmd
}

// sample is a tool with a row of every kind.
type sampleOptions struct {
	all, quiet, secret bool
	tls                Tri
	jobs               int
	timeout            time.Duration
	creds, file, form  string
	platforms, tags    []string
}

func sample() (*Tool, *sampleOptions) {
	o := &sampleOptions{jobs: 4, form: "auto", platforms: []string{"native"}}
	t := &Tool{
		Name:  "img-sample",
		Args:  "SOURCE [DESTINATION|-]",
		Short: "show what a table can say",
		Long: "Shows rows of every kind. This text is long enough to need more than one line when it is wrapped,\n" +
			"and it mentions --jobs and a back\\slash.\n\n.Second paragraph, beginning like a request.",
		Flags: []Flag{
			{Name: "all", Short: 'a', Help: "Take all of it.", Value: Bool(&o.all)},
			{Name: "quiet", Short: 'q', Help: "Say nothing.", Value: Bool(&o.quiet)},
			{Name: "src-creds", Arg: "USER[:PASSWORD]", Help: "Log in to the source with these, it's said. Not 'shown' to others.", Value: String(&o.creds)},
			{Name: "digestfile", Arg: "FILE", Help: "Write the digest to FILE.", Value: String(&o.file)},
			{Name: "format", Short: 'f', Arg: "FORM", Help: "How it looks: auto, wide or narrow.", Value: Enum(&o.form, "auto", "wide", "narrow")},
			{Name: "jobs", Short: 'j', Arg: "N", Help: "Do N things at once.", Value: Int(&o.jobs)},
			{Name: "timeout", Arg: "TIME", Help: "Give up after TIME, for example 30s.", Value: Duration(&o.timeout)},
			{Name: "platform", Short: 'p', Arg: "OS/ARCH[/VARIANT]", Help: "Take only this platform; may be repeated.", Value: List(&o.platforms)},
			{Name: "additional-tag", Arg: "Ar", Help: "Another tag [with brackets]: one a time.", Value: Array(&o.tags)},
			{Name: "src-tls-verify", Help: "Check the certificate of the source.", Value: OptionalBool(&o.tls)},
			{Name: "secret", Help: "Not for the manual.", Value: Bool(&o.secret), Hidden: true},
		},
		Examples: []Example{
			{Text: "Copy over ssh without a file in between:", Command: `img-sample docker://a.example/x - | ssh b img-sample - 'oci:\x'`},
			{Text: "Two lines:", Command: "img-sample a \\\n    .b"},
		},
		Words: []string{"docker://", "oci:"},
		Run:   func(context.Context, *IO, []string) error { return nil },
	}
	return t, o
}

// golden compares got with the file testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(string(want), string(got)))
	}
}

// testIO returns an IO without terminals, and its standard output and error.
func testIO() (std *IO, out, errs *bytes.Buffer) {
	out, errs = new(bytes.Buffer), new(bytes.Buffer)
	return &IO{In: bytes.NewReader(nil), Out: out, Err: errs}, out, errs
}
