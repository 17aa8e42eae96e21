package daemon

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// A standIn is a daemon that keeps what it loaded as it came, and saves just
// that. So it can hold us to the contract byte for byte, which real daemons
// that keep images unpacked cannot.
type standIn struct {
	version string // of the API; "" for none
	stored  bool   // it keeps manifests, whose digests are IDs
	host    string
	spoil   map[string]http.HandlerFunc // instead of what it does, by the path's last part

	mu    sync.Mutex
	names map[string]held
}

type held struct {
	id  digest.Digest
	tar []byte
}

func newStandIn(t *testing.T, stored bool) *standIn {
	d := &standIn{version: "1.41", stored: stored, names: map[string]held{}, spoil: map[string]http.HandlerFunc{}}
	socket := filepath.Join(harness.Dir(t), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(d)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	d.host = "unix://" + socket
	return d
}

func (d *standIn) options() Options { return Options{Host: d.host} }

func (d *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if f, ok := d.spoil[action]; ok {
		f(w, r)
		return
	}
	if d.version != "" && r.URL.Path == "/_ping" {
		w.Header().Set("API-Version", d.version)
	}
	prefix := "/"
	if d.version != "" {
		prefix = "/v" + d.version + "/"
	}
	path, ok := strings.CutPrefix(r.URL.Path, prefix+"images/")
	switch {
	case r.URL.Path == "/_ping":
		io.WriteString(w, "OK")
	case !ok:
		refuseWith(w, http.StatusNotFound, "page not found")
	case path == "load" && r.Method == http.MethodPost:
		d.load(w, r)
	case action == "json" || action == "get":
		d.tell(w, strings.TrimSuffix(path, "/"+action), action)
	}
}

func refuseWith(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": text})
}

func (d *standIn) tell(w http.ResponseWriter, name, action string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, ok := d.names[name]
	for _, other := range d.names {
		if other.id.String() == name {
			h, ok = other, true
		}
	}
	switch {
	case !ok:
		refuseWith(w, http.StatusNotFound, "No such image: "+name)
	case action == "json":
		json.NewEncoder(w).Encode(map[string]any{"Id": h.id, "RepoTags": []string{name}, "Size": len(h.tar)})
	default:
		w.Write(h.tar)
	}
}

func (d *standIn) load(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return // it was cut off
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	io.WriteString(w, `{"status":"Loading layer","progressDetail":{"current":1,"total":2},"id":"a"}`+"\r\n")
	names, id, err := d.read(b)
	if err != nil {
		fmt.Fprintf(w, `{"errorDetail":{"message":%q},"error":%[1]q}`+"\r\n", err.Error())
		return
	}
	for _, n := range names {
		d.names[n] = held{id, b}
		fmt.Fprintf(w, `{"stream":%q}`+"\r\n", "Loaded image: "+n+"\n")
	}
}

// read returns what names an archive gives its image, as docker images shows
// them, and what the ID of that is.
func (d *standIn) read(b []byte) (names []string, id digest.Digest, err error) {
	docs := map[string][]byte{}
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, "", err
		}
		docs[h.Name], _ = io.ReadAll(tr)
	}
	var list []struct {
		Config   string
		RepoTags []string
	}
	var index struct {
		Manifests []struct{ Digest digest.Digest }
	}
	if err := json.Unmarshal(docs["manifest.json"], &list); err != nil || len(list) != 1 {
		return nil, "", fmt.Errorf("invalid manifest: %v", err)
	}
	if err := json.Unmarshal(docs["index.json"], &index); err != nil {
		return nil, "", err
	}
	for _, n := range list[0].RepoTags {
		names = append(names, strings.TrimPrefix(strings.TrimPrefix(n, "docker.io/"), "library/"))
	}
	if d.stored {
		return names, index.Manifests[0].Digest, nil
	}
	return names, digest.FromBytes(docs[list[0].Config]), nil
}

func (d *standIn) get(name string) held {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name]
}

func (d *standIn) set(name string, h held) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name] = h
}

func name(t *testing.T, detail string) Name {
	t.Helper()
	n, err := ParseName(detail)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
