package registrytest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func basicAuth(a Auth) Auth {
	a.Scheme = Basic
	a.Users = map[string]string{"ali": "sesame"}
	return a
}

func bearer(a Auth) Auth {
	a.Scheme = Bearer
	a.Users = map[string]string{"ali": "sesame"}
	return a
}

const (
	aliBasic   = "Basic YWxpOnNlc2FtZQ=="
	wrongBasic = "Basic YWxpOndyb25n"
)

func TestBasic(t *testing.T) {
	s, _ := seed(t, Options{Auth: basicAuth(Auth{Allow: func(_, _, action string) bool { return action == "pull" }})})
	at := s.URL(Main) + "/v2/a/b/manifests/1"
	for _, headers := range [][]string{nil, {"Authorization", wrongBasic}, {"Authorization", "Bearer x"}} {
		r := do(t, "GET", at, "", headers...).want(t, 401)
		if got, want := r.Header.Get("WWW-Authenticate"), `Basic realm="registrytest"`; got != want {
			t.Errorf("challenge is %q; want %q", got, want)
		}
	}
	do(t, "GET", at, "", "Authorization", aliBasic).want(t, 200)
	do(t, "GET", s.URL(Main)+"/v2/", "", "Authorization", aliBasic).want(t, 200)
	do(t, "POST", s.URL(Main)+"/v2/a/b/blobs/uploads/", "", "Authorization", aliBasic).want(t, 403)
}

// tokenFrom asks the token service that a challenge names.
func tokenFrom(t *testing.T, challenge string, headers ...string) string {
	t.Helper()
	words := strings.Split(challenge, `"`) // Bearer realm="…",service="…",scope="…"
	query := url.Values{"service": {words[3]}}
	if len(words) > 5 {
		query["scope"] = strings.Fields(words[5])
	}
	return tokenOf(t, do(t, "GET", words[1]+"?"+query.Encode(), "", headers...).want(t, 200))
}

func tokenOf(t *testing.T, r result) string {
	t.Helper()
	var a tokenAnswer
	if err := json.Unmarshal(r.body, &a); err != nil || a.Access == "" {
		t.Fatalf("token answer is %s (%v); want a token", r.body, err)
	}
	return a.Access
}

func TestBearer(t *testing.T) {
	var now atomic.Int64
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	s, c := seed(t, Options{Clock: clock, Auth: bearer(Auth{
		Lifetime: time.Minute,
		Allow: func(user, repo, action string) bool {
			return user == "ali" && repo == "a/b" || action == "pull"
		},
	})})
	manifest := s.URL(Main) + "/v2/a/b/manifests/1"
	uploads := s.URL(Main) + "/v2/a/b/blobs/uploads/"

	r := do(t, "GET", manifest, "").want(t, 401)
	want := `Bearer realm="` + s.URL(Main) + `/token",service="registrytest",scope="repository:a/b:pull"`
	if got := r.Header.Get("WWW-Authenticate"); got != want {
		t.Fatalf("challenge is %q; want %q", got, want)
	}
	anonymous := tokenFrom(t, want)
	do(t, "GET", manifest, "", "Authorization", "Bearer "+anonymous).want(t, 200)
	do(t, "GET", manifest, "", "Authorization", "bearer "+anonymous).want(t, 200)
	do(t, "GET", s.URL(Main)+"/v2/", "", "Authorization", "Bearer "+anonymous).want(t, 200)
	do(t, "GET", s.URL(Main)+"/v2/", "").want(t, 401)

	// A token is good for what it was given for, and nothing else.
	r = do(t, "POST", uploads, "", "Authorization", "Bearer "+anonymous).want(t, 401)
	challenge := r.Header.Get("WWW-Authenticate")
	if !strings.Contains(challenge, `scope="repository:a/b:pull,push"`) || !strings.Contains(challenge, `error="insufficient_scope"`) {
		t.Errorf("challenge is %q; want the scope that is missing", challenge)
	}
	do(t, "POST", uploads, "", "Authorization", "Bearer "+tokenFrom(t, challenge)).want(t, 401) // nobody may push
	ali := tokenFrom(t, challenge, "Authorization", aliBasic)
	do(t, "POST", uploads, "", "Authorization", "Bearer "+ali).want(t, 202)
	do(t, "GET", s.URL(Main)+"/v2/other/manifests/1", "", "Authorization", "Bearer "+ali).want(t, 401)

	// To mount is to read the other repository.
	d, _ := layerOf(c)
	r = do(t, "POST", uploads+"?mount="+d.String()+"&from=x", "", "Authorization", "Bearer "+ali).want(t, 401)
	if got := r.Header.Get("WWW-Authenticate"); !strings.Contains(got, `scope="repository:a/b:pull,push repository:x:pull"`) {
		t.Errorf("challenge of a mount is %q; want both scopes", got)
	}

	now.Store(59)
	do(t, "GET", manifest, "", "Authorization", "Bearer "+ali).want(t, 200)
	now.Store(60)
	r = do(t, "GET", manifest, "", "Authorization", "Bearer "+ali).want(t, 401)
	if got := r.Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
		t.Errorf("challenge of an expired token is %q; want invalid_token", got)
	}
}

