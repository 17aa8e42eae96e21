package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ErrConvert is wrapped by every error about an image or index that is sound
// but cannot be said in the format asked for. The text behind it is the reason.
var ErrConvert = errors.New("cannot be converted")

// Layers that registries are not to hold. The image-spec has retired its names
// for them, images have not.
const (
	mediaTypeNonDist     = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	mediaTypeNonDistGzip = mediaTypeNonDist + "+gzip"
	mediaTypeNonDistZstd = mediaTypeNonDist + "+zstd"

	encryptedSuffix = "+encrypted"
)

// layerTypes are the types of layers that both formats have names for; Docker
// has no layers with zstd, whatever some programs call them.
var layerTypes = []struct{ oci, docker string }{
	{MediaTypeLayer, MediaTypeDockerLayer},
	{MediaTypeLayerGzip, MediaTypeDockerLayerGzip},
	{MediaTypeLayerZstd, MediaTypeDockerLayerZstd},
	{mediaTypeNonDist, MediaTypeDockerForeign},
	{mediaTypeNonDistGzip, MediaTypeDockerForeignGz},
	{mediaTypeNonDistZstd, ""},
}

// A Conversion is an image in another format.
type Conversion struct {
	Manifest Raw
	Config   []byte   // of the image; nil for an index and for schema 1
	Lost     []string // what the new format has no place for, for people to read
}

// ConvertLayerType returns what a layer of that media type is called in images
// of the type to: MediaTypeManifest, MediaTypeDockerManifest or one of schema
// 1, where layers have no type and must be what Docker's may be. Errors wrap
// ErrConvert: the layer is encrypted, compressed with zstd and to is Docker's,
// or of a type that no image has.
func ConvertLayerType(mediaType, to string) (string, error) {
	if strings.HasSuffix(mediaType, encryptedSuffix) {
		return "", fmt.Errorf("%w: %q is encrypted: only OCI images hold such layers, and only as they are", ErrConvert, mediaType)
	}
	for _, t := range layerTypes {
		if mediaType == "" || mediaType != t.oci && mediaType != t.docker {
			continue
		}
		switch {
		case to == MediaTypeManifest:
			return t.oci, nil
		case t.oci == MediaTypeLayerZstd || t.oci == mediaTypeNonDistZstd:
			return "", fmt.Errorf("%w: %q: Docker's formats have no layers compressed with zstd", ErrConvert, mediaType)
		}
		return t.docker, nil
	}
	return "", fmt.Errorf("%w: layers of type %q are not those of an image", ErrConvert, mediaType)
}

// Convertible returns nil if an image like m can be made one of the type to,
// which is MediaTypeManifest, MediaTypeDockerManifest, MediaTypeSchema1 or
// MediaTypeSchema1Signed. Of the layers only types and URLs are looked at, so
// it may be asked before they are compressed, about what they will be. Errors
// wrap ErrConvert and name the layer; what already is of that type passes.
func Convertible(m *Manifest, to string) error {
	switch {
	case m.MediaType == to:
		return nil
	case to != MediaTypeManifest && to != MediaTypeDockerManifest && !isSchema1Type(to):
		return fmt.Errorf("%w: %q is no type of image", ErrConvert, to)
	case m.MediaType != MediaTypeManifest && m.MediaType != MediaTypeDockerManifest:
		return fmt.Errorf("%w: %q is not a single image", ErrConvert, m.MediaType)
	case m.Config == nil:
		return fmt.Errorf("%w: it has no configuration", ErrConvert)
	case !m.IsImage():
		return fmt.Errorf("%w: it is an artifact of type %q, not an image", ErrConvert, m.Config.MediaType)
	}
	for i, l := range m.Layers {
		if _, err := ConvertLayerType(l.MediaType, to); err != nil {
			return fmt.Errorf("layer %d, %s: %w", i+1, l.Digest, err)
		}
		if isSchema1Type(to) && IsForeign(l) {
			return fmt.Errorf("layer %d, %s: %w: schema 1 has no place for its URLs", i+1, l.Digest, ErrConvert)
		}
	}
	return nil
}

func isSchema1Type(mediaType string) bool {
	return mediaType == MediaTypeSchema1 || mediaType == MediaTypeSchema1Signed
}

// Convert makes the image r, whose configuration is config, one of the type to:
// MediaTypeManifest (image-spec, manifest.md) or MediaTypeDockerManifest
// (Docker's image manifest version 2, schema 2). The layers stay as they are,
// under other names. To Docker the configuration keeps its bytes, and
// annotations, subject and artifactType are lost; to OCI the configuration is
// written anew with the fields that the image-spec has, so its digest changes.
// An image that already is of that type comes back as it was; to convert
// again changes nothing.
//
// Errors wrap ErrConvert if the format cannot say it (see Convertible), else
// ErrInvalid: a document is broken, config is not the one that r names, or it
// has not one diff ID for each layer.
func Convert(r Raw, config []byte, to string) (*Conversion, error) {
	m, err := Parse(r)
	if err != nil {
		return nil, err
	}
	if m.MediaType == to {
		return &Conversion{Manifest: Raw{to, r.Bytes}, Config: config}, nil
	}
	if isSchema1Type(to) {
		return nil, fmt.Errorf("%w: schema 1 needs a name, see MakeSchema1", ErrConvert)
	}
	if err := Convertible(m, to); err != nil {
		return nil, err
	}
	c := &Conversion{Config: config}
	if _, err := checkConfig(m, config); err != nil {
		return nil, err
	}
	if to == MediaTypeManifest {
		if c.Config, c.Lost, err = ociConfig(config); err != nil {
			return nil, err
		}
	}
	c.Manifest, err = c.write(m, to)
	return c, err
}

