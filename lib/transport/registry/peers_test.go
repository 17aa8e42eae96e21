package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// realRegistries runs a test with each registry that people use most.
//
// Version 2.8 cannot tell how much it has of an upload that broke off, and
// cannot cancel it either: the locations it gives stand for an offset, and it
// refuses those that are out of date, whatever is asked there.
func realRegistries(t *testing.T, o harness.RegistryOptions, test func(t *testing.T, r *harness.Registry, o Options, forgetful bool)) {
	for _, version := range []string{"v3", "2.8"} {
		t.Run(version, func(t *testing.T) {
			o := o
			o.Version = version
			r := harness.StartRegistry(t, o)
			opts := quick()
			opts.CertDir = r.CertDir
			if r.User != "" {
				opts.Credential = as(Credential{Username: r.User, Password: r.Password}).Credential
			}
			test(t, r, opts, version == "2.8")
		})
	}
}

// openUploads returns the number of uploads of which a registry has data on
// disk. Version 3 leaves other files behind for every upload cancelled.
func openUploads(t *testing.T, r *harness.Registry) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(r.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "data" && filepath.Base(filepath.Dir(filepath.Dir(path))) == "_uploads" {
			n++
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return n
}

// Everything that a copy does, on real registries: bytes come back as they
// went, blobs are mounted, and nothing is left behind.
func TestRealRegistry(t *testing.T) {
	for _, o := range []harness.RegistryOptions{{}, {TLS: true, Htpasswd: true}} {
		realRegistries(t, o, func(t *testing.T, r *harness.Registry, opts Options, forgetful bool) {
			ctx := context.Background()
			one, two := makeImage(1, 10, 3<<20, 200<<10), makeImage(2, 20, 3<<20)
			root := index(t, one.tree(t), index(t, two.tree(t)))
			dst := destination(t, r.Addr+"/a/b:v1", opts)
			for _, m := range []img{one, two} {
				for _, d := range m.all() {
					if there, err := dst.Mount(ctx, d, nil); err != nil || there {
						t.Fatalf("Mount = %v, %v", there, err)
					}
					if _, err := dst.Put(ctx, verified(t, d, m.blobs[d.Digest], true)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := dst.Commit(ctx, root); err != nil {
				t.Fatal(err)
			}
			src := source(t, r.Addr+"/a/b:v1", opts)
			tree, err := image.Root(ctx, src, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Grow(ctx, src, nil); err != nil || tree.Desc.Digest != root.Desc.Digest {
				t.Fatalf("read back %v, %v; want %v", tree.Desc, err, root.Desc)
			}
			for _, m := range []img{one, two} {
				for _, d := range m.all() {
					if got, err := readBlob(src, d); err != nil || !bytes.Equal(got, m.blobs[d.Digest]) {
						t.Errorf("blob %s: %d bytes, %v", d.Digest, len(got), err)
					}
				}
			}
			if tags, err := src.Tags(ctx); err != nil || !slices.Equal(tags, []string{"v1"}) {
				t.Errorf("Tags = %q, %v", tags, err)
			}
			if d, err := dst.Resolve(ctx); err != nil || d != root.Desc.Digest {
				t.Errorf("Resolve = %s, %v; want %s", d, err, root.Desc.Digest)
			}
			if _, err := destination(t, r.Addr+"/a/b:none", opts).Resolve(ctx); !errors.Is(err, image.ErrNotFound) {
				t.Errorf("Resolve of nothing: %v; want ErrNotFound", err)
			}
			_, err = source(t, r.Addr+"/a/b:none", opts).Manifest(ctx, "")
			if want := "reading manifest none in " + r.Addr + "/a/b: manifest unknown"; err == nil || err.Error() != want {
				t.Errorf("no such tag: %v; want %q", err, want)
			}
			// to another repository of the same registry: by mounts alone
			sent := int64(0)
			again := destination(t, r.Addr+"/c:v1", opts)
			again.Expect(src)
			for d := range tree.Blobs() {
				there, err := again.Mount(ctx, d, src)
				if err != nil {
					t.Fatal(err)
				}
				if !there {
					sent += d.Size
				}
			}
			if err := again.Commit(ctx, tree); err != nil || sent > 0 {
				t.Errorf("Commit = %v; %d bytes were not mounted", err, sent)
			}
			dst.Close()
			again.Close()
			if n := openUploads(t, r); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// All ways to upload, each broken off in the middle.
func TestRealUploads(t *testing.T) {
	realRegistries(t, harness.RegistryOptions{}, func(t *testing.T, r *harness.Registry, opts Options, forgetful bool) {
		const size = 24 << 20
		p := newCutter(t, r.Addr)
		tests := []struct {
			name  string
			chunk int64
			known bool
			cut   int64 // bytes of the first connections
		}{
			{"whole", 0, true, 0},
			{"whole, cut", 0, true, 16 << 20},
			{"chunks", 5 << 20, true, 0},
			{"chunks, cut", 5 << 20, true, 13 << 20},
			{"digest not known", 0, false, 0},
			{"digest not known, chunks", 5 << 20, false, 0},
		}
		for i, tt := range tests {
			b := content(byte(i), size)
			d := describe(oci.MediaTypeLayerGzip, b)
			if !tt.known {
				d = oci.Descriptor{Size: -1}
			}
			o := opts
			o.ChunkSize = tt.chunk
			dst := destination(t, p.addr+"/a:v1", o)
			p.cut(tt.cut)
			if _, err := dst.Put(context.Background(), verified(t, d, b, true)); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			sent := p.sent.Load()
			most := int64(size + 64<<10)
			switch {
			case forgetful:
				most += tt.cut
			case tt.cut > 0:
				most += 12 << 20 // what was in buffers is lost
			}
			if sent > most {
				t.Errorf("%s: %d bytes were sent; want at most %d", tt.name, sent, most)
			}
			got, err := readBlob(source(t, r.Addr+"/a:v1", opts), oci.Descriptor{Digest: digest.FromBytes(b), Size: size})
			if err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: %d bytes read back, %v", tt.name, len(got), err)
			}
			dst.Close()
		}
		if n := openUploads(t, r); n != 0 && !forgetful {
			t.Errorf("%d uploads are left", n)
		}
	})
}

// A download that breaks off resumes.
func TestRealDownload(t *testing.T) {
	realRegistries(t, harness.RegistryOptions{}, func(t *testing.T, r *harness.Registry, opts Options, forgetful bool) {
		const size = 8 << 20
		b := content(1, size)
		d := describe(oci.MediaTypeLayerGzip, b)
		if _, err := destination(t, r.Addr+"/a:v1", opts).Put(context.Background(), verified(t, d, b, true)); err != nil {
			t.Fatal(err)
		}
		p := newCutter(t, r.Addr)
		p.cutDown(5 << 20)
		got, err := readBlob(source(t, p.addr+"/a:v1", opts), d)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if n := p.received.Load(); n > size+64<<10 {
			t.Errorf("%d bytes came for %d", n, size)
		}
	})
}

// A source that fails leaves nothing at a real registry.
func TestRealSourceFails(t *testing.T) {
	realRegistries(t, harness.RegistryOptions{}, func(t *testing.T, r *harness.Registry, opts Options, forgetful bool) {
		why := errors.New("the tape is torn")
		b := content(1, 4<<20)
		d := describe("", b)
		dst := destination(t, r.Addr+"/a:v1", opts)
		in := plainReader(d, io.MultiReader(bytes.NewReader(b), failing{why}))
		if _, err := dst.Put(context.Background(), in); !errors.Is(err, why) {
			t.Errorf("Put = %v; want %v", err, why)
		}
		if there, err := dst.Has(context.Background(), d); there || err != nil {
			t.Errorf("Has = %v, %v; want false", there, err)
		}
		dst.Close()
		if n := openUploads(t, r); n != 0 && !forgetful {
			t.Errorf("%d uploads are left", n)
		}
	})
}

// A cutter is a network between a client and a server that breaks off.
type cutter struct {
	addr           string
	to             string
	sent, received atomic.Int64
	up, down       atomic.Int64 // bytes until the connection is cut, once; 0: never
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: l.Addr().String(), to: to}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close() })
	return c
}

func (c *cutter) cut(n int64)     { c.sent.Store(0); c.up.Store(n) }
func (c *cutter) cutDown(n int64) { c.received.Store(0); c.down.Store(n) }

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan bool, 2)
	go func() { pass(server, client, &c.sent, &c.up); done <- true }()
	go func() { pass(client, server, &c.received, &c.down); done <- true }()
	<-done
}

// pass copies until the limit, which then is none any more.
func pass(dst io.Writer, src io.Reader, count, limit *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		dst.Write(buf[:n])
		if at := count.Add(int64(n)); limit.Load() > 0 && at >= limit.Load() {
			limit.Store(0)
			return
		}
		if err != nil {
			return
		}
	}
}
