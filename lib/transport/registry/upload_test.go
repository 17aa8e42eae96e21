package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

func uploads(method string, do ...registrytest.Action) registrytest.Fault {
	return registrytest.On(method, "/v2/a/blobs/uploads/*", do...)
}

// methods returns the methods of requests for uploads, and the kibibytes that
// went with each.
func methods(s *registrytest.Registry) string {
	var list []string
	for _, q := range s.Requests() {
		word := q.Method
		if q.In >= 1<<10 {
			word += fmt.Sprint(q.In >> 10)
		}
		list = append(list, word)
	}
	return strings.Join(list, " ")
}

// However an upload breaks, it is mended if the source can be read again; and
// it is not sent again from the beginning where the registry remembers.
func TestUploadMends(t *testing.T) {
	const size = 1 << 20
	large := registrytest.On("HEAD", "**", func(h http.Handler) http.Handler { return h })
	tests := []struct {
		name   string
		o      registrytest.Options
		faults func(s *registrytest.Server) []registrytest.Fault
		reopen bool
		is     error
		want   string // requests
	}{
		{"whole", registrytest.Options{}, nil, true, nil, "POST PUT1024"},
		{"relative location", registrytest.Options{RelativeLocation: true}, nil, true, nil, "POST PUT1024"},
		{"cut", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1)}
		}, true, nil, "POST PUT512 GET PATCH512 PUT"},
		{"cut twice", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("PATCH", registrytest.CutRequest(256<<10)).Times(1)}
		}, true, nil, "POST PUT512 GET PATCH256 GET PATCH256 PUT"},
		{"cut, no second reading", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1)}
		}, false, image.ErrNetwork, "POST PUT512 GET DELETE"},
		{"cut, and forgotten", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", s.ForgetUpload(), registrytest.Cut()).Times(1)}
		}, true, nil, "POST PUT GET HEAD POST PUT1024"},
		{"forgotten", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", s.ForgetUpload()).Times(1)}
		}, true, nil, "POST PUT GET HEAD POST PUT1024"},
		{"the answer is lost", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.LoseAnswer()).Times(1)}
		}, true, nil, "POST PUT1024 GET HEAD"},
		{"the answer is lost, no second reading", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.LoseAnswer()).Times(1)}
		}, false, nil, "POST PUT1024 GET HEAD"},
		{"the answer to the rest is lost", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("PATCH", registrytest.LoseAnswer()).Times(1)}
		}, true, nil, "POST PUT512 GET PATCH512 GET PUT"},
		{"503", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.Reply(503, "", "")).Times(1)}
		}, true, nil, ""},
		{"503 to the question", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("GET", registrytest.Reply(503, "", "")).Times(1)}
		}, true, nil, "POST PUT512 GET GET PATCH512 PUT"},
		{"no answer to the question", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("GET", registrytest.Refuse(405, "UNSUPPORTED", "")).Times(1)}
		}, true, nil, ""},
		{"a question answered without a range", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("GET", registrytest.Header("Range", "")).Times(1)}
		}, true, nil, ""},
		{"more held than was sent", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("GET", registrytest.Header("Range", "0-99999999")).Times(1)}
		}, true, nil, ""},
		{"less held than is said", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("GET", registrytest.Header("Range", "0-600000")).Times(1)}
		}, true, nil, ""},
		{"only a part is taken", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.CutRequest(512<<10)).Times(1), uploads("PATCH", registrytest.TakeOnly(100<<10)).Times(1)}
		}, true, nil, ""},
		{"cut for ever", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.Cut())}
		}, true, image.ErrNetwork, ""},
		{"refused for ever", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.Refuse(403, "DENIED", "quota exceeded"))}
		}, true, image.ErrDenied, ""},
		{"put together wrongly", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{
				uploads("PUT", registrytest.CutRequest(512<<10)).Times(1),
				uploads("PUT", registrytest.Refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content")).Nth(2),
			}
		}, true, nil, ""},
		{"digest invalid", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.Refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content"))}
		}, true, image.ErrMismatch, ""},
		{"another digest in the answer", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.Header("Docker-Content-Digest", digest.FromString("x").String()))}
		}, true, image.ErrMismatch, ""},
		{"too large, in all", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.TooLarge(600<<10)), uploads("PATCH", registrytest.TooLarge(600<<10))}
		}, true, nil, "POST PUT GET PATCH512 PATCH512 PUT"},
		{"too large, whatever it is", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.TooLarge(0)), uploads("PATCH", registrytest.TooLarge(0))}
		}, true, nil, ""},
		{"no bytes with PUT", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", putWithout(400))}
		}, true, nil, "POST PUT GET PATCH1024 PUT"},
		{"no bytes with PUT, no second reading", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", putWithout(400))}
		}, false, errAny, ""},
		{"never PUT", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{uploads("PUT", registrytest.Refuse(405, "UNSUPPORTED", ""))}
		}, true, errAny, ""},
		{"no location", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{registrytest.On("POST", "**", registrytest.Header("Location", ""))}
		}, true, image.ErrRejected, "POST"},
		{"POST is cut", registrytest.Options{}, func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{registrytest.On("POST", "**", registrytest.Cut()).Times(2)}
		}, true, nil, "POST POST POST PUT1024"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, tt.o)
		s.Inject(large)
		if tt.faults != nil {
			s.Inject(tt.faults(s)...)
		}
		b := content(1, size)
		d := describe(oci.MediaTypeLayerGzip, b)
		dst := destination(t, s.Addr+"/a:v1", quick())
		got, err := dst.Put(context.Background(), verified(t, d, b, tt.reopen))
		dst.Close()
		if tt.is == errAny {
			if err == nil || errors.Is(err, image.ErrNetwork) {
				t.Errorf("%s: %v; want another error", tt.name, err)
			}
		} else if tt.name == "too large, whatever it is" {
			if err == nil || !strings.Contains(err.Error(), "entity too large") {
				t.Errorf("%s: %v; want the registry's text", tt.name, err)
			}
		} else if !isError(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		held, _ := s.Blob("a", d.Digest)
		if err == nil && (got.Digest != d.Digest || got.Size != size || !bytes.Equal(held, b)) {
			t.Errorf("%s: Put = %v, and the registry holds %d bytes", tt.name, got, len(held))
		}
		if n := s.Uploads(); n != 0 && tt.name != "no location" {
			t.Errorf("%s: %d uploads are left open", tt.name, n)
		}
		if m := methods(s.Registry); tt.want != "" && m != tt.want {
			t.Errorf("%s: requests %q; want %q", tt.name, m, tt.want)
		}
	}
}

