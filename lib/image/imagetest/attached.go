package imagetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Tags lists the names in c.
func (s source) Tags(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(s.Names)), nil
}

// Find implements image.Namer.
func (c *Content) Find(_ context.Context, name string) (oci.Descriptor, error) {
	d, ok := c.Names[name]
	if !ok {
		return d, fmt.Errorf("%s: %w", name, image.ErrNotFound)
	}
	return d, nil
}

// Referrers implements image.Referrer.
func (c *Content) Referrers(_ context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	var list []oci.Descriptor
	for _, d := range slices.Sorted(maps.Keys(c.Manifests)) {
		m, err := oci.Parse(c.Manifests[d])
		if err != nil {
			return nil, err
		}
		if m.Subject != nil && m.Subject.Digest == subject {
			list = append(list, oci.Referrer(c.Manifests[d].Descriptor(), m))
		}
	}
	return list, nil
}

// Signed is an index of two platforms to which there are attached: a bundle
// and an SBOM as referrers of the index, a signature of the SBOM as referrer
// of that, and a signature with a name made of the digest of one image.
func Signed() *Content {
	c := newContent()
	a := c.image(ociTypes, AMD64, "base", "signed")
	b := c.image(ociTypes, ARM64, "base", "other")
	root := c.index(oci.MediaTypeIndex, a, b)
	sbom := c.referrer(root, "application/spdx+json", "an SBOM")
	c.referrer(root, "application/vnd.dev.sigstore.bundle.v0.3+json", "a bundle")
	c.referrer(sbom, "application/vnd.dev.sigstore.bundle.v0.3+json", "a bundle about the SBOM")
	layer := c.blob("application/vnd.dev.cosign.simplesigning.v1+json", []byte(`{"critical":{}}`))
	config := c.blob(oci.MediaTypeConfig, []byte(`{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`))
	c.Names[oci.ReferrersTag(a.Digest)+".sig"] = c.manifest(oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": config, "layers": []oci.Descriptor{layer},
	})
	c.Root = root
	return c
}

// referrer adds an artifact whose subject is of.
func (c *Content) referrer(of oci.Descriptor, artifactType, text string) oci.Descriptor {
	config := c.blob("application/vnd.oci.empty.v1+json", []byte("{}"))
	layer := c.blob(artifactType, []byte(text))
	subject := oci.Descriptor{MediaType: of.MediaType, Digest: of.Digest, Size: of.Size}
	return c.manifest(oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "artifactType": artifactType, "config": config,
		"layers": []oci.Descriptor{layer}, "subject": subject, "annotations": map[string]string{"about": text},
	})
}

// Everything attached, in images.
var all = image.With{Referrers: true, Tags: true}

// SendAttached is Send with all that is attached.
func SendAttached(ctx context.Context, dst image.Destination, c *Content) error {
	src := c.Source()
	t, err := image.Root(ctx, src, "")
	if err == nil {
		err = t.Grow(ctx, src, nil)
	}
	if err == nil {
		err = t.Attach(ctx, src, all)
	}
	if err == nil {
		err = image.Begin(ctx, dst, t)
	}
	if err != nil {
		return err
	}
	for d := range t.Blobs() {
		if err := put(ctx, dst, c, d, c.Blobs[d.Digest]); err != nil {
			return err
		}
	}
	return dst.Commit(ctx, t)
}

// TestAttached is the law for transports that keep what is attached to an
// image. place is as for TestPlace.
func TestAttached(t *testing.T, place func(t *testing.T) Place) {
	c := Signed()
	p := place(t)
	for range 2 { // the second time all is there
		dst := p.Create(t)
		if err := SendAttached(t.Context(), dst, c); err != nil {
			t.Fatalf("send: %v", err)
		}
		if err := dst.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		p.check(t, c)
		if got, want := p.attached(t), attachedIn(t, c.Source()); !maps.Equal(got, want) {
			t.Errorf("attached are %v; want %v", got, want)
		}
	}
	// Another copy without them leaves them where they are.
	dst := p.Create(t)
	if err := Send(t.Context(), dst, c); err != nil {
		t.Fatal(err)
	}
	dst.Close()
	if got := p.attached(t); len(got) != 4 {
		t.Errorf("after a copy without what is attached there are %v", got)
	}
}

func (p Place) attached(t *testing.T) map[string]string {
	t.Helper()
	src, err := p.Open(t)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer src.Close()
	return attachedIn(t, src)
}

// attachedIn maps what is attached, at any level, to its subject.
func attachedIn(t *testing.T, src image.Source) map[string]string {
	t.Helper()
	root, err := image.Root(t.Context(), src, "")
	if err == nil {
		err = root.Grow(t.Context(), src, nil)
	}
	if err == nil {
		err = root.Attach(t.Context(), src, all)
	}
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	found := map[string]string{}
	for k := range root.Walk() {
		for _, a := range k.Attached {
			found[a.Name+" "+a.Desc.Digest.String()+" "+a.Desc.ArtifactType] = k.Desc.Digest.String()
		}
	}
	return found
}
