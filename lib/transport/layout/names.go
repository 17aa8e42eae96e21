package layout

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A listing is what an index.json says, and what is found by way of it.
type listing struct {
	*index
	path string // of the layout
	read func(context.Context, oci.Descriptor) (oci.Raw, error)

	mu    sync.Mutex
	plain map[digest.Digest][]oci.Descriptor // see entriesOf; nil before they were looked for
}

// names answers what is asked about other names, by the listing that it gets.
type names func(context.Context) (*listing, error)

// Tags implements image.Lister: the names in the index, each once, in its
// order.
func (get names) Tags(ctx context.Context) ([]string, error) {
	l, err := get(ctx)
	if err != nil {
		return nil, err
	}
	return l.tags(), nil
}

// Find implements image.Namer.
func (get names) Find(ctx context.Context, name string) (oci.Descriptor, error) {
	l, err := get(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return l.find(name)
}

// Referrers implements image.Referrer. They are found in the index that
// oci.ReferrersTag names and, because other programs put them there, among the
// entries of index.json.
func (get names) Referrers(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	l, err := get(ctx)
	if err != nil {
		return nil, err
	}
	return l.referrers(ctx, subject)
}

// maxLooked bounds the bytes of manifests that are looked into for their
// subjects.
const maxLooked = 256 << 20

// tags returns the names in the index, each once, in its order.
func (l *listing) tags() []string {
	var tags []string
	seen := map[string]bool{"": true}
	for _, e := range l.entries {
		if !seen[e.name] {
			seen[e.name] = true
			tags = append(tags, e.name)
		}
	}
	return tags
}

// find returns what a name in the index stands for; image.ErrNotFound.
func (l *listing) find(name string) (oci.Descriptor, error) {
	if i := l.named(name); i >= 0 && name != "" {
		return l.entries[i].desc, nil
	}
	return oci.Descriptor{}, fmt.Errorf("%.200q: %w in %s", name, image.ErrNotFound, l.path)
}

// referrers returns the referrers of subject, each once: those in the list
// that its name stands for, and those that are entries of the index itself, as
// some programs write them.
func (l *listing) referrers(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	if err := oci.CheckDigest(subject); err != nil {
		return nil, err
	}
	listed, err := l.listed(ctx, subject)
	if err != nil && !errors.Is(err, errNoList) {
		return nil, err
	}
	plain, err := l.entriesOf(ctx, subject)
	if err != nil {
		return nil, err
	}
	var all []oci.Descriptor
	seen := map[digest.Digest]bool{}
	for _, list := range [][]oci.Descriptor{listed, plain} {
		for _, d := range list {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				all = append(all, d)
			}
		}
	}
	return all, nil
}

// errNoList says that a name that should stand for a list of referrers does
// not.
var errNoList = fmt.Errorf("%w: the name that belongs to its list of referrers stands for something else", image.ErrUnsupported)

// listed returns the list of referrers that the name for those of subject
// stands for; none if there is no such name, or what it names is not there.
func (l *listing) listed(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	i := l.named(oci.ReferrersTag(subject))
	if i < 0 {
		return nil, nil
	}
	_, m, err := l.list(ctx, l.entries[i])
	if errors.Is(err, image.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", subject, err)
	}
	return m.Manifests, nil
}

// list reads the list of referrers that an entry describes. Errors: errNoList.
func (l *listing) list(ctx context.Context, e entry) (oci.Raw, *oci.Manifest, error) {
	if !oci.IsIndexType(e.desc.MediaType) {
		return oci.Raw{}, nil, errNoList
	}
	if err := oci.CheckDescriptor(e.desc); err != nil {
		return oci.Raw{}, nil, err
	}
	raw, err := l.read(ctx, e.desc)
	if err != nil {
		return oci.Raw{}, nil, err
	}
	m, err := oci.Parse(raw)
	return raw, m, err
}

// entriesOf returns those entries of the index whose manifest has that
// subject. Only entries without a name, or with an artifact type, are looked
// into, and each manifest is read once.
func (l *listing) entriesOf(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.plain != nil {
		return l.plain[subject], nil
	}
	plain := map[digest.Digest][]oci.Descriptor{}
	seen := map[digest.Digest]bool{}
	looked := int64(0)
	for _, e := range l.entries {
		d := e.desc
		if e.name != "" && d.ArtifactType == "" || seen[d.Digest] || !oci.IsManifestType(d.MediaType) || oci.CheckDescriptor(d) != nil {
			continue
		}
		seen[d.Digest] = true
		if looked += d.Size; looked > maxLooked || len(seen) > oci.MaxEntries {
			return nil, fmt.Errorf("%s: %w: manifests that may be referrers, more than %d or %d bytes", l.path, image.ErrTooLarge, oci.MaxEntries, maxLooked)
		}
		m, err := l.parse(ctx, d)
		if err != nil {
			return nil, err
		}
		if m != nil && m.Subject != nil {
			plain[m.Subject.Digest] = append(plain[m.Subject.Digest], oci.Referrer(d, m))
		}
	}
	l.plain = plain
	return plain[subject], nil
}

// parse reads a manifest; nil if it is not there, or none.
func (l *listing) parse(ctx context.Context, d oci.Descriptor) (*oci.Manifest, error) {
	raw, err := l.read(ctx, d)
	if err == nil {
		var m *oci.Manifest
		if m, err = oci.Parse(raw); err == nil {
			return m, nil
		}
	}
	if errors.Is(err, image.ErrNotFound) || errors.Is(err, oci.ErrInvalid) {
		return nil, nil
	}
	return nil, err
}
