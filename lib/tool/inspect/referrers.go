package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Node is a manifest with what belongs to it, for --referrers.
type Node struct {
	Digest       string
	MediaType    string
	ArtifactType string `json:",omitempty"`
	Platform     string `json:",omitempty"`
	Name         string `json:",omitempty"` // the tag of what is attached by name
	Size         int64
	Annotations  map[string]string `json:",omitempty"`
	Manifests    []Node            `json:",omitempty"` // of an index
	Referrers    []Node            `json:",omitempty"`
}

func newNode(t *image.Tree) Node {
	n := Node{Digest: t.Desc.Digest.String(), MediaType: t.Desc.MediaType, Name: t.Name, Size: t.Desc.Size}
	if p := t.Desc.Platform; p != nil && p.OS != "unknown" {
		n.Platform = oci.FormatPlatform(*p)
	}
	if t.Manifest != nil && t.Manifest.Subject != nil || t.Name != "" {
		d := oci.Referrer(t.Desc, t.Manifest)
		n.ArtifactType, n.Annotations = d.ArtifactType, d.Annotations
	}
	for _, k := range t.Kids {
		n.Manifests = append(n.Manifests, newNode(k))
	}
	for _, k := range t.Attached {
		n.Referrers = append(n.Referrers, newNode(k))
	}
	return n
}

// referrers shows what is attached to the image, at any level.
func (v *view) referrers(format string) error {
	root, err := v.root()
	if err != nil {
		return err
	}
	if err := root.Grow(v.ctx, v.src, nil); err != nil {
		return err
	}
	if err := root.Attach(v.ctx, v.src, image.With{Referrers: true, Tags: true}); err != nil {
		return fmt.Errorf("find what is attached: %w", err)
	}
	n := newNode(root)
	if format != "" {
		return Write(v.std.Out, n, format)
	}
	return n.print(v.std.Out, 0)
}

// holds reports whether something is attached to n or to what is below it.
func (n Node) holds() bool {
	return len(n.Referrers) > 0 || slices.ContainsFunc(n.Manifests, Node.holds)
}

// print writes a line for n, and one for each thing below it that is attached
// or has something attached: digest, what it is, and its name.
func (n Node) print(w io.Writer, depth int) error {
	words := []string{strings.Repeat("  ", depth) + n.Digest}
	for _, s := range []string{n.Platform, n.ArtifactType, n.Name} {
		if s != "" {
			words = append(words, cli.Clean(s))
		}
	}
	if _, err := fmt.Fprintln(w, strings.Join(words, " ")); err != nil {
		return err
	}
	kids := slices.DeleteFunc(slices.Clone(n.Manifests), func(k Node) bool { return !k.holds() })
	for _, k := range append(kids, n.Referrers...) {
		if err := k.print(w, depth+1); err != nil {
			return err
		}
	}
	return nil
}
