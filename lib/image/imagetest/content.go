// Package imagetest holds images made of known bytes, places in memory to
// read them from and write them to, and the conformance suite that every
// transport passes.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// Content is an image in memory: a root manifest, and all that is below it.
// The same function makes the same bytes each time.
type Content struct {
	Root      oci.Descriptor
	Manifests map[digest.Digest]oci.Raw
	Blobs     map[digest.Digest][]byte
	Names     map[string]oci.Descriptor // beside the root, in the same place
}

func newContent() *Content {
	return &Content{Manifests: map[digest.Digest]oci.Raw{}, Blobs: map[digest.Digest][]byte{}, Names: map[string]oci.Descriptor{}}
}

func (c *Content) blob(mediaType string, b []byte) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	c.Blobs[d.Digest] = b
	return d
}

// manifest adds a manifest and makes it the root.
func (c *Content) manifest(mediaType string, v any) oci.Descriptor {
	b, err := json.MarshalIndent(v, "", "   ") // as Docker does: bytes that re-marshalling would not give
	if err != nil {
		panic(err)
	}
	raw := oci.Raw{MediaType: mediaType, Bytes: b}
	c.Root = raw.Descriptor()
	c.Manifests[c.Root.Digest] = raw
	return c.Root
}

// Layer returns a tar with one file, and the same packed with gzip.
func Layer(name string, content []byte) (plain, packed []byte) {
	var t, z bytes.Buffer
	tw := tar.NewWriter(&t)
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		panic(err)
	}
	tw.Write(content)
	tw.Close()
	zw := gzip.NewWriter(&z)
	zw.Write(t.Bytes())
	zw.Close()
	return t.Bytes(), z.Bytes()
}

type types struct{ manifest, index, config, layer string }

var (
	ociTypes    = types{oci.MediaTypeManifest, oci.MediaTypeIndex, oci.MediaTypeConfig, oci.MediaTypeLayerGzip}
	dockerTypes = types{oci.MediaTypeDockerManifest, oci.MediaTypeDockerList, oci.MediaTypeDockerConfig, oci.MediaTypeDockerLayerGzip}
)

// image adds an image with the given layers, each named by what is in it.
func (c *Content) image(t types, p oci.Platform, layers ...string) oci.Descriptor {
	diffs := []digest.Digest{}
	descs := []oci.Descriptor{}
	for _, l := range layers {
		plain, packed := Layer(l, bytes.Repeat([]byte(l+"\n"), 100))
		diffs = append(diffs, digest.FromBytes(plain))
		descs = append(descs, c.blob(t.layer, packed))
	}
	config := c.blob(t.config, mustJSON(map[string]any{
		"architecture": p.Architecture, "os": p.OS, "variant": p.Variant, "created": "2024-01-02T03:04:05Z",
		"config": map[string]any{"Cmd": []string{"/" + layers[0]}, "Env": []string{"A=b"}, "Labels": map[string]string{"who": strings.Join(layers, "+")}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	}))
	d := c.manifest(t.manifest, map[string]any{"schemaVersion": 2, "mediaType": t.manifest, "config": config, "layers": descs})
	d.Platform = &p
	return d
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (c *Content) index(mediaType string, entries ...oci.Descriptor) oci.Descriptor {
	return c.manifest(mediaType, map[string]any{"schemaVersion": 2, "mediaType": mediaType, "manifests": entries, "annotations": map[string]string{"made.by": "imagetest"}})
}

// Platforms of the images in Index.
var (
	AMD64 = oci.Platform{OS: "linux", Architecture: "amd64"}
	ARM64 = oci.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	S390X = oci.Platform{OS: "linux", Architecture: "s390x"}
)

// Image is an OCI image for linux/amd64 with three layers.
func Image() *Content {
	c := newContent()
	c.image(ociTypes, AMD64, "base", "middle", "top")
	return c
}

// Docker is the same as a Docker schema 2 image.
func Docker() *Content {
	c := newContent()
	c.image(dockerTypes, AMD64, "base", "middle", "top")
	return c
}

// Index is an OCI index of three platforms that share a layer, with a
// BuildKit attestation for each.
func Index() *Content {
	c := newContent()
	var entries []oci.Descriptor
	for _, p := range []oci.Platform{AMD64, ARM64, S390X} {
		entries = append(entries, c.image(ociTypes, p, "base", p.Architecture))
	}
	for _, e := range entries[:3] {
		entries = append(entries, c.attestation(e))
	}
	c.index(oci.MediaTypeIndex, entries...)
	return c
}

func (c *Content) attestation(of oci.Descriptor) oci.Descriptor {
	statement := c.blob("application/vnd.in-toto+json", []byte(fmt.Sprintf(`{"subject":%q}`, of.Digest)))
	config := c.blob(oci.MediaTypeConfig, []byte(fmt.Sprintf(`{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`, statement.Digest)))
	d := c.manifest(oci.MediaTypeManifest, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": config, "layers": []oci.Descriptor{statement}})
	d.Platform = &oci.Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{"vnd.docker.reference.digest": of.Digest.String(), "vnd.docker.reference.type": "attestation-manifest"}
	return d
}

// DockerList is a Docker manifest list of two platforms.
func DockerList() *Content {
	c := newContent()
	c.index(oci.MediaTypeDockerList, c.image(dockerTypes, AMD64, "base", "x"), c.image(dockerTypes, ARM64, "base", "y"))
	return c
}

// Nested is an index that holds an image and an index.
func Nested() *Content {
	c := newContent()
	inner := c.index(oci.MediaTypeIndex, c.image(ociTypes, ARM64, "base", "inner"))
	c.index(oci.MediaTypeIndex, c.image(ociTypes, AMD64, "base", "outer"), inner)
	return c
}

// Artifact is an OCI artifact that is no image: its config is the empty JSON
// object.
func Artifact() *Content {
	c := newContent()
	config := c.blob("application/vnd.oci.empty.v1+json", []byte("{}"))
	file := c.blob("text/plain", []byte("an artifact\n"))
	c.manifest(oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "artifactType": "application/vnd.example.thing",
		"config": config, "layers": []oci.Descriptor{file}, "annotations": map[string]string{"k": "<v>"},
	})
	return c
}

// Everything is one Content of each kind, by name.
func Everything() map[string]*Content {
	return map[string]*Content{
		"image": Image(), "docker": Docker(), "index": Index(), "list": DockerList(), "nested": Nested(), "artifact": Artifact(),
	}
}

// Plain is a Docker image of layers that are not compressed.
func Plain(layers ...[]byte) *Content {
	c := newContent()
	var descs []oci.Descriptor
	diffs := []digest.Digest{}
	for _, l := range layers {
		descs = append(descs, c.blob(oci.MediaTypeDockerLayer, l))
		diffs = append(diffs, digest.FromBytes(l))
	}
	config := c.blob(oci.MediaTypeDockerConfig, mustJSON(map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	}))
	c.manifest(oci.MediaTypeDockerManifest, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeDockerManifest, "config": config, "layers": descs})
	return c
}
