package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// A manifest is what was asked for, or an error: whatever headers say.
func TestManifest(t *testing.T) {
	m := makeImage(1, 10)
	other := digest.FromString("other")
	big := `{"schemaVersion":2,"x":"` + strings.Repeat("x", oci.MaxManifest) + `"}`
	tests := []struct {
		name  string
		ref   string
		want  digest.Digest // asked for
		do    registrytest.Action
		is    error
		typ   string
		tries int
	}{
		{"tag", ":v1", "", nil, nil, oci.MediaTypeManifest, 1},
		{"digest", "@" + m.desc.Digest.String(), "", nil, nil, oci.MediaTypeManifest, 1},
		{"another one than the source's", ":none", m.desc.Digest, nil, nil, oci.MediaTypeManifest, 1},
		{"no such tag", ":none", "", nil, image.ErrNotFound, "", 1},
		{"no such digest", ":v1", other, nil, image.ErrNotFound, "", 1},
		{"changed, by tag", ":v1", "", registrytest.Flip(5), image.ErrMismatch, "", 1},
		{"changed, by digest", ":v1", m.desc.Digest, registrytest.Flip(5), image.ErrMismatch, "", 1},
		{"the header lies", ":v1", "", registrytest.Header("Docker-Content-Digest", other.String()), image.ErrMismatch, "", 1},
		{"the header lies, and the body too", ":v1", m.desc.Digest, registrytest.Edit(func(a *registrytest.Answer) {
			a.Header.Set("Docker-Content-Digest", other.String())
			a.Body = []byte("other")
		}), image.ErrMismatch, "", 1},
		{"no header", ":v1", "", registrytest.Header("Docker-Content-Digest", ""), nil, oci.MediaTypeManifest, 1},
		{"a header that is no digest", ":v1", "", registrytest.Header("Docker-Content-Digest", "x"), nil, oci.MediaTypeManifest, 1},
		{"parameters of the type", ":v1", "", registrytest.Header("Content-Type", "Application/vnd.oci.image.manifest.v1+JSON; charset=utf-8"), nil, oci.MediaTypeManifest, 1},
		{"4 MiB and more", ":v1", "", registrytest.Reply(200, oci.MediaTypeManifest, big), image.ErrTooLarge, "", 1},
		{"endless", ":v1", "", registrytest.Endless(oci.MediaTypeManifest, "{"), image.ErrTooLarge, "", 1},
		{"giant header", ":v1", "", registrytest.GiantHeader(2 << 20), image.ErrNetwork, "", 3},
		{"cut", ":v1", "", registrytest.CutBody(20), image.ErrNetwork, "", 3},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a/b", "v1")
		if tt.do != nil {
			s.Inject(registrytest.On("GET", "/v2/a/b/manifests/*", tt.do))
		}
		raw, err := source(t, s.Addr+"/a/b"+tt.ref, quick()).Manifest(context.Background(), tt.want)
		if !isError(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		if err == nil && (raw.MediaType != tt.typ || !bytes.Equal(raw.Bytes, m.raw.Bytes)) {
			t.Errorf("%s: got %q", tt.name, raw)
		}
		if err != nil && (len(raw.Bytes) > 0 || !strings.HasPrefix(err.Error(), "reading manifest ")) {
			t.Errorf("%s: got %d bytes and %q", tt.name, len(raw.Bytes), err)
		}
		if n := len(s.Requests()); n != tt.tries {
			t.Errorf("%s: %d requests; want %d", tt.name, n, tt.tries)
		}
		for _, q := range s.Requests() {
			if got := q.Header["Accept"]; len(got) != 1 || !strings.HasPrefix(got[0], oci.MediaTypeManifest+", ") || !strings.HasSuffix(got[0], ", */*") {
				t.Errorf("%s: Accept is %q", tt.name, got)
			}
		}
	}
}

// Names without a tag or digest, or that no parser would return, are errors.
func TestReferences(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	_, err := source(t, s.Addr+"/a@@unknown-digest@@", quick()).Manifest(context.Background(), "")
	if !errors.Is(err, image.ErrUnsupported) || !strings.Contains(err.Error(), "without a tag or digest is not supported") {
		t.Errorf("no name: %v; want ErrUnsupported", err)
	}
	ref := open(t, "h.example/a/b:v1", quick()).Reference()
	for _, path := range []string{"../x", "a?x=y", "A", "", "a/b:v2", "a//b"} {
		bad := ref
		bad.Path = path
		if _, err := New(bad, quick()); err == nil {
			t.Errorf("New with the path %q: no error", path)
		}
	}
	if name := open(t, "busybox", quick()).remote.name; name != "registry-1.docker.io" {
		t.Errorf("docker.io is asked at %q", name)
	}
	if path := open(t, "busybox", quick()).session("pull").path("tags", "list"); path != "/v2/library/busybox/tags/list" {
		t.Errorf("the path of busybox is %q", path)
	}
}

// What a tag stands for is asked with HEAD where that works.
func TestResolve(t *testing.T) {
	m := makeImage(1, 10)
	tests := []struct {
		name  string
		o     registrytest.Options
		ref   string
		do    registrytest.Action
		is    error
		gets  int
		empty bool
	}{
		{"tag", registrytest.Options{}, "a:v1", nil, nil, 0, false},
		{"digest", registrytest.Options{}, "a@" + m.desc.Digest.String(), nil, nil, 0, false},
		{"none", registrytest.Options{}, "a:v2", nil, image.ErrNotFound, 0, false},
		{"no HEAD", registrytest.Options{NoHead: true}, "a:v1", nil, nil, 1, false},
		{"no header", registrytest.Options{}, "a:v1", registrytest.Header("Docker-Content-Digest", ""), nil, 1, false},
		{"nonsense in the header", registrytest.Options{}, "a:v1", registrytest.Header("Docker-Content-Digest", "sha256:../x"), nil, 1, false},
		{"denied", registrytest.Options{}, "a:v1", registrytest.Reply(403, "", ""), image.ErrDenied, 0, false},
		{"no name", registrytest.Options{}, "a@@unknown-digest@@", nil, image.ErrNotFound, 0, false},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, tt.o)
		m.store(s.Registry, "a", "v1")
		if tt.do != nil {
			s.Inject(registrytest.On("HEAD", "**", tt.do))
		}
		got, err := destination(t, s.Addr+"/"+tt.ref, quick()).Resolve(context.Background())
		if !isError(err, tt.is) || err == nil && got != m.desc.Digest {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, m.desc.Digest, tt.is)
		}
		if n := s.Count("GET", "/v2/a/manifests/*"); n != tt.gets {
			t.Errorf("%s: %d GETs; want %d", tt.name, n, tt.gets)
		}
	}
}

