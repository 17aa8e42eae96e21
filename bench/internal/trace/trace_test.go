package trace

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func TestSummarise(t *testing.T) {
	// Two in sequence, then three together, then one: a chain of four.
	recs := []Record{
		{Conn: 1, Proto: "HTTP/1.1", Method: "GET", Start: 0, End: 1, Status: 401},
		{Conn: 1, Proto: "HTTP/1.1", Method: "GET", Start: 1, End: 2, Status: 200, Down: 5},
		{Conn: 1, Proto: "HTTP/1.1", Method: "PUT", Start: 3, End: 9, Status: 201, Up: 7},
		{Conn: 2, Proto: "HTTP/2.0", Method: "PUT", Start: 3, End: 4, Status: 201, Up: 7},
		{Conn: 3, Proto: "HTTP/1.1", Method: "PUT", Start: 3.5, End: 8, Status: 201},
		{Conn: 1, Proto: "HTTP/1.1", Method: "PUT", Start: 10, End: 11, Status: 500},
	}
	got := Summarise(recs)
	want := Summary{Requests: 6, Methods: map[string]int{"GET": 2, "PUT": 4}, Chain: 4, Peak: 3, Conns: 3,
		Refused: 1, Up: 14, Down: 5, Protos: []string{"HTTP/1.1", "HTTP/2.0"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Summarise = %+v; want %+v", got, want)
	}
	const line = "6 requests (GET 2, PUT 4), chain 4, 3 at once, 3 conns, 1 refused, HTTP/1.1+HTTP/2.0"
	if s := got.String(); s != line {
		t.Errorf("String = %q; want %q", s, line)
	}
	if e := Summarise(nil); e.Requests != 0 || e.Chain != 0 || e.Peak != 0 {
		t.Errorf("Summarise(nil) = %+v; want zeros", e)
	}
}

// The proxy must change nothing that a tool can see, or it would measure
// another tool: Location and body are the server's, with the proxy's host.
func TestListen(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Location", r.Header.Get("X-Forwarded-Proto")+"://"+r.Host+"/x")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "got %s", b)
	}))
	defer up.Close()
	certs := httptest.NewTLSServer(nil)
	defer certs.Close()
	l := New(certs.TLS.Certificates[0])
	defer l.Close()
	addr, err := l.Listen("b", up.URL)
	if err != nil {
		t.Fatal(err)
	}
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := hc.Post("https://"+addr+"/v2/?a=b", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if loc := resp.Header.Get("Location"); string(body) != "got hello" || loc != "https://"+addr+"/x" {
		t.Errorf("answer %q, Location %q; want the server's with the proxy's host", body, loc)
	}
	recs := l.Take()
	if len(recs) != 1 {
		t.Fatalf("Take = %d records; want 1", len(recs))
	}
	r := recs[0]
	if r.Method != "POST" || r.Path != "/v2/?a=b" || r.Status != 201 || r.Up != 5 || r.Down != 9 || r.Side != "b" {
		t.Errorf("record %+v; want POST /v2/?a=b 201, 5 up, 9 down, side b", r)
	}
}
