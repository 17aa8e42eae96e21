package prune

import (
	"context"
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// A scene is a shelf whose manifests have names to speak of in a test.
type scene struct {
	*imagetest.Shelf
	known map[string]string // by digest
}

func newScene() *scene { return &scene{imagetest.NewShelf(), map[string]string{}} }

func (s *scene) call(name string, d oci.Descriptor) oci.Descriptor {
	s.known[d.Digest.String()] = name
	s.known[oci.ReferrersTag(d.Digest)] = name
	return d
}

func (s *scene) img(name string, days int) oci.Descriptor {
	return s.call(name, s.Image(ago(days), name))
}

func (s *scene) idx(name string, kids ...oci.Descriptor) oci.Descriptor {
	return s.call(name, s.Index(kids))
}

func (s *scene) art(name string, of oci.Descriptor) oci.Descriptor {
	return s.call(name, s.Artifact(name, &of, annotationCreated, ago(50)))
}

func attached(d oci.Descriptor, suffix string) string { return oci.ReferrersTag(d.Digest) + suffix }

// What goes with a rule that keeps what is younger than 30 days, and why.
func TestManifests(t *testing.T) {
	for name, tt := range map[string]struct {
		make      func(s *scene)
		referrers bool
		going     string
		kept      string // manifests only
	}{
		"alone": {func(s *scene) {
			s.Tag(s.img("A", 40), "old", "old2")
			s.Tag(s.img("B", 1), "new")
		}, false, "@A: nothing kept needs it\nold2: too old\nold: too old", ""},
		"another name is kept": {func(s *scene) {
			s.Tag(s.img("A", 40), "old", "stable-not-matched")
		}, false, "old: too old", "@A: needed by stable-not-matched"},
		"child of a kept index": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(a, "old")
			s.Tag(s.idx("I", a, s.img("B", 1)), "new")
		}, false, "old: too old", "@A: needed by @I"},
		"two indexes share an image": {func(s *scene) {
			a, b, c := s.img("A", 40), s.img("B", 41), s.img("C", 1)
			s.Tag(s.idx("I", a, b), "old")
			s.Tag(s.idx("J", b, c), "new")
		}, false, "@A: nothing kept needs it\n@I: nothing kept needs it\nold: too old", ""},
		"nested": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(s.idx("I", s.idx("J", a)), "old")
		}, false, "@A: nothing kept needs it\n@I: nothing kept needs it\n@J: nothing kept needs it\nold: too old", ""},
		"subject of a kept artifact": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(a, "old")
			s.Tag(s.art("S", a), "sbom-not-matched")
		}, true, "old: too old", "@A: needed by @S"},
		"artifact of a kept image": {func(s *scene) {
			a := s.img("A", 1)
			s.Tag(a, "new")
			s.Tag(s.art("S", a), "old-sbom")
		}, true, "old-sbom: too old", "@S: needed by @A"},
		"signed, and signatures stay": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(a, "old")
			s.art("S", a)
		}, false, "old: too old", "@A: attached to it, and stays: @S"},
		"signed": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(a, "old")
			s.art("T", s.art("S", a))
		}, true, "@A: nothing kept needs it\n@S: belongs to @A\n@T: belongs to @S\nold: too old", ""},
		"signed image of an index, signatures stay": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(s.idx("I", a, s.img("B", 40)), "old")
			s.art("S", a)
		}, false, "@B: nothing kept needs it\n@I: nothing kept needs it\nold: too old", "@A: attached to it, and stays: @S"},
		"cosign's names stay": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(a, "old")
			s.Tag(s.call("S", s.Artifact("S", nil)), attached(a, ".sig"))
		}, false, "old: too old", "@A: attached to it, and stays: @A.sig"},
		"cosign's names": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(a, "old")
			s.Tag(s.call("S", s.Artifact("S", nil)), attached(a, ".sig"))
		}, true, "@A: nothing kept needs it\n@S: belongs to @A\nold: too old\nsha256-A.sig: belongs to @A", ""},
		"one SBOM of two images": {func(s *scene) {
			a, b, sbom := s.img("A", 40), s.img("B", 1), s.call("S", s.Artifact("S", nil))
			s.Tag(a, "old")
			s.Tag(b, "new")
			s.Tag(sbom, attached(a, ".sbom"), attached(b, ".sbom"))
		}, true, "@A: nothing kept needs it\nold: too old\nsha256-A.sbom: belongs to @A", "@S: needed by @B.sbom"},
		"fallback tag": {func(s *scene) {
			a := s.img("A", 40)
			s.Tag(a, "old")
			s.Tag(s.idx("F", s.art("S", a)), attached(a, ""))
		}, true, "@A: nothing kept needs it\n@F: belongs to @A\n@S: belongs to @A\nold: too old\nsha256-A: belongs to @A", ""},
		"a stranger's list": {func(s *scene) {
			a, b := s.img("A", 40), s.img("B", 1)
			s.Tag(a, "old")
			s.Tag(b, "new")
			s.List(a, s.art("S", b))
			s.List(a, s.img("C", 1))
			s.List(a, oci.Descriptor{Digest: "sha256:../../x"})
		}, true, "@A: nothing kept needs it\nold: too old", ""},
		"a kept manifest that nobody can read": {func(s *scene) {
			s.Tag(s.img("A", 40), "old")
			s.Tag(s.call("X", s.Put(map[string]any{"schemaVersion": 2, "mediaType": "of/mars"})), "x-not-matched")
		}, true, "old: too old", "@A: cannot be read: @X"},
		"a kept schema 1 manifest": {func(s *scene) {
			s.Tag(s.img("A", 40), "old")
			s.Tag(s.Put(map[string]any{"schemaVersion": 1}), "x-not-matched")
		}, true, "@A: nothing kept needs it\nold: too old", ""},
		"a kept name without manifest": {func(s *scene) {
			s.Tag(s.img("A", 40), "old")
			gone := s.img("G", 1)
			s.Tag(gone, "x-not-matched")
			delete(s.Manifests, gone.Digest)
		}, true, "@A: nothing kept needs it\nold: too old", ""},
		"a kept index that calls a manifest something else": {func(s *scene) {
			a, b := s.img("A", 40), s.img("B", 40)
			i := s.idx("I", a)
			s.Tag(i, "old")
			s.Tag(b, "old2")
			i.MediaType, b.MediaType = "application/vnd.example.list", "application/octet-stream"
			s.Tag(s.idx("J", s.img("C", 1), i, b), "new")
		}, false, "old2: too old\nold: too old", "@B: needed by @J\n@I: needed by @J"},
		"a kept index of content": {func(s *scene) {
			text := s.call("X", s.Put(map[string]any{"schemaVersion": 2, "mediaType": "of/mars"}))
			text.MediaType = "of/mars"
			s.Tag(s.img("A", 40), "old")
			s.Tag(s.idx("J", s.img("C", 1), text), "new")
		}, false, "@A: nothing kept needs it\nold: too old", ""},
		"sparse index": {func(s *scene) {
			a, gone := s.img("A", 40), s.img("G", 40)
			s.Tag(s.idx("I", a, gone), "old")
			delete(s.Manifests, gone.Digest)
		}, false, "@A: nothing kept needs it\n@I: nothing kept needs it\nold: too old", ""},
		"names that make a circle": {func(s *scene) {
			a := s.img("A", 40)
			i := s.idx("I", a)
			s.Tag(i, "old")
			s.Tag(a, attached(i, ".sig"))
		}, true, "@A: belongs to @I\n@I: nothing kept needs it\nold: too old\nsha256-I.sig: belongs to @I", ""},
	} {
		s := newScene()
		tt.make(s)
		p, err := Prepare(t.Context(), s, Rule{OlderThan: 30 * day, Now: now, Match: func(n string) bool { return !match("not-matched")(n) }}, Options{Manifests: true, Referrers: tt.referrers})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.words(p.Going()); got != tt.going {
			t.Errorf("%s: going\n%s\nwant\n%s", name, got, tt.going)
		}
		var kept []Item
		for _, it := range p.Kept {
			if it.Name == "" {
				kept = append(kept, it)
			}
		}
		if got := s.words(kept); got != tt.kept {
			t.Errorf("%s: kept\n%s\nwant\n%s", name, got, tt.kept)
		}
		checkOrder(t, name, s, p)
	}
}

