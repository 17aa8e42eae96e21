package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// The rules and texts of certs.d directories.
func TestCertDir(t *testing.T) {
	s := registrytest.StartTLS(t, registrytest.Options{})
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(s.CertDir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ca, cert, key := read("ca.crt"), read("client.cert"), read("client.key")
	tests := []struct {
		name  string
		files map[string][]byte
		pairs int
		want  string
	}{
		{"empty", nil, 0, ""},
		{"all", map[string][]byte{"x.crt": ca, "b.cert": cert, "b.key": key, "README": []byte("hi")}, 1, ""},
		{"two pairs", map[string][]byte{"a.cert": cert, "a.key": key, "b.cert": cert, "b.key": key}, 2, ""},
		{"no key", map[string][]byte{"b.cert": cert}, 0, "missing key b.key for client certificate b.cert. Note that CA certificates should use the extension .crt"},
		{"no certificate", map[string][]byte{"b.key": key}, 0, "missing client certificate b.cert for key b.key"},
		{"not a certificate", map[string][]byte{"x.crt": []byte("hi")}, 0, "no certificate in it"},
		{"not a key", map[string][]byte{"b.cert": cert, "b.key": []byte("secret")}, 0, "b.cert and b.key"},
		{"too large", map[string][]byte{"x.crt": make([]byte, maxCertificate+1)}, 0, "larger than 1048576 bytes"},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		for name, b := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, pairs, err := tlsConfig(Options{CertDir: dir})
		switch {
		case tt.want == "" && (err != nil || len(pairs) != tt.pairs):
			t.Errorf("%s: %d pairs, %v; want %d", tt.name, len(pairs), err, tt.pairs)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v; want %q in it", tt.name, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: error %q quotes the file", tt.name, err)
		}
	}
	if _, _, err := tlsConfig(Options{CertDir: filepath.Join(t.TempDir(), "none")}); err != nil {
		t.Errorf("a directory that is not there: %v; want no error", err)
	}
	// a pipe under such a name would hold us up for ever
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "x.crt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tlsConfig(Options{CertDir: dir}); err == nil {
		t.Errorf("a pipe as certificate: no error")
	}
}

