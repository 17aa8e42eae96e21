// Package e2e runs the tools as users do, against the registries, engines and
// peers of package harness. It knows of the tools what they promise, not how
// they are made.
package e2e_test

import (
	"os"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(measured); file != "" {
		os.Exit(runMeasured(file, os.Args[1:]))
	}
	os.Exit(harness.Main(m))
}

// A world is a layout of samples, and a registry of the newest version that has
// each as SHAPE:1.
type world struct {
	harness.Layout
	*harness.Registry
}

func newWorld(t *testing.T, shapes ...sample.Shape) world {
	t.Helper()
	w := world{harness.Image(t, shapes...), harness.StartRegistry(t, harness.RegistryOptions{})}
	for tag := range w.Roots {
		w.Seed(t, w.Layout, tag, tag+":1")
	}
	return w
}

// at returns the reference of a sample in the registry.
func (w world) at(tag string) string { return w.Registry.Ref(tag + ":1") }

// holds checks what a registry has under a name.
func holds(t *testing.T, r *harness.Registry, name, want string) {
	t.Helper()
	repo, tag, _ := strings.Cut(name, ":")
	if got, _ := r.Manifest(t, repo, tag); string(got) != want {
		t.Errorf("the registry has %q as %s; want %q", got, name, want)
	}
}

// copyImage runs img-copy and checks the one line that it prints: the copy's
// name, pinned.
func copyImage(t *testing.T, from, to string, flags ...string) {
	t.Helper()
	out := harness.Must(t, "img-copy", append(flags, from, to)...)
	if strings.Count(out, "\n") != 1 || !strings.Contains(out, "@sha256:") {
		t.Fatalf("img-copy %s %s printed %q; want one line, a pinned name", from, to, out)
	}
	if repo := to[:strings.LastIndex(to, ":")]; strings.HasPrefix(to, "docker:") && !strings.HasPrefix(out, repo+"@") {
		t.Errorf("img-copy %s %s printed %q; want %s@sha256:...", from, to, out, repo)
	}
}
