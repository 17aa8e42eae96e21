package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// A dockerImage is an entry of manifest.json: names of members, and the names
// of the image.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// parseDocker reads manifest.json. As two readers may differ about a key that
// stands twice, or in another case, such a document is refused, with an error
// that wraps oci.ErrInvalid. Keys that are not known are passed over.
func parseDocker(b []byte) ([]dockerImage, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	images := []dockerImage{}
	err := open(dec, '[')
	for err == nil && dec.More() {
		var d dockerImage
		if d, err = parseDockerImage(dec); err == nil {
			images = append(images, d)
		}
	}
	if err == nil {
		err = open(dec, ']')
	}
	if err == nil {
		if _, end := dec.Token(); end != io.EOF {
			err = fmt.Errorf("something stands behind its end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", dockerName, oci.ErrInvalid, err)
	}
	return images, nil
}

// open reads one bracket.
func open(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%.100q in place of %v", fmt.Sprint(t), want)
	}
	return err
}

func parseDockerImage(dec *json.Decoder) (dockerImage, error) {
	var d dockerImage
	fields := map[string]any{"Config": &d.Config, "RepoTags": &d.RepoTags, "Layers": &d.Layers}
	seen := map[string]bool{}
	if err := open(dec, '{'); err != nil {
		return d, err
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return d, err
		}
		key, _ := t.(string)
		for known := range fields {
			if key != known && strings.EqualFold(key, known) {
				return d, fmt.Errorf("key %.200q should be %q", key, known)
			}
		}
		if seen[key] {
			return d, fmt.Errorf("key %.200q stands twice", key)
		}
		seen[key] = true
		into, ok := fields[key]
		if !ok {
			into = new(json.RawMessage)
		}
		if err := dec.Decode(into); err != nil {
			return d, err
		}
	}
	if d.Config == "" {
		return d, fmt.Errorf("an image without Config")
	}
	if n := len(d.Layers); n > oci.MaxEntries {
		return d, fmt.Errorf("%d layers, more than %d", n, oci.MaxEntries)
	}
	return d, open(dec, '}')
}

// has reports whether ref is one of the image's names.
func (d *dockerImage) has(ref reference.Docker) bool {
	return slices.ContainsFunc(d.RepoTags, func(tag string) bool { return sameName(tag, ref) })
}

// sameName reports whether name, as it stands in an archive, means ref.
func sameName(name string, ref reference.Docker) bool {
	have, err := reference.ParseDocker(name)
	return err == nil && have.WithDefaultTag() == ref.WithDefaultTag()
}

// namedDigest is the digest that a configuration is named by: HEX.json, or
// sha256:HEX. Nothing else in a docker archive vouches for it.
func (d *dockerImage) namedDigest() (digest.Digest, bool) {
	name := strings.TrimSuffix(path.Base(d.Config), ".json")
	if !strings.Contains(name, ":") {
		name = "sha256:" + name
	}
	want := digest.Digest(name)
	return want, oci.CheckDigest(want) == nil
}

// diffIDs returns the digests that the layers of d have when unpacked, one for
// each, out of its configuration.
func (d *dockerImage) diffIDs(config []byte) ([]digest.Digest, error) {
	if want, ok := d.namedDigest(); ok && want.Algorithm().FromBytes(config) != want {
		return nil, fmt.Errorf("configuration %.200q: %w: it is %s", d.Config, image.ErrMismatch, digest.FromBytes(config))
	}
	c, err := oci.ParseConfig(config)
	if err != nil {
		return nil, fmt.Errorf("configuration %.200q: %w", d.Config, err)
	}
	ids := c.DiffIDs()
	if len(ids) != len(d.Layers) {
		return nil, fmt.Errorf("%w: %s names %d layers, the configuration %.200q has %d", oci.ErrInvalid, dockerName, len(d.Layers), d.Config, len(ids))
	}
	for _, id := range ids {
		if err := oci.CheckDigest(id); err != nil {
			return nil, fmt.Errorf("configuration %.200q: %w", d.Config, err)
		}
	}
	return ids, nil
}

// makeManifest makes the Docker schema 2 manifest of an image that has none:
// the configuration as it is, and the layers as they are stored.
func makeManifest(config []byte, layers []oci.Descriptor) oci.Raw {
	type descriptor struct {
		MediaType string        `json:"mediaType"`
		Size      int64         `json:"size"`
		Digest    digest.Digest `json:"digest"`
	}
	m := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{2, oci.MediaTypeDockerManifest, descriptor{oci.MediaTypeDockerConfig, int64(len(config)), digest.FromBytes(config)}, []descriptor{}}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor{l.MediaType, l.Size, l.Digest})
	}
	return oci.Raw{MediaType: m.MediaType, Bytes: marshal(m)}
}

// marshal encodes what cannot fail to be.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// layerType is the media type of a docker archive's layer with that
// compression.
func layerType(name, compression string) (string, error) {
	types := map[string]string{"": oci.MediaTypeDockerLayer, "gzip": oci.MediaTypeDockerLayerGzip, "zstd": oci.MediaTypeDockerLayerZstd}
	t, ok := types[compression]
	if !ok {
		return "", fmt.Errorf("%w: layer %.200q is compressed with %s, for which no manifest has a type", image.ErrUnsupported, name, compression)
	}
	return t, nil
}
