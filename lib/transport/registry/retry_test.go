package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// What is tried again, and what is not because it would only cost time.
func TestRetried(t *testing.T) {
	tests := []struct {
		name  string
		do    registrytest.Action
		tries int
		is    error
	}{
		{"408", registrytest.Reply(408, "", ""), 3, image.ErrNetwork},
		{"429", registrytest.Reply(429, "", ""), 3, image.ErrNetwork},
		{"500", registrytest.Reply(500, "", ""), 3, image.ErrNetwork},
		{"502", registrytest.Reply(502, "", ""), 3, image.ErrNetwork},
		{"503", registrytest.Reply(503, "", ""), 3, image.ErrNetwork},
		{"504", registrytest.Reply(504, "", ""), 3, image.ErrNetwork},
		{"cut", registrytest.Cut(), 3, image.ErrNetwork},
		{"short", registrytest.CutBody(10), 3, image.ErrNetwork},
		{"too many, in other words", registrytest.Refuse(400, "TOOMANYREQUESTS", ""), 3, image.ErrNetwork},
		{"400", registrytest.Reply(400, "", ""), 1, nil},
		{"403", registrytest.Reply(403, "", ""), 1, image.ErrDenied},
		{"404", registrytest.Reply(404, "", ""), 1, image.ErrNotFound},
		{"501", registrytest.Reply(501, "", ""), 1, nil},
		{"too large", registrytest.Endless("application/json", "{"), 1, image.ErrTooLarge},
		{"redirected inward", registrytest.Redirect("https://169.254.169.254/"), 1, image.ErrRejected},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		makeImage(1, 10).store(s.Registry, "a", "v1")
		s.Inject(registrytest.On("GET", "/v2/a/manifests/v1", tt.do))
		o, e := quick(), &events{}
		o.Notify, o.Side = e.notify, image.SideSource
		_, err := source(t, s.Addr+"/a:v1", o).Manifest(context.Background(), "")
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || tt.tries == 1 && errors.Is(err, image.ErrNetwork) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		if n := s.Count("GET", "/v2/a/manifests/v1"); n != tt.tries {
			t.Errorf("%s: %d tries; want %d", tt.name, n, tt.tries)
		}
		told := e.of(image.EventRetry)
		if len(told) != tt.tries-1 {
			t.Errorf("%s: %d retries told; want %d", tt.name, len(told), tt.tries-1)
		}
		for i, x := range told {
			if x.Attempt != i+1 || x.Attempts != 2 || x.Side != image.SideSource || x.Text == "" {
				t.Errorf("%s: event %+v", tt.name, x)
			}
		}
	}
}

// A fault that passes is never seen outside.
func TestRetrySucceeds(t *testing.T) {
	for _, do := range []registrytest.Action{registrytest.Reply(503, "", ""), registrytest.Cut(), registrytest.Reset(), registrytest.CutBody(3)} {
		s := registrytest.Start(t, registrytest.Options{})
		makeImage(1, 10).store(s.Registry, "a", "v1")
		s.Inject(registrytest.On("GET", "/v2/a/manifests/v1", do).Times(2))
		if _, err := source(t, s.Addr+"/a:v1", quick()).Manifest(context.Background(), ""); err != nil {
			t.Error(err)
		}
	}
}

// Times is the number of tries after the first.
func TestRetryTimes(t *testing.T) {
	for times, tries := range map[int]int{-1: 1, 0: 3, 1: 2, 5: 6} {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(registrytest.On("", "**", registrytest.Reply(503, "", "")))
		o := Options{Retry: Retry{Times: times, Delay: time.Nanosecond}}
		source(t, s.Addr+"/a:v1", o).Manifest(context.Background(), "")
		if n := len(s.Requests()); n != tries {
			t.Errorf("Times %d: %d tries; want %d", times, n, tries)
		}
	}
}

// A bubble is a registry and a client in a bubble of time of their own.
func bubble(t *testing.T, o Options, f func(t *testing.T, s *registrytest.Registry, o Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := registrytest.New(registrytest.Options{})
		o.Network.dial = serve(t, s).dial
		f(t, s, o)
	})
}

