package prune

import (
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Prepare reads what shelf holds, as far as the rule must know it, and decides
// what goes. Each name is looked up once, and each manifest and configuration
// read once; what the rule does not need is not asked for.
//
// An image is as old as its configuration says, an index as the newest of its
// images, anything else as its annotation org.opencontainers.image.created.
// What has no date, or one from before 1981, stays. Of names that are equally
// old, the one that sorts last counts as the newest, numbers in it by their
// value.
//
// Errors: those of image.Tags, image.Find and of reading, but for what is not
// there or not a manifest: that stays.
func Prepare(ctx context.Context, shelf image.Shelf, r Rule, o Options) (*Plan, error) {
	names, err := image.Tags(ctx, shelf)
	if err != nil {
		return nil, err
	}
	c := &chooser{Rule: r, reader: newReader(shelf)}
	for _, n := range names {
		switch {
		case oci.IsAttachedTag(n):
			c.attached = append(c.attached, n)
		case r.Match == nil || r.Match(n):
			c.about = append(c.about, n)
		default:
			c.others = append(c.others, n)
		}
	}
	if err := c.choose(ctx); err != nil {
		return nil, err
	}
	p := &Plan{shelf: shelf, Kept: c.kept, known: map[string]bool{}}
	for _, n := range names {
		p.known[n] = true
	}
	for _, n := range c.others {
		p.Kept = append(p.Kept, Item{Deletion: image.Deletion{Name: n, Digest: c.found[n]}, Reason: Unmatched})
	}
	if !o.Manifests || len(c.going) == 0 {
		p.add(c.going)
		return p, nil
	}
	if err := c.manifests(ctx, p, o); err != nil {
		return nil, err
	}
	return p, nil
}

// A chooser applies a rule to names.
type chooser struct {
	Rule
	*reader
	about, others, attached []string // the names of the place

	found       map[string]digest.Digest // of names that stand for something
	kept, going []Item                   // the names that the rule is about
}

// choose decides about the names.
func (c *chooser) choose(ctx context.Context) error {
	c.found = map[string]digest.Digest{}
	if !c.ages() {
		for _, n := range c.about {
			c.going = append(c.going, Item{Deletion: image.Deletion{Name: n}, Reason: Matched})
		}
		return nil
	}
	if c.Keep >= len(c.about) {
		for _, n := range c.about {
			c.kept = append(c.kept, Item{Deletion: image.Deletion{Name: n}, Reason: Newest})
		}
		return nil
	}
	found, err := c.find(ctx, c.about)
	if err != nil {
		return err
	}
	c.found = found
	if err := c.dates(ctx, digests(c.about, found)); err != nil {
		return err
	}
	c.decide()
	return nil
}

// digests returns what the names stand for, in their order.
func digests(names []string, found map[string]digest.Digest) []digest.Digest {
	var list []digest.Digest
	for _, n := range names {
		if d, ok := found[n]; ok {
			list = append(list, d)
		}
	}
	return list
}

// decide sorts the names that the rule is about by age, and parts them.
func (c *chooser) decide() {
	var dated []Item
	for _, n := range c.about {
		d, ok := c.found[n]
		it := Item{Deletion: image.Deletion{Name: n, Digest: d}}
		if ok {
			it.Created = c.created(d)
		}
		switch {
		case !ok || c.nodes[d].missing:
			it.Reason = Missing
			c.kept = append(c.kept, it)
		case it.Created.IsZero():
			it.Reason = Undated
			c.kept = append(c.kept, it)
		default:
			dated = append(dated, it)
		}
	}
	slices.SortFunc(dated, newestFirst)
	for i, it := range dated {
		switch {
		case i < c.Keep:
			it.Reason = Newest
		case c.OlderThan == 0:
			it.Reason = Surplus
		case c.Now.Sub(it.Created) > c.OlderThan:
			it.Reason = Old
		default:
			it.Reason = Young
		}
		if it.Reason == Surplus || it.Reason == Old {
			c.going = append(c.going, it)
		} else {
			c.kept = append(c.kept, it)
		}
	}
}

func newestFirst(a, b Item) int {
	if n := b.Created.Compare(a.Created); n != 0 {
		return n
	}
	return natural(b.Name, a.Name)
}

// natural compares names as people do: runs of digits by their value.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		i, j := digits(x), digits(y)
		if i == 0 || j == 0 {
			if x[0] != y[0] {
				return int(x[0]) - int(y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		m, n := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
		if len(m) != len(n) {
			return len(m) - len(n)
		}
		if m != n {
			return strings.Compare(m, n)
		}
		x, y = x[i:], y[j:]
	}
	if x == "" && y == "" {
		return strings.Compare(a, b) // "01" and "1"
	}
	return len(x) - len(y)
}

// digits is the number of digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

// add adds a step to the plan, unless there is nothing in it.
func (p *Plan) add(step []Item) {
	if len(step) > 0 {
		p.Steps = append(p.Steps, step)
	}
}
