package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
)

const (
	maxPage      = 4 << 20 // bytes of one
	maxPages     = 10000
	maxListBytes = 64 << 20 // of a list in memory
	entryBytes   = 16       // of an entry, beside what it says
	entriesAPage = "n=1000"
)

// A listing is a list that the registry gives out in pages, each with a link
// to the next (RFC 8288). Of the link only the query is used: whatever host or
// repository it names, requests stay here.
type listing struct {
	path  string
	query string // of the first page; it is done without if it is not liked
	kin   string // what the path of a link has to end in

	// read takes in a page and returns how many bytes of memory it takes.
	read func(h http.Header, page []byte) (int, error)
}

// pages reads a list to its end.
func (s *session) pages(ctx context.Context, l listing) error {
	query, size := l.query, 0
	seen := map[string]bool{}
	for {
		if seen[query] {
			return errors.New("the pages of the list go round in a circle")
		}
		if len(seen) == maxPages {
			return fmt.Errorf("%w: more than %d pages", image.ErrTooLarge, maxPages)
		}
		seen[query] = true
		h, b, err := s.page(ctx, l.path, query)
		var answer *Error
		if errors.As(err, &answer) && answer.Status == http.StatusBadRequest && len(seen) == 1 && query != "" {
			h, b, err = s.page(ctx, l.path, "")
		}
		if err != nil {
			return err
		}
		n, err := l.read(h, b)
		if err != nil {
			return err
		}
		if size += n; size > maxListBytes {
			return fmt.Errorf("%w: a list of more than %d bytes", image.ErrTooLarge, maxListBytes)
		}
		next := nextLink(h["Link"])
		if next == "" {
			return nil
		}
		if query, err = l.next(next); err != nil {
			return err
		}
	}
}

func (s *session) page(ctx context.Context, path, query string) (h http.Header, b []byte, err error) {
	req := &request{method: http.MethodGet, path: path, query: query}
	err = s.ask(ctx, req, func(resp *response) (err error) {
		h = resp.Header
		b, err = blob.ReadLimited(resp.Body, maxPage)
		return err
	})
	return h, b, err
}

// next returns the query of a link to another page of the same list.
func (l listing) next(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", refuse("the link to the next page is not a URL")
	}
	if u.Path != "" && !strings.HasSuffix(u.Path, l.kin) {
		return "", refuse("the link to the next page leads to %.200q", u.Path)
	}
	return u.RawQuery, nil
}
