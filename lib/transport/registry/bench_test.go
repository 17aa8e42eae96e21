package registry

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// BenchmarkCopy copies sixty small layers, eight at a time, between two
// registries on loopback. Both are in this process and are measured too.
func BenchmarkCopy(b *testing.B) {
	sizes := make([]int, 60)
	for i := range sizes {
		sizes[i] = 10<<10 + i
	}
	benchmarkCopy(b, makeImage(1, sizes...))
}

// BenchmarkCopyLarge copies one layer of 64 MiB.
func BenchmarkCopyLarge(b *testing.B) { benchmarkCopy(b, makeImage(1, 64<<20)) }

func benchmarkCopy(b *testing.B, m img) {
	from := registrytest.Start(b, registrytest.Options{})
	m.store(from.Registry, "a", "v1")
	total := int64(0)
	for _, d := range m.all() {
		total += d.Size
	}
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		to := httptest.NewServer(registrytest.New(registrytest.Options{}))
		at := strings.TrimPrefix(to.URL, "http://")
		src, dst := source(b, from.Addr+"/a:v1", quick()), open(b, at+"/b:v1", quick()).Destination()
		g, ctx := errgroup.WithContext(context.Background())
		g.SetLimit(8)
		for _, d := range m.all() {
			g.Go(func() error { return move(ctx, dst, src, d) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		if err := dst.Commit(context.Background(), m.tree(b)); err != nil {
			b.Fatal(err)
		}
		dst.Close()
		src.Close()
		to.Close()
		from.Forget()
	}
}

// BenchmarkDownload reads one layer of 64 MiB.
func BenchmarkDownload(b *testing.B) {
	m := makeImage(1, 64<<20)
	s := registrytest.Start(b, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	src := source(b, s.Addr+"/a:v1", quick())
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		rc, err := src.Blob(context.Background(), m.layers[0])
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, rc, make([]byte, bufferSize)); err != nil || n != 64<<20 {
			b.Fatal(n, err)
		}
		rc.Close()
	}
}

// BenchmarkResolve is the smallest request.
func BenchmarkResolve(b *testing.B) {
	m := makeImage(1, 10)
	s := registrytest.Start(b, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	dst := destination(b, s.Addr+"/a:v1", quick())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dst.Resolve(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
