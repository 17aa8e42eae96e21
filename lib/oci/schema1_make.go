package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// EmptyLayerDigest is the layer that stands in schema 1 manifests for entries
// without content. EmptyLayer returns it.
const EmptyLayerDigest digest.Digest = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"

// EmptyLayer returns the content of EmptyLayerDigest: 1024 zero bytes, which
// are a tar without members, with gzip. A place that is given a manifest of
// MakeSchema1 that names it must have it.
func EmptyLayer() []byte {
	return []byte{
		0x1f, 0x8b, 0x08, 0x00, 0x00, 0x09, 0x6e, 0x88, 0x00, 0xff, 0x62, 0x18, 0x05, 0xa3, 0x60, 0x14,
		0x8c, 0x58, 0x00, 0x08, 0x00, 0x00, 0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
	}
}

// MakeSchema1 makes the image r, whose configuration is config, a schema 1
// manifest without signatures, with name and tag embedded. It is the payload
// that registries want signed, laid out so that a signature can be put in
// before its last line; its digest is the same with and without. There is an
// entry for each one in the history; those without content have EmptyLayer.
// IDs are made as Docker made them. Lost are annotations, what created the top
// layer unless the configuration has it as container_config, and the types of
// the layers.
//
// Errors wrap ErrConvert if schema 1 cannot say it: see Convertible, and there
// must be a history that has one entry with content for each layer; else
// ErrInvalid, as Convert's.
func MakeSchema1(r Raw, config []byte, name, tag string) (*Conversion, error) {
	m, err := Parse(r)
	if err != nil {
		return nil, err
	}
	if err := Convertible(m, MediaTypeSchema1); err != nil {
		return nil, err
	}
	c, err := checkConfig(m, config)
	if err != nil {
		return nil, err
	}
	d := schema1Document{SchemaVersion: 1, Name: name, Tag: tag, Architecture: c.Architecture}
	if err := d.fill(m, c, config); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(d, "", "   ")
	if err != nil {
		return nil, err
	}
	if len(b) > MaxManifest {
		return nil, fmt.Errorf("%w: the schema 1 manifest would have more than %d bytes", ErrConvert, MaxManifest)
	}
	out := &Conversion{Manifest: Raw{MediaTypeSchema1, b}}
	out.Lost = lostToDocker("the manifest's", m.Annotations, m.Subject != nil, m.ArtifactType)
	for i, l := range m.Layers {
		out.Lost = append(out.Lost, lostToDocker(fmt.Sprintf("layer %d's", i+1), l.Annotations, false, l.ArtifactType)...)
	}
	return out, nil
}

// fill makes the layers and the history, the base first, and turns them round.
func (d *schema1Document) fill(m *Manifest, c *Config, config []byte) error {
	content := 0
	for _, h := range c.History {
		if !h.EmptyLayer {
			content++
		}
	}
	switch {
	case len(c.History) == 0:
		return fmt.Errorf("%w: schema 1 is made of the history, and the configuration has none", ErrConvert)
	case len(c.History) > MaxEntries:
		return fmt.Errorf("%w: the history has %d entries, more than %d", ErrConvert, len(c.History), MaxEntries)
	case content != len(m.Layers):
		return fmt.Errorf("%w: the history has %d entries with content for %d layers", ErrConvert, content, len(m.Layers))
	}
	layers, parent := m.Layers, ""
	for i, h := range c.History {
		blob := EmptyLayerDigest
		if !h.EmptyLayer {
			blob, layers = layers[0].Digest, layers[1:]
		}
		v1 := v1Compat{
			ID: v1ID(blob, parent), Parent: parent, Comment: h.Comment, Created: h.Created,
			ContainerConfig: v1Command{[]string{h.CreatedBy}}, Author: h.Author, Throwaway: h.EmptyLayer,
		}
		compat, err := json.Marshal(v1)
		if i == len(c.History)-1 {
			v1.ID = v1ID(blob, parent, string(config))
			compat, err = topCompat(config, v1)
		}
		if err != nil {
			return fmt.Errorf("configuration: %w: %v", ErrInvalid, err)
		}
		d.FSLayers = append(d.FSLayers, schema1Blob{blob})
		d.History = append(d.History, schema1State{string(compat)})
		parent = v1.ID
	}
	slices.Reverse(d.FSLayers)
	slices.Reverse(d.History)
	return nil
}

// v1ID returns the ID that Docker gave to a layer upon a parent.
func v1ID(blob digest.Digest, more ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{blob.Encoded()}, more...), " ")))
	return hex.EncodeToString(sum[:])
}

// topCompat returns the top entry's configuration: the image's, without what
// the other entries say.
func topCompat(config []byte, v1 v1Compat) ([]byte, error) {
	var fields map[string]any
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(config, &raw); err != nil {
		return nil, err
	}
	fields = make(map[string]any, len(raw)+3)
	for k, v := range raw {
		fields[k] = v
	}
	for _, key := range []string{"rootfs", "history", "parent", "throwaway"} {
		delete(fields, key)
	}
	fields["id"] = v1.ID
	if v1.Parent != "" {
		fields["parent"] = v1.Parent
	}
	if v1.Throwaway {
		fields["throwaway"] = true
	}
	return json.Marshal(fields)
}

// Rename returns the schema 1 manifest r with another name and tag embedded,
// and without signatures, which would not be valid any longer. All other
// bytes of the payload stay as they are; if nothing changes, r itself is
// returned. Errors wrap ErrInvalid: r is not one, or has no name or tag.
func (r Raw) Rename(name, tag string) (Raw, error) {
	s, err := ParseSchema1(r)
	if err != nil {
		return Raw{}, err
	}
	if s.Name == name && s.Tag == tag {
		return r, nil
	}
	text := payload(r.Bytes)
	root, err := scan(text)
	if err != nil {
		return Raw{}, err
	}
	var e edit
	for _, set := range []struct{ key, value string }{{"name", name}, {"tag", tag}} {
		n, ok := root.get(set.key)
		if !ok {
			return Raw{}, fmt.Errorf("schema 1 manifest: %w: it has no %s to change", ErrInvalid, set.key)
		}
		b, err := json.Marshal(set.value)
		if err != nil {
			return Raw{}, err
		}
		e.cuts = append(e.cuts, cut{n.start, n.end, b})
	}
	return Raw{MediaTypeSchema1, e.apply(text)}, nil
}
