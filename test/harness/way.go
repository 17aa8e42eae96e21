package harness

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// A Way is an address of its own, over plain HTTP, at which a registry can be
// reached, and where a test sees what passes.
type Way struct {
	Addr string // host:port

	mu       sync.Mutex
	requests []string
}

// A Hook is in a request's way. It answers it, or has pass do it: with the
// request as it came, or changed.
type Hook func(w http.ResponseWriter, q *http.Request, pass http.Handler)

// Through makes a way to the registry that ends with the test. The hook may be
// nil.
func (r *Registry) Through(t T, hook Hook) *Way {
	t.Helper()
	to, err := url.Parse(r.url(""))
	if err != nil {
		t.Fatalf("%v", err)
	}
	pass := &httputil.ReverseProxy{
		Transport:     r.client.Transport,
		FlushInterval: -1, // what comes goes on at once
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host // registries tell places by it
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	way := new(Way)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		way.mu.Lock()
		way.requests = append(way.requests, q.Method+" "+q.URL.RequestURI())
		way.mu.Unlock()
		if hook == nil {
			pass.ServeHTTP(w, q)
			return
		}
		hook(w, q, pass)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	way.Addr = server.Listener.Addr().String()
	return way
}

// Ref returns the reference of name, such as "a/b:tag", by this way.
func (w *Way) Ref(name string) string { return "docker://" + w.Addr + "/" + name }

// Requests returns what was asked so far, "GET /v2/", that has part in it.
func (w *Way) Requests(part string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.requests), func(s string) bool { return !strings.Contains(s, part) })
}

// Tag gives manifests that a repository has more tags, in the storage itself:
// thousands take no time.
func (r *Registry) Tag(t T, repo string, tags map[string]digest.Digest) {
	t.Helper()
	dir := filepath.Join(r.Dir, "docker/registry/v2/repositories", filepath.FromSlash(repo), "_manifests/tags")
	for tag, d := range tags {
		write(t, filepath.Join(dir, tag, "current/link"), []byte(d))
		write(t, filepath.Join(dir, tag, "index", d.Algorithm().String(), d.Encoded(), "link"), []byte(d))
	}
}
