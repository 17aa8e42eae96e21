// Package oci holds the few nouns of the OCI image-spec that the bench needs,
// and reads and writes image layouts. It knows no network and, on purpose,
// nothing of the product: a fault in the product must not hide itself here.
package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Media types of what the bench makes.
const (
	TypeIndex    = "application/vnd.oci.image.index.v1+json"
	TypeManifest = "application/vnd.oci.image.manifest.v1+json"
	TypeConfig   = "application/vnd.oci.image.config.v1+json"
	TypeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// RefName is the annotation that names a tag in the index of a layout.
const RefName = "org.opencontainers.image.ref.name"

// Descriptor is an OCI descriptor; Size is in bytes.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *Platform         `json:"platform,omitempty"`
}

// Tagged returns d with the annotation that names it tag in a layout.
func (d Descriptor) Tagged(tag string) Descriptor {
	d.Annotations = map[string]string{RefName: tag}
	return d
}

// Platform is an OCI platform.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// Manifest is an image manifest or an index, whichever fields are set.
type Manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Config        *Descriptor  `json:"config,omitempty"`
	Layers        []Descriptor `json:"layers,omitempty"`
	Manifests     []Descriptor `json:"manifests,omitempty"`
}

// Blobs returns the layers and the config, in that order.
func (m *Manifest) Blobs() []Descriptor {
	out := append([]Descriptor(nil), m.Layers...)
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	return out
}

// Digest returns the sha256 digest of b.
func Digest(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

// JSON marshals one of the types of this package, which cannot fail.
func JSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// BlobPath is the path of a blob inside the layout dir.
func BlobPath(dir, digest string) string {
	return filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

// MakeLayout makes the folders of an empty layout; it may exist already.
func MakeLayout(dir string) error {
	return os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)
}

// WriteBlob stores b in the layout dir and returns its descriptor.
func WriteBlob(dir, mediaType string, b []byte) (Descriptor, error) {
	d := Descriptor{MediaType: mediaType, Digest: Digest(b), Size: int64(len(b))}
	return d, os.WriteFile(BlobPath(dir, d.Digest), b, 0o644)
}

// WriteHead writes oci-layout and an index.json that names refs.
func WriteHead(dir string, refs []Descriptor) error {
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	index := Manifest{SchemaVersion: 2, MediaType: TypeIndex, Manifests: refs}
	return os.WriteFile(filepath.Join(dir, "index.json"), JSON(index), 0o644)
}

// ReadIndex reads index.json of the layout dir.
func ReadIndex(dir string) (Manifest, error) {
	var m Manifest
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// Tags returns tag to descriptor of the layout dir; no tag is an error.
func Tags(dir string) (map[string]Descriptor, error) {
	m, err := ReadIndex(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]Descriptor{}
	for _, d := range m.Manifests {
		if t := d.Annotations[RefName]; t != "" {
			out[t] = d
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no tags", dir)
	}
	return out, nil
}

// ReadManifest reads and parses a manifest of the layout dir.
func ReadManifest(dir, digest string) ([]byte, Manifest, error) {
	var m Manifest
	b, err := os.ReadFile(BlobPath(dir, digest))
	if err != nil {
		return nil, m, err
	}
	return b, m, json.Unmarshal(b, &m)
}

// Verify checks digest and size of everything under the manifest root of the
// layout dir and returns how many blobs there were, each counted once.
func Verify(dir string, root Descriptor) (int, error) {
	seen := map[string]bool{}
	if err := verifyTree(dir, root, seen); err != nil {
		return 0, err
	}
	return len(seen), nil
}

func verifyTree(dir string, d Descriptor, seen map[string]bool) error {
	if seen[d.Digest] {
		return nil
	}
	seen[d.Digest] = true
	if err := verifyBlob(dir, d); err != nil {
		return err
	}
	if d.MediaType != TypeIndex && d.MediaType != TypeManifest {
		return nil
	}
	_, m, err := ReadManifest(dir, d.Digest)
	if err != nil {
		return err
	}
	for _, c := range append(m.Blobs(), m.Manifests...) {
		if err := verifyTree(dir, c, seen); err != nil {
			return err
		}
	}
	return nil
}

func verifyBlob(dir string, d Descriptor) error {
	f, err := os.Open(BlobPath(dir, d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != d.Digest || n != d.Size {
		return fmt.Errorf("%s holds %s, %d bytes; want %d", d.Digest, got, n, d.Size)
	}
	return nil
}