func TestTLSVerify(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.StartTLS(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	plain := registrytest.Start(t, registrytest.Options{})
	m.store(plain.Registry, "a", "v1")
	tests := []struct {
		name string
		addr string
		o    Options
		ok   bool
		want string
	}{
		{"authority", s.Addr, Options{CertDir: s.CertDir}, true, ""},
		{"no authority", s.Addr, Options{}, false, "certificate"},
		{"no authority, always", s.Addr, Options{TLSVerify: Always}, false, "certificate"},
		{"never", s.Addr, Options{TLSVerify: Never}, true, ""},
		{"plain on loopback", plain.Addr, Options{}, true, ""},
		{"plain on localhost", strings.Replace(plain.Addr, "127.0.0.1", "localhost", 1), Options{}, true, ""},
		{"plain, always", plain.Addr, Options{TLSVerify: Always}, false, "server gave HTTP response to HTTPS client"},
		{"plain, never", plain.Addr, Options{TLSVerify: Never}, true, ""},
	}
	for _, tt := range tests {
		tt.o.Retry.Times = -1
		_, err := source(t, tt.addr+"/a:v1", tt.o).Manifest(context.Background(), "")
		if (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want ok %v, %q", tt.name, err, tt.ok, tt.want)
		}
		if err != nil && !errors.Is(err, image.ErrNetwork) {
			t.Errorf("%s: %v is not ErrNetwork", tt.name, err)
		}
	}
}

// What a registry is found to speak with the first request stays: somebody in
// between cannot talk us out of TLS in the middle.
func TestSchemeStays(t *testing.T) {
	m := makeImage(1, 10)
	secure, plain := registrytest.StartTLS(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	m.store(secure.Registry, "a", "v1")
	m.store(plain.Registry, "a", "v1")
	w := &world{map[string]hostAt{"reg.test:5000": {"8.8.8.8", to(secure.Addr)}}}
	o := quick()
	o.TLSVerify, o.Network.dial = Never, w.dial
	src := source(t, "reg.test:5000/a:v1", o)
	if _, err := src.Manifest(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	w.hosts["reg.test:5000"] = hostAt{"8.8.8.8", to(plain.Addr)}
	src.remote.free()
	if _, err := src.Manifest(context.Background(), ""); err == nil {
		t.Errorf("a registry that spoke TLS was read over plain HTTP")
	}
	if n := len(plain.Requests()); n != 0 {
		t.Errorf("%d requests went over plain HTTP", n)
	}
}

// Only what the user names is spoken to without TLS: a name that is not
// loopback is not, even if it resolves to that.
func TestPlainOnlyWhereAllowed(t *testing.T) {
	tests := []struct {
		v    TLSVerify
		name string
		want bool
	}{
		{Unset, "localhost", true}, {Unset, "LOCALHOST:5000", true}, {Unset, "127.0.0.1:5000", true}, {Unset, "127.8.8.8", true},
		{Unset, "reg.local", false}, {Unset, "x.localhost:5000", false}, {Unset, "10.0.0.1:5000", false}, {Unset, "0.0.0.0:5000", false},
		{Unset, "localhost.example", false}, {Unset, "127.0.0.1.example", false},
		{Always, "localhost", false}, {Always, "127.0.0.1", false},
		{Never, "a.example", true},
	}
	for _, tt := range tests {
		if got := allowsHTTP(tt.v, tt.name); got != tt.want {
			t.Errorf("allowsHTTP(%v, %q) = %v; want %v", tt.v, tt.name, got, tt.want)
		}
	}
}

// The first request finds out about the scheme; those beside it wait.
func TestSchemeOnce(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	src := source(t, s.Addr+"/a:v1", quick())
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := src.Manifest(context.Background(), "")
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A client certificate is for the registry, not for whom it sends us to.
func TestClientCertificate(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.StartTLS(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	cdn := s.Open("cdn")
	s.Inject(registrytest.On("GET", "/v2/a/blobs/*", registrytest.RedirectTo(cdn)).At(registrytest.Main))
	o := quick()
	o.CertDir = s.CertDir
	if _, err := readBlob(source(t, s.Addr+"/a:v1", o), m.layers[0]); err != nil {
		t.Fatal(err)
	}
	for _, q := range s.Requests() {
		if want := q.Origin == registrytest.Main; q.ClientCert != want {
			t.Errorf("%s: client certificate %v; want %v", q.Origin, q.ClientCert, want)
		}
	}
}

// A layer's URLs come from a document: nothing is shown for their sake, and no
// client certificate either, even if they lead to the registry itself.
func TestClientCertificateForeign(t *testing.T) {
	s, _, o, m := publicWorld(t)
	o.ForeignURLs = true
	src := source(t, "reg.test/a:v1", o)
	if _, err := src.Manifest(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	s.Inject(registrytest.On("GET", "/layer", registrytest.Reply(200, "", string(m.blobs[m.layers[0].Digest]))))
	d := m.layers[0]
	d.URLs = []string{"https://reg.test/layer"}
	if _, err := readBlob(src, d); err != nil {
		t.Fatal(err)
	}
	for _, q := range s.Requests() {
		if q.ClientCert {
			t.Errorf("%s: a client certificate was shown", q.Path)
		}
	}
}

// What is asked for of TLS holds for the registry and for whom it sends us to.
func TestTLSDetails(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.StartTLS(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	cdn := s.Open("cdn")
	s.Inject(onBlobs(registrytest.RedirectTo(cdn)))
	for _, tt := range []struct {
		name    string
		tls     TLS
		version uint16
		suite   uint16
		curve   tls.CurveID
	}{
		{"defaults", TLS{}, tls.VersionTLS13, 0, 0},
		{"1.3", TLS{MinVersion: tls.VersionTLS13}, tls.VersionTLS13, 0, 0},
		{"a curve", TLS{Curves: []tls.CurveID{tls.CurveP384}}, tls.VersionTLS13, 0, tls.CurveP384},
		{"a suite", TLS{CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 0},
	} {
		o := quick()
		o.CertDir, o.Network.TLS = s.CertDir, tt.tls
		src := source(t, s.Addr+"/a:v1", o)
		var states []tls.ConnectionState
		for _, transport := range []*http.Transport{src.remote.home, src.remote.away} {
			if tt.version == tls.VersionTLS12 { // suites are not chosen in 1.3
				transport.TLSClientConfig.MaxVersion = tls.VersionTLS12
			}
			transport.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error {
				states = append(states, s)
				return nil
			}
		}
		if _, err := readBlob(src, m.layers[0]); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(states) != 2 {
			t.Errorf("%s: %d connections; want 2", tt.name, len(states))
		}
		for _, state := range states {
			if state.Version != tt.version || tt.suite != 0 && state.CipherSuite != tt.suite || tt.curve != 0 && state.CurveID != tt.curve {
				t.Errorf("%s: version %x, suite %x, curve %v", tt.name, state.Version, state.CipherSuite, state.CurveID)
			}
		}
	}
	// what the other side does not have is an error, and not something less
	o := quick()
	o.CertDir, o.Network.TLS, o.Retry.Times = s.CertDir, TLS{MinVersion: tls.VersionTLS13}, -1
	src := source(t, s.Addr+"/a:v1", o)
	src.remote.home.TLSClientConfig.MaxVersion = tls.VersionTLS12
	if _, err := src.Manifest(context.Background(), ""); !errors.Is(err, image.ErrNetwork) {
		t.Errorf("TLS 1.2 where 1.3 is asked for: %v; want ErrNetwork", err)
	}
}

// An accident in the first handshake is no reason to do without TLS, and a
// server that asks for TLS over plain HTTP is not taken at its HTTP.
func TestHandshakeBreaks(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.StartTLS(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	for breaks, plain := range map[int32]bool{1: false, 3: true} {
		var left atomic.Int32
		left.Store(breaks)
		w := &world{map[string]hostAt{"reg.test:5000": {"8.8.8.8", func(ctx context.Context) (netConn, error) {
			c, err := to(s.Addr)(ctx)
			if err == nil && left.Add(-1) >= 0 && !plain {
				return reset{c}, nil
			}
			return c, err
		}}}}
		o := quick()
		o.TLSVerify, o.Network.dial = Never, w.dial
		src := source(t, "reg.test:5000/a:v1", o)
		if plain { // both handshakes break, the request in plain text does not
			dial := w.dial
			src.remote.limit.dial = func(ctx context.Context, network, addr string, check func(netip.Addr) error) (netConn, error) {
				c, err := dial(ctx, network, addr, check)
				if n := left.Load(); err == nil && (n == 2 || n == 1) {
					return reset{c}, nil
				}
				return c, err
			}
		}
		if _, err := src.Manifest(context.Background(), ""); err != nil {
			t.Errorf("%d breaks: %v", breaks, err)
		}
		if o := src.remote.base(); o.scheme != "https" {
			t.Errorf("%d breaks: the registry is spoken to by %s", breaks, o.scheme)
		}
	}
}

// A reset connection takes nothing and gives nothing.
type reset struct{ netConn }

func (reset) Read([]byte) (int, error)  { return 0, syscall.ECONNRESET }
func (reset) Write([]byte) (int, error) { return 0, syscall.ECONNRESET }

// Somebody in between who breaks the first handshake, and would answer in
// plain text, is not spoken to: the second handshake is with the registry.
func TestHandshakeBreaksOnce(t *testing.T) {
	m := makeImage(1, 10)
	secure, plain := registrytest.StartTLS(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	m.store(secure.Registry, "a", "v1")
	m.store(plain.Registry, "a", "v1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if n == 0 {
				c.Close()
				continue
			}
			go sortOut(c, secure.Addr, plain.Addr)
		}
	}()
	o := quick()
	o.TLSVerify, o.Retry.Times = Never, -1
	src := source(t, l.Addr().String()+"/a:v1", o)
	if _, err := src.Manifest(context.Background(), ""); err != nil {
		t.Error(err)
	}
	if n := len(plain.Requests()); n != 0 {
		t.Errorf("%d requests went over plain HTTP", n)
	}
	src.Close()
}

// sortOut passes a connection on by whether TLS is spoken on it.
func sortOut(c net.Conn, secure, plain string) {
	defer c.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	addr := plain
	if first[0] == 22 { // a handshake
		addr = secure
	}
	s, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	s.Write(first)
	splice(c, c, s)
}
