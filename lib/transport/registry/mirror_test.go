package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
	"github.com/imgtools/imgtools/test/harness"
)

// mirrored is Mirrored until the end of a test.
func mirrored(t testing.TB, list ...*Repository) *MirrorSource {
	t.Helper()
	m := Mirrored(list...)
	t.Cleanup(func() { m.Close() })
	return m
}

// mirrors starts that many registries, and returns a source of REPO:v1 at all
// of them. Each has its own Notify, which goes to told.
func mirrors(t *testing.T, n int, m img) ([]*registrytest.Server, *MirrorSource, *events) {
	t.Helper()
	told := &events{}
	o := quick()
	o.Notify = told.notify
	var servers []*registrytest.Server
	var list []*Repository
	for range n {
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a", "v1")
		servers = append(servers, s)
		list = append(list, open(t, s.Addr+"/a:v1", o))
	}
	return servers, mirrored(t, list...), told
}

// counts returns the number of requests that each registry got.
func counts(list []*registrytest.Server) string {
	var n []string
	for _, s := range list {
		n = append(n, fmt.Sprint(len(s.Requests())))
	}
	return strings.Join(n, " ")
}

// The first that gives the manifest is kept to, and a mirror that does not is
// asked once.
func TestMirrors(t *testing.T) {
	m := makeImage(1, 1000)
	all := func(do registrytest.Action) registrytest.Fault { return registrytest.On("", "**", do) }
	tests := []struct {
		name     string
		first    registrytest.Fault // of the first mirror
		others   registrytest.Fault // of all others
		ref      string
		is       error
		text     string
		requests string // to each of three, for the manifest and two blobs
		warnings int
	}{
		{"all well", registrytest.Fault{}, registrytest.Fault{}, ":v1", nil, "", "3 0 0", 0},
		{"not there", all(registrytest.Refuse(404, "MANIFEST_UNKNOWN", "")), registrytest.Fault{}, ":v1", nil, "", "1 3 0", 1},
		{"a page for people", all(registrytest.Reply(200, "text/html", "<html>Log in</html>")), registrytest.Fault{}, ":v1", nil, "", "1 3 0", 1},
		{"down", all(registrytest.Cut()), registrytest.Fault{}, ":v1", nil, "", "1 3 0", 1},
		{"busy", all(registrytest.Busy(429, "50")), registrytest.Fault{}, ":v1", nil, "", "1 3 0", 1},
		{"wants to know who we are", all(registrytest.Challenge(`Basic realm="x"`)), registrytest.Fault{}, ":v1", nil, "", "2 3 0", 1},
		{"wrong", all(registrytest.Flip(5)), registrytest.Fault{}, "@" + m.desc.Digest.String(), nil, "", "1 3 0", 1},
		{
			"all fail", all(registrytest.Refuse(403, "DENIED", "first")), all(registrytest.Refuse(404, "MANIFEST_UNKNOWN", "others")), ":v1", image.ErrNotFound,
			"(Mirrors also failed: [M0/a:v1: reading manifest v1 in M0/a: denied: first] [M1/a:v1: reading manifest v1 in M1/a: manifest unknown: others]): M2/a:v1: reading manifest v1 in M2/a: manifest unknown: others",
			"1 1 1", 2,
		},
	}
	for _, tt := range tests {
		var told events
		o := quick()
		o.Notify = told.notify
		var servers []*registrytest.Server
		var list []*Repository
		for i := range 3 {
			s := registrytest.Start(t, registrytest.Options{})
			m.store(s.Registry, "a", "v1")
			if f := []registrytest.Fault{tt.first, tt.others, tt.others}[i]; !isZero(f) {
				s.Inject(f)
			}
			servers = append(servers, s)
			list = append(list, open(t, s.Addr+"/a"+tt.ref, o))
		}
		src := mirrored(t, list...)
		raw, err := src.Manifest(context.Background(), "")
		if !isError(err, tt.is) || err == nil && !bytes.Equal(raw.Bytes, m.raw.Bytes) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		if err != nil {
			text := err.Error()
			for i, s := range servers {
				text = strings.ReplaceAll(text, s.Addr, fmt.Sprintf("M%d", i))
			}
			if text != tt.text {
				t.Errorf("%s: %q; want %q", tt.name, text, tt.text)
			}
		} else {
			for _, d := range m.all() {
				if got, err := readBlob(src, d); err != nil || !bytes.Equal(got, m.blobs[d.Digest]) {
					t.Errorf("%s: blob: %d bytes, %v", tt.name, len(got), err)
				}
			}
		}
		if got := counts(servers); got != tt.requests {
			t.Errorf("%s: %s requests; want %s", tt.name, got, tt.requests)
		}
		warnings := told.of(image.EventWarning)
		if len(warnings) != tt.warnings {
			t.Errorf("%s: told %v; want %d warnings", tt.name, warnings, tt.warnings)
		}
		for i, w := range warnings {
			if !strings.HasPrefix(w.Text, "mirror "+servers[i].Addr+"/a") {
				t.Errorf("%s: warning %q", tt.name, w.Text)
			}
		}
		if want := map[bool]int{true: 2, false: 0}[tt.is != nil]; tt.warnings == 1 && src.Reference().Domain != servers[1].Addr || tt.warnings != 1 && src.Reference().Domain != servers[want].Addr {
			t.Errorf("%s: reads from %v", tt.name, src.Reference())
		}
		src.Close()
	}
}

