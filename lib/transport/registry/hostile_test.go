package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	rt "github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// A hostile case is one operation against a registry that means harm, or is
// broken as if it did. Whatever it does: the error says what it is, and so the
// tools' exit code; requests, time and memory have an end; and no secret, no
// credential and no certificate reaches another origin, or a message.
type hostile struct {
	promise string
	op      func(*raid) error
	fault   rt.Fault
	is      error // nil: no harm done
	says    string
	most    int  // requests; 0: mostAsked
	bearer  bool // by tokens, and not by passwords
	hasty   bool // the network is silent, and that is short
	options func(*Options)
	more    []rt.Fault
}

const (
	mostAsked  = 8
	mostMemory = 32 << 20 // bytes allocated in all, the servers' own and what was grown out of among them
	mostTime   = 30 * time.Second

	hushPassword = "s3same-of-ali"
	hushIdentity = "1dentity-of-ali"
	hushQuery    = "s1gned-by-the-registry"
)

// A raid is what a case takes place in: a registry called reg.test, and others
// called cdn.test and evil.test, all at public addresses, inner.test, which
// resolves to a private one, and plain.test, without TLS.
type raid struct {
	*rt.Server
	ctx context.Context
	o   Options
	m   img
	t   *testing.T
}

func newRaid(t *testing.T, h hostile) *raid {
	scheme := rt.Basic
	if h.bearer {
		scheme = rt.Bearer
	}
	m := makeImage(1, 300<<10)
	s := rt.StartTLS(t, rt.Options{TagDelete: true, Referrers: true, Auth: rt.Auth{
		Scheme: scheme, Users: map[string]string{"ali": hushPassword}, Identity: map[string]string{hushIdentity: "ali"},
	}})
	m.store(s.Registry, "a", "v1")
	for _, name := range []string{"cdn", "evil", "inner"} {
		s.Open(name)
	}
	s.OpenPlain("plain")
	w := newWorld(s, map[string]string{"reg": "8.8.8.8", "cdn": "9.9.9.9", "evil": "7.7.7.7", "inner": "10.1.2.3"})
	_, addr, _ := strings.Cut(s.URL("plain"), "://")
	w.hosts["reg.test:80"], w.hosts["plain.test:80"] = hostAt{"8.8.8.8", to(addr)}, hostAt{"8.8.8.8", to(addr)}
	o := quick()
	o.CertDir, o.Network.dial = s.CertDir, w.dial
	o.Credential = func(context.Context, string) (Credential, error) {
		return Credential{Username: "ali", Password: hushPassword}, nil
	}
	if h.hasty {
		o.Network.Header, o.Network.Idle, o.Retry.Times = 200*time.Millisecond, 200*time.Millisecond, -1
	}
	if h.options != nil {
		h.options(&o)
	}
	return &raid{Server: s, o: o, m: m, t: t}
}

// The operations.

func (r *raid) source() *Source { return source(r.t, "reg.test/a:v1", r.o) }

func readManifest(r *raid) error {
	_, err := r.source().Manifest(r.ctx, "")
	return err
}

// readPinned reads a manifest by its digest.
func readPinned(r *raid) error {
	_, err := r.source().Manifest(r.ctx, r.m.desc.Digest)
	return err
}

// readTree reads a manifest and what it says.
func readTree(r *raid) error {
	src := r.source()
	tree, err := image.Root(r.ctx, src, "")
	if err != nil {
		return err
	}
	return tree.Grow(r.ctx, src, nil)
}

// readLayer reads a blob as the engine does: to its end, and the digest.
func readLayer(r *raid) error { return r.readLayer(r.m.layers[0]) }

// readForeign reads a layer that says where else it is to be had.
func readForeign(at string) func(*raid) error {
	return func(r *raid) error {
		r.o.ForeignURLs = true
		d := r.m.layers[0]
		d.URLs = []string{at}
		return r.readLayer(d)
	}
}

func (r *raid) readLayer(d oci.Descriptor) error {
	rc, err := r.source().Blob(r.ctx, d)
	if err != nil {
		return err
	}
	defer rc.Close()
	v, err := blob.Verify(&blob.Blob{Desc: d, Reader: rc})
	if err == nil {
		_, err = io.Copy(io.Discard, v.Reader)
	}
	return err
}

// push writes an image that is not there yet.
func push(r *raid) error {
	m := makeImage(2, 200<<10)
	dst := destination(r.t, "reg.test/b:v1", r.o)
	defer dst.Close()
	for _, d := range m.all() {
		there, err := dst.Mount(r.ctx, d, nil)
		if err == nil && !there {
			_, err = dst.Put(r.ctx, verified(r.t, d, m.blobs[d.Digest], true))
		}
		if err != nil {
			return err
		}
	}
	return dst.Commit(r.ctx, m.tree(r.t))
}

