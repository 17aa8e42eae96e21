package registrytest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/transport/registry"
	rt "github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

func TestPush(t *testing.T) {
	runAll(t, (*hostile).push, map[string]map[string]hostile{
		"breaks": pushBreaks(), "refusals": pushRefusals(), "lies": pushLies(),
		"locations": pushLocations(), "tokens": pushTokens(),
	})
}

// chunks sends large blobs in pieces.
func chunks(o *registry.Options) { o.ChunkSize = 500_000 }

// Uploads that break: they go on, begin anew, or fail as what they are.
func pushBreaks() map[string]hostile {
	answer, body, status := rt.NewStall(), rt.NewStall(), rt.NewStall()
	return map[string]hostile{
		"nothing":                 {most: 16, check: nothingLeft},
		"nothing, HTTPS":          {tls: true, most: 16, check: nothingLeft},
		"nothing, big":            {content: big, most: 12, check: nothingLeft},
		"nothing, empty":          {content: func() *imagetest.Content { return imagetest.Plain([]byte{}) }, check: nothingLeft},
		"nothing, chunks":         {content: big, client: chunks, most: 20, check: nothingLeft},
		"nothing, index":          {content: imagetest.Index, check: nothingLeft, most: 80},
		"nothing, wide":           {content: wide, check: nothingLeft, most: 700},
		"small, cut":              {arm: inject(rt.On("PUT", uploads, rt.CutRequest(50)).Times(2)), check: nothingLeft},
		"big, cut":                {content: big, arm: inject(rt.On("PUT", uploads, rt.CutRequest(700_000)).Times(2))},
		"big, cut for ever":       {content: big, arm: inject(rt.On("", uploads, rt.CutRequest(0))), want: image.ErrNetwork},
		"chunk, cut":              {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.CutRequest(100_000)).Times(2)), check: nothingLeft},
		"chunk, cut at once":      {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Cut()).Times(2)), check: nothingLeft},
		"chunk, answer lost":      {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.LoseAnswer()).Times(2)), check: nothingLeft},
		"chunk, reset":            {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Reset()).Times(2)), check: nothingLeft},
		"chunk, unavailable":      {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Refuse(503, "UNAVAILABLE", "later")).Times(2)), check: nothingLeft},
		"answer of a blob lost":   {arm: inject(rt.On("PUT", uploads, rt.LoseAnswer()).Times(2)), check: nothingLeft},
		"answer of begin lost":    {arm: inject(rt.On("POST", starts, rt.LoseAnswer()).Nth(2))},
		"answer of a name lost":   {arm: inject(rt.On("PUT", manifests, rt.LoseAnswer()).Nth(1)), check: nothingLeft},
		"name unavailable":        {arm: inject(rt.On("PUT", manifests, rt.Refuse(503, "UNAVAILABLE", "later")).Times(2))},
		"name never available":    {arm: inject(rt.On("PUT", manifests, rt.Refuse(503, "UNAVAILABLE", "later"))), want: image.ErrNetwork},
		"begin unavailable":       {arm: inject(rt.On("POST", starts, rt.Refuse(502, "UNAVAILABLE", "later")).Times(2))},
		"begin busy":              {arm: inject(rt.On("POST", starts, rt.Busy(429, "0")).Times(2))},
		"busy until tomorrow":     {arm: inject(rt.On("POST", starts, rt.Busy(429, "86400"))), want: image.ErrNetwork, says: "24h"},
		"stalls before an answer": {arm: inject(rt.On("PUT", uploads, answer.Answer())), client: impatient, want: image.ErrNetwork},
		"stalls in the body":      {content: huge, arm: inject(rt.On("PUT", uploads, body.Request(1000))), client: impatient, want: image.ErrNetwork},
		"stalls when asked":       {content: big, client: all(chunks, impatient), arm: inject(rt.On("PATCH", uploads, rt.CutRequest(100)), rt.On("GET", uploads, status.Answer())), want: image.ErrNetwork},
		"stalls at the name":      {arm: inject(rt.On("PUT", manifests, answer.Answer())), client: impatient, want: image.ErrNetwork},
	}
}

// huge does not fit into the buffers between a client and a server, nor into
// one chunk of those that are tried when a request is too large.
func huge() *imagetest.Content { return imagetest.Plain(make([]byte, hugeSize)) }

const hugeSize = 20 << 20

func all(set ...func(*registry.Options)) func(*registry.Options) {
	return func(o *registry.Options) {
		for _, f := range set {
			f(o)
		}
	}
}

