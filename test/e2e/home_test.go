package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
)

// script writes a program.
func script(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// A home is a user's: its files are there from one program to the next.
type home string

func newHome(t *testing.T) home {
	t.Helper()
	h := home(harness.Dir(t))
	if err := os.Mkdir(h.path("run"), 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

// path returns the path of a file in the home.
func (h home) path(name string) string { return filepath.Join(string(h), name) }

// write writes a file in the home.
func (h home) write(t *testing.T, name, text string) string {
	t.Helper()
	file := h.path(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// command is how the user runs a program.
func (h home) command(env ...string) harness.Command {
	return harness.Command{Env: append([]string{
		"HOME=" + string(h), "XDG_RUNTIME_DIR=" + h.path("run"), "GNUPGHOME=" + h.path(".gnupg"),
	}, env...)}
}

// trust puts the certificates in dir where those for the host are looked for.
func (h home) trust(t *testing.T, host, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		h.write(t, filepath.Join(".config/containers/certs.d", host, f.Name()), string(slurp(t, filepath.Join(dir, f.Name()))))
	}
}