func listTags(r *raid) error {
	_, err := r.source().Tags(r.ctx)
	return err
}

func listReferrers(r *raid) error {
	_, err := r.source().Referrers(r.ctx, r.m.desc.Digest)
	return err
}

func listCatalog(r *raid) error {
	_, err := Catalog(r.ctx, "reg.test", r.o)
	return err
}

func deleteTag(r *raid) error {
	shelf := open(r.t, "reg.test/a", r.o).Shelf()
	defer shelf.Close()
	return shelf.Delete(r.ctx, []image.Deletion{{Name: "v1"}})
}

func login(r *raid) error { return Check(r.ctx, "reg.test", r.o) }

// Where faults hit.

func manifestsOf(do ...rt.Action) rt.Fault {
	return rt.On("GET", "/v2/a/manifests/*", do...).At(rt.Main)
}
func layersOf(do ...rt.Action) rt.Fault { return rt.On("GET", "/v2/a/blobs/*", do...).At(rt.Main) }
func tagsOf(do ...rt.Action) rt.Fault   { return rt.On("GET", "/v2/a/tags/list", do...).At(rt.Main) }
func referrersOf(do ...rt.Action) rt.Fault {
	return rt.On("GET", "/v2/a/referrers/*", do...).At(rt.Main)
}
func starts(do ...rt.Action) rt.Fault {
	return rt.On("POST", "/v2/b/blobs/uploads/", do...).At(rt.Main)
}
func sendings(do ...rt.Action) rt.Fault { return rt.On("", "/v2/b/blobs/uploads/*", do...).At(rt.Main) }
func names(do ...rt.Action) rt.Fault    { return rt.On("PUT", "/v2/b/manifests/*", do...).At(rt.Main) }
func tokensOf(do ...rt.Action) rt.Fault { return rt.On("", "/token", do...) }
func pings(do ...rt.Action) rt.Fault    { return rt.On("GET", "/v2/", do...).At(rt.Main) }

// realm asks for a token from there.
func realm(at string) rt.Action { return rt.Challenge(`Bearer realm="` + at + `",service="x"`) }

func nextPage(link string) rt.Action { return rt.Header("Link", "<"+link+`>; rel="next"`) }

func withIdentity(o *Options) {
	o.Credential = func(context.Context, string) (Credential, error) { return Credential{IdentityToken: hushIdentity}, nil }
}

func oneTry(o *Options) { o.Retry.Times = -1 }

func inChunks(o *Options) { o.ChunkSize = 64 << 10 }

// hostileCases are the cases, by the promise that they are about.
func hostileCases() map[string][]hostile {
	return map[string][]hostile{
		"12, 13: redirects": hostileRedirects(), "12, 13: token services": hostileTokens(),
		"12, 13: locations": hostileLocations(), "12, 13: next pages and foreign URLs": hostileLinks(),
		"1d: bodies without end": hostileFloods(), "1, 1c: lies": hostileLies(), "3: documents": hostileDocuments(),
		"10, 11: breaks": hostileBreaks(), "10: silence": hostileSilence(), "11: waits": hostileWaits(), "poor registries": poorRegistries(),
	}
}

