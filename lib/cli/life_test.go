package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a running program of main_test.go.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *bufio.Reader
	errs bytes.Buffer
}

func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(pipe)
	cmd.Stderr = &p.errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// expect waits for a line on standard output.
func (p *process) expect(want string) {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || line != want+"\n" {
		p.t.Fatalf("program says %q, %v; want %q (stderr %q)", line, err, want, p.errs.String())
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the end and compares it.
func (p *process) end(code int, errs string) {
	p.t.Helper()
	io.Copy(io.Discard, p.out)
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code || p.errs.String() != errs {
		p.t.Errorf("program ends with %d, %q; want %d, %q", got, p.errs.String(), code, errs)
	}
}

func TestSignalEnds(t *testing.T) {
	for _, tc := range []struct {
		mode string
		sig  syscall.Signal
		code int
		errs string
	}{
		{"polite", syscall.SIGINT, 130, "img-test: interrupted\n"},
		{"polite", syscall.SIGTERM, 143, "img-test: terminated\n"},
		{"polite", syscall.SIGHUP, 129, "img-test: ended by signal: hangup\n"},
		{"main", syscall.SIGTERM, 143, "img-test: terminated\n"},
		{"failing", syscall.SIGTERM, 143, "img-test: terminated: disk full\n"},
		{"finisher", syscall.SIGTERM, 0, ""},
		{"stubborn-short", syscall.SIGTERM, 143, "img-test: terminated, and did not stop in time\n"},
		{"stubborn-short", syscall.SIGINT, 130, "img-test: interrupted, and did not stop in time\n"},
	} {
		p := startProcess(t, start(t, tc.mode))
		p.expect("ready")
		p.signal(tc.sig)
		p.end(tc.code, tc.errs)
	}
}

// A tool that waits for its input must come back to tidy up. (With a grace of a
// minute the test would see another message if it did not.)
func TestSignalWhileReading(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := start(t, "reader")
	cmd.Stdin = r
	p := startProcess(t, cmd)
	r.Close()
	p.expect("ready")
	io.WriteString(w, "first line\n")
	p.expect("first line") // input flows while the pipe is open
	p.signal(syscall.SIGTERM)
	p.end(143, "img-test: terminated\n")
}

func TestInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	in := newInput(ctx, r)
	go func() {
		io.WriteString(w, strings.Repeat("0123456789", 20000))
		w.Close()
	}()
	b, err := io.ReadAll(in)
	if err != nil || len(b) != 200000 {
		t.Errorf("ReadAll = %d bytes, %v; want 200000, nil", len(b), err)
	}
	why := errors.New("why")
	cancel(why)
	if n, err := in.Read(make([]byte, 1)); n != 0 || err != why {
		t.Errorf("Read after the end of the context = %d, %v; want 0, the cause", n, err)
	}
	// A file can be sought in and never keeps a read waiting: it stays a file.
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if got := newInput(ctx, file); got != io.Reader(file) {
		t.Errorf("newInput(file) = %T; want the file", got)
	}
	tty := openTerminal(t)
	if std := (&IO{In: newInput(ctx, tty)}); !std.InIsTerminal() {
		t.Error("InIsTerminal = false for a terminal behind newInput")
	}
}

// The grace of the program is a minute here: only the second signal can end it.
func TestSecondSignal(t *testing.T) {
	p := startProcess(t, start(t, "stubborn"))
	p.expect("ready")
	p.signal(syscall.SIGINT)
	p.expect("ignored")
	began := time.Now()
	p.signal(syscall.SIGTERM)
	p.end(143, "")
	if time.Since(began) > 30*time.Second {
		t.Error("the second signal did not end the program at once")
	}
}

// nohup and "&" ask for a signal to be ignored; that must hold.
func TestIgnoredSignal(t *testing.T) {
	cmd := start(t, "polite")
	sh := exec.Command("sh", "-c", `trap "" INT; exec "$0"`, cmd.Path)
	sh.Env = cmd.Env
	p := startProcess(t, sh)
	p.expect("ready")
	p.signal(syscall.SIGINT)
	p.signal(syscall.SIGTERM)
	p.end(143, "img-test: terminated\n")
}

func TestProcessCodes(t *testing.T) {
	for mode, want := range map[string]struct {
		code int
		errs string
	}{
		"ok":          {0, ""},
		"panic":       {CodeFailed, `img-test: internal error: a line; and \x1b[31manother` + "\n"},
		"body-panics": {CodeFailed, "img-test: internal error: of the body\n"},
	} {
		cmd := start(t, mode)
		cmd.Env = append(cmd.Env, "IMG_DEBUG=")
		startProcess(t, cmd).end(want.code, want.errs)
	}
}

// "img-x | head" must neither kill the program without a word nor look like success.
func TestBrokenPipe(t *testing.T) {
	for _, mode := range []string{"writer", "careless", "ok"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := start(t, mode)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &errs
		err = cmd.Run()
		w.Close()
		wantOutputError(t, mode, err, errs.String(), "broken pipe")
	}
}

func TestFullDevice(t *testing.T) {
	for _, mode := range []string{"writer", "careless"} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := start(t, mode)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errs
		err = cmd.Run()
		full.Close()
		wantOutputError(t, mode, err, errs.String(), "no space left on device")
	}
}

func wantOutputError(t *testing.T, mode string, err error, errs, why string) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != CodeOutput {
		t.Errorf("%s: %v; want exit code %d", mode, err, CodeOutput)
	}
	if want := "img-test: cannot write standard output: " + why + "\n"; errs != want {
		t.Errorf("%s: stderr %q; want %q", mode, errs, want)
	}
}

// Some file systems report a lost write only when the file is closed.
func TestCloseError(t *testing.T) {
	std, _, errs := testIO()
	std.name = "img-x"
	out := &output{w: closeFailing{io.Discard}}
	if code := std.finish(out, CodeOK); code != CodeOK {
		t.Errorf("nothing written: finish = %d, %q; want 0", code, errs)
	}
	io.WriteString(out, "x")
	if code := std.finish(out, CodeOK); code != CodeOutput || errs.String() != "img-x: cannot write standard output: disk quota exceeded\n" {
		t.Errorf("finish = %d, %q; want %d and the reason", code, errs, CodeOutput)
	}
	errs.Reset()
	if code := std.finish(out, CodeFailed); code != CodeFailed || errs.Len() > 0 {
		t.Errorf("finish of a failure = %d, %q; want it left alone", code, errs)
	}
}

type closeFailing struct{ io.Writer }

func (closeFailing) Close() error {
	return &os.PathError{Op: "close", Path: "/dev/stdout", Err: syscall.EDQUOT}
}

// A helper program that we start must die of SIGPIPE as it always did.
func TestChildSignals(t *testing.T) {
	p := startProcess(t, start(t, "child"))
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(line, "SigIgn:")), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if mask&(1<<(uint(syscall.SIGPIPE)-1)) != 0 {
		t.Errorf("a child ignores SIGPIPE: SigIgn %x", mask)
	}
	p.end(0, "")
}

// A signal must end the program even if nobody reads its standard error.
func TestComplainBriefly(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	std := &IO{Err: w, name: "img-x"}
	std.complainBriefly("interrupted")
}