// errAny stands for any error that is not the network's.
var errAny = errors.New("any error")

// putWithout refuses bodies of PUT.
func putWithout(status int) registrytest.Action {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.ContentLength > 0 {
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}

// A registry that refuses a blob while it is being sent is understood.
func TestRefusedWhileSending(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(uploads("PUT", registrytest.Refuse(403, "DENIED", "quota exceeded", "Connection", "close")))
	b := content(1, 64<<20)
	_, err := destination(t, s.Addr+"/a:v1", quick()).Put(context.Background(), verified(t, describe("", b), b, true))
	if !errors.Is(err, image.ErrDenied) || !strings.Contains(err.Error(), "quota exceeded") {
		t.Errorf("Put = %v; want the registry's reason", err)
	}
}

// Small blobs are held in memory, so they need no second reading.
func TestSmallUploadMends(t *testing.T) {
	for _, size := range []int{0, 1, 1000, bufferSize - 1, bufferSize} {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(uploads("PUT", registrytest.CutRequest(int64(size/2))).Times(2))
		b := content(1, size)
		d := describe(oci.MediaTypeLayerGzip, b)
		dst := destination(t, s.Addr+"/a:v1", quick())
		_, err := dst.Put(context.Background(), verified(t, d, b, false))
		dst.Close()
		if held, ok := s.Blob("a", d.Digest); err != nil || !ok || !bytes.Equal(held, b) {
			t.Errorf("%d bytes: %v; the registry holds %d", size, err, len(held))
		}
	}
}

// Nothing is asked of the registry before the source has something to give.
func TestUploadWaitsForTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := registrytest.New(registrytest.Options{})
		o := quick()
		o.Network.dial = serve(t, s).dial
		dst := destination(t, "127.0.0.1:5000/a:v1", o)
		pr, pw := io.Pipe()
		done := make(chan error)
		go func() {
			_, err := dst.Put(context.Background(), &blob.Blob{Desc: oci.Descriptor{Digest: digest.FromString("x"), Size: 1 << 20}, Reader: pr})
			done <- err
		}()
		time.Sleep(time.Hour)
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests before the first byte", n)
		}
		why := errors.New("no image there")
		pw.CloseWithError(why)
		if err := <-done; err != why {
			t.Errorf("Put = %v; want %v as it is", err, why)
		}
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests for nothing", n)
		}
		dst.Close()
	})
}

