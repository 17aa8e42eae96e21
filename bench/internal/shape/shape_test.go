package shape

import (
	"path/filepath"
	"testing"

	"github.com/imgtools/imgtools/bench/internal/oci"
)

// The digest is pinned because numbers of different days only compare when
// the bytes are the same; a new gzip version that changes it must be noticed.
func TestGenerateIsDeterministic(t *testing.T) {
	const want = "sha256:679bfa757e82a79fc911ecbdb828c2b4cc3d062fea2b9ccdc4f13611dabf9c88"
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := Generate("tiny", dir); err != nil {
		t.Fatal(err)
	}
	tags, err := oci.Tags(dir)
	if err != nil {
		t.Fatal(err)
	}
	root := tags[Tag("tiny")]
	if root.Digest != want {
		t.Errorf("Generate(tiny) = %s; want %s", root.Digest, want)
	}
	if n, err := oci.Verify(dir, root); n != 5 || err != nil {
		t.Errorf("Verify = %d, %v; want 5 blobs", n, err)
	}
}

func TestGenerateUnknown(t *testing.T) {
	if err := Generate("no-such", filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("Generate(no-such) = nil; want an error")
	}
}
