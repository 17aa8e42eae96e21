package listtags

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
)

func TestConstraint(t *testing.T) {
	for _, tt := range []struct{ constraint, yes, no string }{
		{"1.2.3", "1.2.3 v1.2.3 01.2.3", "1.2.4 1.2 1.2.3-rc1"},
		{"1.2", "1.2 1.2.9", "1.3 1.1.9 2"},
		{"v1.x", "1 1.0.0 1.99", "2 0.9"},
		{"*", "0 1.2 99.0.1", "1.0-rc1"},
		{">=1.2 <2", "1.2 1.99.9", "1.1.9 2 2.0.0-rc1"},
		{">= 1.2, < 2", "1.2 1.99.9", "1.1.9 2"},
		{">1.2", "1.3 2", "1.2.9 1.2"},
		{">1.2.3", "1.2.4 2", "1.2.3"},
		{"<=1.2", "1.2.9 0.1", "1.3"},
		{"<=1.2.3", "1.2.3", "1.2.4"},
		{"!=1.2", "1.3 1.1", "1.2.0 1.2.7"},
		{"~1.2.3", "1.2.3 1.2.9", "1.3 1.2.2"},
		{"~>1", "1 1.9", "2 0.9"},
		{"^1.2.3", "1.2.3 1.9", "2 1.2.2"},
		{"^0.2.3", "0.2.3 0.2.9", "0.3 1"},
		{"^0.0.3", "0.0.3", "0.0.4"},
		{"^0.0", "0.0.9", "0.1"},
		{"^0", "0.9.9", "1"},
		{"1.2 - 1.4", "1.2 1.4.9", "1.5 1.1"},
		{"1.2 - 1.4.5 || >=3", "1.2 1.4.5 3 4", "1.4.6 2"},
		{">=1.0-0", "1.0-rc1 1.0 2.0-alpha", "0.9"},
		{">=1.0-0 <2", "1.0-rc1 1.5-rc1 1.0", "2.1-rc1"},
		{"<1.0-rc.2", "1.0-rc.1 0.9", "1.0-rc.10 1.0-rc.2 1.0"},
		{"2024.01", "2024.01.05 2024.1", "2024.02"},
	} {
		c, err := parseConstraint(tt.constraint)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for i, list := range []string{tt.yes, tt.no} {
			for s := range strings.FieldsSeq(list) {
				v, ok := parseVersion(s)
				if !ok || c.allows(v) != (i == 0) {
					t.Errorf("%q allows %s: %v (a version: %v)", tt.constraint, s, c.allows(v), ok)
				}
			}
		}
	}
	for _, bad := range []string{"", " ", "||", "1 ||", ">=", "1 - ", ">1 - 2", "1 - x.y", "foo", "1.2.3.4", "=+1", ">>1", "1-", "1.+2", ">= >= 1"} {
		if c, err := parseConstraint(bad); err == nil {
			t.Errorf("parseConstraint(%q) = %v; want an error", bad, c)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for _, s := range []string{"1", "v1", "1.2", "1.2.3-alpha.1", "1.2.3-alpine", "20240102", "1.2.3+build.1", "0.0.0--"} {
		if _, ok := parseVersion(s); !ok {
			t.Errorf("%q is no version", s)
		}
	}
	for _, s := range []string{"", "v", "latest", "1.", ".1", "1.2.3.4", "1.x", "*", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2_3", "18446744073709551616", "-1", "+1", "1.+2", "vv1", "1.2.3-ä", "1+"} {
		if v, ok := parseVersion(s); ok {
			t.Errorf("%q is version %v", s, v)
		}
	}
}

func TestSortVersions(t *testing.T) {
	want := strings.Fields("edge latest 0.9 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0 1.0.0 v1.0 1.2 1.10 v2")
	for seed := range uint64(20) {
		got := slices.Clone(want)
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		if sortVersions(got); !slices.Equal(got, want) {
			t.Fatalf("sorted %v; want %v", got, want)
		}
	}
}

// The library that Helm and many others use is the oracle: who knows their
// constraints finds the same tags here.
func TestOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	number := func() string { return fmt.Sprint(r.IntN(4)) }
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	random := func(wild bool) string {
		s := number()
		for range r.IntN(3) {
			n := number()
			if wild && r.IntN(5) == 0 {
				n = "x"
			}
			s += "." + n
			if n == "x" {
				return s
			}
		}
		if strings.Count(s, ".") == 2 && r.IntN(3) == 0 {
			s += "-" + pick("0", "alpha", "alpha.1", "rc.2", "rc.10")
		}
		return pick("", "", "v") + s
	}
	same := 0
	for range 20000 {
		text := pick("", "=", "!=", ">", ">=", "<", "<=", "~", "^") + random(true)
		if r.IntN(3) == 0 {
			text += pick(" ", ", ", " || ") + pick(">", "<=", "^", ">=") + random(true)
		}
		s := random(false)
		theirs, err := semver.NewConstraint(text)
		if err != nil || quirk(text) {
			continue
		}
		ours, err := parseConstraint(text)
		if err != nil {
			t.Fatalf("%v, but there it is a constraint", err)
		}
		v, ok := parseVersion(s)
		if want := theirs.Check(semver.MustParse(s)); !ok || ours.allows(v) != want {
			t.Errorf("%q allows %s: %v (a version: %v); there %v", text, s, ours.allows(v), ok, want)
		}
		same++
	}
	if same < 10000 {
		t.Errorf("only %d of 20000 were compared", same)
	}
}

// quirk reports whether a constraint is one that the library reads in a way of
// its own.
func quirk(text string) bool {
	return strings.Contains(text, "~0.0.0") || strings.Contains(text, "~v0.0.0")
}

func FuzzConstraint(f *testing.F) {
	for _, s := range []string{">=1.2 <2 || ~3.x", "1.2 - 3", "^0.0.1-rc.1", "v1"} {
		f.Add(s, "1.2.3-rc.1")
	}
	f.Fuzz(func(t *testing.T, text, tag string) {
		c, err := parseConstraint(text)
		if v, ok := parseVersion(tag); ok {
			if v.compare(v) != 0 {
				t.Errorf("%q is not itself", tag)
			}
			if err == nil {
				c.allows(v)
			}
		}
	})
}
