package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// as returns options with that credential.
func as(c Credential) Options {
	o := quick()
	o.Credential = func(context.Context, string) (Credential, error) { return c, nil }
	return o
}

var (
	ali   = Credential{Username: "ali", Password: "sesame"}
	users = map[string]string{"ali": "sesame"}
)

func TestAuthenticate(t *testing.T) {
	identity := Credential{IdentityToken: "refresh-me"}
	withToken := func(token string, o Options) Options { o.Token = token; return o }
	public := func(user, repo, action string) bool { return action == "pull" || user != "" }
	tests := []struct {
		name string
		auth registrytest.Auth
		o    Options
		is   error
		text string
		want []string // method, path and scheme of each request
	}{
		{"open", registrytest.Auth{}, as(ali), nil, "", []string{"manifest "}},
		{"basic", registrytest.Auth{Scheme: registrytest.Basic, Users: users}, as(ali), nil, "", []string{"manifest ", "manifest basic"}},
		{"basic, anonymous", registrytest.Auth{Scheme: registrytest.Basic, Users: users}, quick(), image.ErrUnauthorized, "authentication required", []string{"manifest ", "manifest basic"}},
		{"basic, wrong", registrytest.Auth{Scheme: registrytest.Basic, Users: users}, as(Credential{Username: "ali", Password: "simsalabim"}), image.ErrUnauthorized, "authentication required", []string{"manifest ", "manifest basic"}},
		{"bearer", registrytest.Auth{Scheme: registrytest.Bearer, Users: users}, as(ali), nil, "", []string{"manifest ", "token basic", "manifest bearer"}},
		{"bearer, anonymous", registrytest.Auth{Scheme: registrytest.Bearer, Users: users, Allow: public}, quick(), nil, "", []string{"manifest ", "token ", "manifest bearer"}},
		{"bearer, not allowed", registrytest.Auth{Scheme: registrytest.Bearer, Users: users}, quick(), image.ErrUnauthorized, "", []string{"manifest ", "token ", "manifest bearer"}},
		{"bearer, wrong", registrytest.Auth{Scheme: registrytest.Bearer, Users: users}, as(Credential{Username: "ali", Password: "simsalabim"}), image.ErrUnauthorized, "unable to retrieve auth token: invalid username/password: unauthorized: incorrect username or password", []string{"manifest ", "token basic"}},
		{"identity token", registrytest.Auth{Scheme: registrytest.Bearer, Identity: map[string]string{"refresh-me": "ali"}}, as(identity), nil, "", []string{"manifest ", "token ", "manifest bearer"}},
		{"registry token", registrytest.Auth{Scheme: registrytest.Bearer, Users: users}, withToken("made-up", as(ali)), image.ErrUnauthorized, "", []string{"manifest ", "manifest bearer"}},
		{"registry token, open", registrytest.Auth{}, withToken("made-up", as(ali)), nil, "", []string{"manifest "}},
	}
	for _, tt := range tests {
		m := makeImage(1, 10)
		s := registrytest.Start(t, registrytest.Options{Auth: tt.auth})
		m.store(s.Registry, "a/b", "v1")
		_, err := source(t, s.Addr+"/a/b:v1", tt.o).Manifest(context.Background(), "")
		if !isError(err, tt.is) || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v; want %v, %q", tt.name, err, tt.is, tt.text)
		}
		var got []string
		for _, q := range s.Requests() {
			kind, _ := q.Authorization()
			what := "manifest"
			if q.Path == "/token" {
				what = "token"
				checkTokenRequest(t, tt.name, q, tt.o)
			}
			got = append(got, what+" "+kind)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: requests %q; want %q", tt.name, got, tt.want)
		}
	}
}

func checkTokenRequest(t *testing.T, name string, q registrytest.Request, o Options) {
	t.Helper()
	if q.Method == http.MethodPost {
		for _, want := range []string{"refresh-me", "imgtools", "refresh_token", "repository:a/b:pull"} {
			if !q.Carries(want) {
				t.Errorf("%s: the request for a token has no %q", name, want)
			}
		}
		return
	}
	if got := q.Query["scope"]; !slices.Equal(got, []string{"repository:a/b:pull"}) {
		t.Errorf("%s: scope %q", name, got)
	}
	account := ""
	if o.Credential != nil {
		account = "ali"
	}
	if got := q.Query.Get("account"); got != account {
		t.Errorf("%s: account %q; want %q", name, got, account)
	}
}

