package registrytest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An AuthScheme is how a registry knows who calls.
type AuthScheme int

const (
	Open   AuthScheme = iota // everybody may do everything
	Basic                    // user and password with each request
	Bearer                   // a token for each repository, from a token service
)

// Auth says who may do what. A Bearer registry has the token service that the
// distribution project's "Token Authentication" describes, at /token.
type Auth struct {
	Scheme   AuthScheme
	Users    map[string]string // passwords
	Identity map[string]string // users, by the identity token (refresh token) that stands for them

	// Allow says whether a user may do something to a repository: "pull",
	// "push", "delete" or "*". Who gave no name is the user "". If it is
	// nil, users may do everything and others nothing.
	Allow func(user, repo, action string) bool

	Lifetime time.Duration // of a token; 0: five minutes
	Server   string        // the origin of the token service; "": that of the registry
}

const (
	tokenPath       = "/token"
	service         = "registrytest"
	defaultLifetime = 5 * time.Minute
)

// A token lets its bearer do what is in scopes, until it expires.
type token struct {
	user    string
	scopes  []scope
	expires time.Time
}

// A scope is one action on one resource, of the form
// "repository:NAME:ACTION" that token services use.
type scope struct{ resource, action string }

// parseScopes reads a list of scopes, with spaces between, each of which may
// have several actions.
func parseScopes(s string) []scope {
	var list []scope
	for word := range strings.FieldsSeq(s) {
		i := strings.LastIndexByte(word, ':')
		if i < 0 || !strings.Contains(word[:i], ":") {
			continue
		}
		for action := range strings.SplitSeq(word[i+1:], ",") {
			list = append(list, scope{word[:i], action})
		}
	}
	return list
}

// formatScopes is the opposite of parseScopes.
func formatScopes(list []scope) string {
	var words []string
	actions := map[string][]string{}
	for _, s := range list {
		if actions[s.resource] == nil {
			words = append(words, s.resource)
		}
		actions[s.resource] = append(actions[s.resource], s.action)
	}
	for i, w := range words {
		words[i] = w + ":" + strings.Join(actions[w], ",")
	}
	return strings.Join(words, " ")
}

// needs returns what the caller must be allowed to do. Who mounts a blob
// reads it in one repository and writes it in another.
func (c *call) needs() []scope {
	repo := "repository:" + c.to.repo
	switch {
	case c.to.kind == kindPing:
		return nil
	case c.to.kind == kindCatalog:
		return []scope{{"registry:catalog", "*"}}
	case c.q.Method == http.MethodDelete && c.to.kind != kindUpload:
		return []scope{{repo, "delete"}}
	case c.q.Method == http.MethodGet && c.to.kind != kindUpload, c.q.Method == http.MethodHead:
		return []scope{{repo, "pull"}}
	}
	list := []scope{{repo, "pull"}, {repo, "push"}}
	if from := c.q.URL.Query().Get("from"); from != "" && c.to.kind == kindUploads {
		list = append(list, scope{"repository:" + from, "pull"})
	}
	return list
}

// authorize reports whether the caller may do this. If not, it has been told
// how to ask: RFC 9110, section 11, and RFC 6750, section 3.
func (c *call) authorize() bool {
	switch c.o.Auth.Scheme {
	case Basic:
		return c.authorizeBasic()
	case Bearer:
		return c.authorizeBearer()
	}
	return true
}

func (c *call) authorizeBasic() bool {
	user, password, _ := c.q.BasicAuth()
	if !c.o.Auth.knows(user, password) {
		c.w.Header().Set("WWW-Authenticate", `Basic realm="`+service+`"`)
		refuse(c.w, http.StatusUnauthorized, codeUnauthorized, "authentication required")
		return false
	}
	for _, s := range c.needs() {
		if !c.o.Auth.allows(user, s) {
			refuse(c.w, http.StatusForbidden, codeDenied, "requested access to the resource is denied")
			return false
		}
	}
	return true
}

