package registrytest_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry"
	rt "github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// inject is an arm that lets the same things go wrong in each scene.
func inject(faults ...rt.Fault) func(*scene) {
	return func(s *scene) { s.Inject(faults...) }
}

// count is a check of how many requests there were.
func count(method, pattern string, want int) func(*scene) {
	return func(s *scene) {
		s.t.Helper()
		if got := s.Count(method, pattern); got != want {
			s.t.Errorf("%d requests %s %s; want %d", got, method, pattern, want)
		}
	}
}

// untouched is a check that an origin got no request.
func untouched(origins ...string) func(*scene) {
	return func(s *scene) {
		s.t.Helper()
		for _, q := range s.Requests() {
			if slices.Contains(origins, q.Origin) {
				s.t.Errorf("the origin %s got %s %s; want no request", q.Origin, q.Method, q.Path)
			}
		}
	}
}

// big is an image with a layer that takes more than one read, one write and
// one buffer of the system.
func big() *imagetest.Content {
	return imagetest.Plain(bytes.Repeat([]byte("0123456789abcdef"), 100_000))
}

// impatient gives up on a silent network at once. It is for cases in which
// the network is silent for ever.
func impatient(o *registry.Options) {
	o.Network.Idle, o.Network.Header = 300*time.Millisecond, 300*time.Millisecond
}

func TestPull(t *testing.T) {
	runAll(t, (*hostile).pull, map[string]map[string]hostile{
		"breaks": pullBreaks(), "lies": pullLies(), "floods": pullFloods(), "redirects": pullRedirects(),
		"documents": pullDocuments(), "tokens": pullTokens(), "challenges": pullChallenges(),
	})
}

// Transfers that break: they go on, or fail as what they are.
func pullBreaks() map[string]hostile {
	forever, once := rt.NewStall(), rt.NewStall()
	return map[string]hostile{
		"nothing":               {most: 8},
		"nothing, HTTPS":        {tls: true, most: 8, check: certified},
		"nothing, unverified":   {tls: true, client: func(o *registry.Options) { o.CertDir, o.TLSVerify = "", registry.Never }},
		"unknown authority":     {tls: true, client: func(o *registry.Options) { o.CertDir = "" }, want: image.ErrNetwork, check: count("", "**", 0)},
		"no TLS where it must":  {client: func(o *registry.Options) { o.TLSVerify = registry.Always }, want: image.ErrNetwork, check: count("", "**", 0)},
		"nothing, big":          {content: big, most: 6},
		"nothing, empty":        {content: func() *imagetest.Content { return imagetest.Plain([]byte{}) }},
		"nothing, index":        {content: imagetest.Index},
		"unavailable twice":     {arm: inject(rt.On("GET", manifests, rt.Refuse(503, "UNAVAILABLE", "later")).Times(2))},
		"unavailable":           {arm: inject(rt.On("GET", manifests, rt.Refuse(503, "UNAVAILABLE", "later"))), want: image.ErrNetwork, most: 5},
		"internal error":        {arm: inject(rt.On("GET", blobs, rt.Reply(500, "text/html", "<h1>oops</h1>"))), want: image.ErrNetwork},
		"bad gateway once":      {arm: inject(rt.On("GET", blobs, rt.Reply(502, "text/html", "<h1>oops</h1>")).Times(1))},
		"busy, come at once":    {arm: inject(rt.On("GET", blobs, rt.Busy(429, "0")).Times(2))},
		"busy, come tomorrow":   {arm: inject(rt.On("GET", manifests, rt.Busy(429, "86400"))), want: image.ErrNetwork, says: "24h", most: 3},
		"busy, odd Retry-After": {arm: inject(rt.On("GET", manifests, rt.Busy(429, "soon")).Times(2))},
		"busy, date of old":     {arm: inject(rt.On("GET", manifests, rt.Busy(503, "Mon, 02 Jan 2006 15:04:05 GMT")).Times(2))},
		"busy, overflow":        {arm: inject(rt.On("GET", manifests, rt.Busy(429, "99999999999999999999"))), want: image.ErrNetwork, most: 6},
		"cut before the answer": {arm: inject(rt.On("GET", manifests, rt.Cut()).Nth(2))},
		"reset":                 {arm: inject(rt.On("GET", blobs, rt.Reset()).Times(2))},
		"reset for ever":        {arm: inject(rt.On("GET", blobs, rt.Reset())), want: image.ErrNetwork},
		"cut in the manifest":   {arm: inject(rt.On("GET", manifests, rt.CutBody(20)).After(1).Times(1))},
		"cut in a blob":         {content: big, arm: inject(rt.On("GET", blobs, rt.CutBody(100_000)).Times(3)), check: resumed},
		"cut often":             {content: big, arm: inject(rt.On("GET", blobs, rt.CutBody(200_000)).Times(8)), check: resumed},
		"cut at the last byte":  {content: big, arm: inject(rt.On("GET", blobs, rt.ContentLength(1)).Times(2)), want: image.ErrMismatch},
		"cut without progress":  {arm: inject(rt.On("GET", blobs, rt.CutBody(0))), want: image.ErrNetwork},
		"no ranges":             {content: big, options: rt.Options{NoRange: true}, arm: inject(rt.On("GET", blobs, rt.CutBody(100_000)).Times(2))},
		"200 for a range":       {content: big, arm: inject(rt.On("GET", blobs, rt.IgnoreRange()), rt.On("GET", blobs, rt.CutBody(100_000)).Times(2))},
		"gone while it came":    {content: big, arm: cutThen(rt.Refuse(404, "BLOB_UNKNOWN", "gone"), 0), want: image.ErrNotFound},
		"other range once":      {content: big, arm: cutThen(rt.Header("Content-Range", "bytes 0-9/10"), 1)},
		"other bytes in range":  {content: big, arm: cutThen(rt.Flip(7), 0), want: image.ErrMismatch},
		"cut at the cdn":        {content: big, arm: func(s *scene) { atCDN(s); s.Inject(rt.On("GET", blobs, rt.CutBody(100_000)).At("cdn").Times(4)) }, check: resumed},
		"signature run out":     {content: big, arm: runsOut},
		"206 nobody asked for":  {arm: inject(rt.On("GET", blobs, status(206))), want: image.ErrNetwork},
		"304 nobody asked for":  {arm: inject(rt.On("GET", manifests, status(304))), want: errAny, most: 4},
		"stalls for ever":       {arm: inject(rt.On("GET", blobs, forever.Body(0))), client: impatient, want: image.ErrNetwork, says: "no data"},
		"stalls once":           {content: big, arm: inject(rt.On("GET", blobs, once.Body(100_000)).Nth(1)), client: impatient},
		"no answer":             {arm: inject(rt.On("GET", manifests, forever.Answer())), client: impatient, want: image.ErrNetwork, says: "no data"},
		"HTTP/1.0":              {arm: inject(rt.On("GET", blobs, rt.HTTP10()), rt.On("GET", manifests, rt.HTTP10()))},
	}
}

