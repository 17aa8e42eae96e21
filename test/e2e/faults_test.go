package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
)

// A fault answers a request in the registry's place, or spoils its answer.
type fault struct {
	name   string
	answer func(w http.ResponseWriter, good *http.Response, body []byte)
	early  bool  // in the registry's place: it does not get the request
	codes  []int // that the copy may exit with; the first is what it should
}

var sourceFaults = []fault{
	{"too many requests", status(http.StatusTooManyRequests, "0"), true, []int{0}},
	{"come again in a second", status(http.StatusTooManyRequests, "1"), true, []int{0}},
	{"unavailable", status(http.StatusServiceUnavailable, ""), true, []int{0}},
	{"bad gateway", status(http.StatusBadGateway, ""), true, []int{0}},
	{"hang up at once", hangUp, true, []int{0}},
	{"cut in the middle", cut, false, []int{0}},
	{"a byte is wrong", corrupt, false, []int{0, mismatch}},
}

func status(code int, after string) func(http.ResponseWriter, *http.Response, []byte) {
	return func(w http.ResponseWriter, _ *http.Response, _ []byte) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(code)
	}
}

func hangUp(http.ResponseWriter, *http.Response, []byte) { panic(http.ErrAbortHandler) }

func cut(w http.ResponseWriter, good *http.Response, body []byte) {
	copyHeader(w, good)
	w.WriteHeader(good.StatusCode)
	w.Write(body[:len(body)/2])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func corrupt(w http.ResponseWriter, good *http.Response, body []byte) {
	copyHeader(w, good)
	w.WriteHeader(good.StatusCode)
	if len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	w.Write(body)
}

func copyHeader(w http.ResponseWriter, from *http.Response) {
	for k, v := range from.Header {
		w.Header()[k] = v
	}
}

// unreliable is a way to a registry on which each request of the kinds fails
// in that way when it comes for the first time. It returns its address.
func unreliable(t *testing.T, r *harness.Registry, f fault, fails func(*http.Request) bool) string {
	t.Helper()
	var seen sync.Map
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: r.Addr})
		p.Out.Host = p.In.Host // the registry tells places by it
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, again := seen.LoadOrStore(q.Method+" "+q.URL.Path, true)
		switch {
		case again || !fails(q):
			proxy.ServeHTTP(w, q)
		case f.early:
			io.Copy(io.Discard, q.Body)
			f.answer(w, nil, nil)
		default:
			good := httptest.NewRecorder()
			proxy.ServeHTTP(good, q)
			f.answer(w, good.Result(), good.Body.Bytes())
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// Lines fail and registries are busy. A copy must end with the right content,
// or say by its exit code what was wrong and give nothing a name.
func TestUnreliableSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Platforms(), sample.Big(3<<20))
	for _, f := range sourceFaults {
		for _, tag := range []string{"platforms", "big"} {
			t.Run(f.name+"/"+tag, func(t *testing.T) {
				t.Parallel()
				addr := unreliable(t, w.Registry, f, func(q *http.Request) bool { return q.URL.Path != "/v2/" })
				to := "oci:" + harness.Dir(t) + "/l:x"
				r := harness.Run(t, nil, "img-copy", "--quiet", "--retry-delay=1ms", "docker://"+addr+"/"+tag+":1", to)
				checkFault(t, f, r, to, w.Roots[tag].Digest)
			})
		}
	}
}

func checkFault(t *testing.T, f fault, r harness.Result, to string, want digest.Digest) {
	t.Helper()
	if r.Code == 0 {
		mustWhole(t, to, want)
		return
	}
	failed(t, r, f.codes[len(f.codes)-1], "img-copy")
	if got, err := whole(to); err == nil {
		t.Errorf("%s holds %s after a failure", to, got)
	}
}

// The same on the way up, where what was sent has to be sent again.
func TestUnreliableDestination(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Platforms(), sample.Big(3<<20))
	for _, version := range []string{"v3", "2.8"} {
		r := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
		for _, f := range sourceFaults {
			if f.name == "a byte is wrong" || f.name == "come again in a second" {
				continue // answers to uploads have no content; and there are many of them
			}
			t.Run(version+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				addr := unreliable(t, r, f, func(q *http.Request) bool { return q.URL.Path != "/v2/" })
				for _, tag := range []string{"platforms", "big"} {
					name := strings.ReplaceAll(f.name, " ", "-") + "/" + tag
					got := harness.Run(t, nil, "img-copy", "--quiet", "--retry-delay=1ms", l.Ref(tag), "docker://"+addr+"/"+name+":1")
					if got.Code != 0 {
						failed(t, got, got.Code, "img-copy")
						t.Errorf("exit %d; want it done, at the second try", got.Code)
						continue
					}
					holds(t, r, name+":1", l.Roots[tag].Digest.String())
				}
			})
		}
	}
}