// A challenge may come with any request: some registries let everybody in at
// /v2/ and only ask at the repository, or ask differently later.
func TestChallengeLater(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Basic, Users: users}})
	m.store(s.Registry, "a", "v1")
	open, held := registrytest.Reply(200, oci.MediaTypeManifest, string(m.raw.Bytes)), registrytest.On
	s.Inject(held("GET", "/v2/a/manifests/v1", open))
	src := source(t, s.Addr+"/a:v1", as(ali))
	if _, err := src.Manifest(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := readBlob(src, m.config); err != nil {
		t.Errorf("a later challenge was not met: %v", err)
	}
	// now the registry changes its mind, and wants bearer tokens
	s.Inject(
		registrytest.On("GET", "/v2/a/blobs/*", registrytest.Challenge(`Bearer realm="`+s.URL(registrytest.Main)+`/token",service="x"`)).Times(1),
		registrytest.On("GET", "/token", registrytest.Reply(200, "application/json", `{"token":"t"}`)),
		registrytest.On("GET", "/v2/a/blobs/*", registrytest.Reply(200, "application/octet-stream", string(m.blobs[m.config.Digest]))),
	)
	if _, err := readBlob(src, m.config); err != nil {
		t.Errorf("another challenge was not met: %v", err)
	}
	last := s.Requests()[len(s.Requests())-1]
	if kind, value := last.Authorization(); kind != "bearer" || value != "t" {
		t.Errorf("the last request showed %s %s; want the token", kind, value)
	}
}

// Which of several challenges is met depends on what there is to show.
func TestChooseChallenge(t *testing.T) {
	both := []string{`Negotiate`, `Basic realm="b", Bearer realm="https://t/"`}
	tests := []struct {
		lines []string
		cred  Credential
		token string
		not   string
		want  string
	}{
		{both, ali, "", "", "basic"},
		{both, Credential{}, "", "", "bearer"},
		{both, Credential{IdentityToken: "x"}, "", "", "bearer"},
		{both, ali, "fixed", "", "bearer"},
		{both, ali, "", "basic", "bearer"},
		{[]string{`Bearer realm="https://t/", Basic realm="b"`}, ali, "", "", "bearer"},
		{[]string{`Bearer service="x"`, `Basic`}, Credential{}, "", "", "basic"},
		{[]string{`Bearer service="x"`}, ali, "fixed", "", "bearer"},
		{[]string{`Bearer service="x"`}, ali, "", "", ""},
		{[]string{`Negotiate`}, ali, "", "", ""},
	}
	for _, tt := range tests {
		a := newAuthorizer(&repository{o: Options{Token: tt.token}}, repositoryScope("a", "pull"))
		got := ""
		if c := a.choose(parseChallenges(tt.lines), tt.cred, tt.not); c != nil {
			got = c.scheme
		}
		if got != tt.want {
			t.Errorf("choose(%q, %v, %q) = %q; want %q", tt.lines, tt.cred, tt.not, got, tt.want)
		}
	}
}

