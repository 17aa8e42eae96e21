package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const prefix = ".tmp-"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a directory for the length of a test.
func open(t *testing.T, path string, s Step) *Dir {
	t.Helper()
	d, err := Open(path, s)
	check(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// temp makes a file that holds text.
func temp(t *testing.T, d *Dir, text string) *Temp {
	t.Helper()
	f, err := d.Temp(".", prefix)
	check(t, err)
	_, err = f.WriteAt([]byte(text), 0)
	check(t, err)
	return f
}

// holds fails unless the directory has these files, each holding its name or,
// after a colon, something else; and none besides.
func holds(t *testing.T, d *Dir, want ...string) {
	t.Helper()
	names, err := d.Names(".")
	check(t, err)
	for i, name := range names {
		b, err := os.ReadFile(filepath.Join(d.Name(), name))
		check(t, err)
		names[i] += ":" + string(b)
	}
	if !slices.Equal(names, want) {
		t.Errorf("there are %q; want %q", names, want)
	}
}

func TestKeep(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	f := temp(t, d, "1")
	if !strings.HasPrefix(f.Name(), prefix) {
		t.Errorf("the name is %q; want it to begin with %q", f.Name(), prefix)
	}
	holds(t, d, f.Name()+":1")
	check(t, f.Keep("a"))
	f.Drop() // so that it can be deferred
	holds(t, d, "a:1")

	check(t, temp(t, d, "2").Keep("a"))
	holds(t, d, "a:2")

	temp(t, d, "3").Drop()
	holds(t, d, "a:2")

	if err := temp(t, d, "3").Keep("no/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Keep in a directory that is not there: %v; want %v", err, fs.ErrNotExist)
	}
	holds(t, d, "a:2")
}

// Whoever comes second must learn it, and not take the first one's place: there
// may be locks on that.
func TestKeepNew(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	check(t, temp(t, d, "1").KeepNew("a"))
	if err := temp(t, d, "2").KeepNew("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("KeepNew of a name that is there: %v; want %v", err, fs.ErrExist)
	}
	holds(t, d, "a:1")

	none := open(t, d.Name(), func(op, _ string) error {
		if op == "link" {
			return syscall.EPERM
		}
		return nil
	})
	check(t, temp(t, none, "3").KeepNew("b"))
	holds(t, d, "a:1", "b:3")
}

// Who opens a file of secrets while it is still open to all can read what comes
// later: not even for a moment may it be.
func TestTempMode(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	for _, want := range []fs.FileMode{0o600, 0o644} {
		d := open(t, dir, func(op, name string) error {
			info, err := os.Stat(filepath.Join(dir, name))
			if op != "create" && op != "remove" && op != "rename" && (err != nil || info.Mode().Perm() != want) {
				t.Errorf("before %s: %v, %v; want %v", op, info, err, want)
			}
			return nil
		})
		f, err := d.TempMode(".", prefix, want)
		check(t, err)
		_, err = f.WriteAt([]byte("1"), 0)
		check(t, err)
		check(t, f.Keep("a"))
		if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode().Perm() != want {
			t.Errorf("the file is %v, %v; want %v", info, err, want)
		}
	}
}

// A name may only be given to what is on the disk. Syncing twice costs time
// while others wait, so it is not done.
func TestSyncBeforeName(t *testing.T) {
	for _, tt := range []struct {
		what string
		do   func(*Temp) error
		want string
	}{
		{"write", func(*Temp) error { return nil }, "create write sync rename"},
		{"sync early", (*Temp).Sync, "create write sync rename"},
		{"write behind sync", func(f *Temp) error {
			_, err := f.At(9).Write([]byte("x"))
			return errors.Join(f.Sync(), err)
		}, "create write write sync rename"},
		{"sync, truncate", func(f *Temp) error { return errors.Join(f.Sync(), f.Truncate(0)) }, "create write sync truncate sync rename"},
		{"sync, chown", func(f *Temp) error { return errors.Join(f.Sync(), f.Chown(os.Geteuid(), os.Getegid())) }, "create write sync chown sync rename"},
		{"sync, chmod", func(f *Temp) error { return errors.Join(f.Sync(), f.Chmod(0o600)) }, "create write sync chmod sync rename"},
	} {
		var log []string
		d := open(t, t.TempDir(), func(op, _ string) error { log = append(log, op); return nil })
		f := temp(t, d, "1")
		check(t, tt.do(f))
		check(t, f.Keep("a"))
		if got := strings.Join(log, " "); got != tt.want {
			t.Errorf("%s: steps are %q; want %q", tt.what, got, tt.want)
		}
	}
}

// Whatever fails, there is the old file or the new one, and nothing else that
// the next writer does not sweep away.
func TestFailAtEachStep(t *testing.T) {
	for _, forever := range []bool{false, true} {
		for n, done := 1, false; !done; n++ {
			dir, at := t.TempDir(), 0
			check(t, os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o644))
			d := open(t, dir, func(string, string) error {
				if at++; at == n || forever && at > n {
					return syscall.ENOSPC
				}
				return nil
			})
			err := replace(d)
			done = at < n
			if done != (err == nil) || !done && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("step %d fails: %v", n, err)
			}
			again := open(t, dir, nil)
			again.Sweep(".", prefix)
			if b, _ := os.ReadFile(filepath.Join(dir, "a")); done || string(b) == "new" {
				holds(t, again, "a:new")
			} else {
				holds(t, again, "a:old")
			}
		}
	}
}

