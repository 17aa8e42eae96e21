package registrytest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// The actions of this file change what the registry gets to see.

// change is the Action that does something with the request first.
func change(f func(*http.Request)) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			f(q)
			next.ServeHTTP(w, q)
		})
	}
}

// IgnoreRange answers with the whole where a part was asked for.
func IgnoreRange() Action {
	return change(func(q *http.Request) { q.Header.Del("Range") })
}

// TakeOnly takes n bytes of a chunk, and tells so in the answer's Range.
func TakeOnly(n int64) Action {
	return change(func(q *http.Request) {
		q.Body = io.NopCloser(io.LimitReader(q.Body, n))
		q.Header.Del("Content-Range")
		q.ContentLength = -1
	})
}

// TooLarge answers 413 to a body of more than n bytes.
func TooLarge(n int64) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			over := q.ContentLength > n
			if q.ContentLength < 0 {
				var head bytes.Buffer
				read, _ := io.CopyN(&head, q.Body, n+1)
				over = read > n
				q.Body = io.NopCloser(io.MultiReader(&head, q.Body))
			}
			if over {
				refuse(w, http.StatusRequestEntityTooLarge, codeSizeInvalid, "request entity too large")
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}

// CutRequest ends the connection when n bytes of the request's body have
// come. The registry keeps them.
func CutRequest(n int64) Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Body = io.NopCloser(io.MultiReader(io.LimitReader(q.Body, n), broken{}))
			capture(next, w, q)
			panic(http.ErrAbortHandler)
		})
	}
}

// broken is where a body breaks off.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// GrantScope makes the token service give a token for other scopes than it
// was asked for.
func GrantScope(scopes ...string) Action {
	return change(func(q *http.Request) {
		form := q.URL.Query()
		form["scope"] = scopes
		q.URL.RawQuery = form.Encode()
		if q.Method == http.MethodPost && q.ParseForm() == nil {
			q.PostForm["scope"] = scopes
		}
	})
}

// ForgetUpload makes the registry forget the upload that a request is about.
func (r *Registry) ForgetUpload() Action {
	return change(func(q *http.Request) {
		id := q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:]
		r.mu.Lock()
		defer r.mu.Unlock()
		if u, ok := r.uploads[id]; ok {
			r.used -= int64(len(u.content))
			u.content = nil
			u.turn++
			delete(r.uploads, id)
		}
	})
}

// ForgetTokens makes the registry forget every token that was given out.
func (r *Registry) ForgetTokens() Action {
	return change(func(*http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		clear(r.tokens)
	})
}
