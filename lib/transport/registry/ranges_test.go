package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// inPieces is a source that reads blobs from 1 MiB on by n requests at a time,
// in pieces of 100 KiB.
func inPieces(t *testing.T, ref string, n int, o Options) *Source {
	o.Network.Ranges = n
	src := source(t, ref, o)
	src.remote.stock.memory, src.remote.stock.least = int64(n)*100<<10, 1<<20
	return src
}

// However a server answers requests for ranges, what is read is the blob, or
// the error is what it would be without ranges.
func TestRanges(t *testing.T) {
	m := makeImage(1, 2<<20+1)
	d := m.layers[0]
	b := m.blobs[d.Digest]
	pieces := (len(b) + 100<<10 - 1) / (100 << 10)
	some := func(do registrytest.Action) registrytest.Fault { return blobs(do).Nth(8) }
	tests := []struct {
		name   string
		o      registrytest.Options
		faults []registrytest.Fault
		most   int // requests for the blob
		is     error
	}{
		{"well", registrytest.Options{}, nil, pieces, nil},
		{"no ranges", registrytest.Options{NoRange: true}, nil, 1, nil},
		{"ranges refused", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.Reply(416, "", "")).Nth(1)}, 2, nil},
		{"other range at first", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.Header("Content-Range", "bytes 7-9/10")).Nth(1)}, 2, nil},
		{"busy at first", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.Busy(503, "0")).Nth(1)}, pieces + 1, nil},
		{"all at first", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.IgnoreRange()).Nth(1)}, 1, nil},
		{"cut", registrytest.Options{}, []registrytest.Fault{some(registrytest.CutBody(50000))}, 16, nil},
		{"cut at first", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.CutBody(50000)).Nth(1)}, 5, nil},
		{"reset", registrytest.Options{}, []registrytest.Fault{some(registrytest.Reset())}, pieces + 1, nil},
		{"busy", registrytest.Options{}, []registrytest.Fault{some(registrytest.Busy(429, "0"))}, 16, nil},
		{"other range", registrytest.Options{}, []registrytest.Fault{some(registrytest.Header("Content-Range", "bytes 0-102399/2097153"))}, 16, nil},
		{"other total", registrytest.Options{}, []registrytest.Fault{some(registrytest.Header("Content-Range", "bytes 0-102399/102400"))}, 16, nil},
		{"less than asked for", registrytest.Options{}, []registrytest.Fault{blobs(partly(b, 50<<10, fmt.Sprint(len(b)))).After(8).Times(3)}, 14, nil},
		{"all in the middle", registrytest.Options{}, []registrytest.Fault{some(registrytest.IgnoreRange())}, 16, nil},
		{"gone", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.Refuse(404, "BLOB_UNKNOWN", "gone")).After(8)}, 16, image.ErrNotFound},
		{"gone at first", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.Refuse(404, "BLOB_UNKNOWN", "gone"))}, 1, image.ErrNotFound},
		{"busy for ever", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.Busy(503, "0")).After(8)}, 16, image.ErrNetwork},
		{"redirected inward", registrytest.Options{}, []registrytest.Fault{blobs(registrytest.Redirect("http://169.254.169.254/")).After(8)}, 16, image.ErrRejected},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, tt.o)
		m.store(s.Registry, "a", "v1")
		s.Inject(tt.faults...)
		src := inPieces(t, s.Addr+"/a:v1", 4, quick())
		for _, offset := range []int64{0, 300_000} {
			s.Heal()
			s.Inject(tt.faults...)
			s.Forget()
			rc, err := src.BlobAt(context.Background(), d, offset)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(rc)
				rc.Close()
			}
			if !isError(err, tt.is) || err == nil && !bytes.Equal(got, b[offset:]) {
				t.Errorf("%s, from %d: %d bytes, %v; want %v", tt.name, offset, len(got), err, tt.is)
			}
			if n := s.Count("GET", "/v2/a/blobs/*"); n > tt.most {
				t.Errorf("%s, from %d: %d requests; want %d at most", tt.name, offset, n, tt.most)
			}
			if src.remote.stock.taken.Load() {
				t.Errorf("%s, from %d: the stock is not given back", tt.name, offset)
			}
		}
	}
}