func isZero(f registrytest.Fault) bool {
	return fmt.Sprint(f) == fmt.Sprint(registrytest.Fault{})
}

// What the mirror does not have of the image comes from behind it, and the
// mirror is kept for the rest; one that is lost is not asked again.
func TestMirrorLacks(t *testing.T) {
	m := makeImage(1, 1000, 2000, 3000)
	first := "/v2/a/blobs/" + m.layers[0].Digest.String()
	tests := []struct {
		name  string
		fault registrytest.Fault
		want  string // requests to each of two, for the manifest, two layers, the configuration and another layer
	}{
		{"a blob", registrytest.On("GET", first, registrytest.Refuse(404, "BLOB_UNKNOWN", "")), "5 1"},
		{"all blobs", registrytest.On("GET", "/v2/a/blobs/*", registrytest.Refuse(403, "DENIED", "")), "5 4"},
		{"lost before", registrytest.On("GET", "/v2/a/blobs/*", registrytest.Reply(503, "", "")), "2 4"},
		{"lost in the middle", registrytest.On("GET", "/v2/a/blobs/*", registrytest.CutBody(100)), "2 4"},
		{"too short", registrytest.On("GET", first, registrytest.HTTP10(), registrytest.Shorten(100)), "5 1"},
		{"longer than it should be", registrytest.On("GET", first, registrytest.Append("x")), "5 1"},
	}
	for _, tt := range tests {
		servers, src, told := mirrors(t, 2, m)
		servers[0].Inject(tt.fault)
		ctx := context.Background()
		if _, err := src.Manifest(ctx, ""); err != nil {
			t.Fatal(err)
		}
		for _, d := range m.layers[:2] {
			if got, err := readBlob(src, d); err != nil || !bytes.Equal(got, m.blobs[d.Digest]) {
				t.Errorf("%s: %d bytes, %v; want %d", tt.name, len(got), err, d.Size)
			}
		}
		for _, d := range []oci.Descriptor{m.config, m.layers[2]} {
			if got, err := readBlob(src, d); err != nil || !bytes.Equal(got, m.blobs[d.Digest]) {
				t.Errorf("%s: %d bytes, %v; want %d", tt.name, len(got), err, d.Size)
			}
		}
		if got := counts(servers); got != tt.want {
			t.Errorf("%s: %s requests; want %s", tt.name, got, tt.want)
		}
		if len(told.of(image.EventWarning)) == 0 {
			t.Errorf("%s: no warning", tt.name)
		}
	}
}

// A blob that breaks off goes on where it was, elsewhere.
func TestMirrorResumes(t *testing.T) {
	m := makeImage(1, 1<<20)
	servers, src, _ := mirrors(t, 2, m)
	servers[0].Inject(blobs(registrytest.CutBody(10_000)))
	got, err := readBlob(src, m.layers[0])
	if err != nil || !bytes.Equal(got, m.blobs[m.layers[0].Digest]) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	list := servers[1].Requests()
	if len(list) != 1 || list[0].Range() != "bytes=10000-" {
		t.Errorf("the second was asked for %q; want the rest", list[0].Range())
	}
}

// What is wrong is not completed from elsewhere: the digest would not be right.
func TestMirrorIsWrong(t *testing.T) {
	m := makeImage(1, 1000)
	servers, src, _ := mirrors(t, 2, m)
	servers[0].Inject(blobs(registrytest.HTTP10(), registrytest.Append("more")))
	if got, err := readBlob(src, m.layers[0]); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("%d bytes, %v; want ErrMismatch", len(got), err)
	}
	if got := counts(servers); got != "1 0" {
		t.Errorf("%s requests; want 1 0", got)
	}
}

