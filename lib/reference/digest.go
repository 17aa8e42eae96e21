package reference

import (
	// A digest that passes CheckDigest can be computed: go-digest panics on
	// a hash that is not linked in.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// CheckDigest returns nil if d is sha256, sha384 or sha512 with lower-case
// hexadecimal digits of exactly the right length (OCI image-spec, digests).
// Anything else is an ErrDigest and one of go-digest's ErrDigestInvalidFormat,
// ErrDigestInvalidLength and ErrDigestUnsupported.
//
// No digest may become part of a path or a URL, nor be asked for its parts,
// before this returned nil: those methods panic on some strings, and a digest
// out of a document can be "sha256:../../x".
func CheckDigest(d digest.Digest) error {
	if err := checkDigest(string(d)); err != nil {
		return fmt.Errorf("%w %.160q: %w", ErrDigest, string(d), err)
	}
	return nil
}

func checkDigest(s string) error {
	algorithm, hex, ok := strings.Cut(s, ":")
	if !ok || algorithm == "" || hex == "" {
		return digest.ErrDigestInvalidFormat
	}
	want := hexDigits(algorithm)
	switch {
	case want == 0 && generalDigest(algorithm, hex):
		return digest.ErrDigestUnsupported
	case want == 0:
		return digest.ErrDigestInvalidFormat
	case len(hex) != want:
		return digest.ErrDigestInvalidLength
	case !all(hex, isHex):
		return digest.ErrDigestInvalidFormat
	}
	return nil
}

// hexDigits returns how many digits the algorithm has, 0 if it is not known.
func hexDigits(algorithm string) int {
	switch algorithm {
	case "sha256":
		return 64
	case "sha384":
		return 96
	case "sha512":
		return 128
	}
	return 0
}

// generalDigest reports whether the parts are those of some digest, if of an
// unknown algorithm.
func generalDigest(algorithm, encoded string) bool {
	separator := func(s string) int {
		if strings.IndexByte(".+_-", s[0]) >= 0 {
			return 1
		}
		return 0
	}
	return joined(algorithm, isLower, separator) &&
		all(encoded, func(c byte) bool { return isAlnum(c) || c == '=' || c == '_' || c == '-' })
}