// However a download breaks, it is mended, and its bytes are the right ones.
func TestDownloadResumes(t *testing.T) {
	const size = 1 << 20
	wrongRange := func(value string) registrytest.Action {
		return registrytest.Edit(func(a *registrytest.Answer) {
			if a.Status == http.StatusPartialContent {
				a.Header.Set("Content-Range", value)
			}
		})
	}
	tests := []struct {
		name   string
		faults []registrytest.Fault
		is     error
		ranges string // asked for, in KiB
	}{
		{"whole", nil, nil, "-"},
		{"cut once", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1)}, nil, "- 512"},
		{"cut every 100 KiB", []registrytest.Fault{blobs(registrytest.CutBody(100 << 10))}, nil, "- 100 200 300 400 500 600 700 800 900 1000"},
		{"cut every KiB", []registrytest.Fault{blobs(registrytest.CutBody(1 << 10)).Times(5)}, nil, "- 1 2 3 4 5"},
		{"cut, and then nothing comes", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(registrytest.CutBody(0)).After(1)}, image.ErrNetwork, "- 512 512"},
		{"cut, and then busy", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(registrytest.Reply(503, "", "")).After(1).Times(1)}, nil, "- 512 512"},
		{"cut, and then gone", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(registrytest.Reply(404, "", "")).After(1)}, image.ErrNotFound, "- 512"},
		{"no ranges", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(registrytest.IgnoreRange()).After(1)}, nil, "- 512"},
		{"another range", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(wrongRange("bytes 0-524287/1048576")).After(1)}, nil, "- 512 -"},
		{"a range beyond the end", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(wrongRange("bytes 524288-1048576/1048577")).After(1)}, nil, "- 512 -"},
		{"no range header", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(wrongRange("")).After(1).Times(1)}, nil, "- 512 -"},
		// A server whose ranges are broken is asked for the whole again.
		{"no such range", []registrytest.Fault{blobs(registrytest.CutBody(512 << 10)).Times(1), blobs(registrytest.Reply(416, "", "")).After(1).Times(1)}, nil, "- 512 -"},
		{"too short, and says so", []registrytest.Fault{blobs(registrytest.Shorten(10))}, image.ErrMismatch, "-"},
		{"too short, without a length", []registrytest.Fault{blobs(registrytest.HTTP10(), registrytest.Shorten(24<<10)).Times(1)}, nil, "- 1000"},
		{"too short for ever", []registrytest.Fault{blobs(registrytest.IgnoreRange(), registrytest.HTTP10(), registrytest.Shorten(24<<10))}, image.ErrMismatch, "- 1000 1000"},
		{"too long, and says so", []registrytest.Fault{blobs(registrytest.Append("x"))}, image.ErrMismatch, "-"},
		{"too long, without a length", []registrytest.Fault{blobs(registrytest.HTTP10(), registrytest.Append("more"))}, image.ErrMismatch, "-"},
		{"no length", []registrytest.Fault{blobs(registrytest.HTTP10())}, nil, "-"},
		{"503 first", []registrytest.Fault{blobs(registrytest.Reply(503, "", "")).Times(2)}, nil, "- - -"},
	}
	for _, tt := range tests {
		m := makeImage(1, size)
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a", "v1")
		s.Inject(tt.faults...)
		got, err := readBlob(source(t, s.Addr+"/a:v1", quick()), m.layers[0])
		want := m.blobs[m.layers[0].Digest]
		if !isError(err, tt.is) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %v", tt.name, len(got), err, tt.is)
		}
		if len(got) > size+1 || !bytes.HasPrefix(append(want, got[min(len(got), size):]...), got) {
			t.Errorf("%s: %d bytes were given out, and not all are right", tt.name, len(got))
		}
		if err != nil && !strings.HasPrefix(err.Error(), "fetching blob: ") && !strings.Contains(err.Error(), "it is longer") {
			t.Errorf("%s: %q", tt.name, err)
		}
		var ranges []string
		for _, q := range s.Requests() {
			r := "-"
			if n := 0; q.Range() != "" {
				fmt.Sscanf(q.Range(), "bytes=%d-", &n)
				r = fmt.Sprint(n >> 10)
			}
			ranges = append(ranges, r)
		}
		if got := strings.Join(ranges, " "); got != tt.ranges {
			t.Errorf("%s: asked for %q; want %q", tt.name, got, tt.ranges)
		}
	}
}