// Closing a blob in the middle, and cancelling, end it without asking others.
func TestMirrorCloses(t *testing.T) {
	m := makeImage(1, 1<<20)
	servers, src, told := mirrors(t, 2, m)
	stall := registrytest.NewStall()
	defer stall.Release()
	servers[0].Inject(blobs(stall.Body(1000)))
	for _, end := range []func(context.CancelFunc, io.Closer){
		func(_ context.CancelFunc, c io.Closer) { c.Close() },
		func(cancel context.CancelFunc, _ io.Closer) { cancel() },
	} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		rc, err := src.Blob(ctx, m.layers[0])
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { _, err := io.Copy(io.Discard, rc); done <- err }()
		<-stall.Reached()
		end(cancel, rc)
		if err := <-done; err == nil {
			t.Error("reading went on after the end")
		}
		rc.Close()
		if _, err := rc.Read(make([]byte, 1)); err == nil {
			t.Error("Read after Close: no error")
		}
	}
	if got := counts(servers); got != "2 0" || len(told.of(image.EventWarning)) > 0 {
		t.Errorf("%s requests, %v", got, told.list)
	}
}

// A mirror that hangs costs seconds, whatever it hangs in; the last of the list
// is given the usual time.
func TestMirrorStalls(t *testing.T) {
	m := makeImage(1, 1000)
	tests := []struct {
		name     string
		hangs    bool // before there is a connection
		last     bool // it is the last
		from, to time.Duration
	}{
		{"connecting", true, false, 5 * time.Second, 6 * time.Second},
		{"answering", false, false, 15 * time.Second, 16 * time.Second},
		{"answering, and nobody is behind it", false, true, 180 * time.Second, 190 * time.Second},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			slow, good := registrytest.New(registrytest.Options{}), registrytest.New(registrytest.Options{})
			m.store(good, "a", "v1")
			stall := registrytest.NewStall()
			slow.Inject(registrytest.On("", "**", stall.Answer()))
			o := Options{Retry: Retry{Delay: time.Nanosecond}}
			one, two := o, o
			one.Network.dial, two.Network.dial = serve(t, slow).dial, serve(t, good).dial
			if tt.hangs {
				one.Network.dial = func(ctx context.Context, _, _ string, _ func(netip.Addr) error) (netConn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			list := []*Repository{open(t, "127.0.0.1:5000/a:v1", one)}
			if !tt.last {
				list = append(list, open(t, "127.0.0.1:5000/a:v1", two))
			}
			src := mirrored(t, list...)
			began := time.Now()
			_, err := src.Manifest(t.Context(), "")
			if took := time.Since(began); took < tt.from || took > tt.to || (err != nil) != tt.last {
				t.Errorf("%s: took %v, %v; want %v", tt.name, took, err, tt.from)
			}
			if tt.last && !errors.Is(err, image.ErrNetwork) {
				t.Errorf("%s: %v; want ErrNetwork", tt.name, err)
			}
			stall.Release()
			src.Close()
		})
	}
}

// A mirror that grants no more requests for long is not waited for: the next
// one is asked.
func TestMirrorWithoutQuota(t *testing.T) {
	m := makeImage(1, 10)
	synctest.Test(t, func(t *testing.T) {
		var list []*Repository
		var used, good = registrytest.New(registrytest.Options{}), registrytest.New(registrytest.Options{})
		for _, s := range []*registrytest.Registry{used, good} {
			m.store(s, "a", "v1")
			o := quick()
			o.Network.dial = serve(t, s).dial
			list = append(list, open(t, "127.0.0.1:5000/a:v1", o))
		}
		counting(used, 100, 0, "RateLimit-Reset", "50")
		src := mirrored(t, list...)
		began := time.Now()
		if _, err := src.Manifest(t.Context(), ""); err != nil {
			t.Error(err)
		}
		if got, err := readBlob(src, m.layers[0]); err != nil || len(got) != 10 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v; want no wait", took)
		}
		if a, b := len(used.Requests()), len(good.Requests()); a != 1 || b != 1 {
			t.Errorf("%d and %d requests; want 1 each", a, b)
		}
		src.Close()
	})
}