// A registry that has a name, and then not the manifest that it said the name
// stands for, may have another one: nobody knows what the name needs.
func TestManifestsOfALiar(t *testing.T) {
	s := newScene()
	s.Tag(s.img("A", 40), "old")
	a := liar{s, "stable", digest.FromString("another")}
	p, err := Prepare(t.Context(), a, Rule{OlderThan: 30 * day, Now: now, Match: match("^old")}, Options{Manifests: true})
	if err != nil || s.words(p.Going()) != "old: too old" {
		t.Errorf("going %v, %v; want the name alone", p.Going(), err)
	}
}

// liar is a scene in which a name is said to stand for some digest.
type liar struct {
	*scene
	name string
	what digest.Digest
}

func (l liar) Tags(ctx context.Context) ([]string, error) {
	list, err := l.scene.Tags(ctx)
	return append(list, l.name), err
}

func (l liar) Find(ctx context.Context, name string) (oci.Descriptor, error) {
	if name == l.name {
		return oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: l.what, Size: 1}, nil
	}
	return l.scene.Find(ctx, name)
}

// words calls manifests as the scene does, and names that belong to a digest
// by that.
func (s *scene) words(list []Item) string {
	named := map[string]string{}
	var plain []Item
	for d, n := range s.known {
		named[d] = n
	}
	for _, it := range list {
		if oci.IsAttachedTag(it.Name) {
			it.Name = "sha256-" + named[stem(it.Name)] + it.Name[len(stem(it.Name)):]
		}
		plain = append(plain, it)
	}
	return words(plain, named)
}