// cutThen cuts every blob once, where it is large, and lets something go wrong
// with the ranges that follow, times of them or, for 0, all.
func cutThen(then rt.Action, times int) func(*scene) {
	ranged := func(next http.Handler) http.Handler {
		fault := then(next)
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("Range") == "" {
				next.ServeHTTP(w, q)
				return
			}
			fault.ServeHTTP(w, q)
		})
	}
	return func(s *scene) {
		largest := ""
		for d, b := range s.c.Blobs {
			if len(b) > 1<<20 {
				largest = "/v2/**/blobs/" + d.String()
			}
		}
		s.Inject(rt.On("GET", largest, rt.CutBody(100_000)).Times(1), rt.On("GET", largest, ranged).After(1).Times(times))
	}
}

// atCDN sends everybody to the cdn for blobs.
func atCDN(s *scene) {
	s.Inject(rt.On("GET", blobs, rt.RedirectTo(s.cdn)).At(rt.Main))
}

// runsOut lets what a redirect leads to be good once, as signed URLs are: who
// wants more has to ask the registry again.
func runsOut(s *scene) {
	sent := make(chan int, 1)
	sent <- 0
	s.Inject(rt.On("GET", blobs, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			n := <-sent + 1
			sent <- n
			w.Header().Set("Location", fmt.Sprintf("%s%s?n=%d", s.cdn, q.URL.Path, n))
			w.WriteHeader(http.StatusFound)
		})
	}).At(rt.Main))
	used := make(chan map[string]bool, 1)
	used <- map[string]bool{}
	s.Inject(rt.On("GET", blobs, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			seen := <-used
			again := seen[q.URL.RawQuery]
			seen[q.URL.RawQuery] = true
			used <- seen
			if again {
				next = rt.Refuse(403, "DENIED", "expired")(next)
			}
			rt.CutBody(700_000)(next).ServeHTTP(w, q)
		})
	}).At("cdn"))
}

// certified checks that the registry, which asks for a certificate, saw one.
func certified(s *scene) {
	s.t.Helper()
	for _, q := range s.Requests() {
		if !q.ClientCert {
			s.t.Errorf("%s %s came without a certificate", q.Method, q.Path)
		}
	}
}

