package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Basic is the summary that skopeo inspect prints: its keys, in its order.
type Basic struct {
	Name          string `json:",omitempty"`
	Tag           string `json:",omitempty"`
	Digest        digest.Digest
	RepoTags      []string
	Created       *time.Time
	DockerVersion string
	Labels        map[string]string
	Architecture  string
	Os            string
	Layers        []string
	LayersData    []Layer
	Env           []string
}

// A Layer is one of a manifest's layers.
type Layer struct {
	MIMEType    string
	Digest      digest.Digest
	Size        int64
	Annotations map[string]string
}

// A Summary is what img-inspect prints: the same keys, and then more.
type Summary struct {
	Basic
	MediaType    string
	ArtifactType string            `json:",omitempty"`
	Subject      digest.Digest     `json:",omitempty"`
	Variant      string            `json:",omitempty"`
	Author       string            `json:",omitempty"`
	User         string            `json:",omitempty"`
	Entrypoint   []string          `json:",omitempty"`
	Cmd          []string          `json:",omitempty"`
	WorkingDir   string            `json:",omitempty"`
	ExposedPorts []string          `json:",omitempty"`
	Annotations  map[string]string `json:",omitempty"`
	Instance     digest.Digest     `json:",omitempty"` // of an index: the image that is described
	Size         int64             // bytes of the manifest, the config and the layers of the image
	Platforms    []Entry           `json:",omitempty"` // of an index
}

// An Entry is one of an index's manifests.
type Entry struct {
	Platform string
	Digest   digest.Digest
	Size     int64 // bytes of the manifest
	MIMEType string
}

// Summarise describes what root, which is parsed, names in src, and the one
// image t of it: root itself or, of an index, the one chosen, nil for none.
// What is no image is described as far as it goes.
func Summarise(ctx context.Context, src image.Source, root, t *image.Tree) (*Summary, error) {
	s := &Summary{MediaType: root.Desc.MediaType, Annotations: root.Manifest.Annotations, ArtifactType: root.Manifest.ArtifactType}
	s.Digest, s.RepoTags = root.Desc.Digest, []string{}
	if root.Manifest.Subject != nil {
		s.Subject = root.Manifest.Subject.Digest
	}
	for _, d := range root.Manifest.Manifests {
		s.Platforms = append(s.Platforms, entry(d))
	}
	if t == nil {
		return s, nil
	}
	if t != root {
		s.Instance = t.Desc.Digest
	}
	return s, s.describe(ctx, src, t)
}

func entry(d oci.Descriptor) Entry {
	e := Entry{Digest: d.Digest, Size: d.Size, MIMEType: d.MediaType}
	if d.Platform != nil {
		e.Platform = oci.FormatPlatform(*d.Platform)
	}
	return e
}

// describe fills in what the manifest of one image, and its config, say.
func (s *Summary) describe(ctx context.Context, src image.Source, t *image.Tree) error {
	s.Layers, s.LayersData, s.Size = []string{}, []Layer{}, t.Desc.Size
	for _, d := range t.Manifest.Layers {
		s.Layers = append(s.Layers, d.Digest.String())
		s.LayersData = append(s.LayersData, Layer{d.MediaType, d.Digest, d.Size, d.Annotations})
	}
	for _, d := range t.Manifest.Blobs() {
		s.Size += d.Size
	}
	if !t.Manifest.IsImage() {
		return nil
	}
	c, err := image.Config(ctx, src, t.Manifest)
	if errors.Is(err, image.ErrUnsupported) {
		return nil // a manifest alone
	}
	if err != nil {
		return fmt.Errorf("image configuration: %w", err)
	}
	s.Created, s.DockerVersion, s.Labels = c.Created, c.DockerVersion, c.Config.Labels
	s.Architecture, s.Os, s.Variant, s.Author = c.Architecture, c.OS, c.Variant, c.Author
	s.Env, s.User, s.WorkingDir = c.Config.Env, c.Config.User, c.Config.WorkingDir
	s.Entrypoint, s.Cmd = c.Config.Entrypoint, c.Config.Cmd
	for p := range c.Config.ExposedPorts {
		s.ExposedPorts = append(s.ExposedPorts, p)
	}
	slices.Sort(s.ExposedPorts)
	return nil
}
