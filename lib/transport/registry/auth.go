package registry

import (
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxRounds is how often one request is sent again because of its answers 401.
const maxRounds = 4

// An authorizer decides what one side shows the registry. It shows nothing
// until it is asked; from then on, what was asked for. What it returns is for
// the registry's origin only.
type authorizer struct {
	repo   *repository
	asking chan struct{} // held while the credential is asked for

	mu     sync.Mutex
	own    scopeSet    // what the side needs
	scopes scopeSet    // and what the registry, or the other side, adds
	chosen *challenge  // nil: not asked yet
	cred   *Credential // nil: not asked for yet
	token  *bearer
	given  []string // tokens, with those of before: they stay secret
	flight *flight
}

func newAuthorizer(r *repository, own ...scope) *authorizer {
	return &authorizer{repo: r, asking: make(chan struct{}, 1), own: own, scopes: own}
}

// expect makes tokens, from now on, good for another scope too.
func (a *authorizer) expect(s scope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if more, grown := a.scopes.with(s); grown {
		a.scopes, a.token = more, nil
	}
}

// header returns the value of the Authorization header, "" for none. It may
// have to wait for a token, with all others who need it.
func (a *authorizer) header(ctx context.Context) (string, error) {
	a.mu.Lock()
	chosen := a.chosen
	if chosen == nil || chosen.scheme == "basic" || a.repo.o.Token != "" {
		defer a.mu.Unlock()
		return a.current(), nil
	}
	a.mu.Unlock()
	t, err := a.bearer(ctx)
	if err != nil {
		return "", err
	}
	return "Bearer " + t, nil
}

// pending is what current returns while there is no token. Nobody is shown it.
const pending = "Bearer "

// current is what a request would be sent with now. The lock is held.
func (a *authorizer) current() string {
	switch {
	case a.chosen == nil:
		return ""
	case a.chosen.scheme == "basic":
		return basic(*a.cred)
	case a.repo.o.Token != "":
		return "Bearer " + a.repo.o.Token
	case a.token != nil:
		return "Bearer " + a.token.value
	}
	return pending
}

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// accepted notes that the registry did not refuse what it was shown.
func (a *authorizer) accepted(shown string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != nil && shown == "Bearer "+a.token.value {
		a.token.proved = true
	}
}

// challenged takes in that a request that was sent with shown was answered
// 401, and reports whether to send it again: somebody else has something
// newer by now, or the registry named a way or a scope not tried yet, or a
// token that was good is so no more.
func (a *authorizer) challenged(ctx context.Context, list []challenge, shown string, round int) (bool, error) {
	if round > maxRounds {
		return false, nil
	}
	cred, err := a.credential(ctx)
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if shown != a.current() {
		return true, nil
	}
	grown := a.widen(list)
	if a.chosen == nil {
		a.chosen = a.choose(list, cred, "")
		return a.chosen != nil, nil
	}
	if a.chosen.scheme == "bearer" && a.repo.o.Token == "" {
		same := a.choose(list, cred, "basic")
		if same != nil && (grown || a.token.proved) {
			a.chosen, a.token = same, nil
			return true, nil
		}
	}
	other := a.choose(list, cred, a.chosen.scheme)
	if other == nil || round == maxRounds {
		return false, nil
	}
	a.chosen, a.token = other, nil
	return true, nil
}

// widen adds the scopes that bearer challenges name. The lock is held.
func (a *authorizer) widen(list []challenge) bool {
	news := false
	for _, c := range list {
		if c.scheme == "bearer" {
			more, grown := a.scopes.with(parseScopes(c.params["scope"])...)
			a.scopes, news = more, news || grown
		}
	}
	return news
}

// choose returns the first challenge that can be met, but for those of one
// scheme. Without a password, a bearer challenge goes first: its token may be
// had for less.
func (a *authorizer) choose(list []challenge, cred Credential, not string) *challenge {
	var found *challenge
	for i, c := range list {
		usable := c.scheme == "basic" || c.scheme == "bearer" && (c.params["realm"] != "" || a.repo.o.Token != "")
		if !usable || c.scheme == not {
			continue
		}
		prefer := c.scheme == "bearer" && (a.repo.o.Token != "" || cred.IdentityToken != "" || cred.Username+cred.Password == "")
		if found == nil || prefer && found.scheme == "basic" {
			found = &list[i]
		}
	}
	return found
}

// credential asks for the credential, once.
func (a *authorizer) credential(ctx context.Context) (Credential, error) {
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	case <-ctx.Done():
		return Credential{}, context.Cause(ctx)
	}
	a.mu.Lock()
	known := a.cred
	a.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	var c Credential
	if ask := a.repo.o.Credential; ask != nil {
		var err error
		if c, err = ask(ctx, strings.TrimSuffix(a.repo.ref.Name(), "/")); err != nil { // a registry alone has no path
			return Credential{}, err
		}
	}
	a.mu.Lock()
	a.cred = &c
	a.mu.Unlock()
	return c, nil
}

// hide takes out of a server's text what it was shown.
func (a *authorizer) hide(text string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	secrets := append([]string{a.repo.o.Token}, a.given...)
	if a.cred != nil {
		secrets = append(secrets, a.cred.Password, a.cred.IdentityToken, strings.TrimPrefix(basic(*a.cred), "Basic "))
	}
	for _, s := range secrets {
		if len(s) < 3 { // not to be told from what it is part of
			continue
		}
		text = strings.ReplaceAll(text, s, "***")
		text = strings.ReplaceAll(text, url.QueryEscape(s), "***")
	}
	return text
}

// A flight is a token on its way, which all requests wait for.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	scopes  scopeSet
	waiting int
	token   *bearer
	err     error
}

// bearer returns a token for all scopes: the one that is there, unless it is
// about to end, or a new one.
func (a *authorizer) bearer(ctx context.Context) (string, error) {
	for {
		a.mu.Lock()
		if t := a.token; t != nil && time.Now().Before(t.renew) {
			a.mu.Unlock()
			return t.value, nil
		}
		f := a.board(ctx)
		a.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			a.leave(f)
			return "", context.Cause(ctx)
		}
		a.mu.Lock()
		current := f.token != nil && f.token == a.token
		a.mu.Unlock()
		if f.err != nil {
			return "", f.err
		}
		if current {
			return f.token.value, nil
		}
	}
}

// board returns the flight that there is, or a new one. The lock is held.
func (a *authorizer) board(ctx context.Context) *flight {
	if a.flight != nil {
		a.flight.waiting++
		return a.flight
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{done: make(chan struct{}), cancel: cancel, scopes: a.scopes, waiting: 1}
	a.flight = f
	service, cred, needed := *a.chosen, *a.cred, a.own
	go func() {
		defer cancel()
		t, err := a.fetch(own, service, cred, f.scopes, needed)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.flight == f {
			a.flight = nil
			if t != nil && slices.Equal(f.scopes.strings(), a.scopes.strings()) {
				a.token, a.given = t, append(a.given, t.value)
			}
		}
		f.token, f.err = t, err
		close(f.done)
	}()
	return f
}

// leave ends a flight that nobody waits for any more.
func (a *authorizer) leave(f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.cancel()
	if a.flight == f {
		a.flight = nil
	}
}