// A destination that somebody else may write to can have links in it that lead
// elsewhere. Nothing may be written through them.
func TestPlantedLinks(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny(), sample.Plain())
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			probe, dir, outside := harness.Dir(t), harness.Dir(t), harness.Dir(t)
			copyImage(t, l.Ref("plain"), p.in(probe, "x"))
			copyImage(t, l.Ref("tiny"), p.in(dir, "x"))
			const mine = "somebody's own\n"
			for i, f := range tree(t, probe) {
				if f == "layout/oci-layout" || f == "dir/version" || filepath.Ext(f) == ".tar" {
					continue // without which it is no place of ours
				}
				if f == "layout/index.json" { // what it leads to is right, so that it can be read
					if err := os.Rename(filepath.Join(dir, f), filepath.Join(outside, "index")); err != nil {
						t.Fatal(err)
					}
					plant(t, filepath.Join(outside, "index"), filepath.Join(dir, f))
					continue
				}
				victim := filepath.Join(outside, "victim"+string(rune('a'+i)))
				if err := os.WriteFile(victim, []byte(mine), 0o644); err != nil {
					t.Fatal(err)
				}
				plant(t, victim, filepath.Join(dir, f))
			}
			before := map[string]string{}
			for _, f := range tree(t, outside) {
				before[f] = string(slurp(t, filepath.Join(outside, f)))
			}
			r := harness.Run(t, nil, "img-copy", "--quiet", l.Ref("plain"), p.in(dir, "x"))
			for f, want := range before {
				if got := string(slurp(t, filepath.Join(outside, f))); got != want {
					t.Errorf("%s, outside of %s, became %q", f, p.name, got)
				}
			}
			if r.Code == 0 {
				mustWhole(t, p.in(dir, "x"), l.Roots["plain"].Digest)
			} else {
				failed(t, r, r.Code, "img-copy")
			}
		})
	}
}

func plant(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

// An archive is never unpacked by the names in it, and a layout's blobs that
// are links to other files are not what their digests say.
func TestNamesThatLeadElsewhere(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny()), harness.Dir(t)
	archive := filepath.Join(dir, "a.tar")
	copyImage(t, l.Ref("tiny"), "oci-archive:"+archive+":x")
	if err := os.WriteFile(filepath.Join(dir, "evil"), []byte("evil\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "tar", "-rPf", archive, "-C", dir, "--transform=s,^evil,../escaped,", "evil")
	harness.Must(t, "tar", "-rPf", archive, "-C", dir, "--transform=s,^evil,"+dir+"/absolute,", "evil")
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"oci-archive:../a.tar", "docker-archive:../a.tar", "-"} {
		c := harness.Command{Dir: sub, Stdin: bytes.NewReader(slurp(t, archive))}
		r := c.Run(t, "img-copy", "--quiet", from, "oci:l:x")
		if r.Code == 0 {
			mustWhole(t, "oci:"+sub+"/l:x", l.Roots["tiny"].Digest)
		}
		for _, f := range tree(t, dir) {
			if strings.Contains(f, "escaped") || strings.Contains(f, "absolute") {
				t.Errorf("img-copy %s made %s", from, f)
			}
		}
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := configOf(t, l, "tiny")
	plant(t, secret, l.Blob(config))
	for _, args := range []stage{
		{"img-copy", "--quiet", l.Ref("tiny"), "dir:" + dir + "/d"},
		{"img-inspect", "--config", "--raw", l.Ref("tiny")},
		{"img-inspect", l.Ref("tiny")},
	} {
		r := harness.Run(t, nil, args[0], args[1:]...)
		if r.Code == 0 || strings.Contains(r.Stdout+r.Stderr, "hunter2") {
			t.Errorf("%s of a link: %+v; want a failure that does not show what it leads to", args[0], r)
		}
	}
}

// Files are cut off too, by full disks and by downloads that nobody watched.
func TestTruncatedArchives(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny(), sample.Platforms()), harness.Dir(t)
	for tag := range l.Roots {
		file := filepath.Join(dir, tag+".tar")
		copyImage(t, l.Ref(tag), "oci-archive:"+file+":x")
		packed := harness.Must(t, "gzip", "-c", file)
		for _, text := range []string{string(slurp(t, file)), packed} {
			for _, n := range []int{0, 1, 300, 512, 1024, 3000, len(text) / 2, len(text) - 3000} {
				if err := os.WriteFile(file+".cut", []byte(text[:n]), 0o644); err != nil {
					t.Fatal(err)
				}
				for _, transport := range []string{"oci-archive:", "docker-archive:"} {
					r := harness.Run(t, nil, "img-copy", "--quiet", transport+file+".cut", "oci:"+dir+"/copy:x")
					if r.Code != mismatch && r.Code != failure && r.Code != notFound {
						t.Errorf("img-copy %s of %d bytes: exit %d", transport, n, r.Code)
					}
					failed(t, r, r.Code, "img-copy")
					if got, err := whole("oci:" + dir + "/copy:x"); err == nil {
						t.Errorf("the first %d bytes of %s became %s", n, tag, got)
					}
				}
			}
		}
	}
}