func resumed(s *scene) {
	s.t.Helper()
	for _, q := range s.Requests() {
		if strings.HasPrefix(q.Range(), "bytes=") && q.Status == 206 {
			return
		}
	}
	s.t.Errorf("no range was asked for; want the transfer to go on")
}

// What is not what it should be, or is called what it is not.
func pullLies() map[string]hostile {
	return map[string]hostile{
		"other byte in a blob":    {arm: inject(rt.On("GET", blobs, rt.Flip(30))), want: image.ErrMismatch},
		"other byte in manifest":  {pinned: true, arm: inject(rt.On("GET", manifests, rt.Flip(30))), want: image.ErrMismatch, most: 4},
		"longer blob":             {arm: inject(rt.On("GET", blobs, rt.Append("more"))), want: image.ErrMismatch},
		"shorter blob":            {arm: inject(rt.On("GET", blobs, rt.Shorten(1))), want: image.ErrMismatch},
		"empty blob":              {arm: inject(rt.On("GET", blobs, rt.Reply(200, "application/octet-stream", ""))), want: image.ErrMismatch},
		"no content":              {arm: inject(rt.On("GET", blobs, rt.Reply(204, "application/octet-stream", ""))), want: errAny},
		"length too large":        {arm: inject(rt.On("GET", blobs, rt.ContentLength(10))), want: image.ErrMismatch},
		"length too small":        {arm: inject(rt.On("GET", blobs, rt.ContentLength(-10))), want: image.ErrMismatch},
		"longer, without length":  {arm: inject(rt.On("GET", blobs, rt.HTTP10(), rt.Append("more"))), want: image.ErrMismatch},
		"shorter, without length": {arm: inject(rt.On("GET", blobs, rt.HTTP10(), rt.Shorten(1))), want: image.ErrMismatch},
		"other digest said":       {arm: inject(rt.On("GET", manifests, rt.Header("Docker-Content-Digest", digest.FromString("x").String()))), want: image.ErrMismatch, most: 4},
		"other digest of a blob":  {arm: inject(rt.On("GET", blobs, rt.Header("Docker-Content-Digest", digest.FromString("x").String())))},
		"no digest said":          {arm: inject(rt.On("GET", manifests, rt.Header("Docker-Content-Digest", "")))},
		"nonsense digest said":    {arm: inject(rt.On("GET", manifests, rt.Header("Docker-Content-Digest", "sha256:../../x")))},
		"answers unasked for":     {arm: inject(rt.On("GET", blobs, rt.Babble("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")))},
		"blob packed":             {arm: inject(rt.On("GET", blobs, rt.Gzip())), want: image.ErrMismatch},
		"manifest packed":         {arm: inject(rt.On("GET", manifests, rt.Gzip())), want: image.ErrMismatch},
		"web page as manifest":    {arm: inject(rt.On("GET", manifests, rt.Reply(200, "text/html", "<html>log in</html>"))), want: oci.ErrInvalid},
		"web page as blob":        {arm: inject(rt.On("GET", blobs, rt.Reply(200, "text/html", "<html>log in</html>"))), want: image.ErrMismatch},
		"no manifest":             {arm: inject(rt.On("GET", manifests, rt.Refuse(404, "MANIFEST_UNKNOWN", "unknown tag"))), want: image.ErrNotFound, most: 3},
		"no blob":                 {arm: inject(rt.On("GET", blobs, rt.Refuse(404, "BLOB_UNKNOWN", "gone"))), want: image.ErrNotFound},
		"denied, in colours":      {arm: inject(rt.On("GET", manifests, rt.Refuse(403, "DENIED", "\x1b[31mno\r\n\x9b\u202e way"))), want: image.ErrDenied, says: "no", most: 3},
		"code in colours":         {arm: inject(rt.On("GET", manifests, rt.Refuse(400, "\x1b]0;title\a", "x"))), want: errAny},
		"page in colours":         {arm: inject(rt.On("GET", manifests, rt.Reply(404, "text/plain", "\x1b[31mred"))), want: image.ErrNotFound},
		"secret sent back":        {arm: inject(rt.On("GET", manifests, echo()).After(1)), want: image.ErrDenied},
		"warning in colours":      {arm: inject(rt.On("GET", manifests, rt.Header("Warning", "299 - \"\u009b31mred\"")))},
		"header in colours":       {arm: inject(rt.On("GET", manifests, rt.Header("Warning", "299 - \"\x1b31mred\""))), want: image.ErrNetwork},
	}
}

