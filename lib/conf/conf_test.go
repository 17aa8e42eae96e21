package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imgtools/imgtools/lib/reference"
)

// machine is a file system with a user, and nothing of the one that the tests
// run on.
type machine struct {
	*testing.T
	root  string
	env   map[string]string
	debug []string
	Finder
}

// newMachine returns one with the files: path, content, and so on. The user's
// home is /home/u.
func newMachine(t *testing.T, uid string, files ...string) *machine {
	m := &machine{T: t, root: t.TempDir(), env: map[string]string{}}
	m.env["HOME"] = m.path("/home/u")
	m.Finder = Finder{
		Env:   func(name string) string { return m.env[name] },
		Debug: func(s string) { m.debug = append(m.debug, s) },
		root:  m.root,
		uid:   uid,
	}
	for i := 0; i < len(files); i += 2 {
		m.write(files[i], files[i+1])
	}
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

func (m *machine) write(name, content string) {
	m.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(content), 0o644); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) symlink(target, name string) {
	m.Helper()
	if err := os.Symlink(target, m.path(name)); err != nil {
		m.Fatal(err)
	}
}

// strip takes the temporary directory out of a message.
func (m *machine) strip(s string) string { return strings.ReplaceAll(s, m.root, "") }

func ref(t *testing.T, s string) reference.Docker {
	t.Helper()
	d, err := reference.ParseDocker(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return d
}

// checkError wants an *Error at a line with a text; line 0 wants none.
func checkError(t *testing.T, name string, err error, line int, problem string) {
	t.Helper()
	if line == 0 {
		if err != nil {
			t.Errorf("%s: %v; want no error", name, err)
		}
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Line != line || e.Problem != problem {
		t.Errorf("%s: %v; want line %d: %s", name, err, line, problem)
	}
}

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// A configuration file that is a pipe or a device must not make a tool hang,
// and one without end must not fill the memory.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	fifo, big, exact := filepath.Join(dir, "fifo"), filepath.Join(dir, "big"), filepath.Join(dir, "exact")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, size := range map[string]int64{big: maxFile + 1, exact: maxFile} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		path string
		size int
		want string
	}{
		{fifo, 0, "read " + fifo + ": not a regular file"},
		{dir, 0, "read " + dir + ": not a regular file"},
		{"/dev/zero", 0, "read /dev/zero: not a regular file"},
		{os.DevNull, 0, ""}, // how scripts say "no file"
		{big, 0, "read " + big + ": larger than 1048576 bytes"},
		{exact, maxFile, ""},
		{filepath.Join(dir, "none"), 0, "open " + filepath.Join(dir, "none") + ": no such file or directory"},
	}
	for _, tt := range tests {
		data, err := readFile(tt.path)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != tt.want || len(data) != tt.size {
			t.Errorf("readFile(%q) = %d bytes, %v; want %d, %s", tt.path, len(data), err, tt.size, tt.want)
		}
	}
}