// Many requests at once wait for one token, and ask for the credential once.
func TestOneTokenForAll(t *testing.T) {
	m := makeImage(1, 10, 20, 30, 40, 50, 60, 70, 80)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	m.store(s.Registry, "a", "v1")
	var asked atomic.Int32
	o := quick()
	o.Credential = func(_ context.Context, repository string) (Credential, error) {
		if asked.Add(1); repository != s.Addr+"/a" {
			t.Errorf("asked for the credential of %q", repository)
		}
		return ali, nil
	}
	src := source(t, s.Addr+"/a:v1", o)
	var wg sync.WaitGroup
	for _, d := range m.layers {
		wg.Go(func() {
			if _, err := readBlob(src, d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.Count("GET", "/token"); n != 1 {
		t.Errorf("%d tokens were asked for; want 1", n)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the credential was asked for %d times; want 1", n)
	}
	s.Forget()
	if _, err := readBlob(src, m.config); err != nil || len(s.Requests()) != 1 {
		t.Errorf("a later request took %d; want 1, and no error: %v", len(s.Requests()), err)
	}
}

// A token that the registry no longer takes is replaced, once, in the middle
// of everything; one that it never took is not.
func TestTokenForgotten(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	m.store(s.Registry, "a", "v1")
	src := source(t, s.Addr+"/a:v1", as(ali))
	if _, err := src.Manifest(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	s.Inject(registrytest.On("GET", "/v2/a/blobs/*", s.ForgetTokens()).Times(1))
	if _, err := readBlob(src, m.config); err != nil {
		t.Errorf("a forgotten token: %v", err)
	}
	if n := s.Count("GET", "/token"); n != 2 {
		t.Errorf("%d tokens were asked for; want 2", n)
	}
	s.Heal()
	s.Forget()
	s.Inject(registrytest.On("GET", "/v2/a/blobs/*", s.ForgetTokens()))
	if _, err := readBlob(src, m.config); !errors.Is(err, image.ErrUnauthorized) {
		t.Errorf("tokens that are never taken: %v; want ErrUnauthorized", err)
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests; want 3: refused, token, refused", n)
	}
}

// A token is renewed before it ends, so that no request is lost to it.
func TestTokenRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := makeImage(1, 10)
		s := registrytest.New(registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users, Lifetime: 100 * time.Second}})
		m.store(s, "a", "v1")
		o := as(ali)
		o.Network.dial = serve(t, s).dial
		src := source(t, "127.0.0.1:5000/a:v1", o)
		for range 20 {
			if _, err := readBlob(src, m.config); err != nil {
				t.Error(err)
			}
			time.Sleep(30 * time.Second)
		}
		src.Close()
		if n := s.Count("GET", "/token"); n < 5 || n > 7 {
			t.Errorf("%d tokens were asked for in 10 minutes; want about 6", n)
		}
		refused := 0
		for _, q := range s.Requests() {
			if q.Status == 401 {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("%d requests were refused; want the first only", refused)
		}
	})
}

// What a registry says is missing is asked for too.
func TestMoreScope(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	m.store(s.Registry, "a", "v1")
	s.Inject(registrytest.On("GET", "/v2/a/manifests/v1", registrytest.Challenge(
		`Bearer realm="`+s.URL(registrytest.Main)+`/token",service="registrytest",scope="repository:a:pull repository:upstream/a:pull",error="insufficient_scope"`)).Nth(2))
	src := source(t, s.Addr+"/a:v1", as(ali))
	if _, err := src.Manifest(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	var scopes []string
	for _, q := range s.Requests() {
		if q.Path == "/token" {
			scopes = append(scopes, strings.Join(q.Query["scope"], " "))
		}
	}
	want := []string{"repository:a:pull", "repository:a:pull repository:upstream/a:pull"}
	if !slices.Equal(scopes, want) {
		t.Errorf("scopes asked for: %q; want %q", scopes, want)
	}
}

// A token service that gives nothing for two scopes gives something for the
// one that is needed.
func TestFewerScopes(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	m.store(s.Registry, "a", "v1")
	s.Inject(registrytest.On("GET", "/token", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if len(q.URL.Query()["scope"]) > 1 {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, q)
		})
	}))
	src, dst := source(t, s.Addr+"/a:v1", as(ali)), destination(t, s.Addr+"/b:v1", as(ali))
	dst.Expect(src)
	if ok, err := dst.Has(context.Background(), m.config); ok || err != nil {
		t.Errorf("Has() = %v, %v; want false, nil", ok, err)
	}
}

