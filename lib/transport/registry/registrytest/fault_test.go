package registrytest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"/v2/", "/v2/", true},
		{"/v2/", "/v2/a", false},
		{"/v2/*/tags/list", "/v2/a/tags/list", true},
		{"/v2/*/tags/list", "/v2/a/b/tags/list", false},
		{"/v2/**/tags/list", "/v2/a/b/tags/list", true},
		{"/v2/**/blobs/*", "/v2/a/b/blobs/sha256:1", true},
		{"/v2/**/blobs/*", "/v2/a/b/blobs/uploads/", false},
		{"/v2/**/blobs/uploads/?*", "/v2/a/blobs/uploads/x", false}, // "?" is itself
		{"**", "", true},
		{"*", "/", false},
		{"a*c*", "abcd", true},
		{"", "", true},
		{"", "a", false},
	} {
		if got := match(test.pattern, test.s); got != test.want {
			t.Errorf("match(%q, %q) = %v; want %v", test.pattern, test.s, got, test.want)
		}
	}
}

// Which requests a fault hits: each fault counts those that are its own.
func TestWhich(t *testing.T) {
	status := func(code int) Action { return Refuse(code, "X", "x") }
	for name, test := range map[string]struct {
		faults []Fault
		want   string // of five requests
	}{
		"always": {[]Fault{On("GET", "/v2/", status(500))}, "500 500 500 500 500"},
		"method": {[]Fault{On("PUT", "/v2/", status(500))}, "200 200 200 200 200"},
		"any":    {[]Fault{On("", "**", status(500)).Times(1)}, "500 200 200 200 200"},
		"nth":    {[]Fault{On("GET", "/v2/", status(500)).Nth(3)}, "200 200 500 200 200"},
		"after":  {[]Fault{On("GET", "/v2/", status(500)).After(3)}, "200 200 200 500 500"},
		"times":  {[]Fault{On("GET", "/v2/", status(500)).After(1).Times(2)}, "200 500 500 200 200"},
		"two":    {[]Fault{On("GET", "/v2/", status(500)).Nth(1), On("GET", "/v2/", status(501)).Nth(2)}, "500 501 200 200 200"},
		"first":  {[]Fault{On("GET", "/v2/", status(500)).Nth(2), On("GET", "/v2/", status(501))}, "501 500 501 501 501"},
		"origin": {[]Fault{On("GET", "/v2/", status(500)).At("cdn")}, "200 200 200 200 200"},
		"main":   {[]Fault{On("GET", "/v2/", status(500)).At(Main).Times(1)}, "500 200 200 200 200"},
	} {
		s := Start(t, Options{})
		s.Inject(test.faults...)
		var got []string
		for range 5 {
			got = append(got, fmt.Sprint(do(t, "GET", s.URL(Main)+"/v2/", "").StatusCode))
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("%s: %s; want %s", name, got, test.want)
		}
		s.Heal()
		do(t, "GET", s.URL(Main)+"/v2/", "").want(t, 200)
	}
}

const blobPattern = "/v2/**/blobs/*"

// An actionTest is what an action does to the download of a blob.
type actionTest struct {
	do     Action
	status int // 0: no answer
	check  func(t *testing.T, r result, content []byte)
}

// wantHeader checks a header of a whole answer.
func wantHeader(name, want string) func(*testing.T, result, []byte) {
	return func(t *testing.T, r result, _ []byte) {
		if got := r.Header.Get(name); got != want || r.err != nil {
			t.Errorf("%s is %q (%v); want %q", name, got, r.err, want)
		}
	}
}

// wantBroken checks where the body breaks off.
func wantBroken(keep func(content []byte) []byte) func(*testing.T, result, []byte) {
	return func(t *testing.T, r result, content []byte) {
		if want := keep(content); !errors.Is(r.err, io.ErrUnexpectedEOF) || !bytes.Equal(r.body, want) {
			t.Errorf("%d bytes, %v; want %d, %v", len(r.body), r.err, len(want), io.ErrUnexpectedEOF)
		}
	}
}

// wantBody checks a whole body and the length that was announced.
func wantBody(change func(content []byte) []byte) func(*testing.T, result, []byte) {
	return func(t *testing.T, r result, content []byte) {
		if want := change(content); !bytes.Equal(r.body, want) || r.err != nil || r.ContentLength != int64(len(want)) {
			t.Errorf("%d bytes, length %d, %v; want %d", len(r.body), r.ContentLength, r.err, len(want))
		}
	}
}

