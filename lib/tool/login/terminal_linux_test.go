package login

import (
	"bytes"
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

	"golang.org/x/sys/unix"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/transport"
)

// childEnv makes this program, started anew, an img-login at a registry that
// takes everything.
const childEnv = "LOGIN_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		take := func(context.Context, string, *transport.Access) error { return nil }
		cli.Main(login(take, terminal))
	}
	os.Exit(m.Run())
}

// A pty is a terminal with a program at it.
type pty struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	shown  bytes.Buffer
}

// start starts img-login with a terminal of its own, which none of its standard
// streams leads to.
func start(t *testing.T, file string) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	p := &pty{t: t, master: master, cmd: exec.Command(os.Args[0], "--authfile", file, "h.example")}
	p.cmd.Env = append(os.Environ(), childEnv+"=1", "CONTAINERS_REGISTRIES_CONF="+os.DevNull)
	p.cmd.ExtraFiles = []*os.File{slave}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// expect reads what the terminal shows up to a text.
func (p *pty) expect(text string) {
	p.t.Helper()
	var b [1]byte
	for !strings.HasSuffix(p.shown.String(), text) {
		if _, err := p.master.Read(b[:]); err != nil {
			p.t.Fatalf("the terminal shows %q, then %v; want %q", p.shown.String(), err, text)
		}
		p.shown.WriteByte(b[0])
	}
}

func (p *pty) typed(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// echoes reports whether the terminal shows what is typed.
func (p *pty) echoes() bool {
	p.t.Helper()
	term, err := unix.IoctlGetTermios(int(p.master.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return term.Lflag&unix.ECHO != 0
}

// The password must not show from the moment that the prompt stands there.
func TestTerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.json")
	p := start(t, file)
	p.expect("Username: ")
	p.typed("alice\n")
	p.expect("Password: ")
	if p.echoes() {
		t.Error("the terminal shows what is typed for a password")
	}
	p.typed(secret + "\n")
	p.expect("Password: \r\n")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("img-login: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"auth": "YWxpY2U6SHVudGVyMi1TM2NyZXQ="`) {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if strings.Contains(p.shown.String(), secret) {
		t.Errorf("the terminal shows the password: %q", p.shown.String())
	}
}

// A terminal that stays silent after ^C is useless to whoever sits there.
func TestTerminalInterrupted(t *testing.T) {
	p := start(t, filepath.Join(t.TempDir(), "auth.json"))
	p.expect("Username: ")
	p.typed("alice\n")
	p.expect("Password: ")
	p.typed("half a pass\x03")
	err := p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGINT) {
		t.Errorf("img-login: %v, exit %d; want %d", err, code, 128+int(syscall.SIGINT))
	}
	if !p.echoes() {
		t.Error("the terminal does not show what is typed any more")
	}
}

// Whoever gives up, or is given up on, waits for no line that nobody types.
func TestConverseEnds(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	var out strings.Builder
	if line, err := Converse(ctx, r, &out, nil, "Username: "); err != stop || line != "" || out.String() != "Username: " {
		t.Errorf("Converse() = %q, %v with %q; want %v", line, err, out.String(), stop)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := Converse(t.Context(), strings.NewReader(secret+"\n"), &out, file, ""); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("Converse() with what is no terminal = %v; want %v", err, syscall.ENOTTY)
	}
}

func TestReadLine(t *testing.T) {
	for _, tt := range []struct{ in, want, err string }{
		{"a b\nc", "a b", ""},
		{"a\r\n", "a", ""},
		{"\n", "", ""},
		{"a", "", "EOF"}, // half a password would only be refused
		{"", "", "EOF"},
		{strings.Repeat("x", maxLine+1) + "\n", "", "short buffer"},
	} {
		got, err := readLine(strings.NewReader(tt.in))
		if text := fmt.Sprint(err); got != tt.want || err != nil && text != tt.err || err == nil && tt.err != "" {
			t.Errorf("readLine(%.20q) = %q, %v; want %q, %q", tt.in, got, err, tt.want, tt.err)
		}
	}
}
