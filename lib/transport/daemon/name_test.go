package daemon

import (
	"errors"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/reference"
)

var hex = strings.Repeat("0123456789abcdef", 4)

func TestParseName(t *testing.T) {
	id := "sha256:" + hex
	for _, tt := range []struct {
		in, want, err string // the text that scripts match on
		writable      bool
	}{
		{"busybox:1", "busybox:1", "", true},
		{"docker.io/library/busybox:1", "busybox:1", "", true},
		{"a.example:5000/b/c:d", "a.example:5000/b/c:d", "", true},
		{"busybox@" + id, "busybox@" + id, "", false},
		{id, id, "", false},
		{"a.example/sha256:" + hex, "a.example/sha256:" + hex, "", true},
		{"busybox", "", "docker-daemon: reference busybox has neither a tag nor a digest", false},
		{"busybox:1@" + id, "", reference.ErrTagAndDigest.Error(), false},
		{"sha256:" + hex[1:], "", "reserved for image IDs", false},
		{"sha256", "", "reserved for image IDs", false},
		{"sha512:" + hex + hex, "", "an image ID is a sha256 digest", false},
		{hex, "", "is an image ID", false},
		{"", "", "invalid reference format", false},
		{"//busybox:1", "", "invalid reference format", false},
		{"Busybox:1", "", "lowercase", false},
		{"a/../b:1", "", "invalid reference format", false},
		{"a?x=y:1", "", "invalid reference format", false},
	} {
		n, err := ParseName(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !errors.Is(err, reference.ErrFormat) {
				t.Errorf("ParseName(%q): %v; want %q", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || n.String() != tt.want {
			t.Errorf("ParseName(%q) = %q, %v; want %q", tt.in, n, err, tt.want)
		}
		err = n.CheckDestination()
		if (err == nil) != tt.writable {
			t.Errorf("%q as a destination: %v", tt.in, err)
		}
		if want := "Invalid destination docker-daemon:" + tt.want + ": a destination must be a name:tag"; err != nil && err.Error() != want {
			t.Errorf("%q as a destination: %v; want %q", tt.in, err, want)
		}
	}
}

// What a name reads as goes into the path of a request: it must read back as
// the same, and leave no way to another path.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"busybox:1", "a.example:5000/b/c@sha256:" + hex, "sha256:" + hex, "[::1]:5000/a:b", "a/../b:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			if !errors.Is(err, reference.ErrFormat) {
				t.Errorf("ParseName(%q): %v; want an ErrFormat", s, err)
			}
			return
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Errorf("ParseName(%q) reads back as %q, %v", s, again, err)
		}
		if p := "/" + n.String() + "/"; strings.Contains(p, "/../") || strings.ContainsAny(p, "?#% ") {
			t.Errorf("ParseName(%q) = %q, which is no part of a path", s, n)
		}
	})
}
