package harness

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Tool returns the path of a program: one of ours, one built into test/.bin,
// or one of the system's.
func Tool(t T, name string) string {
	t.Helper()
	switch {
	case strings.Contains(name, "/"):
		return name
	case name == "img" || strings.HasPrefix(name, "img-"):
		return filepath.Join(Img(t), name)
	}
	for _, dir := range toolPath(t) {
		file := filepath.Join(dir, name)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return file
		}
	}
	t.Fatalf("%s is not installed; test/install.sh does it", name)
	return ""
}

// toolPath is PATH, with test/.bin before it and root's directories behind.
func toolPath(t T) []string {
	t.Helper()
	path := []string{filepath.Join(Root(t), "test", ".bin")}
	path = append(path, filepath.SplitList(os.Getenv("PATH"))...)
	return append(path, "/usr/sbin", "/sbin")
}

// Result is what a program that has ended leaves.
type Result struct {
	Stdout, Stderr string
	Code           int // exit code, -1 if a signal ended it
}

// Command is how a program is run. Its zero value is an empty standard input,
// the test's working directory, and an environment that holds nothing of the
// user's or of the run before: a new home, no credentials, no proxies.
type Command struct {
	Stdin io.Reader
	Dir   string
	Env   []string      // added to that environment
	Limit time.Duration // the program is killed then; 0 is 5 minutes
}

// Run runs a program to its end. It fails the test only if the program cannot
// be started or is killed for taking too long.
func (c Command) Run(t T, name string, args ...string) Result {
	t.Helper()
	if c.Limit == 0 {
		c.Limit = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, Tool(t, name), args...)
	cmd.Dir = c.Dir
	cmd.Env = append(Environ(t), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%s %s: killed after %v\n%s", name, strings.Join(args, " "), c.Limit, &stderr)
	case err != nil && !errors.As(err, &exit):
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Must is Run for a program that has to succeed; it returns its output.
func (c Command) Must(t T, name string, args ...string) string {
	t.Helper()
	return c.Run(t, name, args...).must(t, name, args)
}

// Run is Command{Stdin: stdin}.Run.
func Run(t T, stdin io.Reader, name string, args ...string) Result {
	t.Helper()
	return Command{Stdin: stdin}.Run(t, name, args...)
}

// Must is Command{}.Must.
func Must(t T, name string, args ...string) string {
	t.Helper()
	return Command{}.Must(t, name, args...)
}

func (r Result) must(t T, name string, args []string) string {
	t.Helper()
	if r.Code != 0 {
		t.Fatalf("%s %s: exit %d\n%s%s", name, strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Environ returns the environment of Command, with a new home, for programs
// that are started otherwise.
func Environ(t T) []string {
	t.Helper()
	home := Dir(t)
	run, tmp := filepath.Join(home, ".run"), filepath.Join(home, ".tmp")
	for _, dir := range []string{run, tmp} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return []string{
		"HOME=" + home,
		"XDG_RUNTIME_DIR=" + run,
		"TMPDIR=" + tmp,
		"PATH=" + strings.Join(toolPath(t), ":"),
		"LANG=C.UTF-8",
		"OTEL_TRACES_EXPORTER=none", // the v3 registry calls a collector otherwise
	}
}
