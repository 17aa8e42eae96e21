package auth

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A number that is no file of the user's, but one of the runtime's own, must
// not be read: that would wait for ever, or break what it is for.
func TestFromFDOfRuntime(t *testing.T) {
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(poll)
	if _, err := FromFD(t.Context(), poll); !errors.Is(err, syscall.EBADF) {
		t.Errorf("FromFD(%d) = %v; want %v", poll, err, syscall.EBADF)
	}
}

// What is started meanwhile must not read the secret, or keep the pipe open.
func TestFDIsNotInherited(t *testing.T) {
	fd := pipe(t, "a:b")
	if _, err := (Explicit{FD: &fd}).Lookup(nil); err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the flags of file descriptor %d are %#x, %v; want FD_CLOEXEC", fd, flags, err)
	}
}
