// Package sample writes small OCI image layouts for tests and the demo.
//
// The same shape gives the same bytes each time. Image shapes hold real
// tar layers and true configurations, so that Docker and Podman load them; the
// rest are what registries carry beside such images. It uses nothing of the
// library: what it writes must not inherit the library's errors.
package sample

import (
	_ "crypto/sha256" // for go-digest
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's image manifest version 2, schema 2.
const (
	DockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList      = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig    = "application/vnd.docker.container.image.v1+json"
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// A Shape is a kind of image that a layout may hold. Name is also its tag.
type Shape struct {
	Name string
	add  func(*layout) (v1.Descriptor, error)
}

// Write makes an OCI image layout at dir, which it creates, with each shape
// tagged by its name in the order given. It returns their root descriptors.
func Write(dir string, shapes ...Shape) ([]v1.Descriptor, error) {
	l := &layout{dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return nil, err
	}
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	var roots []v1.Descriptor
	for _, s := range shapes {
		d, err := s.add(l)
		if err != nil {
			return nil, err
		}
		roots = append(roots, d)
		d.Annotations = map[string]string{v1.AnnotationRefName: s.Name}
		index.Manifests = append(index.Manifests, d)
	}
	if err := writeJSON(filepath.Join(dir, v1.ImageIndexFile), index); err != nil {
		return nil, err
	}
	return roots, writeJSON(filepath.Join(dir, v1.ImageLayoutFile), v1.ImageLayout{Version: v1.ImageLayoutVersion})
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// layout is a directory of blobs being filled.
type layout struct{ dir string }

// put stores what write writes and describes it.
func (l *layout) put(mediaType string, write func(io.Writer) error) (v1.Descriptor, error) {
	blobs := filepath.Join(l.dir, "blobs", "sha256")
	f, err := os.CreateTemp(blobs, ".new-")
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer os.Remove(f.Name())
	sum := digest.SHA256.Digester()
	err = write(io.MultiWriter(f, sum.Hash()))
	size, _ := f.Seek(0, io.SeekEnd)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: sum.Digest(), Size: size}
	return d, os.Rename(f.Name(), filepath.Join(blobs, d.Digest.Encoded()))
}

// putBytes stores b.
func (l *layout) putBytes(mediaType string, b []byte) (v1.Descriptor, error) {
	return l.put(mediaType, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// putJSON stores v as a document.
func (l *layout) putJSON(mediaType string, v any) (v1.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return l.putBytes(mediaType, b)
}

// putIndex stores an index, or for DockerList a manifest list, of entries.
func (l *layout) putIndex(mediaType string, entries ...v1.Descriptor) (v1.Descriptor, error) {
	return l.putJSON(mediaType, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: mediaType,
		Manifests: entries,
	})
}
