package e2e_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// tokened starts a registry that wants bearer tokens, and that has the shapes
// as SHAPE:1, and returns their layout too.
func tokened(t *testing.T, version string, o harness.TokenOptions, shapes ...sample.Shape) (*harness.TokenService, world) {
	t.Helper()
	s := harness.StartTokens(t, o)
	w := world{harness.Image(t, shapes...), harness.StartRegistry(t, harness.RegistryOptions{Version: version, Tokens: s, Delete: true})}
	for tag := range w.Roots {
		w.Seed(t, w.Layout, tag, tag+":1")
	}
	return s, w
}

// heard returns what a service was asked for after n requests: the scopes, each
// once.
func heard(s *harness.TokenService, n int) (scopes []string) {
	for _, q := range s.Asked()[n:] {
		scopes = append(scopes, q.Scopes...)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// A token is power over a registry. What a tool asks for must be no more than
// what it is going to do, and it must not ask again and again.
func TestTokenScopes(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v3", "2.8"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s, w := tokened(t, version, harness.TokenOptions{}, sample.Tiny(), sample.Platforms())
			creds := w.User + ":" + w.Password
			const from, to = "repository:platforms:", "repository:copy:"
			for _, x := range []struct {
				args   []string
				scopes []string // each may be asked for, the first must be
				most   int      // requests for tokens
			}{
				{stage{"img-inspect", "--creds=" + creds, w.at("platforms")}, []string{from + "pull"}, 1},
				{stage{"img-inspect", "--raw", "--creds=" + creds, w.at("platforms")}, []string{from + "pull"}, 1},
				{stage{"img-copy", "-q", "--src-creds=" + creds, w.at("platforms"), "oci:" + harness.Dir(t) + "/l:x"}, []string{from + "pull"}, 1},
				{
					stage{"img-copy", "-q", "--dest-creds=" + creds, w.Layout.Ref("platforms"), w.Registry.Ref("copy:1")},
					[]string{to + "push", to + "pull"}, 1,
				},
				{
					stage{"img-copy", "-q", "--src-creds=" + creds, "--dest-creds=" + creds, w.at("platforms"), w.Registry.Ref("copy:2")},
					[]string{from + "pull", to + "pull", to + "push"}, 3,
				},
			} {
				n := len(s.Asked())
				harness.Must(t, x.args[0], x.args[1:]...)
				got := heard(s, n)
				for _, scope := range got {
					if !slices.Contains(x.scopes, scope) {
						t.Errorf("%s asked for %s; want no more than %q", strings.Join(x.args, " "), scope, x.scopes)
					}
				}
				if !slices.Contains(got, x.scopes[0]) {
					t.Errorf("%s asked for %q; want %s among them", strings.Join(x.args, " "), got, x.scopes[0])
				}
				if asked := len(s.Asked()) - n; asked > x.most {
					t.Errorf("%s asked %d times for a token; want at most %d", strings.Join(x.args, " "), asked, x.most)
				}
			}
			holds(t, w.Registry, "copy:1", w.Roots["platforms"].Digest.String())
			holds(t, w.Registry, "copy:2", w.Roots["platforms"].Digest.String())
		})
	}
}

// What everybody may pull needs no name, and who may not push is told so before
// a whole image has gone up.
func TestTokenForAnybody(t *testing.T) {
	t.Parallel()
	s, w := tokened(t, "v3", harness.TokenOptions{Anonymous: true}, sample.Tiny())
	to := "oci:" + harness.Dir(t) + "/l:x"
	harness.Must(t, "img-copy", "-q", w.at("tiny"), to)
	mustWhole(t, to, w.Roots["tiny"].Digest)
	fails(t, unauthorised, "img-copy", "-q", to, w.Registry.Ref("mine:1"))
	fails(t, unauthorised, "img-inspect", "--creds="+w.User+":wrong", w.at("tiny"))
	for _, q := range s.Asked() {
		if q.Status == http.StatusOK && (q.Account != "" || q.Proved != "") {
			t.Errorf("asked as %q with %q; want nobody", q.Account, q.Proved)
		}
	}
	holds(t, w.Registry, "mine:1", "")
}

