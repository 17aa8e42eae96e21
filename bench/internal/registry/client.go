// Package registry is a minimal client of the OCI distribution-spec: what the
// bound, the seeder and the checker need, with the fewest requests. It never
// asks /v2/ first: it sends the request that it needs and gets a token only
// when it is told to. It has no retries and no credentials, and it is for the
// bench's own registries only.
package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Client speaks to one repository; it is safe for use by many goroutines.
type Client struct {
	Host, Repo string

	scheme string
	http   *http.Client
	scopes []string
	mu     sync.Mutex
	token  string
}

// Transport returns a transport for many transfers at once: several HTTP/1.1
// connections or, with http2, one connection for all.
func Transport(http2 bool) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 64,
		ReadBufferSize:      256 << 10,
		WriteBufferSize:     256 << 10,
		DisableCompression:  true,
		ForceAttemptHTTP2:   http2,
		TLSClientConfig:     &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(64)},
	}
}

// New returns a client for HOST:PORT/REPO that asks for actions ("pull",
// "pull,push") when a token is needed. plain means http.
func New(name, actions string, plain bool, hc *http.Client) *Client {
	host, repo, _ := strings.Cut(name, "/")
	c := &Client{Host: host, Repo: repo, scheme: "https", http: hc}
	if plain {
		c.scheme = "http"
	}
	c.scopes = []string{"repository:" + repo + ":" + actions}
	return c
}

// AlsoPull adds pulling from repo to the scopes asked for, for mounts.
func (c *Client) AlsoPull(repo string) {
	c.scopes = append(c.scopes, "repository:"+repo+":pull")
}

// SplitRef splits HOST/REPO:TAG or HOST/REPO@DIGEST; the tag may be missing.
func SplitRef(s string) (name, ref string) {
	if name, digest, ok := strings.Cut(s, "@"); ok {
		return name, digest
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:]
	}
	return s, "latest"
}

// body gives the body of a request and its length, anew for each try.
type body func() (io.Reader, int64)

// request is one request; target is a path of the registry or a whole URL.
type request struct {
	method, target string
	body           body
	header         http.Header
}

// do sends r, once more with a token if the registry asks for one.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	token := c.current()
	resp, err := c.send(ctx, r, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	challenge := resp.Header.Get("WWW-Authenticate")
	drain(resp)
	if token, err = c.renew(ctx, challenge, token); err != nil {
		return nil, err
	}
	return c.send(ctx, r, token)
}

func (c *Client) send(ctx context.Context, r request, token string) (*http.Response, error) {
	target := r.target
	if !strings.HasPrefix(target, "http") {
		target = c.scheme + "://" + c.Host + target
	}
	var rd io.Reader
	var size int64
	if r.body != nil {
		rd, size = r.body()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, rd)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.ContentLength = size
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.http.Do(req)
}

func (c *Client) current() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// renew gets a token as the challenge says, unless another goroutine has
// replaced the token old meanwhile.
func (c *Client) renew(ctx context.Context, challenge, old string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != old {
		return c.token, nil
	}
	p := parameters(challenge)
	q := url.Values{"service": {p["service"]}, "scope": c.scopes}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p["realm"]+"?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	if err := expect(resp, http.StatusOK); err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var t struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&t); err != nil {
		return "", err
	}
	c.token = t.Token
	return c.token, nil
}

// parameters reads the key="value" pairs of a challenge.
func parameters(challenge string) map[string]string {
	out := map[string]string{}
	_, rest, _ := strings.Cut(challenge, " ")
	for rest != "" {
		key, after, ok := strings.Cut(rest, `="`)
		if !ok {
			break
		}
		value, next, _ := strings.Cut(after, `"`)
		out[strings.Trim(key, ", ")] = value
		rest = next
	}
	return out
}

// expect returns an error with the server's text unless the status is one of
// codes; it closes the body then.
func expect(resp *http.Response, codes ...int) error {
	for _, c := range codes {
		if resp.StatusCode == c {
			return nil
		}
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	return fmt.Errorf("%s %s: %s %s", resp.Request.Method, resp.Request.URL, resp.Status, b)
}

// drain reads what is left of a short body, so that the connection is reused.
func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}
