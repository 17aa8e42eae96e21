package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
)

// An endpoint is where a daemon listens, and how it is spoken to.
type endpoint struct {
	addr   string // as the user wrote it
	socket string // path of a unix socket, or ""
	base   *url.URL
	tls    *tls.Config
}

// Ports that daemons have if the address names none.
const (
	plainPort  = "2375"
	securePort = "2376"
)

// endpoint reads the options and the environment.
func (o Options) endpoint() (*endpoint, error) {
	env := o.Env
	if env == nil || o.Host != "" {
		env = func(string) string { return "" } // who names a daemon means it as it stands there
	}
	host := cmp.Or(o.Host, env("DOCKER_HOST"), DefaultHost)
	secure := o.Host != "" || o.CertDir != "" || env("DOCKER_TLS_VERIFY") != "" || env("DOCKER_CERT_PATH") != ""
	e, secure, err := parseHost(host, secure)
	if err != nil {
		return nil, err
	}
	if !secure {
		return e, nil
	}
	dir := cmp.Or(o.CertDir, env("DOCKER_CERT_PATH"))
	if home := env("HOME"); dir == "" && o.Host == "" && home != "" {
		dir = filepath.Join(home, ".docker")
	}
	e.tls, err = o.tlsConfig(dir)
	return e, err
}

// parseHost reads the address of a daemon. Whether tcp:// is TLS the caller
// says.
func parseHost(host string, secure bool) (e *endpoint, tls bool, err error) {
	scheme, rest, ok := strings.Cut(host, "://")
	if !ok || rest == "" {
		return nil, false, refuse(host, "it has not the form unix://PATH or tcp://HOST:PORT")
	}
	e = &endpoint{addr: host}
	switch scheme {
	case "unix":
		e.socket, e.base = rest, &url.URL{Scheme: "http", Host: "localhost"}
		return e, false, nil
	case "ssh":
		return nil, false, refuse(host, "daemons are not reached over ssh; forward the socket, as with ssh -L ./docker.sock:/var/run/docker.sock HOST, and name it: unix://./docker.sock")
	case "npipe":
		return nil, false, refuse(host, "named pipes are of Windows; name a daemon that listens on unix:// or tcp://")
	case "http":
		secure = false
	case "https":
		secure = true
	case "tcp":
	default:
		return nil, false, refuse(host, "daemons are reached by unix://, tcp://, http:// and https:// only")
	}
	e.base, err = parseAddress(host, secure)
	return e, secure, err
}

// parseAddress reads the address of a daemon on the network.
func parseAddress(host string, secure bool) (*url.URL, error) {
	u, err := url.Parse(host)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, refuse(host, "it has not the form tcp://HOST:PORT")
	}
	scheme, port := "http", plainPort
	if secure {
		scheme, port = "https", securePort
	}
	if u.Scheme == "tcp" && u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	u.Scheme = scheme
	return u, nil
}

func refuse(host, why string) error {
	if u, err := url.Parse(host); err == nil {
		host = u.Redacted()
	}
	return fmt.Errorf("docker host %.200q: %w: %s", host, image.ErrUnsupported, why)
}

// transport makes the one that leads to the endpoint and nowhere else. Each
// request has a connection of its own, so that none is sent into one that the
// daemon is just giving up.
func (e *endpoint) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: connectLimit}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if e.socket != "" {
				network, addr = "unix", e.socket
			}
			return dialer.DialContext(ctx, network, addr)
		},
		TLSClientConfig:        e.tls,
		TLSHandshakeTimeout:    connectLimit,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true,
		DisableKeepAlives:      true,
	}
}

// maxCertificate is how many bytes of a file of certificates or keys are read.
const maxCertificate = 1 << 20

// tlsConfig reads the certificates in dir. All three files must be there, but
// for the authority's if the daemon is not to be checked.
func (o Options) tlsConfig(dir string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		c.MinVersion = cmp.Or(o.TLS.MinVersion, c.MinVersion)
		c.CipherSuites, c.CurvePreferences = o.TLS.CipherSuites, o.TLS.CurvePreferences
	}
	c.InsecureSkipVerify = o.Insecure
	if dir == "" {
		return c, nil
	}
	if !o.Insecure {
		name := filepath.Join(dir, "ca.pem")
		pem, err := disk.ReadFile(name, maxCertificate)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", name)
		}
	}
	cert, err := disk.ReadFile(filepath.Join(dir, "cert.pem"), maxCertificate)
	if err != nil {
		return nil, err
	}
	key, err := disk.ReadFile(filepath.Join(dir, "key.pem"), maxCertificate)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: cert.pem and key.pem: %w", dir, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}
