package skopeo

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// A password that is typed is not shown; the prompts are on standard output.
func TestPrompt(t *testing.T) {
	alone(t)
	s := guarded(t, registrytest.Basic)
	user, tty := terminal(t)
	if _, err := user.WriteString("alice\n"); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string, 1)
	go func() { // the password comes when the terminal hides it
		var b [1024]byte
		fd := int(tty.Fd())
		for t.Context().Err() == nil {
			state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
			if err != nil || state.Lflag&unix.ECHO == 0 {
				break
			}
			runtime.Gosched()
		}
		user.WriteString(secret + "\n")
		n, _ := user.Read(b[:])
		shown <- string(b[:n])
	}()
	var out, errs bytes.Buffer
	code := Run(t.Context(), &cli.IO{In: tty, Out: &out, Err: &errs}, []string{"login", "--tls-verify=false", s.Addr})
	if code != 0 || out.String() != "Username: Password: \nLogin Succeeded!\n" {
		t.Fatalf("exit %d, %q, %s", code, &out, &errs)
	}
	if got := <-shown; strings.Contains(got, secret) {
		t.Errorf("the terminal shows %q", got)
	}
}

// terminal returns both sides of a terminal: the user's, and a program's.
func terminal(t *testing.T) (user, tty *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return user, tty
}