// When the source fails, its error comes back as it is, the upload is
// cancelled, and the registry has nothing of it, not even if it would not
// check digests.
func TestSourceFails(t *testing.T) {
	why := errors.New("the tape is torn")
	for _, size := range []int{10, 1 << 20} {
		b := content(1, size)
		d := describe(oci.MediaTypeLayerGzip, b)
		wrong := bytes.Clone(b)
		wrong[size-1] ^= 1
		tests := []struct {
			name string
			in   io.Reader
			d    oci.Descriptor
			is   error
		}{
			{"error", io.MultiReader(bytes.NewReader(b[:size-1]), failing{why}), d, why},
			{"error at once", failing{why}, d, why},
			{"error in place of the end", io.MultiReader(bytes.NewReader(b), failing{why}), d, why},
			{"other bytes", bytes.NewReader(wrong), d, blob.ErrMismatch},
			{"too few", bytes.NewReader(b[:size-1]), d, blob.ErrMismatch},
			{"too many", bytes.NewReader(append(bytes.Clone(b), 'x')), d, blob.ErrMismatch},
			{"error, digest not known", io.MultiReader(bytes.NewReader(b), failing{why}), oci.Descriptor{Size: -1}, why},
		}
		for _, tt := range tests {
			s := registrytest.Start(t, registrytest.Options{})
			received := int64(0)
			dst := destination(t, s.Addr+"/a:v1", quick())
			ctx := context.Background()
			if _, err := dst.Mount(ctx, tt.d, nil); err != nil {
				t.Fatal(err)
			}
			v, err := blob.Verify(&blob.Blob{Desc: tt.d, Reader: tt.in})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dst.Put(ctx, v); !errors.Is(err, tt.is) || errors.Is(err, image.ErrNetwork) {
				t.Errorf("%d bytes, %s: %v; want %v", size, tt.name, err, tt.is)
			}
			dst.Close()
			for _, q := range s.Requests() {
				received += q.In
			}
			if tt.d.Size >= 0 && received >= int64(size) {
				t.Errorf("%d bytes, %s: all of it was sent", size, tt.name)
			}
			if _, ok := s.Blob("a", d.Digest); ok || s.Uploads() != 0 {
				t.Errorf("%d bytes, %s: the registry has the blob: %v; uploads: %d", size, tt.name, ok, s.Uploads())
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// When reading again fails, or gives something else, that is the error.
func TestReopenFails(t *testing.T) {
	b := content(1, 8<<20)
	d := describe(oci.MediaTypeLayerGzip, b)
	why := errors.New("the tape is gone")
	wrong := bytes.Clone(b)
	wrong[7<<20] ^= 1
	tests := []struct {
		name   string
		reopen func(int64) (io.ReadCloser, error)
		is     error
	}{
		{"error", func(int64) (io.ReadCloser, error) { return nil, why }, why},
		{"other bytes", func(n int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(wrong[n:])), nil }, blob.ErrMismatch},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(uploads("PUT", registrytest.CutRequest(6<<20)).Times(1))
		dst := destination(t, s.Addr+"/a:v1", quick())
		v, err := blob.Verify(&blob.Blob{Desc: d, Reader: bytes.NewReader(b), Reopen: tt.reopen})
		if err != nil {
			t.Fatal(err)
		}
		_, err = dst.Put(context.Background(), v)
		dst.Close()
		if !errors.Is(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		if _, ok := s.Blob("a", d.Digest); ok || s.Uploads() != 0 {
			t.Errorf("%s: something is left", tt.name)
		}
	}
}

// Blobs whose digest is known only at their end are streamed.
func TestUnknownDigest(t *testing.T) {
	tests := []struct {
		size  int
		chunk int64
		want  string
	}{
		{0, 0, "POST PUT"},
		{100, 0, "POST PUT"},
		{bufferSize + 1, 0, "POST PATCH128 PUT"},
		{1 << 20, 0, "POST PATCH1024 PUT"},
		{1 << 20, 300 << 10, "POST PATCH300 PATCH300 PATCH300 PATCH124 PUT"},
		{512 << 10, 256 << 10, "POST PATCH256 PATCH256 PUT"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		b := content(1, tt.size)
		o := quick()
		o.ChunkSize = tt.chunk
		dst := destination(t, s.Addr+"/a:v1", o)
		got, err := dst.Put(context.Background(), verified(t, oci.Descriptor{MediaType: oci.MediaTypeLayerGzip, Size: -1}, b, false))
		if err != nil || got.Digest != digest.FromBytes(b) || got.Size != int64(tt.size) || got.MediaType != oci.MediaTypeLayerGzip {
			t.Errorf("%d bytes: %v, %v", tt.size, got, err)
		}
		if held, _ := s.Blob("a", digest.FromBytes(b)); !bytes.Equal(held, b) {
			t.Errorf("%d bytes: the registry holds %d", tt.size, len(held))
		}
		if m := methods(s.Registry); m != tt.want {
			t.Errorf("%d bytes: requests %q; want %q", tt.size, m, tt.want)
		}
	}
}

// A digest may be known although the size is not.
func TestUnknownSize(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	b := content(1, 1<<20)
	d := describe("", b)
	d.Size = -1
	got, err := destination(t, s.Addr+"/a:v1", quick()).Put(context.Background(), verified(t, d, b, false))
	if err != nil || got.Size != 1<<20 {
		t.Errorf("Put = %v, %v", got, err)
	}
	if m := methods(s.Registry); m != "POST PATCH1024 PUT" {
		t.Errorf("requests %q", m)
	}
}

// Chunks are as large as was asked for, but not smaller than the registry
// wants them, and each goes on where the one before ended.
func TestChunks(t *testing.T) {
	tests := []struct {
		chunk int64
		least string
		want  string
	}{
		{400 << 10, "", "POST PATCH400 PATCH400 PATCH224 PUT"},
		{400 << 10, "614400", "POST PATCH600 PATCH424 PUT"},
		{1 << 20, "", "POST PUT1024"},
		{400 << 10, "99999999999", "POST PATCH1024 PUT"},
		{400 << 10, "nonsense", "POST PATCH400 PATCH400 PATCH224 PUT"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		if tt.least != "" {
			s.Inject(registrytest.On("POST", "**", registrytest.Header("OCI-Chunk-Min-Length", tt.least)))
		}
		b := content(1, 1<<20)
		d := describe(oci.MediaTypeLayerGzip, b)
		o := quick()
		o.ChunkSize = tt.chunk
		if _, err := destination(t, s.Addr+"/a:v1", o).Put(context.Background(), verified(t, d, b, false)); err != nil {
			t.Error(err)
		}
		if m := methods(s.Registry); m != tt.want {
			t.Errorf("chunks of %d, at least %q: requests %q; want %q", tt.chunk, tt.least, m, tt.want)
		}
		at := 0
		for _, q := range s.Requests() {
			if q.Method == "PATCH" {
				if want := fmt.Sprintf("%d-%d", at, at+int(q.In)-1); q.Header.Get("Content-Range") != want {
					t.Errorf("Content-Range %q; want %q", q.Header.Get("Content-Range"), want)
				}
				at += int(q.In)
			}
		}
	}
}

// A size that was too large once is not tried with the next blob.
func TestTooLargeIsRemembered(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(uploads("PUT", registrytest.TooLarge(1<<20)), uploads("PATCH", registrytest.TooLarge(1<<20)))
	dst := destination(t, s.Addr+"/a:v1", quick())
	for i, want := range []string{"POST PUT GET PATCH1024 PATCH1024 PUT", "POST PATCH1024 PATCH1024 PUT"} {
		s.Forget()
		b := content(byte(i), 2<<20)
		if _, err := dst.Put(context.Background(), verified(t, describe("", b), b, true)); err != nil {
			t.Error(err)
		}
		if m := methods(s.Registry); m != want {
			t.Errorf("requests %q; want %q", m, want)
		}
	}
}

// A token that ends while a blob is on its way costs one more sending.
func TestTokenEndsInUpload(t *testing.T) {
	for _, size := range []int{100, 1 << 20} {
		s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
		s.Inject(uploads("PUT", s.ForgetTokens()).Times(1))
		b := content(1, size)
		d := describe("", b)
		if _, err := destination(t, s.Addr+"/a:v1", as(ali)).Put(context.Background(), verified(t, d, b, true)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if n := s.Count("GET", "/token"); n != 2 {
			t.Errorf("%d bytes: %d tokens; want 2", size, n)
		}
	}
}

// Whoever cancels a copy does not wait for the network, and no upload is left.
func TestUploadInterrupted(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	stall := registrytest.NewStall()
	s.Inject(uploads("PUT", stall.Request(100<<10)))
	b := content(1, 32<<20)
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(context.Background())
	dst := destination(t, s.Addr+"/a:v1", quick())
	go func() {
		<-stall.Reached()
		cancel(why)
	}()
	if _, err := dst.Put(ctx, verified(t, describe("", b), b, true)); !errors.Is(err, why) {
		t.Errorf("Put = %v; want %v", err, why)
	}
	dst.Close()
	stall.Release()
	if n := s.Uploads(); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

// A source that hangs does not hold up a copy that is cancelled, though the
// request is waiting for it.
func TestHangingSourceInterrupted(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	stall := registrytest.NewStall()
	s.Inject(uploads("PUT", stall.Request(1000)))
	pr, pw := io.Pipe()
	defer pw.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		pw.Write(content(1, 200<<10))
		<-stall.Reached()
		stall.Release()
		cancel()
	}()
	dst := destination(t, s.Addr+"/a:v1", quick())
	if _, err := dst.Put(ctx, plainReader(oci.Descriptor{Digest: digest.FromString("x"), Size: 1 << 20}, pr)); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v; want context.Canceled", err)
	}
}

// What Mount finds out, and what it costs.
func TestMount(t *testing.T) {
	small, large := makeImage(1, 100), makeImage(2, 2<<20)
	refuse := registrytest.On("POST", "**", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Query().Get("mount") != "" {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, q)
		})
	})
	tests := []struct {
		name   string
		o      registrytest.Options
		faults []registrytest.Fault
		m      img
		there  bool
		is     error
		want   string // sorted: some are sent side by side
	}{
		{"small, there", registrytest.Options{}, nil, small, true, nil, "POST"},
		{"small, not there", registrytest.Options{}, nil, small, false, nil, "POST"},
		{"large, there", registrytest.Options{}, nil, large, true, nil, "HEAD POST"},
		{"large, not there", registrytest.Options{}, nil, large, false, nil, "HEAD POST"},
		{"large, there, no mounts", registrytest.Options{NoMount: true}, nil, large, true, nil, "DELETE HEAD POST"},
		{"large, not there, no mounts", registrytest.Options{NoMount: true}, nil, large, false, nil, "HEAD POST"},
		{"there, mounts refused", registrytest.Options{}, []registrytest.Fault{refuse}, small, true, nil, "DELETE HEAD POST POST"},
		{"not there, mounts refused", registrytest.Options{}, []registrytest.Fault{refuse}, small, false, nil, "HEAD POST POST"},
		{"no right to write", registrytest.Options{}, []registrytest.Fault{registrytest.On("POST", "**", registrytest.Refuse(403, "DENIED", ""))}, small, false, image.ErrDenied, "HEAD POST POST"},
		{"busy", registrytest.Options{}, []registrytest.Fault{registrytest.On("POST", "**", registrytest.Busy(429, "0")).Times(2)}, small, true, nil, "POST POST POST"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, tt.o)
		if tt.there {
			tt.m.store(s.Registry, "a", "v1")
		}
		s.Inject(tt.faults...)
		dst := destination(t, s.Addr+"/a:v1", quick())
		there, err := dst.Mount(context.Background(), tt.m.layers[0], nil)
		if there != tt.there || !isError(err, tt.is) {
			t.Errorf("%s: Mount = %v, %v; want %v, %v", tt.name, there, err, tt.there, tt.is)
		}
		dst.background.Wait()
		list := strings.Fields(methods(s.Registry))
		slices.Sort(list)
		if got := strings.Join(list, " "); got != tt.want {
			t.Errorf("%s: requests %q; want %q", tt.name, got, tt.want)
		}
		dst.Close()
		if n := s.Uploads(); n != 0 {
			t.Errorf("%s: %d uploads are left after Close", tt.name, n)
		}
	}
}

// Once a registry has been seen to mount, or to refuse it, that is known.
func TestMountLearns(t *testing.T) {
	m := makeImage(1, 2<<20, 3<<20)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	dst := destination(t, s.Addr+"/a:v1", quick())
	for i, d := range m.layers {
		if there, err := dst.Mount(context.Background(), d, nil); !there || err != nil {
			t.Errorf("Mount = %v, %v", there, err)
		}
		dst.background.Wait()
		if n := s.Count("HEAD", "**"); n != 1 {
			t.Errorf("%d HEADs after %d blobs; want 1", n, i+1)
		}
	}
}

// A mount names the source's repository only if the registry is the same.
func TestMountFrom(t *testing.T) {
	m := makeImage(1, 100)
	one, two := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	m.store(one.Registry, "src", "v1")
	src := source(t, one.Addr+"/src:v1", quick())
	for _, tt := range []struct {
		s    *registrytest.Server
		from string
	}{{one, "src"}, {two, "dst"}} {
		tt.s.Forget()
		dst := destination(t, tt.s.Addr+"/dst:v1", quick())
		there, err := dst.Mount(context.Background(), m.layers[0], src)
		if err != nil || there != (tt.from == "src") {
			t.Errorf("from %s: %v, %v", tt.from, there, err)
		}
		if q := tt.s.Requests()[0]; q.Query.Get("from") != tt.from || q.Query.Get("mount") != m.layers[0].Digest.String() {
			t.Errorf("from %s: query %v", tt.from, q.Query)
		}
	}
}

// Has tells what is there in full, and only that.
func TestHas(t *testing.T) {
	m := makeImage(1, 100)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	cdn := s.Open("cdn")
	d := m.layers[0]
	longer, unknown, other := d, d, describe("", []byte("other"))
	longer.Size, unknown.Size = 101, -1
	tests := []struct {
		name  string
		d     oci.Descriptor
		fault registrytest.Fault
		want  bool
		is    error
	}{
		{"there", d, registrytest.Fault{}, true, nil},
		{"of another size", longer, registrytest.Fault{}, false, nil},
		{"of no known size", unknown, registrytest.Fault{}, true, nil},
		{"not there", other, registrytest.Fault{}, false, nil},
		{"redirected", d, registrytest.On("HEAD", "**", registrytest.RedirectTo(cdn)).At(registrytest.Main), true, nil},
		{"redirected to what is signed for GET", d, registrytest.On("HEAD", "**", registrytest.RedirectTo(cdn+"/none")).At(registrytest.Main), false, nil},
		{"denied", d, registrytest.On("HEAD", "**", registrytest.Reply(403, "", "")), false, image.ErrDenied},
		{"broken", d, registrytest.On("HEAD", "**", registrytest.Reply(500, "", "")), false, image.ErrNetwork},
	}
	for _, tt := range tests {
		s.Heal()
		s.Inject(tt.fault)
		got, err := destination(t, s.Addr+"/a:v1", quick()).Has(context.Background(), tt.d)
		if got != tt.want || !isError(err, tt.is) {
			t.Errorf("%s: Has = %v, %v; want %v, %v", tt.name, got, err, tt.want, tt.is)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "checking whether a blob "+d.Digest.String()+" exists in "+s.Addr+"/a: ") {
			t.Errorf("%s: %q", tt.name, err)
		}
	}
}

// A proxy that hangs up instead of saying that a body is too large is met with
// smaller ones.
func TestHangUp(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	over := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.ContentLength > 16<<20 {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, q)
		})
	}
	s.Inject(uploads("PUT", over), uploads("PATCH", over))
	b := content(1, 20<<20)
	d := describe("", b)
	if _, err := destination(t, s.Addr+"/a:v1", quick()).Put(context.Background(), verified(t, d, b, true)); err != nil {
		t.Error(err)
	}
	if m := methods(s.Registry); !strings.HasSuffix(m, "PATCH16384 PATCH4096 PUT") {
		t.Errorf("requests %q; want chunks of 16 MiB in the end", m)
	}
}

