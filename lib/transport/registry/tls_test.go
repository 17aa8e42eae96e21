package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
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
		{"too large", map[string][]byte{"x.crt": make([]byte, maxCertificate+1)}, 0, "too large"},
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
