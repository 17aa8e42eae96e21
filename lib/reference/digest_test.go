package reference

import (
	"errors"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestCheckDigest(t *testing.T) {
	tests := []struct {
		in   string
		want error
	}{
		{sha256, nil},
		{"sha384:" + hex64 + hex32, nil},
		{sha512, nil},
		{"", digest.ErrDigestInvalidFormat},
		{":", digest.ErrDigestInvalidFormat},
		{"sha256", digest.ErrDigestInvalidFormat},
		{"sha256:", digest.ErrDigestInvalidFormat},
		{":" + hex64, digest.ErrDigestInvalidFormat},
		{"sha256:../../x", digest.ErrDigestInvalidLength},
		{"sha256:" + strings.Repeat("../", 21) + "x", digest.ErrDigestInvalidFormat}, // 64 bytes
		{"sha256:" + hex32, digest.ErrDigestInvalidLength},
		{sha256 + "0", digest.ErrDigestInvalidLength},
		{sha256 + ":0", digest.ErrDigestInvalidLength},
		{"sha512:" + hex64, digest.ErrDigestInvalidLength},
		{"sha256:" + strings.ToUpper(hex64), digest.ErrDigestInvalidFormat},
		{"SHA256:" + hex64, digest.ErrDigestInvalidFormat},
		{"../sha256:" + hex64, digest.ErrDigestInvalidFormat},
		{"sha256/..:" + hex64, digest.ErrDigestInvalidFormat},
		{"md5:" + hex32, digest.ErrDigestUnsupported},
		{"sha1:" + hex32 + "01234567", digest.ErrDigestUnsupported},
		{"sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", digest.ErrDigestUnsupported},
		{"md5:../x", digest.ErrDigestInvalidFormat},
		{"sha256+:" + hex64, digest.ErrDigestInvalidFormat},
	}
	for _, tt := range tests {
		err := CheckDigest(digest.Digest(tt.in))
		if !errors.Is(err, tt.want) || tt.want != nil && !errors.Is(err, ErrDigest) {
			t.Errorf("CheckDigest(%q) = %v; want %v", tt.in, err, tt.want)
		}
		// A digest in a document that came from elsewhere is bad content,
		// not wrong use.
		if errors.Is(err, ErrFormat) {
			t.Errorf("CheckDigest(%q) = %v: an ErrFormat", tt.in, err)
		}
	}
}

// A document of some megabytes can be one digest; the message stays short, one
// line and printable.
func TestCheckDigestMessage(t *testing.T) {
	err := CheckDigest("sha256:\n../x")
	if got, want := err.Error(), `invalid digest "sha256:\n../x": invalid checksum digest length`; got != want {
		t.Errorf("CheckDigest error = %s; want %s", got, want)
	}
	err = CheckDigest(digest.Digest("sha256:" + strings.Repeat("\x00", 1<<20)))
	if n := len(err.Error()); n > 1024 {
		t.Errorf("CheckDigest error has %d bytes; want at most 1024", n)
	}
}

// What passes the gate can be computed: go-digest panics otherwise.
func TestCheckedDigestsAreAvailable(t *testing.T) {
	for _, d := range []digest.Digest{sha256, "sha384:" + hex64 + hex32, sha512} {
		if err := CheckDigest(d); err != nil || !d.Algorithm().Available() {
			t.Errorf("CheckDigest(%q) = %v, available: %v; want nil, true", d, err, d.Algorithm().Available())
		}
	}
}

func FuzzCheckDigest(f *testing.F) {
	for _, s := range []string{"", sha256, sha512, "sha256:../../x", "md5:" + hex32, "a+b:=", "sha384:" + hex64 + hex32, "sha256:" + strings.Repeat("../", 21) + "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := digest.Digest(s)
		err := CheckDigest(d)
		// go-digest, with all three hashes linked in, says the same.
		if want := d.Validate(); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Fatalf("CheckDigest(%q) = %v; go-digest: %v", s, err, want)
		}
		if err != nil {
			checkPrintable(t, err)
			return
		}
		name := path.Join("blobs", d.Algorithm().String(), d.Encoded())
		if name != "blobs/"+strings.Replace(s, ":", "/", 1) || !filepath.IsLocal(name) || strings.Count(name, "/") != 2 {
			t.Errorf("CheckDigest(%q) = nil, but its file is %q", s, name)
		}
	})
}
