package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// Tags lists the tags of the repository, in the registry's order
// (distribution-spec, listing tags).
func (s *session) Tags(ctx context.Context) ([]string, error) {
	var list []string
	err := s.pages(ctx, listing{
		path: s.path("tags", "list"), query: entriesAPage, kin: "/tags/list",
		read: func(_ http.Header, page []byte) (int, error) {
			tags, err := parseTags(page)
			list = append(list, tags...)
			return weight(tags), err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("fetching tags list of %s: %w", s.ref.Name(), err)
	}
	return list, nil
}

// weight is how many bytes of memory names take.
func weight(names []string) int {
	n := 0
	for _, s := range names {
		n += len(s) + entryBytes
	}
	return n
}

// parseTags reads one page. Empty names and digests, which some registries
// list, are left out.
func parseTags(b []byte) ([]string, error) {
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, fmt.Errorf("%w: the registry's list of tags: %v", oci.ErrInvalid, err)
	}
	list := page.Tags[:0]
	for _, t := range page.Tags {
		switch {
		case t == "" || looksLikeDigest(t):
		case !reference.ValidTag(t):
			return nil, fmt.Errorf("registry returned invalid tag %.200q: %w", t, oci.ErrInvalid)
		default:
			list = append(list, t)
		}
	}
	return list, nil
}

func looksLikeDigest(s string) bool {
	_, hex, ok := strings.Cut(s, ":")
	return ok && len(hex) >= 32 && strings.Trim(hex, "0123456789abcdefABCDEF") == ""
}