// nothingLeft checks that uploads were finished or cancelled. When a copy
// fails one may be left: the answer that told where it is came too late.
func nothingLeft(s *scene) {
	s.t.Helper()
	if n := s.Uploads(); n > 0 {
		s.t.Errorf("%d uploads are left; want none", n)
	}
}

// What registries do not take.
func pushRefusals() map[string]hostile {
	return map[string]hostile{
		"blob denied":              {arm: inject(rt.On("PUT", uploads, rt.Refuse(403, "DENIED", "no"))), want: image.ErrDenied},
		"big blob denied":          {content: huge, arm: inject(rt.On("PUT", uploads, rt.Refuse(403, "DENIED", "\x1b[31mno"))), want: image.ErrDenied, says: "no"},
		"begin denied":             {arm: inject(rt.On("POST", starts, rt.Refuse(403, "DENIED", "no"))), want: image.ErrDenied},
		"no such repository":       {arm: inject(rt.On("POST", starts, rt.Refuse(404, "NAME_UNKNOWN", "no"))), want: image.ErrNotFound},
		"no space":                 {options: rt.Options{MaxBytes: 300}, want: image.ErrDenied},
		"too large":                {content: big, arm: inject(rt.On("", uploads, rt.TooLarge(1000))), want: errAny},
		"too large in one":         {content: huge, arm: inject(rt.On("", uploads, rt.TooLarge(17<<20))), check: nothingLeft},
		"digest refused":           {arm: inject(rt.On("PUT", uploads, rt.Refuse(400, "DIGEST_INVALID", "no"))), want: image.ErrMismatch},
		"size refused":             {arm: inject(rt.On("PUT", uploads, rt.Refuse(400, "SIZE_INVALID", "no"))), want: errAny},
		"name refused":             {arm: inject(rt.On("PUT", manifests, rt.Refuse(400, "MANIFEST_INVALID", "do not like it"))), want: errAny, says: "do not like it"},
		"name too large":           {arm: inject(rt.On("PUT", manifests, rt.TooLarge(10))), want: errAny},
		"name denied":              {arm: inject(rt.On("PUT", manifests, rt.Refuse(403, "DENIED", "immutable tag"))), want: image.ErrDenied, says: "immutable"},
		"blobs unknown at the end": {arm: inject(rt.On("PUT", manifests, rt.Refuse(404, "MANIFEST_BLOB_UNKNOWN", "which?"))), want: image.ErrIncomplete},
		"child refused":            {content: imagetest.Index, arm: inject(rt.On("PUT", "/v2/**/manifests/sha256:*", rt.Refuse(400, "MANIFEST_INVALID", "no"))), want: errAny, most: 100},
		"read only":                {arm: inject(rt.On("POST", "/v2/**", rt.Refuse(405, "UNSUPPORTED", "read only"))), want: errAny},
		"no HEAD":                  {options: rt.Options{NoHead: true}},
		"no mounts":                {options: rt.Options{NoMount: true}, check: nothingLeft},
		"HEAD sent to a cdn":       {content: big, options: rt.Options{NoMount: true}, arm: headElsewhere, check: nothingLeft},
		"mounts refused":           {arm: inject(rt.On("POST", starts, onMount(rt.Refuse(400, "UNSUPPORTED", "no mounts")))), check: nothingLeft},
		"mounts denied":            {arm: inject(rt.On("POST", starts, onMount(rt.Refuse(403, "DENIED", "no mounts")))), check: nothingLeft},
		"mounts break":             {arm: inject(rt.On("POST", starts, onMount(rt.Refuse(500, "UNKNOWN", "nil pointer")))), want: image.ErrNetwork},
	}
}

// headElsewhere sends who asks for a blob to where only GET is signed.
func headElsewhere(s *scene) {
	s.Inject(rt.On("HEAD", blobs, rt.RedirectTo(s.cdn)).At(rt.Main))
	s.Inject(rt.On("HEAD", blobs, rt.Reply(403, "text/plain", "")).At("cdn"))
}

// onMount lets something go wrong with mounts only.
func onMount(do rt.Action) rt.Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Query().Get("mount") == "" {
				next.ServeHTTP(w, q)
				return
			}
			do(next).ServeHTTP(w, q)
		})
	}
}