// Whom a registry calls its token service gets to see the password; most of
// what it could name is refused.
func TestRealms(t *testing.T) {
	tests := []struct {
		name  string
		realm string
		is    error
		token string // the origin that is asked
	}{
		{"its own", "https://reg.test/token", nil, "registry"},
		{"another host", "https://cdn.test/token", nil, "cdn"},
		{"with a query", "https://cdn.test/token?tenant=7", nil, "cdn"},
		{"http", "http://plain.test/token", image.ErrRejected, ""},
		{"http on its own host", "http://reg.test/token", nil, "registry"}, // with TLS
		{"link-local", "https://169.254.169.254/token", image.ErrRejected, ""},
		{"unspecified", "https://0.0.0.0/token", image.ErrRejected, ""},
		{"private", "https://10.0.0.1/token", image.ErrRejected, ""},
		{"loopback", "https://127.0.0.1/token", image.ErrRejected, ""},
		{"resolves inward", "https://evil.test/token", image.ErrRejected, ""},
		{"not a URL", "https://a b/", image.ErrRejected, ""},
		{"not http", "ftp://reg.test/token", image.ErrRejected, ""},
	}
	for _, tt := range tests {
		s, w, o, _ := publicWorld(t)
		h := w.hosts["evil.test:443"]
		h.ip = "192.168.0.1"
		w.hosts["evil.test:443"] = h
		s.Inject(
			registrytest.On("GET", "/v2/a/manifests/v1", registrytest.Challenge(`Bearer realm="`+tt.realm+`",service="s"`)).Times(1),
			registrytest.On("GET", "/v2/a/manifests/v1", registrytest.Reply(200, oci.MediaTypeManifest, "{}")),
			registrytest.On("GET", "/token", registrytest.Reply(200, "application/json", `{"access_token":"t"}`)),
		)
		_, err := source(t, "reg.test/a:v1", o).Manifest(context.Background(), "")
		if !isError(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		asked := ""
		for _, q := range s.Requests() {
			if q.Path == "/token" {
				asked = q.Origin
				if strings.Contains(tt.realm, "tenant") && q.Query.Get("tenant") != "7" {
					t.Errorf("%s: the query of the realm is lost: %v", tt.name, q.Query)
				}
			}
			if q.Origin == "plain" {
				t.Errorf("%s: a request went over plain HTTP", tt.name)
			}
		}
		if asked != tt.token {
			t.Errorf("%s: %q was asked for a token; want %q", tt.name, asked, tt.token)
		}
	}
}

// Over plain HTTP, a token service is believed on the registry's own host.
func TestPlainRealms(t *testing.T) {
	tests := []struct {
		home, realm string
		ok          bool
	}{
		{"localhost:5000", "http://localhost:5001/token", true},
		{"localhost:5000", "http://127.0.0.1:5001/token", true},
		{"reg.test:5000", "http://reg.test:5001/token", true},
		{"reg.test:5000", "http://evil.test/token", false},
		{"reg.test:5000", "https://auth.test/token", true},
	}
	for _, tt := range tests {
		r := open(t, tt.home+"/a", Options{TLSVerify: Never})
		o := r.remote.originWith("http")
		r.remote.origin.Store(&o)
		if strings.HasPrefix(tt.home, "localhost") {
			r.remote.guard.home = loopback
		}
		if _, err := r.remote.realm(tt.realm); (err == nil) != tt.ok {
			t.Errorf("registry %s, realm %s: %v; want ok %v", tt.home, tt.realm, err, tt.ok)
		}
	}
}

// A token service that redirects gets another chance at its own origin only.
func TestTokenRedirects(t *testing.T) {
	tests := []struct {
		name string
		cred Credential
		to   string
		is   error
	}{
		{"password, same origin", ali, "/token2", nil},
		{"password, another origin", ali, "https://evil.test/token2", nil}, // without it
		{"password, inward", ali, "https://169.254.169.254/token2", image.ErrRejected},
		{"identity, same origin", Credential{IdentityToken: "sesame"}, "/token2", nil},
		{"identity, another origin", Credential{IdentityToken: "sesame"}, "https://evil.test/token2", image.ErrRejected},
	}
	for _, tt := range tests {
		s, _, o, _ := publicWorld(t)
		o.Credential = as(tt.cred).Credential
		s.Inject(
			registrytest.On("GET", "/v2/a/manifests/v1", registrytest.Challenge(`Bearer realm="https://cdn.test/token",service="s"`)).Times(1),
			registrytest.On("GET", "/v2/a/manifests/v1", registrytest.Reply(200, oci.MediaTypeManifest, "{}")),
			registrytest.On("", "/token", registrytest.Redirect(tt.to)),
			registrytest.On("", "/token2", registrytest.Reply(200, "application/json", `{"token":"t"}`)),
		)
		_, err := source(t, "reg.test/a:v1", o).Manifest(context.Background(), "")
		if !isError(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		for _, q := range s.Requests() {
			if q.Origin == "evil" && q.Carries("sesame") {
				t.Errorf("%s: evil got the secret", tt.name)
			}
		}
	}
}

func TestParseToken(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		body string
		date string
		want string
		life time.Duration // until it is renewed
	}{
		{`{"token":"t"}`, "", "t", 54 * time.Second},
		{`{"access_token":"a"}`, "", "a", 54 * time.Second},
		{`{"token":"t","access_token":"a","expires_in":300}`, "", "t", 270 * time.Second},
		{`{"token":"t","expires_in":"300"}`, "", "t", 270 * time.Second},
		{`{"token":"t","expires_in":3600.5}`, "", "t", 59 * time.Minute},
		{`{"token":"t","expires_in":1}`, "", "t", 54 * time.Second},
		{`{"token":"t","expires_in":-5}`, "", "t", 54 * time.Second},
		{`{"token":"t","expires_in":1e300}`, "", "t", 54 * time.Second},
		// the clock of the service counts, not ours
		{`{"token":"t","expires_in":300,"issued_at":"2020-01-01T00:00:00Z"}`, "Wed, 01 Jan 2020 00:01:40 GMT", "t", 180 * time.Second},
		{`{"token":"t","expires_in":300,"issued_at":"2020-01-01T00:00:00Z"}`, "", "t", 270 * time.Second},
		{`{"token":"t","expires_in":300,"issued_at":"2020-01-01T00:00:00Z"}`, "Wed, 01 Jan 2025 00:01:40 GMT", "t", 9 * time.Second},
		{`{"token":"t","expires_in":300,"issued_at":"2030-01-01T00:00:00Z"}`, "Wed, 01 Jan 2020 00:00:00 GMT", "t", 270 * time.Second},
		{`{"token":"t","issued_at":17}`, "", "t", 54 * time.Second},
		{`{"token":""}`, "", "", 0},
		{`{"token":"a b"}`, "", "", 0},
		{`{"token":"a\r\nX: y"}`, "", "", 0},
		{`{"token":7}`, "", "", 0},
		{`secret`, "", "", 0},
		{``, "", "", 0},
	}
	for _, tt := range tests {
		got, err := parseToken([]byte(tt.body), http.Header{"Date": {tt.date}}, now)
		switch {
		case (err == nil) != (tt.want != ""):
			t.Errorf("parseToken(%q): %v", tt.body, err)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("parseToken(%q): %v quotes it", tt.body, err)
		case err == nil && (got.value != tt.want || got.renew.Sub(now) != tt.life):
			t.Errorf("parseToken(%q) = %q for %v; want %q for %v", tt.body, got.value, got.renew.Sub(now), tt.want, tt.life)
		}
	}
}

// The texts of a token service's failures, and what is read of them.
func TestTokenFailures(t *testing.T) {
	tests := []struct {
		name string
		do   registrytest.Action
		is   error
		not  error
		text string
	}{
		{"500", registrytest.Reply(500, "text/plain", ""), image.ErrNetwork, nil, "Requesting bearer token: received unexpected HTTP status: 500 Internal Server Error"},
		{"429", registrytest.Busy(429, "0"), image.ErrNetwork, nil, "too many requests to registry"},
		{"403", registrytest.Refuse(403, "DENIED", "no"), image.ErrDenied, nil, "Requesting bearer token: denied: no"},
		{"404", registrytest.Reply(404, "text/plain", "nothing here"), nil, image.ErrNotFound, "nothing here"},
		{"endless", registrytest.Endless("application/json", `{"token":"t"`), image.ErrTooLarge, nil, "Requesting bearer token: "},
		{"cut", registrytest.Cut(), image.ErrNetwork, nil, "Requesting bearer token: GET http://"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
		s.Inject(registrytest.On("GET", "/token", tt.do))
		_, err := source(t, s.Addr+"/a:v1", as(ali)).Manifest(context.Background(), "")
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || tt.not != nil && errors.Is(err, tt.not) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v; want %v, %q", tt.name, err, tt.is, tt.text)
		}
	}
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(registrytest.On("GET", "/v2/**", registrytest.Challenge("Bearer service=x")))
	if _, err := source(t, s.Addr+"/a:v1", quick()).Manifest(context.Background(), ""); !errors.Is(err, image.ErrUnauthorized) {
		t.Errorf("a challenge without realm: %v; want ErrUnauthorized", err)
	}
}

// A failure to find the credential is told as it is, and not for ever.
func TestCredentialFails(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Basic, Users: users}})
	m.store(s.Registry, "a", "v1")
	broken, failed := errors.New("the helper is broken"), false
	o := quick()
	o.Credential = func(context.Context, string) (Credential, error) {
		if !failed {
			failed = true
			return Credential{}, broken
		}
		return ali, nil
	}
	src := source(t, s.Addr+"/a:v1", o)
	if _, err := src.Manifest(context.Background(), ""); !errors.Is(err, broken) {
		t.Errorf("error %v; want %v", err, broken)
	}
	if _, err := src.Manifest(context.Background(), ""); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// Whoever gives up waiting for a token does not take it from the others; and
