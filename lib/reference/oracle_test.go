package reference

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	oracle "github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// FuzzDockerOracle compares ParseDocker with the parser of docker and
// distribution. skopeo's own parser is an older relative of it, and a drop-in
// follows skopeo where the two differ; intended lists where.
func FuzzDockerOracle(f *testing.F) {
	for _, s := range []string{
		"busybox", "a/b:c", "localhost:5000/a/b__c--d.e:T-1.x", "docker.io/x", "index.docker.io/x", "a.b/c@" + sha256,
		"x:t@" + sha512, "x@sha384:" + hex64 + hex32, "x:t@sha512:00", "x@md5:" + hex32, "x@SHA256:" + hex64, "a_b", "a___b",
		"a..b", "-a", "a/", "/a", "a:80/b", "host:/b", hex64, hex64 + ":t", "docker.io/library/" + hex64,
		"library/a/b", "docker.io/library", "docker.io/localhost/a", "docker.io/a.b/c", "index.docker.io/index.docker.io/c",
		"[::1]:80/a/b", "A/b", "A.b/c", "a/B", "É", "a_b.c/d", "a.b/" + strings.Repeat("x", 252), strings.Repeat("x", 260),
	} {
		f.Add(s)
	}
	f.Fuzz(compareOracle)
}

// TestDockerOracle compares the two on everything made of up to three pieces of
// names, and on some longer ones: bytes at random are hardly ever a name.
func TestDockerOracle(t *testing.T) {
	pieces := []string{"", "a", "B", "_", "-", ".", ":", "/", "@", "80", "a.b", "localhost", "docker.io", "library", hex64, "@" + sha256}
	n := len(pieces)
	for i := range n * n * n {
		compareOracle(t, pieces[i%n]+pieces[i/n%n]+pieces[i/n/n])
	}
	rnd := rand.New(rand.NewPCG(1, 2)) // the same names in every run
	for range 10000 {
		var s strings.Builder
		for range 4 + rnd.IntN(6) {
			s.WriteString(pieces[rnd.IntN(n)])
		}
		compareOracle(t, s.String())
	}
}

func compareOracle(t *testing.T, s string) {
	if intended(s) {
		return
	}
	want, wantErr := oracle.ParseNormalizedNamed(s)
	got, err := ParseDocker(s)
	if class(err) != class(wantErr) {
		t.Fatalf("ParseDocker(%q) error = %v; oracle: %v", s, err, wantErr)
	}
	if err != nil {
		return
	}
	if w := fromOracle(want); got != w {
		t.Fatalf("ParseDocker(%q) = %+v; oracle: %+v", s, got, w)
	}
	if got.String() != want.String() || got.Name() != want.Name() {
		t.Fatalf("ParseDocker(%q) prints %q; oracle: %q", s, got, want)
	}
	if w := fromOracle(oracle.TagNameOnly(want)); got.WithDefaultTag() != w {
		t.Fatalf("ParseDocker(%q).WithDefaultTag() = %+v; oracle: %+v", s, got.WithDefaultTag(), w)
	}
	// The oracle's familiar string may name another repository
	// ("docker.io/localhost/a" becomes "localhost/a"), or none. Ours is
	// the canonical string then.
	familiar := oracle.FamiliarString(want)
	if again, err := ParseDocker(familiar); err != nil || again != got {
		familiar = want.String()
	}
	if got.Familiar() != familiar {
		t.Fatalf("ParseDocker(%q).Familiar() = %q; oracle: %q", s, got.Familiar(), familiar)
	}
	checkDockerRoundTrip(t, got)
}

// intended reports whether s is where ParseDocker means to differ.
func intended(s string) bool {
	first, rest, ok := strings.Cut(s, "/")
	switch {
	case !ok:
		first, rest = "docker.io", "library/"+s
	case strings.HasPrefix(first, "["):
		// Address literals: skopeo refuses them, the oracle takes them.
		return true
	case !isDomain(first) && strings.ToLower(first) != first:
		// Upper case in the first component: for the oracle this makes it
		// a domain; for skopeo it is an upper-case repository.
		return true
	case isDomain(first) && strings.Contains(first, "_"):
		// "a_b.c/d": no valid domain, and the oracle, as skopeo, takes all
		// of it for a path and leaves the domain empty, which no
		// connection can be made to. Here it is refused.
		return true
	case !isDomain(first):
		first, rest = "docker.io", s
	case first == "index.docker.io":
		first = "docker.io"
	}
	if first == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	path, _, _ := strings.Cut(rest, ":")
	path, _, _ = strings.Cut(path, "@")
	if len(path) <= 255 && len(first)+1+len(path) > 255 {
		// The limit: the oracle counts the path, skopeo domain and path.
		return true
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			// Refused by both, but with another error where lower case of
			// a letter beyond ASCII is an ASCII letter (the Kelvin sign).
			return true
		}
	}
	return false
}

// class names an error of either parser.
func class(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, digest.ErrDigestInvalidFormat), errors.Is(err, digest.ErrDigestInvalidLength), errors.Is(err, digest.ErrDigestUnsupported):
		return "digest"
	case errors.Is(err, ErrNameTooLong), errors.Is(err, oracle.ErrNameTooLong):
		return "long"
	case errors.Is(err, ErrUppercase), strings.HasSuffix(err.Error(), "must be lowercase"):
		return "upper case"
	case strings.HasPrefix(err.Error(), "invalid repository name"):
		return "image ID"
	case err == ErrFormat, errors.Is(err, oracle.ErrReferenceInvalidFormat):
		return "format"
	}
	return err.Error()
}

func fromOracle(n oracle.Named) Docker {
	d := Docker{Domain: oracle.Domain(n), Path: oracle.Path(n)}
	if x, ok := n.(oracle.Tagged); ok {
		d.Tag = x.Tag()
	}
	if x, ok := n.(oracle.Digested); ok {
		d.Digest = x.Digest()
	}
	return d
}

// What intended leaves out of the comparison is pinned here, so that the list
// above cannot hide more than it says.
func TestIntendedDifferences(t *testing.T) {
	long := "a.b/" + strings.Repeat("x", 252) // 256 bytes
	tests := []struct {
		in     string
		want   error
		oracle string
	}{
		{"[::1]:80/a/b", ErrFormat, "[::1]:80/a/b"},
		{"Foo/bar", ErrUppercase, "Foo/bar"},
		{"a_b.c/d", ErrFormat, "a_b.c/d"},
		{long, ErrNameTooLong, long},
		{"foo:\u212a", ErrFormat, ""},
	}
	for _, tt := range tests {
		if !intended(tt.in) {
			t.Errorf("intended(%q) = false; want true", tt.in)
		}
		if got, err := ParseDocker(tt.in); !errors.Is(err, tt.want) {
			t.Errorf("ParseDocker(%q) = %+v, %v; want error %v", tt.in, got, err, tt.want)
		}
		got, err := oracle.ParseNormalizedNamed(tt.in)
		if tt.oracle == "" && err == nil || tt.oracle != "" && (err != nil || got.String() != tt.oracle) {
			t.Errorf("oracle: %q = %v, %v; want %q: no difference any more", tt.in, got, err, tt.oracle)
		}
	}
}
