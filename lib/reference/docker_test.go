package reference

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	hex32  = "0123456789abcdef0123456789abcdef"
	hex64  = hex32 + hex32
	sha256 = "sha256:" + hex64
	sha512 = "sha512:" + hex64 + hex64
)

func TestParseDocker(t *testing.T) {
	a238 := strings.Repeat("a", 237)
	tests := []struct {
		in       string
		want     Docker
		familiar string
	}{
		{"busybox", Docker{Domain: "docker.io", Path: "library/busybox"}, "busybox"},
		{"busybox:latest", Docker{Domain: "docker.io", Path: "library/busybox", Tag: "latest"}, "busybox:latest"},
		{"foo/bar", Docker{Domain: "docker.io", Path: "foo/bar"}, "foo/bar"},
		{"docker.io/busybox", Docker{Domain: "docker.io", Path: "library/busybox"}, "busybox"},
		{"docker.io/library/busybox", Docker{Domain: "docker.io", Path: "library/busybox"}, "busybox"},
		{"docker.io/library", Docker{Domain: "docker.io", Path: "library/library"}, "library"},
		{"library/a/b", Docker{Domain: "docker.io", Path: "library/a/b"}, "library/a/b"},
		{"index.docker.io/busybox:1", Docker{Domain: "docker.io", Path: "library/busybox", Tag: "1"}, "busybox:1"},
		{"index.docker.io/a/b", Docker{Domain: "docker.io", Path: "a/b"}, "a/b"},
		// What is the domain: a dot, a colon, or localhost; upper case only
		// inside one of these.
		{"localhost/a", Docker{Domain: "localhost", Path: "a"}, "localhost/a"},
		{"localhost", Docker{Domain: "docker.io", Path: "library/localhost"}, "localhost"},
		{"localhost:5000", Docker{Domain: "docker.io", Path: "library/localhost", Tag: "5000"}, "localhost:5000"},
		{"docker.io", Docker{Domain: "docker.io", Path: "library/docker.io"}, "docker.io"},
		{"a:80/b", Docker{Domain: "a:80", Path: "b"}, "a:80/b"},
		{"FOO.com/x", Docker{Domain: "FOO.com", Path: "x"}, "FOO.com/x"},
		{"127.0.0.1:5000/a/b", Docker{Domain: "127.0.0.1:5000", Path: "a/b"}, "127.0.0.1:5000/a/b"},
		{"a-b.c--d.e:1/x", Docker{Domain: "a-b.c--d.e:1", Path: "x"}, "a-b.c--d.e:1/x"},
		{"quay.io/a/b__c--d.e_f:T-1.x_", Docker{Domain: "quay.io", Path: "a/b__c--d.e_f", Tag: "T-1.x_"}, "quay.io/a/b__c--d.e_f:T-1.x_"},
		{"a---b", Docker{Domain: "docker.io", Path: "library/a---b"}, "a---b"},
		{"foo@" + sha256, Docker{Domain: "docker.io", Path: "library/foo", Digest: sha256}, "foo@" + sha256},
		{"foo:t@" + sha512, Docker{Domain: "docker.io", Path: "library/foo", Tag: "t", Digest: sha512}, "foo:t@" + sha512},
		{"a:" + strings.Repeat("x", 128), Docker{Domain: "docker.io", Path: "library/a", Tag: strings.Repeat("x", 128)}, "a:" + strings.Repeat("x", 128)},
		{a238, Docker{Domain: "docker.io", Path: "library/" + a238}, a238}, // 255 bytes in all
		// 64 digits are an ID only when nothing else is there.
		{hex64 + ":t", Docker{Domain: "docker.io", Path: "library/" + hex64, Tag: "t"}, hex64 + ":t"},
		// Short forms that would read back as another repository stay long.
		{"docker.io/library/" + hex64, Docker{Domain: "docker.io", Path: "library/" + hex64}, "docker.io/library/" + hex64},
		{"docker.io/localhost/x", Docker{Domain: "docker.io", Path: "localhost/x"}, "docker.io/localhost/x"},
		{"docker.io/a.b/c:t", Docker{Domain: "docker.io", Path: "a.b/c", Tag: "t"}, "docker.io/a.b/c:t"},
	}
	for _, tt := range tests {
		got, err := ParseDocker(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseDocker(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
			continue
		}
		if s := got.Familiar(); s != tt.familiar {
			t.Errorf("ParseDocker(%q).Familiar() = %q; want %q", tt.in, s, tt.familiar)
		}
		checkDockerRoundTrip(t, got)
	}
}

// checkDockerRoundTrip: every printed form names the same image again.
func checkDockerRoundTrip(t *testing.T, d Docker) {
	t.Helper()
	for _, s := range []string{d.String(), d.Familiar()} {
		if again, err := ParseDocker(s); err != nil || again != d {
			t.Errorf("ParseDocker(%q) = %+v, %v; want %+v", s, again, err, d)
		}
	}
	if again, err := ParseDocker(d.Name()); err != nil || again.Name() != d.Name() {
		t.Errorf("ParseDocker(%q) = %+v, %v; want the same name", d.Name(), again, err)
	}
}

func TestParseDockerErrors(t *testing.T) {
	const (
		format = "invalid reference format"
		upper  = "invalid reference format: repository name must be lowercase"
		long   = "repository name must not be more than 255 characters"
	)
	tests := []struct {
		in, text string
		is       error
	}{
		{"", format, ErrFormat},
		{"Foo/bar", upper, ErrUppercase},
		{"foo/Bar", upper, ErrUppercase},
		{"Foo", upper, ErrUppercase},
		{"e.com/Foo:t", upper, ErrUppercase},
		{"É", upper, ErrUppercase},
		{"foo@SHA256:" + hex64, upper, ErrUppercase}, // all before the first colon counts as the name
		{"[::1]:5000/a:b", format, ErrFormat},
		{"[::1]/a", format, ErrFormat},
		{"a_b.c/foo", format, ErrFormat},
		{"foo:", format, ErrFormat},
		{"foo:-x", format, ErrFormat},
		{"foo:.x", format, ErrFormat},
		{"foo:é", format, ErrFormat},
		{"foo:" + strings.Repeat("x", 129), format, ErrFormat},
		{"foo:x@", format, ErrFormat},
		{"foo@", format, ErrFormat},
		{"foo/", format, ErrFormat},
		{"/foo", format, ErrFormat},
		{"a//b", format, ErrFormat},
		{"a/b:c:d", format, ErrFormat},
		{"a@b@c", format, ErrFormat},
		{"-a", format, ErrFormat},
		{"a-", format, ErrFormat},
		{"a___b", format, ErrFormat},
		{"a..b", format, ErrFormat},
		{"a._b", format, ErrFormat},
		{"../b", format, ErrFormat},
		{"e.com/../b", format, ErrFormat},
		{"e.com:/b", format, ErrFormat},
		{"e.com:8x/b", format, ErrFormat},
		{"e.com:8:8/b", format, ErrFormat},
		{"-e.com/b", format, ErrFormat},
		{"e-.com/b", format, ErrFormat},
		{"e..com/b", format, ErrFormat},
		{".com/b", format, ErrFormat},
		{"e.com/", format, ErrFormat},
		{"a b", format, ErrFormat},
		{"a\n", format, ErrFormat},
		{"foo@@unknown-digest@@", format, ErrFormat}, // is of the transport, not of names
		{hex64, "invalid repository name: " + hex64 + " is an image ID", ErrFormat},
		{strings.Repeat("a", 238), long, ErrNameTooLong},
		{"e.com/" + strings.Repeat("a", 250), long, ErrNameTooLong}, // the domain counts
		{strings.Repeat("a", 238) + "@md5:" + hex32, long, ErrNameTooLong},
		{"foo@sha256:0123", format, ErrFormat},
		{"foo@sha256", format, ErrFormat},
		{"foo@256sha:" + hex64, format, ErrFormat},
		{"foo@sha256+:" + hex64, format, ErrFormat},
		{"foo@+sha256:" + hex64, format, ErrFormat},
		{"foo@sha256:" + hex32[1:] + "g", format, ErrFormat},
		{"foo@sha256:" + hex32, "invalid checksum digest length", ErrDigest},
		{"foo@md5:" + hex32, "unsupported digest algorithm", digest.ErrDigestUnsupported},
		{"foo@a+b.c:" + hex32, "unsupported digest algorithm", digest.ErrDigestUnsupported},
		{"foo@sha256:" + strings.ToUpper(hex64), "invalid checksum digest format", digest.ErrDigestInvalidFormat},
		{"foo:t@SHA256:" + hex64, "invalid checksum digest format", ErrDigest},
	}
	for _, tt := range tests {
		got, err := ParseDocker(tt.in)
		checkError(t, "ParseDocker", tt.in, err, tt.text, tt.is)
		if !got.IsZero() {
			t.Errorf("ParseDocker(%q) = %+v with an error; want the zero value", tt.in, got)
		}
	}
}

func TestParseDockerTransport(t *testing.T) {
	tests := []struct {
		in   string
		want Docker
		s    string
	}{
		{"//busybox", Docker{Domain: "docker.io", Path: "library/busybox", Tag: "latest"}, "//busybox:latest"},
		{"//busybox:latest", Docker{Domain: "docker.io", Path: "library/busybox", Tag: "latest"}, "//busybox:latest"},
		{"//r:5000/a/b@" + sha256, Docker{Domain: "r:5000", Path: "a/b", Digest: sha256}, "//r:5000/a/b@" + sha256},
		{"//r.io/a@@unknown-digest@@", Docker{Domain: "r.io", Path: "a", Unknown: true}, "//r.io/a@@unknown-digest@@"},
		{"//a@@unknown-digest@@", Docker{Domain: "docker.io", Path: "library/a", Unknown: true}, "//a@@unknown-digest@@"},
	}
	for _, tt := range tests {
		got, err := ParseDockerTransport(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseDockerTransport(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
		if s := got.Detail(); s != tt.s {
			t.Errorf("ParseDockerTransport(%q).Detail() = %q; want %q", tt.in, s, tt.s)
		}
		// The canonical form is for the same transport too.
		for _, s := range []string{tt.s, "//" + got.String()} {
			if again, err := ParseDockerTransport(s); err != nil || again != got {
				t.Errorf("ParseDockerTransport(%q) = %+v, %v; want %+v", s, again, err, got)
			}
		}
	}
}

func TestParseDockerTransportErrors(t *testing.T) {
	const unknown = "docker: a name with @@unknown-digest@@ has no tag or digest: docker.io/library/foo"
	tests := []struct {
		in, text string
		is       error
	}{
		{"foo", "docker: image reference foo does not start with //", ErrFormat},
		{"/foo", "docker: image reference /foo does not start with //", ErrFormat},
		{"", "docker: image reference  does not start with //", ErrFormat},
		{"a\r", `docker: image reference a\r does not start with //`, ErrFormat},
		{"//", "invalid reference format", ErrFormat},
		{"///foo", "invalid reference format", ErrFormat},
		{"//Foo/bar", "invalid reference format: repository name must be lowercase", ErrUppercase},
		{"//[::1]:5000/a:b", "invalid reference format", ErrFormat},
		{"//foo:t@" + sha256, "Docker references with both a tag and digest are currently not supported", ErrTagAndDigest},
		{"//foo:t@@unknown-digest@@", unknown + ":t", ErrFormat},
		{"//foo@" + sha256 + "@@unknown-digest@@", unknown + "@" + sha256, ErrFormat},
		{"//foo@@unknown-digest@@@@unknown-digest@@", "invalid reference format", ErrFormat},
		{"//@@unknown-digest@@", "invalid reference format", ErrFormat},
	}
	for _, tt := range tests {
		got, err := ParseDockerTransport(tt.in)
		checkError(t, "ParseDockerTransport", tt.in, err, tt.text, tt.is)
		if !got.IsZero() {
			t.Errorf("ParseDockerTransport(%q) = %+v with an error; want the zero value", tt.in, got)
		}
	}
}

func TestWithDefaultTag(t *testing.T) {
	tests := []struct{ in, want Docker }{
		{Docker{Domain: "a.b", Path: "c"}, Docker{Domain: "a.b", Path: "c", Tag: "latest"}},
		{Docker{Domain: "a.b", Path: "c", Tag: "t"}, Docker{Domain: "a.b", Path: "c", Tag: "t"}},
		{Docker{Domain: "a.b", Path: "c", Digest: sha256}, Docker{Domain: "a.b", Path: "c", Digest: sha256}},
		{Docker{Domain: "a.b", Path: "c", Unknown: true}, Docker{Domain: "a.b", Path: "c", Unknown: true}},
	}
	for _, tt := range tests {
		if got := tt.in.WithDefaultTag(); got != tt.want {
			t.Errorf("%+v.WithDefaultTag() = %+v; want %+v", tt.in, got, tt.want)
		}
	}
}

func TestZeroDocker(t *testing.T) {
	var d Docker
	if !d.IsZero() || d.Name() != "" || d.String() != "" || d.Familiar() != "" {
		t.Errorf("zero Docker: IsZero %v, Name %q, String %q, Familiar %q; want true and nothing", d.IsZero(), d.Name(), d.String(), d.Familiar())
	}
}

// A reference is parsed for every image of a sync list and every tag of an
// archive: nothing is allocated but the text that normalising adds.
func TestParseDockerAllocations(t *testing.T) {
	for in, want := range map[string]float64{
		"quay.io:443/a/b-c/d:v1.2.3":    0,
		"quay.io/a/b@" + string(sha256): 0,
		"a/b:c":                         0,
		"busybox":                       1,
	} {
		got := testing.AllocsPerRun(100, func() {
			if _, err := ParseDocker(in); err != nil {
				t.Fatal(err)
			}
		})
		if got > want {
			t.Errorf("ParseDocker(%q): %v allocations; want %v", in, got, want)
		}
	}
}

func FuzzParseDockerTransport(f *testing.F) {
	for _, s := range []string{"//busybox", "//a.b:1/c:d", "//a@@unknown-digest@@", "//a:t@" + sha256, "//docker.io/localhost/x", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDockerTransport(s)
		if err != nil {
			checkPrintable(t, err)
			if !errors.Is(err, ErrFormat) {
				t.Errorf("ParseDockerTransport(%q) error %v is not an ErrFormat", s, err)
			}
			return
		}
		n := 0
		for _, set := range []bool{d.Tag != "", d.Digest != "", d.Unknown} {
			if set {
				n++
			}
		}
		if n != 1 {
			t.Errorf("ParseDockerTransport(%q) = %+v; want one of tag, digest, unknown", s, d)
		}
		if again, err := ParseDockerTransport(d.Detail()); err != nil || again != d {
			t.Errorf("ParseDockerTransport(%q) = %+v, %v; want %+v", d.Detail(), again, err, d)
		}
		if strings.Contains(d.Path, "..") || strings.HasPrefix(d.Path, "/") || strings.ContainsAny(d.Tag, "/%?#") {
			t.Errorf("ParseDockerTransport(%q) = %+v: unfit for a URL", s, d)
		}
	})
}

func BenchmarkParseDocker(b *testing.B) {
	for _, s := range []string{"busybox", "quay.io:443/a/b-c/d:v1.2.3", "quay.io/a/b@" + sha256} {
		b.Run(s[:min(len(s), 16)], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseDocker(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