func replace(d *Dir) error {
	f, err := d.Temp(".", prefix)
	if err != nil {
		return err
	}
	defer f.Drop()
	for i, s := range []string{"n", "e", "w"} {
		if _, err := f.WriteAt([]byte(s), int64(i)); err != nil {
			return err
		}
	}
	if err := f.Keep("a"); err != nil {
		return err
	}
	return d.Sync(".")
}

// Parts are written in any order, each in pieces of any size.
func TestAt(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	f := temp(t, d, "")
	part := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	for _, i := range []int64{1, 0} {
		w := f.At(i * int64(len(part)))
		for rest := part; len(rest) > 0; {
			n := min(len(rest), 1<<12+1)
			_, err := w.Write(rest[:n])
			check(t, err)
			rest = rest[n:]
		}
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil || !bytes.Equal(b, append(part, part...)) {
		t.Errorf("read %d bytes, %v; want the %d that were written", len(b), err, 2*len(part))
	}
	f.Drop()
}

// What nobody is to see must not be there when the process dies.
func TestScratch(t *testing.T) {
	d := open(t, t.TempDir(), nil)
	f, err := d.Scratch(".", prefix)
	check(t, err)
	defer f.Close()
	holds(t, d)
	_, err = f.WriteAt([]byte("abc"), 0)
	check(t, err)
	if b, err := io.ReadAll(f); string(b) != "abc" || err != nil {
		t.Errorf("read %q, %v; want what was written", b, err)
	}
}

func TestMake(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "x")
	if _, err := Open(path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing: %v; want %v", err, fs.ErrNotExist)
	}
	if _, err := Make(filepath.Join(path, "y"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Make below nothing: %v; want %v", err, fs.ErrNotExist)
	}
	var log []string
	step := func(op, name string) error { log = append(log, op+" "+name); return nil }
	for range 2 { // the second one finds it
		d, err := Make(path, step)
		check(t, err)
		check(t, d.Close())
	}
	if want := []string{"mkdir " + path, "sync " + base}; !slices.Equal(log, want) {
		t.Errorf("steps are %q; want %q", log, want)
	}
	check(t, os.WriteFile(filepath.Join(path, "a"), nil, 0o644))
	check(t, Unmake(path, nil))
	if _, err := os.Stat(filepath.Join(path, "a")); err != nil {
		t.Errorf("Unmake of a directory that is in use: %v", err)
	}
	check(t, os.Remove(filepath.Join(path, "a")))
	check(t, Unmake(path, nil))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Unmake left the directory: %v", err)
	}
}

// Only a regular file inside is read, and a pipe without a writer is no reason
// to wait.
func TestOpenFile(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(outside, []byte("x"), 0o644))
	dir := t.TempDir()
	d := open(t, dir, nil)
	check(t, os.WriteFile(filepath.Join(dir, "file"), []byte("abc"), 0o644))
	check(t, os.Symlink("file", filepath.Join(dir, "inside")))
	check(t, os.Symlink(outside, filepath.Join(dir, "out")))
	check(t, d.Mkdir("dir"))
	check(t, d.Mkdir("dir")) // it may be there
	check(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	for name, ok := range map[string]bool{"file": true, "inside": true, "out": false, "dir": false, "pipe": false, "none": false, "../x": false} {
		f, size, err := d.Open(name)
		if (err == nil) != ok || ok && size != 3 {
			t.Errorf("Open(%q) = %d bytes, %v; want success: %v", name, size, err, ok)
		}
		if err == nil {
			f.Close()
		} else if !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("Open(%q): %v; want the whole path in it", name, err)
		}
	}
	if names, err := d.Names("none"); names != nil || err != nil {
		t.Errorf("Names of nothing = %q, %v; want none", names, err)
	}
}

// A pipe in the place of a directory must not make anybody wait.
func TestPipeForDirectory(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	check(t, syscall.Mkfifo(pipe, 0o644))
	d := open(t, dir, nil)
	for what, f := range map[string]func() error{
		"Open":  func() error { _, err := Open(pipe, nil); return err },
		"Make":  func() error { _, err := Make(pipe, nil); return err },
		"Sub":   func() error { _, err := d.Sub("pipe"); return err },
		"Names": func() error { _, err := d.Names("pipe"); return err },
		"Sync":  func() error { return d.Sync("pipe") },
	} {
		done := make(chan error, 1)
		go func() { done <- f() }()
		var err error
		select {
		case err = <-done:
		case <-time.After(5 * time.Second): // far more than it takes
			t.Errorf("%s waits for a writer of the pipe", what)
			w, _ := os.OpenFile(pipe, os.O_RDWR, 0)
			err = <-done
			w.Close()
		}
		if err == nil {
			t.Errorf("%s of a pipe: no error", what)
		}
	}
}
