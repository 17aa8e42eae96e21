package image

import (
	"context"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/oci"
)

// A Tree is a manifest and, for an index, what is below it.
type Tree struct {
	Desc     oci.Descriptor // as its parent names it; for the root, made from its bytes
	Raw      oci.Raw
	Manifest *oci.Manifest // nil for content of a type that Parse does not know
	Kids     []*Tree       // one for each of Manifest.Manifests; nil where one is left out

	// Attached are the trees that belong to this manifest without being
	// named in it: see Attach.
	Attached []*Tree
	Name     string // of an attached tree: its name; "" if it says itself what its subject is
}

// A Choice says which entries of an index to take. Nil takes all.
type Choice func(*oci.Manifest) (keep func(i int) bool, err error)

// Root reads the manifest that src was opened for, checks it against pin, if
// that is not "", and returns it parsed, without what is below it. Its errors
// wrap ErrMismatch and those of Source.Manifest and oci.Parse.
func Root(ctx context.Context, src Source, pin digest.Digest) (*Tree, error) {
	raw, err := src.Manifest(ctx, pin)
	if err != nil {
		return nil, err
	}
	alg := digest.SHA256
	if pin != "" {
		alg = pin.Algorithm()
	}
	t := &Tree{Raw: raw, Desc: oci.Descriptor{MediaType: raw.MediaType, Digest: raw.DigestBy(alg), Size: int64(len(raw.Bytes))}}
	if pin != "" && t.Desc.Digest != pin {
		return nil, fmt.Errorf("manifest %s: %w: it is %s", pin, ErrMismatch, t.Desc.Digest)
	}
	return t, nil
}

// Parse reads what the manifest of t says, if that has not been done. It is
// apart from Root so that a gate can stand between.
func (t *Tree) Parse() error {
	if t.Manifest != nil {
		return nil
	}
	m, err := oci.Parse(t.Raw)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Desc.Digest, err)
	}
	t.Manifest, t.Raw.MediaType, t.Desc.MediaType = m, m.MediaType, m.MediaType
	return nil
}

// Check compares the bytes of t's manifest with t.Desc, for a place that has
// content under the digest of its bytes. That of a signed schema 1 manifest is
// the digest of something else, by which such a place could not give it back:
// it fails. Errors: ErrMismatch, oci.ErrInvalid for a digest that is none.
func (t *Tree) Check() error {
	if err := oci.CheckDigest(t.Desc.Digest); err != nil {
		return err
	}
	return match(t.Desc, t.Desc.Digest.Algorithm().FromBytes(t.Raw.Bytes), len(t.Raw.Bytes))
}

func match(d oci.Descriptor, got digest.Digest, size int) error {
	if got != d.Digest {
		return fmt.Errorf("manifest %s: %w: it is %s", d.Digest, ErrMismatch, got)
	}
	if d.Size != int64(size) {
		return fmt.Errorf("manifest %s: %w: it has %d bytes, not %d", d.Digest, ErrMismatch, size, d.Size)
	}
	return nil
}

const parallelManifests = 8 // requests at a time, for one index

func parallel(src Source) int {
	if _, ok := src.(Sequence); ok {
		return 1
	}
	return parallelManifests
}

// Grow reads all that is below t, as far as choose takes it: several
// manifests at a time, each digest once. Every manifest is checked against
// the descriptor that names it.
func (t *Tree) Grow(ctx context.Context, src Source, choose Choice) error {
	g := &grower{src: src, choose: choose}
	return g.grow(ctx, t, 0)
}

type grower struct {
	src    Source
	choose Choice
	total  int
}

