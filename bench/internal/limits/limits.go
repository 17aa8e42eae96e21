// Package limits measures what this machine can do at best with the bytes of
// one layer: hashes, codecs, files, loopback. No tool can be faster than the
// parts that it is made of.
package limits

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/imgtools/imgtools/bench/internal/report"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// printer measures and prints one line a limit.
type printer struct {
	ctx  context.Context
	w    io.Writer
	data []byte // the plain layer
}

// row runs f three times and prints its median speed over the plain layer and
// the size of what it made. Nothing more is printed once the context is done.
func (p *printer) row(name string, f func() (int64, error)) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	var walls []float64
	var out int64
	for range 3 {
		start := time.Now()
		var err error
		if out, err = f(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		walls = append(walls, time.Since(start).Seconds())
	}
	n := float64(len(p.data))
	_, err := fmt.Fprintf(p.w, "%-36s %7.0f MB/s  out/in %.3f\n", name, n/1e6/report.Reduce(walls).Median, float64(out)/n)
	return err
}

// step is one row to come.
type step struct {
	name string
	run  func() (int64, error)
}

// Print measures with the gzip layer of the file blob; disk and memory are
// folders on the two kinds of file system.
func Print(ctx context.Context, w io.Writer, blob, disk, memory string) error {
	packed, err := os.ReadFile(blob)
	if err != nil {
		return err
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	data, err := io.ReadAll(zr)
	if err != nil {
		return err
	}
	p := &printer{ctx, w, data}
	fmt.Fprintf(w, "# one layer: %.1f MB plain, %.1f MB gzip; %s, %d processors\n",
		float64(len(data))/1e6, float64(len(packed))/1e6, runtime.Version(), runtime.GOMAXPROCS(0))
	var steps []step
	for _, more := range [][]step{hashes(data), files(data, disk, memory), compressors(data), decompressors(packed, data)} {
		steps = append(steps, more...)
	}
	for _, s := range steps {
		if err := p.row(s.name, s.run); err != nil {
			return err
		}
	}
	return nil
}

func hashes(data []byte) []step {
	n := int64(len(data))
	return []step{
		{"sha256", func() (int64, error) { sha256.Sum256(data); return n, nil }},
		{"aes-256-ctr", func() (int64, error) {
			b, err := aes.NewCipher(make([]byte, 32))
			if err != nil {
				return 0, err
			}
			s, buf := cipher.NewCTR(b, make([]byte, 16)), make([]byte, 256<<10)
			for c := data; len(c) > 0; c = c[min(len(c), len(buf)):] {
				s.XORKeyStream(buf, c[:min(len(c), len(buf))])
			}
			return n, nil
		}},
		{"copy in memory", func() (int64, error) { return int64(copy(make([]byte, n), data)), nil }},
		{"TCP over loopback", func() (int64, error) { return loopback(data) }},
	}
}

// loopback sends data to itself and returns what arrived.
func loopback(data []byte) (int64, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	sent := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			_, err = c.Write(data)
			c.Close()
		}
		sent <- err
	}()
	c, err := ln.Accept()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 512<<10))
	if err != nil {
		return n, err
	}
	return n, <-sent
}

func files(data []byte, disk, memory string) []step {
	write := func(dir string, sync bool) func() (int64, error) {
		return func() (int64, error) { return writeFile(filepath.Join(dir, "limit"), data, sync) }
	}
	return []step{
		{"write a file", write(disk, false)},
		{"write a file, fsync", write(disk, true)},
		{"write a file on the store (tmpfs)", write(memory, false)},
	}
}

func writeFile(path string, data []byte, sync bool) (int64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	n, err := f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	return int64(n), err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// compress measures one kind of writer.
func compress(name string, data []byte, open func(io.Writer) (io.WriteCloser, error)) step {
	return step{name, func() (int64, error) {
		var n counter
		w, err := open(&n)
		if err != nil {
			return 0, err
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, 64<<10)); err != nil {
			return 0, err
		}
		err = w.Close()
		return int64(n), err
	}}
}

func compressors(data []byte) []step {
	procs := runtime.GOMAXPROCS(0)
	var out []step
	for _, level := range []int{1, 5, 6, 9} {
		out = append(out, compress(fmt.Sprintf("gzip -%d", level), data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, level) }))
	}
	out = append(out, compress("gzip -6, standard library", data, func(w io.Writer) (io.WriteCloser, error) { return stdgzip.NewWriterLevel(w, 6) }))
	for _, level := range []int{1, 5, 6} {
		out = append(out, compress(fmt.Sprintf("pgzip -%d x%d", level, procs), data, func(w io.Writer) (io.WriteCloser, error) {
			z, err := pgzip.NewWriterLevel(w, level)
			if err != nil {
				return nil, err
			}
			return z, z.SetConcurrency(1<<20, 2*procs)
		}))
	}
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
		out = append(out, compress(fmt.Sprintf("zstd %v x%d", level, procs), data, func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(procs))
		}))
	}
	return out
}

func decompressors(packed, data []byte) []step {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return []step{{"zstd", func() (int64, error) { return 0, err }}}
	}
	small := enc.EncodeAll(data, nil)
	return []step{
		{"gunzip", func() (int64, error) { return gunzip(packed, io.Discard) }},
		{"gunzip, then sha256", func() (int64, error) { return gunzip(packed, sha256.New()) }},
		{"gunzip, standard library", func() (int64, error) {
			r, err := stdgzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				return 0, err
			}
			return io.Copy(io.Discard, r)
		}},
		{"gunzip, read ahead (pgzip)", func() (int64, error) {
			r, err := pgzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				return 0, err
			}
			return io.Copy(io.Discard, r)
		}},
		{"unzstd", func() (int64, error) {
			r, err := zstd.NewReader(bytes.NewReader(small))
			if err != nil {
				return 0, err
			}
			defer r.Close()
			return io.Copy(io.Discard, r)
		}},
	}
}

func gunzip(packed []byte, w io.Writer) (int64, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return 0, err
	}
	return io.Copy(w, r)
}