// How long is waited, as the clock of the client sees it.
func TestRetryWaits(t *testing.T) {
	date := func(d time.Duration) string {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat)
	}
	tests := []struct {
		name     string
		o        Retry
		do       registrytest.Action
		from, to time.Duration // in all, for three tries
		text     string
	}{
		{"by itself", Retry{}, registrytest.Reply(503, "", ""), 2250 * time.Millisecond, 3750 * time.Millisecond, ""},
		{"by itself, slower", Retry{Delay: 10 * time.Second}, registrytest.Reply(503, "", ""), 22500 * time.Millisecond, 37500 * time.Millisecond, ""},
		{"seconds", Retry{}, registrytest.Busy(429, "30"), 60 * time.Second, 61 * time.Second, ""},
		{"now", Retry{}, registrytest.Busy(503, "0"), 2250 * time.Millisecond, 3750 * time.Millisecond, ""},                       // that would be a storm
		{"a date", Retry{}, registrytest.Busy(429, date(40*time.Second)), 41500 * time.Millisecond, 42500 * time.Millisecond, ""}, // then it is past: as "now"
		{"too long", Retry{}, registrytest.Busy(429, "61"), 0, 0, "the server asks to wait 1m1s, longer than 1m0s"},
		{"an hour", Retry{}, registrytest.Busy(429, "3600"), 0, 0, "the server asks to wait 1h0m0s, longer than 1m0s"},
		{"too long in all", Retry{}, registrytest.Busy(429, "60"), 60 * time.Second, 61 * time.Second, "the server asks to wait 1m0s more after 1m0s, longer than 1m30s in all"},
		{"a larger budget", Retry{Budget: time.Hour}, registrytest.Busy(429, "60"), 120 * time.Second, 121 * time.Second, ""},
		{"nonsense", Retry{}, registrytest.Busy(429, "soon"), 2250 * time.Millisecond, 3750 * time.Millisecond, ""},
	}
	for _, tt := range tests {
		bubble(t, Options{Retry: tt.o}, func(t *testing.T, s *registrytest.Registry, o Options) {
			s.Inject(registrytest.On("", "**", tt.do))
			src := source(t, "127.0.0.1:5000/a:v1", o)
			began := time.Now()
			_, err := src.Manifest(context.Background(), "")
			if took := time.Since(began); took < tt.from || took > tt.to {
				t.Errorf("%s: took %v; want %v to %v", tt.name, took, tt.from, tt.to)
			}
			if !errors.Is(err, image.ErrNetwork) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%s: %v; want ErrNetwork, %q", tt.name, err, tt.text)
			}
			src.Close()
		})
	}
}

// When a registry asks for a pause, all requests pause, and that counts once:
// sixty layers at a time do not use up the budget sixty times.
func TestRetryTogether(t *testing.T) {
	bubble(t, Options{Retry: Retry{Times: 5}}, func(t *testing.T, s *registrytest.Registry, o Options) {
		m := makeImage(1, 10)
		m.store(s, "a", "v1")
		start := time.Now()
		s.Inject(registrytest.On("", "/v2/a/blobs/*", func(next http.Handler) http.Handler {
			if time.Since(start) < 40*time.Second {
				return registrytest.Busy(429, "40")(next)
			}
			return next
		}))
		src := source(t, "127.0.0.1:5000/a:v1", o)
		if _, err := src.Manifest(context.Background(), ""); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if _, err := readBlob(src, m.config); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		wg.Go(func() { // one that comes later waits too
			time.Sleep(time.Second)
			if _, err := readBlob(src, m.config); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if took := time.Since(began); took < 40*time.Second || took > 42*time.Second {
			t.Errorf("it took %v; want 40 s", took)
		}
		if n := s.Count("GET", "/v2/a/blobs/*"); n > 121 {
			t.Errorf("%d requests; want 121 at most: 60 refused, 61 served", n)
		}
		src.Close()
	})
}

// Whoever ends the wait ends it at once, with the reason.
func TestRetryInterrupted(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, s *registrytest.Registry, o Options) {
		s.Inject(registrytest.On("", "**", registrytest.Busy(429, "50")))
		src := source(t, "127.0.0.1:5000/a:v1", o)
		why := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		began := time.Now()
		if _, err := src.Manifest(ctx, ""); !errors.Is(err, why) {
			t.Errorf("error %v; want %v", err, why)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v; want 5 s", took)
		}
		src.Close()
	})
}

// A registry that is not there is tried, one whose name does not exist is not.
func TestUnreachable(t *testing.T) {
	w := &world{map[string]hostAt{}}
	tries := 0
	w.hosts["down.test:443"] = hostAt{"8.8.8.8", func(ctx context.Context) (_ netConn, err error) {
		tries++
		return nil, errors.New("connection refused")
	}}
	o := quick()
	o.Network.dial = w.dial
	for ref, want := range map[string]int{"down.test/a:v1": 3, "none.test/a:v1": 0} {
		tries = 0
		_, err := source(t, ref, o).Manifest(context.Background(), "")
		if !errors.Is(err, image.ErrNetwork) || tries != want {
			t.Errorf("%s: %v after %d tries; want ErrNetwork after %d", ref, err, tries, want)
		}
		if want := "reading manifest v1 in " + strings.TrimSuffix(ref, ":v1") + ": GET https://" + strings.TrimSuffix(ref, "/a:v1") + "/v2/a/manifests/v1: "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %q; want it to begin with %q", ref, err, want)
		}
	}
}

