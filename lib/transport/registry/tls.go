package registry

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/lib/disk"
)

// TLS says how it is spoken, to the registry and whoever it sends us to. Zero
// values stand for what crypto/tls thinks best, and for TLS 1.2 at least.
type TLS struct {
	MinVersion   uint16        // such as tls.VersionTLS13
	CipherSuites []uint16      // of TLS 1.2 and before, best first
	Curves       []tls.CurveID // for the exchange of keys, best first
}

// maxCertificate is how many bytes of a file of certificates or keys are read.
const maxCertificate = 1 << 20

// tlsConfig returns the settings for everyone, and the certificates that only
// the registry itself gets to see (containers-certs.d(5)).
func tlsConfig(o Options) (*tls.Config, []tls.Certificate, error) {
	c := &tls.Config{
		MinVersion:         cmp.Or(o.Network.TLS.MinVersion, tls.VersionTLS12),
		CipherSuites:       slices.Clone(o.Network.TLS.CipherSuites),
		CurvePreferences:   slices.Clone(o.Network.TLS.Curves),
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
		InsecureSkipVerify: o.TLSVerify == Never,
	}
	if o.CertDir == "" {
		return c, nil, nil
	}
	entries, err := os.ReadDir(o.CertDir)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var certs []tls.Certificate
	for _, e := range entries {
		name := filepath.Join(o.CertDir, e.Name())
		switch filepath.Ext(name) {
		case ".crt":
			err = addAuthority(c, name)
		case ".cert":
			var pair tls.Certificate
			pair, err = loadPair(name, strings.TrimSuffix(name, ".cert")+".key")
			certs = append(certs, pair)
		case ".key":
			err = checkKey(name, strings.TrimSuffix(name, ".key")+".cert")
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return c, certs, nil
}

func addAuthority(c *tls.Config, name string) error {
	pem, err := disk.ReadFile(name, maxCertificate)
	if err != nil {
		return err
	}
	if c.RootCAs == nil {
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			return fmt.Errorf("authorities of the system: %w", err)
		}
	}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: no certificate in it", name)
	}
	return nil
}

func loadPair(cert, key string) (tls.Certificate, error) {
	if _, err := os.Stat(key); err != nil {
		return tls.Certificate{}, fmt.Errorf("missing key %s for client certificate %s. Note that CA certificates should use the extension .crt", filepath.Base(key), filepath.Base(cert))
	}
	certPEM, err := disk.ReadFile(cert, maxCertificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := disk.ReadFile(key, maxCertificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s: %w", cert, filepath.Base(key), err)
	}
	return pair, nil
}

func checkKey(key, cert string) error {
	if _, err := os.Stat(cert); err != nil {
		return fmt.Errorf("missing client certificate %s for key %s", filepath.Base(cert), filepath.Base(key))
	}
	return nil
}
