package registrytest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The actions of this file change what the registry answers.

// An Answer is one that waits to be changed. For HEAD it has no body.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Edit changes the answer before it is sent. If that changes the length of
// the body, Content-Length follows, unless it is changed as well.
func Edit(change func(*Answer)) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			a := capture(next, w, q)
			said, n := a.Header.Get("Content-Length"), len(a.Body)
			change(a)
			if len(a.Body) != n && a.Header.Get("Content-Length") == said {
				a.Header.Set("Content-Length", strconv.Itoa(len(a.Body)))
			}
			a.send(w)
		})
	}
}

// capture returns what a handler answers.
func capture(h http.Handler, w http.ResponseWriter, q *http.Request) *Answer {
	c := &capturing{header: w.Header()}
	h.ServeHTTP(c, q)
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return &Answer{c.status, c.header, c.body.Bytes()}
}

// send sends the answer, of the body no more than the header says. The header
// is that of w itself.
func (a *Answer) send(w http.ResponseWriter) {
	body := a.Body
	if n, err := strconv.Atoi(a.Header.Get("Content-Length")); err == nil && n >= 0 {
		body = body[:min(n, len(body))]
	}
	w.WriteHeader(a.Status)
	w.Write(body)
}

type capturing struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (c *capturing) Header() http.Header { return c.header }

func (c *capturing) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *capturing) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(p)
}

// Header sets a header of the answer: a Docker-Content-Digest that lies, a
// Content-Range of other bytes, a Link to elsewhere. With the value "" the
// header is taken away.
func Header(name, value string) Action {
	return Edit(func(a *Answer) {
		if a.Header.Set(name, value); value == "" {
			a.Header.Del(name)
		}
	})
}

// GiantHeader adds a header of n bytes.
func GiantHeader(n int) Action { return Header("X-Giant", strings.Repeat("x", n)) }

// Flip changes byte n of the body, if there is one.
func Flip(n int) Action {
	return Edit(func(a *Answer) {
		if n < len(a.Body) {
			a.Body = bytes.Clone(a.Body)
			a.Body[n] ^= 1
		}
	})
}

// Append adds to the body: garbage behind JSON, bytes behind a blob.
func Append(text string) Action {
	return Edit(func(a *Answer) { a.Body = append(bytes.Clone(a.Body), text...) })
}

// Shorten takes the last n bytes of the body away, and says so.
func Shorten(n int) Action {
	return Edit(func(a *Answer) { a.Body = a.Body[:max(len(a.Body)-n, 0)] })
}

// Replace puts one text for another in the body, once.
func Replace(old, with string) Action {
	return Edit(func(a *Answer) { a.Body = bytes.Replace(a.Body, []byte(old), []byte(with), 1) })
}

// ContentLength claims that the body has delta bytes more than it has. The
// connection ends where they are missing; of what is too much nothing is sent.
func ContentLength(delta int) Action {
	return Edit(func(a *Answer) { a.Header.Set("Content-Length", strconv.Itoa(len(a.Body)+delta)) })
}

// Gzip packs the body, whether or not the client accepts that.
func Gzip() Action {
	return Edit(func(a *Answer) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(a.Body)
		z.Close()
		a.Header.Set("Content-Encoding", "gzip")
		a.Body = b.Bytes()
	})
}

// MoveLocation puts another scheme and host into the Location header; "" for
// none, which makes it relative.
func MoveLocation(origin string) Action {
	return Edit(func(a *Answer) {
		u, err := url.Parse(a.Header.Get("Location"))
		if err != nil {
			panic(err)
		}
		a.Header.Set("Location", origin+u.RequestURI())
	})
}

// CutBody ends the connection when n bytes of the body have been sent.
func CutBody(n int) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			a := capture(next, w, q)
			w.WriteHeader(a.Status)
			w.Write(a.Body[:min(n, len(a.Body))])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
	}
}

// LoseAnswer lets the registry do what it is asked, and cuts the connection
// where the answer should come.
func LoseAnswer() Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			capture(next, w, q)
			panic(http.ErrAbortHandler)
		})
	}
}

// raw takes the connection away from net/http and writes the answer to it as
// write has it, and nothing afterwards. It needs HTTP/1.
func raw(write func(w *bufio.Writer, a *Answer)) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			a := capture(next, w, q)
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			write(buf.Writer, a)
			buf.Flush()
		})
	}
}

// print writes the answer by a version of HTTP.
func (a *Answer) print(w *bufio.Writer, version string) {
	fmt.Fprintf(w, "HTTP/%s %d %s\r\n", version, a.Status, http.StatusText(a.Status))
	a.Header.Write(w)
	w.WriteString("\r\n")
	w.Write(a.Body)
}

// HTTP10 answers as old servers do: no length, and the end of the connection
// is that of the body. It needs HTTP/1.
func HTTP10() Action {
	return raw(func(w *bufio.Writer, a *Answer) {
		a.Header.Del("Content-Length")
		a.print(w, "1.0")
	})
}

// Babble goes on talking when the answer is over. It needs HTTP/1.
func Babble(text string) Action {
	return raw(func(w *bufio.Writer, a *Answer) {
		a.print(w, "1.1")
		w.WriteString(text)
	})
}

// EndlessHints says that an answer is to come, and again (RFC 8297), and does
// not come to it. It needs HTTP/1.
func EndlessHints() Action {
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: </hint>; rel=preload\r\n\r\n"
	return raw(func(w *bufio.Writer, _ *Answer) {
		for range endless / len(hint) {
			if _, err := w.WriteString(hint); err != nil {
				return
			}
		}
	})
}