// errAny is for cases in which it does not matter what the error is.
var errAny error = anyError{}

type anyError struct{}

func (anyError) Error() string { return "any error" }

// echo refuses with what it was shown.
func echo() rt.Action {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, "not for "+q.Header.Get("Authorization"))
		})
	}
}

// What does not end.
func pullFloods() map[string]hostile {
	const long = 2 << 20
	return map[string]hostile{
		"endless manifest":        {arm: inject(rt.On("GET", manifests, rt.Endless(oci.MediaTypeManifest, "{"))), want: image.ErrTooLarge, most: 3},
		"endless blob":            {arm: inject(rt.On("GET", blobs, rt.Endless("application/octet-stream", ""))), want: image.ErrMismatch},
		"endless hints":           {arm: inject(rt.On("GET", manifests, rt.EndlessHints())), want: image.ErrNetwork, most: 6},
		"endless error":           {arm: inject(rt.On("GET", manifests, atStatus(404, rt.Endless("application/json", "{")))), want: image.ErrNotFound, most: 3},
		"endless 401":             {arm: inject(rt.On("GET", manifests, rt.Edit(func(a *rt.Answer) { a.Body = bytes.Repeat([]byte(" "), 8<<20) })).Times(1))},
		"endless token":           {arm: inject(rt.On("GET", tokens, rt.Endless("application/json", `{"token":"x"`))), want: image.ErrTooLarge, most: 3},
		"giant token":             {arm: inject(rt.On("GET", tokens, rt.Reply(200, "application/json", `{"token":"`+strings.Repeat("x", long)+`"}`))), want: image.ErrTooLarge, most: 3},
		"giant header":            {arm: inject(rt.On("GET", manifests, rt.GiantHeader(long))), want: image.ErrNetwork, most: 6},
		"giant challenge":         {arm: inject(rt.On("GET", manifests, rt.Challenge(`Bearer realm="http://127.0.0.1:1/`+strings.Repeat("x", 100_000)+`"`))), want: errAny, most: 6},
		"thousand challenges":     {arm: inject(rt.On("GET", manifests, rt.Challenge(strings.Repeat(`Basic realm="x", Bearer realm="y", `, 1000)))), want: errAny, most: 12},
		"scopes without end":      {arm: inject(rt.On("GET", manifests, moreScopes())), want: errAny, most: 12},
		"manifest of blobs, many": {content: wide, want: nil, most: 600},
	}
}

// wide is an image with many small layers.
func wide() *imagetest.Content {
	var layers [][]byte
	for i := range 200 {
		plain, _ := imagetest.Layer(fmt.Sprint(i), []byte{byte(i)})
		layers = append(layers, plain)
	}
	return imagetest.Plain(layers...)
}

// atStatus gives an answer another status.
func atStatus(status int, do rt.Action) rt.Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.WriteHeader(status)
			do(next).ServeHTTP(w, q)
		})
	}
}

