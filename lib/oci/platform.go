package oci

import (
	"fmt"
	"runtime"
	"strings"
)

// ParsePlatform reads "os/arch" or "os/arch/variant".
func ParsePlatform(s string) (Platform, error) {
	p := strings.Split(s, "/")
	if len(p) < 2 || len(p) > 3 {
		return Platform{}, fmt.Errorf("%w: platform %q is not os/arch[/variant]", ErrInvalid, s)
	}
	for _, part := range p {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r == ',' || r > '~' }) {
			return Platform{}, fmt.Errorf("%w: platform %q is not os/arch[/variant]", ErrInvalid, s)
		}
	}
	out := Platform{OS: p[0], Architecture: p[1]}
	if len(p) == 3 {
		out.Variant = p[2]
	}
	return out, nil
}

// FormatPlatform is the opposite of ParsePlatform.
func FormatPlatform(p Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Host is the platform that this program was built for.
func Host() Platform {
	p := Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	switch p.Architecture {
	case "arm64":
		p.Variant = "v8"
	case "arm":
		p.Variant = "v7"
	}
	return p
}

// variants of an architecture, strongest first: a machine that runs one runs
// those behind it.
var variants = map[string][]string{
	"arm":   {"v8", "v7", "v6", "v5"},
	"arm64": {"v8"},
}

// wanted returns the variants that satisfy p, best first.
func wanted(p Platform) []string {
	all := variants[p.Architecture]
	if p.Variant == "" {
		return append([]string{""}, all...)
	}
	for i, v := range all {
		if v == p.Variant {
			return append(append([]string(nil), all[i:]...), "")
		}
	}
	return []string{p.Variant, ""}
}

// Choose returns the place of the one entry to take for platform p: the best
// variant wins, then order. An entry without a platform is the last resort;
// entries of platform unknown/unknown, which are attestations, never match.
// -1 means that there is none.
func Choose(entries []Descriptor, p Platform) int {
	for _, v := range wanted(p) {
		for i, d := range entries {
			if q := d.Platform; q != nil && q.OS == p.OS && q.Architecture == p.Architecture && q.Variant == v {
				return i
			}
		}
	}
	for i, d := range entries {
		if d.Platform == nil {
			return i
		}
	}
	return -1
}

// Matches reports whether an entry for platform have is meant by want: the
// operating systems and architectures are equal, and the variants too unless
// want names none. No variant is v8 for arm64 and v7 for arm.
func Matches(have, want Platform) bool {
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return false
	}
	return want.Variant == "" || fullVariant(have) == fullVariant(want)
}

func fullVariant(p Platform) string {
	if p.Variant != "" {
		return p.Variant
	}
	return map[string]string{"arm64": "v8", "arm": "v7"}[p.Architecture]
}

// AttestationOf returns the digest of the manifest that an index entry is an
// attestation about, as BuildKit marks them, or "".
func AttestationOf(d Descriptor) string {
	if d.Annotations[annotationAttestationKind] == "" {
		return ""
	}
	return d.Annotations[annotationAttestationOf]
}
