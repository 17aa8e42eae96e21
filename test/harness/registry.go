package harness

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// RegistryOptions says what kind of registry to start. The zero value is the
// newest, open to all over plain HTTP, that refuses to delete.
type RegistryOptions struct {
	Version  string // "v3" or "2.8": of the distribution project; "" is "v3"
	TLS      bool   // a certificate of an authority in Registry.CertDir
	Htpasswd bool   // basic authentication as Registry.User
	Delete   bool   // allow DELETE
}

// Registry is a registry that runs until the end of a test.
type Registry struct {
	Addr     string // host:port
	Dir      string // root of its storage
	Log      string // file with its log, one line a request
	CertDir  string // with TLS: holds ca.crt
	User     string // with Htpasswd
	Password string

	client *http.Client
}

// The one user of registries with a password, as htpasswd -B writes it.
const (
	registryUser     = "ali"
	registryPassword = "open sesame"
	registryHtpasswd = "ali:$2a$04$EnTn/a.Z2Kx5q8.gnOWHFO0LW.9KwHL2PmYUSV8J1fl1D75Zu5ZoC\n"
)

// mark is the header by which a registry is known for the one that was started:
// its answers have r.Dir in it.
const mark = "X-Harness"

// StartRegistry starts a registry with empty storage.
func StartRegistry(t T, o RegistryOptions) *Registry {
	t.Helper()
	dir := Dir(t)
	r := &Registry{Dir: filepath.Join(dir, "data"), Log: filepath.Join(dir, "log"), client: new(http.Client)}
	if o.Htpasswd {
		r.User, r.Password = registryUser, registryPassword
		write(t, filepath.Join(dir, "htpasswd"), []byte(registryHtpasswd))
	}
	if o.TLS {
		r.useTLS(t, dir)
	}
	program := map[string]string{"": "registry", "v3": "registry", "2.8": "docker-registry"}[o.Version]
	if program == "" {
		t.Fatalf("no registry of version %q", o.Version)
	}
	var err error
	for range 5 { // somebody else may take the port first
		r.Addr = freeAddr(t)
		write(t, filepath.Join(dir, "config.yml"), []byte(r.config(o, dir)))
		_, err = launch(t, r.Log, r.ready, program, "serve", filepath.Join(dir, "config.yml"))
		if err == nil {
			return r
		}
		if !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	t.Fatalf("%v", err)
	return nil
}

// Ref returns the reference of name, such as "a/b:tag", in the registry.
func (r *Registry) Ref(name string) string { return "docker://" + r.Addr + "/" + name }

func (r *Registry) useTLS(t T, dir string) {
	t.Helper()
	r.CertDir = filepath.Join(dir, "certs")
	if err := os.Mkdir(r.CertDir, 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	p, err := newPKI()
	if err != nil {
		t.Fatalf("%v", err)
	}
	write(t, filepath.Join(r.CertDir, "ca.crt"), p.authority)
	write(t, filepath.Join(dir, "cert.pem"), p.certificate)
	write(t, filepath.Join(dir, "key.pem"), p.key)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.authority)
	r.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
}

func (r *Registry) config(o RegistryOptions, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 0.1\nlog:\n  level: info\n  accesslog: {disabled: true}\n")
	fmt.Fprintf(&b, "storage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: %v}\n", r.Dir, o.Delete)
	fmt.Fprintf(&b, "  maintenance: {uploadpurging: {enabled: false}}\n")
	fmt.Fprintf(&b, "http:\n  addr: %s\n  headers: {%s: [%q]}\n", r.Addr, mark, r.Dir)
	if o.TLS {
		fmt.Fprintf(&b, "  tls: {certificate: %q, key: %q}\n", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	}
	if o.Htpasswd {
		fmt.Fprintf(&b, "auth:\n  htpasswd: {realm: test, path: %q}\n", filepath.Join(dir, "htpasswd"))
	}
	return b.String()
}

func (r *Registry) ready() error {
	resp, err := r.do(http.MethodGet, r.url("/v2/"), "", nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("GET /v2/: %s", resp.Status)
	case resp.Header.Get(mark) != r.Dir:
		return errors.New("GET /v2/: another registry answers")
	}
	return nil
}

func (r *Registry) url(path string) string {
	if r.CertDir != "" {
		return "https://" + r.Addr + path
	}
	return "http://" + r.Addr + path
}

func write(t T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatalf("%v", err)
	}
}