// write returns m as a manifest of the type to, and notes what is lost.
func (c *Conversion) write(m *Manifest, to string) (Raw, error) {
	d := imageDocument{SchemaVersion: 2, MediaType: to, Layers: []Descriptor{}}
	d.Config = *m.Config
	d.Config.MediaType = MediaTypeDockerConfig
	if to == MediaTypeManifest {
		d.Config.MediaType = MediaTypeConfig
		d.Subject, d.ArtifactType, d.Annotations = m.Subject, m.ArtifactType, m.Annotations
	}
	d.Config.Digest = m.Config.Digest.Algorithm().FromBytes(c.Config)
	d.Config.Size = int64(len(c.Config))
	d.Config.Data = nil // a copy of what may have changed
	for _, l := range m.Layers {
		name, err := ConvertLayerType(l.MediaType, to)
		if err != nil {
			return Raw{}, err
		}
		l.MediaType = name
		d.Layers = append(d.Layers, l)
	}
	if to == MediaTypeDockerManifest {
		c.Lost = append(c.Lost, lostToDocker("the manifest's", m.Annotations, m.Subject != nil, m.ArtifactType)...)
		c.Lost = append(c.Lost, lostToDocker("the configuration's", d.Config.Annotations, false, d.Config.ArtifactType)...)
		for i, l := range d.Layers {
			c.Lost = append(c.Lost, lostToDocker(fmt.Sprintf("layer %d's", i+1), l.Annotations, false, l.ArtifactType)...)
		}
	}
	b, err := d.marshal()
	if err != nil {
		return Raw{}, err
	}
	if len(b) > MaxManifest {
		return Raw{}, fmt.Errorf("%w: the manifest would have more than %d bytes", ErrConvert, MaxManifest)
	}
	return Raw{to, b}, nil
}

// imageDocument is an image manifest as it is written.
type imageDocument struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// marshal returns d as programs that make images of its type write it, so that
// one image has one digest, whoever converted it.
func (d *imageDocument) marshal() ([]byte, error) {
	if d.MediaType != MediaTypeDockerManifest {
		return json.Marshal(d)
	}
	layers := make([]dockerDescriptor, 0, len(d.Layers))
	for _, l := range d.Layers {
		l.Platform = nil // only entries of lists have one
		layers = append(layers, inDocker(l))
	}
	d.Config.Platform = nil
	return json.Marshal(struct {
		SchemaVersion int                `json:"schemaVersion"`
		MediaType     string             `json:"mediaType"`
		Config        dockerDescriptor   `json:"config"`
		Layers        []dockerDescriptor `json:"layers"`
	}{d.SchemaVersion, d.MediaType, inDocker(d.Config), layers})
}

// A dockerDescriptor is a descriptor with what Docker's have, in their order.
type dockerDescriptor struct {
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Digest    digest.Digest `json:"digest"`
	URLs      []string      `json:"urls,omitempty"`
	Platform  *Platform     `json:"platform,omitempty"`
}

func inDocker(d Descriptor) dockerDescriptor {
	return dockerDescriptor{d.MediaType, d.Size, d.Digest, d.URLs, d.Platform}
}

// lostToDocker says which of these Docker has no place for.
func lostToDocker(whose string, annotations map[string]string, subject bool, artifactType string) []string {
	var lost []string
	if len(annotations) > 0 {
		lost = append(lost, whose+" annotations")
	}
	if subject {
		lost = append(lost, whose+" subject")
	}
	if artifactType != "" {
		lost = append(lost, whose+" artifactType")
	}
	return lost
}

// checkConfig reads the configuration of m and returns it, if it is the one
// that m names and fits the layers.
func checkConfig(m *Manifest, config []byte) (*Config, error) {
	if len(config) > MaxManifest {
		return nil, fmt.Errorf("configuration: %w: it has %d bytes, more than %d", ErrInvalid, len(config), MaxManifest)
	}
	want := m.Config.Digest
	if alg := want.Algorithm(); !alg.Available() || alg.FromBytes(config) != want {
		return nil, fmt.Errorf("configuration: %w: it is not %s", ErrInvalid, want)
	}
	c, err := ParseConfig(config)
	if err != nil {
		return nil, err
	}
	if err := checkDiffIDs(c.DiffIDs(), len(m.Layers)); err != nil {
		return nil, err
	}
	return c, nil
}

func checkDiffIDs(ids []digest.Digest, layers int) error {
	if len(ids) != layers {
		return fmt.Errorf("configuration: %w: it has %d diff IDs for %d layers", ErrInvalid, len(ids), layers)
	}
	for _, id := range ids {
		if err := CheckDigest(id); err != nil {
			return fmt.Errorf("configuration: diff ID: %w", err)
		}
	}
	return nil
}