func (g *grower) grow(ctx context.Context, t *Tree, depth int) error {
	if err := t.Parse(); err != nil {
		return err
	}
	if !t.Manifest.IsIndex() {
		return nil
	}
	if g.total += len(t.Manifest.Manifests); depth >= oci.MaxDepth || g.total > oci.MaxEntries {
		return fmt.Errorf("%s: %w: indexes nested deeper than %d or with more than %d entries", t.Desc.Digest, oci.ErrInvalid, oci.MaxDepth, oci.MaxEntries)
	}
	keep := func(int) bool { return true }
	if g.choose != nil {
		k, err := g.choose(t.Manifest)
		if err != nil {
			return err
		}
		keep = k
	}
	if err := g.kids(ctx, t, keep); err != nil {
		return err
	}
	for _, k := range t.Kids {
		if k == nil || !oci.IsManifestType(k.Desc.MediaType) {
			continue
		}
		if err := g.grow(ctx, k, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// kids fetches the manifests that t names.
func (g *grower) kids(ctx context.Context, t *Tree, keep func(int) bool) error {
	t.Kids = make([]*Tree, len(t.Manifest.Manifests))
	first := map[digest.Digest]int{}
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(parallel(g.src))
	for i, d := range t.Manifest.Manifests {
		if !keep(i) {
			continue
		}
		if _, ok := first[d.Digest]; ok {
			continue
		}
		first[d.Digest] = i
		eg.Go(func() error {
			raw, err := fetch(ctx, g.src, d)
			t.Kids[i] = &Tree{Desc: d, Raw: raw}
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	for i, d := range t.Manifest.Manifests {
		j, ok := first[d.Digest]
		if !ok || j == i || !keep(i) {
			continue
		}
		raw, err := check(t.Kids[j].Raw, d)
		if err != nil {
			return err
		}
		t.Kids[i] = &Tree{Desc: d, Raw: raw}
	}
	return nil
}

// fetch reads the manifest that d names and checks that it is that.
func fetch(ctx context.Context, src Source, d oci.Descriptor) (oci.Raw, error) {
	raw, err := src.Manifest(ctx, d.Digest)
	if err != nil {
		return oci.Raw{}, err
	}
	return check(raw, d)
}

// check returns raw as d calls it, if it is what d says.
func check(raw oci.Raw, d oci.Descriptor) (oci.Raw, error) {
	if err := match(d, raw.DigestBy(d.Digest.Algorithm()), len(raw.Bytes)); err != nil {
		return oci.Raw{}, err
	}
	if oci.IsManifestType(d.MediaType) {
		raw.MediaType = d.MediaType // what a parent says, its digest covers
	}
	return raw, nil
}

// Walk yields the manifests of the tree, each before what it points at and what
// is attached to it.
func (t *Tree) Walk() iter.Seq[*Tree] {
	return func(yield func(*Tree) bool) { t.walk(yield) }
}

func (t *Tree) walk(yield func(*Tree) bool) bool {
	if !yield(t) {
		return false
	}
	for _, list := range [][]*Tree{t.Kids, t.Attached} {
		for _, k := range list {
			if k != nil && !k.walk(yield) {
				return false
			}
		}
	}
	return true
}

// Blobs yields every config, and then every layer, of the tree, each digest
// once.
func (t *Tree) Blobs() iter.Seq[oci.Descriptor] {
	return func(yield func(oci.Descriptor) bool) {
		seen := map[digest.Digest]bool{}
		for _, part := range []func(*oci.Manifest) []oci.Descriptor{configs, layers} {
			for k := range t.Walk() {
				for _, d := range part(k.Manifest) {
					if !seen[d.Digest] && !yield(d) {
						return
					}
					seen[d.Digest] = true
				}
			}
		}
	}
}

func configs(m *oci.Manifest) []oci.Descriptor {
	if m == nil || m.Config == nil {
		return nil
	}
	return []oci.Descriptor{*m.Config}
}

func layers(m *oci.Manifest) []oci.Descriptor {
	if m == nil {
		return nil
	}
	return m.Layers
}

// Prune returns the tree whose indexes name only what was taken, and of which
// none is empty. A tree of which nothing was left out is returned as it is,
// byte for byte.
func (t *Tree) Prune() (*Tree, error) {
	kids := make([]*Tree, 0, len(t.Kids))
	keep := make([]bool, len(t.Kids))
	moved := map[digest.Digest]oci.Descriptor{}
	for i, k := range t.Kids {
		if k == nil {
			continue
		}
		p, err := k.Prune()
		if err != nil {
			return nil, err
		}
		if len(k.Kids) > 0 && len(p.Kids) == 0 {
			continue // an index of which nothing was taken
		}
		keep[i] = true
		kids = append(kids, p)
		if p != k {
			moved[k.Desc.Digest] = p.Desc
		}
	}
	raw := t.Raw
	var err error
	if len(kids) < len(t.Kids) {
		if raw, err = raw.Select(func(i int) bool { return keep[i] }); err != nil {
			return nil, err
		}
	}
	if len(moved) == 0 && len(kids) == len(t.Kids) {
		return t, nil
	}
	return t.become(raw, kids, moved)
}

// Rewrite returns the tree with every blob that moved into another form in
// its new form. When none did it is t itself, byte for byte.
func (t *Tree) Rewrite(moved map[digest.Digest]oci.Descriptor) (*Tree, error) {
	kids := make([]*Tree, len(t.Kids))
	now := map[digest.Digest]oci.Descriptor{}
	if t.Manifest != nil {
		for _, d := range t.Manifest.Blobs() {
			if m, ok := moved[d.Digest]; ok && m.Digest != d.Digest {
				now[d.Digest] = m
			}
		}
	}
	for i, k := range t.Kids {
		if k == nil {
			continue
		}
		r, err := k.Rewrite(moved)
		if err != nil {
			return nil, err
		}
		if kids[i] = r; r != k {
			now[k.Desc.Digest] = r.Desc
		}
	}
	if len(now) == 0 {
		return t, nil
	}
	return t.become(t.Raw, kids, now)
}

// become makes the tree that t is with other descriptors in its manifest. What
// was attached to t is not attached to that one, which has another digest.
func (t *Tree) become(raw oci.Raw, kids []*Tree, moved map[digest.Digest]oci.Descriptor) (*Tree, error) {
	raw, err := raw.Rewrite(moved)
	if err != nil {
		return nil, err
	}
	m, err := oci.Parse(raw)
	if err != nil {
		return nil, err
	}
	d := t.Desc
	d.Digest, d.Size = raw.DigestBy(d.Digest.Algorithm()), int64(len(raw.Bytes))
	return &Tree{Desc: d, Raw: raw, Manifest: m, Kids: kids}, nil
}