func hostileRedirects() []hostile {
	return []hostile{
		{promise: "to another host without credentials", op: readLayer, fault: layersOf(rt.RedirectTo("https://cdn.test")), most: 3},
		{promise: "a manifest, too", op: readManifest, fault: manifestsOf(rt.RedirectTo("https://cdn.test")), most: 2},
		{promise: "who asks there for a password gets none", op: readLayer, fault: layersOf(rt.RedirectTo("https://evil.test")),
			more: []rt.Fault{rt.On("GET", "**", rt.Challenge(`Basic realm="x"`)).At("evil")}, is: image.ErrUnauthorized, most: 3},
		{promise: "who asks there for a token gets none", op: readLayer, fault: layersOf(rt.RedirectTo("https://evil.test")),
			more: []rt.Fault{rt.On("GET", "**", realm("https://evil.test/token")).At("evil")}, is: image.ErrUnauthorized, most: 3},
		{promise: "never to http", op: readLayer, fault: layersOf(rt.RedirectTo("http://plain.test")), is: image.ErrRejected, most: 2},
		{promise: "never to loopback", op: readLayer, fault: layersOf(rt.Redirect("https://127.0.0.1/x?" + hushQuery)), is: image.ErrRejected, most: 2},
		{promise: "never to loopback by name", op: readManifest, fault: manifestsOf(rt.Redirect("https://localhost:5000/x")), is: image.ErrRejected, most: 2},
		{promise: "never to a private address", op: listTags, fault: tagsOf(rt.Redirect("https://192.168.0.1/x")), is: image.ErrRejected, most: 2},
		{promise: "never to a cloud's secrets", op: login, fault: pings(rt.Redirect("http://169.254.169.254/latest")), is: image.ErrRejected, most: 2},
		{promise: "nor in IPv6 clothes", op: readLayer, fault: layersOf(rt.Redirect("https://[::ffff:a9fe:a9fe]/x")), is: image.ErrRejected, most: 2},
		{promise: "nor as a number", op: readLayer, fault: layersOf(rt.Redirect("https://2130706433/x")), is: image.ErrNetwork, most: 2 + 4},
		{promise: "never to a name that resolves inward", op: readLayer, fault: layersOf(rt.RedirectTo("https://inner.test")), is: image.ErrRejected, most: 2},
		{promise: "referrers neither", op: listReferrers, fault: referrersOf(rt.RedirectTo("https://inner.test")), is: image.ErrRejected, most: 2},
		{promise: "nor what is to be deleted", op: deleteTag, fault: rt.On("DELETE", "**", rt.RedirectTo("https://inner.test")), is: image.ErrRejected, most: 2},
		{promise: "nor what is written", op: push, fault: names(rt.RedirectTo("https://inner.test")), is: image.ErrRejected, most: 10},
		{promise: "there is an end to them", op: readManifest, fault: manifestsOf(rt.RedirectOn()), is: image.ErrRejected},
		{promise: "credentials do not come back from away", op: readLayer, fault: layersOf(rt.RedirectTo("https://cdn.test")),
			more: []rt.Fault{rt.On("GET", "**", rt.Redirect("https://reg.test/v2/a/tags/list")).At("cdn")}, is: image.ErrUnauthorized, most: 4},
	}
}

func hostileTokens() []hostile {
	return []hostile{
		{promise: "a realm over http is refused", op: login, fault: pings(realm("http://plain.test/token")), is: image.ErrRejected, most: 1},
		{promise: "a realm inward is refused", op: readManifest, fault: manifestsOf(realm("https://10.0.0.1/token")), is: image.ErrRejected, most: 1},
		{promise: "a realm that resolves inward is refused", op: push, fault: starts(realm("https://inner.test/token")), is: image.ErrRejected, most: 6},
		{promise: "a realm that is a file is refused", op: login, fault: pings(realm("file:///etc/passwd")), is: image.ErrRejected, most: 1},
		{promise: "a token of 100 MB is not read", op: readManifest, bearer: true, fault: tokensOf(rt.Endless("application/json", `{"token":"x","y":"`)), is: image.ErrTooLarge, most: 2},
		{promise: "nor is one for a login", op: login, bearer: true, fault: tokensOf(rt.Endless("application/json", `{"token":"x","y":"`)), is: image.ErrTooLarge, most: 2},
		{promise: "a token that changes nothing is asked for twice at most", op: readManifest, bearer: true, fault: tokensOf(rt.Reply(200, "application/json", `{"token":"none"}`)), is: image.ErrUnauthorized},
		{promise: "a registry that answers 401 for ever is asked a few times", op: listTags, fault: tagsOf(rt.Challenge(`Basic realm="x"`)), is: image.ErrUnauthorized, most: 4},
		{promise: "so is one that names another way each time", op: deleteTag, fault: rt.On("DELETE", "**", rt.Challenge(`Basic realm="x"`, `Bearer realm="https://reg.test/token"`)), is: image.ErrUnauthorized, most: 12},
		{promise: "a token service that redirects elsewhere gets no further", op: login, bearer: true, fault: tokensOf(rt.RedirectTo("https://inner.test")).At(rt.Main), is: image.ErrRejected, most: 2},
		{promise: "a secret in a body goes to the first origin only", op: readManifest, bearer: true, options: withIdentity, fault: tokensOf(rt.RedirectTo("https://cdn.test")).At(rt.Main), is: image.ErrRejected, most: 2},
		{promise: "a token with line breaks is none", op: readManifest, bearer: true, fault: tokensOf(rt.Reply(200, "application/json", `{"token":"a\r\nX: b"}`)), is: errAny, most: 2},
		{promise: "a thousand challenges are not all read", op: login, fault: pings(rt.Challenge(strings.Repeat(`Bearer realm="https://169.254.1.1/",`, 1000))), is: image.ErrRejected, most: 1},
		{promise: "a wrong password is said to be one", op: login, bearer: true, fault: tokensOf(rt.Refuse(401, "UNAUTHORIZED", "no")), is: image.ErrUnauthorized, says: "invalid username/password", most: 2},
	}
}