// Whoever logged in with docker at a token service has an identity token in the
// place of the password. It is a secret as the password is.
func TestIdentityToken(t *testing.T) {
	t.Parallel()
	s, w := tokened(t, "v3", harness.TokenOptions{}, sample.Tiny())
	identity := s.RefreshToken()
	helper := fmt.Sprintf("#!/bin/sh\nread -r host\n[ \"$1\" = get ] || exit 1\nprintf '{\"ServerURL\":\"%%s\",\"Username\":\"<token>\",\"Secret\":%q}\\n' \"$host\"\n", identity)
	for name, text := range map[string]string{
		"docker login": `{"auths":{"HOST":{"auth":"MDAwOg==","identitytoken":"` + identity + `"}}}`,
		"bare":         `{"auths":{"HOST":{"identitytoken":"` + identity + `"}}}`,
		"helper":       `{"credHelpers":{"HOST":"token"}}`,
	} {
		n := len(s.Asked())
		home := harness.Dir(t)
		authFile(t, w.Registry, home+"/.docker/config.json", text)
		script(t, home+"/bin/docker-credential-token", helper)
		c := harness.Command{Env: []string{"HOME=" + home, "PATH=" + home + "/bin:/usr/bin:/bin"}}
		to := "oci:" + home + "/l:x"
		r := c.Run(t, "img-copy", "--debug", w.at("tiny"), to)
		if r.Code != 0 {
			t.Errorf("%s: exit %d\n%s", name, r.Code, r.Stderr)
			continue
		}
		mustWhole(t, to, w.Roots["tiny"].Digest)
		if strings.Contains(r.Stdout+r.Stderr, identity) {
			t.Errorf("%s: the output shows the identity token", name)
		}
		for _, q := range s.Asked()[n:] {
			if q.Method != "POST" || q.Grant != "refresh_token" || q.Client == "" || q.Proved != "refresh" {
				t.Errorf("%s: asked %+v; want the identity token used to refresh", name, q)
			}
		}
	}
	home := harness.Dir(t)
	authFile(t, w.Registry, home+"/auth.json", `{"auths":{"HOST":{"identitytoken":"old"}}}`)
	fails(t, unauthorised, "img-inspect", "--authfile="+home+"/auth.json", w.at("tiny"))
}

// shortLife is that of tokens which are to expire while a test looks on: time
// enough to use one, even on a busy machine.
const shortLife = 6 * time.Second

// expire returns when registries no longer take the token of a request.
func expire(q *http.Request) { time.Sleep(time.Until(harness.Expires(q)) + 50*time.Millisecond) }

// Large layers take longer than a token lives. The line is slow and breaks, so
// that the rest is asked for with a token that has expired, and whatever the
// service promised; the layers that follow are too.
func TestTokenExpiresInDownload(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]harness.TokenOptions{
		"as it says":     {Life: shortLife},
		"before it says": {Life: shortLife, Says: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := tokened(t, "v3", o, sample.Tiny())
			var once sync.Once
			way := w.Through(t, func(rw http.ResponseWriter, q *http.Request, pass http.Handler) {
				slow := false
				if strings.Contains(q.URL.Path, "/blobs/") && harness.Expires(q).After(time.Now()) {
					once.Do(func() { slow = true })
				}
				if !slow {
					pass.ServeHTTP(rw, q)
					return
				}
				good := httptest.NewRecorder()
				pass.ServeHTTP(good, q)
				expire(q)
				cut(rw, good.Result(), good.Body.Bytes())
			})
			to := "oci:" + harness.Dir(t) + "/l:x"
			harness.Must(t, "img-copy", "--jobs=1", "--retry-delay=1ms", "--src-creds="+w.User+":"+w.Password, way.Ref("tiny:1"), to)
			mustWhole(t, to, w.Roots["tiny"].Digest)
			if got := len(s.Asked()); got < 2 || got > 4 {
				t.Errorf("%d tokens were asked for; want a second when the first had expired, and few more", got)
			}
		})
	}
}

