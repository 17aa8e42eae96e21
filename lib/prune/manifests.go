package prune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// manifests completes the plan of a rule with the manifests that go.
func (c *chooser) manifests(ctx context.Context, p *Plan, o Options) error {
	if err := c.findAll(ctx); err != nil {
		return err
	}
	for i, it := range c.going {
		c.going[i].Digest = c.found[it.Name]
	}
	for i, it := range p.Kept {
		p.Kept[i].Digest = c.found[it.Name]
	}
	g := newGraph(c.reader, c.found, c.attached)
	g.whole, g.referrers = true, o.Referrers
	if err := g.keep(ctx, needed(p.Kept)); err != nil {
		return err
	}
	for _, it := range p.Kept {
		if n := g.nodes[it.Digest]; n != nil {
			g.vague[it.Digest] = false
			if n.missing && n.err == nil {
				n.err = fmt.Errorf("%s stands for it: %w", it.Name, image.ErrNotFound)
			}
		}
	}
	var roots []Item
	for _, it := range c.going {
		if it.Digest != "" {
			roots = append(roots, Item{Deletion: image.Deletion{Digest: it.Digest}, Created: it.Created, Reason: Unneeded})
		}
	}
	if err := g.spread(ctx, roots); err != nil {
		return err
	}
	if err := g.keep(ctx, c.attachedStay(g)); err != nil {
		return err
	}
	if err := g.link(ctx); err != nil {
		return err
	}
	g.settle(g.unreadable())
	p.finish(g, c.going)
	p.Kept = append(p.Kept, g.stay(roots)...)
	return nil
}

// attachedStay returns what is kept because of the names that belong to a
// digest and do not go: what they stand for, and what they belong to.
func (c *chooser) attachedStay(g *graph) []Item {
	var list []Item
	for _, n := range c.attached {
		if _, goes := g.mayTag[n]; goes {
			continue
		}
		if d := c.found[n]; d != "" {
			list = append(list, Item{Deletion: image.Deletion{Digest: d}, Reason: Needed, By: n})
		}
		if hex, ok := strings.CutPrefix(stem(n), "sha256-"); ok { // of longer ones the name has only a part
			list = append(list, Item{Deletion: image.Deletion{Digest: digest.NewDigestFromEncoded(digest.SHA256, hex)}, Reason: Attached, By: n})
		}
	}
	return list
}

// findAll looks up the names that have not been.
func (c *chooser) findAll(ctx context.Context) error {
	rest := slices.Concat(c.others, c.attached)
	if !c.ages() {
		rest = append(rest, c.about...)
	}
	found, err := c.find(ctx, rest)
	if err != nil {
		return err
	}
	maps.Copy(c.found, found)
	return nil
}

// needed makes the items of manifests that names need.
func needed(names []Item) []Item {
	var list []Item
	for _, it := range names {
		if it.Digest != "" {
			list = append(list, Item{Deletion: image.Deletion{Digest: it.Digest}, Reason: Needed, By: it.Name})
		}
	}
	return list
}

