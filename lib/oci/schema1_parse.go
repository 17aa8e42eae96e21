package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// A Schema1 is an image of Docker's image manifest version 2, schema 1, as it
// was read. It has no configuration: each entry of its history is one. What
// it says is what its digest covers; the signatures are not checked here.
type Schema1 struct {
	Name, Tag    string // as embedded: claims, not to be relied on
	Architecture string
	Signed       bool
	Entries      []Schema1Entry // the base first, which is the last in the document
}

// A Schema1Entry is a layer and the configuration that it was made with.
type Schema1Entry struct {
	Digest digest.Digest // of the compressed layer
	Empty  bool          // it has no content of its own ("throwaway")
	Compat []byte        // v1Compatibility, one JSON object

	v1 v1Compat
}

// v1Compat has the fields of an entry's configuration that are read here.
type v1Compat struct {
	ID              string     `json:"id"`
	Parent          string     `json:"parent,omitempty"`
	Comment         string     `json:"comment,omitempty"`
	Created         *time.Time `json:"created,omitempty"`
	ContainerConfig v1Command  `json:"container_config,omitzero"`
	Author          string     `json:"author,omitempty"`
	Throwaway       bool       `json:"throwaway,omitempty"`
}

type v1Command struct {
	Cmd []string
}

// Layers returns the digests of the layers that have content, the base first,
// with an entry for each: those that ConvertSchema1 wants to know about.
func (s *Schema1) Layers() []digest.Digest {
	var list []digest.Digest
	for _, e := range s.Entries {
		if !e.Empty {
			list = append(list, e.Digest)
		}
	}
	return list
}

type schema1Document struct {
	SchemaVersion int            `json:"schemaVersion"`
	MediaType     string         `json:"mediaType,omitempty"`
	Name          string         `json:"name"`
	Tag           string         `json:"tag"`
	Architecture  string         `json:"architecture"`
	FSLayers      []schema1Blob  `json:"fsLayers"`
	History       []schema1State `json:"history"`
}

type schema1Blob struct {
	BlobSum digest.Digest `json:"blobSum"`
}

type schema1State struct {
	V1Compatibility string `json:"v1Compatibility"`
}

// Keys of a schema 1 manifest, of its entries, and of a v1Compatibility.
var (
	schema1Keys = []string{
		"schemaVersion", "mediaType", "name", "tag", "architecture", "fsLayers", "history", "signatures", "blobSum", "v1Compatibility",
	}
	v1Keys = []string{
		"id", "parent", "comment", "created", "container_config", "author", "throwaway", "config", "architecture", "os",
		"rootfs", "history", "parent_id", "layer_id",
	}
	cmdKeys = []string{"Cmd"}
)

// ParseSchema1 reads a schema 1 manifest, signed or not. It is as strict as
// Parse; besides, what stands outside of the signed payload must say the same
// as the payload, there is one history entry for each layer, and each names the
// one below as its parent. Entries that stand twice in a row, as some old
// programs wrote them, are one. Errors wrap ErrInvalid.
func ParseSchema1(r Raw) (*Schema1, error) {
	if IsManifestType(r.MediaType) && !isSchema1Type(r.MediaType) {
		return nil, fmt.Errorf("schema 1 manifest: %w: declared as %q", ErrInvalid, r.MediaType)
	}
	d, err := parseSchema1(r.Bytes)
	if err != nil {
		return nil, fmt.Errorf("schema 1 manifest: %w", err)
	}
	s := &Schema1{Name: d.Name, Tag: d.Tag, Architecture: d.Architecture}
	if signed := payload(r.Bytes); mayBeSigned(r.Bytes) && !bytes.Equal(signed, r.Bytes) {
		inner, err := parseSchema1(signed)
		if err != nil {
			return nil, fmt.Errorf("schema 1 manifest: signed payload: %w", err)
		}
		if !d.equal(inner) {
			return nil, fmt.Errorf("schema 1 manifest: %w: the signed payload says something else than the document", ErrInvalid)
		}
		s.Signed = true
	}
	for i, h := range slices.Backward(d.History) {
		e, err := readEntry(d.FSLayers[i].BlobSum, []byte(h.V1Compatibility))
		if err != nil {
			return nil, fmt.Errorf("schema 1 manifest: history entry %d: %w", i+1, err)
		}
		s.Entries = append(s.Entries, e)
	}
	if err := s.chain(); err != nil {
		return nil, fmt.Errorf("schema 1 manifest: %w", err)
	}
	return s, nil
}

func (d *schema1Document) equal(o *schema1Document) bool {
	return d.Name == o.Name && d.Tag == o.Tag && d.Architecture == o.Architecture &&
		slices.Equal(d.FSLayers, o.FSLayers) && slices.Equal(d.History, o.History)
}

