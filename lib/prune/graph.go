package prune

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A graph parts the manifests of a place into those that go and those that
// are kept. Kept manifests keep what they point at, their subject, and what is
// attached to them; and what is attached to something and stays, keeps that.
type graph struct {
	*reader
	found  map[string]digest.Digest // what names stand for
	belong map[string][]string      // names by the one of a digest that they begin with

	whole     bool // what is below an index goes with it
	referrers bool // what is attached goes too

	kept   map[digest.Digest]Item   // with the reason
	may    map[digest.Digest]Item   // may go, with the reason: all that is not in kept does
	order  []digest.Digest          // of may
	fixed  map[digest.Digest]bool   // of may: goes, whatever else is kept
	mayTag map[string]Item          // names that belong to something in may, and go with it
	tags   []string                 // of mayTag, in order
	owners map[digest.Digest][]Item // of mayTag, by what they stand for
	holds  []hold
	links  map[digest.Digest]bool // neither kept nor going, but what belongs to them may go
}

func newGraph(r *reader, found map[string]digest.Digest, attached []string) *graph {
	g := &graph{
		reader: r, found: found, belong: map[string][]string{},
		kept: map[digest.Digest]Item{}, may: map[digest.Digest]Item{}, fixed: map[digest.Digest]bool{},
		mayTag: map[string]Item{}, owners: map[digest.Digest][]Item{}, links: map[digest.Digest]bool{},
	}
	for _, n := range attached {
		g.belong[stem(n)] = append(g.belong[stem(n)], n)
	}
	return g
}

// stem is the part of an attached name that is made of a digest.
func stem(name string) string { return name[:len("sha256-")+64] }

// keep keeps what is in list, and all that it needs. What it needs is read.
func (g *graph) keep(ctx context.Context, list []Item) error {
	for len(list) > 0 {
		var fresh []digest.Digest
		for _, it := range list {
			if _, known := g.kept[it.Digest]; !known {
				g.kept[it.Digest] = it
				fresh = append(fresh, it.Digest)
			}
		}
		if err := g.read(ctx, fresh, false); err != nil {
			return err
		}
		list = nil
		for _, d := range fresh {
			list = append(list, g.needs(d)...)
		}
	}
	return nil
}

// needs returns what a manifest points at.
func (g *graph) needs(d digest.Digest) []Item {
	n := g.nodes[d]
	var list []Item
	for _, k := range slices.Concat(n.kids, n.others) {
		list = append(list, Item{Deletion: image.Deletion{Digest: k}, Reason: Needed, By: d.String()})
	}
	if n.subject != "" {
		list = append(list, Item{Deletion: image.Deletion{Digest: n.subject}, Reason: Needed, By: d.String()})
	}
	return list
}

// spread finds what may go: the list, and what is below or attached to it.
func (g *graph) spread(ctx context.Context, list []Item) error {
	for len(list) > 0 {
		var fresh []digest.Digest
		for _, it := range list {
			_, stays := g.kept[it.Digest]
			if _, known := g.may[it.Digest]; known || stays && !g.fixed[it.Digest] {
				continue
			}
			g.may[it.Digest] = it
			g.order = append(g.order, it.Digest)
			fresh = append(fresh, it.Digest)
		}
		if err := g.read(ctx, fresh, false); err != nil {
			return err
		}
		attached, err := g.attached(ctx, fresh)
		if err != nil {
			return err
		}
		list = attached
		for _, d := range fresh {
			if !g.whole {
				break
			}
			for _, k := range g.nodes[d].kids {
				list = append(list, Item{Deletion: image.Deletion{Digest: k}, Reason: Unneeded})
			}
		}
	}
	return nil
}

// attached returns what is attached to the manifests of the list, if that is to
// go as well, and notes the names by which it is. Otherwise it notes that the
// manifests are held.
func (g *graph) attached(ctx context.Context, list []digest.Digest) ([]Item, error) {
	if !g.whole && !g.referrers {
		return nil, nil
	}
	list = slices.DeleteFunc(slices.Clone(list), func(d digest.Digest) bool { return g.nodes[d].missing })
	found := make([][]digest.Digest, len(list))
	at := make([]int, len(list))
	for i := range at {
		at[i] = i
	}
	err := each(ctx, at, func(ctx context.Context, i int) (err error) {
		found[i], err = g.listed(ctx, list[i])
		return err
	})
	if err == nil {
		err = g.read(ctx, slices.Concat(found...), false)
	}
	if err != nil {
		return nil, err
	}
	var items []Item
	for i, d := range list {
		items = append(items, g.attachedTo(d, found[i])...)
	}
	return items, nil
}

