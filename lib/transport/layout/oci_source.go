package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

const (
	indexFile = "index.json"
	blobsDir  = "blobs"
	maxIndex  = 16 << 20 // bytes of an index.json
)

// blobName is where blobs/ has the content of d, which oci.CheckDigest let
// pass.
func blobName(d digest.Digest) string { return d.Algorithm().String() + "/" + d.Encoded() }

// An OCISource is one image in an OCI layout. It is an image.Source, Lister
// and Ranger.
type OCISource struct {
	ref   reference.Layout
	root  *disk.Dir
	blobs []*disk.Dir // places of blobs, the first one first
	index *index
}

// OpenOCI reads the index of the layout at l.Path. Which of its images is
// meant is for Manifest to find: that of l.Name, that at l.Index, or the only
// one. Besides the names in the index, l.Name may be NAME@DIGEST, whose entry
// must have that digest, or @DIGEST, for any manifest that the index holds,
// itself or by way of an index in it.
//
// Errors: fs.ErrNotExist, image.ErrTooLarge if index.json has more than 16
// MiB, oci.ErrInvalid.
func OpenOCI(l reference.Layout, o Options) (*OCISource, error) {
	if l.Path == "" {
		l.Path = "."
	}
	root, err := disk.Open(l.Path, nil)
	if err != nil {
		return nil, err
	}
	s := &OCISource{ref: l, root: root}
	if err := s.open(o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *OCISource) open(o Options) error {
	b, err := readFile(s.root, indexFile, maxIndex)
	if err != nil {
		return err
	}
	if s.index, err = parseIndex(b); err != nil {
		return fmt.Errorf("%s: %w", path.Join(s.ref.Path, indexFile), err)
	}
	if o.SharedBlobs != "" {
		shared, err := disk.Open(o.SharedBlobs, nil)
		if err != nil {
			return err
		}
		s.blobs = append(s.blobs, shared)
	}
	// Not having blobs/ is not yet an error: all may be shared.
	if own, err := s.root.Sub(blobsDir); err == nil {
		s.blobs = append(s.blobs, own)
	} else if o.SharedBlobs == "" {
		return err
	}
	return nil
}

// Manifest implements image.Source. What it returns has the digest asked for
// or, for "", that of the index's entry. Errors: image.ErrNotFound if there is
// no such name or digest, image.ErrMismatch, image.ErrTooLarge.
func (s *OCISource) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	if d != "" {
		return s.manifest(ctx, oci.Descriptor{MediaType: s.typeOf(d), Digest: d, Size: -1})
	}
	desc, err := s.choose(ctx)
	if err != nil {
		return oci.Raw{}, err
	}
	if err := oci.CheckDescriptor(desc); err != nil {
		return oci.Raw{}, err
	}
	return s.manifest(ctx, desc)
}

func (s *OCISource) manifest(ctx context.Context, d oci.Descriptor) (oci.Raw, error) {
	if d.Size > oci.MaxManifest {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w: %d bytes, more than %d", d.Digest, image.ErrTooLarge, d.Size, oci.MaxManifest)
	}
	rc, err := s.Blob(ctx, d)
	if err != nil {
		return oci.Raw{}, err
	}
	defer rc.Close()
	b, err := blob.ReadAll(rc, d, oci.MaxManifest)
	return oci.Raw{MediaType: d.MediaType, Bytes: b}, err
}

// typeOf is what the index calls the manifest d, "" if it does not name it.
func (s *OCISource) typeOf(d digest.Digest) string {
	for _, e := range s.index.entries {
		if e.desc.Digest == d {
			return e.desc.MediaType
		}
	}
	return ""
}

// choose returns what the source was opened for.
func (s *OCISource) choose(ctx context.Context) (oci.Descriptor, error) {
	entries := s.index.entries
	switch {
	case s.ref.Name != "":
		return s.byName(ctx, s.ref.Name)
	case s.ref.Index >= len(entries):
		return oci.Descriptor{}, fail(fmt.Sprintf("index %d is too large, only %d entries available", s.ref.Index, len(entries)), image.ErrNotFound)
	case s.ref.Index >= 0:
		return entries[s.ref.Index].desc, nil
	case len(entries) != 1:
		return oci.Descriptor{}, fail("more than one image in oci, choose an image", image.ErrUnsupported)
	}
	return entries[0].desc, nil
}

