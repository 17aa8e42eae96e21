package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

const (
	maxTagPage  = 4 << 20 // bytes
	maxTagPages = 10000
	maxTagBytes = 64 << 20 // of all tags in memory
	tagBytes    = 16       // of a tag, beside its name
	tagsAPage   = "1000"
)

// tags lists the tags of the repository, in the registry's order
// (distribution-spec, listing tags). Of a link to the next page only the query
// is used: whatever host or repository it names, requests stay here.
func (s *session) tags(ctx context.Context) ([]string, error) {
	list, err := s.allTags(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetching tags list of %s: %w", s.ref.Name(), err)
	}
	return list, nil
}

func (s *session) allTags(ctx context.Context) ([]string, error) {
	query := url.Values{"n": {tagsAPage}}.Encode()
	seen := map[string]bool{}
	var list []string
	size := 0
	for {
		if seen[query] {
			return nil, errors.New("the pages of the list go round in a circle")
		}
		if len(seen) == maxTagPages {
			return nil, fmt.Errorf("%w: more than %d pages", image.ErrTooLarge, maxTagPages)
		}
		seen[query] = true
		tags, next, err := s.tagPage(ctx, query)
		var answer *Error
		if errors.As(err, &answer) && answer.Status == http.StatusBadRequest && len(seen) == 1 {
			tags, next, err = s.tagPage(ctx, "") // it does not like the number
		}
		if err != nil {
			return nil, err
		}
		for _, t := range tags {
			size += len(t) + tagBytes
		}
		if size > maxTagBytes {
			return nil, fmt.Errorf("%w: more than %d bytes of tags", image.ErrTooLarge, maxTagBytes)
		}
		list = append(list, tags...)
		if next == "" {
			return list, nil
		}
		if query, err = nextQuery(next); err != nil {
			return nil, err
		}
	}
}

// tagPage returns one page, and the link to the next.
func (s *session) tagPage(ctx context.Context, query string) (tags []string, next string, err error) {
	req := &request{method: http.MethodGet, path: s.path("tags", "list"), query: query}
	err = s.ask(ctx, req, func(resp *response) error {
		b, err := blob.ReadLimited(resp.Body, maxTagPage)
		if err != nil {
			return err
		}
		next = nextLink(resp.Header["Link"])
		tags, err = parseTags(b)
		return err
	})
	return tags, next, err
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

// nextQuery returns the query of a link to another page of the same list.
func nextQuery(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", refuse("the link to the next page is not a URL")
	}
	if u.Path != "" && !strings.HasSuffix(u.Path, "/tags/list") {
		return "", refuse("the link to the next page leads to %.200q", u.Path)
	}
	return u.RawQuery, nil
}
