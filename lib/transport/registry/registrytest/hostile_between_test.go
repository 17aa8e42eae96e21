package registrytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/transport/registry"
	rt "github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// A pair of registries that a copy goes between: from a/b:1 of one to the same
// name in the other.
type pair struct{ from, to *scene }

// copy copies, and checks what is there afterwards if want is nil, and that
// nothing is if not.
func (p pair) copy(t *testing.T, h hostile, want error) {
	t.Helper()
	src, dst := p.from.repository(&h).Source(), p.to.repository(&h).Destination()
	_, err := copy.Copy(t.Context(), dst, src, copy.Options{Gate: copy.AdmitAll})
	src.Close()
	dst.Close()
	if !errors.Is(err, want) {
		t.Errorf("it ends with %v; want %v", err, want)
	}
	if want == nil {
		check(t, p.to.Server, repo, tag, p.from.c)
		nothingLeft(p.to)
	} else if tags := p.to.Tags(repo); len(tags) > 0 {
		t.Errorf("the copy failed, but there are tags %q", tags)
	}
	h.judge(p.from)
	h.judge(p.to)
}

// Both sides of a copy go wrong at the same time.
func TestBetween(t *testing.T) {
	cut := rt.On("GET", blobs, rt.CutBody(300_000)).Times(3)
	lost := func() rt.Fault { return rt.On("PUT", uploads, onLarge(rt.CutRequest(500_000))) }
	for name, test := range map[string]struct {
		h        hostile
		from, to []rt.Fault
		want     error
	}{
		"nothing":                          {h: hostile{content: imagetest.Index, most: 100}},
		"source cut":                       {h: hostile{content: big}, from: []rt.Fault{cut}},
		"upload cut":                       {h: hostile{content: big}, to: []rt.Fault{lost()}},
		"both cut":                         {h: hostile{content: big}, from: []rt.Fault{cut}, to: []rt.Fault{lost()}},
		"both cut, chunks":                 {h: hostile{content: big, client: chunks}, from: []rt.Fault{cut}, to: []rt.Fault{rt.On("PATCH", uploads, rt.CutRequest(100_000)).Times(2)}},
		"upload cut, source lies":          {h: hostile{content: big}, from: []rt.Fault{rt.On("GET", blobs, rt.Flip(900_000)).After(2)}, to: []rt.Fault{lost()}, want: image.ErrMismatch},
		"upload cut, source has no ranges": {h: hostile{content: big, options: rt.Options{NoRange: true}}, to: []rt.Fault{lost()}},
		"source wrong at the end":          {h: hostile{content: big}, from: []rt.Fault{rt.On("GET", blobs, rt.Flip(1_599_999))}, want: image.ErrMismatch},
		"source ends early":                {h: hostile{content: big}, from: []rt.Fault{rt.On("GET", blobs, rt.HTTP10(), rt.Shorten(1))}, want: image.ErrMismatch},
		"source does not end":              {h: hostile{content: big}, from: []rt.Fault{rt.On("GET", blobs, rt.Endless("x/y", ""))}, want: image.ErrMismatch},
		"source gone in the middle":        {h: hostile{content: big}, from: []rt.Fault{rt.On("GET", blobs, rt.CutBody(300_000)).Times(2), rt.On("GET", blobs, rt.Refuse(404, "BLOB_UNKNOWN", "gone")).After(2)}, want: image.ErrNotFound},
		"destination full":                 {h: hostile{content: big, options: rt.Options{MaxBytes: 2_000_000}}, to: []rt.Fault{rt.On("PUT", uploads, rt.Refuse(403, "DENIED", "full"))}, want: image.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair{newScene(t, &test.h), newScene(t, &test.h)}
			p.from.Put(repo, tag, p.from.c.Root.Digest, p.from.c.Manifests, p.from.c.Blobs)
			p.from.Inject(test.from...)
			p.to.Inject(test.to...)
			p.copy(t, test.h, test.want)
			if test.want != nil {
				nowhere(t, p)
			}
		})
	}
}

// onLarge lets something go wrong with large bodies only, twice.
func onLarge(do rt.Action) rt.Action {
	var n atomic.Int64
	return func(next http.Handler) http.Handler {
		fault := do(next)
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.ContentLength > 1<<20 && n.Add(1) <= 2 {
				next = fault
			}
			next.ServeHTTP(w, q)
		})
	}
}

// nowhere checks that content which was not good did not get its name.
func nowhere(t *testing.T, p pair) {
	t.Helper()
	for d, b := range p.from.c.Blobs {
		if got, ok := p.to.Blob(repo, d); ok && string(got) != string(b) {
			t.Errorf("%s has %d bytes that are not its own", d, len(got))
		}
	}
}