// parseSchema1 reads the document but for the entries' configurations.
func parseSchema1(text []byte) (*schema1Document, error) {
	if len(text) > MaxManifest {
		return nil, fmt.Errorf("%w: it has %d bytes, more than %d", ErrInvalid, len(text), MaxManifest)
	}
	root, err := scan(text)
	if err != nil {
		return nil, err
	}
	if root.kind != '{' {
		return nil, fmt.Errorf("%w: it is not an object", ErrInvalid)
	}
	if err := checkSchema1(root); err != nil {
		return nil, err
	}
	var d schema1Document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrInvalid, err)
	}
	switch {
	case d.SchemaVersion != 1:
		return nil, fmt.Errorf("%w: schemaVersion is %d, not 1", ErrInvalid, d.SchemaVersion)
	case d.MediaType != "" && !isSchema1Type(d.MediaType):
		return nil, fmt.Errorf("%w: it calls itself %q", ErrInvalid, d.MediaType)
	case len(d.FSLayers) != len(d.History):
		return nil, fmt.Errorf("%w: %d layers and %d entries of history", ErrInvalid, len(d.FSLayers), len(d.History))
	case len(d.FSLayers) == 0:
		return nil, fmt.Errorf("%w: it has no layers", ErrInvalid)
	case len(d.FSLayers) > MaxEntries:
		return nil, fmt.Errorf("%w: %d layers, more than %d", ErrInvalid, len(d.FSLayers), MaxEntries)
	}
	for _, l := range d.FSLayers {
		if err := CheckDigest(l.BlobSum); err != nil {
			return nil, err
		}
	}
	return &d, nil
}

// checkSchema1 refuses the keys of other kinds of manifests, and keys that are
// known in another case.
func checkSchema1(root node) error {
	for _, key := range []string{"config", "layers", "manifests", "blobs"} {
		if _, ok := root.get(key); ok {
			return fmt.Errorf("%w: it has the keys of more than one kind of manifest", ErrInvalid)
		}
	}
	nodes := []node{root}
	for _, key := range []string{"fsLayers", "history"} {
		list, _ := root.get(key)
		nodes = append(nodes, list.items...)
	}
	for _, n := range nodes {
		if err := checkCase(n, schema1Keys); err != nil {
			return err
		}
	}
	return nil
}

// checkCase refuses a key of n that some readers take for one of keys.
func checkCase(n node, keys []string) error {
	folded := make(map[string]string, len(keys))
	for _, k := range keys {
		folded[fold(k)] = k
	}
	for _, m := range n.members {
		if k, ok := folded[fold(m.key)]; ok && k != m.key {
			return fmt.Errorf("%w: key %q should be %q", ErrInvalid, m.key, k)
		}
	}
	return nil
}

func readEntry(d digest.Digest, compat []byte) (Schema1Entry, error) {
	e := Schema1Entry{Digest: d, Compat: compat}
	n, err := scan(compat)
	if err != nil {
		return e, err
	}
	if n.kind != '{' {
		return e, fmt.Errorf("%w: v1Compatibility is not an object", ErrInvalid)
	}
	if err := checkCase(n, v1Keys); err != nil {
		return e, err
	}
	if cc, ok := n.get("container_config"); ok {
		if err := checkCase(cc, cmdKeys); err != nil {
			return e, err
		}
	}
	if err := json.Unmarshal(compat, &e.v1); err != nil {
		return e, fmt.Errorf("%w: v1Compatibility: %v", ErrInvalid, err)
	}
	for _, id := range []string{e.v1.ID, e.v1.Parent} {
		if id != "" && (len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "") {
			return e, fmt.Errorf("%w: %.80q is no ID of an image", ErrInvalid, id)
		}
	}
	if e.v1.ID == "" {
		return e, fmt.Errorf("%w: it has no ID", ErrInvalid)
	}
	e.Empty = e.v1.Throwaway
	return e, nil
}

// chain checks that each entry is the parent of the next, and makes one of
// those that stand twice in a row.
func (s *Schema1) chain() error {
	seen := map[string]bool{}
	parent := ""
	var list []Schema1Entry
	for _, e := range s.Entries {
		if n := len(list); n > 0 && list[n-1].v1.ID == e.v1.ID {
			if list[n-1].Digest != e.Digest || list[n-1].Empty != e.Empty || list[n-1].v1.Parent != e.v1.Parent {
				return fmt.Errorf("%w: ID %s stands for two layers", ErrInvalid, e.v1.ID)
			}
			list[n-1] = e
			continue
		}
		if seen[e.v1.ID] {
			return fmt.Errorf("%w: ID %s stands twice", ErrInvalid, e.v1.ID)
		}
		if e.v1.Parent != parent {
			return fmt.Errorf("%w: %s has parent %q, and stands on %q", ErrInvalid, e.v1.ID, e.v1.Parent, parent)
		}
		seen[e.v1.ID], parent = true, e.v1.ID
		list = append(list, e)
	}
	s.Entries = list
	return nil
}