// checkOrder: names before manifests, each manifest before what it points at,
// unless names make that a circle.
func checkOrder(t *testing.T, name string, s *scene, p *Plan) {
	t.Helper()
	at := map[digest.Digest]int{}
	manifests := false
	for i, step := range p.Steps {
		for _, it := range step {
			if it.Name == "" {
				manifests = true
				at[it.Digest] = i + 1
			} else if manifests {
				t.Errorf("%s: the name %s goes after manifests", name, it.Name)
			}
		}
	}
	for d, i := range at {
		m, err := oci.Parse(s.Manifests[d])
		if err != nil {
			t.Fatal(err)
		}
		list := m.Manifests
		if m.Subject != nil {
			list = append(list, *m.Subject)
		}
		for _, to := range list {
			if j, goes := at[to.Digest]; goes && j <= i && name != "names that make a circle" {
				t.Errorf("%s: %s goes in step %d, and what it points at, %s, in step %d", name, s.known[d.String()], i, s.known[to.Digest.String()], j)
			}
		}
	}
}

func TestPrepareNamed(t *testing.T) {
	build := func() (*scene, oci.Descriptor) {
		s := newScene()
		a, b := s.img("A", 1), s.img("B", 1)
		i := s.idx("I", a, b)
		s.Tag(i, "1.0", "latest")
		s.Tag(b, "b")
		s.art("T", s.art("S", i))
		s.Tag(s.call("G", s.Artifact("G", nil)), attached(i, ".sig"))
		s.Tag(s.call("M", s.Artifact("M", nil)), attached(i, ".sbom"), attached(b, ".sbom"))
		return s, i
	}
	name := func(n string) image.Deletion { return image.Deletion{Name: n} }
	for what, tt := range map[string]struct {
		targets         []image.Deletion
		byDigest        bool
		o               Options
		going, kept     string
		find, manifests int
	}{
		"name":            {[]image.Deletion{name("1.0")}, false, Options{}, "1.0: asked for", "", 1, 0},
		"twice":           {[]image.Deletion{name("1.0"), name("1.0")}, false, Options{}, "1.0: asked for", "", 1, 0},
		"missing":         {[]image.Deletion{name("2.0"), name("b")}, false, Options{}, "b: asked for", "2.0: there is no such manifest", 2, 0},
		"manifest":        {[]image.Deletion{name("1.0")}, false, Options{Manifests: true}, "@I: asked for", "", 1, 1},
		"two names of it": {[]image.Deletion{name("1.0"), name("latest")}, false, Options{Manifests: true}, "@I: asked for", "", 2, 1},
		"digest":          {nil, true, Options{Manifests: true}, "@I: asked for", "", 0, 1},
		"no such digest":  {[]image.Deletion{{Digest: digest.FromString("no")}}, false, Options{Manifests: true}, "", digest.FromString("no").String() + ": there is no such manifest", 0, 1},
		"referrers": {
			[]image.Deletion{name("1.0")}, false, Options{Manifests: true, Referrers: true},
			"@G: belongs to @I\n@I: asked for\n@S: belongs to @I\n@T: belongs to @S\nsha256-I.sbom: belongs to @I\nsha256-I.sig: belongs to @I", "@M: needed by @B.sbom", 4, 5,
		},
	} {
		s, i := build()
		if tt.byDigest {
			tt.targets = append(tt.targets, image.Deletion{Digest: i.Digest})
		}
		p, err := PrepareNamed(t.Context(), s, tt.targets, tt.o)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		var kept []Item
		for _, it := range p.Kept {
			if it.Name == "" && it.Reason == Missing {
				it.Name = it.Digest.String()
			}
			kept = append(kept, it)
		}
		if got := s.words(p.Going()); got != tt.going {
			t.Errorf("%s: going\n%s\nwant\n%s", what, got, tt.going)
		}
		if got := s.words(kept); got != tt.kept {
			t.Errorf("%s: kept\n%s\nwant\n%s", what, got, tt.kept)
		}
		if f, m := s.Count("find"), s.Count("manifest"); f != tt.find || m != tt.manifests {
			t.Errorf("%s: %d names looked up, %d manifests read; want %d, %d", what, f, m, tt.find, tt.manifests)
		}
		checkOrder(t, what, s, p)
	}
}