func hostileLocations() []hostile {
	move := func(to string) rt.Fault { return starts(rt.MoveLocation(to)) }
	return []hostile{
		{promise: "another host gets bytes and no credentials", op: push, fault: move("https://cdn.test"), most: 12},
		{promise: "never to http", op: push, fault: move("http://plain.test"), is: image.ErrRejected},
		{promise: "never inward", op: push, fault: move("https://10.9.8.7"), is: image.ErrRejected},
		{promise: "never inward by name", op: push, fault: move("https://inner.test"), is: image.ErrRejected},
		{promise: "a host that asks gets nothing", op: push, fault: move("https://evil.test"), more: []rt.Fault{rt.On("PUT", "**", rt.Challenge(`Basic realm="x"`)).At("evil")}, is: image.ErrUnauthorized},
		{promise: "none at all is refused", op: push, fault: starts(rt.Header("Location", "")), is: image.ErrRejected},
		{promise: "in the middle as at the beginning", op: push, options: inChunks, fault: sendings(rt.MoveLocation("http://plain.test")), is: image.ErrRejected, most: 14},
		{promise: "relative ones work", op: push, fault: starts(rt.MoveLocation("")), most: 12},
		{promise: "a password in one is not used", op: push, fault: move("https://eve:" + hushQuery + "@cdn.test"), most: 12},
	}
}

func hostileLinks() []hostile {
	return []hostile{
		{promise: "tags: another host is not asked", op: listTags, fault: tagsOf(nextPage("https://evil.test/v2/a/tags/list?last=x")).Times(2), most: 3},
		{promise: "tags: another repository neither", op: listTags, fault: tagsOf(nextPage("/v2/other/blobs/x?last=x")), is: image.ErrRejected, most: 3},
		{promise: "tags: not round in a circle", op: listTags, fault: tagsOf(nextPage("?last=x")), is: errAny, most: 4},
		{promise: "tags: an end to pages in memory", op: listTags, fault: tagsOf(rt.Endless("application/json", `{"tags":[`)), is: image.ErrTooLarge, most: 2},
		{promise: "tags: escapes are no tags", op: listTags, fault: tagsOf(rt.Reply(200, "application/json", `{"tags":["\u001b[31m"]}`)), is: oci.ErrInvalid, most: 1},
		{promise: "referrers: another host is not asked", op: listReferrers, fault: referrersOf(nextPage("https://evil.test/v2/a/referrers/x?last=x")), is: image.ErrRejected, most: 3},
		{promise: "referrers: not round in a circle", op: listReferrers, fault: referrersOf(nextPage("?last=x")), is: errAny, most: 4},
		{promise: "referrers: an end to pages", op: listReferrers, fault: referrersOf(rt.Endless(oci.MediaTypeIndex, `{"manifests":[`)), is: image.ErrTooLarge, most: 2},
		{promise: "referrers: paths are no digests", op: listReferrers, fault: referrersOf(rt.Reply(200, oci.MediaTypeIndex, `{"manifests":[{"mediaType":"x/y","digest":"sha256:../../x","size":1}]}`)), is: errAny, most: 2},
		{promise: "catalog: another host is not asked", op: listCatalog, fault: rt.On("GET", "/v2/_catalog", nextPage("https://evil.test/v2/_catalog?last=x")).Times(2), most: 3},
		{promise: "catalog: an end to pages", op: listCatalog, fault: rt.On("GET", "/v2/_catalog", rt.Endless("application/json", `{"repositories":[`)), is: image.ErrTooLarge, most: 2},
		{promise: "foreign layers: nobody is shown anything", op: readForeign("https://evil.test/x"), fault: rt.On("GET", "/x", rt.Challenge(`Basic realm="x"`)), is: image.ErrUnauthorized, most: 2},
		{promise: "foreign layers: not inward", op: readForeign("https://inner.test/x"), is: image.ErrRejected, most: 1},
		{promise: "foreign layers: no files", op: readForeign("file:///etc/passwd"), is: image.ErrUnsupported, most: 1},
		{promise: "foreign layers: home is as foreign", op: readForeign("https://reg.test/v2/a/tags/list"), is: image.ErrUnauthorized, most: 2},
	}
}