// A registry that finds the wrong thing too large, or whose token service
// does, gets an error made of its answer: there is no upload to cut up.
func TestTooLargeWithoutUpload(t *testing.T) {
	b := content(1, 1<<20)
	tooLarge := registrytest.Refuse(413, "", "too large")
	for name, faults := range map[string]func(s *registrytest.Server) []registrytest.Fault{
		"to open an upload": func(*registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{registrytest.On("POST", "**", tooLarge)}
		},
		"to look for a blob": func(*registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{registrytest.On("POST", "**", registrytest.Cut()), registrytest.On("HEAD", "**", tooLarge)}
		},
		"token service": func(s *registrytest.Server) []registrytest.Fault {
			ask := registrytest.Challenge(`Bearer realm="` + s.URL(registrytest.Main) + `/token"`)
			return []registrytest.Fault{registrytest.On("POST", "**", ask), registrytest.On("GET", "/token", tooLarge)}
		},
	} {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(faults(s)...)
		_, err := destination(t, s.Addr+"/a:v1", quick()).Put(context.Background(), verified(t, describe("", b), b, true))
		var answer *Error
		if !errors.As(err, &answer) || answer.Status != 413 {
			t.Errorf("%s: %v; want the answer 413", name, err)
		}
		if n := s.Count("GET", "/token"); name == "token service" && n != 1 {
			t.Errorf("%s: asked %d times; want once", name, n)
		}
	}
}

