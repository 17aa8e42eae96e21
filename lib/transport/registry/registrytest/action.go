package registrytest

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// The actions of this file answer in the registry's place.

// instead is the Action that answers with h.
func instead(h http.HandlerFunc) Action {
	return func(http.Handler) http.Handler { return h }
}

// Refuse answers with a status and an error of the distribution-spec's form.
// The headers are names and values in turn.
func Refuse(status int, code, message string, headers ...string) Action {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		setHeaders(w.Header(), headers)
		refuse(w, status, code, message)
	})
}

// Reply answers with any body.
func Reply(status int, contentType, body string, headers ...string) Action {
	return instead(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", contentType)
		setHeaders(w.Header(), headers)
		w.WriteHeader(status)
		if q.Method != http.MethodHead {
			w.Write([]byte(body))
		}
	})
}

func setHeaders(h http.Header, pairs []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
}

// Busy answers that there were too many requests (429), or with another
// status, and says when to come again: seconds, a date, anything.
func Busy(status int, retryAfter string) Action {
	return Refuse(status, "TOOMANYREQUESTS", "too many requests", "Retry-After", retryAfter)
}

// Challenge answers 401 with these WWW-Authenticate lines.
func Challenge(lines ...string) Action {
	var headers []string
	for _, l := range lines {
		headers = append(headers, "WWW-Authenticate", l)
	}
	return Refuse(http.StatusUnauthorized, codeUnauthorized, "authentication required", headers...)
}

// Redirect answers 307 with a Location.
func Redirect(to string) Action {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

// RedirectTo answers 307 to the same path and query at another origin, given
// by its URL. With "" it is the same origin, and so a loop.
func RedirectTo(origin string) Action {
	return instead(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Location", origin+q.URL.RequestURI())
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

// RedirectOn answers 307 to a new path each time, without an end.
func RedirectOn() Action {
	var hops atomic.Int64
	return instead(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Location", fmt.Sprintf("%s?hop=%d", q.URL.EscapedPath(), hops.Add(1)))
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

// endless is where Endless ends after all, so that a client that reads on
// fails its test and does not fill the memory.
const endless = 256 << 20

// Endless answers with a body that begins with start and does not end. The
// rest of it is spaces, which any parser of JSON passes over.
func Endless(contentType, start string) Action {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		spaces := []byte(strings.Repeat(" ", 64<<10))
		w.Write([]byte(start))
		for range endless / len(spaces) {
			if _, err := w.Write(spaces); err != nil {
				return
			}
		}
		panic(http.ErrAbortHandler)
	})
}

// EndlessPages answers each request for a page of tags with one tag and a
// link to yet another page.
func EndlessPages() Action {
	var pages atomic.Int64
	return instead(func(w http.ResponseWriter, q *http.Request) {
		tag := fmt.Sprint(pages.Add(1))
		w.Header().Set("Link", fmt.Sprintf(`<%s?last=%s>; rel="next"`, q.URL.EscapedPath(), tag))
		writeJSON(w, http.StatusOK, map[string]any{"name": "endless", "tags": []string{tag}})
	})
}

// Cut ends the connection without an answer.
func Cut() Action {
	return instead(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Reset is Cut such that the client's system says "connection reset by peer".
// It needs HTTP/1.
func Reset() Action {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	})
}
