package archive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How a file is changed here, so that a process may be killed, a disk be full
// and the power fail at any moment:
//
//   - The new archive is written beside the old one, under a hidden name,
//     fsynced, and renamed; then the directory is fsynced.
//   - Whoever writes such a file holds a lock (flock) on it. The lock ends
//     with the process, so one without it is left over, and the next writer
//     of the same archive removes it.
//   - Between the last look at the old archive and the rename, the directory
//     is locked, so that no other writer's image is lost.

// A temp is a file that is being written, locked.
type temp struct {
	*os.File
}

// tempPrefix begins the names of such files. It is short enough for what
// follows; archives that have it in common do no harm to each other.
func tempPrefix(target string) string {
	name := filepath.Base(target)
	return "." + name[:min(len(name), 100)] + ".img-"
}

// newTemp makes a file beside target, and removes those that others left.
func newTemp(target string) (*temp, error) {
	sweep(target)
	for {
		name := filepath.Join(filepath.Dir(target), tempPrefix(target)+rand.Text())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return nil, err
		}
		if ok, err := tryLock(f); !ok || err != nil || !isStill(f, name) {
			os.Remove(name)
			f.Close()
			if err != nil {
				return nil, err
			}
			continue // somebody swept it away before it was locked
		}
		return &temp{f}, nil
	}
}

// drop removes the file. If that fails the next writer does it.
func (t *temp) drop() {
	os.Remove(t.Name())
	t.Close()
}

// sweep removes the files beside target whose writers are gone. What cannot be
// removed stays: it is in nobody's way.
func sweep(target string) {
	entries, err := os.ReadDir(filepath.Dir(target))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix(target)) || !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(filepath.Dir(target), e.Name())
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if ok, err := tryLock(f); ok && err == nil && isStill(f, name) {
			os.Remove(name)
		}
		f.Close()
	}
}

// isStill reports whether the name is still that of f.
func isStill(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(name)
	return err == nil && os.SameFile(a, b)
}

// lockFolder locks a directory as soon as others allow it. Closing it ends the
// lock.
func lockFolder(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 32*time.Millisecond) {
		ok, err := tryLock(f)
		if ok {
			return f, nil
		}
		if err == nil {
			select {
			case <-ctx.Done():
				err = context.Cause(ctx)
			case <-time.After(wait):
				continue
			}
		}
		f.Close()
		return nil, err
	}
}

// tryLock locks f for nobody else, if that is possible at once. Where a file
// system has no locks it reports success: there is nobody to lock out.
func tryLock(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil, errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOLCK):
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// A state is what a name stood for at some moment.
type state struct{ info fs.FileInfo } // nil for nothing

func stateOf(path string) (state, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	return state{info}, err
}

// same reports whether the name stands for what it stood for then.
func (s state) same(now state) bool {
	if s.info == nil || now.info == nil {
		return s.info == nil && now.info == nil
	}
	return os.SameFile(s.info, now.info) && s.info.Size() == now.info.Size() && s.info.ModTime().Equal(now.info.ModTime())
}