// Registries say 0-0 of one byte as they do of none.
func TestOneByteInChunks(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(uploads("PUT", putWithout(400)))
	b := []byte("x")
	d := describe("", b)
	_, err := destination(t, s.Addr+"/a:v1", quick()).Put(context.Background(), verified(t, d, b, true))
	if held, _ := s.Blob("a", d.Digest); err != nil || !bytes.Equal(held, b) {
		t.Errorf("Put = %v, and the registry holds %q", err, held)
	}
}

// The size of a small blob is known when it is there, also if the registry had
// to be asked for that because its answer was lost.
func TestUnknownSizeAnswerLost(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(uploads("PUT", registrytest.LoseAnswer()).Times(1))
	b := content(1, 1000)
	d := describe("", b)
	d.Size = -1
	got, err := destination(t, s.Addr+"/a:v1", quick()).Put(context.Background(), verified(t, d, b, true))
	if err != nil || got.Size != 1000 {
		t.Errorf("Put = %d bytes, %v; want 1000", got.Size, err)
	}
}

// A proxy that takes in a whole request before it passes it on, and hangs up
// when it is too large, leaves nothing of it. From the first time on it gets
// chunks, and the blobs after it are not tried in one piece again.
func TestProxyCutsLargeBodies(t *testing.T) {
	for name, end := range map[string]registrytest.Action{"cut": registrytest.Cut(), "reset": registrytest.Reset()} {
		s := registrytest.Start(t, registrytest.Options{})
		over := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if n, _ := io.Copy(io.Discard, io.LimitReader(q.Body, 18<<20)); q.ContentLength > 18<<20 && n == 18<<20 {
					next = end(next)
				}
				next.ServeHTTP(w, q)
			})
		}
		large := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.ContentLength > 18<<20 {
					over(next).ServeHTTP(w, q)
					return
				}
				next.ServeHTTP(w, q)
			})
		}
		s.Inject(uploads("PUT", large), uploads("PATCH", large))
		dst := destination(t, s.Addr+"/a:v1", quick())
		for i, want := range []string{"POST PUT18432 GET PATCH16384 PATCH4096 PUT", "POST PATCH16384 PATCH4096 PUT"} {
			s.Forget()
			b := content(byte(i), 20<<20)
			if _, err := dst.Put(context.Background(), verified(t, describe("", b), b, true)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if m := methods(s.Registry); m != want {
				t.Errorf("%s: requests %q; want %q", name, m, want)
			}
		}
	}
}