// when all have given up, the request for it ends.
func TestTokenWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := makeImage(1, 10)
		s := registrytest.New(registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
		m.store(s, "a", "v1")
		stall := registrytest.NewStall()
		s.Inject(registrytest.On("GET", "/token", stall.Answer()))
		o := as(ali)
		o.Network.dial = serve(t, s).dial
		src := source(t, "127.0.0.1:5000/a:v1", o)
		ctx, cancel := context.WithCancel(context.Background())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := src.Manifest(ctx, ""); first <- err }()
		<-stall.Reached()
		go func() { _, err := src.Manifest(context.Background(), ""); second <- err }()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that gave up: %v; want context.Canceled", err)
		}
		stall.Release()
		if err := <-second; err != nil {
			t.Errorf("the one that did not: %v", err)
		}
		if n := s.Count("GET", "/token"); n != 1 {
			t.Errorf("%d tokens were asked for; want 1", n)
		}
		src.Close()
	})
}

// What a server was shown is taken out of what it says, in the forms that it
// may have got it in.
func TestHide(t *testing.T) {
	a := newAuthorizer(&repository{o: Options{Token: "f1xed"}}, repositoryScope("a", "pull"))
	a.cred = &Credential{Username: "ali", Password: "s3same/+=", IdentityToken: "r3fresh me"}
	a.given = []string{"tok3n"}
	for text, want := range map[string]string{
		"wrong password s3same/+=!":                   "wrong password ***!",
		"password=s3same%2F%2B%3D":                    "password=***",
		"Basic " + "YWxpOnMzc2FtZS8rPQ==" + " of ali": "Basic *** of ali",
		"refresh_token=r3fresh+me, or r3fresh me":     "refresh_token=***, or ***",
		"Bearer tok3n, tok3n, f1xed":                  "Bearer ***, ***, ***",
		"nothing at all":                              "nothing at all",
	} {
		if got := a.hide(text); got != want {
			t.Errorf("hide(%q) = %q; want %q", text, got, want)
		}
	}
}

