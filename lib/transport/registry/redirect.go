package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxRedirects is how often one request may be sent elsewhere.
const maxRedirects = 5

// A request is something to be asked of the registry, or of whoever it names.
// It may be sent several times, unless it has a body that is read but once.
type request struct {
	method string
	path   string // at the registry; or
	query  string
	url    *url.URL // anywhere

	header   http.Header   // may go wherever the request goes
	memory   []byte        // a body that can be sent again; or
	body     *body         // one that can be sent once
	secret   bool          // the body is for the first origin only
	stranger bool          // never shown anything, wherever it goes
	slow     time.Duration // more than the usual, for the answer
}

// A response is an answer, and whether it came from where the request was
// sent first.
type response struct {
	*http.Response
	left bool
}

// discard reads the rest of a short answer, so that its connection can be
// used again, and closes it.
func (r *response) discard() {
	io.CopyN(io.Discard, r.Body, maxErrorBody) // the answer has been understood: nothing hangs on the rest
	r.Body.Close()
}

// follow sends a request, and sends it on where it is redirected to. auth is
// shown to the origin that the request goes to first, and to nobody else;
// once away, it does not come back either (CVE-2023-45289, CVE-2024-45336).
func (m *remote) follow(ctx context.Context, req *request, auth string) (*response, error) {
	resp, err := m.first(ctx, req, auth)
	if err != nil {
		return nil, err
	}
	out := &response{Response: resp}
	start := originOf(resp.Request.URL)
	for hop := 0; ; hop++ {
		if !redirects(req, out.Response) {
			return out, nil
		}
		at := out.Request.URL
		next, err := m.resolve(at, out.Header.Get("Location"))
		if err == nil && hop == maxRedirects {
			err = refuse("%s redirects more than %d times", bare(at), maxRedirects)
		}
		out.left = out.left || err == nil && originOf(next) != start
		if err == nil && out.left && req.secret {
			err = refuse("%s redirects a request that holds a secret to %s", bare(at), bare(next))
		}
		out.discard()
		if err != nil {
			return nil, err
		}
		if out.left {
			auth = ""
		}
		if out.Response, err = m.exchange(ctx, req, next, auth); err != nil {
			return nil, err
		}
	}
}

func (m *remote) first(ctx context.Context, req *request, auth string) (*http.Response, error) {
	if req.url != nil {
		return m.exchange(ctx, req, req.url, auth)
	}
	return m.atHome(ctx, func(scheme string) (*http.Response, error) {
		return m.exchange(ctx, req, &url.URL{Scheme: scheme, Host: m.name, Path: req.path, RawQuery: req.query}, auth)
	})
}

// redirects reports whether the answer sends the request elsewhere and the
// request can be sent again as it is. 301, 302 and 303 turn anything but GET
// and HEAD into a GET, which is of no use here: they are answers like others.
func redirects(req *request, resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		return req.method == http.MethodGet || req.method == http.MethodHead
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return req.body == nil
	}
	return false
}

// resolve makes a URL of what a server at some URL called a location. It is
// the gate for every URL that a server chose: http or https, never from https
// to http, no user information, and no address that we may not be sent to.
// Where plain HTTP is named, but the host is the registry itself and speaks
// TLS, it is taken for a proxy's mistake, and TLS is kept.
func (m *remote) resolve(at *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, refuse("%s gives a location that is not a URL", bare(at))
	}
	u := at.ResolveReference(ref)
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	if u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, refuse("%s gives a location that is neither http nor https", bare(at))
	}
	home := m.base()
	if u.Scheme == "http" && home.scheme == "https" && home.host == originOf(u).host && (u.Port() == "" || u.Port() == "80" || u.Port() == home.port) {
		u.Scheme, u.Host = home.scheme, m.name
	}
	if at.Scheme == "https" && u.Scheme == "http" {
		return nil, refuse("%s leads from https to %s", bare(at), bare(u))
	}
	if originOf(u) == home {
		return u, nil
	}
	return u, m.guard.checkName(u)
}
