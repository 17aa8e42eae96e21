package harness

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// TokenOptions says how a token service behaves. The zero value gives the one
// user whatever is asked for, and nobody else anything, for an hour.
type TokenOptions struct {
	Life      time.Duration // how long a registry takes a token, in seconds; 0 is an hour
	Says      time.Duration // what expires_in says; 0 says Life
	Anonymous bool          // who gives no name may pull
}

// A TokenService is what registries send their clients to for a token, as in
// the token authentication specification of the distribution project, with its
// OAuth2 part. It knows the user of Registry.User, by password and by the
// refresh tokens that it gave.
type TokenService struct {
	URL string // that clients are sent to, the realm

	o       TokenOptions
	pki     *pki
	mu      sync.Mutex
	asked   []TokenRequest
	refresh map[string]bool
	issued  int
}

// A TokenRequest is what a token service was asked.
type TokenRequest struct {
	Method  string
	Grant   string   // grant_type, with POST
	Account string   // that a token is for, as the client says
	Scopes  []string // sorted, one for each repository and action: "repository:a/b:pull"
	Client  string   // client_id
	Proved  string   // "password", "refresh", or "" for nobody
	Status  int      // of the answer
}

// The one user of what has a password, as htpasswd -B writes it.
const (
	registryUser     = "ali"
	registryPassword = "open sesame"
	registryHtpasswd = "ali:$2a$04$EnTn/a.Z2Kx5q8.gnOWHFO0LW.9KwHL2PmYUSV8J1fl1D75Zu5ZoC\n"
)

// What registries and their token service have to agree on.
const (
	tokenIssuer  = "test issuer"
	tokenService = "test registry"
	tokenLeeway  = time.Minute // for which registries take a token that has expired
)

// StartTokens starts a token service that ends with the test.
func StartTokens(t T, o TokenOptions) *TokenService {
	t.Helper()
	if o.Life == 0 {
		o.Life = time.Hour
	}
	if o.Says == 0 {
		o.Says = o.Life
	}
	p, err := newPKI()
	if err != nil {
		t.Fatalf("%v", err)
	}
	s := &TokenService{o: o, pki: p, refresh: map[string]bool{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL + "/token"
	return s
}

// RefreshToken returns a token that the service takes in the password's place.
func (s *TokenService) RefreshToken() string {
	token := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh[token] = true
	return token
}

// Asked returns what the service was asked so far.
func (s *TokenService) Asked() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// config is the part of a registry's configuration that sends clients here.
func (s *TokenService) config(t T, dir string) string {
	t.Helper()
	roots := filepath.Join(dir, "tokens.pem")
	write(t, roots, s.pki.authority)
	return fmt.Sprintf("auth:\n  token: {realm: %q, service: %q, issuer: %q, rootcertbundle: %q}\n",
		s.URL, tokenService, tokenIssuer, roots)
}

// ServeHTTP gives tokens.
func (s *TokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.URL.Path != "/token" {
		http.Error(w, "no such thing", http.StatusNotFound)
		return
	}
	q := TokenRequest{
		Method: r.Method, Grant: r.PostForm.Get("grant_type"), Account: r.Form.Get("account"),
		Client: r.Form.Get("client_id"), Status: http.StatusOK, Scopes: scopes(r.Form["scope"]),
	}
	known := s.identify(r, &q)
	if r.Form.Get("service") != tokenService {
		q.Status = http.StatusBadRequest
	} else if !known {
		q.Status = http.StatusUnauthorized
	}
	s.mu.Lock()
	s.asked = append(s.asked, q)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if q.Status != http.StatusOK {
		w.WriteHeader(q.Status)
		fmt.Fprintln(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`)
		return
	}
	granted := q.Scopes
	if q.Proved == "" {
		granted = slices.DeleteFunc(slices.Clone(granted), func(s string) bool { return !strings.HasSuffix(s, ":pull") })
	}
	token, err := s.mint(granted, s.o.Life)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer := map[string]any{"expires_in": int(s.o.Says.Seconds()), "issued_at": time.Now().UTC().Format(time.RFC3339)}
	answer[map[string]string{"GET": "token", "POST": "access_token"}[r.Method]] = token
	if r.Form.Get("offline_token") == "true" || r.PostForm.Get("access_type") == "offline" {
		answer["refresh_token"] = s.RefreshToken()
	}
	json.NewEncoder(w).Encode(answer)
}

// identify finds out who asks, and whether that one may be given anything.
func (s *TokenService) identify(r *http.Request, q *TokenRequest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, given := r.BasicAuth()
	switch {
	case q.Grant == "refresh_token":
		given = true
		if s.refresh[r.PostForm.Get("refresh_token")] {
			q.Proved = "refresh"
		}
	case q.Grant == "password":
		given, user, password = true, r.PostForm.Get("username"), r.PostForm.Get("password")
	}
	if q.Proved == "" && given && user == registryUser && password == registryPassword {
		q.Proved = "password"
	}
	return q.Proved != "" || !given && s.o.Anonymous
}

// scopes splits "repository:a/b:pull,push" so that each part has one action.
func scopes(params []string) []string {
	set := map[string]bool{}
	for _, scope := range strings.Fields(strings.Join(params, " ")) {
		i := strings.LastIndex(scope, ":")
		for action := range strings.SplitSeq(scope[i+1:], ",") {
			set[scope[:i+1]+action] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// mint makes a token (RFC 7519) for the scopes that a registry takes for life.
func (s *TokenService) mint(scopes []string, life time.Duration) (string, error) {
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	granted := []access{}
	for _, scope := range scopes {
		kind, rest, _ := strings.Cut(scope, ":")
		i := strings.LastIndex(rest, ":")
		if i < 0 {
			continue
		}
		granted = append(granted, access{kind, rest[:i], []string{rest[i+1:]}})
	}
	s.mu.Lock()
	s.issued++
	id := fmt.Sprint(s.issued)
	s.mu.Unlock()
	now := time.Now()
	return s.sign(map[string]any{
		"iss": tokenIssuer, "sub": registryUser, "aud": tokenService, "jti": id,
		"exp": now.Add(life - tokenLeeway).Unix(), "nbf": now.Add(-time.Hour).Unix(), "iat": now.Unix(),
		"access": granted,
	})
}

// sign makes a JSON web token of the claims (RFC 7515, ES256).
func (s *TokenService) sign(claims map[string]any) (string, error) {
	certificate, key, err := s.pki.leaf()
	if err != nil {
		return "", err
	}
	header := map[string]any{"typ": "JWT", "alg": "ES256", "x5c": [][]byte{certificate.Raw}}
	var parts []string
	for _, v := range []map[string]any{header, claims} {
		b, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	text := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(text))
	r, ss, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	ss.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Expires returns when registries stop to take the bearer token of a request;
// never, the zero time, if it has none.
func Expires(r *http.Request) time.Time {
	parts := strings.Split(r.Header.Get("Authorization"), ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	var claims struct{ Exp int64 }
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0).Add(tokenLeeway)
}

// leaf returns the certificate and its key.
func (p *pki) leaf() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	c, err := x509.ParseCertificate(decodePEM(p.certificate))
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(decodePEM(p.key))
	if err != nil {
		return nil, nil, err
	}
	return c, key.(*ecdsa.PrivateKey), nil
}
