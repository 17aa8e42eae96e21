// Package token makes the certificates of the bench and serves tokens: its
// server grants every scope that it is asked for.
package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/imgtools/imgtools/bench/internal/oci"
)

// Issuer and Service are what registries must name in their settings.
const (
	Issuer  = "bench"
	Service = "bench-registry"
)

// MakePKI writes ca.pem, and cert.pem with key.pem for 127.0.0.1 and
// localhost, to dir. They last a week.
func MakePKI(dir string) error {
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "imgtools bench CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(writePEM(dir, "ca.pem", "CERTIFICATE", caDER),
		writePEM(dir, "cert.pem", "CERTIFICATE", der), writePEM(dir, "key.pem", "PRIVATE KEY", keyDER))
}

func writePEM(dir, name, kind string, der []byte) error {
	b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return os.WriteFile(filepath.Join(dir, name), b, 0o600)
}

// Serve serves tokens signed with cert on a free loopback port, whose address
// it returns.
func Serve(cert tls.Certificate) (string, *http.Server, error) {
	key, ok := cert.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return "", nil, errors.New("the certificate's key is not ECDSA")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := signer{cert: cert.Certificate[0], key: key}
	srv := &http.Server{Handler: s, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	go func() { _ = srv.ServeTLS(ln, "", "") }()
	return ln.Addr().String(), srv, nil
}

type signer struct {
	cert []byte
	key  *ecdsa.PrivateKey
}

type grant struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// grants reads the scopes of a request: "repository:NAME:pull,push", several
// in one value divided by blanks.
func grants(scopes []string) []grant {
	out := []grant{}
	for _, s := range scopes {
		for _, one := range strings.Fields(s) {
			p := strings.SplitN(one, ":", 3)
			if len(p) == 3 {
				out = append(out, grant{p[0], p[1], strings.Split(p[2], ",")})
			}
		}
	}
	return out
}

// ServeHTTP answers GET (and POST) /token as the distribution-spec's token
// authentication wants it.
func (s signer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tok, err := s.sign(grants(r.Form["scope"]))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(oci.JSON(map[string]any{"token": tok, "access_token": tok, "expires_in": 300,
		"issued_at": time.Now().UTC().Format(time.RFC3339)}))
}

func (s signer) sign(access []grant) (string, error) {
	enc := base64.RawURLEncoding
	now := time.Now()
	head := oci.JSON(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(s.cert)}})
	claims := oci.JSON(map[string]any{"iss": Issuer, "sub": "", "aud": Service, "exp": now.Unix() + 300,
		"nbf": now.Unix() - 10, "iat": now.Unix(), "jti": now.Format(time.RFC3339Nano), "access": access})
	text := enc.EncodeToString(head) + "." + enc.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", err
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	t.FillBytes(sig[32:])
	return text + "." + enc.EncodeToString(sig), nil
}