func hostileFloods() []hostile {
	return []hostile{
		{promise: "a manifest", op: readManifest, fault: manifestsOf(rt.Endless(oci.MediaTypeManifest, "{")), is: image.ErrTooLarge, most: 2},
		{promise: "a blob", op: readLayer, fault: layersOf(rt.Endless("x/y", "")), is: image.ErrMismatch, most: 2},
		{promise: "a blob in a range", op: readLayer, fault: layersOf(rt.CutBody(100_000)).Times(2), more: []rt.Fault{layersOf(rt.Append("more"), rt.Header("Content-Length", "")).After(2)}, is: errAny, most: 6},
		{promise: "an error", op: listTags, fault: tagsOf(endlessly(500)), is: image.ErrNetwork, most: 4},
		{promise: "a 401", op: login, fault: pings(rt.Edit(func(a *rt.Answer) { a.Body = make([]byte, 2<<20) })), most: 3},
		{promise: "thanks for an upload", op: push, fault: sendings(rt.Edit(func(a *rt.Answer) { a.Body = make([]byte, 1<<20) })), most: 12},
		{promise: "an error of a token service", op: login, bearer: true, fault: tokensOf(endlessly(403)), is: image.ErrDenied, most: 2},
		{promise: "headers", op: readManifest, options: oneTry, fault: manifestsOf(rt.GiantHeader(2 << 20)), is: image.ErrNetwork, most: 4},
		{promise: "hints", op: readManifest, options: oneTry, fault: manifestsOf(rt.EndlessHints()), is: image.ErrNetwork, most: 6},
		{promise: "trailing answers", op: readLayer, fault: layersOf(rt.Babble("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")), most: 3},
		{promise: "warnings", op: readManifest, fault: manifestsOf(rt.Edit(func(a *rt.Answer) {
			for i := range 1000 {
				a.Header.Add("Warning", fmt.Sprintf(`299 - "warning %d"`, i))
			}
		})), most: 2},
		{promise: "scopes", op: readManifest, bearer: true, fault: manifestsOf(moreScopes()), is: image.ErrUnauthorized, most: 24},
	}
}

// registryStatus gives an answer another status.
func registryStatus(code int) rt.Action { return rt.Edit(func(a *rt.Answer) { a.Status = code }) }

// endlessly answers with a status and a body without end.
func endlessly(code int) rt.Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.WriteHeader(code)
			rt.Endless("application/json", "{")(next).ServeHTTP(w, q)
		})
	}
}

// moreScopes asks for yet another scope each time.
func moreScopes() rt.Action {
	n := 0
	return func(http.Handler) http.Handler {
		n++
		return rt.Challenge(fmt.Sprintf(`Bearer realm="https://reg.test/token",scope="repository:x%d:pull"`, n))(nil)
	}
}

func hostileLies() []hostile {
	other := "sha256:" + strings.Repeat("0", 64)
	return []hostile{
		{promise: "a byte of a blob", op: readLayer, fault: layersOf(rt.Flip(1000)), is: image.ErrMismatch, most: 2},
		{promise: "a byte of a manifest", op: readPinned, fault: manifestsOf(rt.Flip(30)), is: image.ErrMismatch, most: 2},
		{promise: "the digest of a manifest", op: readManifest, fault: manifestsOf(rt.Header("Docker-Content-Digest", other)), is: image.ErrMismatch, most: 2},
		{promise: "a longer blob", op: readLayer, fault: layersOf(rt.Append("more")), is: image.ErrMismatch, most: 4},
		{promise: "a shorter blob", op: readLayer, fault: layersOf(rt.Shorten(1)), is: image.ErrMismatch, most: 4},
		{promise: "a longer one without a length", op: readLayer, fault: layersOf(rt.HTTP10(), rt.Append("more")), is: image.ErrMismatch, most: 4},
		{promise: "gzip that nobody asked for", op: readLayer, fault: layersOf(rt.Gzip()), is: image.ErrMismatch, most: 4},
		{promise: "gzip around a manifest", op: readPinned, fault: manifestsOf(rt.Gzip()), is: image.ErrMismatch, most: 2},
		{promise: "a range of other bytes", op: readLayer, fault: layersOf(rt.CutBody(100_000)).Times(2), more: []rt.Fault{layersOf(rt.Header("Content-Range", "bytes 0-9/10")).After(2).Times(1)}, most: 6},
		{promise: "other bytes in a range", op: readLayer, fault: layersOf(rt.CutBody(100_000)).Times(2), more: []rt.Fault{layersOf(rt.Flip(9)).After(2)}, is: image.ErrMismatch, most: 6},
		{promise: "a range that nobody asked for", op: readLayer, fault: layersOf(registryStatus(206)), is: image.ErrNetwork, most: 5},
		{promise: "another digest of what was pushed", op: push, fault: sendings(rt.Header("Docker-Content-Digest", other)), is: image.ErrMismatch, most: 10},
		{promise: "another digest of the name", op: push, fault: names(rt.Header("Docker-Content-Digest", other)), is: image.ErrMismatch, most: 12},
		{promise: "more held than was sent", op: push, options: inChunks, fault: sendings(rt.Header("Range", "0-99999999")), most: 20},
		{promise: "a chunk of absurd length", op: push, options: inChunks, fault: starts(rt.Header("OCI-Chunk-Min-Length", "9223372036854775807")), most: 12},
		{promise: "a secret sent back", op: readManifest, fault: manifestsOf(echoing()).After(1), is: image.ErrDenied, says: "***", most: 2},
		{promise: "a message in colours", op: deleteTag, fault: rt.On("DELETE", "**", rt.Refuse(403, "DENIED", "\x1b[31mno\r\n\u009b2J way")), is: image.ErrDenied, says: "no", most: 3},
	}
}