// byName finds a name as it is written or, failing that, without its pin.
func (s *OCISource) byName(ctx context.Context, name string) (oci.Descriptor, error) {
	if i := s.index.named(name); i >= 0 {
		return s.index.entries[i].desc, nil
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		base, pin := name[:i], digest.Digest(name[i+1:])
		if oci.CheckDigest(pin) == nil {
			return s.byPin(ctx, base, pin)
		}
	}
	var types []string
	for _, e := range s.index.entries {
		if e.name == name {
			types = append(types, e.desc.MediaType)
		}
	}
	if types != nil {
		return oci.Descriptor{}, fail(fmt.Sprintf("reference %q matches unsupported manifest MIME types %q", name, types), image.ErrUnsupported)
	}
	return oci.Descriptor{}, fail(fmt.Sprintf("no descriptor found for reference %q", name), image.ErrNotFound)
}

// byPin finds the name whose digest must be the pin or, for no name, any
// manifest of that digest.
func (s *OCISource) byPin(ctx context.Context, name string, pin digest.Digest) (oci.Descriptor, error) {
	if name == "" {
		return s.byDigest(ctx, pin)
	}
	d, err := s.byName(ctx, name)
	if err == nil && d.Digest != pin {
		err = fmt.Errorf("%q: %w: it is %s, not %s", name, image.ErrMismatch, d.Digest, pin)
	}
	return d, err
}

// byDigest finds a manifest in the index or in the indexes below it, the
// nearest first.
func (s *OCISource) byDigest(ctx context.Context, d digest.Digest) (oci.Descriptor, error) {
	var level []oci.Descriptor
	for _, e := range s.index.entries {
		level = append(level, e.desc)
	}
	seen := map[digest.Digest]bool{}
	for depth := 0; len(level) > 0; depth++ {
		for _, desc := range level {
			if desc.Digest == d {
				return desc, nil
			}
		}
		if depth == oci.MaxDepth {
			return oci.Descriptor{}, fmt.Errorf("%w: indexes nested deeper than %d", oci.ErrInvalid, depth)
		}
		var err error
		if level, err = s.below(ctx, level, seen); err != nil {
			return oci.Descriptor{}, err
		}
	}
	return oci.Descriptor{}, fail(fmt.Sprintf("no manifest %s in %s", d, s.ref.Path), image.ErrNotFound)
}

// below returns the entries of those indexes in level that have not been
// seen. One that is not there, because the layout is sparse, is left out.
func (s *OCISource) below(ctx context.Context, level []oci.Descriptor, seen map[digest.Digest]bool) ([]oci.Descriptor, error) {
	var next []oci.Descriptor
	for _, d := range level {
		if !oci.IsIndexType(d.MediaType) || seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		raw, err := s.manifest(ctx, d)
		if errors.Is(err, image.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m, err := oci.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Digest, err)
		}
		if next = append(next, m.Manifests...); len(seen)+len(next) > oci.MaxEntries {
			return nil, fmt.Errorf("%w: indexes with more than %d entries", oci.ErrInvalid, oci.MaxEntries)
		}
	}
	return next, nil
}

// Blob implements image.Source. The file is checked to have the size of d, if
// that is known. Errors: image.ErrNotFound, image.ErrMismatch, oci.ErrInvalid.
func (s *OCISource) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return s.BlobAt(ctx, d, 0)
}

// BlobAt implements image.Ranger; it is Blob from offset bytes on.
func (s *OCISource) BlobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := oci.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	var err error
	for _, dir := range s.blobs {
		var f *os.File
		if f, err = openBlob(dir, blobName(d.Digest), d); err == nil {
			return seek(f, offset)
		}
		if !errors.Is(err, image.ErrNotFound) {
			break
		}
	}
	return nil, err
}

// Tags implements image.Lister: the names in the index, each once, in its
// order.
func (s *OCISource) Tags(context.Context) ([]string, error) {
	var tags []string
	seen := map[string]bool{"": true}
	for _, e := range s.index.entries {
		if !seen[e.name] {
			seen[e.name] = true
			tags = append(tags, e.name)
		}
	}
	return tags, nil
}

// Close implements image.Source. Blobs that are open can be read on.
func (s *OCISource) Close() error {
	for _, dir := range s.blobs {
		dir.Close()
	}
	return s.root.Close()
}
