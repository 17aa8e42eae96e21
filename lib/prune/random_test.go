package prune

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// random is a shelf of images, indexes that share them, artifacts of all of
// these, with names of every kind anywhere; some manifests are not there.
func random(r *rand.Rand) *imagetest.Shelf {
	s := imagetest.NewShelf()
	var all []oci.Descriptor
	pick := func() oci.Descriptor { return all[r.IntN(len(all))] }
	for i := range 4 + r.IntN(8) {
		all = append(all, s.Image(ago(r.IntN(60)), fmt.Sprint(i)))
	}
	for i := range r.IntN(12) {
		switch r.IntN(3) {
		case 0:
			var kids []oci.Descriptor
			for range 1 + r.IntN(3) {
				kid := pick()
				if r.IntN(4) == 0 {
					kid.MediaType = "of/mars" // which does not make it so
				}
				kids = append(kids, kid)
			}
			all = append(all, s.Index(kids, "n", fmt.Sprint(i)))
		case 1:
			of := pick()
			all = append(all, s.Artifact(fmt.Sprint(i), &of, annotationCreated, ago(r.IntN(60))))
		default:
			s.Tag(pick(), oci.ReferrersTag(pick().Digest)+[]string{".sig", ".att", ".sbom", ""}[r.IntN(4)])
		}
	}
	for i := range 3 + r.IntN(10) {
		s.Tag(pick(), fmt.Sprint([]string{"v", "stable"}[r.IntN(2)], i))
	}
	if r.IntN(3) == 0 {
		delete(s.Manifests, pick().Digest)
	}
	return s
}

// A world is what a shelf held before anything was deleted. It knows what
// needs what by another way than the package does.
type world struct {
	names     map[string]oci.Descriptor
	manifests map[digest.Digest]*oci.Manifest
}

func worldOf(t *testing.T, s *imagetest.Shelf) *world {
	w := &world{maps.Clone(s.Names), map[digest.Digest]*oci.Manifest{}}
	for d, raw := range s.Manifests {
		m, err := oci.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		w.manifests[d] = m
	}
	return w
}

// reach adds to seen all that the manifest d needs, and what is attached to
// it.
func (w *world) reach(d digest.Digest, seen map[digest.Digest]bool, names map[string]bool) {
	m := w.manifests[d]
	if m == nil || seen[d] {
		return
	}
	seen[d] = true
	for _, k := range m.Manifests {
		w.reach(k.Digest, seen, names)
	}
	if m.Subject != nil {
		w.reach(m.Subject.Digest, seen, names)
	}
	for a, other := range w.manifests {
		if other.Subject != nil && other.Subject.Digest == d {
			w.reach(a, seen, names)
		}
	}
	for n, at := range w.names {
		if oci.IsAttachedTag(n) && stem(n) == oci.ReferrersTag(d) {
			names[n] = true
			w.reach(at.Digest, seen, names)
		}
	}
}

// Whatever the shelf, the rule, the abilities of the place and its faults:
// nothing that a name needs which is still there has been deleted.
func TestNothingNeededGoes(t *testing.T) {
	deleted := 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := random(r)
		before := worldOf(t, s)
		rule := Rule{Now: now, Keep: r.IntN(4), OlderThan: time.Duration([]int{0, 20, 40}[r.IntN(3)]) * day}
		if r.IntN(2) == 0 {
			rule.Match = match("^v")
		}
		p, err := Prepare(t.Context(), s, rule, Options{Manifests: r.IntN(4) > 0, Referrers: r.IntN(2) == 0})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s.Together = r.IntN(3) == 0
		// Where names go with their manifests, a fault comes too late for
		// what was attached and has gone before.
		faults := !s.Together && r.IntN(2) == 0
		s.Fail = func(op, what string) error {
			if faults && op == "delete " && !oci.IsAttachedTag(what) && r.IntN(5) == 0 {
				return image.ErrDenied
			}
			return nil
		}
		run(t, t.Context(), s, p)
		deleted += len(before.manifests) - len(s.Manifests)
		if !before.check(t, s) {
			t.Fatalf("seed %d: the plan was: %v", seed, p.Steps)
		}
	}
	if deleted < 1000 {
		t.Errorf("only %d manifests were deleted: this shows little", deleted)
	}
}

// check reports whether all is there that the names left need.
func (w *world) check(t *testing.T, s *imagetest.Shelf) bool {
	ok := true
	for _, n := range slices.Sorted(maps.Keys(s.Names)) {
		seen, names := map[digest.Digest]bool{}, map[string]bool{}
		w.reach(w.names[n].Digest, seen, names)
		if oci.IsAttachedTag(n) {
			for d := range w.manifests {
				if oci.ReferrersTag(d) == stem(n) {
					w.reach(d, seen, names)
				}
			}
		}
		for d := range seen {
			if _, there := s.Manifests[d]; !there {
				t.Errorf("%s is gone, and %s needs it", d, n)
				ok = false
			}
		}
		for other := range names {
			if _, there := s.Names[other]; !there {
				t.Errorf("the name %s is gone, and %s needs it", other, n)
				ok = false
			}
		}
	}
	return ok
}