// A break of a small blob, or of one that the registry kept a part of, says
// nothing of what the next one needs.
func TestBreakIsNotRemembered(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(uploads("PUT", registrytest.CutRequest(6<<20)).Times(1))
	dst := destination(t, s.Addr+"/a:v1", quick())
	for i, want := range []string{"POST PUT6144 GET PATCH14336 PUT", "POST PUT20480"} {
		s.Forget()
		b := content(byte(i), 20<<20)
		if _, err := dst.Put(context.Background(), verified(t, describe("", b), b, true)); err != nil {
			t.Error(err)
		}
		if m := methods(s.Registry); m != want {
			t.Errorf("requests %q; want %q", m, want)
		}
	}
}

// A registry that takes a little more each time and then forgets the upload
// could have a blob sent a thousand times over. It gets it eight times.
func TestForgetfulRegistryEnds(t *testing.T) {
	const size = 8 << 20
	s := registrytest.Start(t, registrytest.Options{})
	sessions := 0
	forget := s.ForgetUpload()
	s.Inject(registrytest.On("POST", "**", func(next http.Handler) http.Handler { sessions++; return next }))
	s.Inject(uploads("PATCH", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if first, _, _ := strings.Cut(q.Header.Get("Content-Range"), "-"); first == fmt.Sprint(sessions*swift) {
				next = forget(next)
			}
			next.ServeHTTP(w, q)
		})
	}))
	b := content(1, size)
	o := quick()
	o.ChunkSize = swift
	_, err := destination(t, s.Addr+"/a:v1", o).Put(context.Background(), verified(t, describe("", b), b, true))
	if err == nil {
		t.Errorf("Put succeeds; want an error")
	}
	var sent int64
	for _, q := range s.Requests() {
		sent += q.In
	}
	if sent > 12*size || sessions > 40 {
		t.Errorf("%d bytes were sent in %d uploads for a blob of %d", sent, sessions, size)
	}
}

