package sample

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// The platforms of the shapes with several.
var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	armv7 = v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
)

// recipe is an image to be made.
type recipe struct {
	platform v1.Platform
	docker   bool
	layers   []layer
	made     time.Time // when, as it says; zero is the date of all samples
}

// Tiny is a linux/amd64 image of three gzip layers, OCI media types.
func Tiny() Shape { return single("tiny", threeLayers("tiny", gzipped), false) }

// Docker is Tiny with Docker's media types (version 2, schema 2).
func Docker() Shape { return single("docker", threeLayers("docker", gzipped), true) }

// Plain is Tiny with uncompressed layers.
func Plain() Shape { return single("plain", threeLayers("plain", plain), false) }

// Zstd is Tiny with zstd layers.
func Zstd() Shape { return single("zstd", threeLayers("zstd", zstded), false) }

// Many is an image of n small gzip layers. Docker 20.10 loads at most 125.
func Many(n int) Shape {
	var layers []layer
	for i := range n {
		layers = append(layers, layer{fmt.Sprintf("many-%03d", i), 600, gzipped})
	}
	return single("many", layers, false)
}

// Big is an image with one gzip layer of a little more than size bytes, both
// compressed and not.
func Big(size int64) Shape {
	return single("big", []layer{{"big", size, stored}}, false)
}

// Dated is an image of one small gzip layer that says it was made at that time,
// to the second, and that its name is in.
func Dated(name string, made time.Time) Shape {
	return Shape{name, func(l *layout) (v1.Descriptor, error) {
		d, err := recipe{amd64, false, []layer{{name, 600, gzipped}}, made.UTC().Truncate(time.Second)}.put(l)
		d.Platform = nil
		return d, err
	}}
}

// Platforms is an OCI index of three platforms, whose images share a layer,
// each with an attestation as buildkit attaches them.
func Platforms() Shape {
	return Shape{"platforms", func(l *layout) (v1.Descriptor, error) {
		var images, attestations []v1.Descriptor
		for _, r := range threePlatforms("platforms") {
			image, err := r.put(l)
			if err != nil {
				return image, err
			}
			attestation, err := putAttestation(l, image)
			if err != nil {
				return attestation, err
			}
			images, attestations = append(images, image), append(attestations, attestation)
		}
		return l.putIndex(v1.MediaTypeImageIndex, append(images, attestations...)...)
	}}
}

// List is a Docker manifest list of three platforms.
func List() Shape {
	return Shape{"list", func(l *layout) (v1.Descriptor, error) {
		var images []v1.Descriptor
		for _, r := range threePlatforms("list") {
			r.docker = true
			image, err := r.put(l)
			if err != nil {
				return image, err
			}
			images = append(images, image)
		}
		return l.putIndex(DockerList, images...)
	}}
}

// Nested is an OCI index of an index of two platforms and of an image.
func Nested() Shape {
	return Shape{"nested", func(l *layout) (v1.Descriptor, error) {
		var entries []v1.Descriptor
		for _, r := range threePlatforms("nested") {
			d, err := r.put(l)
			if err != nil {
				return d, err
			}
			entries = append(entries, d)
		}
		inner, err := l.putIndex(v1.MediaTypeImageIndex, entries[:2]...)
		if err != nil {
			return inner, err
		}
		return l.putIndex(v1.MediaTypeImageIndex, inner, entries[2])
	}}
}

// Artifact is an OCI manifest of something that is no image: an empty
// configuration and two files that are no layers.
func Artifact() Shape {
	return Shape{"artifact", func(l *layout) (v1.Descriptor, error) {
		config, err := l.putBytes(v1.MediaTypeEmptyJSON, []byte("{}"))
		if err != nil {
			return config, err
		}
		text, err := l.putBytes("text/plain", []byte("not a layer\n"))
		if err != nil {
			return text, err
		}
		text.Annotations = map[string]string{v1.AnnotationTitle: "note.txt"}
		data, err := l.putBytes("application/vnd.example.data", []byte{0, 1, 2, 3, 254, 255})
		if err != nil {
			return data, err
		}
		return l.putJSON(v1.MediaTypeImageManifest, v1.Manifest{
			Versioned:    specs.Versioned{SchemaVersion: 2},
			MediaType:    v1.MediaTypeImageManifest,
			ArtifactType: "application/vnd.example.thing",
			Config:       config,
			Layers:       []v1.Descriptor{text, data},
			Annotations:  map[string]string{v1.AnnotationCreated: created.Format("2006-01-02T15:04:05Z")},
		})
	}}
}