func all(content []byte) []byte { return content }

func actionTests() map[string]actionTest {
	return map[string]actionTest{
		"refuse":  {Refuse(503, "UNAVAILABLE", "\x1b[31mred", "X-A", "b"), 503, wantHeader("X-A", "b")},
		"reply":   {Reply(200, "text/plain", "hello", "X-A", "b"), 200, wantBody(func([]byte) []byte { return []byte("hello") })},
		"busy":    {Busy(429, "7"), 429, wantHeader("Retry-After", "7")},
		"refuses": {Challenge(`Basic realm="x"`, `Bearer realm="y"`), 401, wantHeader("WWW-Authenticate", `Basic realm="x"`)},

		"redirect":    {Redirect("http://169.254.169.254/latest/"), 307, wantHeader("Location", "http://169.254.169.254/latest/")},
		"redirect on": {RedirectOn(), 307, func(t *testing.T, r result, _ []byte) { checkHop(t, r, 1) }},

		"header":        {Header("Docker-Content-Digest", "sha256:0"), 200, wantHeader("Docker-Content-Digest", "sha256:0")},
		"no header":     {Header("Docker-Content-Digest", ""), 200, wantHeader("Docker-Content-Digest", "")},
		"giant header":  {GiantHeader(100_000), 200, wantHeader("X-Giant", strings.Repeat("x", 100_000))},
		"cut":           {Cut(), 0, nil},
		"lose":          {LoseAnswer(), 0, nil},
		"reset":         {Reset(), 0, nil},
		"cut body":      {CutBody(10), 200, wantBroken(func(c []byte) []byte { return c[:10] })},
		"cut at once":   {CutBody(0), 200, wantBroken(func([]byte) []byte { return nil })},
		"longer":        {ContentLength(5), 200, wantBroken(all)},
		"shorter":       {ContentLength(-5), 200, wantBody(func(c []byte) []byte { return c[:len(c)-5] })},
		"flip":          {Flip(3), 200, wantBody(func(c []byte) []byte { c = bytes.Clone(c); c[3] ^= 1; return c })},
		"flip behind":   {Flip(1 << 20), 200, wantBody(all)},
		"append":        {Append("xyz"), 200, wantBody(func(c []byte) []byte { return append(bytes.Clone(c), "xyz"...) })},
		"shorten":       {Shorten(5), 200, wantBody(func(c []byte) []byte { return c[:len(c)-5] })},
		"edit":          {Edit(func(a *Answer) { a.Status = 206 }), 206, wantBody(all)},
		"http 1.0":      {HTTP10(), 200, checkOld},
		"babble":        {Babble("HTTP/1.1 200 OK"), 200, wantBody(all)},
		"endless hints": {EndlessHints(), 0, nil},
		"gzip":          {Gzip(), 200, checkGzip},
		"no change":     {forgetNothing(), 200, wantBody(all)},
	}
}

func TestActions(t *testing.T) {
	for name, test := range actionTests() {
		t.Run(name, func(t *testing.T) {
			s, c := seed(t, Options{})
			d, content := layerOf(c)
			s.Inject(On("GET", blobPattern, test.do))
			r := try(t, "GET", s.URL(Main)+"/v2/a/b/blobs/"+d.String(), "")
			if test.status == 0 {
				if r.Response != nil {
					t.Fatalf("an answer %s; want none", r.Status)
				}
				if name == "reset" && !errors.Is(r.err, syscall.ECONNRESET) {
					t.Errorf("%v; want %v", r.err, syscall.ECONNRESET)
				}
				return
			}
			if r.Response == nil {
				t.Fatal(r.err)
			}
			if r.StatusCode != test.status {
				t.Fatalf("%s; want %d", r.Status, test.status)
			}
			test.check(t, r, content)
		})
	}
}

// forgetNothing is a change that changes nothing.
func forgetNothing() Action { return New(Options{}).ForgetTokens() }

func checkHop(t *testing.T, r result, n int) {
	if got, want := r.Header.Get("Location"), fmt.Sprintf("?hop=%d", n); !strings.HasSuffix(got, want) {
		t.Errorf("Location is %q; want one with %s", got, want)
	}
}