func blobs(do ...registrytest.Action) registrytest.Fault {
	return registrytest.On("GET", "/v2/a/blobs/*", do...)
}

// A server that only ever gives a byte more is not followed for ever.
func TestDownloadTrickle(t *testing.T) {
	m := makeImage(1, 4000)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	s.Inject(blobs(registrytest.CutBody(1)))
	_, err := readBlob(source(t, s.Addr+"/a:v1", quick()), m.layers[0])
	if n := len(s.Requests()); !errors.Is(err, image.ErrNetwork) || n > maxResumes+2 {
		t.Errorf("%v after %d requests; want ErrNetwork after %d", err, n, maxResumes)
	}
}

// If-Range spares us parts of something else; only strong tags are good for
// that.
func TestIfRange(t *testing.T) {
	for tag, want := range map[string]string{`"abc"`: `"abc"`, `W/"abc"`: "", "": ""} {
		m := makeImage(1, 1000)
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a", "v1")
		s.Inject(blobs(registrytest.CutBody(500), registrytest.Header("Etag", tag)).Times(1))
		if _, err := readBlob(source(t, s.Addr+"/a:v1", quick()), m.layers[0]); err != nil {
			t.Error(err)
		}
		if got := s.Requests()[1].Header.Get("If-Range"); got != want {
			t.Errorf("Etag %s: If-Range %q; want %q", tag, got, want)
		}
	}
}

// A download that was redirected resumes at the registry: the URL that it was
// sent to may not be good any more.
func TestResumeAsksTheRegistry(t *testing.T) {
	m := makeImage(1, 1000)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	cdn := s.Open("cdn")
	s.Inject(blobs(registrytest.RedirectTo(cdn)).At(registrytest.Main), blobs(registrytest.CutBody(500)).At("cdn").Times(1))
	if _, err := readBlob(source(t, s.Addr+"/a:v1", quick()), m.layers[0]); err != nil {
		t.Error(err)
	}
	var got []string
	for _, q := range s.Requests() {
		got = append(got, q.Origin+" "+q.Range())
	}
	if want := "registry , cdn , registry bytes=500-, cdn bytes=500-"; strings.Join(got, ", ") != want {
		t.Errorf("requests %q; want %q", strings.Join(got, ", "), want)
	}
}

