package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imgtools/imgtools/lib/blob"
)

const (
	maxToken     = 1 << 20          // bytes of a token service's answer
	minTokenLife = 60 * time.Second // of a new one, whatever the service says
	minTokenUse  = 10 * time.Second
	clientID     = "imgtools"
	requesting   = "Requesting bearer token" // the text that scripts know
)

// A bearer is a token of a token service.
type bearer struct {
	value  string
	renew  time.Time // when to have another one
	proved bool      // the registry took it
}

// fetch asks the token service of a challenge for a token (the distribution
// project's token authentication specification; with an identity token, its
// OAuth2 one). A service that does not give one for all scopes is asked for
// those that are needed.
func (a *authorizer) fetch(ctx context.Context, c challenge, cred Credential, scopes, needed scopeSet) (*bearer, error) {
	realm, err := a.repo.remote.realm(c.params["realm"])
	if err != nil {
		return nil, err
	}
	t, err := a.fetchFor(ctx, realm, c.params["service"], cred, scopes)
	var answer *Error
	if errors.As(err, &answer) && len(scopes) > len(needed) {
		switch answer.Status {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
			t, err = a.fetchFor(ctx, realm, c.params["service"], cred, needed)
		}
	}
	return t, err
}

func (a *authorizer) fetchFor(ctx context.Context, realm *url.URL, service string, cred Credential, scopes scopeSet) (*bearer, error) {
	req, auth := tokenRequest(realm, service, cred, scopes)
	resp, err := a.repo.remote.follow(ctx, req, auth)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", requesting, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, tokenError(a.repo.remote.errorOf(resp, a.hide))
	}
	defer resp.discard()
	b, err := blob.ReadLimited(resp.Body, maxToken)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", requesting, err)
	}
	return parseToken(b, resp.Header, time.Now())
}

// tokenRequest returns the request for a token, and what is shown with it.
func tokenRequest(realm *url.URL, service string, cred Credential, scopes scopeSet) (*request, string) {
	if cred.IdentityToken != "" {
		form := url.Values{
			"grant_type":    {"refresh_token"},
			"refresh_token": {cred.IdentityToken},
			"client_id":     {clientID},
			"service":       {service},
		}
		if len(scopes) > 0 {
			form.Set("scope", strings.Join(scopes.strings(), " "))
		}
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		return &request{method: http.MethodPost, url: realm, header: h, memory: []byte(form.Encode()), secret: true}, ""
	}
	u := *realm
	q := url.Values{"scope": scopes.strings()}
	if service != "" {
		q.Set("service", service)
	}
	if cred.Username != "" {
		q.Set("account", cred.Username)
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += q.Encode()
	auth := ""
	if cred.Username != "" && cred.Password != "" {
		auth = basic(cred)
	}
	return &request{method: http.MethodGet, url: &u}, auth
}

func tokenError(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	e.token = true
	switch e.Status {
	case http.StatusUnauthorized:
		return fmt.Errorf("unable to retrieve auth token: invalid username/password: %w", err)
	case http.StatusTooManyRequests:
		return fmt.Errorf("too many requests to registry: %w", err)
	}
	return fmt.Errorf("%s: %w", requesting, err)
}

// realm is the gate for the URL of a token service, which is going to see the
// credential: HTTPS or, for a registry that speaks plain HTTP itself, that on
// the same host.
func (m *remote) realm(text string) (*url.URL, error) {
	home := m.base()
	u, err := m.resolve(&url.URL{Scheme: home.scheme, Host: m.name, Path: "/v2/"}, text)
	if err != nil {
		return nil, fmt.Errorf("token service: %w", err)
	}
	own := originOf(u).host == home.host || isLoopbackName(u.Hostname()) && isLoopbackName(home.host)
	if u.Scheme != "https" && !own {
		return nil, fmt.Errorf("token service: %w", refuse("%s is not https", bare(u)))
	}
	return u, nil
}

// parseToken reads a token service's answer. How long a token lives is
// reckoned by the service's own clock, as far as that can be known.
func parseToken(b []byte, h http.Header, now time.Time) (*bearer, error) {
	var doc struct {
		Token       string      `json:"token"`
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
		IssuedAt    any         `json:"issued_at"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, errors.New("the token service's answer is not what it should be") // what it is may hold a token
	}
	value := doc.Token
	if value == "" {
		value = doc.AccessToken
	}
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token service's answer holds no usable token")
	}
	life := minTokenLife
	if n, err := doc.ExpiresIn.Float64(); err == nil && n < 1e9 {
		life = max(life, time.Duration(n)*time.Second)
	}
	life = max(life-age(doc.IssuedAt, h.Get("Date")), minTokenUse)
	return &bearer{value: value, renew: now.Add(life - min(life/10, time.Minute))}, nil
}

// age is how old a token was when it was sent, by the clock of the service.
func age(issued any, date string) time.Duration {
	s, _ := issued.(string)
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	return max(0, now.Sub(at))
}
