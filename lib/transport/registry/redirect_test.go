package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// publicWorld is a registry at reg.test and the hosts cdn.test and evil.test,
// all at public addresses, with TLS and a password.
func publicWorld(t *testing.T) (*registrytest.Server, *world, Options, img) {
	t.Helper()
	m := makeImage(1, 1000)
	s := registrytest.StartTLS(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Basic, Users: map[string]string{"ali": "sesame"}}})
	m.store(s.Registry, "a", "v1")
	s.Open("cdn")
	s.Open("evil")
	s.OpenPlain("plain")
	w := newWorld(s, map[string]string{"reg": "8.8.8.8", "cdn": "9.9.9.9", "evil": "7.7.7.7"})
	_, addr, _ := strings.Cut(s.URL("plain"), "://")
	w.hosts["reg.test:80"], w.hosts["plain.test:80"] = hostAt{"8.8.8.8", to(addr)}, hostAt{"8.8.8.8", to(addr)}
	o := quick()
	o.CertDir, o.Network.dial = s.CertDir, w.dial
	o.Credential = func(context.Context, string) (Credential, error) {
		return Credential{Username: "ali", Password: "sesame"}, nil
	}
	return s, w, o, m
}

// Where blobs may be redirected to, and what goes along. The tables of
// security failures of other clients are the cases here.
func TestRedirects(t *testing.T) {
	tests := []struct {
		name    string
		faults  func(s *registrytest.Server) []registrytest.Fault
		change  func(w *world)
		is      error  // nil: it works
		origins string // that got requests, in order
	}{
		{"to another host", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo("https://cdn.test"))}
		}, nil, nil, "registry cdn"},
		{"there and back", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{
				onBlobs(registrytest.RedirectTo("https://cdn.test")).Times(1),
				registrytest.On("GET", "/v2/a/blobs/*", registrytest.Redirect("https://reg.test/v2/a/manifests/v1")).At("cdn"),
			}
		}, nil, image.ErrUnauthorized, "registry cdn registry"},
		{"on the same host", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo("")).Times(1)}
		}, nil, nil, "registry registry"},
		{"in a circle", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectOn())}
		}, nil, image.ErrRejected, "registry registry registry registry registry registry"},
		{"to http", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo("http://plain.test"))}
		}, nil, image.ErrRejected, "registry"},
		{"to http on the same host", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo("http://reg.test")).Times(1)}
		}, nil, nil, "registry registry"}, // TLS is kept
		{"to loopback", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo(s.URL("evil")))}
		}, nil, image.ErrRejected, "registry"},
		{"to localhost", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo("https://localhost"))}
		}, nil, image.ErrRejected, "registry"},
		{"to the machine's secrets", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.Redirect("https://169.254.169.254/latest/meta-data"))}
		}, nil, image.ErrRejected, "registry"},
		{"to a name that resolves inward", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo("https://evil.test"))}
		}, func(w *world) {
			h := w.hosts["evil.test:443"]
			h.ip = "10.0.0.1"
			w.hosts["evil.test:443"] = h
		}, image.ErrRejected, "registry"},
		{"to a name that resolves inward, from there", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.RedirectTo("https://evil.test"))}
		}, func(w *world) {
			for _, name := range []string{"reg.test:443", "evil.test:443"} {
				h := w.hosts[name]
				h.ip = "10.0.0.1"
				w.hosts[name] = h
			}
		}, nil, "registry evil"},
		{"to a file", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.Redirect("file:///etc/passwd"))}
		}, nil, image.ErrRejected, "registry"},
		{"to nothing", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.Redirect(""))}
		}, nil, image.ErrRejected, "registry"},
		{"to nonsense", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{onBlobs(registrytest.Redirect("https://a b%zz/"))}
		}, nil, image.ErrRejected, "registry"},
	}
	for _, tt := range tests {
		s, w, o, m := publicWorld(t)
		if tt.change != nil {
			tt.change(w)
		}
		s.Inject(tt.faults(s)...)
		// reading a manifest first takes the challenge out of the way
		src := source(t, "reg.test/a:v1", o)
		if _, err := src.Manifest(context.Background(), ""); err != nil {
			t.Fatal(err)
		}
		s.Forget()
		_, err := readBlob(src, m.layers[0])
		if !isError(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		var origins []string
		left := false
		for _, q := range s.Requests() {
			origins = append(origins, q.Origin)
			left = left || q.Origin != registrytest.Main
			if got := q.Header.Get("Authorization") != ""; got == left {
				t.Errorf("%s: %s got credentials: %v; want %v", tt.name, q.Origin, got, !left)
			}
			for name := range q.Header {
				if !strings.Contains("Accept-Encoding User-Agent Authorization Range Accept", name) {
					t.Errorf("%s: %s got the header %s", tt.name, q.Origin, name)
				}
			}
		}
		if got := strings.Join(origins, " "); got != tt.origins {
			t.Errorf("%s: requests to %q; want %q", tt.name, got, tt.origins)
		}
	}
}

