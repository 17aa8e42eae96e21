// Package registrytest is an OCI registry in memory, with faults on order.
//
// It serves the API of the OCI distribution-spec 1.1 as registries that people
// use do, with Docker's authentication, so that it is also a description of
// how registries behave. Tests of clients start it on loopback, fill it, tell
// it what is to go wrong, and look at the requests that it got. A program
// that needs a registry for a moment uses New as an http.Handler.
//
// It imports lib/oci and nothing else of ours: what tests the registry client
// may not share its mistakes.
package registrytest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// Options say what kind of registry to be. The zero value is an open one that
// can do everything but the referrers API and the deletion of single tags.
type Options struct {
	Auth             Auth
	NoMount          bool             // every mount becomes an upload
	NoHead           bool             // HEAD is not allowed
	NoRange          bool             // Range is ignored
	RelativeLocation bool             // Location has no scheme and host
	TagDelete        bool             // tags can be deleted, and not only manifests
	Referrers        bool             // there is a referrers API
	AllowMissing     bool             // a manifest may name what is not there
	PageSize         int              // the most entries of a page of a list; 0: no limit
	MaxBytes         int64            // of all content, once a repository; 0: 1 GiB
	Clock            func() time.Time // by which tokens expire; nil: time.Now
}

// A Registry is an http.Handler; all that it holds is in memory. Its methods
// may be called from several goroutines, while requests are served.
type Registry struct {
	o      Options
	log    log
	faults faults

	mu      sync.Mutex
	repos   map[string]*repository
	uploads map[string]*upload
	tokens  map[string]token
	origins map[string]string // base URL of each origin, by name
	used    int64             // bytes
}

// Main is the name of the origin that the registry itself is at. Requests
// that arrive at others are served without authentication.
const Main = "registry"

const defaultMaxBytes = 1 << 30

// New returns an empty registry.
func New(o Options) *Registry {
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Auth.Lifetime == 0 {
		o.Auth.Lifetime = defaultLifetime
	}
	return &Registry{
		o:       o,
		repos:   map[string]*repository{},
		uploads: map[string]*upload{},
		tokens:  map[string]token{},
		origins: map[string]string{},
	}
}

// ServeHTTP serves a request that arrived at the origin Main.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) { r.at(Main).ServeHTTP(w, q) }

// at returns the handler of one origin: the faults that apply to a request,
// in the order in which they were injected, and behind them the registry.
func (r *Registry) at(origin string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w, q = r.log.begin(origin, w, q)
		var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			r.answer(origin, w, q)
		})
		for _, do := range slices.Backward(r.faults.of(origin, q)) {
			h = do(h)
		}
		h.ServeHTTP(w, q)
	})
}

// answer is the registry without faults.
func (r *Registry) answer(origin string, w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	to, ok := parseRoute(q.URL.Path)
	if !ok {
		refuse(w, http.StatusNotFound, codeUnsupported, "no such endpoint")
		return
	}
	c := &call{Registry: r, w: w, q: q, to: to}
	if to.kind != kindToken && origin == Main && !c.authorize() {
		return
	}
	c.serve()
}

// Put stores an image as if it had been pushed: its blobs, its manifests and,
// if tag is not "", a tag for the manifest root. What is there already stays.
// The content is not copied.
func (r *Registry) Put(repo, tag string, root digest.Digest, manifests map[digest.Digest]oci.Raw, blobs map[digest.Digest][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	into := r.repository(repo)
	for d, b := range blobs {
		r.used += into.putBlob(d, b)
	}
	for d, m := range manifests {
		r.used += into.putManifest(d, m)
	}
	if tag != "" {
		into.tags[tag] = root
	}
}

// Manifest returns the manifest that a tag or digest stands for.
func (r *Registry) Manifest(repo, ref string) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, m, ok := r.manifest(repo, ref)
	return m.Bytes, ok
}

// Blob returns a blob of a repository.
func (r *Registry) Blob(repo string, d digest.Digest) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blob(repo, d)
}

// Tags returns the tags of a repository, sorted.
func (r *Registry) Tags(repo string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from, ok := r.repos[repo]; ok {
		return slices.Sorted(maps.Keys(from.tags))
	}
	return nil
}

// Uploads returns the number of uploads that were begun and neither finished
// nor cancelled.
func (r *Registry) Uploads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.uploads)
}

// URL returns the base URL of an origin that listens, "" if there is none of
// that name.
func (r *Registry) URL(origin string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.origins[origin]
}

// base returns the scheme and host by which a client called.
func base(q *http.Request) string {
	if q.TLS != nil {
		return "https://" + q.Host
	}
	return "http://" + q.Host
}

// location writes the Location header for a path of this registry.
func (c *call) location(format string, args ...any) {
	path := fmt.Sprintf(format, args...)
	if !c.o.RelativeLocation {
		path = base(c.q) + path
	}
	c.w.Header().Set("Location", path)
}