func checkOld(t *testing.T, r result, content []byte) {
	if r.ProtoMinor != 0 || r.ContentLength != -1 || !bytes.Equal(r.body, content) || r.err != nil {
		t.Errorf("%s, length %d, %d bytes, %v; want HTTP/1.0, no length, %d bytes", r.Proto, r.ContentLength, len(r.body), r.err, len(content))
	}
}

func checkGzip(t *testing.T, r result, content []byte) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("Content-Encoding is %q; want gzip", r.Header.Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, content) {
		t.Errorf("unpacked: %d bytes, %v; want %d", len(got), err, len(content))
	}
}

// Nobody has to read all of an endless body to see that it goes on and on.
func TestEndless(t *testing.T) {
	s := Start(t, Options{})
	s.Inject(On("GET", "/v2/", Endless("text/plain", "{")))
	resp, err := http.Get(s.URL(Main) + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, 8<<20); err != nil {
		t.Errorf("an endless body ends after %d bytes: %v", n, err)
	}
}

func TestRedirects(t *testing.T) {
	s, c := seed(t, Options{})
	cdn := s.Open("cdn")
	d, content := layerOf(c)
	path := "/v2/a/b/blobs/" + d.String()
	s.Inject(On("GET", blobPattern, RedirectTo(cdn)).At(Main).Times(1))
	resp, err := http.Get(s.URL(Main) + path + "?a=b")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("behind the redirect are %d bytes, %v; want %d", len(got), err, len(content))
	}
	list := s.Requests()
	if len(list) != 2 || list[1].Origin != "cdn" || list[1].Query.Get("a") != "b" || list[0].Origin != Main {
		t.Errorf("requests are %+v; want one to the registry and one to the cdn, with the query", list)
	}

	// Both kinds of loop go on for as long as somebody follows.
	for name, loop := range map[string]Action{"same": RedirectTo(""), "new": RedirectOn()} {
		s.Forget()
		s.Inject(On("GET", blobPattern, loop).At(Main))
		if resp, err := http.Get(s.URL(Main) + path); err == nil {
			resp.Body.Close()
			t.Errorf("%s: a loop of redirects ends", name)
		}
		if n := s.Count("GET", blobPattern); n != 10 {
			t.Errorf("%s: net/http gave up after %d requests; want 10", name, n)
		}
		s.Heal()
	}
}

func TestEndlessPages(t *testing.T) {
	s, _ := seed(t, Options{})
	s.Inject(On("GET", "/v2/**/tags/list", EndlessPages()))
	next, seen := "/v2/a/b/tags/list", map[string]bool{}
	for range 200 {
		if seen[next] {
			t.Fatalf("page %q comes again; want new ones", next)
		}
		seen[next] = true
		r := do(t, "GET", s.URL(Main)+next, "").want(t, 200)
		next, _, _ = strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"), ">")
	}
}

func TestIgnoreRange(t *testing.T) {
	s, c := seed(t, Options{})
	d, content := layerOf(c)
	s.Inject(On("GET", blobPattern, IgnoreRange()))
	r := do(t, "GET", s.URL(Main)+"/v2/a/b/blobs/"+d.String(), "", "Range", "bytes=5-").want(t, 200)
	if !bytes.Equal(r.body, content) {
		t.Errorf("%d bytes; want all %d", len(r.body), len(content))
	}
	if got := s.Requests()[0].Range(); got != "bytes=5-" {
		t.Errorf("the log has Range %q; want what the client sent", got)
	}
}

func TestReplace(t *testing.T) {
	s, _ := seed(t, Options{})
	s.Inject(On("GET", "/v2/**/manifests/*", Replace(`"schemaVersion"`, `"schemaVersion": 2, "schemaVersion"`)))
	if r := do(t, "GET", s.URL(Main)+"/v2/a/b/manifests/1", ""); strings.Count(string(r.body), "schemaVersion") != 2 {
		t.Errorf("manifest is %s; want a key twice", r.body)
	}
}

func TestMoveLocation(t *testing.T) {
	for origin, want := range map[string]string{"": "/v2/a/", "https://evil.test": "https://evil.test/v2/a/"} {
		s := Start(t, Options{})
		s.Inject(On("POST", "/v2/**/blobs/uploads/", MoveLocation(origin)))
		if at := begin(t, s, "a"); !strings.HasPrefix(at, want) || !strings.Contains(at, "_state=") {
			t.Errorf("MoveLocation(%q): Location is %q; want %s… with its query", origin, at, want)
		}
	}
}

