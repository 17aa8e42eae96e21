package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/sample"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// What the tools wrote is checked here by code that has nothing of theirs, so
// that an error that reader and writer share does not pass.

// A store opens the content that a digest names.
type store func(digest.Digest) (io.ReadCloser, error)

// verify reads everything that d leads to and fails if any of it is missing or
// is not what its digest and size say.
func verify(s store, d v1.Descriptor) error {
	r, err := s(d.Digest)
	if err != nil {
		return err
	}
	defer r.Close()
	var doc bytes.Buffer
	w, h := io.Writer(io.Discard), d.Digest.Algorithm().Hash()
	if isManifest(d.MediaType) {
		w = &doc
	}
	n, err := io.Copy(io.MultiWriter(h, w), r)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Digest, err)
	}
	if got := digest.NewDigest(d.Digest.Algorithm(), h); got != d.Digest || n != d.Size {
		return fmt.Errorf("%s of %d bytes holds %s of %d", d.Digest, d.Size, got, n)
	}
	if doc.Len() == 0 {
		return nil
	}
	children, err := childrenOf(doc.Bytes())
	if err != nil {
		return fmt.Errorf("%s: %w", d.Digest, err)
	}
	for _, c := range children {
		if err := verify(s, c); err != nil {
			return err
		}
	}
	return nil
}

func isManifest(mediaType string) bool {
	return slices.Contains([]string{
		v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, sample.DockerList, sample.DockerManifest,
	}, mediaType)
}

// document is an image manifest or an index.
type document struct {
	MediaType string
	Config    *v1.Descriptor
	Layers    []v1.Descriptor
	Manifests []v1.Descriptor
}

func childrenOf(doc []byte) ([]v1.Descriptor, error) {
	var m document
	err := json.Unmarshal(doc, &m)
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	return append(m.Manifests, m.Layers...), err
}

// whole returns the digest of the image that a reference on this disk names,
// once it has read all of it: oci:DIR:TAG, dir:DIR, oci-archive:FILE:TAG or
// docker-archive:FILE:NAME.
func whole(ref string) (digest.Digest, error) {
	transport, rest, _ := strings.Cut(ref, ":")
	place, name, _ := strings.Cut(rest, ":")
	switch transport {
	case "oci":
		return wholeLayout(place, name)
	case "dir":
		return wholeDir(rest)
	}
	f, err := os.Open(place)
	if err != nil {
		return "", err
	}
	defer f.Close()
	a, err := readTar(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", place, err)
	}
	if transport == "docker-archive" {
		return a.both(name)
	}
	return a.oci(name)
}

// both reads the archive in either way: as ours are, that has to give the same
// image.
func (a archive) both(name string) (digest.Digest, error) {
	config, err := a.docker(name)
	if err != nil {
		return "", err
	}
	var x v1.Index
	if err := json.Unmarshal(a.files[v1.ImageIndexFile], &x); err != nil {
		return "", err
	}
	for _, d := range x.Manifests {
		var m document
		if err := json.Unmarshal(a.files["blobs/sha256/"+d.Digest.Encoded()], &m); err != nil {
			return "", err
		}
		if m.Config != nil && m.Config.Digest == config {
			return d.Digest, verify(a.open, d)
		}
	}
	return "", fmt.Errorf("no manifest with the configuration %s of %q", config, name)
}