// Names, tags and referrers come from the first that has them.
func TestMirrorLists(t *testing.T) {
	m := makeImage(1, 10)
	servers, src, _ := mirrors(t, 2, m)
	servers[0].Inject(registrytest.On("", "/v2/a/tags/list", registrytest.Refuse(401, "UNAUTHORIZED", "")))
	m.store(servers[1].Registry, "a", "v2")
	ctx := context.Background()
	if got, err := src.Tags(ctx); err != nil || !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("Tags = %q, %v", got, err)
	}
	if got, err := src.Find(ctx, "v2"); err != nil || got.Digest != m.desc.Digest {
		t.Errorf("Find(v2) = %v, %v", got, err)
	}
	if _, err := src.Find(ctx, "v3"); !errors.Is(err, image.ErrNotFound) || !strings.HasPrefix(err.Error(), "(Mirrors also failed: [") {
		t.Errorf("Find(v3): %v; want ErrNotFound", err)
	}
	if got, err := src.Referrers(ctx, m.desc.Digest); err != nil || len(got) > 0 {
		t.Errorf("Referrers = %v, %v; want none", got, err)
	}
	if _, err := src.Manifest(ctx, digest.FromString("none")); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("Manifest of nothing: %v; want ErrNotFound", err)
	}
	if raw, err := src.Manifest(ctx, m.desc.Digest); err != nil || raw.Digest() != m.desc.Digest {
		t.Errorf("Manifest = %v", err)
	}
}

// What is mounted is what the mirror has that is read from, if it is of the
// destination's registry.
func TestMirrorMounts(t *testing.T) {
	m := makeImage(1, 10)
	from := registrytest.Start(t, registrytest.Options{})
	s := registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	m.store(from.Registry, "a", "v1")
	m.store(s.Registry, "mirror/a", "v1")
	ctx := context.Background()
	for to, down := range map[string]bool{"b": false, "c": true} {
		s.Forget()
		s.Heal()
		if down {
			s.Inject(registrytest.On("GET", "/v2/mirror/**", registrytest.Refuse(404, "", "")))
		}
		src := mirrored(t, open(t, s.Addr+"/mirror/a:v1", as(ali)), open(t, from.Addr+"/a:v1", quick()))
		dst := destination(t, s.Addr+"/"+to+":v1", as(ali))
		dst.Expect(src)
		if _, err := src.Manifest(ctx, ""); err != nil {
			t.Fatal(err)
		}
		if got := dst.Shares(src); got == down {
			t.Errorf("Shares = %v; want %v", got, !down)
		}
		there, err := dst.Mount(ctx, m.config, src)
		if err != nil || there == down {
			t.Errorf("Mount = %v, %v; want %v", there, err, !down)
		}
		for _, q := range s.Requests() {
			if from := q.Query.Get("from"); q.Method == http.MethodPost && (from == "mirror/a") == down {
				t.Errorf("mounted from %q", from)
			}
		}
		if n := s.Count("GET", "/token"); n > 2 { // one a side
			t.Errorf("asked %d times for a token", n)
		}
		src.Close()
	}
}

// A mirror of one: nothing is said that one repository would not say.
func TestMirrorAlone(t *testing.T) {
	m := makeImage(1, 10)
	servers, src, told := mirrors(t, 1, m)
	servers[0].Inject(registrytest.On("", "**", registrytest.Reply(503, "", "")))
	_, err := src.Manifest(context.Background(), "")
	want := "reading manifest v1 in " + servers[0].Addr + "/a: received unexpected HTTP status: 503 Service Unavailable"
	if err == nil || err.Error() != want || counts(servers) != "3" || len(told.of(image.EventWarning)) > 0 {
		t.Errorf("%v after %s requests, %v; want %q after 3", err, counts(servers), told.list, want)
	}
}

// A real registry that keeps what it was asked for, and then another one in
// front of which it was shut down.
func TestRealMirror(t *testing.T) {
	ctx := context.Background()
	origin := harness.StartRegistry(t, harness.RegistryOptions{})
	mirror := harness.StartRegistry(t, harness.RegistryOptions{Mirror: origin})
	m := makeImage(1, 10, 100<<10)
	dst := destination(t, origin.Addr+"/a/b:v1", quick())
	for _, d := range m.all() {
		if _, err := dst.Put(ctx, verified(t, d, m.blobs[d.Digest], true)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dst.Commit(ctx, m.tree(t)); err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{mirror.Addr, "127.0.0.1:1"} {
		src := mirrored(t, open(t, first+"/a/b:v1", quick()), open(t, origin.Addr+"/a/b:v1", quick()))
		tree, err := image.Root(ctx, src, "")
		if err != nil || tree.Desc.Digest != m.desc.Digest {
			t.Fatalf("%s: %v", first, err)
		}
		for _, d := range m.all() {
			if got, err := readBlob(src, d); err != nil || !bytes.Equal(got, m.blobs[d.Digest]) {
				t.Errorf("%s: blob %s: %d bytes, %v", first, d.Digest, len(got), err)
			}
		}
		if got := src.Reference().Domain; (got == mirror.Addr) != (first == mirror.Addr) {
			t.Errorf("%s: reads from %s", first, got)
		}
		src.Close()
	}
}
