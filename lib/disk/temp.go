package disk

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Temp is a file that is being written, locked. Keep, KeepNew or Drop ends
// it. Parts that do not overlap may be written at a time.
type Temp struct {
	dir   *Dir
	name  string
	file  *os.File
	dirty atomic.Bool // something is not known to be on the disk
	ended bool
}

// Temp makes a file in the directory dir of d, whose name begins with prefix.
// It has the permissions 0644, less the umask.
func (d *Dir) Temp(dir, prefix string) (*Temp, error) {
	return d.TempMode(dir, prefix, 0o644)
}

// TempMode is Temp with other permissions. The file has them from its first
// moment on: whoever could open it once could read all that is written later.
func (d *Dir) TempMode(dir, prefix string, mode fs.FileMode) (*Temp, error) {
	for {
		name := path.Join(dir, prefix+rand.Text())
		if err := d.step.at("create", name); err != nil {
			return nil, err
		}
		f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return nil, d.whole(err)
		}
		ok, err := d.take(f, name, outcome.free)
		if ok {
			t := &Temp{dir: d, name: name, file: f}
			t.dirty.Store(true)
			return t, nil
		}
		if err != nil {
			d.Remove(name)
			f.Close()
			return nil, err
		}
		f.Close() // somebody swept it away before it was locked
	}
}

// Scratch makes a file to write to and read, as Temp does, that has no name
// any more: it ends when it is closed.
func (d *Dir) Scratch(dir, prefix string) (*os.File, error) {
	t, err := d.Temp(dir, prefix)
	if err != nil {
		return nil, err
	}
	if err := d.Remove(t.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.file.Close()
		return nil, err
	}
	return t.file, nil
}

// Name returns the name that the file has in its Dir while it is written.
func (t *Temp) Name() string { return t.name }

// ReadAt implements io.ReaderAt.
func (t *Temp) ReadAt(p []byte, offset int64) (int, error) { return t.file.ReadAt(p, offset) }

// WriteAt implements io.WriterAt.
func (t *Temp) WriteAt(p []byte, offset int64) (int, error) {
	t.dirty.Store(true)
	if err := t.dir.step.at("write", t.name); err != nil {
		n, _ := t.file.WriteAt(p[:len(p)/2], offset) // as a full disk does
		return n, err
	}
	return t.file.WriteAt(p, offset)
}

// Truncate gives the file a size, in bytes.
func (t *Temp) Truncate(size int64) error {
	t.dirty.Store(true)
	if err := t.dir.step.at("truncate", t.name); err != nil {
		return err
	}
	return t.file.Truncate(size)
}

// Chmod changes the permissions.
func (t *Temp) Chmod(mode fs.FileMode) error {
	t.dirty.Store(true)
	if err := t.dir.step.at("chmod", t.name); err != nil {
		return err
	}
	return t.file.Chmod(mode)
}

// Chown changes the owner, as os.Chown does: only root may give files away.
func (t *Temp) Chown(uid, gid int) error {
	t.dirty.Store(true)
	if err := t.dir.step.at("chown", t.name); err != nil {
		return err
	}
	return t.file.Chown(uid, gid)
}

// Sync makes what was written last. Keep does it too, if it has not been done:
// before it is for whoever must not be slow at that moment.
func (t *Temp) Sync() error {
	t.dirty.Store(false)
	err := t.dir.step.sync(t.file, t.name)
	if err != nil {
		t.dirty.Store(true)
	}
	return err
}

// Keep gives the file its name once it is on the disk, in the place of what
// has that name. On error nothing is left of it. For the name to last too,
// Dir.Sync is to be called.
func (t *Temp) Keep(name string) error {
	return t.end(func() error { return t.dir.Rename(t.name, name) })
}

// KeepNew is Keep, but never takes the place of another: the error then wraps
// fs.ErrExist. Only where a file system has no hard links it does.
func (t *Temp) KeepNew(name string) error {
	return t.end(func() error {
		err := t.dir.Link(t.name, name)
		switch {
		case err == nil:
			t.dir.Remove(t.name) // if that fails the next writer does it
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.EPERM):
			return t.dir.Rename(t.name, name)
		}
		return err
	})
}

func (t *Temp) end(rename func() error) error {
	var err error
	if t.dirty.Load() {
		err = t.Sync()
	}
	if err == nil {
		err = rename()
	}
	if err != nil {
		t.Drop()
		return err
	}
	t.ended = true
	return t.file.Close()
}

// Drop removes the file, unless it was ended before. If that fails the next
// writer does it.
func (t *Temp) Drop() {
	if t.ended {
		return
	}
	t.ended = true
	t.dir.Remove(t.name)
	t.file.Close()
}

// At returns a writer of the part that begins at offset.
func (t *Temp) At(offset int64) io.Writer { return io.NewOffsetWriter(t, offset) }

// Sweep removes the regular files in the directory dir of d that have a name
// of Temp's and whose writers are gone, as far as it can: they are in nobody's
// way. Where there are no locks nobody knows who is gone, and all stay.
func (d *Dir) Sweep(dir, prefix string) {
	names, _ := d.Names(dir)
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		name = path.Join(dir, name)
		if info, err := d.root.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if f, _ := d.TryLock(name); f != nil {
			d.Remove(name)
			f.Close()
		}
	}
}