func (a archive) open(d digest.Digest) (io.ReadCloser, error) {
	name := "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
	b, ok := a.files[name]
	if !ok {
		return nil, fmt.Errorf("no %s", name)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func wholeLayout(dir, tag string) (digest.Digest, error) {
	if b, err := os.ReadFile(filepath.Join(dir, v1.ImageLayoutFile)); err != nil || !bytes.Contains(b, []byte(`"1.0.0"`)) {
		return "", fmt.Errorf("%s: %q, %v", v1.ImageLayoutFile, b, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, v1.ImageIndexFile))
	if err != nil {
		return "", err
	}
	d, err := named(b, tag)
	if err != nil {
		return "", err
	}
	return d.Digest, verify(func(d digest.Digest) (io.ReadCloser, error) {
		return os.Open(filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded()))
	}, d)
}

// named returns the one descriptor of an index.json that has the tag, or the
// only one there is for "".
func named(index []byte, tag string) (v1.Descriptor, error) {
	var x v1.Index
	if err := json.Unmarshal(index, &x); err != nil {
		return v1.Descriptor{}, fmt.Errorf("index.json: %w", err)
	}
	found := slices.DeleteFunc(slices.Clone(x.Manifests), func(d v1.Descriptor) bool {
		return tag != "" && d.Annotations[v1.AnnotationRefName] != tag
	})
	if len(found) != 1 {
		return v1.Descriptor{}, fmt.Errorf("%d of %d descriptors are %q; want one", len(found), len(x.Manifests), tag)
	}
	return found[0], nil
}

func wholeDir(dir string) (digest.Digest, error) {
	if b, err := os.ReadFile(filepath.Join(dir, "version")); err != nil || string(b) != "Directory Transport Version: 1.1\n" {
		return "", fmt.Errorf("version: %q, %v", b, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return "", err
	}
	var m document
	if err := json.Unmarshal(b, &m); err != nil {
		return "", err
	}
	d := v1.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d.Digest, verify(func(want digest.Digest) (io.ReadCloser, error) {
		if want == d.Digest {
			return os.Open(filepath.Join(dir, "manifest.json"))
		}
		f, err := os.Open(filepath.Join(dir, want.Encoded()))
		if errors.Is(err, fs.ErrNotExist) {
			return os.Open(filepath.Join(dir, want.Encoded()+".manifest.json"))
		}
		return f, err
	}, d)
}

// archive is a tar that was read whole.
type archive struct {
	headers []*tar.Header
	files   map[string][]byte
}

func readTar(r io.Reader) (archive, error) {
	a, t := archive{files: map[string][]byte{}}, tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return a, err
		}
		if _, twice := a.files[h.Name]; twice {
			return a, fmt.Errorf("%s is in the archive twice", h.Name)
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return a, err
		}
		a.headers, a.files[h.Name] = append(a.headers, h), b
	}
}

// names returns the names of the archive's entries in order.
func (a archive) names() []string {
	var ns []string
	for _, h := range a.headers {
		ns = append(ns, h.Name)
	}
	return ns
}

// oci reads the archive as an OCI layout.
func (a archive) oci(tag string) (digest.Digest, error) {
	d, err := named(a.files[v1.ImageIndexFile], tag)
	if err != nil {
		return "", err
	}
	return d.Digest, verify(a.open, d)
}

// docker reads the archive as docker load does, and returns the digest of the
// configuration of the image of that name, or of the only one there is for "".
func (a archive) docker(name string) (digest.Digest, error) {
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(a.files["manifest.json"], &images); err != nil {
		return "", fmt.Errorf("manifest.json: %w", err)
	}
	for _, m := range images {
		if name != "" && !slices.ContainsFunc(m.RepoTags, func(tag string) bool { return strings.HasSuffix(tag, name) }) {
			continue
		}
		if name == "" && len(images) != 1 {
			return "", fmt.Errorf("%d images in manifest.json", len(images))
		}
		return digest.FromBytes(a.files[m.Config]), a.layers(m.Config, m.Layers)
	}
	return "", fmt.Errorf("no %q in manifest.json: %s", name, a.files["manifest.json"])
}

// layers checks that an image's layers unpack to what its configuration says.
func (a archive) layers(config string, layers []string) error {
	var c v1.Image
	if err := json.Unmarshal(a.files[config], &c); err != nil {
		return fmt.Errorf("%s: %w", config, err)
	}
	if len(c.RootFS.DiffIDs) != len(layers) {
		return fmt.Errorf("%d layers; the configuration has %d", len(layers), len(c.RootFS.DiffIDs))
	}
	for i, name := range layers {
		b, ok := a.files[name]
		if !ok {
			return fmt.Errorf("no %s", name)
		}
		if got, err := diffID(b); got != c.RootFS.DiffIDs[i] {
			return fmt.Errorf("%s unpacks to %s (%v); want %s", name, got, err, c.RootFS.DiffIDs[i])
		}
	}
	return nil
}

// diffID returns the digest of a layer without its compression.
func diffID(layer []byte) (digest.Digest, error) {
	var r io.Reader = bytes.NewReader(layer)
	switch {
	case bytes.HasPrefix(layer, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return "", err
		}
		r = z
	case bytes.HasPrefix(layer, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r)
		if err != nil {
			return "", err
		}
		defer z.Close()
		r = z
	}
	return digest.SHA256.FromReader(r)
}

// mustWhole is whole for what has to be there, with the digest that it must have.
func mustWhole(t *testing.T, ref string, want digest.Digest) {
	t.Helper()
	if got, err := whole(ref); err != nil || got != want {
		t.Errorf("%s holds %q, %v; want %s whole", ref, got, err, want)
	}
}

// tree returns the paths of the files below dir, sorted.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files = append(files, strings.TrimPrefix(path, dir+"/"))
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// slurp reads a file that has to be there.
func slurp(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