func TestBlobAt(t *testing.T) {
	m := makeImage(1, 1000)
	want := m.blobs[m.layers[0].Digest]
	for _, noRange := range []bool{false, true} {
		s := registrytest.Start(t, registrytest.Options{NoRange: noRange})
		m.store(s.Registry, "a", "v1")
		src := source(t, s.Addr+"/a:v1", quick())
		for _, offset := range []int64{0, 1, 999, 1000, 1001, -1} {
			rc, err := src.BlobAt(context.Background(), m.layers[0], offset)
			if ok := offset >= 0 && offset <= 1000; (err == nil) != ok {
				t.Errorf("BlobAt(%d): %v; want ok %v", offset, err, ok)
			}
			if err != nil {
				continue
			}
			got, err := io.ReadAll(rc)
			if err != nil || !bytes.Equal(got, want[offset:]) {
				t.Errorf("BlobAt(%d) = %d bytes, %v", offset, len(got), err)
			}
			rc.Close()
		}
	}
}

// Closing a download in the middle ends it, whatever is going on.
func TestDownloadClose(t *testing.T) {
	m := makeImage(1, 1<<20)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	stall := registrytest.NewStall()
	defer stall.Release()
	s.Inject(blobs(stall.Body(1000)))
	rc, err := source(t, s.Addr+"/a:v1", quick()).Blob(context.Background(), m.layers[0])
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, err := io.Copy(io.Discard, rc); done <- err }()
	<-stall.Reached()
	rc.Close()
	if err := <-done; err == nil {
		t.Errorf("reading went on after Close")
	}
	if _, err := rc.Read(make([]byte, 1)); err == nil {
		t.Errorf("Read after Close: no error")
	}
}

// A foreign layer's URLs are asked only if that is wanted, and shown nothing.
func TestForeignLayers(t *testing.T) {
	tests := []struct {
		name    string
		allowed bool
		urls    []string
		is      error
		origins string
	}{
		{"not wanted", false, []string{"https://cdn.test/layer"}, image.ErrNotFound, "registry registry"},
		{"wanted", true, []string{"https://cdn.test/layer?x=1"}, nil, "cdn"},
		{"the second", true, []string{"ftp://cdn.test/", "https://evil.test/none", "https://cdn.test/layer"}, nil, "evil cdn"},
		{"asks for credentials", true, []string{"https://evil.test/secret"}, image.ErrUnauthorized, "evil"},
		{"inward", true, []string{"https://169.254.169.254/layer"}, image.ErrRejected, ""},
		{"at the registry", true, []string{"https://reg.test/v2/a/manifests/v1"}, image.ErrUnauthorized, "registry"},
		{"none that is good", true, []string{"file:///etc/passwd"}, image.ErrUnsupported, ""},
	}
	for _, tt := range tests {
		s, _, o, _ := publicWorld(t)
		o.ForeignURLs = tt.allowed
		b := content(9, 1000)
		d := describe(oci.MediaTypeDockerForeignGz, b)
		d.URLs = tt.urls
		s.Inject(
			registrytest.On("GET", "/layer", registrytest.Reply(200, "", string(b))),
			registrytest.On("GET", "/secret", registrytest.Challenge(`Basic realm="x"`)),
			registrytest.On("GET", "/none", registrytest.Reply(404, "", "")),
		)
		got, err := readBlob(source(t, "reg.test/a:v1", o), d)
		if !isError(err, tt.is) || err == nil && !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, %v; want %v", tt.name, len(got), err, tt.is)
		}
		var origins []string
		for _, q := range s.Requests() {
			origins = append(origins, q.Origin)
			if tt.allowed && q.Carries("sesame") {
				t.Errorf("%s: %s got the password", tt.name, q.Origin)
			}
		}
		if got := strings.Join(origins, " "); got != tt.origins {
			t.Errorf("%s: requests to %q; want %q", tt.name, got, tt.origins)
		}
	}
}

// A read of no bytes is answered at once, as io.Reader has it.
func TestDownloadReadsNothing(t *testing.T) {
	m := makeImage(1, 1000)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	rc, err := source(t, s.Addr+"/a:v1", quick()).Blob(context.Background(), m.layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if n, err := rc.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v; want 0, nil", n, err)
	}
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, m.blobs[m.layers[0].Digest]) {
		t.Errorf("%d bytes after it, %v", len(got), err)
	}
}