func (c *call) authorizeBearer() bool {
	need := c.needs()
	challenge := fmt.Sprintf(`Bearer realm="%s",service="%s"`, c.realm(), service)
	if len(need) > 0 {
		challenge += fmt.Sprintf(`,scope="%s"`, formatScopes(need))
	}
	kind, value, _ := strings.Cut(c.q.Header.Get("Authorization"), " ")
	if strings.EqualFold(kind, "Bearer") {
		t, good := c.token(value)
		if good && holds(t.scopes, need) {
			return true
		}
		challenge += map[bool]string{false: `,error="invalid_token"`, true: `,error="insufficient_scope"`}[good]
	}
	c.w.Header().Set("WWW-Authenticate", challenge)
	refuse(c.w, http.StatusUnauthorized, codeUnauthorized, "authentication required")
	return false
}

// token returns what a token stands for, if it has not expired.
func (c *call) token(value string) (token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.tokens[value]
	return t, ok && c.o.Clock().Before(t.expires)
}

// realm is the URL of the token service.
func (c *call) realm() string {
	if at := c.URL(c.o.Auth.Server); at != "" {
		return at + tokenPath
	}
	return base(c.q) + tokenPath
}

// holds reports whether all that is needed is among what one has.
func holds(have, need []scope) bool {
	for _, n := range need {
		if !slices.Contains(have, n) && !slices.Contains(have, scope{n.resource, "*"}) {
			return false
		}
	}
	return true
}

func (a *Auth) knows(user, password string) bool {
	want, ok := a.Users[user]
	return ok && want == password
}

func (a *Auth) allows(user string, s scope) bool {
	repo, ok := strings.CutPrefix(s.resource, "repository:")
	if a.Allow != nil && ok {
		return a.Allow(user, repo, s.action)
	}
	return user != ""
}

// getToken gives a token for those of the scopes asked for that the caller
// may have. Who may have none gets a token that is good for nothing.
func (c *call) getToken() {
	user, password, named := c.q.BasicAuth()
	if named && !c.o.Auth.knows(user, password) {
		refuse(c.w, http.StatusUnauthorized, codeUnauthorized, "incorrect username or password")
		return
	}
	form := c.q.URL.Query()
	t := c.grant(user, form["scope"])
	if form.Get("offline_token") == "true" {
		t.Refresh = c.identity(user)
	}
	t.Token = t.Access
	writeJSON(c.w, http.StatusOK, t)
}

// postToken is getToken as OAuth2 has it (RFC 6749, section 6), for those who
// have an identity token in place of a password.
func (c *call) postToken() {
	c.q.Body = http.MaxBytesReader(c.w, c.q.Body, 64<<10)
	if err := c.q.ParseForm(); err != nil {
		refuse(c.w, http.StatusBadRequest, codeUnsupported, err.Error())
		return
	}
	form := c.q.PostForm
	user, ok := form.Get("username"), false
	switch form.Get("grant_type") {
	case "refresh_token":
		user, ok = c.o.Auth.Identity[form.Get("refresh_token")]
	case "password":
		ok = c.o.Auth.knows(user, form.Get("password"))
	}
	if !ok {
		refuse(c.w, http.StatusUnauthorized, codeUnauthorized, "incorrect username or password")
		return
	}
	t := c.grant(user, form["scope"])
	t.Scope, t.Refresh = strings.Join(form["scope"], " "), form.Get("refresh_token")
	writeJSON(c.w, http.StatusOK, t)
}

// tokenAnswer is what the token service says.
type tokenAnswer struct {
	Token   string `json:"token,omitempty"`
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token,omitempty"`
	Scope   string `json:"scope,omitempty"`
	Expires int    `json:"expires_in"` // seconds
	Issued  string `json:"issued_at"`
}

// grant makes a token.
func (c *call) grant(user string, scopes []string) *tokenAnswer {
	now := c.o.Clock()
	t := token{user: user, expires: now.Add(c.o.Auth.Lifetime)}
	for _, s := range parseScopes(strings.Join(scopes, " ")) {
		if c.o.Auth.allows(user, s) {
			t.scopes = append(t.scopes, s)
		}
	}
	value := rand.Text()
	c.mu.Lock()
	c.tokens[value] = t
	c.mu.Unlock()
	return &tokenAnswer{
		Access:  value,
		Expires: int(c.o.Auth.Lifetime / time.Second),
		Issued:  now.UTC().Format(time.RFC3339),
	}
}

// identity returns an identity token of a user, "" if there is none.
func (c *call) identity(user string) string {
	for value, of := range c.o.Auth.Identity {
		if of == user && user != "" {
			return value
		}
	}
	return ""
}
