package registrytest

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// getTags lists the tags of a repository: the distribution-spec's "Listing
// Tags".
func (c *call) getTags() {
	c.mu.Lock()
	from, ok := c.repos[c.to.repo]
	var all []string
	if ok {
		all = slices.Sorted(maps.Keys(from.tags))
	}
	c.mu.Unlock()
	if !ok {
		refuse(c.w, http.StatusNotFound, codeNameUnknown, "repository name not known to registry")
		return
	}
	if part, ok := page(c, all, self); ok {
		writeJSON(c.w, http.StatusOK, struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		}{c.to.repo, part})
	}
}

// getCatalog lists the repositories.
func (c *call) getCatalog() {
	c.mu.Lock()
	all := slices.Sorted(maps.Keys(c.repos))
	c.mu.Unlock()
	if part, ok := page(c, all, self); ok {
		writeJSON(c.w, http.StatusOK, struct {
			Repositories []string `json:"repositories"`
		}{part})
	}
}

func self(s string) string { return s }

// page cuts from a list, sorted by what key returns, what the client asks for
// with n and last, and writes the Link to what follows (RFC 8288).
func page[T any](c *call, all []T, key func(T) string) ([]T, bool) {
	form := c.q.URL.Query()
	size := len(all)
	if s := form.Get("n"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			refuse(c.w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is not a number")
			return nil, false
		}
		size = n
	}
	if limit := c.o.PageSize; limit > 0 {
		size = min(size, limit)
	}
	if last := form.Get("last"); last != "" {
		at, found := slices.BinarySearchFunc(all, last, func(v T, last string) int { return cmp.Compare(key(v), last) })
		if found {
			at++
		}
		all = all[at:]
	}
	if size >= len(all) {
		return append([]T{}, all...), true // not null
	}
	part := append([]T{}, all[:size]...)
	if size > 0 {
		next := c.q.URL.Query()
		next.Set("last", key(part[size-1]))
		next.Set("n", strconv.Itoa(size))
		c.link(next)
	}
	return part, true
}

func (c *call) link(next url.Values) {
	c.w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, c.q.URL.EscapedPath(), next.Encode()))
}

// getReferrers lists the manifests whose subject is the digest: the
// distribution-spec's "Listing Referrers".
func (c *call) getReferrers() {
	if !c.o.Referrers {
		refuse(c.w, http.StatusNotFound, codeUnsupported, "no such endpoint")
		return
	}
	d, ok := c.digest()
	if !ok {
		return
	}
	artifactType := c.q.URL.Query().Get("artifactType")
	part, ok := page(c, c.referrers(d, artifactType), func(d oci.Descriptor) string { return d.Digest.String() })
	if !ok {
		return
	}
	list := struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     []oci.Descriptor `json:"manifests"`
	}{2, oci.MediaTypeIndex, part}
	if artifactType != "" {
		c.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	c.w.Header().Set("Content-Type", oci.MediaTypeIndex)
	writeJSON(c.w, http.StatusOK, list)
}

func (c *call) referrers(subject digest.Digest, artifactType string) []oci.Descriptor {
	list := []oci.Descriptor{} // not null
	c.mu.Lock()
	defer c.mu.Unlock()
	from, ok := c.repos[c.to.repo]
	if !ok {
		return list
	}
	for d, m := range from.manifests {
		n, err := parseNamed(m)
		if err != nil || n.Subject == nil || n.Subject.Digest != subject {
			continue
		}
		kind := n.ArtifactType
		if kind == "" && n.Config != nil {
			kind = n.Config.MediaType
		}
		if artifactType == "" || artifactType == kind {
			list = append(list, oci.Descriptor{
				MediaType: m.MediaType, Digest: d, Size: int64(len(m.Bytes)),
				ArtifactType: kind, Annotations: n.Annotations,
			})
		}
	}
	slices.SortFunc(list, func(a, b oci.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return list
}
