// Package measure runs a command under rr and says what it used, and how busy
// the machine was with other things meanwhile.
package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what the kernel says that a command used. Times are in seconds.
type Usage struct {
	Wall float64 `json:"wall"`
	User float64 `json:"user"`
	Sys  float64 `json:"sys"`
	RSS  int64   `json:"rss_kib"`
	Exit int     `json:"exit"`
	Disk int64   `json:"disk_bytes"`
}

// CPU is user and system time together.
func (u Usage) CPU() float64 { return u.User + u.Sys }

// parseUsage reads the line that rr writes.
func parseUsage(line string) (Usage, error) {
	f := strings.Fields(line)
	if len(f) != 6 {
		return Usage{}, fmt.Errorf("rr said %q", line)
	}
	var n [6]int64
	for i := range f {
		var err error
		if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil {
			return Usage{}, fmt.Errorf("rr said %q", line)
		}
	}
	return Usage{Wall: float64(n[0]) / 1e6, User: float64(n[1]) / 1e6, Sys: float64(n[2]) / 1e6,
		RSS: n[3], Exit: int(n[4]), Disk: n[5] * 512}, nil
}

// ErrTimeout says that a command was killed because it took too long.
var ErrTimeout = errors.New("killed after its time")

// Runner runs commands.
type Runner struct {
	RR      string   // the program rr
	Env     []string // of the commands, nothing else
	Dir     string
	Stderr  string // file
	Timeout time.Duration
}

// Run runs the stages, joined by pipes, with the last one's output to the file
// stdout. The thread that calls must live on (runtime.LockOSThread): commands
// end with it. A command's own failure is in Usage.Exit, not an error.
func (r Runner) Run(ctx context.Context, stages [][]string, stdout string) (Usage, error) {
	args := []string{stdout}
	for i, s := range stages {
		if i > 0 {
			args = append(args, "|")
		}
		args = append(args, s...)
	}
	stderr, err := os.Create(r.Stderr)
	if err != nil {
		return Usage{}, err
	}
	defer stderr.Close()
	pr, pw, err := os.Pipe()
	if err != nil {
		return Usage{}, err
	}
	defer pr.Close()
	cmd := exec.Command(r.RR, args...)
	cmd.Env, cmd.Dir, cmd.Stderr, cmd.ExtraFiles = r.Env, r.Dir, stderr, []*os.File{pw}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	pw.Close()
	if err != nil {
		return Usage{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, ErrTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	line, err := io.ReadAll(pr)
	waited := cmd.Wait()
	if !stop() {
		return Usage{}, context.Cause(ctx)
	}
	if err := errors.Join(err, waited); err != nil {
		return Usage{}, err
	}
	return parseUsage(string(line))
}
