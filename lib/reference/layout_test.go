package reference

import (
	"errors"
	"strings"
	"testing"
)

func TestParseLayout(t *testing.T) {
	tests := []struct {
		in   string
		want Layout
	}{
		{"", Layout{"", "", -1}},
		{"x", Layout{"x", "", -1}},
		{"/a/b.d", Layout{"/a/b.d", "", -1}},
		{"x:v1", Layout{"x", "v1", -1}},
		{":v1", Layout{"", "v1", -1}},
		{"dir:foo:bar/baz@1", Layout{"dir", "foo:bar/baz@1", -1}},
		{"x:v1:b", Layout{"x", "v1:b", -1}},
		{"x:a/b", Layout{"x", "a/b", -1}},
		{"x:A--b+c.d_e", Layout{"x", "A--b+c.d_e", -1}},
		{"x:foo:t@" + sha256, Layout{"x", "foo:t@" + sha256, -1}},
		{"x:docker.io/library/busybox:latest", Layout{"x", "docker.io/library/busybox:latest", -1}},
		{"x@0", Layout{"x@0", "", -1}},
		{"x:@0", Layout{"x", "", 0}},
		{":@12", Layout{"", "", 12}},
	}
	for _, tt := range tests {
		got, err := ParseLayout(tt.in)
		if err != nil || got != tt.want || got.String() != tt.in {
			t.Errorf("ParseLayout(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
		if tt.want.Path == "" {
			continue
		}
		if got, err := ParseLayoutArchive(tt.in); err != nil || got != tt.want {
			t.Errorf("ParseLayoutArchive(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
		if tt.want.Index >= 0 {
			continue
		}
		if got, err := ParseLayoutArchiveStrict(tt.in); err != nil || got != tt.want {
			t.Errorf("ParseLayoutArchiveStrict(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
}

// Other spellings of the same detail.
func TestParseLayoutNormalises(t *testing.T) {
	for in, want := range map[string]string{"x:": "x", ":": "", "x:@+1": "x:@1", "x:@007": "x:@7", "x:@-0": "x:@0"} {
		got, err := ParseLayout(in)
		if err != nil || got.String() != want {
			t.Errorf("ParseLayout(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseLayoutErrors(t *testing.T) {
	lax := []struct {
		in, text string
		is       error
	}{
		{"x:v1:", "Invalid image v1:", ErrFormat},
		{"x::t", "Invalid image :t", ErrFormat},
		{"x:a//b", "Invalid image a//b", ErrFormat},
		{"x:a/", "Invalid image a/", ErrFormat},
		{"x:/a", "Invalid image /a", ErrFormat},
		{"x:a---b", "Invalid image a---b", ErrFormat},
		{"x:a..b", "Invalid image a..b", ErrFormat},
		{"x:a b", "Invalid image a b", ErrFormat},
		{"x:é", "Invalid image é", ErrFormat},
		{"x:a\n", `Invalid image a\n`, ErrFormat},
		{"x:@x", `Invalid source index @x: not an integer: strconv.Atoi: parsing "x": invalid syntax`, ErrIndex},
		{"x:@", `Invalid source index @: not an integer: strconv.Atoi: parsing "": invalid syntax`, ErrIndex},
		{"x:@1\n", `Invalid source index @1\n: not an integer: strconv.Atoi: parsing "1\n": invalid syntax`, ErrIndex},
		{"x:@99999999999999999999", `Invalid source index @99999999999999999999: not an integer: strconv.Atoi: parsing "99999999999999999999": value out of range`, ErrIndex},
		{"x:@-1", "Invalid source index @-1: must not be negative", ErrIndex},
	}
	for _, tt := range lax {
		_, err := ParseLayout(tt.in)
		checkError(t, "ParseLayout", tt.in, err, tt.text, tt.is)
		_, err = ParseLayoutArchive(tt.in)
		checkError(t, "ParseLayoutArchive", tt.in, err, tt.text, tt.is)
	}
	for in, text := range map[string]string{
		"x:@0":  "Invalid image @0",
		"x:@-1": "Invalid image @-1",
		"x:@x":  "Invalid image @x",
		"x:v1:": "Invalid image v1:",
		":v1":   "oci-archive: name without a path",
	} {
		_, err := ParseLayoutArchiveStrict(in)
		checkError(t, "ParseLayoutArchiveStrict", in, err, text, ErrFormat)
	}
	for _, in := range []string{"", ":", ":v1", ":@0"} {
		_, err := ParseLayoutArchive(in)
		checkError(t, "ParseLayoutArchive", in, err, "oci-archive: name without a path", ErrFormat)
	}
}

func TestParseArchive(t *testing.T) {
	busybox := Docker{Domain: "docker.io", Path: "library/busybox", Tag: "latest"}
	tests := []struct {
		in   string
		want Archive
		s    string
	}{
		{"x.tar", Archive{"x.tar", Docker{}, -1}, "x.tar"},
		{"/dev/stdout", Archive{"/dev/stdout", Docker{}, -1}, "/dev/stdout"},
		{"x:busybox", Archive{"x", busybox, -1}, "x:docker.io/library/busybox:latest"},
		{"x:busybox:latest", Archive{"x", busybox, -1}, "x:docker.io/library/busybox:latest"},
		{"x:r:5000/a:b", Archive{"x", Docker{Domain: "r:5000", Path: "a", Tag: "b"}, -1}, "x:r:5000/a:b"},
		{"x:@0", Archive{"x", Docker{}, 0}, "x:@0"},
		{"x:@+3", Archive{"x", Docker{}, 3}, "x:@3"},
	}
	for _, tt := range tests {
		got, err := ParseArchive(tt.in)
		if err != nil || got != tt.want || got.String() != tt.s {
			t.Errorf("ParseArchive(%q) = %+v, %v; want %+v, printed as %q", tt.in, got, err, tt.want, tt.s)
		}
		if again, err := ParseArchive(got.String()); err != nil || again != got {
			t.Errorf("ParseArchive(%q) = %+v, %v; want %+v", got, again, err, got)
		}
	}
}

func TestParseArchiveErrors(t *testing.T) {
	tests := []struct {
		in, text string
		is       error
	}{
		{"", "docker-archive: name without a path", ErrFormat},
		{":a", "docker-archive: name without a path", ErrFormat},
		{"x:", "docker-archive parsing reference: invalid reference format", ErrFormat},
		{"x:v1:", "docker-archive parsing reference: invalid reference format", ErrFormat},
		{"x:a@b", "docker-archive parsing reference: invalid reference format", ErrFormat},
		{"x:A/b", "docker-archive parsing reference: invalid reference format: repository name must be lowercase", ErrUppercase},
		{"x:a@md5:" + hex32, "docker-archive parsing reference: unsupported digest algorithm", ErrDigest},
		{"x:foo@" + sha256, "reference does not include a tag: docker.io/library/foo@" + sha256, ErrFormat},
		{"x:foo:t@" + sha256, "docker-archive: names in an archive have no digest: docker.io/library/foo:t@" + sha256, ErrFormat},
		{"x:@-1", "Invalid source index @-1: must not be negative", ErrIndex},
		{"x:@x", `Invalid source index @x: not an integer: strconv.Atoi: parsing "x": invalid syntax`, ErrIndex},
	}
	for _, tt := range tests {
		_, err := ParseArchive(tt.in)
		checkError(t, "ParseArchive", tt.in, err, tt.text, tt.is)
	}
}

func TestCheckDestination(t *testing.T) {
	const text = "Destination reference must not contain a manifest index @0"
	for _, name := range []string{"x", "x:v1"} {
		l, lerr := ParseLayout(name)
		a, aerr := ParseArchive(name)
		if err := errors.Join(lerr, aerr, l.CheckDestination(), a.CheckDestination()); err != nil {
			t.Errorf("CheckDestination for %q = %v; want nil", name, err)
		}
	}
	checkError(t, "Layout.CheckDestination", "x:@0", Layout{Path: "x"}.CheckDestination(), text, ErrIndex)
	checkError(t, "Archive.CheckDestination", "x:@0", Archive{Path: "x"}.CheckDestination(), text, ErrIndex)
}

func TestValidTag(t *testing.T) {
	for s, want := range map[string]bool{
		"latest": true, "_": true, "9": true, "A.b-c_": true, strings.Repeat("x", 128): true,
		"": false, ".": false, "-a": false, "a:b": false, "a/b": false, "a\n": false, "é": false, strings.Repeat("x", 129): false,
	} {
		if got := ValidTag(s); got != want {
			t.Errorf("ValidTag(%q) = %v; want %v", s, got, want)
		}
	}
}

func TestValidRefName(t *testing.T) {
	for s, want := range map[string]bool{
		"v1": true, "a/b/c": true, "A--b": true, "a:b@c+d_e.f-g": true,
		"": false, "a/": false, "/a": false, "a---b": false, "a.-b": false, "-a": false, "a-": false, "../a": false, "a\\b": false, "é": false,
	} {
		if got := ValidRefName(s); got != want {
			t.Errorf("ValidRefName(%q) = %v; want %v", s, got, want)
		}
	}
}

func FuzzParseLayout(f *testing.F) {
	for _, s := range []string{"", "x", "x:", "x:v1", "dir:foo:bar/baz@1", "x:@0", "x:@-1", "x:@x", ":v1", "x:a---b", "x:a--b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLayout(s)
		archive, archiveErr := ParseLayoutArchive(s)
		strict, strictErr := ParseLayoutArchiveStrict(s)
		if err != nil {
			checkPrintable(t, err)
			if !errors.Is(err, ErrFormat) || archiveErr == nil || strictErr == nil {
				t.Errorf("ParseLayout(%q) error %v; archive: %v, strict: %v", s, err, archiveErr, strictErr)
			}
			return
		}
		if again, err := ParseLayout(l.String()); err != nil || again != l {
			t.Errorf("ParseLayout(%q) = %+v, %v; want %+v", l, again, err, l)
		}
		if strings.Contains(l.Path, ":") || l.Name != "" && (l.Index != -1 || !ValidRefName(strings.TrimPrefix(l.Name, "@"))) {
			t.Errorf("ParseLayout(%q) = %+v", s, l)
		}
		if (archiveErr == nil) != (l.Path != "") || archiveErr == nil && archive != l {
			t.Errorf("ParseLayoutArchive(%q) = %+v, %v; want %+v", s, archive, archiveErr, l)
		}
		if (strictErr == nil) != (l.Path != "" && l.Index < 0) || strictErr == nil && strict != l {
			t.Errorf("ParseLayoutArchiveStrict(%q) = %+v, %v; want %+v", s, strict, strictErr, l)
		}
	})
}

func FuzzParseArchive(f *testing.F) {
	for _, s := range []string{"", "x", "x:", "x:a", "x:a:b", "x:r:5000/a:b", "x:@0", "x:@-1", "x:@x", "x:a@" + sha256, "x:a:t@" + sha256} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseArchive(s)
		if err != nil {
			checkPrintable(t, err)
			if !errors.Is(err, ErrFormat) {
				t.Errorf("ParseArchive(%q) error %v is not an ErrFormat", s, err)
			}
			return
		}
		if again, err := ParseArchive(a.String()); err != nil || again != a {
			t.Errorf("ParseArchive(%q) = %+v, %v; want %+v", a, again, err, a)
		}
		if !a.Ref.IsZero() && (a.Ref.Tag == "" || a.Ref.Digest != "" || a.Index != -1) {
			t.Errorf("ParseArchive(%q) = %+v; want a tag alone", s, a)
		}
	})
}

// A pin alone names a manifest that nobody may have tagged: it is what tools
// print of a copy without a name.
func TestParseLayoutPin(t *testing.T) {
	pin := "@sha256:" + hex64
	l, err := ParseLayout("dir:" + pin)
	if err != nil || l.Name != pin || l.Index != -1 || l.String() != "dir:"+pin {
		t.Errorf("ParseLayout = %+v, %v; want the name %s", l, err, pin)
	}
	if err := l.CheckDestination(); !errors.Is(err, ErrFormat) {
		t.Errorf("CheckDestination = %v; want %v", err, ErrFormat)
	}
	if _, err := ParseLayout("dir:@sha256:" + hex32); !errors.Is(err, ErrIndex) {
		t.Errorf("a digest that is none: %v; want %v", err, ErrIndex)
	}
}
