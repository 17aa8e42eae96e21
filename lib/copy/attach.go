package copy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
)

// attach adds to the tree what is attached to its manifests. What is attached
// to an index of which only a part is copied is not: that part has another
// digest.
func (p *Plan) attach(ctx context.Context, root *image.Tree) error {
	if p.o.With.None() {
		return nil
	}
	if err := p.Tree.Attach(ctx, p.src, p.o.With); err != nil {
		return err
	}
	if p.Tree.Desc.Digest == root.Desc.Digest {
		return nil
	}
	left := &image.Tree{Desc: root.Desc, Raw: root.Raw}
	if err := left.Attach(ctx, p.src, p.o.With); err != nil {
		return err
	}
	if n := len(left.Attached); n > 0 {
		p.note("%d things attached to %s are not copied: it is not copied as it is", n, root.Desc.Digest)
	}
	return nil
}

// missing lists what is attached to the tree and not at the destination. known
// is false if the destination cannot tell.
func (p *Plan) missing(ctx context.Context) (list []string, known bool, err error) {
	referrer, ok := p.dst.(image.Referrer)
	namer, named := p.dst.(image.Namer)
	if !ok || !named {
		return nil, false, nil
	}
	for t := range p.Tree.Walk() {
		if len(t.Attached) == 0 {
			continue
		}
		there, err := referrer.Referrers(ctx, t.Desc.Digest)
		if err != nil {
			return nil, false, err
		}
		has := map[digest.Digest]bool{}
		for _, d := range there {
			has[d.Digest] = true
		}
		for _, k := range t.Attached {
			if k.Name == "" && has[k.Desc.Digest] {
				continue
			}
			if k.Name != "" {
				d, err := namer.Find(ctx, k.Name)
				if err == nil && d.Digest == k.Desc.Digest {
					continue
				}
				if err != nil && !errors.Is(err, image.ErrNotFound) {
					return nil, false, err
				}
			}
			list = append(list, fmt.Sprintf("%s of %s", attachedName(k), t.Desc.Digest))
		}
	}
	return list, true, nil
}

func attachedName(k *image.Tree) string {
	if k.Name != "" {
		return k.Name
	}
	return k.Desc.Digest.String()
}

// checkAttached asks the destination, in the end, for all that was attached.
// The error wraps image.ErrIncomplete and lists what is not there.
func (p *Plan) checkAttached(ctx context.Context) error {
	if p.o.With.None() {
		return nil
	}
	list, _, err := p.missing(ctx)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%w: of what is attached at the source the destination does not list %s", image.ErrIncomplete, strings.Join(list, ", "))
	}
	return p.o.atDestination("check what is attached", err)
}