// moreScopes asks for yet another scope each time.
func moreScopes() rt.Action {
	n := make(chan int, 1)
	n <- 0
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			i := <-n + 1
			n <- i
			challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="registrytest",scope="repository:x%d:pull",error="insufficient_scope"`, q.Host, i)
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		})
	}
}

// Where a registry may send us, and with what.
func pullRedirects() map[string]hostile {
	to := func(f func(s *scene) string, path string) func(*scene) {
		return func(s *scene) { s.Inject(rt.On("GET", path, rt.RedirectTo(f(s))).At(rt.Main)) }
	}
	cdn := func(s *scene) string { return s.cdn }
	plain := func(s *scene) string { return s.plain }
	exactly := func(location string) func(*scene) {
		return inject(rt.On("GET", blobs, rt.Redirect(location)))
	}
	return map[string]hostile{
		"blobs at another host":    {arm: to(cdn, blobs), most: 20},
		"the same, HTTPS":          {tls: true, arm: to(cdn, blobs), most: 20},
		"the same, Basic":          {basic: true, arm: to(cdn, blobs), most: 20},
		"blobs there, by 302":      {arm: found(302)},
		"blobs there, by 308":      {arm: found(308)},
		"manifest at another host": {arm: to(cdn, manifests), most: 20},
		"it asks for a password":   {basic: true, arm: both(to(cdn, blobs), inject(rt.On("GET", blobs, rt.Challenge(`Basic realm="x"`)).At("cdn"))), want: image.ErrUnauthorized},
		"it asks for a token":      {arm: both(to(cdn, blobs), evilRealm("cdn")), want: image.ErrUnauthorized, check: untouched("evil")},
		"and back again":           {arm: back, want: image.ErrUnauthorized, check: bareOnReturn},
		"signed, and fails":        {arm: signed, want: image.ErrDenied},
		"in a circle":              {arm: to(func(*scene) string { return "" }, blobs), want: image.ErrRejected, most: 40},
		"on and on":                {arm: inject(rt.On("GET", blobs, rt.RedirectOn())), want: image.ErrRejected, most: 40},
		"from HTTPS to HTTP":       {tls: true, arm: to(plain, blobs), want: image.ErrRejected, check: untouched("plain")},
		"manifest from HTTPS":      {tls: true, arm: to(plain, manifests), want: image.ErrRejected, check: untouched("plain")},
		"to a cloud's secrets":     {arm: exactly("http://169.254.169.254/latest/meta-data/"), want: image.ErrRejected, most: 12},
		"the same, IPv6":           {arm: exactly("http://[fe80::1%25lo]/x"), want: errAny, most: 20},
		"the same, IPv4 in IPv6":   {arm: exactly("http://[::ffff:169.254.169.254]/x"), want: image.ErrRejected, most: 12},
		"to a file":                {arm: exactly("file:///etc/passwd"), want: image.ErrRejected, most: 12},
		"to no host":               {arm: exactly("http:///x"), want: image.ErrRejected, most: 12},
		"to no URL":                {arm: exactly("http://[::1"), want: image.ErrRejected, most: 12},
		"to nowhere":               {arm: exactly(""), want: image.ErrRejected, most: 12},
		"with a password in it":    {arm: func(s *scene) { s.Inject(rt.On("GET", blobs, rt.Redirect(withUser(s.evil))).At(rt.Main)) }, want: image.ErrNotFound},
	}
}

// found redirects with another status than 307.
func found(code int) func(*scene) {
	return func(s *scene) {
		s.Inject(rt.On("GET", blobs, status(code), rt.RedirectTo(s.cdn)).At(rt.Main))
	}
}

func both(arms ...func(*scene)) func(*scene) {
	return func(s *scene) {
		for _, arm := range arms {
			arm(s)
		}
	}
}

// back sends blobs to the cdn, and who comes there back to the registry, which
// would then answer if it were told who calls.
func back(s *scene) {
	s.Inject(rt.On("GET", blobs, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Query().Get("back") == "" {
				next = rt.RedirectTo(s.cdn)(next)
			}
			next.ServeHTTP(w, q)
		})
	}).At(rt.Main))
	s.Inject(rt.On("GET", blobs, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, s.URL(rt.Main)+q.URL.Path+"?back=1", http.StatusTemporaryRedirect)
		})
	}).At("cdn"))
}

// A credential does not come back from where it was not sent.
func bareOnReturn(s *scene) {
	s.t.Helper()
	for _, q := range s.Requests() {
		if q.Query.Has("back") && q.Header.Get("Authorization") != "" {
			s.t.Errorf("%s at the registry, by way of another host, has credentials", q.Path)
		}
	}
}

// signed sends to where a signature in the query is needed, and refused.
func signed(s *scene) {
	s.Inject(rt.On("GET", blobs, rt.Redirect(s.cdn+"/x?sig="+signature)).At(rt.Main))
	s.Inject(rt.On("GET", "/x", rt.Refuse(403, "DENIED", "signature expired")).At("cdn"))
}

func withUser(base string) string {
	return strings.Replace(base, "://", "://user:"+signature+"@", 1) + "/nothing"
}

// evilRealm lets an origin ask for a token of the evil one.
func evilRealm(origin string) func(*scene) {
	return func(s *scene) {
		s.Inject(rt.On("GET", blobs, rt.Challenge(`Bearer realm="`+s.evil+`/token",service="x"`)).At(origin))
	}
}

// Documents that mean different things to different readers, or too much.
func pullDocuments() map[string]hostile {
	replace := func(old, with string) func(*scene) {
		return inject(rt.On("GET", manifests, rt.Header("Docker-Content-Digest", ""), rt.Replace(old, with)))
	}
	const first = `"schemaVersion": 2`
	return map[string]hostile{
		"text/plain":           {arm: inject(rt.On("GET", manifests, rt.Header("Content-Type", "text/plain; charset=utf-8")))},
		"application/json":     {arm: inject(rt.On("GET", manifests, rt.Header("Content-Type", "application/json")))},
		"no content type":      {arm: inject(rt.On("GET", manifests, rt.Header("Content-Type", "")))},
		"called an index":      {arm: inject(rt.On("GET", manifests, rt.Header("Content-Type", oci.MediaTypeIndex))), want: oci.ErrInvalid},
		"garbage behind":       {arm: inject(rt.On("GET", manifests, rt.Header("Docker-Content-Digest", ""), rt.Append("{}"))), want: oci.ErrInvalid},
		"a key twice":          {arm: replace(first, first+", "+first), want: oci.ErrInvalid},
		"a key in capitals":    {arm: replace(first, first+`, "Layers": []`), want: oci.ErrInvalid},
		"two kinds":            {arm: replace(first, first+`, "manifests": []`), want: oci.ErrInvalid},
		"null":                 {arm: inject(rt.On("GET", manifests, rt.Reply(200, oci.MediaTypeManifest, "null"))), want: oci.ErrInvalid},
		"path as digest":       {arm: replace(`"digest": "sha256:`, `"digest": "sha256:../../../../v2/other/blobs/`), want: oci.ErrInvalid, check: stayed},
		"md5":                  {arm: replace(`"digest": "sha256:`, `"digest": "md5:`), want: oci.ErrInvalid},
		"negative size":        {arm: replace(`"size": `, `"size": -`), want: oci.ErrInvalid},
		"empty answer":         {arm: inject(rt.On("GET", manifests, rt.Reply(200, oci.MediaTypeManifest, ""))), want: oci.ErrInvalid},
		"index in a circle":    {content: imagetest.Index, arm: replaceInIndex, want: image.ErrMismatch},
		"other child of index": {content: imagetest.Index, arm: inject(rt.On("GET", manifests, rt.Flip(40)).After(2).Times(1)), want: image.ErrMismatch},
	}
}

// stayed checks that no request left the repository.
func stayed(s *scene) {
	s.t.Helper()
	for _, q := range s.Requests() {
		if !strings.HasPrefix(q.Path, "/v2/"+repo+"/") && q.Path != tokens || strings.Contains(q.Path, "..") {
			s.t.Errorf("%s %s leaves the repository", q.Method, q.Path)
		}
	}
}

// replaceInIndex answers every request for a manifest with the index.
func replaceInIndex(s *scene) {
	index := s.c.Manifests[s.c.Root.Digest]
	s.Inject(rt.On("GET", manifests, rt.Reply(200, index.MediaType, string(index.Bytes))).After(2))
}

// What token services do.
func pullTokens() map[string]hostile {
	answer := func(body string) func(*scene) {
		return inject(rt.On("", tokens, rt.Reply(200, "application/json", body)))
	}
	return map[string]hostile{
		"identity token":             {identity: true, check: count("POST", tokens, 1)},
		"service of its own":         {options: rt.Options{Auth: rt.Auth{Server: "auth"}}, arm: func(s *scene) { s.Open("auth") }},
		"the same, HTTPS":            {tls: true, options: rt.Options{Auth: rt.Auth{Server: "auth"}}, arm: func(s *scene) { s.Open("auth") }},
		"service speaks HTTP":        {tls: true, options: rt.Options{Auth: rt.Auth{Server: "plain"}}, want: image.ErrRejected, check: untouched("plain")},
		"wrong password":             {arm: inject(rt.On("GET", tokens, rt.Refuse(401, "UNAUTHORIZED", "wrong"))), want: image.ErrUnauthorized, says: "invalid username/password", most: 4},
		"service unavailable twice":  {arm: inject(rt.On("GET", tokens, rt.Refuse(503, "UNAVAILABLE", "later")).Times(2))},
		"service busy":               {arm: inject(rt.On("GET", tokens, rt.Busy(429, "0")).Times(2))},
		"service gone":               {arm: inject(rt.On("GET", tokens, rt.Reply(404, "text/plain", "what?"))), want: errAny, most: 4},
		"service cut":                {arm: inject(rt.On("GET", tokens, rt.Cut()).Times(2))},
		"no JSON":                    {arm: answer("token"), want: errAny, most: 6},
		"no token":                   {arm: answer("{}"), want: errAny, most: 6},
		"null token":                 {arm: answer(`{"token":null,"access_token":null}`), want: errAny, most: 6},
		"token with a line break":    {arm: answer(`{"token":"a\r\nX-Injected: b"}`), want: errAny, most: 6, check: count("GET", manifests, 1)},
		"token of no use":            {arm: answer(`{"token":"nothing"}`), want: image.ErrUnauthorized, most: 8},
		"token for something else":   {arm: inject(rt.On("GET", tokens, rt.GrantScope("repository:other:pull"))), want: image.ErrUnauthorized, most: 8},
		"token expires at once":      {arm: inject(rt.On("GET", tokens, rt.Replace(`"expires_in":300`, `"expires_in":-300`)))},
		"token of long ago":          {arm: inject(rt.On("GET", tokens, rt.Replace(`"issued_at":"`, `"issued_at":"1970-01-01T00:00:00Z","x":"`))), check: count("GET", tokens, 1)},
		"token of the future":        {arm: inject(rt.On("GET", tokens, rt.Replace(`"issued_at":"`, `"issued_at":"2999-01-01T00:00:00Z","x":"`))), check: count("GET", tokens, 1)},
		"token lives for ever":       {arm: inject(rt.On("GET", tokens, rt.Replace(`"expires_in":300`, `"expires_in":1e300`)))},
		"tokens forgotten midway":    {arm: func(s *scene) { s.Inject(rt.On("GET", blobs, s.ForgetTokens()).Nth(2)) }},
		"tokens forgotten each time": {arm: func(s *scene) { s.Inject(rt.On("GET", blobs, s.ForgetTokens())) }, want: image.ErrUnauthorized, most: 80},
		"service redirects":          {arm: func(s *scene) { s.Inject(rt.On("GET", tokens, rt.RedirectTo(s.evil)).At(rt.Main)) }, want: image.ErrUnauthorized},
		"the same, identity token":   {identity: true, arm: func(s *scene) { s.Inject(rt.On("POST", tokens, rt.RedirectTo(s.evil)).At(rt.Main)) }, want: image.ErrRejected, check: untouched("evil")},
		"service redirects inward":   {arm: inject(rt.On("GET", tokens, rt.Redirect("http://169.254.169.254/token"))), want: image.ErrRejected, most: 4},
		"service redirects to HTTP":  {tls: true, arm: func(s *scene) { s.Inject(rt.On("GET", tokens, rt.RedirectTo(s.plain))) }, want: image.ErrRejected, check: untouched("plain")},
	}
}

// How a registry may ask who calls.
func pullChallenges() map[string]hostile {
	ask := func(lines ...string) func(*scene) { return inject(rt.On("GET", manifests, rt.Challenge(lines...))) }
	realm := func(text string) func(*scene) { return ask(`Bearer realm="` + text + `",service="x"`) }
	return map[string]hostile{
		"open":                 {open: true, most: 6, check: noCredentials},
		"basic":                {basic: true},
		"never content":        {basic: true, arm: ask(`Basic realm="x"`), want: image.ErrUnauthorized, most: 6},
		"never content, token": {arm: inject(rt.On("GET", manifests, rt.Challenge(`Bearer realm="x"`))), want: errAny, most: 8},
		"no challenge":         {arm: ask(), want: image.ErrUnauthorized, most: 4},
		"unknown scheme":       {arm: ask("Negotiate", `Digest realm="x"`), want: image.ErrUnauthorized, most: 4},
		"broken challenge":     {arm: ask(`Bearer realm="unclosed`, "=,=,\",", `Basic`), want: errAny, most: 8},
		"no realm":             {arm: ask(`Bearer service="x"`), want: errAny, most: 4},
		"realm in a cloud":     {arm: realm("http://169.254.169.254/token"), want: image.ErrRejected, most: 4},
		"realm at 0.0.0.0":     {tls: true, arm: realm("https://0.0.0.0:1/token"), want: errAny, most: 8},
		"realm is a file":      {arm: realm("file:///etc/passwd"), want: image.ErrRejected, most: 4},
		"realm is nothing":     {arm: realm("://"), want: image.ErrRejected, most: 4},
		"realm over HTTP":      {tls: true, arm: func(s *scene) { realm(s.plain + "/token")(s) }, want: image.ErrRejected, check: untouched("plain")},
		"scope of others":      {arm: inject(rt.On("GET", manifests, otherScope()).Nth(1)), check: ownScope},
		"in capitals":          {arm: inject(rt.On("GET", manifests, capitals()).Nth(1))},
		"after a while":        {open: true, arm: inject(rt.On("GET", blobs, rt.Challenge(`Basic realm="x"`)).Nth(2))},
	}
}

