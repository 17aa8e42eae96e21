package login

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
)

func TestTarget(t *testing.T) {
	tests := []struct {
		arg           string
		key, registry string
		err           error
	}{
		{"quay.io", "quay.io", "quay.io", nil},
		{"quay.io/a/b_c", "quay.io/a/b_c", "quay.io", nil},
		{"localhost:5000", "localhost:5000", "localhost:5000", nil},
		{"host/a", "host/a", "host", nil},
		{"docker.io", "docker.io", "docker.io", nil},
		{"docker.io/me", "docker.io/me", "docker.io", nil},
		{"https://quay.io", "quay.io", "quay.io", nil},
		{"http://quay.io:80/", "quay.io:80", "quay.io:80", nil},
		{"https://index.docker.io/v1/", "index.docker.io", "index.docker.io", nil},
		{"https://quay.io/v2", "quay.io", "quay.io", nil},
		{"https://quay.io/a", "", "", cli.ErrUsage},
		{"https://", "", "", reference.ErrFormat},
		{"", "", "", reference.ErrFormat},
		{"/a", "", "", reference.ErrFormat},
		{"quay.io/", "", "", reference.ErrFormat},
		{"quay.io//a", "", "", reference.ErrFormat},
		{"quay.io/A", "", "", reference.ErrFormat},
		{"quay.io:tag", "", "", reference.ErrFormat},
		{"quay.io/a:tag", "", "", cli.ErrUsage},
		{"quay.io/a@sha256:" + strings.Repeat("0", 64), "", "", cli.ErrUsage},
		{"me@quay.io", "", "", cli.ErrUsage},
		{"ftp://quay.io", "", "", reference.ErrFormat},
		{"quay.io/\x1b[31m", "", "", reference.ErrFormat},
	}
	for _, tt := range tests {
		key, registry, err := Target(tt.arg, false)
		if key != tt.key || registry != tt.registry || !errors.Is(err, tt.err) {
			t.Errorf("Target(%q) = %q, %q, %v; want %q, %q, %v", tt.arg, key, registry, err, tt.key, tt.registry, tt.err)
		}
	}
	// Skopeo drops the path of a URL.
	if key, registry, err := Target("https://quay.io:1/a/b", true); key != "quay.io:1" || registry != key || err != nil {
		t.Errorf("Target of a URL for skopeo = %q, %q, %v", key, registry, err)
	}
}

// The face keeps what skopeo does, however odd.
func TestCompat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.json")
	var told []Step
	var asked []auth.Credential
	var verdict error
	s := &Session{
		Store:  &auth.Store{Finder: auth.Finder{File: path}},
		Compat: true,
		Tell:   func(step Step, _ string) { told = append(told, step) },
		Ask:    func(context.Context, string, bool) (string, error) { return "", nil },
		Check: func(_ context.Context, _ string, c auth.Credential) error {
			asked = append(asked, c)
			return verdict
		},
	}
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"auths": {"h.example": {"identitytoken": "tok"}}}`)
	r := Request{Key: "h.example", Registry: "h.example", Username: "alice", Stdin: strings.NewReader("a\nb\r\nc")}
	if err := s.Login(t.Context(), r); err != ErrToken {
		t.Errorf("Login() beside an identity token = %v; want %v", err, ErrToken)
	}
	put("{}")
	if err := s.Login(t.Context(), r); err != nil || asked[0].Password != "abc" {
		t.Errorf("Login() = %v with %q; want the lines joined", err, asked[0].Password)
	}
	// Standard input without a password is no password: it is asked for.
	r.Stdin = strings.NewReader("\n")
	s.Ask = func(context.Context, string, bool) (string, error) { return "", syscall.ENOTTY }
	if err := s.Login(t.Context(), r); !errors.Is(err, syscall.ENOTTY) || len(asked) != 1 {
		t.Errorf("Login() with an empty standard input = %v, asked %d times; want %v", err, len(asked), syscall.ENOTTY)
	}
	s.Ask = func(context.Context, string, bool) (string, error) { return "", nil }
	// A registry that can not be reached makes stored credentials invalid.
	told, verdict = nil, image.ErrNetwork
	err := s.Login(t.Context(), Request{Key: "h.example", Registry: "h.example"})
	if !errors.Is(err, image.ErrNetwork) || len(told) != 2 || told[1] != Invalid || len(asked) != 3 {
		t.Errorf("Login() without a network = %v, told %v, asked %d times", err, told, len(asked))
	}
}

// A time limit holds for standard input, too.
func TestPasswordOutOfTime(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &Session{Store: &auth.Store{Finder: auth.Finder{File: filepath.Join(t.TempDir(), "auth.json")}}}
	if err := s.Login(ctx, Request{Key: "h.example", Registry: "h.example", Username: "alice", Stdin: r}); !errors.Is(err, context.Canceled) {
		t.Errorf("Login() = %v; want %v", err, context.Canceled)
	}
}

// Whoever is not logged out should learn why they still get in.
func TestLogoutElsewhere(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"run/containers/auth.json": `{"auths": {"h.example": {"auth": "Yjox"}}}`, ".docker/config.json": `{"auths": {"i.example": {"auth": "Yjox"}}}`} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": filepath.Join(dir, "run")}
	s := &Session{Store: &auth.Store{Finder: auth.Finder{Env: func(name string) string { return env[name] }}}}
	for key, file := range map[string]string{"h.example/n": "run/containers/auth.json", "i.example": ".docker/config.json", "j.example": ""} {
		_, err := s.Logout(t.Context(), key)
		code, hint := explain(err)
		want := ""
		if file != "" {
			want = "credentials that apply to it are in auth file " + filepath.Join(dir, file)
		}
		if err == nil || err.Error() != "not logged into "+key || code != cli.CodeNotFound || hint != want {
			t.Errorf("Logout(%s) = %v, exit %d, %q; want hint %q", key, err, code, hint, want)
		}
	}
}
