package layout

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A pattern is content of any length that costs nothing to make: blocks that
// differ in their first bytes.
type pattern struct {
	seed, at, size int64
	block          []byte
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := copy(b[:min(int64(len(b)), p.size-p.at)], p.block)
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:], uint64(p.seed))
	binary.LittleEndian.PutUint64(head[8:], uint64(p.at))
	copy(b[:n], head[:])
	p.at += int64(n)
	return n, nil
}

func patterns(n int, size int64) []func() *blob.Blob {
	block := bytes.Repeat([]byte("benchmark "), 20000)
	var all []func() *blob.Blob
	for i := range n {
		open := func() io.Reader { return &pattern{seed: int64(i), size: size, block: block} }
		var h hash.Hash = digest.SHA256.Hash()
		blob.Copy(h, open())
		d := oci.Descriptor{Digest: digest.NewDigest(digest.SHA256, h), Size: size}
		all = append(all, func() *blob.Blob {
			b, err := blob.Verify(&blob.Blob{Desc: d, Reader: open()})
			if err != nil {
				panic(err)
			}
			return b
		})
	}
	return all
}

// BenchmarkPut writes blobs that are verified on the way, as a copy from
// another place does. Each is fsynced.
func BenchmarkPut(b *testing.B) {
	for _, bb := range []struct {
		blobs int
		size  int64
		jobs  int
	}{{1, 256 << 20, 1}, {4, 64 << 20, 4}, {60, 64 << 10, 8}} {
		sources := patterns(bb.blobs, bb.size)
		for _, p := range places {
			b.Run(fmt.Sprintf("%s/%dx%dKiB/%d at a time", p.name, bb.blobs, bb.size>>10, bb.jobs), func(b *testing.B) {
				b.SetBytes(int64(bb.blobs) * bb.size)
				base := b.TempDir()
				for b.Loop() {
					dir := filepath.Join(base, "x")
					dst := must(p.create(dir, "v1", nil))(b)
					check(b, putAll(dst, sources, bb.jobs))
					check(b, dst.Close())
					b.StopTimer()
					check(b, os.RemoveAll(dir))
					b.StartTimer()
				}
			})
		}
	}
}

func putAll(dst image.Destination, sources []func() *blob.Blob, jobs int) error {
	var eg errgroup.Group
	eg.SetLimit(jobs)
	for _, open := range sources {
		eg.Go(func() error {
			_, err := dst.Put(context.Background(), open())
			return err
		})
	}
	return eg.Wait()
}

// BenchmarkHas is what a copy costs whose blobs are there already.
func BenchmarkHas(b *testing.B) {
	source := patterns(1, 256<<20)[0]
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "x")
			dst := must(p.create(dir, "v1", nil))(b)
			d := must(dst.Put(context.Background(), source()))(b)
			check(b, dst.Close())
			b.SetBytes(d.Size)
			for b.Loop() {
				dst := must(p.create(dir, "v1", nil))(b)
				if ok, err := dst.Has(context.Background(), d); !ok || err != nil {
					b.Fatal(ok, err)
				}
				check(b, dst.Close())
			}
		})
	}
}
