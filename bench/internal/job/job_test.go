package job

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/service"
	"github.com/imgtools/imgtools/bench/internal/shape"
)

func find(t *testing.T, name string) Job {
	t.Helper()
	j, ok := Find(name)
	if !ok {
		t.Fatalf("Find(%q) found nothing", name)
	}
	return j
}

func TestDest(t *testing.T) {
	net := service.Net{A: "a:1", B: "b:2"}
	for name, want := range map[string]string{"reg2reg": "b:2/dst/tiny:v1", "mount": "a:1/dst/tiny:v1"} {
		e := Env{Job: find(t, name), Shape: "tiny", Net: net}
		if got := e.Dest(); got != want {
			t.Errorf("%s: Dest = %s; want %s", name, got, want)
		}
	}
}

// A run that starts with the last one's result measures nothing; one that
// loses the source's registry measures an error.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	e := Env{Net: service.Net{StoreA: filepath.Join(dir, "a"), StoreB: filepath.Join(dir, "b")}, Out: filepath.Join(dir, "out"), Caches: []string{filepath.Join(dir, "cache")}}
	paths := map[string]string{
		"source": filepath.Join(dir, "a/docker/registry/v2/repositories/src"),
		"beside": filepath.Join(dir, "a/docker/registry/v2/repositories/dst"),
		"other":  filepath.Join(dir, "b/docker/registry"),
		"out":    filepath.Join(dir, "out/oci"),
		"cache":  filepath.Join(dir, "cache"),
	}
	for name, gone := range map[string][]string{
		"reg2reg": {"other", "cache"}, "pipe": {"other", "out", "cache"}, "mount": {"beside", "cache"},
		"reg2oci": {"out", "cache"}, "noop": {}, "inspect": {},
	} {
		for _, p := range paths {
			if err := os.MkdirAll(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		e.Job = find(t, name)
		if err := e.Prepare(); err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		for _, g := range gone {
			want[g] = true
		}
		for what, p := range paths {
			if _, err := os.Stat(p); os.IsNotExist(err) != want[what] {
				t.Errorf("%s: %s gone %v; want %v", name, what, os.IsNotExist(err), want[what])
			}
		}
	}
}

// The checks are what makes a fast but wrong tool lose.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	layout := filepath.Join(dir, "oci")
	if err := shape.Generate("tiny", layout); err != nil {
		t.Fatal(err)
	}
	tags, err := oci.Tags(layout)
	if err != nil {
		t.Fatal(err)
	}
	root := tags["v1"]
	raw, m, err := oci.ReadManifest(layout, root.Digest)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, c := range []struct {
		job, stdout string
		ok          bool
	}{
		{"digest", root.Digest + "\n", true},
		{"digest", "sha256:00\n", false},
		{"manifest", string(raw), true},
		{"manifest", string(raw) + "\n", true},
		{"manifest", string(raw[:len(raw)-1]), false},
		{"inspect", "{}", true},
		{"inspect", "", false},
		{"version", "1", true},
		{"version", "\n", false},
		{"reg2oci", "", true},
	} {
		e := Env{Job: find(t, c.job), Out: dir, Root: root}
		if _, err := e.Check(ctx, []byte(c.stdout)); (err == nil) != c.ok {
			t.Errorf("%s: Check(%.20q) = %v; want ok %v", c.job, c.stdout, err, c.ok)
		}
	}
	blob := oci.BlobPath(layout, m.Layers[0].Digest)
	b, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(blob, b, 0o644); err != nil {
		t.Fatal(err)
	}
	e := Env{Job: find(t, "reg2oci"), Out: dir, Root: root}
	if _, err := e.Check(ctx, nil); err == nil {
		t.Error("Check of a layout with a changed blob = nil; want an error")
	}
}