func TestTokenService(t *testing.T) {
	s, _ := seed(t, Options{Auth: bearer(Auth{Identity: map[string]string{"identity": "ali"}, Server: "auth"})})
	service := s.Open("auth") + "/token"
	if got := do(t, "GET", s.URL(Main)+"/v2/", "").want(t, 401).Header.Get("WWW-Authenticate"); !strings.Contains(got, `realm="`+service+`"`) {
		t.Errorf("challenge is %q; want the realm %s", got, service)
	}
	do(t, "GET", service, "", "Authorization", wrongBasic).want(t, 401)

	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"identity"}, "scope": {"repository:a/b:pull"}}
	post := func(form url.Values) result {
		return do(t, "POST", service, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	manifest := s.URL(Main) + "/v2/a/b/manifests/1"
	do(t, "GET", manifest, "", "Authorization", "Bearer "+tokenOf(t, post(form).want(t, 200))).want(t, 200)
	form.Set("refresh_token", "other")
	post(form).want(t, 401)
	form = url.Values{"grant_type": {"password"}, "username": {"ali"}, "password": {"sesame"}, "scope": {"repository:a/b:pull"}}
	do(t, "GET", manifest, "", "Authorization", "Bearer "+tokenOf(t, post(form).want(t, 200))).want(t, 200)
	form.Set("password", "wrong")
	post(form).want(t, 401)

	r := do(t, "GET", service+"?offline_token=true", "", "Authorization", aliBasic).want(t, 200)
	if !strings.Contains(string(r.body), `"refresh_token":"identity"`) {
		t.Errorf("answer with offline_token is %s; want the identity token", r.body)
	}
}

// Only the registry asks who calls; who was sent elsewhere need not tell.
func TestOtherOriginsAreOpen(t *testing.T) {
	s, c := seed(t, Options{Auth: bearer(Auth{})})
	d, _ := layerOf(c)
	do(t, "GET", s.Open("cdn")+"/v2/a/b/blobs/"+d.String(), "").want(t, 200)
}

func FuzzScopes(f *testing.F) {
	f.Add("repository:a/b:pull,push repository:host:5000/c:pull")
	f.Add("registry:catalog:*")
	f.Add("a:b ::")
	f.Fuzz(func(t *testing.T, s string) {
		list := parseScopes(s)
		again := parseScopes(formatScopes(list))
		// What a token may do does not depend on how often it is written.
		for _, sc := range list {
			if !slices.Contains(again, sc) {
				t.Errorf("%q: %v is lost in %q", s, sc, formatScopes(list))
			}
		}
	})
}
