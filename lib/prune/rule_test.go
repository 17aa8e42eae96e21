package prune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

var now = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// ago is a date so many days before now, as a configuration has it.
func ago(days int) string { return now.AddDate(0, 0, -days).Format(time.RFC3339) }

const day = 24 * time.Hour

func match(expr string) func(string) bool { return regexp.MustCompile(expr).MatchString }

// words are the items in a line each: name or short digest, and why.
func words(list []Item, names map[string]string) string {
	var lines []string
	for _, it := range list {
		s := it.String()
		if it.Name == "" {
			s = "@" + names[it.Digest.String()]
		}
		why := it.Why()
		for d, n := range names {
			why = strings.ReplaceAll(why, d, "@"+n)
		}
		lines = append(lines, s+": "+why)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// five is a shelf with tags a (10 days old) to e (50 days old).
func five() *imagetest.Shelf {
	s := imagetest.NewShelf()
	for i, n := range []string{"a", "b", "c", "d", "e"} {
		s.Tag(s.Image(ago(10*(i+1)), n), n)
	}
	return s
}

func TestRule(t *testing.T) {
	for name, tt := range map[string]struct {
		rule  Rule
		going string // names
		why   Reason
		kept  map[string]Reason
	}{
		"keep":            {Rule{Keep: 3}, "d e", Surplus, map[string]Reason{"a": Newest, "b": Newest, "c": Newest}},
		"keep more":       {Rule{Keep: 9}, "", 0, map[string]Reason{"a": Newest, "b": Newest, "c": Newest, "d": Newest, "e": Newest}},
		"older":           {Rule{OlderThan: 30 * day}, "d e", Old, map[string]Reason{"a": Young, "b": Young, "c": Young}},
		"exactly as old":  {Rule{OlderThan: 50 * day}, "", 0, map[string]Reason{"a": Young, "b": Young, "c": Young, "d": Young, "e": Young}},
		"both, age rules": {Rule{Keep: 1, OlderThan: 30 * day}, "d e", Old, map[string]Reason{"a": Newest, "b": Young, "c": Young}},
		"both, number":    {Rule{Keep: 4, OlderThan: 15 * day}, "e", Old, map[string]Reason{"a": Newest, "b": Newest, "c": Newest, "d": Newest}},
		"match":           {Rule{Keep: 1, Match: match("[bde]")}, "d e", Surplus, map[string]Reason{"a": Unmatched, "b": Newest, "c": Unmatched}},
		"match all of it": {Rule{Match: match("[ae]")}, "a e", Matched, map[string]Reason{"b": Unmatched, "c": Unmatched, "d": Unmatched}},
		"match none":      {Rule{Match: match("^z")}, "", 0, map[string]Reason{"a": Unmatched, "b": Unmatched, "c": Unmatched, "d": Unmatched, "e": Unmatched}},
	} {
		tt.rule.Now = now
		p, err := Prepare(t.Context(), five(), tt.rule, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var going []string
		for _, it := range p.Going() {
			going = append(going, it.Name)
			if it.Reason != tt.why {
				t.Errorf("%s: %s goes because %q; want %q", name, it.Name, it.Why(), reasons[tt.why])
			}
		}
		kept := map[string]Reason{}
		for _, it := range p.Kept {
			kept[it.Name] = it.Reason
		}
		if got := strings.Join(going, " "); got != tt.going || !maps.Equal(kept, tt.kept) {
			t.Errorf("%s: %q go, kept %v; want %q, %v", name, got, kept, tt.going, tt.kept)
		}
	}
}

// What has no date stays, whatever the rule says about age; it does not count
// among the newest.
func TestUndated(t *testing.T) {
	s := five()
	s.Tag(s.Image("", "no date"), "x1")
	s.Tag(s.Image("0001-01-01T00:00:00Z", "zero"), "x2")
	s.Tag(s.Image("1970-01-01T00:00:00Z", "reproducible"), "x3")
	s.Tag(s.Image("1980-01-01T00:00:01Z", "reproducible too"), "x4")
	s.Tag(s.Image("yesterday", "no date at all"), "x5")
	s.Tag(s.Artifact("artifact", nil), "x6")
	s.Tag(s.Index(nil), "x7")
	lost := s.Image(ago(90), "config lost")
	s.Tag(lost, "x8")
	delete(s.Blobs, config(t, s, lost))
	s.Tag(s.Index([]oci.Descriptor{s.Image(ago(90), "old"), s.Image("", "who knows")}), "x9")
	gone := s.Image(ago(90), "gone")
	s.Tag(gone, "y")
	delete(s.Manifests, gone.Digest)
	s.Tag(s.Put(map[string]any{"schemaVersion": 3}), "z1")
	s.Tag(s.Put(map[string]any{"schemaVersion": 1}), "z2")
	p, err := Prepare(t.Context(), s, Rule{Keep: 3, Now: now}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := words(p.Going(), nil); got != "d: there are enough newer ones\ne: there are enough newer ones" {
		t.Errorf("going: %s", got)
	}
	for _, it := range p.Kept {
		want := map[byte]Reason{'x': Undated, 'y': Missing, 'z': Undated}[it.Name[0]]
		if it.Name > "e" && it.Reason != want {
			t.Errorf("%s is kept because %q; want %q", it.Name, it.Why(), reasons[want])
		}
	}
}

func TestCreated(t *testing.T) {
	s := imagetest.NewShelf()
	unknown := &oci.Platform{OS: "unknown", Architecture: "unknown"}
	a10, a20 := s.Image(ago(10), "10"), s.Image(ago(20), "20")
	attestation := s.Image("", "attestation")
	attestation.Platform = unknown
	absent := s.Image(ago(1), "absent")
	delete(s.Manifests, absent.Digest)
	const key = "org.opencontainers.image.created"
	for name, tt := range map[string]struct {
		d    oci.Descriptor
		days int // 0: not known
	}{
		"image":                    {a10, 10},
		"index, its newest":        {s.Index([]oci.Descriptor{a20, a10}), 10},
		"index of indexes":         {s.Index([]oci.Descriptor{s.Index([]oci.Descriptor{a20}), s.Index([]oci.Descriptor{a10, a20})}), 10},
		"index with attestation":   {s.Index([]oci.Descriptor{a20, attestation}), 20},
		"index that is sparse":     {s.Index([]oci.Descriptor{a20, absent}), 20},
		"index with nothing there": {s.Index([]oci.Descriptor{absent}), 0},
		"index of nothing, dated":  {s.Index(nil, key, ago(7)), 7},
		"index, date in its kids":  {s.Index([]oci.Descriptor{a20}, key, ago(7)), 20},
		"artifact":                 {s.Artifact("x", nil, key, ago(5)), 5},
		"artifact, bad date":       {s.Artifact("x", nil, key, "then"), 0},
		"artifact of 1970":         {s.Artifact("x", nil, key, "1970-01-01T00:00:00Z"), 0},
		"index with artifact":      {s.Index([]oci.Descriptor{a20, s.Artifact("y", nil)}), 20},
	} {
		r := newReader(s)
		if err := r.dates(t.Context(), append(digestList(tt.d), a20.Digest)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := time.Time{}
		if tt.days > 0 {
			want = now.AddDate(0, 0, -tt.days)
		}
		if got := r.created(tt.d.Digest); !got.Equal(want) {
			t.Errorf("%s: created %v; want %v", name, got, want)
		}
	}
}

// Equal dates are the rule where builds are reproducible: which of them are the
// newest must not be left to chance.
func TestTies(t *testing.T) {
	s := imagetest.NewShelf()
	for _, n := range []string{"v1.9", "v1.10", "v1.2", "v01.10"} {
		s.Tag(s.Image(ago(3), n), n)
	}
	p, err := Prepare(t.Context(), s, Rule{Keep: 2, Now: now}, Options{})
	if got := words(p.Going(), nil); err != nil || got != "v1.2: there are enough newer ones\nv1.9: there are enough newer ones" {
		t.Errorf("going %q, %v", got, err)
	}
}

func TestNatural(t *testing.T) {
	sorted := []string{"", "0", "00", "1", "01", "1.2", "1.10", "2", "10", "a", "a2", "a10", "a10b", "b1"}
	for i, a := range sorted {
		for j, b := range sorted {
			n := natural(a, b)
			if i < j && n >= 0 && !(strings.Trim(a, "0") == strings.Trim(b, "0")) || i == j && n != 0 || natural(b, a) > 0 != (n < 0) {
				t.Errorf("natural(%q, %q) = %d, the other way %d", a, b, n, natural(b, a))
			}
		}
	}
}

// A rule asks only for what it must know.
func TestRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		rule                         Rule
		o                            Options
		tags, find, manifests, blobs int
		referrers                    int
	}{
		"age":               {Rule{OlderThan: day}, Options{}, 1, 5, 5, 5, 0},
		"age of some":       {Rule{OlderThan: day, Match: match("[ab]")}, Options{}, 1, 2, 2, 2, 0},
		"keep more":         {Rule{Keep: 5, OlderThan: day}, Options{Manifests: true}, 1, 0, 0, 0, 0},
		"no age":            {Rule{Match: match("[ab]")}, Options{}, 1, 0, 0, 0, 0},
		"nothing matches":   {Rule{OlderThan: day, Match: match("z")}, Options{Manifests: true}, 1, 0, 0, 0, 0},
		"nothing goes":      {Rule{OlderThan: 99 * day, Match: match("[ab]")}, Options{Manifests: true}, 1, 2, 2, 2, 0},
		"manifests":         {Rule{Keep: 3}, Options{Manifests: true}, 1, 5, 5, 5, 2},
		"manifests of some": {Rule{OlderThan: day, Match: match("[ab]")}, Options{Manifests: true, Referrers: true}, 1, 5, 5, 2, 2},
	} {
		s := five()
		tt.rule.Now = now
		if _, err := Prepare(t.Context(), s, tt.rule, tt.o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := []int{s.Count("tags"), s.Count("find"), s.Count("manifest"), s.Count("blob"), s.Count("referrers"), s.Count("delete")}
		if want := []int{tt.tags, tt.find, tt.manifests, tt.blobs, tt.referrers, 0}; !slices.Equal(got, want) {
			t.Errorf("%s: requests %v; want %v", name, got, want)
		}
	}
}

// Many names of few images: everything once a digest, several at a time.
func TestOncePerDigest(t *testing.T) {
	s := imagetest.NewShelf()
	var kids []oci.Descriptor
	for i := range 20 {
		kids = append(kids, s.Image(ago(i+1), fmt.Sprint(i)))
	}
	for i := range 40 {
		s.Tag(s.Index(kids[i%10:i%10+10]), fmt.Sprint("i", i))
		s.Tag(kids[i%20], fmt.Sprint("k", i))
	}
	together := barrier(parallel)
	s.Fail = func(op, _ string) error {
		if op == "find " {
			together()
		}
		return nil
	}
	if _, err := Prepare(t.Context(), s, Rule{Keep: 3, Now: now}, Options{Manifests: true}); err != nil {
		t.Fatal(err)
	}
	for what, n := range s.Asked {
		if n != 1 {
			t.Errorf("%q was asked %d times", what, n)
		}
	}
	if s.Peak != parallel {
		t.Errorf("%d requests at a time; want %d", s.Peak, parallel)
	}
}

// barrier returns a function that waits, the first n times that it is called,
// until it has been called n times.
func barrier(n int) func() {
	var mu sync.Mutex
	calls, open := 0, make(chan struct{})
	return func() {
		mu.Lock()
		if calls++; calls == n {
			close(open)
		}
		mu.Unlock()
		<-open
	}
}

// A fault that may pass is no reason to keep or delete: there is no plan.
func TestPrepareFails(t *testing.T) {
	for _, op := range []string{"tags", "find ", "manifest ", "blob ", "referrers "} {
		s := five()
		s.Fail = func(o, _ string) error {
			if o == op {
				return fmt.Errorf("%w: the line is dead", image.ErrNetwork)
			}
			return nil
		}
		p, err := Prepare(t.Context(), s, Rule{Keep: 1, Now: now}, Options{Manifests: true, Referrers: true})
		if !errors.Is(err, image.ErrNetwork) || p != nil {
			t.Errorf("%s: Prepare = %v, %v", op, p, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := five()
	s.Fail = func(op, _ string) error {
		if op == "manifest " {
			cancel()
		}
		return nil
	}
	if _, err := Prepare(ctx, s, Rule{Keep: 1, Now: now}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