// No secret is in anything that is printed, whatever a server does with what
// it was shown.
func TestNoSecretIsTold(t *testing.T) {
	secrets := []string{"s3same/+=", "czNzYW1l", "tok3n-v4lue", "r3fresh"}
	echo := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, password, _ := q.BasicAuth()
			q.ParseForm()
			shown := q.Header.Get("Authorization") + " " + password + " " + q.PostForm.Encode()
			w.Header().Set("Warning", `299 - "`+strings.ReplaceAll(shown, `"`, "")+`"`)
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+q.Host+`/token",error="invalid_token",error_description="`+shown+`"`)
			if q.Header.Get("Authorization") == "" && q.Method == "GET" {
				w.WriteHeader(401)
				return
			}
			if q.URL.Path == "/token" && q.Method+password == "GETs3same/+=" && q.URL.Query().Get("fail") == "" {
				fmt.Fprint(w, `{"token":"tok3n-v4lue"}`)
				return
			}
			w.WriteHeader(403)
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, "you showed "+shown)
		})
	}
	for _, c := range []Credential{{Username: "ali", Password: "s3same/+="}, {IdentityToken: "r3fresh"}, {Username: "ali", Password: "s3same/+=", IdentityToken: "r3fresh"}} {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(registrytest.On("", "**", echo))
		o, e := as(c), &events{}
		o.Notify = e.notify
		var traced []string
		o.Trace = func(method, url string, status int, _ time.Duration) { traced = append(traced, method+url) }
		r := open(t, s.Addr+"/a:v1", o)
		_, err := r.Source().Manifest(context.Background(), "")
		if !errors.Is(err, image.ErrDenied) {
			t.Errorf("%v: error %v; want ErrDenied", c, err)
		}
		text := fmt.Sprintf("%v\n%+v\n%v\n%v %+v %#v %s %q", err, e.list, traced, c, c, c, c, c)
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in what is told:\n%s", secret, text)
			}
		}
	}
}

// A token that another has taken the place of may still be good: it stays
// hidden from who reads what a registry says about an earlier request.
func TestHideEarlierTokens(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: map[string]string{"ali": "sesame"}}})
	m.store(s.Registry, "a", "v1")
	src := source(t, s.Addr+"/a:v1", as(Credential{Username: "ali", Password: "sesame"}))
	read := func() string {
		if _, err := src.Manifest(context.Background(), ""); err != nil {
			t.Fatal(err)
		}
		return src.auth.token.value
	}
	first := read()
	src.auth.expect(repositoryScope("b", "pull"))
	if second := read(); second == first {
		t.Fatal("there is no other token: nothing is tested")
	}
	if got := src.auth.hide("you showed " + first); got != "you showed ***" {
		t.Errorf("hide of an earlier token = %q; want it hidden", got)
	}
}