// What registries say that is not so.
func pushLies() map[string]hostile {
	other := digest.FromString("other").String()
	return map[string]hostile{
		"took less":               {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.TakeOnly(1000)).Times(2)), check: nothingLeft},
		"takes nothing":           {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.TakeOnly(0))), want: image.ErrNetwork},
		"forgets the upload":      {content: big, client: chunks, arm: func(s *scene) { s.Inject(rt.On("PATCH", uploads, s.ForgetUpload()).Nth(3)) }, check: nothingLeft},
		"forgets it at the end":   {content: big, client: chunks, arm: func(s *scene) { s.Inject(rt.On("PUT", uploads, s.ForgetUpload()).Times(2)) }, check: nothingLeft},
		"forgets every upload":    {arm: func(s *scene) { s.Inject(rt.On("", uploads, s.ForgetUpload())) }, want: image.ErrNetwork},
		"416 without a reason":    {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Refuse(416, "RANGE_INVALID", "no")).Nth(2)), check: nothingLeft},
		"416 each time":           {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Refuse(416, "RANGE_INVALID", "no"))), want: errAny},
		"no sense in Range":       {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Header("Range", "banana"))), check: nothingLeft},
		"no Range":                {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Header("Range", ""))), check: nothingLeft},
		"Range of more":           {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.Header("Range", "0-99999999"))), check: nothingLeft},
		"Range beyond all":        {content: big, client: chunks, arm: inject(rt.On("PATCH", uploads, rt.CutRequest(100)).Times(2), rt.On("GET", uploads, rt.Header("Range", "0-9223372036854775806")))},
		"other blob than sent":    {arm: inject(rt.On("PUT", uploads, rt.Header("Docker-Content-Digest", other))), want: image.ErrMismatch},
		"has what it has not":     {arm: inject(rt.On("POST", starts, onMount(rt.Reply(201, "text/plain", "")))), want: image.ErrIncomplete},
		"other name than sent":    {arm: inject(rt.On("PUT", manifests, rt.Cut()).Nth(9), rt.On("PUT", manifests, instead(other))), want: image.ErrMismatch},
		"endless thanks":          {arm: inject(rt.On("POST", starts, thanks()))},
		"endless thanks at last":  {arm: inject(rt.On("PUT", manifests, endlessly(201)))},
		"status of success, 200":  {arm: inject(rt.On("PUT", uploads, status(200)), rt.On("PUT", manifests, status(204)))},
		"least size of a chunk":   {content: big, client: chunks, arm: inject(rt.On("POST", starts, rt.Header("OCI-Chunk-Min-Length", "700000"))), check: nothingLeft},
		"absurd size of a chunk":  {content: big, client: chunks, arm: inject(rt.On("POST", starts, rt.Header("OCI-Chunk-Min-Length", "9223372036854775807"))), check: nothingLeft},
		"nonsense size of chunks": {content: big, client: chunks, arm: inject(rt.On("POST", starts, rt.Header("OCI-Chunk-Min-Length", "-1"))), check: nothingLeft},
	}
}

// status gives an answer another status.
func status(code int) rt.Action { return rt.Edit(func(a *rt.Answer) { a.Status = code }) }

// instead refuses to store anything, and says that it stored something else.
func instead(digest string) rt.Action {
	return rt.Reply(201, "text/plain", "", "Docker-Content-Digest", digest)
}

// thanks adds a body without an end to an answer that needs none.
func thanks() rt.Action {
	return rt.Edit(func(a *rt.Answer) { a.Body = []byte(strings.Repeat(" ", 8<<20)) })
}

// endlessly lets the registry do what it is asked, and goes on answering.
func endlessly(code int) rt.Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			next.ServeHTTP(nobody{http.Header{}}, q)
			w.WriteHeader(code)
			rt.Endless("text/plain", "")(next).ServeHTTP(w, q)
		})
	}
}

// nobody is where an answer goes that is not sent.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header         { return n.header }
func (n nobody) Write(p []byte) (int, error) { return len(p), nil }
func (n nobody) WriteHeader(int)             {}

