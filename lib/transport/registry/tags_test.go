package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

func TestTags(t *testing.T) {
	m := makeImage(1, 10)
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("v%02d", i))
	}
	for _, page := range []int{0, 1, 10} {
		s := registrytest.Start(t, registrytest.Options{PageSize: page})
		for _, tag := range all {
			m.store(s.Registry, "a", tag)
		}
		for _, l := range []image.Lister{source(t, s.Addr+"/a:v1", quick()), destination(t, s.Addr+"/a:v1", quick())} {
			if got, err := l.Tags(context.Background()); err != nil || !slices.Equal(got, all) {
				t.Errorf("pages of %d: %q, %v; want %q", page, got, err, all)
			}
		}
	}
}

// What the list of tags may hold, and where its next page may be.
func TestTagPages(t *testing.T) {
	page := func(body, link string) registrytest.Action {
		return registrytest.Reply(200, "application/json", body, "Link", link)
	}
	tests := []struct {
		name string
		do   []registrytest.Action // for one page each
		want string
		is   error
		text string
	}{
		{"none", []registrytest.Action{page(`{"name":"a","tags":null}`, "")}, "", nil, ""},
		{"order is kept", []registrytest.Action{page(`{"tags":["b","a"]}`, "")}, "b a", nil, ""},
		{"empty ones and digests", []registrytest.Action{page(`{"tags":["a","","sha256:`+strings.Repeat("0", 64)+`","b"]}`, "")}, "a b", nil, ""},
		{"not a tag", []registrytest.Action{page(`{"tags":["a","\u001b[31m"]}`, "")}, "", oci.ErrInvalid, `registry returned invalid tag "\x1b[31m"`},
		{"not JSON", []registrytest.Action{page(`[]`, "")}, "", oci.ErrInvalid, "list of tags"},
		{"next page", []registrytest.Action{page(`{"tags":["a"]}`, `</v2/a/tags/list?last=a>; rel="next"`), page(`{"tags":["b"]}`, "")}, "a b", nil, ""},
		{"elsewhere", []registrytest.Action{page(`{"tags":["a"]}`, `<http://evil.test/v2/a/tags/list?last=a>; rel="next"`), page(`{"tags":["b"]}`, "")}, "a b", nil, ""},
		{"of another repository", []registrytest.Action{page(`{"tags":["a"]}`, `</v2/secret/tags/list?last=a>; rel="next"`), page(`{"tags":["b"]}`, "")}, "a b", nil, ""},
		{"a circle", []registrytest.Action{page(`{"tags":["a"]}`, `</v2/a/tags/list?last=a>; rel="next"`), page(`{"tags":["b"]}`, `</v2/a/tags/list?last=a>; rel="next"`)}, "", nil, "circle"},
		{"itself", []registrytest.Action{page(`{"tags":["a"]}`, `</v2/a/tags/list?n=1000>; rel="next"`)}, "", nil, "circle"},
		{"another resource", []registrytest.Action{page(`{"tags":["a"]}`, `</v2/a/manifests/v1>; rel="next"`)}, "", image.ErrRejected, ""},
		{"no URL", []registrytest.Action{page(`{"tags":["a"]}`, `<http://a b/>; rel="next"`)}, "", image.ErrRejected, ""},
		{"number not liked", []registrytest.Action{registrytest.Refuse(400, "PAGINATION_NUMBER_INVALID", "no"), page(`{"tags":["a"]}`, "")}, "a", nil, ""},
		{"no such repository", []registrytest.Action{registrytest.Refuse(404, "NAME_UNKNOWN", "repository name not known to registry")}, "", image.ErrNotFound, "fetching tags list of REG/a: repository name not known to registry"},
		{"endless page", []registrytest.Action{registrytest.Endless("application/json", `{"tags":["a"`)}, "", image.ErrTooLarge, ""},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		for i, do := range tt.do {
			s.Inject(registrytest.On("GET", "/v2/a/tags/list", do).Nth(i + 1))
		}
		got, err := source(t, s.Addr+"/a:v1", quick()).Tags(context.Background())
		if ok := tt.is == nil && tt.text == ""; ok != (err == nil) || tt.is != nil && !errors.Is(err, tt.is) || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.is)
		}
		if err != nil && !strings.Contains(strings.ReplaceAll(err.Error(), s.Addr, "REG"), tt.text) {
			t.Errorf("%s: %q; want %q in it", tt.name, err, tt.text)
		}
		for _, q := range s.Requests() {
			if q.Path != "/v2/a/tags/list" || q.Host != s.Addr {
				t.Errorf("%s: asked %s%s", tt.name, q.Host, q.Path)
			}
		}
	}
}

// A list without an end is an error in the end.
func TestTagPagesEndless(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(registrytest.On("GET", "/v2/a/tags/list", registrytest.EndlessPages()))
	_, err := source(t, s.Addr+"/a:v1", quick()).Tags(context.Background())
	if n := len(s.Requests()); err == nil || n > maxPages {
		t.Errorf("%v after %d pages; want an error after %d", err, n, maxPages)
	}
}

// What a tag takes up in memory counts, and not only its letters: millions of
// short ones are too much.
func TestManyShortTags(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	page := `{"tags":["a"` + strings.Repeat(`,"a"`, 1_000_000) + `]}`
	for i := range 5 {
		link := ""
		if i < 4 {
			link = fmt.Sprintf(`</v2/a/tags/list?last=%d>; rel="next"`, i)
		}
		s.Inject(registrytest.On("GET", "/v2/a/tags/list", registrytest.Reply(200, "application/json", page, "Link", link)).Nth(i + 1))
	}
	if got, err := source(t, s.Addr+"/a:v1", quick()).Tags(context.Background()); !errors.Is(err, image.ErrTooLarge) {
		t.Errorf("%d tags, %v; want ErrTooLarge", len(got), err)
	}
}
