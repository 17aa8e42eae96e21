package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/imgtools/imgtools/lib/blob"
)

// Sizes and numbers of a connection. Blobs pass by its buffers.
const (
	connBuffer = 16 << 10 // bytes, each way
	maxHeader  = 1 << 20  // bytes of an answer's head
	maxIdle    = 64       // connections that wait for more
	idleTime   = 50 * time.Second
)

// A remote is a registry as a peer on the network, and whoever it sends us to.
type remote struct {
	name  string // host[:port]
	plain bool   // may speak plain HTTP
	agent string
	limit Network
	trace func(string, string, int, time.Duration)
	guard guard

	home  *http.Transport   // to the registry, with client certificates
	away  *http.Transport   // to others, and for strangers' requests; guarded
	relay *tls.Config       // to proxies
	heed  func(http.Header) // is shown the head of each of the registry's answers

	stock stock // for one blob at a time that is read in pieces

	origin  atomic.Pointer[origin] // of the registry, once known
	probing chan struct{}          // held by whoever finds it out
}

func newRemote(name string, o Options) (*remote, error) {
	config, certs, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	m := &remote{
		name:    name,
		plain:   allowsHTTP(o.TLSVerify, name),
		agent:   o.UserAgent,
		limit:   o.Network.withDefaults(),
		trace:   o.Trace,
		guard:   guard{inward: o.Network.Inward},
		probing: make(chan struct{}, 1),
		stock:   stock{memory: aheadMemory, least: aheadLeast},
	}
	away := config.Clone()
	away.ClientSessionCache = tls.NewLRUClientSessionCache(0) // to resume a session is to show the certificate that was shown in it
	m.away = m.transport(away, m.dialAway)
	m.relay = config.Clone()
	m.relay.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	config.Certificates = certs
	m.home = m.transport(config, m.dialHome)
	if o := m.originWith("https"); !m.plain {
		m.origin.Store(&o)
	}
	return m, nil
}

func (n Network) withDefaults() Network {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&n.Connect, 30*time.Second)
	set(&n.Handshake, 10*time.Second)
	set(&n.Header, 60*time.Second)
	set(&n.Idle, 60*time.Second)
	if n.dial == nil {
		n.dial = dialer(n.Connect)
	}
	return n
}

// transport speaks HTTP/1.1 only: several connections move blobs faster than
// one that they share.
func (m *remote) transport(c *tls.Config, dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  via(http.ProxyFromEnvironment),
		DialContext:            dial,
		TLSClientConfig:        c,
		TLSHandshakeTimeout:    m.limit.Handshake,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         connBuffer,
		WriteBufferSize:        connBuffer,
		Protocols:              &protocols,
	}
}

// A dialFunc connects to an address. It asks check, if not nil, about the one
// that the name turned out to be, before anything is sent there.
type dialFunc func(ctx context.Context, network, addr string, check func(netip.Addr) error) (net.Conn, error)

func dialer(timeout time.Duration) dialFunc {
	return func(ctx context.Context, network, addr string, check func(netip.Addr) error) (net.Conn, error) {
		d := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
		if check != nil {
			d.Control = func(_, address string, _ syscall.RawConn) error {
				ap, err := netip.ParseAddrPort(address)
				if err != nil {
					return refuse("%q is no address", address)
				}
				return check(ap.Addr())
			}
		}
		return d.DialContext(ctx, network, addr)
	}
}

// A conn is a network connection that bodies are written to in large pieces.
type conn struct{ net.Conn }

// answerTime is how long a failed write waits for the answer that may be the
// reason for it: servers refuse a body and hang up.
const answerTime = 100 * time.Millisecond

func (c conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
		time.Sleep(answerTime)
	}
	return n, err
}

// ReadFrom takes over from net/http, which would write 32 KiB at a time.
func (c conn) ReadFrom(r io.Reader) (int64, error) {
	return blob.Copy(c, r)
}

// exchange sends one request and returns the head of its answer; the body is
// to be closed. Nothing is repeated or followed here.
func (m *remote) exchange(ctx context.Context, req *request, u *url.URL, auth string) (*http.Response, error) {
	t, own := m.home, m.isHome(u)
	if own && !m.limit.Rate.wait(ctx.Done(), 1) {
		return nil, context.Cause(ctx)
	}
	if req.stranger || !own {
		t = m.away
		if err := m.guard.checkName(u); err != nil {
			return nil, err
		}
	}
	life, cancel := context.WithCancelCause(context.WithValue(ctx, routeKey{}, &route{}))
	w := newWatch(cancel, m.limit.Idle)
	answer := m.hurry(ctx, w)
	var secure atomic.Bool
	life = httptrace.WithClientTrace(life, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { secure.Store(err == nil) },
		GotConn:          func(httptrace.GotConnInfo) { w.network(sending, m.limit.Idle) },
		WroteRequest:     func(httptrace.WroteRequestInfo) { w.network(sending, answer+req.slow) },
	})
	began := time.Now()
	resp, err := t.RoundTrip(m.build(life, req, u, auth, w))
	w.ours(answered)
	if m.trace != nil {
		status := 0
		if resp != nil {
			status = resp.StatusCode
		}
		m.trace(req.method, bare(u), status, time.Since(began))
	}
	if err != nil {
		err = failure(ctx, life, req.method, u, err, secure.Load())
		cancel(nil)
		return nil, err
	}
	if own && m.heed != nil {
		m.heed(resp.Header)
	}
	resp.Body = &watched{resp.Body, w, m.limit.Bandwidth, cancel, ctx, life, req.method, u}
	return resp, nil
}

func (m *remote) build(ctx context.Context, req *request, u *url.URL, auth string, w *watch) *http.Request {
	out := (&http.Request{Method: req.method, URL: u, Host: u.Host, Header: http.Header{}}).WithContext(ctx)
	for k, v := range req.header {
		out.Header[k] = v
	}
	out.Header.Set("User-Agent", m.agent)
	out.Header.Set("Accept-Encoding", "identity") // what is hashed is what is stored
	if auth != "" {
		out.Header.Set("Authorization", auth)
	}
	b := req.body
	if b == nil && req.memory != nil {
		b = newBody(int64(len(req.memory)), func(<-chan struct{}) io.Reader { return bytes.NewReader(req.memory) })
	}
	if b != nil {
		b.watch, b.limit = w, m.limit.Bandwidth
		context.AfterFunc(ctx, func() { b.Close() }) // or RoundTrip would wait for its reader
		out.Body, out.ContentLength = b, b.size
	}
	return out
}

// free lets go of connections that nobody uses.
func (m *remote) free() {
	m.home.CloseIdleConnections()
	m.away.CloseIdleConnections()
}