func noCredentials(s *scene) {
	s.t.Helper()
	for _, q := range s.Requests() {
		if q.Header.Get("Authorization") != "" || q.Carries(password) {
			s.t.Errorf("%s %s shows credentials that nobody asked for", q.Method, q.Path)
		}
	}
}

// otherScope names a scope that has nothing to do with the request.
func otherScope() rt.Action {
	return rt.Edit(func(a *rt.Answer) {
		h := a.Header.Get("WWW-Authenticate")
		a.Header.Set("WWW-Authenticate", strings.Replace(h, "repository:"+repo+":pull", "repository:other:push", 1))
	})
}

// ownScope checks that tokens were asked for the repository, whatever else.
func ownScope(s *scene) {
	s.t.Helper()
	for _, q := range s.Requests() {
		if q.Path == tokens && !slices.Contains(q.Query["scope"], "repository:"+repo+":pull") {
			s.t.Errorf("a token was asked for %q; want the repository among it", q.Query["scope"])
		}
	}
}

// capitals writes the challenge as nobody does, and everybody may.
func capitals() rt.Action {
	return rt.Edit(func(a *rt.Answer) {
		h := a.Header.Get("WWW-Authenticate")
		h = strings.Replace(h, "Bearer realm=", "BEARER  REALM = ", 1)
		a.Header.Set("WWW-Authenticate", strings.Replace(h, ",service=", " , SERVICE=", 1))
	})
}

