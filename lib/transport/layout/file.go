package layout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How files are changed here, so that a process may be killed, a disk be full
// and the power fail at any moment:
//
//   - A file is written under a temporary name, fsynced, and renamed; under
//     its own name it is complete or not there. The folder is fsynced before
//     anything is written that relies on the name.
//   - Whoever writes a temporary file holds a lock (flock) on it. The lock
//     ends with the process, so a temporary file without one is left over,
//     and the next writer removes it.
//   - Paths are resolved by os.Root: symbolic links do not lead out.

// A disk is a directory that is changed, by the methods below only.
type disk struct {
	*os.Root
	step step
}

// A step is called before each change of a file or directory; its error is
// taken for the change's. Nil but in tests.
type step func(op, name string) error

func (s step) at(op, name string) error {
	if s == nil {
		return nil
	}
	return s(op, name)
}

// makeDir makes the directory dir, unless it is there; the one above must be.
func makeDir(dir string, s step) (disk, error) {
	parent, err := parentOf(dir)
	if err != nil {
		return disk{}, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := s.at("mkdir", dir); err != nil {
			return disk{}, err
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return disk{}, err
		}
		f, err := os.Open(parent)
		if err != nil {
			return disk{}, err
		}
		defer f.Close()
		if err := s.sync(f, parent); err != nil {
			return disk{}, err
		}
	}
	root, err := os.OpenRoot(dir)
	return disk{root, s}, err
}

// sync makes what was done to the names in dir last.
func (d disk) sync(dir string) error {
	f, err := d.Open(dir)
	if err != nil {
		return whole(d.Root, err)
	}
	defer f.Close()
	return d.step.sync(f, dir)
}

func (s step) sync(f *os.File, name string) error {
	if err := s.at("sync", name); err != nil {
		return err
	}
	return f.Sync()
}

// Mkdir makes a directory, unless it is there.
func (d disk) Mkdir(name string) error {
	if _, err := d.Stat(name); err == nil {
		return nil
	}
	if err := d.step.at("mkdir", name); err != nil {
		return err
	}
	err := d.Root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return whole(d.Root, err)
}

func (d disk) Rename(from, to string) error {
	if err := d.step.at("rename", to); err != nil {
		return err
	}
	return whole(d.Root, d.Root.Rename(from, to))
}

func (d disk) Link(from, to string) error {
	if err := d.step.at("link", to); err != nil {
		return err
	}
	return whole(d.Root, d.Root.Link(from, to))
}

func (d disk) Remove(name string) error {
	if err := d.step.at("remove", name); err != nil {
		return err
	}
	return whole(d.Root, d.Root.Remove(name))
}

// names lists dir, in order; nothing if it is not there.
func (d disk) names(dir string) ([]string, error) {
	f, err := d.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, whole(d.Root, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

const (
	tempPrefix  = ".img-tmp-"   // files
	stagePrefix = ".img-stage-" // directories
)

// A temp is a file that is being written, locked.
type temp struct {
	disk disk
	name string
	file *os.File
}

// temp makes a temporary file in dir. Either keep or drop ends it.
func (d disk) temp(dir string) (*temp, error) {
	for {
		name := path.Join(dir, tempPrefix+rand.Text())
		if err := d.step.at("create", name); err != nil {
			return nil, err
		}
		f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return nil, whole(d.Root, err)
		}
		ok, err := d.take(f, name)
		if ok {
			return &temp{d, name, f}, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		// Somebody swept it away before it was locked.
	}
}

func (t *temp) Write(p []byte) (int, error) {
	if err := t.disk.step.at("write", t.name); err != nil {
		n, _ := t.file.Write(p[:len(p)/2]) // as a full disk does
		return n, err
	}
	return t.file.Write(p)
}

// keep gives the file its name once it is on the disk. On error nothing is
// left of it.
func (t *temp) keep(name string) error {
	err := t.disk.step.sync(t.file, t.name)
	if err == nil {
		err = t.disk.Rename(t.name, name)
	}
	if err != nil {
		t.drop()
		return err
	}
	return t.file.Close()
}

// drop removes the file. If that fails the next writer does it.
func (t *temp) drop() {
	t.disk.Remove(t.name)
	t.file.Close()
}

// take locks f, which nobody else does for longer than a look, and reports
// whether it is ours and still has its name.
func (d disk) take(f *os.File, name string) (bool, error) {
	ok, err := tryLock(f, unix.LOCK_EX)
	if !ok {
		return false, err
	}
	return d.isStill(f, name), nil
}

// isStill reports whether the name is still that of f.
func (d disk) isStill(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := d.Stat(name)
	return err == nil && os.SameFile(a, b)
}

// sweep removes the temporary files in dir whose writers are gone, as far as
// it can: they are in nobody's way.
func (d disk) sweep(dir string) {
	names, _ := d.names(dir)
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		name = path.Join(dir, name)
		f, err := d.openLock(name)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if ok, _ := d.take(f, name); ok && err == nil && info.Mode().IsRegular() {
			d.Remove(name)
		}
		f.Close()
	}
}

// openLock opens a file or directory to lock it: for writing where that is
// allowed, because NFS knows no other exclusive locks.
func (d disk) openLock(name string) (*os.File, error) {
	f, err := d.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		f, err = d.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	return f, whole(d.Root, err)
}

// lock locks the file or directory of that name, shared or exclusive, as soon
// as others allow it. Closing it ends the lock.
func (d disk) lock(ctx context.Context, name string, how int) (*os.File, error) {
	for {
		f, err := d.openLock(name)
		if err != nil {
			return nil, err
		}
		err = waitLock(ctx, f, how)
		if err == nil && d.isStill(f, name) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		// A program that does not lock has put another file in its place.
	}
}

func waitLock(ctx context.Context, f *os.File, how int) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 32*time.Millisecond) {
		ok, err := tryLock(f, how)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func tryLock(f *os.File, how int) (bool, error) {
	for {
		switch err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err {
		case nil:
			return true, nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return false, nil
		default:
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

const flushEvery = 4 << 20 // bytes

// A flusher has the disk begin with what is written while more is coming, so
// that the fsync at the end finds little left to do.
type flusher struct {
	*temp
	n, begun int64
}

func (w *flusher) Write(p []byte) (int, error) {
	n, err := w.temp.Write(p)
	w.n += int64(n)
	if w.n-w.begun >= flushEvery {
		startWriteback(w.file, w.begun, w.n-w.begun)
		w.begun = w.n
	}
	return n, err
}
