package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// quick are options whose retries do not take time.
func quick() Options { return Options{Retry: Retry{Delay: time.Nanosecond}} }

// open returns the repository of a reference such as "127.0.0.1:5000/a/b:tag".
func open(t testing.TB, ref string, o Options) *Repository {
	t.Helper()
	d, err := reference.ParseDockerTransport("//" + ref)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.remote.free)
	return r
}

func source(t testing.TB, ref string, o Options) *Source {
	t.Helper()
	return open(t, ref, o).Source()
}

// destination returns a destination that is closed before the test ends.
func destination(t testing.TB, ref string, o Options) *Destination {
	t.Helper()
	d := open(t, ref, o).Destination()
	t.Cleanup(func() { d.Close() })
	return d
}

// content returns n bytes that depend on a seed.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func describe(mediaType string, b []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// An img is an image in memory.
type img struct {
	raw    oci.Raw
	desc   oci.Descriptor
	config oci.Descriptor
	layers []oci.Descriptor
	blobs  map[digest.Digest][]byte
}

// makeImage returns an image with layers of those sizes.
func makeImage(seed byte, sizes ...int) img {
	m := img{blobs: map[digest.Digest][]byte{}}
	add := func(mediaType string, b []byte) oci.Descriptor {
		d := describe(mediaType, b)
		m.blobs[d.Digest] = b
		return d
	}
	m.config = add(oci.MediaTypeConfig, []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"n":`+string('0'+seed%10)+`}`))
	for i, n := range sizes {
		m.layers = append(m.layers, add(oci.MediaTypeLayerGzip, content(seed+byte(i)*7, n)))
	}
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": m.config, "layers": m.layers})
	if err != nil {
		panic(err)
	}
	m.raw = oci.Raw{MediaType: oci.MediaTypeManifest, Bytes: b}
	m.desc = m.raw.Descriptor()
	return m
}

// all returns config and layers.
func (m img) all() []oci.Descriptor { return append([]oci.Descriptor{m.config}, m.layers...) }

func (m img) tree(t testing.TB) *image.Tree {
	t.Helper()
	tree := &image.Tree{Desc: m.desc, Raw: m.raw}
	if err := tree.Parse(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// store puts the image into a registry.
func (m img) store(s *registrytest.Registry, repo, tag string) {
	s.Put(repo, tag, m.desc.Digest, map[digest.Digest]oci.Raw{m.desc.Digest: m.raw}, m.blobs)
}

// verified is what the engine hands to Put.
func verified(t testing.TB, d oci.Descriptor, b []byte, reopen bool) *blob.Blob {
	t.Helper()
	in := &blob.Blob{Desc: d, Reader: bytes.NewReader(b)}
	if reopen {
		in.Reopen = func(offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b[offset:])), nil
		}
	}
	out, err := blob.Verify(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// move copies one blob, as the engine does.
func move(ctx context.Context, dst *Destination, src image.Source, d oci.Descriptor) error {
	there, err := dst.Mount(ctx, d, src)
	if err != nil || there {
		return err
	}
	rc, err := src.Blob(ctx, d)
	if err != nil {
		return err
	}
	defer rc.Close()
	b, err := blob.Verify(&blob.Blob{Desc: d, Reader: rc, Reopen: func(offset int64) (io.ReadCloser, error) {
		return image.BlobAt(ctx, src, d, offset)
	}})
	if err != nil {
		return err
	}
	_, err = dst.Put(ctx, b)
	return err
}

// copyImage copies an image as the engine does, one blob at a time.
func copyImage(ctx context.Context, dst *Destination, src *Source) error {
	dst.Expect(src)
	tree, err := image.Root(ctx, src, "")
	if err != nil {
		return err
	}
	if err := tree.Grow(ctx, src, nil); err != nil {
		return err
	}
	if err := dst.Begin(ctx, tree); err != nil {
		return err
	}
	for d := range tree.Blobs() {
		if err := move(ctx, dst, src, d); err != nil {
			return err
		}
	}
	return dst.Commit(ctx, tree)
}

// readBlob reads a blob to its end.
func readBlob(src image.Source, d oci.Descriptor) ([]byte, error) {
	rc, err := src.Blob(context.Background(), d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// events collects what is told.
type events struct {
	mu   sync.Mutex
	list []image.Event
}

func (e *events) notify(x image.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, x)
}

func (e *events) of(k image.Kind) []image.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.list), func(x image.Event) bool { return x.Kind != k })
}

// A world is a network in which hosts have names and addresses that are not
// those of this machine, so that what is public and what is not can be tested.
type world struct {
	hosts map[string]hostAt // by "name:port"
}

type hostAt struct {
	ip      string                                  // what the name resolves to
	connect func(context.Context) (net.Conn, error) // to what stands for it
}

func (w *world) dial(ctx context.Context, _, addr string, check func(netip.Addr) error) (net.Conn, error) {
	at, ok := w.hosts[addr]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
	}
	ip := netip.MustParseAddr(at.ip)
	if check != nil {
		if err := check(ip); err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	c, err := at.connect(ctx)
	return distant{c, ip}, err
}

// distant is a connection that seems to lead to another address.
type distant struct {
	net.Conn
	ip netip.Addr
}

func (d distant) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.ip, 443))
}

// to connects to an address of this machine.
func to(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

// newWorld returns one with the origins of a registry, each as NAME.test:443
// at an address that is said here.
func newWorld(s *registrytest.Server, ips map[string]string) *world {
	w := &world{map[string]hostAt{}}
	for name, ip := range ips {
		origin := name
		if name == "reg" {
			origin = registrytest.Main
		}
		_, addr, _ := strings.Cut(s.URL(origin), "://")
		w.hosts[name+".test:443"] = hostAt{ip, to(addr)}
	}
	return w
}

// A pipeNet is a network of pipes, for tests in a bubble: time passes at once
// when everybody waits.
type pipeNet struct {
	c    chan net.Conn
	done chan struct{}
	once sync.Once
}

// serve serves a handler at 127.0.0.1:5000 of a new network, until the test
// ends.
func serve(t *testing.T, h http.Handler) *pipeNet {
	p := &pipeNet{c: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h, ErrorLog: quietLog()}
	over := make(chan error)
	go func() { over <- srv.Serve(p) }()
	t.Cleanup(func() {
		srv.Close()
		<-over
		time.Sleep(time.Second) // of the bubble: connections linger
	})
	return p
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.c:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipeNet) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipeNet) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000} }

func (p *pipeNet) dial(ctx context.Context, _, _ string, _ func(netip.Addr) error) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.c <- theirs:
		return distant{ours, netip.MustParseAddr("127.0.0.1")}, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

// isError is errors.Is that takes nil for success.
func isError(err, want error) bool {
	if want == nil {
		return err == nil
	}
	return errors.Is(err, want)
}

type duration = time.Duration

func digestOf(s string) digest.Digest { return digest.Digest(s) }

// plainBlob is a blob that nobody verifies.
func plainBlob(d oci.Descriptor, s string) *blob.Blob {
	return &blob.Blob{Desc: d, Reader: strings.NewReader(s)}
}

type netConn = net.Conn

// A slowReader pauses before each of ten pieces.
type slowReader struct {
	b     []byte
	pause time.Duration
	pos   int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.pos == len(r.b) {
		return 0, io.EOF
	}
	tenth := (len(r.b) + 9) / 10
	if r.pos%tenth == 0 {
		time.Sleep(r.pause)
	}
	n := copy(p[:min(len(p), tenth-r.pos%tenth)], r.b[r.pos:])
	r.pos += n
	return n, nil
}

func plainReader(d oci.Descriptor, r io.Reader) *blob.Blob {
	return &blob.Blob{Desc: d, Reader: r}
}

// readSlowly reads everything, with a pause after each of ten pieces.
func readSlowly(r io.Reader, pause time.Duration) (int, error) {
	total := 0
	for {
		n, err := io.CopyN(io.Discard, r, 1<<20/10)
		total += int(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		time.Sleep(pause)
	}
}