// echoing refuses with what it was shown.
func echoing() rt.Action {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, password, _ := q.BasicAuth()
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, password+" and "+q.Header.Get("Authorization"))
		})
	}
}

func hostileDocuments() []hostile {
	as := func(body string) rt.Fault { return manifestsOf(rt.Reply(200, oci.MediaTypeManifest, body)) }
	edit := func(old, with string) rt.Fault {
		return manifestsOf(rt.Header("Docker-Content-Digest", ""), rt.Replace(old, with))
	}
	const head = `"schemaVersion":2`
	return []hostile{
		{promise: "layers and manifests", op: readTree, fault: edit(head, head+`,"manifests":[]`), is: oci.ErrInvalid, most: 2},
		{promise: "a key twice", op: readTree, fault: edit(head, head+`,`+head), is: oci.ErrInvalid, most: 2},
		{promise: "a key in capitals", op: readTree, fault: edit(head, head+`,"LAYERS":[]`), is: oci.ErrInvalid, most: 2},
		{promise: "something behind", op: readTree, fault: manifestsOf(rt.Header("Docker-Content-Digest", ""), rt.Append("{}")), is: oci.ErrInvalid, most: 2},
		{promise: "null", op: readTree, fault: as("null"), is: oci.ErrInvalid, most: 2},
		{promise: "nothing", op: readTree, fault: as(""), is: oci.ErrInvalid, most: 2},
		{promise: "a page for people", op: readTree, fault: manifestsOf(rt.Reply(200, "text/html", "<html>log in</html>")), is: oci.ErrInvalid, most: 2},
		{promise: "arrays in arrays, without end", op: readTree, fault: as(`{"schemaVersion":2,"x":` + strings.Repeat("[", 1<<20)), is: oci.ErrInvalid, most: 2},
		{promise: "a path as a digest", op: readTree, fault: edit(`"digest":"sha256:`, `"digest":"sha256:../../../v2/b/blobs/`), is: oci.ErrInvalid, most: 2},
		{promise: "a weak digest", op: readTree, fault: edit(`"digest":"sha256:`, `"digest":"md5:`), is: oci.ErrInvalid, most: 2},
		{promise: "a size below nothing", op: readTree, fault: edit(`"size":`, `"size":-`), is: oci.ErrInvalid, most: 2},
		{promise: "another type than it is", op: readTree, fault: manifestsOf(rt.Header("Content-Type", oci.MediaTypeIndex)), is: oci.ErrInvalid, most: 2},
		{promise: "an odd type that says nothing", op: readTree, fault: manifestsOf(rt.Header("Content-Type", "TEXT/plain; charset=x; y=\"z")), most: 3},
	}
}

func hostileBreaks() []hostile {
	return []hostile{
		{promise: "reset before the answer, once", op: readManifest, fault: manifestsOf(rt.Reset()).Nth(2), most: 4},
		{promise: "reset for ever", op: readManifest, fault: manifestsOf(rt.Reset()), is: image.ErrNetwork, most: 4},
		{promise: "a login is reset", op: login, fault: pings(rt.Reset()), is: image.ErrNetwork, most: 4},
		{promise: "a list is cut", op: listTags, fault: tagsOf(rt.CutBody(5)).After(1), is: image.ErrNetwork, most: 4},
		{promise: "a blob is cut again and again", op: readLayer, fault: layersOf(rt.CutBody(70_000)).After(1).Times(4), most: 6},
		{promise: "a blob is cut without progress", op: readLayer, fault: layersOf(rt.CutBody(0)).After(1), is: image.ErrNetwork, most: 5},
		{promise: "an upload cannot be opened", op: push, fault: starts(rt.Reset()), is: image.ErrNetwork, most: 6},
		{promise: "an upload is cut", op: push, fault: sendings(rt.CutRequest(50_000)).Times(2), most: 24},
		{promise: "an upload is cut for ever", op: push, fault: sendings(rt.CutRequest(0)), is: image.ErrNetwork, most: 30},
		{promise: "chunks are reset", op: push, options: inChunks, fault: sendings(rt.Reset()).After(2).Times(2), most: 24},
		{promise: "the name is reset", op: push, fault: names(rt.Reset()), is: image.ErrNetwork, most: 12},
		{promise: "a deletion is reset", op: deleteTag, fault: rt.On("DELETE", "**", rt.Reset()), is: image.ErrNetwork, most: 5},
		{promise: "a deletion's answer is lost", op: deleteTag, fault: rt.On("DELETE", "**", rt.LoseAnswer()).Nth(2), most: 5},
		{promise: "a token service is reset", op: readManifest, bearer: true, fault: tokensOf(rt.Reset()), is: image.ErrNetwork, most: 6},
		{promise: "referrers are cut", op: listReferrers, fault: referrersOf(rt.CutBody(3)).After(1), is: image.ErrNetwork, most: 4},
	}
}

