// Package disk is the room of changes to files that hold whatever happens: a
// process may be killed, a disk be full and the power fail at any moment.
//
//   - A file is written under a temporary name, fsynced, and renamed; under
//     its own name it is complete or not there. The directory is fsynced
//     before anything is written that relies on the name.
//   - Whoever writes a temporary file holds a lock (flock) on it. The lock
//     ends with the process, so a temporary file without one is left over,
//     and the next writer removes it.
//   - Paths are resolved by os.Root: symbolic links do not lead out.
//
// The package imports the standard library and x/sys, and nothing of ours: it
// does not know what the files hold.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Dir is a directory that is read and changed by the methods below only.
// Names are paths in it; errors have whole paths, and wrap those of the
// operating system. Several goroutines may use it at a time.
type Dir struct {
	root  *os.Root
	step  Step
	flock func(fd, how int) error // unix.Flock but in tests
}

// A Step is called before each change of a file or directory, with what is
// done ("mkdir", "create", "write", "sync", "rename", ...) and to which name;
// its error is taken for the change's. It is for tests, which let a process
// die or a disk fail there; others give nil.
type Step func(op, name string) error

func (s Step) at(op, name string) error {
	if s == nil {
		return nil
	}
	return s(op, name)
}

func (s Step) sync(f *os.File, name string) error {
	if err := s.at("sync", name); err != nil {
		return err
	}
	return f.Sync()
}

// Open opens a directory, which must be there.
func Open(path string, s Step) (*Dir, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return nil, notDir(path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root, s, unix.Flock}, nil
}

// notDir is the error of opening what is no directory. It is looked for before
// os.OpenRoot, which would wait for the other end of a pipe.
func notDir(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
}

// Make is Open, and makes the directory if it is not there; the one above must
// be.
func Make(path string, s Step) (*Dir, error) {
	parent, err := Parent(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := s.at("mkdir", path); err != nil {
			return nil, err
		}
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		f, err := os.Open(parent)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := s.sync(f, parent); err != nil {
			return nil, err
		}
	}
	return Open(path, s)
}

// Unmake removes a directory that Make has made, unless there is something in
// it by now: others may have begun to use it.
func Unmake(path string, s Step) error {
	if err := s.at("remove", path); err != nil {
		return err
	}
	os.Remove(path)
	return nil
}

// Parent returns the directory that path is or will be in, as an absolute path
// without symbolic links. It must exist, whether or not path does.
func Parent(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(filepath.Dir(abs))
}

// Sub opens a directory in d.
func (d *Dir) Sub(name string) (*Dir, error) {
	if info, err := d.root.Stat(name); err == nil && !info.IsDir() {
		return nil, d.whole(notDir(name))
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, d.whole(err)
	}
	return &Dir{root, d.step, d.flock}, nil
}

// Name returns the path that d was opened by.
func (d *Dir) Name() string { return d.root.Name() }

// Close ends the use of d. Files of it that are open stay so.
func (d *Dir) Close() error { return d.root.Close() }

// whole returns an error of d's root with whole paths instead of those from it.
func (d *Dir) whole(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return &fs.PathError{Op: strings.TrimSuffix(e.Op, "at"), Path: filepath.Join(d.Name(), e.Path), Err: e.Err}
	case *os.LinkError:
		return &os.LinkError{Op: strings.TrimSuffix(e.Op, "at"), Old: filepath.Join(d.Name(), e.Old), New: filepath.Join(d.Name(), e.New), Err: e.Err}
	}
	return err
}

// Open opens a regular file to be read, and returns its size in bytes too.
// Anything else with that name is an error, and so is a symbolic link that
// leads out of d. A pipe does not make it wait.
func (d *Dir) Open(name string) (*os.File, int64, error) {
	f, err := d.read(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// read opens anything to be read, without waiting.
func (d *Dir) read(name string) (*os.File, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	return f, d.whole(err)
}

// Lstat is os.Lstat in d.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) {
	info, err := d.root.Lstat(name)
	return info, d.whole(err)
}

// Names lists the directory dir of d, in order; nothing if it is not there.
func (d *Dir) Names(dir string) ([]string, error) {
	f, err := d.read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Mkdir makes a directory, unless it is there.
func (d *Dir) Mkdir(name string) error {
	if _, err := d.root.Stat(name); err == nil {
		return nil
	}
	if err := d.step.at("mkdir", name); err != nil {
		return err
	}
	err := d.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return d.whole(err)
}

// Rename is os.Rename in d.
func (d *Dir) Rename(from, to string) error {
	if err := d.step.at("rename", to); err != nil {
		return err
	}
	return d.whole(d.root.Rename(from, to))
}

// Link is os.Link in d. Not every file system has links.
func (d *Dir) Link(from, to string) error {
	if err := d.step.at("link", to); err != nil {
		return err
	}
	return d.whole(d.root.Link(from, to))
}

// Remove is os.Remove in d.
func (d *Dir) Remove(name string) error {
	if err := d.step.at("remove", name); err != nil {
		return err
	}
	return d.whole(d.root.Remove(name))
}

// Sync makes what was done to the names in the directory dir of d last.
func (d *Dir) Sync(dir string) error {
	f, err := d.read(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.step.sync(f, dir)
}

// SyncFile makes the content of f last, a file of d that somebody else wrote.
func (d *Dir) SyncFile(f *os.File, name string) error { return d.step.sync(f, name) }