// Where a registry may send an upload, and with what.
func pushLocations() map[string]hostile {
	move := func(f func(s *scene) string) func(*scene) {
		return func(s *scene) { s.Inject(rt.On("POST", starts, rt.MoveLocation(f(s))).At(rt.Main)) }
	}
	set := func(location string) func(*scene) {
		return inject(rt.On("POST", starts, rt.Header("Location", location)))
	}
	cdn := func(s *scene) string { return s.cdn }
	plain := func(s *scene) string { return s.plain }
	return map[string]hostile{
		"relative":                  {options: rt.Options{RelativeLocation: true}, check: nothingLeft},
		"at another host":           {arm: move(cdn)},
		"the same, HTTPS":           {tls: true, arm: move(cdn)},
		"the same, Basic":           {basic: true, arm: move(cdn)},
		"the same, chunks":          {content: big, client: chunks, arm: move(cdn)},
		"it asks for a password":    {basic: true, arm: both(move(cdn), inject(rt.On("PUT", uploads, rt.Challenge(`Basic realm="x"`)).At("cdn"))), want: image.ErrUnauthorized},
		"from HTTPS to HTTP":        {tls: true, arm: move(plain), want: image.ErrRejected, check: untouched("plain")},
		"to a cloud's secrets":      {arm: set("http://169.254.169.254/upload"), want: image.ErrRejected},
		"to a file":                 {arm: set("file:///tmp/x"), want: image.ErrRejected},
		"with a password in it":     {arm: func(s *scene) { set(withUser(s.evil))(s) }, want: errAny},
		"none":                      {arm: set(""), want: errAny},
		"no URL":                    {arm: set("http://[::1"), want: errAny},
		"chunk goes on elsewhere":   {content: big, client: chunks, arm: func(s *scene) { s.Inject(rt.On("PATCH", uploads, rt.MoveLocation(s.cdn)).At(rt.Main)) }},
		"chunk goes on in HTTP":     {tls: true, content: big, client: chunks, arm: func(s *scene) { s.Inject(rt.On("PATCH", uploads, rt.MoveLocation(s.plain)).At(rt.Main)) }, want: image.ErrRejected, check: untouched("plain")},
		"begin redirected":          {arm: func(s *scene) { s.Inject(rt.On("POST", starts, rt.RedirectTo(s.cdn)).At(rt.Main)) }},
		"begin redirected to HTTP":  {tls: true, arm: func(s *scene) { s.Inject(rt.On("POST", starts, rt.RedirectTo(s.plain)).At(rt.Main)) }, want: image.ErrRejected, check: untouched("plain")},
		"blob redirected":           {arm: func(s *scene) { s.Inject(rt.On("PUT", uploads, rt.RedirectTo(s.cdn)).At(rt.Main)) }},
		"name redirected":           {arm: func(s *scene) { s.Inject(rt.On("PUT", manifests, rt.RedirectTo(s.cdn)).At(rt.Main)) }},
		"name redirected in circle": {arm: inject(rt.On("PUT", manifests, rt.RedirectTo(""))), want: image.ErrRejected},
		"name redirected to HTTP":   {tls: true, arm: func(s *scene) { s.Inject(rt.On("PUT", manifests, rt.RedirectTo(s.plain)).At(rt.Main)) }, want: image.ErrRejected, check: untouched("plain")},
		"name moved, 301":           {arm: inject(rt.On("PUT", manifests, rt.Reply(301, "text/plain", "", "Location", "/v2/"+repo+"/manifests/1"))), want: errAny},
	}
}

// Tokens for writing.
func pushTokens() map[string]hostile {
	reader := func(_, _, action string) bool { return action == "pull" }
	return map[string]hostile{
		"may only read":            {options: rt.Options{Auth: rt.Auth{Allow: reader}}, want: image.ErrUnauthorized},
		"may only read, Basic":     {basic: true, options: rt.Options{Auth: rt.Auth{Allow: reader}}, want: image.ErrDenied},
		"identity token":           {identity: true},
		"forgotten at a blob":      {arm: func(s *scene) { s.Inject(rt.On("PUT", uploads, s.ForgetTokens()).Nth(2)) }},
		"forgotten at a big blob":  {content: big, arm: func(s *scene) { s.Inject(rt.On("PUT", uploads, s.ForgetTokens()).Nth(2)) }},
		"forgotten at a chunk":     {content: big, client: chunks, arm: func(s *scene) { s.Inject(rt.On("PATCH", uploads, s.ForgetTokens()).Nth(2)) }},
		"forgotten at the name":    {arm: func(s *scene) { s.Inject(rt.On("PUT", manifests, s.ForgetTokens()).Nth(1)) }},
		"forgotten each time":      {arm: func(s *scene) { s.Inject(rt.On("PUT", uploads, s.ForgetTokens())) }, want: image.ErrUnauthorized, most: 100},
		"forgotten each time, big": {content: big, arm: func(s *scene) { s.Inject(rt.On("PUT", uploads, s.ForgetTokens())) }, want: errAny, most: 100},
		"asks at the name":         {open: true, arm: inject(rt.On("PUT", manifests, rt.Challenge(`Basic realm="x"`)).Nth(1))},
	}
}
