package registrytest

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"
)

func clientConfig(t *testing.T, s *Server) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.CertDir, "client.cert"), filepath.Join(s.CertDir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: s.Roots, Certificates: []tls.Certificate{pair}}
}

// A secret is found wherever a client may have put it.
func TestCarries(t *testing.T) {
	const secret = "s3cret&word"
	for name, send := range map[string]func(t *testing.T, url string){
		"bearer": func(t *testing.T, url string) { do(t, "GET", url, "", "Authorization", "Bearer "+secret) },
		"basic": func(t *testing.T, url string) {
			do(t, "GET", url, "", "Authorization", "Basic dXNlcjpzM2NyZXQmd29yZA==")
		},
		"header": func(t *testing.T, url string) { do(t, "GET", url, "", "X-Other", secret) },
		"query":  func(t *testing.T, url string) { do(t, "GET", url+"?password=s3cret%26word", "") },
		"form": func(t *testing.T, url string) {
			do(t, "POST", url, "refresh_token=s3cret%26word", "Content-Type", "application/x-www-form-urlencoded")
		},
	} {
		s := Start(t, Options{Auth: bearer(Auth{})})
		send(t, s.URL(Main)+"/token")
		if q := s.Requests()[0]; !q.Carries(secret) || q.Carries("another") {
			t.Errorf("%s: Carries does not see the secret in %+v", name, q)
		}
	}
}

func TestRequests(t *testing.T) {
	s, c := seed(t, Options{})
	d, content := layerOf(c)
	do(t, "GET", s.URL(Main)+"/v2/a/b/blobs/"+d.String(), "", "Range", "bytes=0-9", "Authorization", "Bearer t")
	do(t, "HEAD", s.URL(Main)+"/v2/a/b/blobs/"+d.String()+"?x=y", "")
	do(t, "POST", s.URL(Main)+"/v2/a/b/blobs/uploads/?digest=sha256:1", "body")
	do(t, "PUT", withDigest(begin(t, s, "a/b"), d), string(content))
	list := s.Requests()
	if q := list[0]; q.Method != "GET" || q.Status != 206 || q.Out != 10 || q.Range() != "bytes=0-9" || q.Host != s.Addr || q.Origin != Main {
		t.Errorf("the log has %+v; want a GET of 10 bytes", q)
	}
	if scheme, value := list[0].Authorization(); scheme != "bearer" || value != "t" {
		t.Errorf("Authorization = %q, %q; want bearer, t", scheme, value)
	}
	if q := list[1]; q.Out != 0 || q.Status != 200 || q.Query.Get("x") != "y" {
		t.Errorf("the log has %+v; want a HEAD", q)
	}
	if q := list[2]; q.Status != 400 {
		t.Errorf("the log has %+v; want a refusal", q)
	}
	if q := list[4]; q.In != int64(len(content)) || q.Status != 201 {
		t.Errorf("the log has %d bytes in, status %d; want %d, 201", q.In, q.Status, len(content))
	}
	if n := s.Count("", "/v2/**"); n != 5 {
		t.Errorf("Count of all = %d; want 5", n)
	}
	if n := s.Count("GET", "/v2/**/blobs/*"); n != 1 {
		t.Errorf("Count of GET = %d; want 1", n)
	}
	s.Forget()
	if n := s.Count("", "**"); n != 0 {
		t.Errorf("Count after Forget = %d; want 0", n)
	}
	if s.URL("nobody") != "" || !strings.HasPrefix(s.URL(Main), "http://127.0.0.1:") {
		t.Errorf("URL = %q, %q; want none and one on loopback", s.URL("nobody"), s.URL(Main))
	}
}
