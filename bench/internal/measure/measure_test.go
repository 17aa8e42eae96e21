package measure

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestParseUsage(t *testing.T) {
	got, err := parseUsage("1500000 250000 125000 2048 3 8 \n")
	want := Usage{Wall: 1.5, User: 0.25, Sys: 0.125, RSS: 2048, Exit: 3, Disk: 4096}
	if err != nil || got != want {
		t.Errorf("parseUsage = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 2 3", "1 2 3 4 5 x"} {
		if _, err := parseUsage(bad); err == nil {
			t.Errorf("parseUsage(%q) = nil; want an error", bad)
		}
	}
}

func TestParseBusy(t *testing.T) {
	const stat = "cpu  100 999 50 99999 888 7 8 35 0 0\ncpu0 1 2 3\n"
	if got := parseBusy(stat); got != 2*time.Second {
		t.Errorf("parseBusy = %v; want 2s", got)
	}
	if got := parseBusy("intr 1"); got != 0 {
		t.Errorf("parseBusy of something else = %v; want 0", got)
	}
}

// runner builds rr, because what matters is the two together.
func runner(t *testing.T) Runner {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	dir := t.TempDir()
	rr := filepath.Join(dir, "rr")
	if b, err := exec.Command("go", "build", "-o", rr, "../../cmd/rr").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, b)
	}
	return Runner{RR: rr, Env: []string{"PATH=/usr/bin:/bin", "WORD=hello"}, Dir: dir, Stderr: filepath.Join(dir, "err"), Timeout: time.Minute}
}

func TestRun(t *testing.T) {
	r := runner(t)
	out := filepath.Join(r.Dir, "out")
	for _, c := range []struct {
		name   string
		stages [][]string
		exit   int
		out    string
	}{
		{"one", [][]string{{"/bin/sh", "-c", "echo $WORD"}}, 0, "hello\n"},
		{"pipe", [][]string{{"/bin/sh", "-c", "echo $WORD; echo x"}, {"/bin/sh", "-c", "wc -l"}, {"/bin/cat"}}, 0, "2\n"},
		{"status", [][]string{{"/bin/sh", "-c", "exit 7"}}, 7, ""},
		{"first of a pipe fails", [][]string{{"/bin/sh", "-c", "exit 3"}, {"/bin/cat"}}, 3, ""},
		{"signal", [][]string{{"/bin/sh", "-c", "kill -9 $$"}}, 137, ""},
		{"no such program", [][]string{{"/no/such"}}, 127, ""},
	} {
		u, err := r.Run(context.Background(), c.stages, out)
		b, _ := os.ReadFile(out)
		if err != nil || u.Exit != c.exit || string(b) != c.out {
			t.Errorf("%s: Run = %+v, %v, output %q; want exit %d, output %q", c.name, u, err, b, c.exit, c.out)
		}
		if u.Wall <= 0 {
			t.Errorf("%s: wall %v; want more than 0", c.name, u.Wall)
		}
	}
}

// The program's own size must not show in the numbers of a small command: that
// is why rr is a program of its own.
func TestRunRSS(t *testing.T) {
	r := runner(t)
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	u, err := r.Run(context.Background(), [][]string{{"/bin/true"}}, os.DevNull)
	runtime.KeepAlive(ballast)
	if err != nil || u.RSS > 16<<10 {
		t.Errorf("Run(true) = %d KiB, %v; want below 16384", u.RSS, err)
	}
}

// A tool that hangs, with a child that holds its pipes, must not stop the bench.
func TestRunTimeout(t *testing.T) {
	r := runner(t)
	r.Timeout = 50 * time.Millisecond
	_, err := r.Run(context.Background(), [][]string{{"/bin/sh", "-c", "sleep 1000 & sleep 1000"}}, os.DevNull)
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("Run = %v; want %v", err, ErrTimeout)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Run(ctx, [][]string{{"/bin/true"}}, os.DevNull); err == nil {
		t.Error("Run with a cancelled context = nil; want an error")
	}
}
