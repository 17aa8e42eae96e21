package prune

import (
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// goes reports whether a manifest is to be deleted.
func (g *graph) goes(d digest.Digest) bool {
	_, may := g.may[d]
	_, kept := g.kept[d]
	return may && (!kept || g.fixed[d]) && !g.nodes[d].missing
}

// edges returns, of the manifests that go and of links, what each points at,
// and what is attached to each. Something attached points at what it is
// attached to.
func (g *graph) edges() (points, clings map[digest.Digest][]digest.Digest) {
	points, clings = map[digest.Digest][]digest.Digest{}, map[digest.Digest][]digest.Digest{}
	for _, d := range slices.Concat(g.order, slices.Collect(maps.Keys(g.links))) {
		if !g.goes(d) && !g.links[d] {
			continue
		}
		seen := map[digest.Digest]bool{d: true}
		add := func(to digest.Digest, attached bool) {
			if !g.goes(to) && !g.links[to] || seen[to] {
				return
			}
			seen[to] = true
			points[d] = append(points[d], to)
			if attached {
				clings[to] = append(clings[to], d)
			}
		}
		n := g.nodes[d]
		add(n.subject, true)
		for _, it := range g.owners[d] {
			if _, goes := g.mayTag[it.Name]; goes {
				add(digest.Digest(it.By), true)
			}
		}
		for _, k := range slices.Concat(n.kids, n.others) {
			add(k, false)
		}
	}
	return points, clings
}

// steps sorts the manifests that go. Names can make circles of what points at
// what: these go last, in one step.
func (g *graph) steps(points map[digest.Digest][]digest.Digest) (steps [][]Item) {
	waits := map[digest.Digest]int{} // how many that go point at it
	var going []digest.Digest
	for _, d := range g.order {
		if g.goes(d) {
			going = append(going, d)
			for _, to := range points[d] {
				waits[to]++
			}
		}
	}
	placed := map[digest.Digest]bool{}
	free := func(d digest.Digest) bool { return !placed[d] && waits[d] == 0 && g.goes(d) }
	step := going
	for len(step) > 0 {
		var items []Item
		var next []digest.Digest
		for _, d := range step {
			if !free(d) {
				continue
			}
			placed[d] = true
			items = append(items, g.may[d])
			next = append(next, points[d]...)
		}
		for _, it := range items {
			for _, to := range points[it.Digest] {
				waits[to]--
			}
		}
		if len(items) > 0 {
			steps = append(steps, items)
		}
		step = next
	}
	var rest []Item
	for _, d := range going {
		if !placed[d] {
			rest = append(rest, g.may[d])
		}
	}
	if len(rest) > 0 {
		steps = append(steps, rest)
	}
	return steps
}
