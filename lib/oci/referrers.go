package oci

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ReferrersTag is the name under which a place that has no referrers of its
// own keeps the index of those of the manifest d (distribution-spec, referrers
// tag schema). With a suffix such as ".sig" it is where cosign keeps what is
// attached to d.
func ReferrersTag(d digest.Digest) string {
	alg, hex := d.Algorithm().String(), d.Encoded()
	return alg[:min(len(alg), 32)] + "-" + hex[:min(len(hex), 64)]
}

// IsAttachedTag reports whether a name is one that belongs to a digest: those
// of ReferrersTag, with and without a suffix. What has such a name is no image
// for itself.
func IsAttachedTag(name string) bool {
	alg, rest, _ := strings.Cut(name, "-")
	if alg != "sha256" && alg != "sha384" && alg != "sha512" || len(rest) < 64 {
		return false
	}
	return strings.Trim(rest[:64], "0123456789abcdef") == "" && (len(rest) == 64 || isSuffix(rest[64:]))
}

func isSuffix(s string) bool { return s != "" && strings.ContainsAny(s[:1], "._-") }

// AttachedTags returns those of the names that belong to d and have a suffix.
func AttachedTags(names []string, d digest.Digest) []string {
	prefix := ReferrersTag(d)
	var found []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, prefix); ok && isSuffix(rest) {
			found = append(found, name)
		}
	}
	return found
}

// Referrer returns the descriptor of a manifest as a list of referrers has it
// (distribution-spec, listing referrers): with its artifact type and its
// annotations.
func Referrer(d Descriptor, m *Manifest) Descriptor {
	d = Descriptor{MediaType: m.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: m.ArtifactType, Annotations: maps.Clone(m.Annotations)}
	if d.ArtifactType == "" && m.Config != nil && !m.IsIndex() {
		d.ArtifactType = m.Config.MediaType
	}
	return d
}

// ReferrersIndex returns an index of the descriptors, each digest once, in
// their order: what is kept under a ReferrersTag.
func ReferrersIndex(list []Descriptor) (Raw, error) {
	seen := map[digest.Digest]bool{}
	list = slices.DeleteFunc(slices.Clone(list), func(d Descriptor) bool {
		known := seen[d.Digest]
		seen[d.Digest] = true
		return known
	})
	b, err := json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []Descriptor `json:"manifests"`
	}{2, MediaTypeIndex, append([]Descriptor{}, list...)})
	return Raw{MediaTypeIndex, b}, err
}