func hostileSilence() []hostile {
	at := func(fault func(...rt.Action) rt.Fault, do func(*rt.Stall) rt.Action) rt.Fault {
		return fault(do(rt.NewStall()))
	}
	answer := (*rt.Stall).Answer
	body := func(n int) func(*rt.Stall) rt.Action { return func(s *rt.Stall) rt.Action { return s.Body(n) } }
	deletes := func(do ...rt.Action) rt.Fault { return rt.On("DELETE", "**", do...) }
	return []hostile{
		{promise: "before a manifest", op: readManifest, fault: at(manifestsOf, answer), says: "no data for 200ms"},
		{promise: "in a manifest", op: readManifest, fault: at(manifestsOf, body(20)).After(1), says: "no data for 200ms"},
		{promise: "before a blob", op: readLayer, fault: at(layersOf, answer), says: "no data for 200ms"},
		{promise: "in a blob", op: readLayer, fault: at(layersOf, body(20)).After(1), says: "no data for 200ms"},
		{promise: "before tags", op: listTags, fault: at(tagsOf, answer), says: "no data for 200ms"},
		{promise: "in referrers", op: listReferrers, fault: at(referrersOf, body(5)).After(1), says: "no data for 200ms"},
		{promise: "at a login", op: login, fault: at(pings, answer), says: "no data for 200ms"},
		{promise: "at a token service", op: login, bearer: true, fault: at(tokensOf, answer), says: "no data for 200ms"},
		{promise: "in a token", op: login, bearer: true, fault: at(tokensOf, body(5)), says: "no data for 200ms"},
		{promise: "at a deletion", op: deleteTag, fault: at(deletes, answer), says: "no data for 200ms"},
		{promise: "where an upload begins", op: push, fault: at(starts, answer), says: "no data for 200ms"},
		{promise: "after an upload", op: push, fault: at(sendings, answer), says: "no data for 200ms"},
		{promise: "at the name", op: push, fault: at(names, answer), says: "no data for 200ms"},
		{promise: "in an error", op: readManifest, fault: manifestsOf(registryStatus(404), rt.NewStall().Body(3)).After(1), says: "no data for 200ms"},
	}
}

func hostileWaits() []hostile {
	return []hostile{
		{promise: "a wait of a day is not waited", op: readManifest, fault: manifestsOf(rt.Busy(429, "86400")), is: image.ErrNetwork, says: "24h", most: 1},
		{promise: "nor one beyond all numbers", op: listTags, fault: tagsOf(rt.Busy(503, "99999999999999999999")), is: image.ErrNetwork, most: 3},
		{promise: "nor one until a day far away", op: push, fault: starts(rt.Busy(429, "Fri, 31 Dec 2100 23:59:59 GMT")), is: image.ErrNetwork, says: "longer than 1m0s", most: 4},
		{promise: "nor one that a quota asks for", op: login, fault: pings(rt.Reply(429, "", "", "RateLimit", "limit=1, remaining=0, reset=86400")), is: image.ErrNetwork, says: "24h", most: 1},
		{promise: "a quota of nonsense is none", op: readManifest, fault: manifestsOf(rt.Header("RateLimit-Limit", "\u009b31m"), rt.Header("RateLimit-Remaining", "-5;w=x")), most: 2},
		{promise: "no wait at all is no storm", op: deleteTag, fault: rt.On("DELETE", "**", rt.Busy(429, "0")), is: image.ErrNetwork, most: 3},
	}
}

