// Package trace is an HTTPS reverse proxy that records every request, and the
// summary of such a record: how many requests, and how many of them had to
// wait for each other.
package trace

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Record is one request. Times are milliseconds since the log began.
type Record struct {
	Conn   int64   `json:"conn"`
	Proto  string  `json:"proto"`
	Side   string  `json:"side"`
	Start  float64 `json:"t0_ms"`
	End    float64 `json:"t1_ms"`
	Method string  `json:"method"`
	Path   string  `json:"path"`
	Range  string  `json:"range,omitempty"`
	Status int     `json:"status"`
	Up     int64   `json:"up"`
	Down   int64   `json:"down"`
	Agent  string  `json:"agent,omitempty"`
}

// Log collects the records of all its listeners.
type Log struct {
	cert    tls.Certificate
	began   time.Time
	conns   atomic.Int64
	mu      sync.Mutex
	active  int
	records []Record
	servers []*http.Server
}

// New returns a log whose listeners show cert.
func New(cert tls.Certificate) *Log { return &Log{cert: cert, began: time.Now()} }

// Listen records what goes to target, an http or https URL, on a free loopback
// port, whose address it returns. side names the listener in the records.
func (l *Log) Listen(side, target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{
		Handler:   l.handler(side, u),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{l.cert}},
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, l.conns.Add(1))
		},
	}
	l.mu.Lock()
	l.servers = append(l.servers, srv)
	l.mu.Unlock()
	go func() { _ = srv.ServeTLS(ln, "", "") }()
	return ln.Addr().String(), nil
}

type connKey struct{}

func (l *Log) handler(side string, target *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host // a Location must point back here
			p.Out.Header.Set("X-Forwarded-Proto", "https")
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // our own registry, behind a name of its own
		FlushInterval: -1,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(connKey{}).(int64)
		rec := Record{Conn: conn, Proto: r.Proto, Side: side, Start: l.now(), Method: r.Method,
			Path: r.URL.RequestURI(), Range: r.Header.Get("Range"), Agent: r.UserAgent()}
		var up atomic.Int64
		r.Body = countReader{r.Body, &up}
		cw := &countWriter{ResponseWriter: w, status: http.StatusOK}
		l.begin()
		defer func() {
			rec.End, rec.Status, rec.Up, rec.Down = l.now(), cw.status, up.Load(), cw.n
			l.end(rec)
		}()
		proxy.ServeHTTP(cw, r)
	})
}

func (l *Log) now() float64 { return float64(time.Since(l.began).Microseconds()) / 1000 }

func (l *Log) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active++
}

func (l *Log) end(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active--
	l.records = append(l.records, r)
}

// Take returns the records so far and forgets them. It waits, up to a second,
// for requests that are still under way.
func (l *Log) Take() []Record {
	for range 100 {
		l.mu.Lock()
		idle := l.active == 0
		l.mu.Unlock()
		if idle {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.records
	l.records = nil
	return out
}

// Close stops every listener.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.servers {
		s.Close()
	}
}

type countReader struct {
	rc interface {
		Read([]byte) (int, error)
		Close() error
	}
	n *atomic.Int64
}

func (c countReader) Read(p []byte) (int, error) {
	n, err := c.rc.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c countReader) Close() error { return c.rc.Close() }

type countWriter struct {
	http.ResponseWriter
	n      int64
	status int
}

func (c *countWriter) WriteHeader(s int) {
	c.status = s
	c.ResponseWriter.WriteHeader(s)
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach Flush.
func (c *countWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
