// Package harness gives tests the real components that images live in:
// registries, Docker, containerd, Podman, and the tools that others use.
//
// Each is started for one test, on loopback and in a directory of its own, and
// is gone when the test is over, failed or not. If it ended before, the test's
// log has the end of its own. A component that is not installed fails the test,
// with the command that installs it. A package that uses the harness has
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// T is what the harness needs of a *testing.T. Test scripts have their own.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
}

// base is where everything of this test process lies.
var base string

// Main runs the tests of a package and removes what they left.
func Main(m *testing.M) int {
	sweep(filepath.Join(scratch(), "imgt-*"))
	dir, err := os.MkdirTemp(scratch(), fmt.Sprintf("imgt-%d-", os.Getpid())) // short: sockets lie in it
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	base = dir
	defer remove(dir)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		remove(dir)
		os.Exit(1)
	}()
	return m.Run()
}

// scratch returns where to make the directory: in memory if there is plenty,
// because the daemons sync what they write and a busy disk makes that slow.
func scratch() string {
	const shm, plenty = "/dev/shm", 6 << 30
	var st unix.Statfs_t
	if err := unix.Statfs(shm, &st); err != nil || st.Flags&unix.ST_NOEXEC != 0 ||
		st.Bavail*uint64(st.Bsize) < plenty {
		return os.TempDir()
	}
	return shm
}

// sweep removes what test processes left that were killed an hour ago or more.
func sweep(pattern string) {
	dirs, _ := filepath.Glob(pattern)
	for _, dir := range dirs {
		st, err := os.Stat(dir)
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), "imgt-"), "-")
		if err != nil || time.Since(st.ModTime()) < time.Hour {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			remove(dir)
		}
	}
}

// Dir returns a new directory that is removed after the test, with whatever
// was mounted in it. Its path is short enough for a socket's.
func Dir(t T) string {
	t.Helper()
	if base == "" {
		t.Fatalf("TestMain does not call harness.Main")
	}
	dir, err := os.MkdirTemp(base, "")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := remove(dir); err != nil {
			t.Logf("harness: %v", err)
		}
	})
	return dir
}

// remove unmounts what a container engine may have mounted below dir, then
// removes dir.
func remove(dir string) error {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(mounts), "\n")
	for i := range lines { // the latest first
		fields := strings.Fields(lines[len(lines)-1-i])
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			unix.Unmount(fields[4], unix.MNT_DETACH)
		}
	}
	return os.RemoveAll(dir)
}

// Root returns the directory of the module's go.mod.
func Root(t T) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod above the working directory (%v)", err)
	return ""
}

// Img builds img once for a test process, installs its links beside it, skopeo
// too, and returns the directory that holds them.
func Img(t T) string {
	t.Helper()
	img.Do(func() { img.err = buildImg(Root(t), filepath.Join(base, "img")) })
	if img.err != nil {
		t.Fatalf("%v", img.err)
	}
	return filepath.Join(base, "img")
}

var img struct {
	sync.Once
	err error
}

func buildImg(root, dir string) error {
	if base == "" {
		return fmt.Errorf("TestMain does not call harness.Main")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	bin := filepath.Join(dir, "img")
	const version = "-s -w -X github.com/imgtools/imgtools/lib/cli.Version=test"
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", version, "-o", bin, "./cmd/img")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/img: %v\n%s", err, out)
	}
	if out, err := exec.Command(bin, "--install", "--skopeo", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("img --install --skopeo %s: %v\n%s", dir, err, out)
	}
	return nil
}
