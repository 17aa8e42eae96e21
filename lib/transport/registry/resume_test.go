package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// partly answers a request for a range with less than was asked for, as a
// server may (RFC 9110, section 15.3.7), and total as the length of the whole.
func partly(b []byte, most int, total string) registrytest.Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			var first int
			if n, _ := fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-", &first); n == 0 || first >= len(b) {
				next.ServeHTTP(w, q)
				return
			}
			end := min(first+most, len(b))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", first, end-1, total))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(b[first:end])
		})
	}
}

// A range that ends before the blob does is not the end of the blob, also if
// only the server knows how long that is; and if nobody does, ranges are no
// help.
func TestPartOfTheRest(t *testing.T) {
	m := makeImage(1, 1<<20)
	d := m.layers[0]
	b := m.blobs[d.Digest]
	for _, tt := range []struct {
		size  int64
		total string
		first registrytest.Action // what becomes of the first request
	}{
		{d.Size, fmt.Sprint(d.Size), registrytest.CutBody(100 << 10)},
		{d.Size, "*", registrytest.CutBody(100 << 10)},
		{-1, fmt.Sprint(d.Size), registrytest.CutBody(100 << 10)},
		{-1, "*", registrytest.CutBody(100 << 10)}, // its Content-Length said it
		{-1, "2000000", registrytest.CutBody(100 << 10)},
		{d.Size, "2000000", registrytest.CutBody(100 << 10)},
	} {
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a", "v1")
		s.Inject(blobs(tt.first).Times(1), blobs(partly(b, 300<<10, tt.total)).After(1).Times(8))
		d := d
		d.Size = tt.size
		got, err := readBlob(source(t, s.Addr+"/a:v1", quick()), d)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("size %d, total %s: %d bytes, %v; want %d", tt.size, tt.total, len(got), err, len(b))
		}
	}
}

// In the middle of a blob of unknown length, a server that does not say how
// much there is could end it anywhere. It is asked for the whole instead.
func TestPartOfUnknown(t *testing.T) {
	m := makeImage(1, 1<<20)
	d := m.layers[0]
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	s.Inject(blobs(partly(m.blobs[d.Digest], 300<<10, "*")))
	d.Size = -1
	rc, err := source(t, s.Addr+"/a:v1", quick()).BlobAt(t.Context(), d, 100<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(rc); err != nil || !bytes.Equal(got.Bytes(), m.blobs[d.Digest][100<<10:]) {
		t.Errorf("%d bytes, %v; want %d", got.Len(), err, 1<<20-100<<10)
	}
}