// listed returns what shelf says belongs to d.
func (g *graph) listed(ctx context.Context, d digest.Digest) ([]digest.Digest, error) {
	refs, err := image.Referrers(ctx, g.shelf, d)
	if err != nil {
		return nil, err // it names the manifest
	}
	if len(refs) > oci.MaxEntries {
		return nil, fmt.Errorf("referrers of %s: %w: more than %d", d, image.ErrTooLarge, oci.MaxEntries)
	}
	var list []digest.Digest
	for _, r := range refs {
		if oci.CheckDigest(r.Digest) == nil {
			list = append(list, r.Digest)
		}
	}
	return list, nil
}

// attachedTo returns what is attached to d: those of refs that say so
// themselves, and what has a name that says so.
func (g *graph) attachedTo(d digest.Digest, refs []digest.Digest) []Item {
	var items []Item
	goes := func(what digest.Digest) {
		items = append(items, Item{Deletion: image.Deletion{Digest: what}, Reason: Belongs, By: d.String()})
	}
	for _, ref := range refs {
		switch {
		case g.nodes[ref].subject != d: // a stranger's word
		case g.referrers:
			goes(ref)
		default:
			g.holds = append(g.holds, hold{d, ref, ref.String()})
		}
	}
	for _, name := range g.belong[oci.ReferrersTag(d)] {
		at, ok := g.found[name]
		if !g.referrers {
			g.holds = append(g.holds, hold{of: d, by: name})
			continue
		}
		if _, known := g.mayTag[name]; !known {
			it := Item{Deletion: image.Deletion{Name: name, Digest: at}, Reason: Belongs, By: d.String()}
			g.mayTag[name], g.owners[at] = it, append(g.owners[at], it)
			g.tags = append(g.tags, name)
		}
		if ok {
			goes(at)
		}
	}
	return items
}

// link reads the subjects of what may go, and their subjects: by way of these it
// may belong to something that is kept.
func (g *graph) link(ctx context.Context) error {
	list := g.order
	for len(list) > 0 {
		var next []digest.Digest
		for _, d := range list {
			sub := g.nodes[d].subject
			_, kept := g.kept[sub]
			if _, may := g.may[sub]; sub == "" || kept || may || g.links[sub] {
				continue
			}
			g.links[sub] = true
			next = append(next, sub)
		}
		if err := g.read(ctx, next, false); err != nil {
			return err
		}
		list = next
	}
	return nil
}

// A hold is something attached, by what it is called, that is not asked to go.
type hold struct {
	of, what digest.Digest // what is "" for a name that stays
	by       string
}

// settle finds what of may is kept after all, because of what is kept.
func (g *graph) settle(seeds []Item) {
	s := &settler{graph: g, refs: map[digest.Digest][]digest.Digest{}, names: map[string][]string{}}
	for _, d := range slices.Concat(g.order, slices.Sorted(maps.Keys(g.links))) {
		if sub := g.nodes[d].subject; sub != "" {
			s.refs[sub] = append(s.refs[sub], d)
		}
	}
	for _, name := range g.tags {
		s.names[stem(name)] = append(s.names[stem(name)], name)
	}
	for d := range g.kept {
		s.queue = append(s.queue, d)
	}
	slices.Sort(s.queue) // the same plan each time
	for _, it := range seeds {
		s.push(it)
	}
	for _, d := range g.order {
		if err := g.nodes[d].err; err != nil {
			s.push(Item{Deletion: image.Deletion{Digest: d}, Reason: Unreadable, By: err.Error()})
		}
	}
	for _, h := range g.holds {
		if _, may := g.may[h.what]; !may {
			s.push(Item{Deletion: image.Deletion{Digest: h.of}, Reason: Attached, By: h.by})
		}
	}
	for len(s.queue) > 0 {
		d := s.queue[0]
		s.queue = s.queue[1:]
		s.follow(d)
	}
}

type settler struct {
	*graph
	refs  map[digest.Digest][]digest.Digest // manifests of may and links, by subject
	names map[string][]string               // names of mayTag, by stem
	queue []digest.Digest
}

// push keeps a manifest of may or links.
func (s *settler) push(it Item) {
	_, kept := s.kept[it.Digest]
	_, may := s.may[it.Digest]
	if !may && !s.links[it.Digest] || kept || s.fixed[it.Digest] {
		return
	}
	s.kept[it.Digest] = it
	s.queue = append(s.queue, it.Digest)
}

// follow keeps what a kept manifest needs, and what is attached to it.
func (s *settler) follow(d digest.Digest) {
	by := func(what digest.Digest) Item {
		return Item{Deletion: image.Deletion{Digest: what}, Reason: Needed, By: d.String()}
	}
	if s.nodes[d] != nil {
		for _, it := range s.needs(d) {
			s.push(it)
		}
	}
	for _, ref := range s.refs[d] {
		s.push(by(ref))
	}
	if oci.CheckDigest(d) != nil {
		return
	}
	for _, name := range s.names[oci.ReferrersTag(d)] {
		at := s.mayTag[name].Digest
		delete(s.mayTag, name)
		s.push(by(at))
	}
}
