package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv says what this program, started anew, is to hold, and where. Locks
// are between processes: one alone does not show that they work.
const childEnv = "DISK_TEST_CHILD"

func TestMain(m *testing.M) {
	if what, dir, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		if err := hold(what, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hold holds a lock or a temporary file, says so, and ends with its input.
func hold(what, dir string) error {
	d, err := Open(dir, nil)
	if err != nil {
		return err
	}
	name := ""
	switch what {
	case "exclusive":
		_, err = d.Lock(context.Background(), "a")
	case "shared":
		_, err = d.LockShared(context.Background(), "a")
	case "temp":
		var f *Temp
		if f, err = d.Temp(".", prefix); err == nil {
			name = f.Name()
		}
	}
	if err != nil {
		return err
	}
	fmt.Println("held", name)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// holder starts a process that holds something in dir, and returns what kills
// it and the name of its file.
func holder(t *testing.T, what, dir string) (kill func(), name string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what+" "+dir)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe() // open until the end
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait() // killed on purpose
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	check(t, err)
	return kill, strings.TrimSpace(strings.TrimPrefix(line, "held"))
}

// What a dead process left goes, and what a living one is at stays.
func TestSweep(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	_, living := holder(t, "temp", d.Name())
	kill, dead := holder(t, "temp", d.Name())
	own := temp(t, d, "own")
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.WriteFile(outside, nil, 0o644))
	check(t, os.Symlink(outside, filepath.Join(d.Name(), prefix+"out")))
	check(t, os.WriteFile(filepath.Join(d.Name(), "other"), nil, 0o644))
	check(t, os.Symlink("other", filepath.Join(d.Name(), prefix+"in")))
	check(t, d.Mkdir(prefix+"dir"))
	kill()
	d.Sweep(".", prefix)
	for name, stays := range map[string]bool{living: true, dead: false, own.Name(): true, "other": true, prefix + "out": true, prefix + "in": true, prefix + "dir": true} {
		if _, err := d.Lstat(name); (err == nil) != stays {
			t.Errorf("%s: %v; want it to stay: %v", name, err, stays)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	check(t, own.Keep("own"))
}

func TestLocks(t *testing.T) {
	for _, tt := range []struct {
		held   string
		shared bool // whether others get a shared one then
	}{
		{"exclusive", false},
		{"shared", true},
	} {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o644))
		d := open(t, dir, nil)
		kill, _ := holder(t, tt.held, dir)
		stop, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("stop"))
		for what, lock := range map[string]func(context.Context, string) (*os.File, error){"Lock": d.Lock, "LockShared": d.LockShared} {
			f, err := lock(stop, "a")
			if want := tt.shared && what == "LockShared"; (f != nil) != want || (err == nil) != want {
				t.Errorf("%s, while it is held %s: %v; want success: %v", what, tt.held, err, want)
			} else if !want && err != context.Cause(stop) {
				t.Errorf("%s: %v; want %v", what, err, context.Cause(stop))
			}
			if f != nil {
				f.Close()
			}
		}
		for what, try := range map[string]func(string) (*os.File, error){"TryLock": d.TryLock, "Claim": d.Claim} {
			if f, err := try("a"); f != nil || err != nil {
				t.Errorf("%s, while it is held %s = %v, %v; want nil", what, tt.held, f, err)
			}
		}
		got := make(chan error)
		go func() { // it waits for the process to end
			f, err := d.Lock(context.Background(), "a")
			f.Close()
			got <- err
		}()
		kill()
		check(t, <-got)
		f, err := d.TryLock("a")
		if f == nil || err != nil {
			t.Errorf("TryLock when nobody has it = %v, %v", f, err)
		}
		f.Close()
	}
}

// Directories are locked too, and what is not there cannot be.
func TestLockDir(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	f, err := d.Lock(t.Context(), ".")
	check(t, err)
	if g, err := d.TryLock("."); g != nil || err != nil {
		t.Errorf("a second lock = %v, %v; want nil", g, err)
	}
	f.Close()
	if _, err := d.Lock(t.Context(), "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lock of nothing: %v; want %v", err, os.ErrNotExist)
	}
	if f, err := d.TryLock("none"); f != nil || err != nil {
		t.Errorf("TryLock of nothing = %v, %v; want nil", f, err)
	}
}

