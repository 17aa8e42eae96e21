package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
)

// A route is what is known of the way that a request will take.
type route struct {
	proxied atomic.Bool
	secure  atomic.Bool // TLS is spoken to the proxy
}

type routeKey struct{}

// via returns a transport's Proxy, which notes whether a request takes one.
// With a proxy that speaks TLS, dial does so itself: net/http would show it
// the certificates that are for the registry.
func via(find func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		u, err := find(r)
		if err != nil { // it would quote the setting, which may hold a password
			return nil, errors.New("the proxy that the environment names is not a valid URL")
		}
		way, ok := r.Context().Value(routeKey{}).(*route)
		if u == nil || !ok {
			return u, nil
		}
		way.proxied.Store(true)
		if u.Scheme != "https" {
			return u, nil
		}
		way.secure.Store(true)
		plain := *u
		plain.Scheme = "http"
		if u.Port() == "" {
			plain.Host = net.JoinHostPort(u.Hostname(), "443")
		}
		return &plain, nil
	}
}

// wayOf returns what is known of a request's way. The zero route leads to its
// host.
func wayOf(ctx context.Context) *route {
	if way, ok := ctx.Value(routeKey{}).(*route); ok {
		return way
	}
	return new(route)
}

func (m *remote) dialHome(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := m.dial(ctx, network, addr, nil)
	if err == nil && !wayOf(ctx).proxied.Load() {
		m.guard.arrived(c.RemoteAddr())
	}
	return c, err
}

func (m *remote) dialAway(ctx context.Context, network, addr string) (net.Conn, error) {
	return m.dial(ctx, network, addr, m.guard.check)
}

// dial connects to a host, or to the proxy before it: that the user chose, so
// its address is not checked.
func (m *remote) dial(ctx context.Context, network, addr string, check func(netip.Addr) error) (net.Conn, error) {
	way := wayOf(ctx)
	if way.proxied.Load() {
		check = nil
	}
	c, err := m.limit.dial(ctx, network, addr, check)
	if err != nil {
		return nil, err
	}
	if !way.secure.Load() {
		return conn{c}, nil
	}
	secured, err := m.secure(ctx, conn{c}, addr)
	if err != nil {
		c.Close()
		return nil, err
	}
	return secured, nil
}

// secure speaks TLS to a proxy, which is shown no certificate.
func (m *remote) secure(ctx context.Context, c net.Conn, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, m.limit.Handshake)
	defer cancel()
	config := m.relay.Clone()
	var err error
	if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn{secured}, nil
}