// A repository that is not there is not there: to ask three times helps nobody.
func TestNoRepositoryIsAskedForOnce(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(registrytest.On("POST", "**", registrytest.Refuse(404, "NAME_UNKNOWN", "no such project")))
	b := content(1, 100)
	_, err := destination(t, s.Addr+"/a:v1", quick()).Put(context.Background(), verified(t, describe("", b), b, true))
	if !errors.Is(err, image.ErrNotFound) || s.Count("POST", "**") != 1 {
		t.Errorf("Put = %v after %d requests; want ErrNotFound after 1", err, s.Count("POST", "**"))
	}
}

// Each chunk may need a token of its own: what counts is that it goes on.
func TestTokensEndInChunks(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	n := 0
	forget := s.ForgetTokens()
	s.Inject(uploads("PATCH", func(next http.Handler) http.Handler {
		if n++; n%2 == 1 {
			return forget(next)
		}
		return next
	}))
	b := content(1, 1<<20)
	o := as(ali)
	o.ChunkSize = 100 << 10
	if _, err := destination(t, s.Addr+"/a:v1", o).Put(context.Background(), verified(t, describe("", b), b, true)); err != nil {
		t.Errorf("Put = %v; want the blob there, after a token for each of 11 chunks", err)
	}
}

// A negative size of chunks is a mistake of the caller's, not a request.
func TestNegativeChunks(t *testing.T) {
	ref, err := reference.ParseDocker("reg.test/a:v1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(ref, Options{ChunkSize: -1}); err == nil {
		t.Errorf("New takes chunks of -1 bytes")
	}
}

// Who wants to try as often as there are numbers may do so: the limit on what is
// sent again goes up with that, and not round.
func TestManyRetries(t *testing.T) {
	m := makeImage(1, 1<<20)
	s := registrytest.Start(t, registrytest.Options{})
	takeAll := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			io.Copy(io.Discard, q.Body)
			next.ServeHTTP(w, q)
		})
	}
	s.Inject(registrytest.On("PUT", "/v2/a/blobs/uploads/*", takeAll, registrytest.Reset()).Times(12))
	o := quick()
	o.Retry.Times = math.MaxInt
	dst := destination(t, s.Addr+"/a:v1", o)
	d := m.layers[0]
	if _, err := dst.Put(context.Background(), verified(t, d, m.blobs[d.Digest], true)); err != nil {
		t.Error(err)
	}
}
