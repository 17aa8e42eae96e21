package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A pki is an authority, a server's certificate and a client's.
type pki struct{ authority, server, client *identity }

// An identity is a certificate and its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newPKI() (*pki, error) {
	authority, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "registrytest authority"},
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil)
	if err != nil {
		return nil, err
	}
	server, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "*.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, authority)
	if err != nil {
		return nil, err
	}
	client, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "client"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority)
	return &pki{authority, server, client}, err
}

// issue signs a certificate for a new key, by itself if there is no parent.
func issue(c *x509.Certificate, parent *identity) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if parent == nil {
		parent = &identity{c, key}
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	// Valid whatever the clock of the machine says.
	c.NotBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	c.NotAfter = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	der, err := x509.CreateCertificate(rand.Reader, c, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		return nil, err
	}
	made, err := x509.ParseCertificate(der)
	return &identity{made, key}, err
}

// config is that of the server. It asks for a client's certificate, so that
// one which is shown where it should not be is seen, and checks none.
//
// All origins can resume one another's sessions, as those of one operator
// can: who resumes one has shown the certificate that was shown in it.
func (p *pki) config() *tls.Config {
	c := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{p.server.cert.Raw}, PrivateKey: p.server.key}},
		ClientAuth:   tls.RequestClientCert,
	}
	c.SetSessionTicketKeys([][32]byte{{1}})
	return c
}

func (p *pki) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.authority.cert)
	return pool
}

// write writes the files that a client reads.
func (p *pki) write(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(p.client.key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"ca.crt":      {Type: "CERTIFICATE", Bytes: p.authority.cert.Raw},
		"client.cert": {Type: "CERTIFICATE", Bytes: p.client.cert.Raw},
		"client.key":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
