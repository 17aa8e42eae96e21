package registry

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// A proxy is the user's choice: it may be at a private address, and what is
// behind it is its own affair; but addresses are refused by their looks.
func TestProxy(t *testing.T) {
	for target, want := range map[string]error{"https://cdn.test": nil, "https://10.0.0.1": image.ErrRejected, "https://localhost": image.ErrRejected} {
		s, w, o, m := publicWorld(t)
		var mu sync.Mutex
		var asked []string
		proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { panic("CONNECT only") }))
		t.Cleanup(proxy.Close)
		proxy.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
			mu.Lock()
			asked = append(asked, q.Method+" "+q.Host)
			mu.Unlock()
			at := w.hosts[q.Host]
			conn, err := at.connect(q.Context())
			if err != nil {
				rw.WriteHeader(http.StatusBadGateway)
				return
			}
			rw.WriteHeader(http.StatusOK)
			client, buf, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				panic(err)
			}
			splice(client, buf, conn)
		})
		outside := &world{map[string]hostAt{"proxy.test:3128": {"192.168.1.1", to(proxy.Listener.Addr().String())}}}
		o.Network.dial = outside.dial
		s.Inject(onBlobs(registrytest.RedirectTo(target)))
		src := source(t, "reg.test/a:v1", o)
		find := via(func(*http.Request) (*url.URL, error) { return url.Parse("http://ali:hush@proxy.test:3128") })
		src.remote.home.Proxy, src.remote.away.Proxy = find, find
		_, err := readBlob(src, m.layers[0])
		if !isError(err, want) {
			t.Errorf("to %s: %v; want %v", target, err, want)
		}
		src.remote.free()
		mu.Lock()
		if !slices.Contains(asked, "CONNECT reg.test:443") || slices.Contains(asked, "CONNECT cdn.test:443") != (want == nil) {
			t.Errorf("to %s: the proxy was asked for %q", target, asked)
		}
		mu.Unlock()
	}
}

// A proxy that speaks TLS, and asks for a certificate, is shown none: the one
// that there is, is for the registry behind it, which gets it. Who a redirect
// leads to gets none, and the proxy's password goes to the proxy alone.
func TestSecureProxy(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.StartTLS(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	cdn := s.Open("cdn")
	s.Inject(onBlobs(registrytest.RedirectTo(cdn)))
	var mu sync.Mutex
	var asked, certs int
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		mu.Lock()
		asked++
		if len(q.TLS.PeerCertificates) > 0 {
			certs++
		}
		mu.Unlock()
		if q.Method != http.MethodConnect || q.Header.Get("Proxy-Authorization") != basic(Credential{Username: "ali", Password: "hush"}) {
			rw.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		conn, err := to(q.Host)(q.Context())
		if err != nil {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		rw.WriteHeader(http.StatusOK)
		client, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			panic(err)
		}
		splice(client, buf, conn)
	}))
	proxy.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	o, dir := quick(), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.CertDir)); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "proxy.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	o.CertDir = dir
	o.Network.Inward = true // all of this is on loopback
	src := source(t, s.Addr+"/a:v1", o)
	find := via(func(*http.Request) (*url.URL, error) {
		return url.Parse(strings.Replace(proxy.URL, "://", "://ali:hush@", 1))
	})
	src.remote.home.Proxy, src.remote.away.Proxy = find, find
	if _, err := readBlob(src, m.layers[0]); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if asked != 2 || certs != 0 {
		t.Errorf("the proxy was asked %d times and saw %d certificates; want 2 and 0", asked, certs)
	}
	mu.Unlock()
	for _, q := range s.Requests() {
		if want := q.Origin == registrytest.Main; q.ClientCert != want || q.Header.Get("Proxy-Authorization") != "" {
			t.Errorf("%s: client certificate %v, headers %v; want %v", q.Origin, q.ClientCert, q.Header, want)
		}
	}
	src.remote.free()

	// a proxy that nobody vouches for is not spoken to
	o.CertDir, o.Retry.Times = s.CertDir, -1
	src = source(t, s.Addr+"/a:v1", o)
	src.remote.home.Proxy = find
	if _, err := src.Manifest(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "proxyconnect tcp: tls:") || strings.Contains(err.Error(), "hush") {
		t.Errorf("through an unknown proxy: %v; want an error about its certificate", err)
	}
}

// splice joins two connections until either ends.
func splice(client net.Conn, buffered io.Reader, server net.Conn) {
	go func() {
		io.Copy(server, buffered)
		server.Close()
	}()
	io.Copy(client, server)
	client.Close()
}

// The environment's proxy setting may hold a password, and may be wrong.
func TestProxySettingIsNotQuoted(t *testing.T) {
	o := quick()
	src := source(t, "reg.test/a:v1", o)
	src.remote.home.Proxy = via(func(*http.Request) (*url.URL, error) {
		return nil, errors.New(`invalid proxy address "http://ali:hush@[": parse error`)
	})
	_, err := src.Manifest(context.Background(), "")
	if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "proxy") {
		t.Errorf("error %v; want one about the proxy, without the password", err)
	}
}

// Warnings of a registry reach the user, each once, in one line.
func TestWarnings(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	s.Inject(registrytest.On("", "**",
		registrytest.Edit(func(a *registrytest.Answer) {
			a.Header["Warning"] = []string{`299 - "this repository moves \"soon\""`, `199 - "not for us"`, `299 x`, `nonsense`, "299 - \"a\u009b31mb\""}
		})))
	o, e := quick(), &events{}
	o.Notify, o.Side = e.notify, image.SideSource
	src := source(t, s.Addr+"/a:v1", o)
	for range 3 {
		if _, err := readBlob(src, m.config); err != nil {
			t.Fatal(err)
		}
	}
	list := e.of(image.EventWarning)
	if len(list) == 0 || len(list) > 2 || list[0].Side != image.SideSource || list[0].Text != `warning from registry `+s.Addr+`: "this repository moves \"soon\""` {
		t.Errorf("warnings: %+v; want the one, and once", list)
	}
	for _, x := range list {
		if strings.Contains(x.Text, "\u009b") {
			t.Errorf("%q would reach the terminal", x.Text)
		}
	}
}

// Whatever a server calls a location, what comes of it obeys the rules.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"/v2/a", "https://cdn.test/x?y=z", "http://reg.test/x", "//evil.test", "https://u:p@169.254.169.254/", "https://u:p@cdn.test/", "https://[::1]:5000/x#y", "file:///x", "https://2130706433/", "http:/x", "?x", "https://reg.test:443/"} {
		f.Add(s)
	}
	r := open(f, "reg.test/a", Options{})
	at := &url.URL{Scheme: "https", Host: "reg.test", Path: "/v2/a/blobs/x"}
	f.Fuzz(func(t *testing.T, location string) {
		u, err := r.remote.resolve(at, location)
		if err != nil {
			return
		}
		if u.Scheme != "https" || u.User != nil || u.Hostname() == "" || u.Fragment != "" {
			t.Errorf("resolve(%q) = %v", location, u)
		}
		if err := new(guard).checkName(u); err != nil {
			t.Errorf("resolve(%q) = %v: %v", location, u, err)
		}
	})
}
