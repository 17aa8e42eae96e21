package registrytest

import (
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// A Request is one that arrived, and what became of it.
type Request struct {
	Origin     string // where it arrived, see Server.Open
	Host       string // by what name the client called it
	Method     string
	Path       string
	Query      url.Values
	Header     http.Header
	ClientCert bool  // the client showed a certificate
	Status     int   // 0: it got no answer
	In, Out    int64 // bytes of the bodies

	form string // the body, if it was a form
}

// Authorization returns the scheme of the Authorization header, in lower
// case, and what follows it.
func (q Request) Authorization() (scheme, value string) {
	scheme, value, _ = strings.Cut(q.Header.Get("Authorization"), " ")
	return strings.ToLower(scheme), value
}

// Range returns the Range header.
func (q Request) Range() string { return q.Header.Get("Range") }

// Carries reports whether a secret was anywhere in the request: in a header,
// as it is or as basic authentication packs it, in the query or in a form.
func (q Request) Carries(secret string) bool {
	text := []string{q.Path, q.form, q.Query.Encode()}
	for _, values := range q.Header {
		text = append(text, values...)
	}
	for _, values := range q.Query {
		text = append(text, values...)
	}
	if form, err := url.ParseQuery(q.form); err == nil {
		for _, values := range form {
			text = append(text, values...)
		}
	}
	if _, packed := q.Authorization(); packed != "" {
		plain, _ := base64.StdEncoding.DecodeString(packed)
		text = append(text, string(plain))
	}
	return strings.Contains(strings.Join(text, "\n"), secret)
}

// Requests returns the requests that arrived, in that order.
func (r *Registry) Requests() []Request {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	list := make([]Request, len(r.log.list))
	for i, q := range r.log.list {
		list[i] = *q
		list[i].Query, list[i].Header = maps.Clone(q.Query), q.Header.Clone()
	}
	return list
}

// Count returns the number of requests with that method, "" for any, whose
// path matches the pattern; see On for patterns.
func (r *Registry) Count(method, pattern string) int {
	list := slices.DeleteFunc(r.Requests(), func(q Request) bool {
		return method != "" && q.Method != method || !match(pattern, q.Path)
	})
	return len(list)
}

// Forget empties the list of requests.
func (r *Registry) Forget() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.list = nil
}

// A log is the list of what arrived. What an entry says is never behind what
// the client has seen.
type log struct {
	mu   sync.Mutex
	list []*Request
}

const maxForm = 64 << 10

// begin makes an entry, and returns writer and request such that it is kept.
func (l *log) begin(origin string, w http.ResponseWriter, q *http.Request) (http.ResponseWriter, *http.Request) {
	e := &Request{
		Origin: origin, Host: q.Host, Method: q.Method, Path: q.URL.Path,
		Query: q.URL.Query(), Header: q.Header.Clone(),
		ClientCert: q.TLS != nil && len(q.TLS.PeerCertificates) > 0,
	}
	l.mu.Lock()
	l.list = append(l.list, e)
	l.mu.Unlock()
	q = q.Clone(q.Context()) // faults may change it
	form := strings.HasPrefix(q.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	q.Body = &loggedBody{ReadCloser: q.Body, log: l, entry: e, form: form}
	return &loggedWriter{ResponseWriter: w, log: l, entry: e}, q
}

type loggedBody struct {
	io.ReadCloser
	log   *log
	entry *Request
	form  bool
}

func (b *loggedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	b.entry.In += int64(n)
	if b.form && len(b.entry.form) < maxForm {
		b.entry.form += string(p[:n])
	}
	return n, err
}

type loggedWriter struct {
	http.ResponseWriter
	log   *log
	entry *Request
}

// Unwrap is what http.ResponseController needs.
func (w *loggedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *loggedWriter) WriteHeader(status int) {
	w.note(status, 0)
	w.ResponseWriter.WriteHeader(status)
}

func (w *loggedWriter) Write(p []byte) (int, error) {
	w.note(http.StatusOK, len(p))
	return w.ResponseWriter.Write(p)
}

func (w *loggedWriter) note(status, n int) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.entry.Status == 0 {
		w.entry.Status = status
	}
	w.entry.Out += int64(n)
}