// On the way up the token expires while a layer is sent, and its end has to be
// said with another one, or the gigabytes before were for nothing.
func TestTokenExpiresInUpload(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v3", "2.8"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s, w := tokened(t, version, harness.TokenOptions{Life: shortLife, Says: 5 * time.Minute}, sample.Big(3<<20))
			var once sync.Once
			var sent, began atomic.Int64
			way := w.Through(t, func(rw http.ResponseWriter, q *http.Request, pass http.Handler) {
				if q.Method == http.MethodPatch || q.Method == http.MethodPut && q.ContentLength > 1<<20 {
					began.Add(1)
					q.Body = &slowBody{ReadCloser: q.Body, wait: func() { once.Do(func() { expire(q) }) }, n: &sent}
				}
				pass.ServeHTTP(rw, q)
			})
			harness.Must(t, "img-copy", "--jobs=1", "--retry-delay=1ms", "--dest-creds="+w.User+":"+w.Password, w.Layout.Ref("big"), way.Ref("up:1"))
			holds(t, w.Registry, "up:1", w.Roots["big"].Digest.String())
			if got := len(s.Asked()); got < 2 || got > 4 {
				t.Errorf("%d tokens were asked for; want a second when the first had expired, and few more", got)
			}
			if sent.Load() > 4<<20 {
				t.Errorf("%d bytes were sent in %d requests; want the layer once", sent.Load(), began.Load())
			}
		})
	}
}

// slowBody calls wait after the first megabyte.
type slowBody struct {
	io.ReadCloser
	wait func()
	n    *atomic.Int64
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.n.Add(int64(n)) > 1<<20 {
		b.wait()
	}
	return n, err
}

// A registry whose clock is wrong, or that has other keys than its token service,
// takes no token at all. That must be said, and soon.
func TestTokenNeverTaken(t *testing.T) {
	t.Parallel()
	s, w := tokened(t, "v3", harness.TokenOptions{Life: -time.Hour, Says: 5 * time.Minute}, sample.Tiny())
	for _, args := range [][]string{
		{"img-inspect", "--creds=" + w.User + ":" + w.Password, w.at("tiny")},
		{"img-copy", "-q", "--src-creds=" + w.User + ":" + w.Password, w.at("tiny"), "oci:" + harness.Dir(t) + "/l:x"},
		{"img-copy", "-q", "--dest-creds=" + w.User + ":" + w.Password, w.Layout.Ref("tiny"), w.Registry.Ref("x:1")},
	} {
		n := len(s.Asked())
		fails(t, unauthorised, args[0], args[1:]...)
		if got := len(s.Asked()) - n; got > 3 {
			t.Errorf("%s: %d tokens were asked for; want it to give up", args[0], got)
		}
	}
}

// A service that is gone for a moment is asked again; the word of one that is
// broken is no token.
func TestTokenServiceFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny())
	const secret = "open sesame"
	for name, x := range map[string]struct {
		answer http.HandlerFunc
		code   int
	}{
		"down":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, network},
		"no JSON":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>"+secret) }, failure},
		"no token":   {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"expires_in":300}`) }, failure},
		"two lines":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token":"a\r\nHost: b"}`) }, failure},
		"forbidden":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, unauthorised},
		"a redirect": {func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "/token", http.StatusFound) }, refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := httptest.NewServer(x.answer)
			defer service.Close()
			way := w.Through(t, func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
				rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, service.URL))
				rw.WriteHeader(http.StatusUnauthorized)
			})
			r := harness.Run(t, nil, "img-inspect", "--retry-times=1", "--retry-delay=1ms", "--creds=ali:"+secret, way.Ref("tiny:1"))
			failed(t, r, x.code, "img-inspect")
			basic := base64.StdEncoding.EncodeToString([]byte("ali:" + secret))
			if strings.Contains(r.Stderr, secret) || strings.Contains(r.Stderr, basic) {
				t.Errorf("%q shows a secret", r.Stderr)
			}
		})
	}
}