// As many requests as are asked for are on their way at a time, and a second
// blob beside the first is read by one: memory is for one.
func TestRangesAtOnce(t *testing.T) {
	m := makeImage(1, 2<<20, 2<<20)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	stall := registrytest.NewStall()
	s.Inject(blobs(stall.Body(1000)).After(1))
	src := inPieces(t, s.Addr+"/a:v1", 4, quick())
	var wg sync.WaitGroup
	for _, d := range m.layers {
		rc, err := src.Blob(context.Background(), d)
		if d.Digest == m.layers[0].Digest {
			for range 3 { // pieces 2 to 4; there is no room for more
				<-stall.Reached()
			}
		} else {
			<-stall.Reached()
		}
		wg.Go(func() {
			if err != nil {
				t.Error(err)
				return
			}
			defer rc.Close()
			got, err := io.ReadAll(rc)
			if err != nil || !bytes.Equal(got, m.blobs[d.Digest]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	stall.Release()
	wg.Wait()
	whole := 0
	for _, q := range s.Requests() {
		if q.Range() == "" {
			whole++
		}
	}
	if n := s.Count("GET", "/v2/a/blobs/*"); n != 22 || whole != 1 {
		t.Errorf("%d requests, %d of them for a whole blob; want 22 and 1", n, whole)
	}
}

// Whoever stops in the middle stops at once, and all that was on its way.
func TestRangesInterrupted(t *testing.T) {
	m := makeImage(1, 2<<20)
	for _, byClose := range []bool{false, true} {
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a", "v1")
		stall := registrytest.NewStall()
		s.Inject(blobs(stall.Body(1000)).After(2))
		src := inPieces(t, s.Addr+"/a:v1", 4, quick())
		why := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(context.Background())
		rc, err := src.Blob(ctx, m.layers[0])
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-stall.Reached()
			if byClose {
				rc.Close()
			} else {
				cancel(why)
			}
		}()
		if n, err := io.Copy(io.Discard, rc); err == nil || n > 300<<10 || !byClose && !errors.Is(err, why) {
			t.Errorf("by Close %v: %d bytes, %v", byClose, n, err)
		}
		rc.Close()
		cancel(nil)
		if src.remote.stock.taken.Load() {
			t.Errorf("by Close %v: the stock is not given back", byClose)
		}
		stall.Release()
	}
}

// What is read in pieces elsewhere goes there without credentials, each piece
// by way of the registry: what it sends to may be good for once only.
func TestRangesElsewhere(t *testing.T) {
	m := makeImage(1, 2<<20)
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	m.store(s.Registry, "a", "v1")
	cdn := s.Open("cdn")
	s.Inject(onBlobs(registrytest.RedirectTo(cdn)))
	src := inPieces(t, s.Addr+"/a:v1", 4, as(ali))
	if got, err := readBlob(src, m.layers[0]); err != nil || !bytes.Equal(got, m.blobs[m.layers[0].Digest]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	there := 0
	for _, q := range s.Requests() {
		if q.Origin == "cdn" {
			there++
			if q.Header.Get("Authorization") != "" || q.Range() == "" || q.Status != http.StatusPartialContent {
				t.Errorf("at the cdn: %+v", q)
			}
		}
	}
	if there != 21 {
		t.Errorf("%d requests at the cdn; want 21", there)
	}
}

// A blob that is replaced while it is read is not put together from both: the
// pieces are asked for by the tag of the first.
func TestRangesIfRange(t *testing.T) {
	m := makeImage(1, 2<<20)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	s.Inject(blobs(registrytest.Header("Etag", `"one"`)))
	src := inPieces(t, s.Addr+"/a:v1", 2, quick())
	if _, err := readBlob(src, m.layers[0]); err != nil {
		t.Error(err)
	}
	for i, q := range s.Requests() {
		if got := q.Header.Get("If-Range"); i > 0 && got != `"one"` {
			t.Errorf("request %d: If-Range %q", i, got)
		}
	}
}

// A read that wants nothing gets nothing: it does not begin to read the blob
// by one request beside the pieces.
func TestRangesReadNothing(t *testing.T) {
	m := makeImage(1, 2<<20)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	src := inPieces(t, s.Addr+"/a:v1", 4, quick())
	rc, err := src.Blob(context.Background(), m.layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if n, err := rc.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v; want 0, nil", n, err)
	}
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, m.blobs[m.layers[0].Digest]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := s.Count("GET", "/v2/a/blobs/*"); n != 21 {
		t.Errorf("%d requests; want 21", n)
	}
}