// All is every shape, those with a size small.
func All() []Shape {
	return []Shape{Tiny(), Docker(), Plain(), Zstd(), Many(127), Big(3 << 20), Platforms(), List(), Nested(), Artifact()}
}

func single(name string, layers []layer, docker bool) Shape {
	return Shape{name, func(l *layout) (v1.Descriptor, error) {
		d, err := recipe{platform: amd64, docker: docker, layers: layers}.put(l)
		d.Platform = nil // an index.json names platforms only where there is a choice
		return d, err
	}}
}

func threeLayers(name string, f form) []layer {
	return []layer{{name + "-a", 20_000, f}, {name + "-b", 10_000, f}, {name + "-c", 300, f}}
}

func threePlatforms(name string) []recipe {
	var rs []recipe
	for _, p := range []v1.Platform{amd64, arm64, armv7} {
		layers := []layer{{name + "-base", 15_000, gzipped}, {name + "-" + p.Architecture, 5000, gzipped}}
		rs = append(rs, recipe{platform: p, layers: layers})
	}
	return rs
}

// put stores the image; the descriptor returned names its platform.
func (r recipe) put(l *layout) (v1.Descriptor, error) {
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	configType := v1.MediaTypeImageConfig
	if r.docker {
		m.MediaType, configType = DockerManifest, dockerConfig
	}
	image := r.config()
	for _, y := range r.layers {
		d, diff, err := y.put(l, layerType(y.form, r.docker))
		if err != nil {
			return d, err
		}
		m.Layers = append(m.Layers, d)
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, diff)
		image.History = append(image.History, v1.History{Created: &created, CreatedBy: "COPY " + y.name + " /opt"})
	}
	var err error
	if m.Config, err = l.putJSON(configType, image); err != nil {
		return m.Config, err
	}
	d, err := l.putJSON(m.MediaType, m)
	d.Platform = &r.platform
	return d, err
}

func (r recipe) config() v1.Image {
	made := created
	if !r.made.IsZero() {
		made = r.made
	}
	return v1.Image{
		Created:  &made,
		Platform: r.platform,
		Config: v1.ImageConfig{
			User:       "1000:1000",
			Env:        []string{"PATH=/opt", "SAMPLE=yes"},
			Entrypoint: []string{"/opt/run"},
			Cmd:        []string{"--help"},
			WorkingDir: "/opt",
			Labels:     map[string]string{"org.example.sample": "yes"},
		},
		RootFS: v1.RootFS{Type: "layers"},
	}
}

func layerType(f form, docker bool) string {
	switch {
	case docker && f == plain:
		return dockerLayer
	case docker:
		return dockerLayerGzip
	case f == plain:
		return v1.MediaTypeImageLayer
	case f == zstded:
		return v1.MediaTypeImageLayerZstd
	}
	return v1.MediaTypeImageLayerGzip
}

// putAttestation stores a provenance statement about an image in the way of
// buildkit: a manifest of the platform unknown/unknown, bound by annotations.
func putAttestation(l *layout, image v1.Descriptor) (v1.Descriptor, error) {
	const kind = "application/vnd.in-toto+json"
	statement, err := l.putJSON(kind, map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject":       []any{map[string]any{"name": "sample", "digest": map[string]string{"sha256": image.Digest.Encoded()}}},
		"predicate":     map[string]any{},
	})
	if err != nil {
		return statement, err
	}
	statement.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
	unknown := v1.Platform{OS: "unknown", Architecture: "unknown"}
	config, err := l.putJSON(v1.MediaTypeImageConfig, v1.Image{
		Platform: unknown,
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{statement.Digest}},
	})
	if err != nil {
		return config, err
	}
	d, err := l.putJSON(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    config,
		Layers:    []v1.Descriptor{statement},
	})
	d.Platform = &unknown
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": image.Digest.String(),
	}
	return d, err
}
