package token

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestGrants(t *testing.T) {
	got := grants([]string{"repository:a/b:pull,push repository:c:pull", "registry:catalog:*", "broken", ""})
	want := []grant{{"repository", "a/b", []string{"pull", "push"}}, {"repository", "c", []string{"pull"}}, {"registry", "catalog", []string{"*"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("grants = %v; want %v", got, want)
	}
}

// Tools trust ca.pem only, so the whole chain is held here: made, served, verified.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	if err := MakePKI(dir); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	addr, srv, err := Serve(cert)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(ca)
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := hc.Get("https://" + addr + "/token?service=x&scope=repository:a:pull")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(answer.Token, "."); n != 2 {
		t.Errorf("token %q has %d dots; want 2", answer.Token, n)
	}
}
