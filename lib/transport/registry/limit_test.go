package registry

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// What a limiter lets through in a time is what its rate says, for however
// many who share it.
func TestLimiter(t *testing.T) {
	for _, tt := range []struct {
		rate         float64
		who, n, each int
		took         time.Duration
	}{
		{10, 1, 21, 1, 2 * time.Second},
		{10, 7, 3, 1, 2 * time.Second},
		{0.5, 1, 3, 1, 4 * time.Second},
		{1 << 20, 8, 32, 64 << 10, 16*time.Second - time.Second/16},
		{math.Inf(1), 1, 1000, 1 << 20, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			l, began := NewLimiter(tt.rate), time.Now()
			var wg sync.WaitGroup
			for range tt.who {
				wg.Go(func() {
					for range tt.n {
						if !l.wait(nil, tt.each) {
							t.Errorf("wait = false; nobody is done")
						}
					}
				})
			}
			wg.Wait()
			if took := time.Since(began); took < tt.took || took > tt.took+time.Millisecond {
				t.Errorf("%v a second: %d times %d of %d took %v; want %v", tt.rate, tt.who, tt.n, tt.each, took, tt.took)
			}
		})
	}
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
		if l := NewLimiter(rate); l != nil || !l.wait(nil, 1<<30) || len(l.some(make([]byte, 1<<20))) != 1<<20 {
			t.Errorf("NewLimiter(%v) limits", rate)
		}
	}
}

// A rate next to nothing must not make a wait of it that overflows to none.
func TestLimiterTiny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, began := NewLimiter(math.SmallestNonzeroFloat64), time.Now()
		l.wait(nil, math.MaxInt)
		l.wait(nil, 1)
		if took := time.Since(began); took != longest {
			t.Errorf("it took %v; want %v", took, longest)
		}
	})
}

// Requests to the registry keep their distance; those to where it sends us are
// not its business.
func TestRate(t *testing.T) {
	m := makeImage(1, 10, 20, 30)
	bubble(t, quick(), func(t *testing.T, s *registrytest.Registry, o Options) {
		m.store(s, "a", "v1")
		o.Network.Rate = NewLimiter(2)
		began := time.Now()
		for range 2 { // repositories of one registry share the limit
			src := source(t, "127.0.0.1:5000/a:v1", o)
			if _, err := src.Manifest(context.Background(), ""); err != nil {
				t.Error(err)
			}
			for _, d := range m.all() {
				if _, err := readBlob(src, d); err != nil {
					t.Error(err)
				}
			}
			src.Close()
		}
		// the first one finds out that there is no TLS, as a request of its own
		n := len(s.Requests())
		if took := time.Since(began); took < time.Duration(n-1)*time.Second/2 || took > time.Duration(n+3)*time.Second/2 {
			t.Errorf("%d requests took %v; want half a second each", n, took)
		}
	})
}

// Whoever waits for a turn and is told to stop stops at once, with the reason.
func TestRateInterrupted(t *testing.T) {
	bubble(t, quick(), func(t *testing.T, s *registrytest.Registry, o Options) {
		o.Network.Rate = NewLimiter(0.001)
		o.Network.Rate.wait(nil, 1)
		why := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		src, began := source(t, "127.0.0.1:5000/a:v1", o), time.Now()
		if _, err := src.Manifest(ctx, ""); !errors.Is(err, why) || time.Since(began) != 5*time.Second {
			t.Errorf("Manifest = %v after %v; want %v after 5 s", err, time.Since(began), why)
		}
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests; want none", n)
		}
		src.Close()
	})
}

// Bytes both ways share a limit, over all repositories; and to keep to it is
// not the silence of a network, however long it takes.
func TestBandwidth(t *testing.T) {
	m := makeImage(1, 1<<20)
	bubble(t, Options{Retry: Retry{Times: -1}}, func(t *testing.T, s *registrytest.Registry, o Options) {
		m.store(s, "a", "v1")
		o.Network.Bandwidth = NewLimiter(4 << 10)
		o.Network.Idle, o.Network.Header = 100*time.Millisecond, 100*time.Millisecond // shorter than one pause
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			src := source(t, "127.0.0.1:5000/a:v1", o)
			if _, err := readBlob(src, m.layers[0]); err != nil {
				t.Error(err)
			}
			src.Close()
		})
		wg.Go(func() {
			dst := destination(t, "127.0.0.1:5000/b:v1", o)
			if _, err := dst.Put(context.Background(), verified(t, m.layers[0], m.blobs[m.layers[0].Digest], true)); err != nil {
				t.Error(err)
			}
			dst.Close()
		})
		wg.Wait()
		if took := time.Since(began); took < 510*time.Second || took > 520*time.Second {
			t.Errorf("2 MiB at 4 KiB/s took %v; want 512 s", took)
		}
		if n := s.Count("", "/v2/*/blobs/sha256**"); n != 1 {
			t.Errorf("%d requests for the blob; want 1: nothing broke", n)
		}
	})
}

// The end of a copy does not wait for its bandwidth, in neither direction.
func TestBandwidthInterrupted(t *testing.T) {
	m := makeImage(1, 1<<20)
	for _, up := range []bool{false, true} {
		bubble(t, quick(), func(t *testing.T, s *registrytest.Registry, o Options) {
			m.store(s, "a", "v1")
			o.Network.Bandwidth = NewLimiter(1)
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(100*time.Second, cancel)
			began := time.Now()
			var err error
			if up {
				dst := destination(t, "127.0.0.1:5000/b:v1", o)
				_, err = dst.Put(ctx, verified(t, m.layers[0], m.blobs[m.layers[0].Digest], true))
				defer dst.Close()
			} else {
				src := source(t, "127.0.0.1:5000/a:v1", o)
				defer src.Close()
				rc, openErr := src.Blob(ctx, m.layers[0])
				if openErr != nil {
					t.Fatal(openErr)
				}
				_, err = readSlowly(rc, 0)
				rc.Close()
			}
			if took := time.Since(began); !errors.Is(err, context.Canceled) || took != 100*time.Second {
				t.Errorf("up %v: %v after %v; want it cancelled after 100 s", up, err, took)
			}
		})
	}
}

// Answers that are read whole are limited too: an endless one of a hostile
// server does not take the line.
func TestBandwidthOfDocuments(t *testing.T) {
	bubble(t, quick(), func(t *testing.T, s *registrytest.Registry, o Options) {
		s.Inject(registrytest.On("GET", "/v2/a/manifests/v1", func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 64<<10)) })
		}))
		o.Network.Bandwidth = NewLimiter(1 << 10)
		src, began := source(t, "127.0.0.1:5000/a:v1", o), time.Now()
		if _, err := src.Manifest(context.Background(), ""); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 63*time.Second || took > 65*time.Second {
			t.Errorf("64 KiB at 1 KiB/s took %v; want 64 s", took)
		}
		src.Close()
	})
}

// Where the registry sends us is another house: its rate is not the registry's.
func TestRateElsewhere(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.StartTLS(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	s.Inject(onBlobs(registrytest.RedirectTo(s.Open("cdn"))))
	o := quick()
	o.CertDir, o.TLSVerify, o.Network.Rate = s.CertDir, Always, NewLimiter(1e-6)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	rc, err := source(t, s.Addr+"/a:v1", o).Blob(ctx, m.config)
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
}
