package e2e_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
)

// checkout copies what the build reads to a new directory.
func checkout(t *testing.T) string {
	t.Helper()
	dir, root := harness.Dir(t), harness.Root(t)
	for _, name := range []string{"Makefile", "go.mod", "go.sum", "cmd", "lib", "man", "test"} {
		harness.Must(t, "cp", "-r", filepath.Join(root, name), dir)
	}
	return dir
}

// runMake runs make in dir, with the caches of this user but with none of the
// flags of a make that runs this test.
func runMake(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := harness.Command{Dir: dir, Env: append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "VERSION=v1.2.3")}
	return c.Must(t, "make", append([]string{"-s"}, args...)...)
}

// Whoever builds a version must get the bytes that were released: nothing of
// the directory, the time or the checkout may be in them.
func TestReproducible(t *testing.T) {
	var bins [2][]byte
	for i := range bins {
		dir := checkout(t)
		runMake(t, dir, "img")
		b, err := os.ReadFile(filepath.Join(dir, "bin", "img"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(dir)) {
			t.Errorf("bin/img holds the path of its source, %s", dir)
		}
		bins[i] = b
	}
	if !bytes.Equal(bins[0], bins[1]) {
		t.Error("the same source built in two directories gives two programs")
	}
}

// A package is made from what `make install` puts below DESTDIR, so that is
// where everything must be, and links must not lead out of it.
func TestInstall(t *testing.T) {
	src := checkout(t)
	for _, target := range []string{"install", "install-img"} {
		t.Run(target, func(t *testing.T) {
			dest := t.TempDir()
			runMake(t, src, target, "DESTDIR="+dest, "PREFIX=/usr")
			for _, tool := range append(tools(t, src), map[string][]string{"install-img": {"img"}}[target]...) {
				file := filepath.Join(dest, "usr", "bin", tool)
				real, err := filepath.EvalSymlinks(file)
				if err != nil || !strings.HasPrefix(real, dest) {
					t.Errorf("%s leads to %q (%v); want a file below DESTDIR", tool, real, err)
					continue
				}
				if got := harness.Must(t, file, "--version"); !strings.HasPrefix(got, tool+" v1.2.3") {
					t.Errorf("%s --version = %q; want %s v1.2.3", tool, got, tool)
				}
				if _, err := os.Stat(filepath.Join(dest, "usr", "share", "man", "man1", tool+".1")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// tools returns the names of the single tools.
func tools(t *testing.T, src string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(src, "cmd", "img-*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cmd/img-* (%v)", err)
	}
	for i, dir := range dirs {
		dirs[i] = filepath.Base(dir)
	}
	return dirs
}

// The demo is the first thing that a stranger runs.
func TestDemo(t *testing.T) {
	out := runMake(t, checkout(t), "demo")
	if !strings.Contains(out, "# Done: img v1.2.3") {
		t.Errorf("the demo did not come to its end:\n%s", out)
	}
}

// A target that help does not name is one that nobody finds.
func TestHelp(t *testing.T) {
	help := runMake(t, harness.Root(t), "help")
	for _, target := range strings.Fields("all img demo test race fuzz bench lint shape install install-img dist clean help") {
		if !strings.Contains("\n"+help, "\n"+target+" ") {
			t.Errorf("make help does not name %s", target)
		}
	}
}