func onBlobs(do registrytest.Action) registrytest.Fault {
	return registrytest.On("GET", "/v2/a/blobs/*", do).At(registrytest.Main)
}

// A redirect target that asks for credentials gets none, and its challenge is
// not followed.
func TestRedirectedChallenge(t *testing.T) {
	s, _, o, m := publicWorld(t)
	s.Inject(
		onBlobs(registrytest.RedirectTo("https://evil.test")),
		registrytest.On("GET", "/v2/a/blobs/*", registrytest.Challenge(`Basic realm="x"`, `Bearer realm="https://evil.test/token"`)).At("evil"),
	)
	_, err := readBlob(source(t, "reg.test/a:v1", o), m.layers[0])
	if !errors.Is(err, image.ErrUnauthorized) || !strings.Contains(err.Error(), "from evil.test") {
		t.Errorf("error %v; want ErrUnauthorized from evil.test", err)
	}
	for _, q := range s.Requests() {
		if q.Origin == "evil" && (q.Carries("sesame") || q.Path == "/token") {
			t.Errorf("evil got %s %s, with the password: %v", q.Method, q.Path, q.Carries("sesame"))
		}
	}
}

// Where uploads may go: a location on another host gets the bytes, if need
// be, but nothing that it could use to be us.
func TestUploadLocations(t *testing.T) {
	tests := []struct {
		name   string
		origin string
		ok     bool
	}{
		{"relative", "", true},
		{"another host", "https://cdn.test", true},
		{"http", "http://plain.test", false},
		{"http on the same host", "http://reg.test", true},
		{"link-local", "https://169.254.169.254", false},
		{"loopback", "https://127.0.0.1:1", false},
		{"user information", "https://eve:x@cdn.test", true},
	}
	for _, tt := range tests {
		for _, size := range []int{100, 500 << 10} {
			s, _, o, _ := publicWorld(t)
			s.Inject(registrytest.On("POST", "/v2/b/blobs/uploads/", registrytest.MoveLocation(tt.origin)).At(registrytest.Main))
			b := content(3, size)
			d := describe(oci.MediaTypeLayerGzip, b)
			dst := destination(t, "reg.test/b:v1", o)
			ctx := context.Background()
			_, err := dst.Mount(ctx, d, nil)
			if err == nil {
				_, err = dst.Put(ctx, verified(t, d, b, true))
			}
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, image.ErrRejected) {
				t.Errorf("%s, %d bytes: %v; want ok %v", tt.name, size, err, tt.ok)
			}
			if got, _ := s.Blob("b", d.Digest); tt.ok && string(got) != string(b) {
				t.Errorf("%s, %d bytes: the blob is not there", tt.name, size)
			}
			for _, q := range s.Requests() {
				if q.Origin != registrytest.Main && q.Header.Get("Authorization") != "" {
					t.Errorf("%s, %d bytes: %s got credentials", tt.name, size, q.Origin)
				}
				if q.Origin == "plain" {
					t.Errorf("%s, %d bytes: a request went over plain HTTP", tt.name, size)
				}
			}
		}
	}
}

// A digest comes from a document: one that is a path is refused before it is
// one.
func TestDigestsAreChecked(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	src, dst := source(t, s.Addr+"/a:v1", quick()), destination(t, s.Addr+"/a:v1", quick())
	ctx := context.Background()
	for _, bad := range []string{"sha256:../../../secret/blobs/x", "sha256:" + strings.Repeat("A", 64), "md5:" + strings.Repeat("0", 32), "x"} {
		d := oci.Descriptor{Digest: digestOf(bad), Size: 1}
		_, err1 := src.Manifest(ctx, d.Digest)
		_, err2 := src.Blob(ctx, d)
		_, err3 := dst.Has(ctx, d)
		_, err4 := dst.Mount(ctx, d, nil)
		_, err5 := dst.Put(ctx, plainBlob(d, "x"))
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%d, %q: %v; want ErrInvalid", i, bad, err)
			}
		}
	}
	if got := s.Requests(); len(got) != 0 {
		t.Errorf("%d requests were sent; want none", len(got))
	}
}

// What the user configures for requests is shown, but no secret of a URL.
func TestTrace(t *testing.T) {
	s, _, o, m := publicWorld(t)
	s.Inject(onBlobs(registrytest.Redirect("https://eve:secret@cdn.test/v2/a/blobs/" + m.layers[0].Digest.String() + "?X-Signature=secret#secret")))
	var seen []string
	o.Trace = func(method, url string, status int, _ duration) {
		seen = append(seen, method+" "+url+" "+http.StatusText(status))
	}
	o.UserAgent = "trial/1"
	if _, err := readBlob(source(t, "reg.test/a:v1", o), m.layers[0]); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(seen, "\n"); strings.Contains(all, "secret") || !strings.Contains(all, "GET https://cdn.test/v2/a/blobs/sha256:") {
		t.Errorf("trace is\n%s\nwant the URLs and no secret", all)
	}
	for _, q := range s.Requests() {
		if got := q.Header.Get("User-Agent"); got != "trial/1" {
			t.Errorf("User-Agent is %q", got)
		}
	}
}