// A name with a digest is deleted only while it stands for that.
func TestPrepareNamedPinned(t *testing.T) {
	s := five()
	a, b := s.Names["a"].Digest, s.Names["b"].Digest
	for what, tt := range map[string]struct {
		targets []image.Deletion
		want    error
	}{
		"fits":       {[]image.Deletion{{Name: "a", Digest: a}}, nil},
		"moved":      {[]image.Deletion{{Name: "b", Digest: a}}, image.ErrMismatch},
		"and bare":   {[]image.Deletion{{Name: "b", Digest: a}, {Name: "b"}}, image.ErrMismatch},
		"bare first": {[]image.Deletion{{Name: "b"}, {Name: "b", Digest: a}}, image.ErrMismatch},
		"two":        {[]image.Deletion{{Name: "a", Digest: a}, {Name: "a", Digest: b}}, image.ErrMismatch},
		"twice":      {[]image.Deletion{{Name: "a"}, {Name: "a", Digest: a}}, nil},
	} {
		p, err := PrepareNamed(t.Context(), s, tt.targets, Options{})
		if !errors.Is(err, tt.want) || err == nil && len(p.Going()) != 1 {
			t.Errorf("%s: %v, %v; want %v", what, p, err, tt.want)
		}
	}
}

func TestSiblings(t *testing.T) {
	s := five()
	s.Tag(s.Names["a"], "a1", "a2")
	s.Tag(s.Names["b"], "b1")
	a, b := s.Names["a"].Digest, s.Names["b"].Digest
	// Another name of what has lost a name, but stays, is none.
	list, err := Siblings(t.Context(), s, []Item{{Deletion: image.Deletion{Digest: a}}, {Deletion: image.Deletion{Name: "a2", Digest: a}}, {Deletion: image.Deletion{Name: "b", Digest: b}}})
	if err != nil || words(list, map[string]string{a.String(): "A"}) != "a1: is a name of @A\na: is a name of @A" {
		t.Errorf("Siblings = %v, %v; want a and a1", list, err)
	}
	s.Fail = func(op, _ string) error { return image.ErrDenied }
	if _, err := Siblings(t.Context(), s, nil); !errors.Is(err, image.ErrDenied) {
		t.Errorf("Siblings: %v; want ErrDenied", err)
	}
	for _, op := range []string{"find ", "tags", "manifest ", "referrers "} {
		s := five()
		s.Tag(s.Artifact("x", nil), attached(s.Names["b"], ".sig"))
		s.Fail = func(o, _ string) error {
			if o == op {
				return image.ErrNetwork
			}
			return nil
		}
		p, err := PrepareNamed(t.Context(), s, []image.Deletion{{Name: "a"}}, Options{Manifests: true, Referrers: true})
		if !errors.Is(err, image.ErrNetwork) || p != nil {
			t.Errorf("%s fails: PrepareNamed = %v, %v", op, p, err)
		}
	}
}
