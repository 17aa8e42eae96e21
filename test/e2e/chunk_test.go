package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// atMost is a proxy's limit for a request's body, as nginx and Cloudflare have
// it: what is larger is refused.
func atMost(n int64) harness.Hook {
	return func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
		tooLarge := q.ContentLength > n
		if q.ContentLength < 0 { // all has to be seen before any of it goes on
			b, err := io.ReadAll(io.LimitReader(q.Body, n+1))
			tooLarge = int64(len(b)) > n || err != nil
			q.Body, q.ContentLength = io.NopCloser(strings.NewReader(string(b))), int64(len(b))
		}
		if tooLarge {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		pass.ServeHTTP(w, q)
	}
}

// In front of a registry there may be something that takes no large requests.
// Layers go up in parts then, without a word from the user, or in those that
// were asked for.
func TestLargeRequestsAreRefused(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Big(12<<20))
	for _, version := range []string{"v3", "2.8", "olareg"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
			small := r.Through(t, atMost(5<<20))
			harness.Must(t, "img-copy", "-q", "--retry-delay=1ms", l.Ref("big"), small.Ref("a/by-itself:1"))
			holds(t, r, "a/by-itself:1", l.Roots["big"].Digest.String())
			smaller := r.Through(t, atMost(1<<20))
			harness.Must(t, "img-copy", "-q", "--retry-delay=1ms", "--chunk-size=1M", l.Ref("big"), smaller.Ref("a/as-said:1"))
			holds(t, r, "a/as-said:1", l.Roots["big"].Digest.String())
			if got := len(smaller.Requests("PATCH ")); got < 12 || got > 16 {
				t.Errorf("12 MiB went up in %d parts; want about 12 of 1 MiB", got)
			}
		})
	}
}
