package oci

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// ConvertIndex makes the index r one of the type to: MediaTypeIndex
// (image-spec, image-index.md) or MediaTypeDockerList (Docker's manifest list).
// instances are what the entries of r became, in their order: of each the
// media type, digest and size are taken, and its platform for an entry that
// has none. Entries keep their platforms and URLs; their annotations and
// artifact types, and those of the index, are lost to Docker only, as a
// platform's "features" are to OCI. An entry of a list must have a platform: if nobody
// knows it, it is Host's. The Config of the result is nil. An index that is of that type
// already is not converted, it comes back as it was: see Rewrite.
//
// Errors wrap ErrConvert if an instance cannot be in a list: it is not an
// image of Docker's; else ErrInvalid.
func ConvertIndex(r Raw, to string, instances []Descriptor) (*Conversion, error) {
	m, err := Parse(r)
	if err != nil {
		return nil, err
	}
	switch {
	case !m.IsIndex() || !IsIndexType(to):
		return nil, fmt.Errorf("%w: %q is made an index or list of one only, not %q", ErrConvert, m.MediaType, to)
	case m.MediaType == to:
		return &Conversion{Manifest: Raw{to, r.Bytes}}, nil
	case len(instances) != len(m.Manifests):
		return nil, fmt.Errorf("%w: %d instances for %d entries", ErrInvalid, len(instances), len(m.Manifests))
	}
	doc := indexDocument{SchemaVersion: 2, MediaType: to, Manifests: []Descriptor{}}
	c := &Conversion{}
	for i, d := range m.Manifests {
		if err := CheckDescriptor(instances[i]); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		d, lost, err := entry(d, instances[i], to)
		if err != nil {
			return nil, fmt.Errorf("entry %d, %s: %w", i+1, m.Manifests[i].Digest, err)
		}
		for _, what := range lost {
			c.Lost = append(c.Lost, "entry "+strconv.Itoa(i+1)+"'s "+what)
		}
		doc.Manifests = append(doc.Manifests, d)
	}
	if to == MediaTypeIndex {
		doc.Subject, doc.ArtifactType, doc.Annotations = m.Subject, m.ArtifactType, m.Annotations
		c.Lost = append(c.Lost, features(r.Bytes)...)
	} else {
		c.Lost = append(c.Lost, lostToDocker("the index's", m.Annotations, m.Subject != nil, m.ArtifactType)...)
	}
	b, err := doc.marshal()
	if err != nil {
		return nil, err
	}
	c.Manifest = Raw{to, b}
	if len(b) > MaxManifest {
		return nil, fmt.Errorf("%w: the index would have more than %d bytes", ErrConvert, MaxManifest)
	}
	return c, nil
}

// indexDocument is an index or list as it is written.
type indexDocument struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// marshal is imageDocument's.
func (d *indexDocument) marshal() ([]byte, error) {
	if d.MediaType != MediaTypeDockerList {
		return json.Marshal(d)
	}
	list := make([]dockerDescriptor, 0, len(d.Manifests))
	for _, m := range d.Manifests {
		list = append(list, inDocker(m))
	}
	return json.Marshal(struct {
		SchemaVersion int                `json:"schemaVersion"`
		MediaType     string             `json:"mediaType"`
		Manifests     []dockerDescriptor `json:"manifests"`
	}{d.SchemaVersion, d.MediaType, list})
}

// entry returns the entry d for what it became.
func entry(d, now Descriptor, to string) (Descriptor, []string, error) {
	if d.Digest != now.Digest {
		d.Data = nil // of what it was
	}
	d.MediaType, d.Digest, d.Size = now.MediaType, now.Digest, now.Size
	if d.Platform == nil {
		d.Platform = now.Platform
	}
	if to == MediaTypeIndex {
		return d, nil, nil
	}
	if d.MediaType != MediaTypeDockerManifest && !isSchema1Type(d.MediaType) {
		return Descriptor{}, nil, fmt.Errorf("%w: Docker's lists hold Docker's images, not %q", ErrConvert, d.MediaType)
	}
	var lost []string
	if d.Platform == nil {
		host := Host()
		d.Platform = &Platform{OS: host.OS, Architecture: host.Architecture}
		lost = append(lost, "lack of a platform: it is "+FormatPlatform(*d.Platform)+" now")
	}
	if len(d.Annotations) > 0 {
		lost = append(lost, "annotations")
	}
	if d.ArtifactType != "" {
		lost = append(lost, "artifactType")
	}
	return d, lost, nil
}

// features notes the entries of a list whose platform asks for features of the
// processor.
func features(list []byte) []string {
	var doc struct {
		Manifests []struct {
			Platform struct {
				Features []string `json:"features"`
			} `json:"platform"`
		} `json:"manifests"`
	}
	if json.Unmarshal(list, &doc) != nil {
		return []string{"the features of a platform"}
	}
	var lost []string
	for i, d := range doc.Manifests {
		if slices.ContainsFunc(d.Platform.Features, func(f string) bool { return f != "" }) {
			lost = append(lost, "entry "+strconv.Itoa(i+1)+"'s platform.features")
		}
	}
	return lost
}
