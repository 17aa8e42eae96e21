package image_test

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// What lies under a digest must be what has that digest, or nobody can read it
// again.
func TestCheck(t *testing.T) {
	text := []byte(`{"schemaVersion":2}`)
	signed := []byte("{\n   \"schemaVersion\": 1,\n   \"signatures\": [{\"protected\": \"eyJmb3JtYXRMZW5ndGgiOjIzLCJmb3JtYXRUYWlsIjoiQ24wIn0\"}]\n}")
	named := oci.Raw{Bytes: signed}.Digest() // by registries
	if named == digest.FromBytes(signed) {
		t.Fatal("the digest of the signed manifest is that of its bytes: nothing is tested")
	}
	for _, tt := range []struct {
		what   string
		bytes  []byte
		digest digest.Digest
		size   int
		want   error
	}{
		{"sha256", text, digest.FromBytes(text), len(text), nil},
		{"sha512", text, digest.SHA512.FromBytes(text), len(text), nil},
		{"other bytes", text, digest.FromString("other"), len(text), image.ErrMismatch},
		{"another size", text, digest.FromBytes(text), len(text) + 1, image.ErrMismatch},
		{"a digest that may not be a name", text, "sha256:../x", len(text), oci.ErrInvalid},
		{"no digest", text, "", len(text), oci.ErrInvalid},
		{"the payload's digest", signed, named, len(signed), image.ErrMismatch},
	} {
		tree := &image.Tree{Desc: oci.Descriptor{Digest: tt.digest, Size: int64(tt.size)}, Raw: oci.Raw{Bytes: tt.bytes}}
		if err := tree.Check(); !errors.Is(err, tt.want) {
			t.Errorf("%s: Check = %v; want %v", tt.what, err, tt.want)
		}
	}
}
