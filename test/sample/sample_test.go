package sample_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// Tests compare digests between machines and runs, so the same shape must be
// the same bytes each time.
func TestWriteIsDeterministic(t *testing.T) {
	var got [2]map[string]digest.Digest
	for i := range got {
		dir := t.TempDir()
		if _, err := sample.Write(dir, sample.All()...); err != nil {
			t.Fatal(err)
		}
		got[i] = tree(t, dir)
	}
	if d := cmp.Diff(got[0], got[1]); d != "" {
		t.Errorf("two layouts of the same shapes differ:\n%s", d)
	}
}

// tree maps each file below dir to the digest of its content.
func tree(t *testing.T, dir string) map[string]digest.Digest {
	t.Helper()
	files := map[string]digest.Digest{}
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		files[rel] = digest.FromBytes(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A sample that is wrong would make every test built on it prove nothing:
// each blob must have its digest and size, each layer its diff ID, and nothing
// may lie beside the blobs that the tree names.
func TestWriteIsTrue(t *testing.T) {
	for _, s := range sample.All() {
		t.Run(s.Name, func(t *testing.T) {
			c := checker{t, t.TempDir(), map[digest.Digest]bool{}}
			roots, err := sample.Write(c.dir, s)
			if err != nil {
				t.Fatal(err)
			}
			c.manifest(roots[0])
			files, err := os.ReadDir(filepath.Join(c.dir, "blobs", "sha256"))
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != len(c.seen) {
				t.Errorf("%d files in blobs/sha256; the tree names %d", len(files), len(c.seen))
			}
		})
	}
}

type checker struct {
	t    *testing.T
	dir  string
	seen map[digest.Digest]bool
}

func (c checker) blob(d v1.Descriptor) []byte {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, "blobs", "sha256", d.Digest.Encoded()))
	if err != nil {
		c.t.Fatal(err)
	}
	if got := digest.FromBytes(b); got != d.Digest || int64(len(b)) != d.Size {
		c.t.Fatalf("blob is %s of %d bytes; want %s of %d", got, len(b), d.Digest, d.Size)
	}
	c.seen[d.Digest] = true
	return b
}

func (c checker) parse(d v1.Descriptor, v any) {
	c.t.Helper()
	if err := json.Unmarshal(c.blob(d), v); err != nil {
		c.t.Fatal(err)
	}
}

func (c checker) manifest(d v1.Descriptor) {
	c.t.Helper()
	if d.MediaType == v1.MediaTypeImageIndex || d.MediaType == sample.DockerList {
		var x v1.Index
		c.parse(d, &x)
		for _, e := range x.Manifests {
			c.manifest(e)
		}
		return
	}
	var m v1.Manifest
	c.parse(d, &m)
	var image v1.Image
	c.parse(m.Config, &image)
	var diffs []digest.Digest
	for _, y := range m.Layers {
		diffs = append(diffs, c.layer(y))
	}
	if m.ArtifactType != "" {
		return
	}
	if d := cmp.Diff(diffs, image.RootFS.DiffIDs); d != "" {
		c.t.Errorf("diff IDs of the layers and in the configuration:\n%s", d)
	}
}

// layer returns the digest of the layer uncompressed, and reads it as a tar.
func (c checker) layer(d v1.Descriptor) digest.Digest {
	c.t.Helper()
	b := c.blob(d)
	var r io.Reader = bytes.NewReader(b)
	var err error
	switch d.MediaType {
	case v1.MediaTypeImageLayerGzip, "application/vnd.docker.image.rootfs.diff.tar.gzip":
		r, err = gzip.NewReader(r)
	case v1.MediaTypeImageLayerZstd:
		r, err = zstd.NewReader(r)
	case v1.MediaTypeImageLayer:
	default:
		return d.Digest // not a layer of files
	}
	if err != nil {
		c.t.Fatal(err)
	}
	sum := digest.SHA256.Digester()
	files := tar.NewReader(io.TeeReader(r, sum.Hash()))
	for err == nil {
		_, err = files.Next()
	}
	if err != io.EOF {
		c.t.Errorf("layer %s: %v", d.Digest, err)
	}
	return sum.Digest()
}