// Silence in any phase ends an exchange; what is slow on our side does not.
func TestSilence(t *testing.T) {
	m := makeImage(1, 1<<20)
	layer := m.layers[0]
	put := func(ctx context.Context, o Options, in *slowReader) error {
		dst := destination(t, "127.0.0.1:5000/b:v1", o)
		_, err := dst.Put(ctx, plainReader(layer, in))
		dst.Close()
		return err
	}
	get := func(ctx context.Context, o Options, pause time.Duration) error {
		src := source(t, "127.0.0.1:5000/a:v1", o)
		defer src.Close()
		rc, err := src.Blob(ctx, layer)
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = readSlowly(rc, pause)
		return err
	}
	tests := []struct {
		name string
		on   func(stall *registrytest.Stall) registrytest.Fault
		run  func(context.Context, Options) error
		is   error
		took time.Duration
	}{
		{"before the answer", func(x *registrytest.Stall) registrytest.Fault {
			return registrytest.On("GET", "/v2/a/blobs/*", x.Answer())
		},
			func(ctx context.Context, o Options) error { return get(ctx, o, 0) }, image.ErrNetwork, 60 * time.Second},
		{"in the answer", func(x *registrytest.Stall) registrytest.Fault {
			return registrytest.On("GET", "/v2/a/blobs/*", x.Body(0))
		},
			func(ctx context.Context, o Options) error { return get(ctx, o, 0) }, image.ErrNetwork, 60 * time.Second},
		{"in the middle of the answer, with progress", func(x *registrytest.Stall) registrytest.Fault {
			return registrytest.On("GET", "/v2/a/blobs/*", x.Body(300000))
		},
			func(ctx context.Context, o Options) error { return get(ctx, o, 0) }, nil, 180 * time.Second},
		{"in the body of a request", func(x *registrytest.Stall) registrytest.Fault {
			return registrytest.On("PUT", "/v2/b/blobs/**", x.Request(300000))
		},
			func(ctx context.Context, o Options) error { return put(ctx, o, &slowReader{b: m.blobs[layer.Digest]}) }, image.ErrNetwork, 60 * time.Second},
		{"after the body of a request", func(x *registrytest.Stall) registrytest.Fault {
			return registrytest.On("PUT", "/v2/b/blobs/**", x.Request(1<<20))
		},
			func(ctx context.Context, o Options) error { return put(ctx, o, &slowReader{b: m.blobs[layer.Digest]}) }, image.ErrNetwork, 60 * time.Second},
		{"nobody reads the answer", nil,
			func(ctx context.Context, o Options) error { return get(ctx, o, 100*time.Second) }, nil, 1000 * time.Second},
		{"the source of an upload is slow", nil,
			func(ctx context.Context, o Options) error {
				return put(ctx, o, &slowReader{b: m.blobs[layer.Digest], pause: 100 * time.Second})
			}, nil, 1000 * time.Second},
	}
	for _, tt := range tests {
		bubble(t, Options{Retry: Retry{Times: -1}}, func(t *testing.T, s *registrytest.Registry, o Options) {
			m.store(s, "a", "v1")
			stall := registrytest.NewStall()
			if tt.on != nil {
				s.Inject(tt.on(stall))
			}
			began := time.Now()
			err := tt.run(context.Background(), o)
			if !isError(err, tt.is) || err != nil && !strings.Contains(err.Error(), "no data for 1m0s") {
				t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
			}
			if took := time.Since(began); took < tt.took || took > tt.took+10*time.Second {
				t.Errorf("%s: took %v; want %v", tt.name, took, tt.took)
			}
			if n := s.Count("", "/v2/*/blobs/sha256**"); tt.on == nil && n > 1 {
				t.Errorf("%s: %d requests; want 1: nothing was to be mended", tt.name, n)
			}
			stall.Release()
		})
	}
}

// A registry may take its time over a large upload that is complete.
func TestSlowFinish(t *testing.T) {
	bubble(t, Options{Retry: Retry{Times: -1}}, func(t *testing.T, s *registrytest.Registry, o Options) {
		s.Inject(registrytest.On("PUT", "/v2/b/blobs/**", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				next.ServeHTTP(w, q)
				time.Sleep(62 * time.Second)
			})
		}))
		for _, tt := range []struct {
			size int
			ok   bool
		}{{1 << 20, false}, {64 << 20, true}} {
			b := content(1, tt.size)
			d := describe(oci.MediaTypeLayerGzip, b)
			dst := destination(t, "127.0.0.1:5000/b:v1", o)
			_, err := dst.Put(context.Background(), verified(t, d, b, false))
			dst.Close()
			if (err == nil) != tt.ok {
				t.Errorf("%d bytes, answered after 62 s: %v; want ok %v", tt.size, err, tt.ok)
			}
		}
	})
}

func ExampleRetry() {
	r := newRetrier(Retry{}, "", nil)
	fmt.Println(r.Times, r.Delay, r.Budget)
	// Output: 2 1s 1m30s
}

// Whoever waits for the end of a pause waits on if it has become longer.
func TestPauseGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRetrier(Retry{}, "", nil)
		began := time.Now()
		r.extend(5 * time.Second)
		go func() {
			time.Sleep(3 * time.Second)
			r.extend(10 * time.Second)
		}()
		if err := r.hold(context.Background()); err != nil || time.Since(began) != 13*time.Second {
			t.Errorf("hold = %v after %v; want 13 s", err, time.Since(began))
		}
	})
}
