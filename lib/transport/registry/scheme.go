package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// allowsHTTP reports whether a registry may be spoken to without TLS, as
// --tls-verify and its own name have it.
func allowsHTTP(v TLSVerify, name string) bool {
	u := url.URL{Host: name}
	return v == Never || v == Unset && isLoopbackName(u.Hostname())
}

// base returns the origin of the registry, the zero one while it is not known.
func (m *remote) base() origin {
	if o := m.origin.Load(); o != nil {
		return *o
	}
	return origin{}
}

func (m *remote) originWith(scheme string) origin {
	return originOf(&url.URL{Scheme: scheme, Host: m.name})
}

// same reports whether two remotes are the same registry.
func (m *remote) same(o *remote) bool {
	return m.originWith("https") == o.originWith("https")
}

// isHome reports whether a URL is the registry's own.
func (m *remote) isHome(u *url.URL) bool {
	if o := m.base(); o.scheme != "" {
		return originOf(u) == o
	}
	return originOf(u) == m.originWith(u.Scheme)
}

// atHome runs an exchange with the registry itself, with the scheme that it
// speaks. Where that may be plain HTTP, the first exchange finds out: HTTPS
// comes first, and HTTP if there is no TLS on the other side. What was found
// stays, so that nobody can talk us out of TLS later.
func (m *remote) atHome(ctx context.Context, exchange func(scheme string) (*http.Response, error)) (*http.Response, error) {
	if o := m.base(); o.scheme != "" {
		return exchange(o.scheme)
	}
	select {
	case m.probing <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if o := m.base(); o.scheme != "" {
		<-m.probing
		return exchange(o.scheme)
	}
	defer func() { <-m.probing }()
	scheme, resp, err := m.probe(ctx, exchange)
	if err == nil {
		o := m.originWith(scheme)
		m.origin.Store(&o)
	}
	return resp, err
}

// probe runs an exchange, and returns the scheme that it worked with.
func (m *remote) probe(ctx context.Context, exchange func(scheme string) (*http.Response, error)) (string, *http.Response, error) {
	const secure, plain = "https", "http"
	resp, err := exchange(secure)
	if err == nil || !m.plain || ctx.Err() != nil {
		return secure, resp, err
	}
	if hungUp(err) { // once may be an accident
		if resp, err = exchange(secure); err == nil || ctx.Err() != nil {
			return secure, resp, err
		}
	}
	if !hungUp(err) && !m.lacksTLS(err) {
		return "", nil, err
	}
	resp, failed := exchange(plain)
	if failed == nil && hungUp(err) && resp.StatusCode == http.StatusBadRequest {
		resp.Body.Close() // so they say who want TLS and do not get it
		return "", nil, err
	}
	return plain, resp, failed
}

// hungUp reports whether an attempt to speak TLS ended without a word.
func hungUp(err error) bool {
	var failed *netError
	if errors.As(err, &failed) && failed.secure {
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// lacksTLS reports whether an attempt to speak TLS failed because nobody
// speaks it there.
func (m *remote) lacksTLS(err error) bool {
	var header tls.RecordHeaderError
	var failed *netError
	switch {
	case errors.As(err, &failed) && failed.secure:
		return false
	case errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return true
	case errors.Is(err, syscall.ECONNREFUSED):
		_, _, err := net.SplitHostPort(m.name)
		return err != nil // no port in the name: HTTP has another one
	}
	return false
}
