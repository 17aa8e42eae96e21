package oci

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Config returns the image configuration that s stands for, given the digests
// of its Layers unpacked, the base first; without them, for a look at it only,
// its rootfs is empty. It is made as docker pull makes it: the top entry's,
// without what belongs to schema 1 only, with a history of all entries. Of
// each the command, joined by blanks, is what created it. Architecture and os
// are the manifest's and linux where the entry has none. (Docker wrote the entry
// of an image made before its 1.8.3 anew first, which gave the same
// configuration in other bytes.) Errors wrap ErrInvalid.
func (s *Schema1) Config(diffIDs []digest.Digest) ([]byte, error) {
	if len(s.Entries) == 0 {
		return nil, fmt.Errorf("schema 1 manifest: %w: it has no layers", ErrInvalid)
	}
	top := s.Entries[len(s.Entries)-1]
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(top.Compat, &fields); err != nil {
		return nil, fmt.Errorf("schema 1 manifest: %w: %v", ErrInvalid, err)
	}
	for _, key := range []string{"id", "parent", "parent_id", "layer_id", "throwaway", "Size"} {
		delete(fields, key)
	}
	history := make([]schema1History, 0, len(s.Entries))
	for _, e := range s.Entries {
		history = append(history, schema1History{e.v1.Created, e.v1.Author, strings.Join(e.v1.ContainerConfig.Cmd, " "), e.v1.Comment, e.Empty})
	}
	type rootFS struct {
		Type    string          `json:"type"`
		DiffIDs []digest.Digest `json:"diff_ids"`
	}
	for key, v := range map[string]any{
		"history": history,
		"rootfs":  rootFS{"layers", append([]digest.Digest{}, diffIDs...)},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("schema 1 manifest: %w: %v", ErrInvalid, err)
		}
		fields[key] = b
	}
	for key, v := range map[string]string{"architecture": s.Architecture, "os": "linux"} {
		if text := string(fields[key]); v != "" && (text == "" || text == `""` || text == "null") {
			b, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			fields[key] = b
		}
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("schema 1 manifest: %w: %v", ErrInvalid, err)
	}
	return b, nil
}

// schema1History is an entry of a history, in the order of keys that Docker
// writes.
type schema1History struct {
	Created    *time.Time `json:"created,omitempty"`
	Author     string     `json:"author,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}

// ConvertSchema1 makes s an image of the type to: MediaTypeManifest or
// MediaTypeDockerManifest. layers are what its Layers became, in that order,
// with digest and size, and diffIDs their digests unpacked; a layer of no
// media type is one with gzip, as schema 1 has them. Empty entries are in the
// history only. Name, tag and signatures are lost.
//
// Errors wrap ErrConvert if the format cannot say it, else ErrInvalid.
func ConvertSchema1(s *Schema1, layers []Descriptor, diffIDs []digest.Digest, to string) (*Conversion, error) {
	if to != MediaTypeManifest && to != MediaTypeDockerManifest {
		return nil, fmt.Errorf("%w: schema 1 is not made %q", ErrConvert, to)
	}
	if want := len(s.Layers()); want != len(layers) {
		return nil, fmt.Errorf("schema 1 manifest: %w: %d layers for %d that have content", ErrInvalid, len(layers), want)
	}
	if err := checkDiffIDs(diffIDs, len(layers)); err != nil {
		return nil, err
	}
	config, err := s.Config(diffIDs)
	if err != nil {
		return nil, err
	}
	if len(config) > MaxManifest {
		return nil, fmt.Errorf("%w: the configuration would have more than %d bytes", ErrConvert, MaxManifest)
	}
	if _, err := ParseConfig(config); err != nil {
		return nil, fmt.Errorf("schema 1 manifest: %w", err)
	}
	m := &Manifest{MediaType: MediaTypeDockerManifest, Config: &Descriptor{MediaType: MediaTypeDockerConfig, Digest: digest.FromBytes(config)}}
	for i, l := range layers {
		if err := CheckDescriptor(l); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		l = Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
		if l.MediaType == "" {
			l.MediaType = MediaTypeDockerLayerGzip
		}
		if _, err := ConvertLayerType(l.MediaType, to); err != nil {
			return nil, fmt.Errorf("layer %d, %s: %w", i+1, l.Digest, err)
		}
		m.Layers = append(m.Layers, l)
	}
	c := &Conversion{Config: config}
	if to == MediaTypeManifest {
		if c.Config, c.Lost, err = ociConfig(config); err != nil {
			return nil, err
		}
	}
	c.Manifest, err = c.write(m, to)
	return c, err
}
