package oci

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/reference"
)

// A Manifest is what a manifest or index points at. Which fields are set
// tells what it is: an index has Manifests, anything else Config or Layers.
type Manifest struct {
	MediaType    string // what it is, whatever it was called on the way
	Config       *Descriptor
	Layers       []Descriptor
	Manifests    []Descriptor
	Subject      *Descriptor
	ArtifactType string
	Annotations  map[string]string
}

// IsIndex reports whether m points at other manifests.
func (m *Manifest) IsIndex() bool { return IsIndexType(m.MediaType) }

// IsImage reports whether m is an image, with an image configuration and
// layers of a file system, and not some other artifact.
func (m *Manifest) IsImage() bool { return m.Config != nil && IsConfigType(m.Config.MediaType) }

// Blobs returns the config, if there is one, and the layers.
func (m *Manifest) Blobs() []Descriptor {
	if m.Config == nil {
		return m.Layers
	}
	return append([]Descriptor{*m.Config}, m.Layers...)
}

// document has every field of every kind of manifest that is read here.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Blobs         []Descriptor      `json:"blobs"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject"`
	ArtifactType  string            `json:"artifactType"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      []struct{}        `json:"fsLayers"`
	Signatures    []struct{}        `json:"signatures"`
}

// Parse reads a manifest of any kind but Docker's schema 1. It follows the
// image-spec's manifest.md and image-index.md, and is strict: the declared
// type, the mediaType field and the shape must agree, no key may stand twice
// or in another case, every digest must be usable and every size known.
// Errors wrap ErrInvalid, or ErrSchema1 for a schema 1 manifest.
func Parse(r Raw) (*Manifest, error) {
	if len(r.Bytes) > MaxManifest {
		return nil, fmt.Errorf("%w: manifest has %d bytes, more than %d", ErrInvalid, len(r.Bytes), MaxManifest)
	}
	root, err := scan(r.Bytes)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := checkKeys(root, r.Bytes); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	var d document
	if err := json.Unmarshal(r.Bytes, &d); err != nil {
		return nil, fmt.Errorf("manifest: %w: %v", ErrInvalid, err)
	}
	mediaType, err := d.kind(r.MediaType, root)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	m := &Manifest{mediaType, d.Config, d.Layers, d.Manifests, d.Subject, d.ArtifactType, d.Annotations}
	if mediaType == MediaTypeArtifact {
		m.Layers = d.Blobs
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// ErrSchema1 is what Parse returns for a Docker schema 1 manifest.
var ErrSchema1 = fmt.Errorf("%w: Docker schema 1 manifest", ErrInvalid)

// kind decides what the document is.
func (d *document) kind(declared string, root node) (string, error) {
	if !IsManifestType(declared) {
		declared = "" // text/plain, application/json: the document decides
	}
	t := d.MediaType
	switch {
	case t == "" || t == declared:
		t = declared
	case declared != "":
		return "", fmt.Errorf("%w: declared as %q, calls itself %q", ErrInvalid, declared, t)
	}
	if d.SchemaVersion == 1 || t == MediaTypeSchema1 || t == MediaTypeSchema1Signed {
		return "", ErrSchema1
	}
	if d.SchemaVersion != 2 && t != MediaTypeArtifact {
		return "", fmt.Errorf("%w: schemaVersion is %d, not 2", ErrInvalid, d.SchemaVersion)
	}
	shape, err := d.shape(root)
	if err != nil {
		return "", err
	}
	if t == "" {
		t = d.guess(shape)
	}
	if !IsManifestType(t) {
		return "", fmt.Errorf("%w: unknown media type %q", ErrInvalid, t)
	}
	if want := shapeOf(t); shape != want {
		return "", fmt.Errorf("%w: %q has the keys of %s, not of %s", ErrInvalid, t, shape, want)
	}
	return t, nil
}

func shapeOf(mediaType string) string {
	switch {
	case IsIndexType(mediaType):
		return "an index"
	case mediaType == MediaTypeArtifact:
		return "an artifact manifest"
	}
	return "an image manifest"
}

// shape says what the document's keys make it; one that has the keys of two
// kinds is refused, see CVE-2021-41190.
func (d *document) shape(root node) (string, error) {
	has := func(key string) bool { _, ok := root.get(key); return ok }
	image := has("config") || has("layers")
	index := has("manifests")
	switch {
	case has("fsLayers") || has("history"), image && index, index && has("blobs"), image && has("blobs"):
		return "", fmt.Errorf("%w: it has the keys of more than one kind of manifest", ErrInvalid)
	case index:
		return "an index", nil
	case has("blobs") || d.MediaType == MediaTypeArtifact:
		return "an artifact manifest", nil
	case !has("config"):
		return "", fmt.Errorf("%w: neither manifests nor config", ErrInvalid)
	}
	return "an image manifest", nil
}

func (d *document) guess(shape string) string {
	switch {
	case shape == "an index":
		return MediaTypeIndex
	case shape == "an artifact manifest":
		return MediaTypeArtifact
	case d.Config != nil && d.Config.MediaType == MediaTypeDockerConfig:
		return MediaTypeDockerManifest
	}
	return MediaTypeManifest
}

func (m *Manifest) check() error {
	if n := max(len(m.Layers), len(m.Manifests)); n > MaxEntries {
		return fmt.Errorf("%w: %d entries, more than %d", ErrInvalid, n, MaxEntries)
	}
	for _, list := range [][]Descriptor{m.Blobs(), m.Manifests} {
		for _, d := range list {
			if err := CheckDescriptor(d); err != nil {
				return err
			}
		}
	}
	for _, d := range m.Manifests {
		if d.Size > MaxManifest && IsManifestType(d.MediaType) {
			return fmt.Errorf("%w: manifest %s has %d bytes, more than %d", ErrInvalid, d.Digest, d.Size, MaxManifest)
		}
	}
	if m.Subject != nil {
		return CheckDescriptor(*m.Subject)
	}
	return nil
}

// CheckDescriptor reports, as an error that wraps ErrInvalid, a digest that
// may not become a path or a URL, or a size that is not one.
func CheckDescriptor(d Descriptor) error {
	if err := CheckDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("%w: %s has size %d", ErrInvalid, d.Digest, d.Size)
	}
	return nil
}

// CheckDigest is reference.CheckDigest, for digests in documents: its error
// wraps ErrInvalid too.
func CheckDigest(d digest.Digest) error {
	if err := reference.CheckDigest(d); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Keys whose meaning matters: in another case they would be read by some
// programs and not by others.
var known = map[string]bool{
	"schemaVersion": true, "mediaType": true, "config": true, "layers": true, "manifests": true, "blobs": true,
	"subject": true, "artifactType": true, "annotations": true, "fsLayers": true, "history": true, "signatures": true,
	"digest": true, "size": true, "urls": true, "data": true, "platform": true,
	"architecture": true, "os": true, "variant": true, "os.version": true, "os.features": true, "features": true,
}

// Keys that may not be null: absent and null would be told apart by some.
var solid = map[string]bool{
	"schemaVersion": true, "mediaType": true, "config": true, "layers": true, "manifests": true, "blobs": true,
	"fsLayers": true, "digest": true, "size": true,
}

var folded = func() map[string]string {
	m := make(map[string]string, len(known))
	for k := range known {
		m[fold(k)] = k
	}
	return m
}()

// fold makes keys equal that encoding/json takes for each other: it holds the
// long s for an s and the Kelvin sign for a k.
func fold(key string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '\u017f':
			return 's'
		case '\u212a':
			return 'k'
		}
		return unicode.ToLower(r)
	}, key)
}

// checkKeys refuses known keys in another case, and null where a value must be.
func checkKeys(n node, text []byte) error {
	for _, m := range n.members {
		if k, ok := folded[fold(m.key)]; ok && k != m.key {
			return fmt.Errorf("%w: key %q should be %q", ErrInvalid, m.key, k)
		}
		if solid[m.key] && m.val.isNull(text) {
			return fmt.Errorf("%w: key %q is null", ErrInvalid, m.key)
		}
		if m.key == "annotations" {
			continue // keys of its own
		}
		if err := checkKeys(m.val, text); err != nil {
			return err
		}
	}
	for _, it := range n.items {
		if err := checkKeys(it, text); err != nil {
			return err
		}
	}
	return nil
}
