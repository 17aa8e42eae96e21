package registrytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strings"
)

// TB is what Start needs of a *testing.T.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	TempDir() string
}

// A Server is a registry that listens on loopback until the end of a test.
type Server struct {
	*Registry
	Addr string // "127.0.0.1:PORT"

	// With TLS: a directory with the authority's ca.crt, and a client's
	// client.cert and client.key, as certs.d has them; and the authority.
	CertDir string
	Roots   *x509.CertPool

	tb  TB
	tls *tls.Config // nil: plain HTTP
}

// Start starts a registry over plain HTTP.
func Start(tb TB, o Options) *Server {
	tb.Helper()
	s := &Server{Registry: New(o), tb: tb}
	s.Addr = s.listen(Main, nil)
	return s
}

// StartTLS starts a registry over HTTPS, with HTTP/1.1 and HTTP/2. Its
// certificate is good for localhost, 127.0.0.1 and every name under "test".
func StartTLS(tb TB, o Options) *Server {
	tb.Helper()
	p, err := newPKI()
	if err != nil {
		tb.Fatalf("registrytest: %v", err)
	}
	s := &Server{Registry: New(o), tb: tb, CertDir: tb.TempDir(), Roots: p.pool(), tls: p.config()}
	if err := p.write(s.CertDir); err != nil {
		tb.Fatalf("registrytest: %v", err)
	}
	s.Addr = s.listen(Main, s.tls)
	return s
}

// Open starts one more listener, an origin of that name on another port, by
// the scheme of the registry. It returns its base URL.
//
// Whoever comes there finds all that the registry holds, under the same paths
// and without authentication: it can be the host that blobs are redirected
// to, one that uploads go to, a token service, or one that should never get a
// request, let alone credentials.
func (s *Server) Open(origin string) string {
	s.tb.Helper()
	s.listen(origin, s.tls)
	return s.URL(origin)
}

// OpenPlain is Open over plain HTTP, whatever the registry itself speaks.
func (s *Server) OpenPlain(origin string) string {
	s.tb.Helper()
	s.listen(origin, nil)
	return s.URL(origin)
}

// listen serves an origin on a free port and returns its address.
func (s *Server) listen(origin string, config *tls.Config) string {
	s.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.tb.Fatalf("registrytest: %v", err)
	}
	addr, scheme := l.Addr().String(), "http://"
	h := &http.Server{Handler: s.at(origin), ErrorLog: stdlog.New(io.Discard, "", 0), TLSConfig: config}
	serve := func() error { return h.Serve(l) }
	if config != nil {
		scheme, h.TLSConfig = "https://", config.Clone()
		serve = func() error { return h.ServeTLS(l, "", "") }
	}
	s.mu.Lock()
	s.origins[origin] = scheme + addr
	s.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- serve() }()
	s.tb.Cleanup(func() {
		h.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			s.tb.Fatalf("registrytest: %v", err)
		}
	})
	return addr
}

// Dial connects to the origin that is called as the first label of a host
// name: "cdn.test:443" is the origin "cdn". Addresses, and names that are of
// no origin, are dialled as they are. It is a DialContext for clients that
// are to see hosts with names.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	label, _, _ := strings.Cut(address, ".")
	if at := s.URL(label); at != "" {
		_, address, _ = strings.Cut(at, "://")
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}
