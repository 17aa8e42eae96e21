package reference

import (
	"path"
	"slices"
	"strings"
	"testing"
)

func TestDockerScopes(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"reg.sub.example.com:5000/a/b:tag", []string{
			"reg.sub.example.com:5000/a/b:tag", "reg.sub.example.com:5000/a/b", "reg.sub.example.com:5000/a", "reg.sub.example.com:5000",
			"*.sub.example.com", "*.example.com", "*.com",
		}},
		{"example.com/ns@" + sha256, []string{"example.com/ns@" + sha256, "example.com/ns", "example.com", "*.com"}},
		{"busybox:latest", []string{"docker.io/library/busybox:latest", "docker.io/library/busybox", "docker.io/library", "docker.io", "*.io"}},
		{"localhost:5000/a:b", []string{"localhost:5000/a:b", "localhost:5000/a", "localhost:5000"}},
		{"localhost/a", []string{"localhost/a", "localhost"}},
		{"127.0.0.1:5000/a:b", []string{"127.0.0.1:5000/a:b", "127.0.0.1:5000/a", "127.0.0.1:5000", "*.0.0.1", "*.0.1", "*.1"}},
	}
	for _, tt := range tests {
		d, err := ParseDocker(tt.in)
		if got := d.Scopes(); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("ParseDocker(%q).Scopes() = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	if got := (Docker{}).Scopes(); got != nil {
		t.Errorf("Docker{}.Scopes() = %q; want none", got)
	}
	// A digest that is not known yet is in no policy.
	d, err := ParseDockerTransport("//localhost/a@@unknown-digest@@")
	if got, want := d.Scopes(), []string{"localhost/a", "localhost"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v.Scopes() = %q, %v; want %q", d, got, err, want)
	}
}

func TestPathScopes(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"/a/b/c", []string{"/a/b/c", "/a/b", "/a"}},
		{"/a", []string{"/a"}},
		{"/", nil},
		{"", nil},
		{"a/b", nil},
		// A scope of "/a" must not be found by way of "/a/../b".
		{"/a/../b/", []string{"/b"}},
		{"//a//b", []string{"/a/b", "/a"}},
		{"/..", nil},
	}
	for _, tt := range tests {
		if got := PathScopes(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("PathScopes(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzPathScopes(f *testing.F) {
	for _, s := range []string{"/", "", "/a/b", "a", "/a/../b", "//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scopes := PathScopes(s)
		for i, scope := range scopes {
			if scope == "/" || !path.IsAbs(scope) || path.Clean(scope) != scope {
				t.Errorf("PathScopes(%q)[%d] = %q; want absolute, clean and not /", s, i, scope)
			}
			if i > 0 && path.Dir(scopes[i-1]) != scope {
				t.Errorf("PathScopes(%q) = %q; want each the parent of the one before", s, scopes)
			}
		}
	})
}

func FuzzDockerScopes(f *testing.F) {
	for _, s := range []string{"busybox", "a.b.c:1/d/e:f", "a.b/c@" + sha256} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDocker(s)
		if err != nil {
			return
		}
		scopes := d.Scopes()
		if scopes[0] != d.String() || !slices.Contains(scopes, d.Name()) || !slices.Contains(scopes, d.Domain) {
			t.Errorf("ParseDocker(%q).Scopes() = %q; want reference, name and domain in it", s, scopes)
		}
		host, _, _ := strings.Cut(d.Domain, ":")
		for _, scope := range scopes {
			suffix, wild := strings.CutPrefix(scope, "*")
			if wild && !strings.HasSuffix(host, suffix) || !wild && !strings.HasPrefix(d.String(), scope) {
				t.Errorf("ParseDocker(%q).Scopes() has %q, which does not cover it", s, scope)
			}
		}
	})
}
