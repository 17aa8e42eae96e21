package bound

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
	"github.com/imgtools/imgtools/bench/internal/shape"
)

// memory is a registry of one repository in memory: as little of the
// distribution-spec as the bound uses.
type memory struct {
	mu        sync.Mutex
	blobs     map[string][]byte
	manifests map[string][]byte
	types     map[string]string
	uploads   map[string][]byte
	puts      int
}

func newMemory(t *testing.T) (*memory, string) {
	t.Helper()
	m := &memory{blobs: map[string][]byte{}, manifests: map[string][]byte{}, types: map[string]string{}, uploads: map[string][]byte{}}
	srv := httptest.NewServer(m)
	t.Cleanup(srv.Close)
	return m, strings.TrimPrefix(srv.URL, "http://") + "/r"
}

func (m *memory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	defer m.mu.Unlock()
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch {
	case strings.Contains(r.URL.Path, "/manifests/"):
		m.manifest(w, r, name, body)
	case strings.Contains(r.URL.Path, "/uploads/"):
		m.upload(w, r, name, body)
	case m.blobs[name] != nil:
		_, _ = w.Write(m.blobs[name])
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (m *memory) manifest(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	if r.Method == http.MethodPut {
		for _, n := range []string{name, oci.Digest(body)} {
			m.manifests[n], m.types[n] = body, r.Header.Get("Content-Type")
		}
		w.WriteHeader(http.StatusCreated)
		return
	}
	b := m.manifests[name]
	if b == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", m.types[name])
	w.Header().Set("Docker-Content-Digest", oci.Digest(b))
	_, _ = w.Write(b)
}

func (m *memory) upload(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	location := "/v2/r/blobs/uploads/" + name
	switch r.Method {
	case http.MethodPost:
		if m.blobs[r.URL.Query().Get("mount")] != nil {
			w.WriteHeader(http.StatusCreated)
			return
		}
		location += fmt.Sprint(len(m.uploads))
		m.uploads[fmt.Sprint(len(m.uploads))] = nil
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPatch:
		m.uploads[name] = body
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPut:
		b := append(m.uploads[name], body...)
		digest := r.URL.Query().Get("digest")
		if oci.Digest(b) != digest {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		m.puts++
		m.blobs[digest] = b
		w.WriteHeader(http.StatusCreated)
	}
}

// image makes the tiny shape and returns its folder and root.
func image(t *testing.T) (string, oci.Descriptor) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := shape.Generate("tiny", dir); err != nil {
		t.Fatal(err)
	}
	tags, err := oci.Tags(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, tags["v1"]
}

// index adds to the layout an index v1 of its image and of another that has
// two of the layers.
func index(t *testing.T, dir string, first oci.Descriptor) oci.Descriptor {
	t.Helper()
	_, m, err := oci.ReadManifest(dir, first.Digest)
	if err != nil {
		t.Fatal(err)
	}
	m.Layers = m.Layers[:2]
	second, err := oci.WriteBlob(dir, oci.TypeManifest, oci.JSON(m))
	if err != nil {
		t.Fatal(err)
	}
	list := oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{first, second}}
	d, err := oci.WriteBlob(dir, oci.TypeIndex, oci.JSON(list))
	if err != nil {
		t.Fatal(err)
	}
	if err := oci.WriteHead(dir, []oci.Descriptor{d.Tagged("v1")}); err != nil {
		t.Fatal(err)
	}
	return d
}

func check(t *testing.T, what, name, root string) {
	t.Helper()
	c := registry.New(name, "pull", true, http.DefaultClient)
	if _, err := c.Check(context.Background(), "v1", root); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// A bound that is fast because it leaves something out would be no bound: each
// way must bring the whole image, with its digest where no layer is packed anew.
func TestCopy(t *testing.T) {
	ctx := context.Background()
	dir, root := image(t)
	p := New(Options{Plain: true, Jobs: 3, Level: 1, Fsync: true})
	a, nameA := newMemory(t)
	_, nameB := newMemory(t)
	_, nameC := newMemory(t)
	out, file := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "x.tar")
	packed := filepath.Join(t.TempDir(), "packed.tar")
	for _, c := range []struct{ from, to string }{
		{"oci:" + dir + ":v1", "docker://" + nameA + ":v1"},
		{"docker://" + nameA + ":v1", "docker://" + nameB + ":v1"},
		{"docker://" + nameB + ":v1", "oci:" + out + ":v1"},
		{"oci:" + out + ":v1", "oci:" + out + "2:v1"},
		{"docker://" + nameB + ":v1", "docker-archive:" + packed},
		{"docker://" + nameB + ":v1", "docker-archive:" + file},
		{"docker-archive:" + file, "docker://" + nameC + ":v1"},
	} {
		p.Unpack = strings.HasSuffix(c.to, file)
		if err := p.Copy(ctx, c.from, c.to); err != nil {
			t.Fatalf("Copy(%s, %s) = %v", c.from, c.to, err)
		}
	}
	check(t, "oci to registry", nameA, root.Digest)
	check(t, "registry to registry", nameB, root.Digest)
	check(t, "archive to registry", nameC, "")
	if n, err := oci.Verify(out+"2", root); n != 5 || err != nil {
		t.Errorf("layout: Verify = %d, %v; want 5 blobs", n, err)
	}
	checkPacked(t, packed, dir, root)
	before := a.puts
	if err := p.Copy(ctx, "oci:"+dir+":v1", "docker://"+nameA+":v1"); err != nil || a.puts != before {
		t.Errorf("second copy sent %d blobs, %v; want none", a.puts-before, err)
	}
}

// checkPacked compares the members of an archive with the blobs of a layout.
func checkPacked(t *testing.T, file, dir string, root oci.Descriptor) {
	t.Helper()
	_, m, err := oci.ReadManifest(dir, root.Digest)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files, err := members(f)
	if err != nil {
		t.Fatal(err)
	}
	e, cfg, err := archiveHead(files)
	if err != nil || oci.Digest(cfg) != m.Config.Digest || len(e.Layers) != len(m.Layers) {
		t.Fatalf("archiveHead = %+v, %v; want the config and %d layers", e, err, len(m.Layers))
	}
	for i, name := range e.Layers {
		b, err := io.ReadAll(files[name])
		if err != nil || oci.Digest(b) != m.Layers[i].Digest {
			t.Errorf("member %s is %s, %v; want %s", name, oci.Digest(b), err, m.Layers[i].Digest)
		}
	}
}

// Both ends of the pipe run at once, as they do under rr. The index has shared
// layers, which the stream carries once.
func TestStream(t *testing.T) {
	ctx := context.Background()
	dir, first := image(t)
	root := index(t, dir, first)
	p := New(Options{Plain: true, Jobs: 3})
	_, name := newMemory(t)
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		err := p.streamOut(ctx, &layout{dir: dir, tag: "v1"}, pw)
		pw.Close()
		sent <- err
	}()
	c, tag := p.client(name+":v1", "pull,push")
	if err := p.streamIn(ctx, pr, c, tag); err != nil {
		t.Fatalf("streamIn = %v", err)
	}
	pr.Close()
	if err := <-sent; err != nil {
		t.Errorf("streamOut = %v", err)
	}
	check(t, "stream", name, root.Digest)
}

// ahead must keep the order however the results come in: a tar depends on it.
func TestAhead(t *testing.T) {
	next := 0
	for c := range ahead(4, numbers(50), func(i int) (int, error) { return i * i, nil }) {
		if r := <-c; r.v != next*next || r.err != nil {
			t.Fatalf("result %d = %d, %v; want %d", next, r.v, r.err, next*next)
		}
		next++
	}
	if next != 50 {
		t.Errorf("ahead gave %d results; want 50", next)
	}
}

func TestParseLayout(t *testing.T) {
	if l, err := parseLayout("oci:/a:b/c:v1"); err != nil || l.dir != "/a:b/c" || l.tag != "v1" {
		t.Errorf("parseLayout = %+v, %v; want /a:b/c and v1", l, err)
	}
	for _, bad := range []string{"oci:", "dir:/x:y", ""} {
		if _, err := parseLayout(bad); err == nil {
			t.Errorf("parseLayout(%q) = nil; want an error", bad)
		}
	}
}
