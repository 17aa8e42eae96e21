package registry

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Servers write challenges in all the ways that the grammar allows, and some
// that it does not; skopeo reads only the first of a line.
func TestParseChallenges(t *testing.T) {
	tests := []struct {
		lines []string
		want  string // "scheme name=value name=value; scheme ..."
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"Basic"}, "basic"},
		{[]string{`Basic realm="a registry"`}, "basic realm=a registry"},
		{[]string{`BEARER Realm="https://a/t",Service="s",scope="repository:a/b:pull,push"`}, "bearer realm=https://a/t scope=repository:a/b:pull,push service=s"},
		{[]string{`Bearer realm="https://a/t", service="s" , scope="x"`}, "bearer realm=https://a/t scope=x service=s"},
		{[]string{`Bearer realm="a",service="s", Basic realm="b"`}, "bearer realm=a service=s; basic realm=b"},
		{[]string{`Negotiate, Basic realm="b"`}, "negotiate; basic realm=b"},
		{[]string{`Negotiate YII==, Bearer realm="a"`}, "negotiate; bearer realm=a"},
		{[]string{`Basic realm="b"`, `Bearer realm="a"`}, "basic realm=b; bearer realm=a"},
		{[]string{`Bearer realm="a"`, `service="s"`}, "bearer realm=a service=s"},
		{[]string{`Bearer realm="say \"hi\", x=\\y"`}, `bearer realm=say "hi", x=\y`},
		{[]string{`Bearer realm = "a" , service= "s"`}, "bearer realm=a service=s"},
		{[]string{`Bearer realm=https://a/t?x=1,service=s`}, "bearer realm=https://a/t?x=1 service=s"},
		{[]string{`Bearer realm="a" service="s"`}, "bearer realm=a service=s"},
		{[]string{`Bearer realm="first",realm="second"`}, "bearer realm=first"},
		{[]string{`Bearer realm="no end`}, "bearer realm=no end"},
		{[]string{`Bearer realm="no end\`}, `bearer realm=no end\`},
		{[]string{`,, ,Basic ,, realm="b",`}, "basic realm=b"},
		{[]string{`@@@, "quoted, comma", Basic realm="b"`}, "basic realm=b"},
		{[]string{`=x, Bearer realm="a"`}, "bearer realm=a"},
		{[]string{`Bearer`, `Basic`}, "bearer; basic"},
	}
	for _, tt := range tests {
		if got := format(parseChallenges(tt.lines)); got != tt.want {
			t.Errorf("parseChallenges(%q) = %q; want %q", tt.lines, got, tt.want)
		}
	}
}

func format(list []challenge) string {
	var out []string
	for _, c := range list {
		s := c.scheme
		for _, name := range sorted(c.params) {
			s += " " + name + "=" + c.params[name]
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

// What one answer can make us hold is limited, however long it is.
func TestParseChallengesLimits(t *testing.T) {
	if n := len(parseChallenges([]string{strings.Repeat("Basic,", 1000)})); n != maxChallenges {
		t.Errorf("%d challenges; want %d", n, maxChallenges)
	}
	line := "Bearer realm=a"
	for i := range 1000 {
		line += ",p" + strings.Repeat("x", i) + "=1"
	}
	if n := len(parseChallenges([]string{line})[0].params); n != maxParams {
		t.Errorf("%d parameters; want %d", n, maxParams)
	}
}

// Whatever a server sends, the parser ends, and what it says again in plain
// form means the same.
func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"`, `Basic realm="b"`)
	f.Add(`Negotiate YII==, Bearer realm = "a\"b`, ",,=,")
	f.Fuzz(func(t *testing.T, a, b string) {
		first := parseChallenges([]string{a, b})
		var again []string
		for _, c := range first {
			line := c.scheme
			for i, name := range sorted(c.params) {
				line += map[bool]string{true: " ", false: ","}[i == 0] + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.params[name]) + `"`
			}
			again = append(again, line)
		}
		second := parseChallenges(again)
		if format(first) != format(second) {
			t.Errorf("%q, %q: %q; said again %q: %q", a, b, format(first), again, format(second))
		}
	})
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