// What poor registries lack is done without.
func poorRegistries() []hostile {
	mounts := func(do rt.Action) rt.Action {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Query().Has("mount") {
					do(next).ServeHTTP(w, q)
					return
				}
				next.ServeHTTP(w, q)
			})
		}
	}
	return []hostile{
		{promise: "HTTP/1.0", op: readLayer, fault: layersOf(rt.HTTP10()), most: 3},
		{promise: "HTTP/1.0 for a manifest", op: readPinned, fault: manifestsOf(rt.HTTP10()), most: 3},
		{promise: "no ranges", op: readLayer, fault: layersOf(rt.IgnoreRange(), rt.CutBody(100_000)).Times(2), more: []rt.Fault{layersOf(rt.IgnoreRange()).After(2)}, most: 5},
		{promise: "ranges refused", op: readLayer, fault: layersOf(rt.CutBody(100_000)).Times(2), more: []rt.Fault{layersOf(rt.Refuse(416, "RANGE_INVALID", "no")).Nth(3)}, most: 6},
		{promise: "no mounts", op: push, fault: starts(mounts(rt.Refuse(405, "UNSUPPORTED", "no"))), most: 20},
		{promise: "no HEAD", op: push, fault: rt.On("HEAD", "**", rt.Refuse(405, "UNSUPPORTED", "no")), most: 12},
		{promise: "no bytes with PUT", op: push, fault: rt.On("PUT", "/v2/b/blobs/uploads/*", noBytes()), most: 24},
		{promise: "small bodies only", op: push, fault: sendings(rt.TooLarge(100 << 10)), is: image.ErrTooLarge, most: 24},
		{promise: "no referrers", op: listReferrers, fault: referrersOf(rt.Reply(404, "text/plain", "404 page not found")), most: 4},
		{promise: "a page for people as referrers", op: listReferrers, fault: referrersOf(rt.Reply(200, "text/html", "<html></html>")), most: 4},
		{promise: "no deletion of tags", op: deleteTag, fault: rt.On("DELETE", "**", rt.Refuse(405, "UNSUPPORTED", "no")), is: image.ErrUnsupported, most: 5},
		{promise: "no catalog", op: listCatalog, fault: rt.On("GET", "/v2/_catalog", rt.Refuse(404, "UNSUPPORTED", "no")), is: errAny, most: 2},
	}
}

// noBytes refuses the bodies of PUT.
func noBytes() rt.Action { return putWithout(http.StatusBadRequest) }

// TestHostile runs the table. The cases are run one after the other, because
// memory is counted.
func TestHostile(t *testing.T) {
	groups, n := hostileCases(), 0
	for group, cases := range groups {
		for _, h := range cases {
			if strings.HasSuffix(group, "silence") {
				h.hasty, h.is = true, cmpError(h.is, image.ErrNetwork)
			}
			n++
			t.Run(group+"/"+h.promise, h.run)
		}
	}
	if n < 60 {
		t.Errorf("%d cases; want 60 at least", n)
	}
}

func cmpError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (h hostile) run(t *testing.T) {
	r := newRaid(t, h)
	var told events
	r.o.Notify = told.notify
	if !isNone(h.fault) {
		r.Inject(h.fault)
	}
	r.Inject(h.more...)
	ctx, cancel := context.WithTimeout(context.Background(), mostTime)
	defer cancel()
	r.ctx = ctx
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := h.op(r)
	runtime.ReadMemStats(&after)
	switch {
	case h.is == errAny && err == nil, h.is != errAny && !isError(err, h.is):
		t.Errorf("it ends with %v; want %v", err, h.is)
	case errors.Is(err, context.DeadlineExceeded):
		t.Errorf("it took %v: %v", mostTime, err)
	case err != nil && !strings.Contains(err.Error(), h.says):
		t.Errorf("it ends with %v; want %q in it", err, h.says)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > mostMemory {
		t.Errorf("%d bytes were allocated; want %d at most", n, mostMemory)
	}
	h.judge(t, r, err, told.of(image.EventWarning), told.of(image.EventRetry), told.of(image.EventQuota))
}

// judge looks at what holds for every case.
func (h hostile) judge(t *testing.T, r *raid, err error, told ...[]image.Event) {
	t.Helper()
	list := r.Requests()
	most := h.most
	if most == 0 {
		most = mostAsked
	}
	if len(list) > most {
		t.Errorf("%d requests; want %d at most: %v", len(list), most, lines(r.Registry))
	}
	secrets := []string{hushPassword, hushIdentity, hushQuery}
	for _, q := range list {
		if _, value := q.Authorization(); len(value) > 8 {
			secrets = append(secrets, value)
		}
		if q.Origin == "inner" || q.Origin == "plain" {
			t.Errorf("%s %s came to %s; want nothing there", q.Method, q.Path, q.Origin)
		}
		if q.Origin != rt.Main && (q.Header.Get("Authorization") != "" || q.Carries(hushPassword) || q.Carries(hushIdentity) || q.ClientCert) {
			t.Errorf("%s %s at %s: %v, certificate %v; want no credentials", q.Method, q.Path, q.Origin, q.Header, q.ClientCert)
		}
	}
	var texts []string
	if err != nil {
		texts = append(texts, err.Error())
	}
	for _, x := range slices.Concat(told...) {
		texts = append(texts, x.Text)
	}
	if len(texts) > 120 {
		t.Errorf("%d messages", len(texts))
	}
	for _, text := range texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("a message holds a secret: %q", text)
			}
		}
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("a message holds control characters: %q", text)
		}
	}
}

func isNone(f rt.Fault) bool { return fmt.Sprint(f) == fmt.Sprint(rt.Fault{}) }
