package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A link is something that a manifest or index.json names. It is followed if
// it may lead on.
type link struct {
	desc   oci.Descriptor
	follow bool
}

// A graph knows what leads where in a layout. Each manifest is read once.
type graph struct {
	open  func(context.Context, oci.Descriptor) (*os.File, error)
	nodes map[digest.Digest]node
}

type node struct {
	links []link
	err   error
}

func newGraph(open func(context.Context, oci.Descriptor) (*os.File, error)) *graph {
	return &graph{open, map[digest.Digest]node{}}
}

// links returns what d leads to. What is not there leads nowhere: a layout may
// be sparse. A subject is nothing that a manifest leads to.
func (g *graph) links(ctx context.Context, d oci.Descriptor) ([]link, error) {
	n, ok := g.nodes[d.Digest]
	if !ok {
		n.links, n.err = g.read(ctx, d)
		if n.err != nil {
			n.err = fmt.Errorf("manifest %s: %w", d.Digest, n.err)
		}
		g.nodes[d.Digest] = n
	}
	return n.links, n.err
}

func (g *graph) read(ctx context.Context, d oci.Descriptor) ([]link, error) {
	f, err := g.open(ctx, oci.Descriptor{Digest: d.Digest, Size: -1})
	if errors.Is(err, image.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	known := oci.IsManifestType(d.MediaType)
	if info, err := f.Stat(); err == nil && !known && info.Size() > oci.MaxManifest {
		return nil, nil // content
	}
	b, err := blob.ReadAll(reader{ctx, f}, oci.Descriptor{Digest: d.Digest, Size: -1}, oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := oci.Parse(oci.Raw{MediaType: d.MediaType, Bytes: b})
	switch {
	case err == nil:
		return linksOf(m), nil
	case known && !errors.Is(err, oci.ErrSchema1):
		return nil, err
	}
	return mentioned(b), nil
}

// linksOf lists what m names. A layer may be a manifest, if it says so.
func linksOf(m *oci.Manifest) []link {
	var all []link
	for _, d := range m.Manifests {
		all = append(all, linkTo(d, true))
	}
	for _, d := range m.Blobs() {
		all = append(all, linkTo(d, oci.IsManifestType(d.MediaType)))
	}
	return all
}

func linkTo(d oci.Descriptor, follow bool) link {
	return link{oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, follow}
}

// mentioned lists all digests in a document of a kind that is not known.
func mentioned(b []byte) []link {
	var all []link
	for _, alg := range algorithms {
		size := digest.Algorithm(alg).Size() * 2
		for rest := b; ; {
			i := bytes.Index(rest, []byte(alg+":"))
			if i < 0 {
				break
			}
			rest = rest[i:]
			end := len(alg) + 1 + size
			if len(rest) >= end {
				if d := digest.Digest(rest[:end]); oci.CheckDigest(d) == nil {
					all = append(all, link{oci.Descriptor{Digest: d, Size: -1}, true})
				}
			}
			rest = rest[len(alg)+1:]
		}
	}
	return all
}

// marks are what can be reached in a graph.
type marks struct {
	graph   *graph
	reached map[digest.Digest]bool // true for what was followed
	todo    []link
	err     error // why there may be more
}

func newMarks(g *graph) *marks { return &marks{graph: g, reached: map[digest.Digest]bool{}} }

func (m *marks) has(d digest.Digest) bool { _, ok := m.reached[d]; return ok }

// add adds something to begin at.
func (m *marks) add(l link) { m.todo = append(m.todo, l) }

// followed marks all that can be reached, and yields each digest that is
// followed; more may be added meanwhile. It asks skip whether to go on behind
// a manifest that cannot be read.
func (m *marks) followed(ctx context.Context, skip func(error) bool) iter.Seq[digest.Digest] {
	return func(yield func(digest.Digest) bool) {
		for len(m.todo) > 0 && ctx.Err() == nil {
			l := m.todo[len(m.todo)-1]
			m.todo = m.todo[:len(m.todo)-1]
			d := l.desc.Digest
			if m.reached[d] || oci.CheckDigest(d) != nil {
				continue
			}
			m.reached[d] = l.follow
			if !l.follow {
				continue
			}
			if !yield(d) {
				return
			}
			links, err := m.graph.links(ctx, l.desc)
			if err != nil && !skip(err) {
				return
			}
			m.todo = append(m.todo, links...)
		}
	}
}