// unreadable keeps everything if something that is kept cannot be read, though
// it should be a manifest: nobody knows what it needs.
func (g *graph) unreadable() []Item {
	var bad []digest.Digest
	for d := range g.kept {
		if n := g.nodes[d]; n != nil && n.err != nil && !g.vague[d] {
			bad = append(bad, d)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	var list []Item
	for _, d := range g.order {
		list = append(list, Item{Deletion: image.Deletion{Digest: d}, Reason: Unreadable, By: slices.Min(bad).String()})
	}
	return list
}

// stay returns the manifests that would go but are kept, with the reason: those
// among the roots, and those that g found.
func (g *graph) stay(roots []Item) []Item {
	var list []Item
	seen := map[digest.Digest]bool{}
	all := slices.Clone(g.order)
	for _, it := range roots {
		all = append(all, it.Digest)
	}
	for _, d := range all {
		if it, kept := g.kept[d]; kept && !seen[d] && !g.goes(d) {
			seen[d] = true
			list = append(list, it)
		}
	}
	return list
}

// finish puts what goes into the plan.
func (p *Plan) finish(g *graph, names []Item) {
	p.add(names)
	var attached []Item
	for _, n := range g.tags {
		if it, ok := g.mayTag[n]; ok {
			attached = append(attached, it)
		}
	}
	p.add(attached)
	p.points, p.clings = g.edges()
	p.Steps = append(p.Steps, g.steps(p.points)...)
}

// PrepareNamed makes the plan to delete what is named: with Options.Manifests
// the manifests of the targets, otherwise their names. A target without a name
// is a manifest in any case. What is not there is in Kept, as Missing.
//
// What is attached to a manifest goes by Options.Referrers, unless it also
// belongs to another one that stays. What an index names stays. It is not asked
// whether something else needs a manifest that is named.
//
// Errors: those of image.Find and of reading; image.ErrMismatch if a target has
// a name and a digest, and the name stands for another one.
func PrepareNamed(ctx context.Context, shelf image.Shelf, targets []image.Deletion, o Options) (*Plan, error) {
	c := &chooser{reader: newReader(shelf)}
	var roots []digest.Digest
	c.about, roots = named(targets)
	p := &Plan{shelf: shelf}
	var err error
	if c.found, err = c.find(ctx, c.about); err != nil {
		return nil, err
	}
	for _, t := range targets {
		if d := c.found[t.Name]; d != "" && t.Digest != "" && d != t.Digest {
			return nil, fmt.Errorf("%s: %w: it is %s, not %s", t.Name, image.ErrMismatch, d, t.Digest)
		}
	}
	for _, n := range c.about {
		it := Item{Deletion: image.Deletion{Name: n, Digest: c.found[n]}, Reason: Asked}
		switch {
		case it.Digest == "":
			it.Reason = Missing
			p.Kept = append(p.Kept, it)
		case o.Manifests:
			roots = append(roots, it.Digest)
		default:
			c.going = append(c.going, it)
		}
	}
	if len(roots) == 0 {
		p.add(c.going)
		return p, nil
	}
	if err := c.roots(ctx, p, roots, o); err != nil {
		return nil, err
	}
	return p, nil
}

// named parts targets into names and digests of manifests, each once.
func named(targets []image.Deletion) (names []string, digests []digest.Digest) {
	seen := map[image.Deletion]bool{}
	for _, t := range targets {
		if t.Name != "" {
			t.Digest = ""
		}
		switch {
		case seen[t]:
		case t.Name != "":
			names = append(names, t.Name)
		default:
			digests = append(digests, t.Digest)
		}
		seen[t] = true
	}
	return names, digests
}

// roots completes the plan of PrepareNamed with manifests.
func (c *chooser) roots(ctx context.Context, p *Plan, roots []digest.Digest, o Options) error {
	if o.Referrers {
		names, err := image.Tags(ctx, c.shelf)
		if err != nil && !errors.Is(err, image.ErrUnsupported) {
			return err
		}
		if err := c.findAttached(ctx, names); err != nil {
			return err
		}
	}
	g := newGraph(c.reader, c.found, c.attached)
	g.referrers = o.Referrers
	var items []Item
	for _, d := range roots {
		g.fixed[d] = true
		items = append(items, Item{Deletion: image.Deletion{Digest: d}, Reason: Asked})
	}
	if err := g.spread(ctx, items); err != nil {
		return err
	}
	var others []Item
	for _, n := range c.attached {
		if _, goes := g.mayTag[n]; !goes {
			others = append(others, Item{Deletion: image.Deletion{Name: n, Digest: c.found[n]}})
		}
	}
	g.settle(needed(others))
	for _, d := range g.order {
		if g.nodes[d].missing && g.fixed[d] {
			p.Kept = append(p.Kept, Item{Deletion: image.Deletion{Digest: d}, Reason: Missing})
		}
	}
	p.finish(g, c.going)
	p.Kept = append(p.Kept, g.stay(nil)...)
	return nil
}

// findAttached looks up those of the names that belong to a digest.
func (c *chooser) findAttached(ctx context.Context, names []string) error {
	var rest []string
	for _, n := range names {
		if !oci.IsAttachedTag(n) {
			continue
		}
		c.attached = append(c.attached, n)
		if _, known := c.found[n]; !known {
			rest = append(rest, n)
		}
	}
	found, err := c.find(ctx, rest)
	maps.Copy(c.found, found)
	return err
}

// Siblings finds the names that go with those of the items that are manifests,
// and are not themselves among the items. It looks up every name of the place.
func Siblings(ctx context.Context, shelf image.Shelf, items []Item) ([]Item, error) {
	names, err := image.Tags(ctx, shelf)
	if err != nil {
		return nil, err
	}
	found, err := newReader(shelf).find(ctx, names)
	if err != nil {
		return nil, err
	}
	goes, named := map[digest.Digest]bool{}, map[string]bool{}
	for _, it := range items {
		if named[it.Name] = true; it.Name == "" {
			goes[it.Digest] = true
		}
	}
	var list []Item
	for n, d := range found {
		if goes[d] && !named[n] {
			list = append(list, Item{Deletion: image.Deletion{Name: n, Digest: d}, Reason: Sibling, By: d.String()})
		}
	}
	slices.SortFunc(list, func(a, b Item) int { return natural(a.Name, b.Name) })
	return list, nil
}