func TestListDir(t *testing.T) {
	m := newMachine(t, "0", "/d/b.conf", "", "/d/a.conf", "", "/d/c.yaml", "", "/d/.conf.swp", "", "/file", "")
	if err := syscall.Mkfifo(m.path("/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ dir, want string }{
		{"/d", "[a.conf b.conf]"},
		{"/none", "[]"},
		{"/file", "[]"},
		{"/file/d", "[]"},
		{"/fifo", "[]"}, // to open one waits for whoever writes to it
	} {
		names, err := listDir(m.path(tt.dir), ".conf")
		if err != nil || fmt.Sprint(names) != tt.want {
			t.Errorf("listDir(%s) = %v, %v; want %s", tt.dir, names, err, tt.want)
		}
	}
	for i := range maxFiles + 1 {
		m.write(fmt.Sprintf("/many/%d.conf", i), "")
	}
	_, err := listDir(m.path("/many"), ".conf")
	if want := "read /many: more than 1000 files named *.conf"; err == nil || m.strip(err.Error()) != want {
		t.Errorf("listDir(/many) = %v; want %s", err, want)
	}
}

// A message is read on a terminal: what a file holds may not drive it, nor
// fill it, and what is long may be a secret that got into the wrong file.
func TestMessages(t *testing.T) {
	err := error(&Error{"/a\x1b[2J", 3, "x"})
	if got, want := err.Error(), `configuration file "/a\x1b[2J", line 3: x`; got != want || !errors.Is(err, ErrMalformed) {
		t.Errorf("Error = %s; want %s, an ErrMalformed", got, want)
	}
	for _, tt := range []struct{ in, want string }{
		{"plain", "plain"},
		{`with "quotes" in it`, `with "quotes" in it`},
		{"a\x1b[2J\nb", `a\x1b[2J\nb`},
		{strings.Repeat("x", 5000), strings.Repeat("x", maxQuote) + "..."},
		{strings.Repeat("x", maxQuote-1) + "é", strings.Repeat("x", maxQuote-1) + "..."},
	} {
		if got := short(tt.in); got != tt.want {
			t.Errorf("short(%.20q) = %s; want %s", tt.in, got, tt.want)
		}
	}
}

// Without HOME the home directory is the one of the user database.
func TestHome(t *testing.T) {
	f := Finder{Env: func(string) string { return "" }, uid: "0"}
	if got := f.home(); got == "" {
		t.Error("home of user 0 without $HOME is empty")
	}
	f.uid = "4294967290"
	if got := f.homeFile("x"); got != "" {
		t.Errorf("home of a user that is not there = %q; want none", got)
	}
}

func TestCertDir(t *testing.T) {
	const user, etc, docker = "/home/u/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"
	m := newMachine(t, "1000",
		user+"/a.example/x.crt", "", etc+"/a.example/x.crt", "", docker+"/a.example/x.crt", "",
		etc+"/b.example:5000/x.crt", "", docker+"/b.example:5000/x.crt", "",
		docker+"/docker.io/x.crt", "",
		user+"/f.example", "a file", etc+"/f.example/x.crt", "",
		etc+"/x.crt", "")
	if err := os.MkdirAll(m.path(user+"/e.example"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(etc+"/e.example/x.crt", "")
	for _, tt := range []struct{ host, want string }{
		{"a.example", user + "/a.example"},
		{"b.example:5000", etc + "/b.example:5000"},
		{"b.example", ""}, // the port is part of the name
		{"docker.io", docker + "/docker.io"},
		{"e.example", user + "/e.example"}, // empty, but the first
		{"f.example", etc + "/f.example"},
		{"none.example", ""},
		{"", ""},
		{".", ""},
		{"..", ""},
		{"../certs.d/a.example", ""},
		{"a.example/../b.example", ""},
	} {
		if got := m.strip(m.CertDir(tt.host)); got != tt.want {
			t.Errorf("CertDir(%q) = %q; want %q", tt.host, got, tt.want)
		}
	}
	m.env["HOME"] = ""
	m.uid = "4294967290" // and no entry in the user database
	if got := m.strip(m.CertDir("a.example")); got != etc+"/a.example" {
		t.Errorf("CertDir without a home = %q; want %s", got, etc+"/a.example")
	}
}

// A directory of certificates that this user may not read is as good as none.
func TestCertDirUnreadable(t *testing.T) {
	m := newMachine(t, "1000", "/etc/containers/certs.d/a.example/x.crt", "", "/etc/docker/certs.d/a.example/x.crt", "")
	dir := m.path("/etc/containers/certs.d/a.example")
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	want := "/etc/docker/certs.d/a.example"
	if _, err := os.ReadDir(dir); !errors.Is(err, fs.ErrPermission) {
		want = "/etc/containers/certs.d/a.example" // root reads everything
	}
	if got := m.strip(m.CertDir("a.example")); got != want {
		t.Errorf("CertDir = %q; want %q", got, want)
	}
}
