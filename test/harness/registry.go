package harness

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// RegistryOptions says what kind of registry to start. The zero value is the
// newest, open to all over plain HTTP, that refuses to delete.
type RegistryOptions struct {
	// Version is "v3" or "2.8", of the distribution project, or "olareg",
	// which lists referrers and takes of the options only TLS and Delete.
	// "" is "v3".
	Version  string
	TLS      bool          // a certificate of an authority in Registry.CertDir
	Clients  bool          // and only clients that have one too: Registry.ClientDir
	Htpasswd bool          // basic authentication as Registry.User
	Tokens   *TokenService // bearer tokens of it
	Delete   bool          // allow DELETE
	Mirror   *Registry     // over plain HTTP: what is pulled is fetched there, and kept
}

// Registry is a registry that runs until the end of a test.
type Registry struct {
	Addr      string // host:port
	Dir       string // root of its storage
	Log       string // file with its log, one line a request
	CertDir   string // with TLS: holds ca.crt
	ClientDir string // with Clients: holds ca.crt, client.cert and client.key
	User      string // with Htpasswd or Tokens
	Password  string

	client *http.Client
	tokens *TokenService
}

// mark is the header by which a registry is known for the one that was started:
// its answers have r.Dir in it.
const mark = "X-Harness"

// StartRegistry starts a registry with empty storage.
func StartRegistry(t T, o RegistryOptions) *Registry {
	t.Helper()
	dir := Dir(t)
	r := &Registry{Dir: filepath.Join(dir, "data"), Log: filepath.Join(dir, "log"), client: new(http.Client), tokens: o.Tokens}
	if o.Htpasswd || o.Tokens != nil {
		r.User, r.Password = registryUser, registryPassword
		write(t, filepath.Join(dir, "htpasswd"), []byte(registryHtpasswd))
	}
	if o.TLS {
		r.useTLS(t, dir, o.Clients)
	}
	var err error
	for range 5 { // somebody else may take the port first
		r.Addr = freeAddr(t)
		program, args := r.command(t, o, dir)
		ready := r.ready
		if o.Version == "olareg" {
			ready = r.readyByDir
		}
		if _, err = launch(t, r.Log, ready, program, args...); err == nil {
			return r
		}
		if !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	t.Fatalf("%v", err)
	return nil
}

// command returns the program of a registry, after it wrote its configuration.
func (r *Registry) command(t T, o RegistryOptions, dir string) (string, []string) {
	t.Helper()
	program := map[string]string{"": "registry", "v3": "registry", "2.8": "docker-registry", "olareg": "olareg"}[o.Version]
	switch {
	case program == "":
		t.Fatalf("no registry of version %q", o.Version)
	case program != "olareg":
		file := filepath.Join(dir, "config.yml")
		write(t, file, []byte(r.config(t, o, dir)))
		return program, []string{"serve", file}
	case o.Htpasswd || o.Clients || o.Tokens != nil || o.Mirror != nil:
		t.Fatalf("no olareg with %+v", o)
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	host, port, _ := net.SplitHostPort(r.Addr)
	args := []string{
		"serve", "--addr", host, "--port", port, "--dir", r.Dir, "--gc-frequency=-1s",
		fmt.Sprintf("--api-delete=%v", o.Delete), "--verbosity=info",
	}
	if o.TLS {
		args = append(args, "--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"))
	}
	return program, args
}

// Ref returns the reference of name, such as "a/b:tag", in the registry.
func (r *Registry) Ref(name string) string { return "docker://" + r.Addr + "/" + name }

func (r *Registry) useTLS(t T, dir string, clients bool) {
	t.Helper()
	p, err := newPKI()
	if err != nil {
		t.Fatalf("%v", err)
	}
	write(t, filepath.Join(dir, "cert.pem"), p.certificate)
	write(t, filepath.Join(dir, "key.pem"), p.key)
	r.CertDir = filepath.Join(dir, "certs")
	write(t, filepath.Join(r.CertDir, "ca.crt"), p.authority)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.authority)
	config := &tls.Config{RootCAs: roots}
	r.client.Transport = &http.Transport{TLSClientConfig: config}
	if !clients {
		return
	}
	r.ClientDir = filepath.Join(dir, "client")
	write(t, filepath.Join(r.ClientDir, "ca.crt"), p.authority)
	write(t, filepath.Join(r.ClientDir, "client.cert"), p.client)
	write(t, filepath.Join(r.ClientDir, "client.key"), p.clientKey)
	pair, err := tls.X509KeyPair(p.client, p.clientKey)
	if err != nil {
		t.Fatalf("%v", err)
	}
	config.Certificates = []tls.Certificate{pair}
}

func (r *Registry) config(t T, o RegistryOptions, dir string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "version: 0.1\nlog:\n  level: info\n  accesslog: {disabled: true}\n")
	fmt.Fprintf(&b, "storage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: %v}\n", r.Dir, o.Delete)
	fmt.Fprintf(&b, "  maintenance: {uploadpurging: {enabled: false}}\n")
	fmt.Fprintf(&b, "http:\n  addr: %s\n  headers: {%s: [%q]}\n", r.Addr, mark, r.Dir)
	if o.TLS {
		fmt.Fprintf(&b, "  tls:\n    certificate: %q\n    key: %q\n", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	}
	if o.Clients {
		fmt.Fprintf(&b, "    clientcas: [%q]\n", filepath.Join(r.CertDir, "ca.crt"))
	}
	if o.Mirror != nil {
		fmt.Fprintf(&b, "proxy: {remoteurl: %q}\n", o.Mirror.url(""))
	}
	switch {
	case o.Tokens != nil:
		b.WriteString(o.Tokens.config(t, dir))
	case o.Htpasswd:
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

// readyByDir is ready for a registry that cannot be told to mark its answers:
// an upload that is begun leaves something in its storage.
func (r *Registry) readyByDir() error {
	resp, err := r.do(http.MethodPost, r.url("/v2/harness/blobs/uploads/"), "", nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if _, err := os.Stat(filepath.Join(r.Dir, "harness")); err != nil {
		return fmt.Errorf("POST of an upload: %s, and nothing of it is in the storage", resp.Status)
	}
	return nil
}

func (r *Registry) url(path string) string {
	if r.CertDir != "" {
		return "https://" + r.Addr + path
	}
	return "http://" + r.Addr + path
}

// write writes a file, with the directory that it is in.
func write(t T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatalf("%v", err)
	}
}