const uploadPattern = "/v2/**/blobs/uploads/*"

// What can happen to an upload, and what the registry has of it then.
func TestUploadFaults(t *testing.T) {
	const content = "0123456789"
	for name, test := range map[string]struct {
		do     Action
		status int
		at     string // Range afterwards
	}{
		"fine":       {change(func(*http.Request) {}), 202, "0-9"},
		"take only":  {TakeOnly(4), 202, "0-3"},
		"cut":        {CutRequest(4), 0, "0-3"},
		"lose":       {LoseAnswer(), 0, "0-9"},
		"large":      {TooLarge(9), 413, "0-0"},
		"not large":  {TooLarge(10), 202, "0-9"},
		"not at all": {Cut(), 0, "0-0"},
	} {
		for _, how := range []string{"length", "chunked"} {
			s := Start(t, Options{})
			s.Inject(On("PATCH", uploadPattern, test.do))
			at := begin(t, s, "a")
			var body io.Reader = strings.NewReader(content)
			if how == "chunked" {
				body = io.MultiReader(body) // of no known length
			}
			q, err := http.NewRequestWithContext(t.Context(), "PATCH", at, body)
			if err != nil {
				t.Fatal(err)
			}
			status := 0
			if resp, err := http.DefaultTransport.RoundTrip(q); err == nil {
				resp.Body.Close()
				status = resp.StatusCode
			}
			if status != test.status {
				t.Errorf("%s, %s: status %d; want %d", name, how, status, test.status)
			}
			if got := do(t, "GET", at, "").want(t, 204).Header.Get("Range"); got != test.at {
				t.Errorf("%s, %s: the upload is at %s; want %s", name, how, got, test.at)
			}
		}
	}
}

func TestForgetUpload(t *testing.T) {
	s := Start(t, Options{})
	s.Inject(On("PUT", uploadPattern, s.ForgetUpload()))
	at := do(t, "PATCH", begin(t, s, "a"), "0123").want(t, 202).Header.Get("Location")
	if got := do(t, "PUT", withDigest(at, digest.FromString("0123")), "").want(t, 404).code(t); got != codeBlobUploadUnknown {
		t.Errorf("code %s; want %s", got, codeBlobUploadUnknown)
	}
	if s.used != 0 || s.Uploads() != 0 {
		t.Errorf("%d bytes and %d uploads are left; want none", s.used, s.Uploads())
	}
}

func TestTokenFaults(t *testing.T) {
	s, _ := seed(t, Options{Auth: bearer(Auth{Identity: map[string]string{"identity": "ali"}})})
	manifest := s.URL(Main) + "/v2/a/b/manifests/1"
	challenge := do(t, "GET", manifest, "").want(t, 401).Header.Get("WWW-Authenticate")
	good := tokenFrom(t, challenge, "Authorization", aliBasic)
	do(t, "GET", manifest, "", "Authorization", "Bearer "+good).want(t, 200)

	s.Inject(On("", "/token", GrantScope("repository:other:pull")))
	other := tokenFrom(t, challenge, "Authorization", aliBasic)
	do(t, "GET", manifest, "", "Authorization", "Bearer "+other).want(t, 401)
	r := do(t, "POST", s.URL(Main)+"/token", "grant_type=refresh_token&refresh_token=identity&scope=repository:a/b:pull",
		"Content-Type", "application/x-www-form-urlencoded")
	do(t, "GET", manifest, "", "Authorization", "Bearer "+tokenOf(t, r)).want(t, 401)

	s.Inject(On("GET", "/v2/", s.ForgetTokens()))
	do(t, "GET", s.URL(Main)+"/v2/", "", "Authorization", "Bearer "+good).want(t, 401)
	do(t, "GET", manifest, "", "Authorization", "Bearer "+good).want(t, 401)
}

