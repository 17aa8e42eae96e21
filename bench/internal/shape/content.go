package shape

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"
)

// content writes deterministic half-compressible bytes: files that are
// random (do not compress) alternate with files of words (compress well).
type content struct {
	src   *rand.ChaCha8
	rng   *rand.Rand
	words [][]byte
}

func newContent(seed uint64) *content {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	c := &content{src: rand.NewChaCha8(s)}
	c.rng = rand.New(c.src)
	for range 4096 {
		w := make([]byte, 3+c.rng.IntN(8))
		for i := range w {
			w[i] = byte('a' + c.rng.IntN(26))
		}
		c.words = append(c.words, append(w, ' '))
	}
	return c
}

func (c *content) random(w io.Writer, n int64) error {
	buf := make([]byte, 64<<10)
	for n > 0 {
		b := buf[:min(n, int64(len(buf)))]
		c.src.Read(b)
		if _, err := w.Write(b); err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

func (c *content) text(w io.Writer, n int64) error {
	buf := make([]byte, 0, 64<<10)
	for n > 0 {
		buf = buf[:0]
		for len(buf) < 63<<10 {
			x := c.rng.Uint64()
			// The product of two draws: low words are much more frequent.
			buf = append(buf, c.words[(x&4095)*((x>>12)&4095)>>12]...)
		}
		b := buf[:min(n, int64(len(buf)))]
		if _, err := w.Write(b); err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

// writeTar writes a tar of about size bytes, always the same for a seed.
func writeTar(w io.Writer, seed uint64, size int64) error {
	c := newContent(seed)
	tw := tar.NewWriter(w)
	var done int64
	for i := 0; done < size; i++ {
		if i%64 == 0 {
			if err := tw.WriteHeader(header(tar.TypeDir, fmt.Sprintf("data/%016x/%04d/", seed, i/64), 0)); err != nil {
				return err
			}
			done += 512
		}
		n := int64(math.Exp(c.rng.NormFloat64()*1.6 + 10)) // median 22 KiB, long tail
		n = max(16, min(n, 8<<20, size-done-1024))
		if size-done-1024 < 16 {
			break
		}
		if err := c.file(tw, fmt.Sprintf("data/%016x/%04d/f%06d", seed, i/64, i), n, i%2 == 0); err != nil {
			return err
		}
		done += 512 + (n+511)/512*512
	}
	return tw.Close()
}

func (c *content) file(tw *tar.Writer, name string, n int64, random bool) error {
	if err := tw.WriteHeader(header(tar.TypeReg, name, n)); err != nil {
		return err
	}
	if random {
		return c.random(tw, n)
	}
	return c.text(tw, n)
}

func header(kind byte, name string, size int64) *tar.Header {
	h := &tar.Header{Typeflag: kind, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(1700000000, 0)}
	if kind == tar.TypeDir {
		h.Mode = 0o755
	}
	return h
}
