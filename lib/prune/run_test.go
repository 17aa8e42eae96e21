package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// run carries out a plan and returns what it said is gone.
func run(t *testing.T, ctx context.Context, s *imagetest.Shelf, p *Plan) ([]string, error) {
	t.Helper()
	log := &Log{}
	s.Notify = log.Notify
	var gone []string
	err := p.Run(ctx, log, func(it Item) { gone = append(gone, it.String()) })
	return gone, err
}

// failures are the items of an Error, with why.
func failures(err error) string {
	var e *Error
	var lines []string
	if errors.As(err, &e) {
		for _, f := range e.Failed {
			lines = append(lines, f.String()+": "+f.Err.Error())
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// signed is a scene in which an old index and its signatures are to go.
func signed() (s *scene, i, a, b, sig oci.Descriptor) {
	s = newScene()
	a, b = s.img("A", 40), s.img("B", 40)
	i = s.idx("I", a, b)
	s.Tag(i, "old")
	sig = s.art("S", i)
	s.Tag(s.img("N", 1), "new")
	return s, i, a, b, sig
}

func prepare(t *testing.T, s *scene) *Plan {
	t.Helper()
	p, err := Prepare(t.Context(), s, Rule{OlderThan: 30 * day, Now: now}, Options{Manifests: true, Referrers: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRun(t *testing.T) {
	s, i, a, b, sig := signed()
	gone, err := run(t, t.Context(), s.Shelf, prepare(t, s))
	want := []string{"old", sig.Digest.String(), i.Digest.String(), a.Digest.String(), b.Digest.String()}
	if err != nil || !slices.Equal(gone, want) || !slices.Equal(s.Gone, want) {
		t.Errorf("Run deleted %v and said %v, %v; want %v", s.Gone, gone, err, want)
	}
	// Without a log it is as good, where nothing fails.
	s, _, _, _, _ = signed()
	var said []string
	if err := prepare(t, s).Run(t.Context(), nil, func(it Item) { said = append(said, it.String()) }); err != nil || !slices.Equal(said, want) {
		t.Errorf("Run without a log said %v, %v; want %v", said, err, want)
	}
}

// Where a name cannot be deleted by itself, a manifest goes only with all of
// its names, and what is left is said.
func TestRunTogether(t *testing.T) {
	s, i, a, b, sig := signed()
	s.Tag(s.Names["new"], "old-shared")
	s.Together = true
	p, err := Prepare(t.Context(), s, Rule{Match: match("^old")}, Options{Manifests: true, Referrers: true})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := run(t, t.Context(), s.Shelf, p)
	want := []string{sig.Digest.String(), "old", i.Digest.String(), a.Digest.String(), b.Digest.String()}
	slices.Sort(gone)
	slices.Sort(want)
	if !errors.Is(err, image.ErrUnsupported) || !slices.Equal(gone, want) || failures(err) != "old-shared: not supported here: names are not deleted by themselves" {
		t.Errorf("Run said %v, %v; want %v and old-shared left", gone, failures(err), want)
	}
	if n := s.Count("delete old"); n != 1 {
		t.Errorf("%d names were tried; want 1, to see whether it can be done", n)
	}
	// Names alone: nothing goes.
	s, _, _, _, _ = signed()
	s.Together = true
	p, err = PrepareNamed(t.Context(), s, []image.Deletion{{Name: "old"}, {Name: "new"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	gone, err = run(t, t.Context(), s.Shelf, p)
	if !errors.Is(err, image.ErrUnsupported) || len(gone) > 0 || len(s.Gone) > 0 || s.Count("delete") != 1 {
		t.Errorf("Run = %v, %v with %d requests; want all left after 1", gone, err, s.Count("delete"))
	}
}

// A registry that deletes the manifest when it is asked to delete a tag does so
// once, and not 300 times.
func TestRunTakes(t *testing.T) {
	for _, o := range []Options{{}, {Manifests: true}} {
		s := five()
		s.Tag(s.Names["c"], "c1", "c2", "c3")
		s.Takes = true
		p, err := Prepare(t.Context(), s, Rule{Keep: 3, Now: now}, o) // keeps a, b, c3
		if err != nil {
			t.Fatal(err)
		}
		gone, err := run(t, t.Context(), s, p)
		if !errors.Is(err, image.ErrUnsupported) || len(gone) != 1 || len(s.Gone) != 1 || !strings.Contains(failures(err), "went c3, which") {
			t.Errorf("%+v: gone are %v, %v", o, gone, failures(err))
		}
		if n := s.Count("find c3"); n != 2 {
			t.Errorf("c3 was looked up %d times; want once for the plan and once after the first name", n)
		}
	}
}

// The same where there is nothing more to delete: what happened is told.
func TestRunTakesLast(t *testing.T) {
	s := imagetest.NewShelf()
	s.Tag(s.Image(ago(1), "x"), "pr-1", "stable")
	s.Takes = true
	p, err := Prepare(t.Context(), s, Rule{Keep: 1, Now: now}, Options{}) // keeps stable
	if err != nil {
		t.Fatal(err)
	}
	gone, err := run(t, t.Context(), s, p)
	if !errors.Is(err, image.ErrUnsupported) || !slices.Equal(gone, []string{"pr-1"}) || !strings.Contains(err.Error(), "went stable, which") {
		t.Errorf("gone are %v, %v; want an error that stable went too", gone, err)
	}
}

// What could not be deleted keeps what it needs.
func TestRunPartly(t *testing.T) {
	names := func(s *scene, list []string) string {
		var words []string
		for _, w := range list {
			if n := s.known[w]; n != "" {
				w = "@" + n
			}
			words = append(words, w)
		}
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	for what, tt := range map[string]struct {
		fails string
		gone  string
		left  string // how often
	}{
		"the name":      {"old", "", "@A @B @I @S old"},
		"a signature":   {"@S", "old", "@A @B @I @S"},
		"the index":     {"@I", "@S old", "@A @B @I"},
		"an image":      {"@A", "@B @I @S old", "@A"},
		"what is not":   {"@N", "@A @B @I @S old", ""},
		"nothing fails": {"", "@A @B @I @S old", ""},
	} {
		s, _, _, _, _ := signed()
		s.Fail = func(op, what string) error {
			if op == "delete " && (what == tt.fails || tt.fails == "@"+s.known[what]) {
				return fmt.Errorf("%w: it is locked", image.ErrDenied)
			}
			return nil
		}
		gone, err := run(t, t.Context(), s.Shelf, prepare(t, s))
		if got := names(s, gone); got != tt.gone {
			t.Errorf("%s: gone are %q; want %q", what, got, tt.gone)
		}
		var left []string
		var e *Error
		if errors.As(err, &e) {
			for _, f := range e.Failed {
				left = append(left, f.String())
			}
		}
		if got := names(s, left); got != tt.left || (tt.left != "") != errors.Is(err, image.ErrDenied) {
			t.Errorf("%s: left are %q, %v; want %q", what, got, err, tt.left)
		}
	}
}

// A protected name keeps the signatures of its image too, by whatever name.
func TestRunProtected(t *testing.T) {
	s, i, _, _, _ := signed()
	sig := attached(i, ".sig")
	s.Tag(s.call("G", s.Artifact("G", nil)), sig)
	s.Fail = func(op, what string) error {
		if op == "delete " && what == "old" {
			return image.ErrDenied
		}
		return nil
	}
	before := len(s.Manifests)
	gone, err := run(t, t.Context(), s.Shelf, prepare(t, s))
	if len(gone) > 0 || len(s.Manifests) != before || s.Names[sig].Digest == "" || !errors.Is(err, image.ErrDenied) {
		t.Errorf("gone are %v, %v", gone, err)
	}
	// And the other way: who cannot take the signature's name leaves the image.
	s.Fail = func(op, what string) error {
		if op == "delete " && what == sig {
			return image.ErrDenied
		}
		return nil
	}
	gone, err = run(t, t.Context(), s.Shelf, prepare(t, s))
	if !slices.Equal(gone, []string{"old"}) || len(s.Manifests) != before || !errors.Is(err, image.ErrDenied) {
		t.Errorf("gone are %v, %v; want the name old alone", gone, err)
	}
}

func TestRunCancelled(t *testing.T) {
	s, _, _, _, sig := signed()
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail = func(op, what string) error {
		if op == "delete " && what == sig.Digest.String() {
			cancel()
		}
		return nil
	}
	gone, err := run(t, ctx, s.Shelf, prepare(t, s))
	if !slices.Equal(gone, []string{"old", sig.Digest.String()}) || !errors.Is(err, context.Canceled) || s.Count("delete") != 2 {
		t.Errorf("gone are %v, %v, after %d requests; want the name and the signature", gone, err, s.Count("delete"))
	}
	if got := failures(err); strings.Count(got, "not tried") != 1 || strings.Count(got, "left, because") != 2 {
		t.Errorf("left are %s; want the index, which was not tried, and its images", got)
	}
}

// The message of many failures stays one that can be read.
func TestError(t *testing.T) {
	e := &Error{Failed: []Failure{{Item{Deletion: image.Deletion{Name: "a"}}, image.ErrDenied}, {Item{Deletion: image.Deletion{Digest: "sha256:x"}}, image.ErrNetwork}}}
	if e.Error() != "a: denied (and 1 more)" || !errors.Is(e, image.ErrNetwork) {
		t.Errorf("Error = %q", e)
	}
	for r := range reasons {
		if reasons[r] == "" {
			t.Errorf("reason %d has no words", r)
		}
	}
}

// 5,000 tags of 1,000 images, 300 of them to go: the right ones are left, and
// each thing was asked once.
func TestManyTags(t *testing.T) {
	s := imagetest.NewShelf()
	for i := range 1000 {
		d := s.Image(ago(i), fmt.Sprint(i))
		for j := range 5 {
			s.Tag(d, fmt.Sprintf("v%d.%d", i, j))
		}
	}
	s.Tag(s.Names["v970.0"], "stable") // keeps the manifest of five
	p, err := Prepare(t.Context(), s, Rule{Keep: 4700, Match: match(`^v`), Now: now}, Options{Manifests: true})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := run(t, t.Context(), s, p)
	if err != nil || len(gone) != 300+59 {
		t.Fatalf("%d gone, %v; want 300 names and 59 manifests", len(gone), err)
	}
	for i := range 1000 {
		for j := range 5 {
			name := fmt.Sprintf("v%d.%d", i, j)
			if _, there := s.Names[name]; there != (i < 940) {
				t.Errorf("%s is there: %v", name, there)
			}
		}
	}
	if s.Names["stable"].Digest == "" || len(s.Names) != 4701 || len(s.Manifests) != 941 {
		t.Errorf("left are %d names, %d manifests", len(s.Names), len(s.Manifests))
	}
	got := []int{s.Count("tags"), s.Count("find"), s.Count("manifest"), s.Count("blob"), s.Count("referrers"), s.Count("delete")}
	// One name more is looked up to see that it did not go with another, and
	// the names are listed again before the first manifest goes.
	if want := []int{2, 5002, 1000, 1000, 59, 359}; !slices.Equal(got, want) {
		t.Errorf("requests %v; want %v", got, want)
	}
	if s.Peak > parallel {
		t.Errorf("%d requests at a time; want %d", s.Peak, parallel)
	}
}

// Names alone: 300 of 5,000 by a pattern need a list and 300 requests.
func TestManyTagsByPattern(t *testing.T) {
	s := imagetest.NewShelf()
	d := s.Image(ago(1), "x")
	for i := range 5000 {
		s.Tag(d, fmt.Sprintf("pr-%04d", i))
	}
	p, err := Prepare(t.Context(), s, Rule{Match: match(`^pr-0[0-2]`)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := run(t, t.Context(), s, p)
	if err != nil || len(gone) != 300 || len(s.Names) != 4700 || s.Count("") != 301 {
		t.Errorf("%d gone, %d left, %v after %d requests", len(gone), len(s.Names), err, s.Count(""))
	}
}

// Somebody gives an image that is about to go a new name, or puts it into a new
// index, or finds an artifact about it worth keeping: it stays, with all that it
// needs, and that is said.
func TestRunNewName(t *testing.T) {
	for name, add := range map[string]func(*scene, oci.Descriptor, oci.Descriptor){
		"name":    func(s *scene, i, a oci.Descriptor) { s.Tag(i, "stable") },
		"index":   func(s *scene, i, a oci.Descriptor) { s.Tag(s.idx("J", i, s.img("C", 2)), "all") },
		"subject": func(s *scene, i, a oci.Descriptor) { s.Tag(s.art("T", i), "report") },
	} {
		s, i, a, b, sig := signed()
		p := prepare(t, s)
		add(s, i, a)
		gone, err := run(t, t.Context(), s.Shelf, p)
		if err == nil || !slices.Equal(gone, []string{"old"}) || !slices.Equal(s.Gone, gone) {
			t.Errorf("%s: Run deleted %v and said %v, %v; want old alone", name, s.Gone, gone, err)
		}
		for _, d := range []oci.Descriptor{i, a, b, sig} {
			if !strings.Contains(failures(err), d.Digest.String()+": "+errTaken.Error()) {
				t.Errorf("%s: %s is not said to stay:\n%s", name, d.Digest, failures(err))
			}
		}
	}
	// A name for a part keeps the part only.
	s, i, a, b, sig := signed()
	p := prepare(t, s)
	s.Tag(b, "part")
	gone, err := run(t, t.Context(), s.Shelf, p)
	if want := []string{"old", sig.Digest.String(), i.Digest.String(), a.Digest.String()}; !slices.Equal(gone, want) || err == nil {
		t.Errorf("Run deleted %v, %v; want %v", gone, err, want)
	}
	// If the names cannot be listed again, no manifest goes.
	s, _, _, _, _ = signed()
	p = prepare(t, s)
	s.Fail = func(op, _ string) error {
		if op == "tags" {
			return image.ErrNetwork
		}
		return nil
	}
	if gone, err := run(t, t.Context(), s.Shelf, p); !slices.Equal(gone, []string{"old"}) || !errors.Is(err, image.ErrNetwork) {
		t.Errorf("Run deleted %v, %v; want no manifest", gone, err)
	}
}

// A layout that has deleted names and then cannot remove blobs says so after
// it has said that the names are gone: both are told.
func TestRunBeside(t *testing.T) {
	s, _, _, _, _ := signed()
	full := errors.New("blobs are left")
	log := &Log{}
	s.Notify = log.Notify
	p := prepare(t, s)
	p.shelf = lateError{s.Shelf, full}
	n := 0
	err := p.Run(t.Context(), log, func(Item) { n++ })
	if !errors.Is(err, full) || failures(err) != "" || n != 5 || !strings.HasPrefix(err.Error(), full.Error()) {
		t.Errorf("Run = %v after %d; want what went wrong beside", err, n)
	}
}

// lateError is a shelf that does what it is asked, and then complains.
type lateError struct {
	*imagetest.Shelf
	err error
}

func (s lateError) Delete(ctx context.Context, list []image.Deletion) error {
	return errors.Join(s.Shelf.Delete(ctx, list), s.err)
}
