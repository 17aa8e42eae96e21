package oci

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Select returns the index r with only those entries for which keep, given
// the entry's place, is true. All other bytes stay as they are; if every
// entry is kept, r itself is returned.
func (r Raw) Select(keep func(i int) bool) (Raw, error) {
	root, err := scan(r.Bytes)
	if err != nil {
		return Raw{}, err
	}
	list, ok := root.get("manifests")
	if !ok || list.kind != '[' {
		return Raw{}, fmt.Errorf("%w: not an index", ErrInvalid)
	}
	var e edit
	kept := 0
	for i := range list.items {
		if keep(i) {
			kept++
			continue
		}
		e.drop(list, i, kept)
	}
	if len(e.cuts) == 0 {
		return r, nil
	}
	return Raw{r.MediaType, e.apply(r.Bytes)}, nil
}

// Rewrite returns the manifest or index r with the media type, digest and
// size of every descriptor that is a key of moved put in place of its own.
// All other bytes stay as they are; if nothing changes, r itself is returned.
func (r Raw) Rewrite(moved map[digest.Digest]Descriptor) (Raw, error) {
	root, err := scan(r.Bytes)
	if err != nil {
		return Raw{}, err
	}
	var e edit
	for _, key := range []string{"config", "layers", "blobs", "manifests"} {
		n, ok := root.get(key)
		if !ok {
			continue
		}
		nodes := n.items
		if n.kind == '{' {
			nodes = []node{n}
		}
		for _, d := range nodes {
			if err := e.move(r.Bytes, d, moved); err != nil {
				return Raw{}, err
			}
		}
	}
	if len(e.cuts) == 0 {
		return r, nil
	}
	return Raw{r.MediaType, e.apply(r.Bytes)}, nil
}

// An edit is a row of cuts that do not meet: bytes to leave out, and what to
// put there.
type edit struct{ cuts []cut }

type cut struct {
	start, end int
	with       []byte
}

// drop cuts out element i of list. kept counts those before it that stay,
// so that exactly one comma stands between two that do.
func (e *edit) drop(list node, i, kept int) {
	it := list.items[i]
	start, end := it.start, it.end
	switch {
	case kept > 0: // with the comma and white space before it
		start = list.items[i-1].end
	case i+1 < len(list.items): // with those behind it
		end = list.items[i+1].start
	}
	e.cuts = append(e.cuts, cut{start, end, nil})
}

// move replaces the descriptor d by what moved says it became.
func (e *edit) move(text []byte, d node, moved map[digest.Digest]Descriptor) error {
	var old digest.Digest
	val, ok := d.get("digest")
	if !ok {
		return nil
	}
	if err := json.Unmarshal(text[val.start:val.end], &old); err != nil {
		return fmt.Errorf("%w: digest: %v", ErrInvalid, err)
	}
	now, ok := moved[old]
	if !ok || now.Digest == old {
		return nil
	}
	for _, m := range d.members {
		var v any
		switch m.key {
		case "mediaType":
			v = now.MediaType
		case "digest":
			v = now.Digest
		case "size":
			v = now.Size
		default:
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		e.cuts = append(e.cuts, cut{m.val.start, m.val.end, b})
	}
	return nil
}

func (e *edit) apply(text []byte) []byte {
	out := make([]byte, 0, len(text))
	slices.SortFunc(e.cuts, func(a, b cut) int { return a.start - b.start })
	pos := 0
	for _, c := range e.cuts {
		out = append(out, text[pos:c.start]...)
		out = append(out, c.with...)
		pos = c.end
	}
	return append(out, text[pos:]...)
}