// Within one registry nothing is sent but the manifest, if it mounts and who
// writes may read the other repository.
func TestWithin(t *testing.T) {
	apart := func(user, repo, action string) bool { return (user == "bob") == (repo == "c/d") }
	for name, test := range map[string]struct {
		h     hostile
		user  string
		allow func(user, repo, action string) bool
		sent  int // blobs
	}{
		"mounts":            {user: "ali"},
		"mounts, Basic":     {h: hostile{basic: true}, user: "ali"},
		"no mounts":         {h: hostile{options: rt.Options{NoMount: true}}, user: "ali", sent: 4},
		"may not read both": {user: "bob", allow: apart, sent: 4},
		"the same, Basic":   {h: hostile{basic: true}, user: "bob", allow: apart, sent: 4},
	} {
		h := test.h
		h.options.Auth.Allow = test.allow
		s := newScene(t, &h)
		s.Put(repo, tag, s.c.Root.Digest, s.c.Manifests, s.c.Blobs)
		ref := s.repository(&h).Reference()
		ref.Path = "c/d"
		cred := registry.Credential{Username: test.user, Password: password}
		to, err := registry.New(ref, registry.Options{
			Credential: func(context.Context, string) (registry.Credential, error) { return cred, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		src, dst := s.repository(&h).Source(), to.Destination()
		if _, err := copy.Copy(t.Context(), dst, src, copy.Options{Gate: copy.AdmitAll}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		src.Close()
		dst.Close()
		check(t, s.Server, "c/d", tag, s.c)
		if got := stored(s); got != test.sent {
			t.Errorf("%s: %d blobs were sent; want %d", name, got, test.sent)
		}
		h.judge(s)
		nothingLeft(s)
	}
}

// stored is the number of blobs that were uploaded.
func stored(s *scene) int {
	n := 0
	for _, q := range s.Requests() {
		if q.Method == "PUT" && q.Status == 201 && strings.Contains(q.Path, "/blobs/uploads/") {
			n++
		}
	}
	return n
}

// To copy what is there already takes a request a side, and a second one where
// the registry has to ask who calls, beside the token.
func TestAgain(t *testing.T) {
	for _, h := range []hostile{{}, {basic: true}, {open: true}} {
		p := pair{newScene(t, &h), newScene(t, &h)}
		for _, s := range []*scene{p.from, p.to} {
			s.Put(repo, tag, s.c.Root.Digest, s.c.Manifests, s.c.Blobs)
		}
		p.copy(t, h, nil)
		for _, s := range []*scene{p.from, p.to} {
			if n := s.Count("", "/v2/**"); n > 2 {
				t.Errorf("%d requests at one side; want two at most", n)
			}
		}
	}
}

// Blobs of every length around that of buffers and chunks arrive.
func TestSizes(t *testing.T) {
	const buffer, chunk = 128 << 10, 300_000
	var layers [][]byte
	for _, n := range []int{0, 1, 2, buffer - 1, buffer, buffer + 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 2*chunk + 1} {
		layers = append(layers, make([]byte, n))
	}
	content := func() *imagetest.Content { return imagetest.Plain(layers...) }
	for _, size := range []int64{0, 20_000, buffer, chunk} {
		h := hostile{content: content, most: 500, check: nothingLeft, client: func(o *registry.Options) { o.ChunkSize = size }}
		t.Run(fmt.Sprintf("chunks of %d", size), func(t *testing.T) { t.Parallel(); h.push(t) })
	}
	h := hostile{content: content}
	t.Run("pull", func(t *testing.T) { t.Parallel(); h.pull(t) })
}

// A copy that is given up ends, wherever it is, and leaves no name.
func TestGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		push   bool
		method string
		path   string
		do     func(*rt.Stall) rt.Action
	}{
		"at the manifest": {false, "GET", manifests, (*rt.Stall).Answer},
		"at the token":    {false, "GET", tokens, (*rt.Stall).Answer},
		"in a blob":       {false, "GET", blobs, func(s *rt.Stall) rt.Action { return s.Body(1000) }},
		"at an upload":    {true, "POST", starts, (*rt.Stall).Answer},
		"in an upload":    {true, "PUT", uploads, func(s *rt.Stall) rt.Action { return s.Request(1000) }},
		"after an upload": {true, "PUT", uploads, func(s *rt.Stall) rt.Action { return s.Request(hugeSize) }},
		"at the name":     {true, "PUT", manifests, (*rt.Stall).Answer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hostile{content: huge}
			s, stall := newScene(t, &h), rt.NewStall()
			s.Inject(rt.On(test.method, test.path, test.do(stall)))
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the user is tired of it")
			go func() {
				<-stall.Reached()
				cancel(why)
			}()
			memory := imagetest.NewMemory(image.Wants{})
			var src image.Source = s.c.Source()
			var dst image.Destination = s.repository(&h).Destination()
			if !test.push {
				s.Put(repo, tag, s.c.Root.Digest, s.c.Manifests, s.c.Blobs)
				src, dst = s.repository(&h).Source(), memory
			}
			_, err := copy.Copy(ctx, dst, src, copy.Options{Gate: copy.AdmitAll})
			if err == nil || !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
				t.Errorf("it ends with %v; want %v", err, why)
			}
			src.Close()
			dst.Close()
			if memory.Committed || test.push && len(s.Tags(repo)) > 0 {
				t.Errorf("the copy was given up, but there is a name")
			}
		})
	}
}
