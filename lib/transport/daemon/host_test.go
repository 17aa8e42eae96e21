package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imgtools/imgtools/lib/image"
)

func TestEndpoint(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(key string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	insecure := Options{Insecure: true}
	for _, tt := range []struct {
		o            Options
		socket, base string
	}{
		{Options{}, "/var/run/docker.sock", "http://localhost"},
		{Options{Env: env()}, "/var/run/docker.sock", "http://localhost"},
		{Options{Env: env("DOCKER_HOST", "unix:///a/b")}, "/a/b", "http://localhost"},
		{Options{Host: "unix://a.sock", Env: env("DOCKER_HOST", "tcp://h:1")}, "a.sock", "http://localhost"},
		{Options{Env: env("DOCKER_HOST", "tcp://h:1")}, "", "http://h:1"},
		{Options{Env: env("DOCKER_HOST", "tcp://h")}, "", "http://h:2375"},
		{Options{Env: env("DOCKER_HOST", "tcp://h", "DOCKER_TLS_VERIFY", "1")}, "", "https://h:2376"},
		{Options{Host: "http://h:2/p"}, "", "http://h:2/p"},
		{Options{Host: "tcp://[::1]"}, "", "https://[::1]:2376"},
		{Options{Host: "https://h"}, "", "https://h"},
		// Who names a daemon does not mean the environment's certificates.
		{Options{Host: "tcp://h:3", Env: env("DOCKER_CERT_PATH", "/nonexistent")}, "", "https://h:3"},
	} {
		e, err := tt.o.endpoint()
		if err != nil || e.socket != tt.socket || e.base.String() != tt.base {
			t.Errorf("endpoint of %q = %+v, %v; want %q, %q", tt.o.Host, e, err, tt.socket, tt.base)
			continue
		}
		if secure := strings.HasPrefix(tt.base, "https:"); (e.tls != nil) != secure || secure && e.tls.InsecureSkipVerify {
			t.Errorf("endpoint of %q: TLS %v", tt.o.Host, e.tls)
		}
	}
	insecure.Host = "tcp://h:1"
	if e, err := insecure.endpoint(); err != nil || !e.tls.InsecureSkipVerify || e.base.Scheme != "https" {
		t.Errorf("endpoint without verification: %+v, %v", e, err) // and not without TLS
	}
	missing := Options{Env: env("DOCKER_HOST", "tcp://h:1", "DOCKER_CERT_PATH", "/nonexistent")}
	if _, err := missing.endpoint(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/ca.pem") {
		t.Errorf("without certificates: %v", err)
	}
	home := Options{Env: env("DOCKER_HOST", "tcp://h:1", "DOCKER_TLS_VERIFY", "1", "HOME", "/nonexistent")}
	if _, err := home.endpoint(); err == nil || !strings.Contains(err.Error(), "/nonexistent/.docker/ca.pem") {
		t.Errorf("without certificates at home: %v", err)
	}
}

func TestRefusedHosts(t *testing.T) {
	for host, want := range map[string]string{
		"ssh://u@h":            "ssh -L",
		"npipe:////./pipe/x":   "Windows",
		"fd://":                "form",
		"unix://":              "form",
		"/var/run/docker.sock": "form",
		"h:2375":               "form",
		"tcp://":               "form",
		"tcp://h:x":            "form",
		"tcp://u:pw@h:1":       "form",
		"tcp://h:1?x":          "form",
		"ftp://h":              "only",
	} {
		_, err := Options{Host: host}.endpoint()
		if !errors.Is(err, image.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("host %q: %v; want an ErrUnsupported that says %q", host, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("host %q: the error tells the password: %v", host, err)
		}
	}
}

// certificates writes what a client needs into a directory: the authority, if
// it is given, and a certificate of its own.
func certificates(t *testing.T, ca *x509.Certificate) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) {
		b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cert.pem", "CERTIFICATE", der)
	write("key.pem", "PRIVATE KEY", private)
	if ca != nil {
		write("ca.pem", "CERTIFICATE", ca.Raw)
	}
	return dir
}

// A daemon that listens on TCP asks for a client's certificate: whoever may
// speak to it is root there.
func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(&standIn{version: "1.41"})
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	addr := "tcp://" + s.Listener.Addr().String()
	good, stranger, none := certificates(t, s.Certificate()), certificates(t, nil), t.TempDir()
	for _, tt := range []struct {
		what string
		o    Options
		ok   bool
	}{
		{"certificates", Options{CertDir: good}, true},
		{"no authority", Options{CertDir: stranger}, false},
		{"no authority, not verified", Options{CertDir: stranger, Insecure: true}, true},
		{"no certificates", Options{CertDir: none, Insecure: true}, false},
		{"the system's authorities", Options{}, false},
		{"nothing verified, no certificate", Options{Insecure: true}, false},
	} {
		tt.o.Host = addr
		if _, err := Open(t.Context(), name(t, "a:b"), tt.o); errors.Is(err, image.ErrNotFound) != tt.ok {
			t.Errorf("%s: %v; want to get through: %v", tt.what, err, tt.ok)
		}
	}
	env := func(key string) string {
		return map[string]string{"DOCKER_HOST": addr, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": good}[key]
	}
	if _, err := Open(t.Context(), name(t, "a:b"), Options{Env: env}); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("the environment's certificates: %v; want to get through", err)
	}
}