// Pages of tags: they stay where they are, and come to an end.
func TestTagPages(t *testing.T) {
	link := func(next string) func(*scene) {
		return inject(rt.On("GET", "/v2/**/tags/list", rt.Header("Link", "<"+next+`>; rel="next"`)))
	}
	for name, h := range map[string]hostile{
		"pages":           {options: rt.Options{PageSize: 2}, most: 8},
		"at another host": {arm: func(s *scene) { link(s.evil + "/v2/" + repo + "/tags/list?last=1")(s) }, want: errAny, check: untouched("evil"), most: 6},
		"in the cloud":    {arm: link("http://169.254.169.254/?last=1"), want: errAny, most: 6},
		"of others":       {arm: link("/v2/other/tags/list?last=1"), want: errAny, most: 6, check: stayed},
		"in a circle":     {arm: link("?last=1"), want: errAny, most: 6},
		"without an end":  {open: true, arm: inject(rt.On("GET", "/v2/**/tags/list", rt.EndlessPages())), want: errAny, most: 10_001},
		"endless page":    {arm: inject(rt.On("GET", "/v2/**/tags/list", rt.Endless("application/json", `{"tags":[`))), want: image.ErrTooLarge, most: 3},
		"no JSON":         {arm: inject(rt.On("GET", "/v2/**/tags/list", rt.Reply(200, "application/json", "tags"))), want: oci.ErrInvalid, most: 3},
		"no tags":         {arm: inject(rt.On("GET", "/v2/**/tags/list", rt.Refuse(404, "NAME_UNKNOWN", "no"))), want: image.ErrNotFound, most: 3},
		"colours":         {arm: inject(rt.On("GET", "/v2/**/tags/list", rt.Reply(200, "application/json", `{"tags":["\u001b[31m"]}`))), want: oci.ErrInvalid, most: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, &h)
			want := []string{"1", "2", "3", "4", "5"}
			for _, tag := range want {
				s.Put(repo, tag, s.c.Root.Digest, s.c.Manifests, s.c.Blobs)
			}
			if h.arm != nil {
				h.arm(s)
			}
			src := s.repository(&h).Source()
			defer src.Close()
			got, err := image.Tags(t.Context(), src)
			h.compare(s, err)
			if h.want == nil && !slices.Equal(got, want) {
				t.Errorf("Tags = %q; want %q", got, want)
			}
			h.judge(s)
		})
	}
}

// A layer that says where else it is to be had: nobody asks there unless that
// is wanted, and then without credentials, whatever they are asked for.
func TestForeignURLs(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		h := hostile{client: func(o *registry.Options) { o.ForeignURLs = wanted }}
		s := newScene(t, &h)
		s.Put(repo, tag, s.c.Root.Digest, s.c.Manifests, s.c.Blobs)
		s.Inject(rt.On("GET", blobs, rt.Challenge(`Basic realm="x"`)).At("evil"))
		src := s.repository(&h).Source()
		defer src.Close()
		if _, err := src.Manifest(t.Context(), ""); err != nil { // so that there is a token
			t.Fatal(err)
		}
		for d, b := range s.c.Blobs {
			desc := oci.Descriptor{Digest: d, Size: int64(len(b)), URLs: []string{s.evil + "/v2/" + repo + "/blobs/" + d.String()}}
			rc, err := src.Blob(t.Context(), desc)
			if err == nil {
				rc.Close()
			}
			if wanted != errors.Is(err, image.ErrUnauthorized) {
				t.Errorf("wanted=%v: Blob gives the error %v", wanted, err)
			}
		}
		if !wanted {
			untouched("evil")(s)
		}
		h.judge(s)
	}
}
