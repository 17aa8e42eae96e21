package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Some file systems have no locks: flock says ENOTSUP, ENOSYS or ENOLCK there.
// One rule holds for all that is locked here:
//
//   - Lock, LockShared, Claim and Temp go on without one. To refuse would keep
//     everybody from writing there, for the sake of two that do it in the same
//     moment. These two are then as safe as with programs that never lock:
//     every file is whole under its name, but of two changes to one document
//     the later may undo the earlier.
//   - TryLock, Exclude and Sweep do nothing without one. What they are for is to
//     remove or take over what a dead writer left, or what nobody uses, and
//     nothing tells it from what a living one is at.

// An outcome is what came of an attempt to lock.
type outcome int

const (
	locked  outcome = iota
	taken           // by somebody else
	unknown         // no locks here
)

func (o outcome) sure() bool { return o == locked }
func (o outcome) free() bool { return o != taken }

// try locks f if that is possible at once.
func (d *Dir) try(f *os.File, how int) (outcome, error) {
	for {
		err := d.flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return locked, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return taken, nil
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.ENOLCK):
			return unknown, nil
		case !errors.Is(err, unix.EINTR):
			return unknown, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// Lock locks the file or directory of that name for nobody else, as soon as
// others allow it or with the error of ctx. Closing the file ends the lock.
func (d *Dir) Lock(ctx context.Context, name string) (*os.File, error) {
	return d.lock(ctx, name, unix.LOCK_EX, outcome.free, nil)
}

// LockShared is Lock, together with others that call it.
func (d *Dir) LockShared(ctx context.Context, name string) (*os.File, error) {
	return d.lock(ctx, name, unix.LOCK_SH, outcome.free, nil)
}

// Exclude is Lock for whoever is about to remove what others may rely on: an
// error that wraps errors.ErrUnsupported if nobody can tell who does. Before it
// waits it calls wait, unless that is nil.
func (d *Dir) Exclude(ctx context.Context, name string, wait func()) (*os.File, error) {
	return d.lock(ctx, name, unix.LOCK_EX, outcome.sure, wait)
}

func (d *Dir) lock(ctx context.Context, name string, how int, enough func(outcome) bool, waits func()) (*os.File, error) {
	for {
		f, err := d.openLock(name)
		if err != nil {
			return nil, err
		}
		got, err := d.wait(ctx, f, how, waits)
		if err == nil && !enough(got) {
			err = fmt.Errorf("lock %s: %w", f.Name(), errors.ErrUnsupported)
		}
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

func (d *Dir) wait(ctx context.Context, f *os.File, how int, waits func()) (outcome, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 32*time.Millisecond) {
		got, err := d.try(f, how)
		if got != taken || err != nil {
			return got, err
		}
		if waits != nil {
			waits()
			waits = nil
		}
		select {
		case <-ctx.Done():
			return got, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// TryLock is Lock without waiting; nil if somebody has a lock, the name is
// gone, or nobody can tell.
func (d *Dir) TryLock(name string) (*os.File, error) {
	return d.now(name, outcome.sure)
}

// Claim locks what the caller has just made; nil if somebody found it before
// it was locked, and has it or removed it.
func (d *Dir) Claim(name string) (*os.File, error) {
	return d.now(name, outcome.free)
}

func (d *Dir) now(name string, enough func(outcome) bool) (*os.File, error) {
	f, err := d.openLock(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ok, err := d.take(f, name, enough)
	if !ok {
		f.Close()
		return nil, err
	}
	return f, nil
}

// take locks f, unless somebody else has, and reports whether that came to
// enough and the name is still that of f.
func (d *Dir) take(f *os.File, name string, enough func(outcome) bool) (bool, error) {
	got, err := d.try(f, unix.LOCK_EX)
	return err == nil && enough(got) && d.isStill(f, name), err
}

// openLock opens a file or directory to lock it: for writing where that is
// allowed, because NFS knows no other exclusive locks.
func (d *Dir) openLock(name string) (*os.File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		f, err = d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	return f, d.whole(err)
}

// isStill reports whether the name is still that of f.
func (d *Dir) isStill(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := d.root.Stat(name)
	return err == nil && os.SameFile(a, b)
}