// A client that a Stall holds gets on when the test says so, and the server
// when the client gives up.
func TestStall(t *testing.T) {
	for name, test := range map[string]struct {
		method  string
		pattern string
		do      func(*Stall) Action
	}{
		"answer":  {"GET", blobPattern, (*Stall).Answer},
		"body":    {"GET", blobPattern, func(s *Stall) Action { return s.Body(10) }},
		"request": {"PATCH", uploadPattern, func(s *Stall) Action { return s.Request(4) }},
	} {
		for _, release := range []bool{true, false} {
			s, c := seed(t, Options{})
			d, content := layerOf(c)
			stall := NewStall()
			s.Inject(On(test.method, test.pattern, test.do(stall)))
			url, want := s.URL(Main)+"/v2/a/b/blobs/"+d.String(), content
			if test.method == "PATCH" {
				url, want = begin(t, s, "a"), nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			q, err := http.NewRequestWithContext(ctx, test.method, url, strings.NewReader("0123456789"))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan result)
			go func() {
				resp, err := http.DefaultTransport.RoundTrip(q)
				if err != nil {
					done <- result{err: err}
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				done <- result{resp, b, err}
			}()
			<-stall.Reached()
			if release {
				stall.Release()
			} else {
				cancel()
			}
			r := <-done
			cancel()
			switch {
			case release && (r.err != nil || !bytes.Equal(r.body, want)):
				t.Errorf("%s, released: %d bytes, %v; want %d", name, len(r.body), r.err, len(want))
			case !release && !errors.Is(r.err, context.Canceled):
				t.Errorf("%s, given up: %v; want %v", name, r.err, context.Canceled)
			}
			stall.Release() // twice is fine
		}
	}
}

// Whoever asks how far an upload is ends what is still under way of it, so
// that the answer stays true.
func TestStatusEndsWriting(t *testing.T) {
	s := Start(t, Options{})
	stall := NewStall()
	s.Inject(On("PATCH", uploadPattern, stall.Request(4)))
	at := begin(t, s, "a")
	first := make(chan result)
	go func() { first <- try(t, "PATCH", at, "0123456789") }()
	<-stall.Reached()
	now := do(t, "GET", at, "").want(t, 204)
	stall.Release()
	if r := <-first; r.err != nil || r.StatusCode != 400 {
		t.Errorf("the request that was overtaken: %v, %v; want 400", r.Response, r.err)
	}
	s.Heal()
	do(t, "PUT", withDigest(now.Header.Get("Location"), digest.FromString("0123456789")), "456789", "Content-Range", "4-9").want(t, 201)
}

// HTTP/2 has no connection to cut: a stream is reset in its place.
func TestTLS(t *testing.T) {
	s := StartTLS(t, Options{})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientConfig(t, s), ForceAttemptHTTP2: true, DialContext: s.Dial}}
	defer client.CloseIdleConnections()
	get := func(url string) (*http.Response, error) {
		resp, err := client.Get(url)
		if err == nil {
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
		}
		return resp, err
	}
	resp, err := get(s.URL(Main) + "/v2/")
	if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != 200 {
		t.Fatalf("GET /v2/ = %v, %v; want 200 by HTTP/2", resp, err)
	}
	if !s.Requests()[0].ClientCert {
		t.Errorf("the log has no certificate of the client")
	}
	s.Open("cdn")
	if _, err := get("https://cdn.test/v2/"); err != nil {
		t.Errorf("an origin by its name: %v", err)
	}
	if list := s.Requests(); list[len(list)-1].Origin != "cdn" || list[len(list)-1].Host != "cdn.test" {
		t.Errorf("the last request was to %s; want the cdn", list[len(list)-1].Origin)
	}
	if _, err := get(s.OpenPlain("plain") + "/v2/"); err != nil {
		t.Errorf("plain HTTP beside TLS: %v", err)
	}
	s.Inject(On("GET", "/v2/", CutBody(1)))
	if _, err := get(s.URL(Main) + "/v2/"); err == nil {
		t.Errorf("an answer that is cut has no error")
	}
	var none *net.OpError
	if _, err := get("https://127.0.0.1:1/v2/"); !errors.As(err, &none) {
		t.Errorf("an address of no origin: %v; want what dialling it gives", err)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("/v2/**/blobs/*", "/v2/a/b/blobs/x")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 30 || strings.Count(pattern, "*") > 6 {
			return // patterns are ours
		}
		if !strings.Contains(pattern, "*") && match(pattern, s) != (pattern == s) {
			t.Errorf("match(%q, %q) = %v", pattern, s, match(pattern, s))
		}
		if !match("**"+s, "x/"+s) && !strings.Contains(s, "*") {
			t.Errorf("match(%q, %q) = false", "**"+s, "x/"+s)
		}
	})
}