// A lock on a file that has lost its name while we waited protects nothing.
func TestLockOfReplacedFile(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	check(t, temp(t, d, "1").Keep("a"))
	held, err := d.Lock(t.Context(), "a")
	check(t, err)
	got := make(chan string)
	go func() {
		f, err := d.Lock(context.Background(), "a")
		if err != nil {
			t.Error(err)
		}
		defer f.Close()
		b, _ := io.ReadAll(f)
		got <- string(b)
	}()
	check(t, temp(t, d, "2").Keep("a"))
	held.Close()
	if s := <-got; s != "2" {
		t.Errorf("locked the file with %q; want the new one", s)
	}
}

// Where there are no locks one can write, but nothing tells who is dead: a
// living writer's file must not be swept away.
func TestNoLocks(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.ENOTSUP, unix.ENOSYS, unix.ENOLCK} {
		d := open(t, t.TempDir(), nil)
		d.flock = func(int, int) error { return errno }
		living := temp(t, d, "1")
		d.Sweep(".", prefix)
		check(t, living.Keep("a"))
		holds(t, d, "a:1")
		for what, lock := range map[string]func(context.Context, string) (*os.File, error){"Lock": d.Lock, "LockShared": d.LockShared} {
			f, err := lock(t.Context(), "a")
			if err != nil {
				t.Errorf("%v: %s: %v", errno, what, err)
			}
			f.Close()
		}
		if f, err := d.TryLock("a"); f != nil || err != nil {
			t.Errorf("%v: TryLock = %v, %v; want nil: nobody can tell", errno, f, err)
		}
		if f, err := d.Exclude(t.Context(), "a", nil); f != nil || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v: Exclude = %v, %v; want %v: nobody can tell", errno, f, err, errors.ErrUnsupported)
		}
		f, err := d.Claim("a")
		if f == nil || err != nil {
			t.Errorf("%v: Claim = %v, %v; want the file", errno, f, err)
		}
		f.Close()
	}
}

// Who waits for others is told so, once.
func TestExclude(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	check(t, temp(t, d, "1").Keep("a"))
	held, err := d.LockShared(t.Context(), "a")
	check(t, err)
	waits := 0
	f, err := d.Exclude(t.Context(), "a", func() { waits++; go held.Close() })
	check(t, err)
	defer f.Close()
	if other, err := d.TryLock("a"); other != nil || err != nil || waits != 1 {
		t.Errorf("TryLock = %v, %v; Exclude waited %d times; want nil, and 1", other, err, waits)
	}
}

// An error is no answer, and a signal no error.
func TestLockErrors(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	check(t, temp(t, d, "1").Keep("a"))
	d.flock = func(int, int) error { return unix.EIO }
	if _, err := d.Temp(".", prefix); !errors.Is(err, unix.EIO) {
		t.Errorf("Temp: %v; want %v", err, unix.EIO)
	}
	if _, err := d.Lock(t.Context(), "a"); !errors.Is(err, unix.EIO) {
		t.Errorf("Lock: %v; want %v", err, unix.EIO)
	}
	if f, err := d.TryLock("a"); f != nil || !errors.Is(err, unix.EIO) {
		t.Errorf("TryLock = %v, %v; want %v", f, err, unix.EIO)
	}
	holds(t, d, "a:1")
	n := 0
	d.flock = func(fd, how int) error {
		if n++; n < 3 {
			return unix.EINTR
		}
		return unix.Flock(fd, how)
	}
	f, err := d.Lock(t.Context(), "a")
	check(t, err)
	f.Close()
}

// A file that was swept away before it was locked is nobody's: another is made.
func TestTempSwept(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	swept := 0
	d.flock = func(fd, how int) error {
		if swept++; swept < 3 {
			names, err := d.Names(".")
			return errors.Join(err, d.Remove(names[0]))
		}
		return unix.Flock(fd, how)
	}
	check(t, temp(t, d, "1").Keep("a"))
	holds(t, d, "a:1")
}

// Waiting ends with the context, whenever that is.
func TestLockCancelled(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	held, err := d.Lock(t.Context(), ".")
	check(t, err)
	defer held.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Lock(ctx, "."); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock = %v; want %v", err, context.DeadlineExceeded)
	}
}
