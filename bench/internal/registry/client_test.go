package registry

import (
	"errors"
	"maps"
	"testing"
)

func TestSplitRef(t *testing.T) {
	for _, c := range []struct{ in, name, ref string }{
		{"127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b", "v1"},
		{"127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "latest"},
		{"h:1/a@sha256:00", "h:1/a", "sha256:00"},
	} {
		if name, ref := SplitRef(c.in); name != c.name || ref != c.ref {
			t.Errorf("SplitRef(%q) = %q, %q; want %q, %q", c.in, name, ref, c.name, c.ref)
		}
	}
}

func TestParameters(t *testing.T) {
	for in, want := range map[string]map[string]string{
		`Bearer realm="https://h/token",service="s",scope="repository:a:pull,push"`: {"realm": "https://h/token", "service": "s", "scope": "repository:a:pull,push"},
		`Bearer realm="x", error="invalid_token"`:                                   {"realm": "x", "error": "invalid_token"},
		`Basic`:                     {},
		`Bearer realm="cut off, no`: {"realm": "cut off, no"},
	} {
		if got := parameters(in); !maps.Equal(got, want) {
			t.Errorf("parameters(%q) = %v; want %v", in, got, want)
		}
	}
}

// One failing item must not hide behind the others' success.
func TestEach(t *testing.T) {
	bad := errors.New("three")
	err := Each(2, []int{1, 2, 3, 4}, func(i int) error {
		if i == 3 {
			return bad
		}
		return nil
	})
	if !errors.Is(err, bad) {
		t.Errorf("Each = %v; want %v", err, bad)
	}
}
