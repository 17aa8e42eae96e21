package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/imgtools/imgtools/lib/disk"
)

// maxLinks is how many symbolic links in a row are followed to a file.
const maxLinks = 40

// update changes an auth file: change gets what the file holds and returns
// what it is to hold. Whatever happens meanwhile, there is the old file or the
// new one; of several that change it at a time none loses what another wrote.
//
// The new file is made beside the old one, for nobody but its owner (0600)
// from the first moment, and takes its place. A directory that is not there is
// made, with mode 0700.
func (s *Store) update(ctx context.Context, path string, change func(*file) (*file, error)) error {
	path, err := resolve(path)
	if err == nil {
		err = s.makeDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing auth file: %w", err)
	}
	d, err := disk.Open(filepath.Dir(path), s.step)
	if err != nil {
		return fmt.Errorf("writing auth file: %w", err)
	}
	defer d.Close()
	unlock, err := s.lock(ctx, d, "."+filepath.Base(path)+".lock")
	if err != nil {
		return fmt.Errorf("writing auth file: %w", err)
	}
	defer unlock()
	old, err := readFile(path)
	if err != nil {
		return err
	}
	changed, err := change(old)
	if err != nil || bytes.Equal(changed.data, old.data) {
		return err
	}
	if err := s.replace(d, filepath.Base(path), changed.data); err != nil {
		return fmt.Errorf("writing auth file: %w", err)
	}
	return nil
}

// resolve follows symbolic links to where an auth file really is or will be:
// many keep theirs in a repository of dotfiles, and the link is to stay. A
// link that somebody else has made is not followed, and what is no regular
// file is not replaced.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	for range maxLinks {
		if err != nil {
			return "", err
		}
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return path, nil
		case err != nil:
			return "", err
		case info.Mode().IsRegular():
			return path, nil
		case info.Mode().Type() != fs.ModeSymlink:
			return "", &fs.PathError{Op: "write", Path: path, Err: errors.New("not a regular file")}
		case !trusted(info):
			return "", &fs.PathError{Op: "write", Path: path, Err: errors.New("a symbolic link of another user")}
		}
		if path, err = follow(path); err != nil {
			return "", err
		}
	}
	return "", &fs.PathError{Op: "write", Path: path, Err: syscall.ELOOP}
}

// follow returns what one symbolic link leads to.
func follow(path string) (string, error) {
	target, err := os.Readlink(path)
	if err != nil || filepath.IsAbs(target) {
		return target, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // ".." is meant from there
	return filepath.Join(dir, target), err
}

// trusted reports whether a file is this user's own or root's.
func trusted(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}

// makeDir makes a directory, and those above it, for this user only.
func (s *Store) makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := s.makeDir(parent); err != nil {
		return err
	}
	if err := s.at("mkdir", dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := disk.Open(parent, s.step)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync(".")
}

// lock takes the lock of an auth file, which is a file beside it: the auth
// file itself may not be there, and a directory can not be locked everywhere.
// The lock file goes with the lock; one that a killed process has left is
// nobody's lock, and is used again.
func (s *Store) lock(ctx context.Context, d *disk.Dir, name string) (unlock func(), err error) {
	for {
		if err := s.at("create", name); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(d.Name(), name), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		f.Close()
		held, err := d.Lock(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // who had it has removed it
		}
		if err != nil {
			return nil, err
		}
		return func() {
			d.Remove(name) // if that fails, the next one uses it
			held.Close()
		}, nil
	}
}

// replace puts data in the place of a file.
func (s *Store) replace(d *disk.Dir, name string, data []byte) error {
	if len(data) > maxFile {
		return &fs.PathError{Op: "write", Path: filepath.Join(d.Name(), name), Err: fmt.Errorf("larger than %d bytes", maxFile)}
	}
	prefix := "." + name + ".tmp-"
	d.Sweep(".", prefix)
	t, err := d.TempMode(".", prefix, 0o600)
	if err != nil {
		return err
	}
	defer t.Drop()
	if err := keepOwner(d, t, name); err != nil {
		return err
	}
	if _, err := t.WriteAt(data, 0); err != nil {
		return err
	}
	if err := t.Keep(name); err != nil {
		return err
	}
	return d.Sync(".")
}

// keepOwner lets root leave a user's file the user's.
func keepOwner(d *disk.Dir, t *disk.Temp, name string) error {
	info, err := d.Lstat(name)
	if err != nil || os.Geteuid() != 0 {
		return nil // there is none, or the user can not give files away
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
		return t.Chown(int(stat.Uid), int(stat.Gid))
	}
	return nil
}

func (s *Store) at(op, name string) error {
	if s.step == nil {
		return nil
	}
	return s.step(op, name)
}
