package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imgtools/imgtools/test/harness"
)

// patience is how long a program may take that is waited for. Only one that
// hangs needs it.
const patience = 3 * time.Minute

// A program is how to start one that has to run beside others, or that is to
// be killed. For all else there is harness.Command, whose environment it has.
type program struct {
	stdin  io.Reader
	stdout io.Writer // nil: kept
	stderr io.Writer // nil: kept
	env    []string

	terminal bool // stdin is the one that the user sits at
}

// running is a program that was started. It is killed when the test ends.
type running struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	done     chan struct{}
}

func (p program) start(t *testing.T, name string, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(harness.Tool(t, name), args...), done: make(chan struct{})}
	r.cmd.Env = append(harness.Environ(t), p.env...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: p.terminal, Setctty: p.terminal}
	r.cmd.WaitDelay = 5 * time.Second
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = p.stdin, p.stdout, p.stderr
	if p.stdout == nil {
		r.cmd.Stdout = &r.out
	}
	if p.stderr == nil {
		r.cmd.Stderr = &r.err
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.cmd.Wait()
		close(r.done)
	}()
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-r.done
	})
	return r
}

// wait returns what the program left when it ended.
func (r *running) wait(t *testing.T) harness.Result {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatalf("%s: still there after %v", r.cmd, patience)
	}
	return harness.Result{Stdout: r.out.String(), Stderr: r.err.String(), Code: r.cmd.ProcessState.ExitCode()}
}

// A stage is a program of a pipeline, its name first.
type stage []string

// pipe runs the stages, each reading what the one before it writes, and returns
// what became of each. The first reads nothing.
func pipe(t *testing.T, stages ...stage) []harness.Result {
	t.Helper()
	var in *os.File
	var rs []*running
	for i, s := range stages {
		p, mine := program{}, []*os.File{in}
		if in != nil {
			p.stdin = in
		}
		if i < len(stages)-1 {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			p.stdout, in = w, r
			mine = append(mine, w)
		}
		rs = append(rs, p.start(t, s[0], s[1:]...))
		for _, f := range mine {
			if f != nil {
				f.Close() // the program has its own, and must see the end when it comes
			}
		}
	}
	var results []harness.Result
	for _, r := range rs {
		results = append(results, r.wait(t))
	}
	return results
}

// mustPipe is pipe for stages that all have to succeed, but that a reader may
// go when it has seen enough; it returns the output of the last.
func mustPipe(t *testing.T, stages ...stage) string {
	t.Helper()
	results := pipe(t, stages...)
	for i, r := range results {
		enough := i < len(results)-1 && stages[len(stages)-1][0] == "img-inspect" && (r.Code == badOutput || r.Code == -1)
		if r.Code != 0 && !enough {
			t.Fatalf("%s: exit %d\n%s%s", strings.Join(stages[i], " "), r.Code, r.Stdout, r.Stderr)
		}
	}
	return results[len(results)-1].Stdout
}

// feed runs img-copy SOURCE - and has the engine read what it writes.
func feed(t *testing.T, e *harness.Engine, source []string, args ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := program{stdout: w}.start(t, "img-copy", append(source, "-")...)
	w.Close()
	out := e.Must(t, r, args...)
	r.Close()
	if got := p.wait(t); got.Code != 0 {
		t.Errorf("img-copy %s -: exit %d\n%s", strings.Join(source, " "), got.Code, got.Stderr)
	}
	return out
}

// fails runs a tool that has to fail with an exit code, and checks what every
// failure promises: nothing on standard output, and one line that says why. It
// returns that line.
func fails(t *testing.T, code int, name string, args ...string) string {
	t.Helper()
	return failed(t, harness.Run(t, nil, name, args...), code, name+" "+strings.Join(args, " "))
}

// failed checks what fails does of a run that is over. Before the one line there
// may be warnings, and behind it a hint, and the usage if the tool was used
// wrongly (2).
func failed(t *testing.T, r harness.Result, code int, what string) string {
	t.Helper()
	if r.Code != code {
		t.Errorf("%s: exit %d; want %d\n%s", what, r.Code, code, r.Stderr)
	}
	if r.Stdout != "" {
		t.Errorf("%s: failed and printed %q; want nothing", what, r.Stdout)
	}
	tool, _, _ := strings.Cut(what, " ")
	text := r.Stderr
	for strings.HasPrefix(text, tool+": warning: ") {
		_, text, _ = strings.Cut(text, "\n")
	}
	first, more, _ := strings.Cut(text, "\n")
	if !strings.HasPrefix(first, tool+": ") {
		t.Errorf("%s: failed with %q; want a line that begins with %s:", what, r.Stderr, tool)
	}
	for line := range strings.Lines(more) {
		if !strings.HasPrefix(line, tool+": hint: ") && (code != 2 || !strings.HasPrefix(line, "usage: ")) {
			t.Errorf("%s: failed with a line more: %q", what, line)
		}
	}
	return first
}

// event is a line of --progress=json, as img-events(5) has it.
type event struct {
	Time, Kind, Side, Ref, Digest, MediaType, Text, Platform string
	Size, Done, Attempt, Attempts                            int64
	Wait                                                     float64
}

// events parses what --progress=json wrote. Every line must be an object.
func events(t *testing.T, text string) []event {
	t.Helper()
	var es []event
	for line := range strings.Lines(text) {
		var e event
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			t.Fatalf("not an event: %v: %s", err, line)
		}
		es = append(es, e)
	}
	return es
}

// usage is what the kernel counted of a program and those that it started.
type usage struct {
	MaxRSS int64 // bytes
}

// measured names the program that this test binary runs in the place of tests.
const measured = "E2E_MEASURED"

// measure returns a stage that runs s and leaves its usage in file. The kernel
// counts the memory of the process that starts a program as the program's own,
// so that a small one has to do it: this test binary before it has any tests.
func measure(t *testing.T, s stage, file string) stage {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append(stage{"env", measured + "=" + file, self, harness.Tool(t, s[0])}, s[1:]...)
}

// runMeasured is the other end of measure. It returns an exit code.
func runMeasured(file string, args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), measured+"=")
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	u := usage{cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10}
	b, err := json.Marshal(u)
	if err == nil {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	return cmd.ProcessState.ExitCode()
}
