package blob

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"

	"github.com/imgtools/imgtools/lib/oci"
)

// pack compresses content with the program that everybody has.
func pack(t testing.TB, content []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s, of the Debian package of that name: %v", name, err)
	}
	return out
}

func packed4(t testing.TB, content []byte) map[string][]byte {
	return map[string][]byte{
		Plain: content,
		Gzip:  pack(t, content, "gzip", "-c"),
		Bzip2: pack(t, content, "bzip2", "-c"),
		Xz:    pack(t, content, "xz", "-c"),
		Zstd:  pack(t, content, "zstd", "-c"),
	}
}

func TestDecompress(t *testing.T) {
	content := []byte(strings.Repeat("some text, and then more of it\n", 10_000))
	for name, p := range packed4(t, content) {
		for how, wrap := range readers {
			rc, got, err := Decompress(wrap(bytes.NewReader(p)))
			if err != nil || got != name {
				t.Fatalf("Decompress(%s), %s: %q, %v", name, how, got, err)
			}
			b, err := io.ReadAll(rc)
			if err != nil || !bytes.Equal(b, content) {
				t.Errorf("%s, %s: %d bytes, %v; want %d", name, how, len(b), err, len(content))
			}
			if err := rc.Close(); err != nil {
				t.Errorf("%s: close: %v", name, err)
			}
		}
	}
}

// Without the program xz the library must do, with the same result.
func TestDecompressWithoutXz(t *testing.T) {
	content := noise(100_000)
	p := pack(t, content, "xz", "-c")
	t.Setenv("PATH", t.TempDir())
	rc, _, err := Decompress(bytes.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(rc); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A stream that was cut, or whose reader fails, must end in an error, and
// closing it early must not hang.
func TestDecompressBroken(t *testing.T) {
	content := noise(300_000)
	broken := errors.New("broken")
	for name, p := range packed4(t, content) {
		if name == Plain {
			continue
		}
		for how, r := range map[string]io.Reader{
			"cut":  bytes.NewReader(p[:len(p)/2]),
			"fail": io.MultiReader(bytes.NewReader(p[:len(p)/2]), iotest.ErrReader(broken)),
		} {
			rc, _, err := Decompress(r)
			if err != nil {
				continue
			}
			if _, err := io.ReadAll(rc); err == nil {
				t.Errorf("%s, %s: no error", name, how)
			}
			rc.Close()
		}
		rc, _, err := Decompress(bytes.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rc.Read(make([]byte, 10)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rc.Close()
	}
}

// A frame may claim any window; more than 128 MiB of memory is not given.
func TestZstdWindow(t *testing.T) {
	head := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0, 0, 0} // a window of 2^41 bytes
	rc, _, err := Decompress(bytes.NewReader(head))
	if err == nil {
		_, err = io.ReadAll(rc)
	}
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("read: %v; want %v", err, zstd.ErrWindowSizeExceeded)
	}
}

func TestCompress(t *testing.T) {
	content := []byte(strings.Repeat("layers of files\n", 300_000))
	d := describe(content)
	b, err := Compress(&Blob{Desc: d, Reader: bytes.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	want := describe(out)
	want.MediaType = oci.MediaTypeLayerGzip
	if b.Desc.Digest != want.Digest || b.Desc.Size != want.Size || b.Desc.MediaType != want.MediaType {
		t.Errorf("descriptor %v; want %v", b.Desc, want)
	}
	zr, err := gzip.NewReader(bytes.NewReader(out)) // somebody else's reader
	if err != nil {
		t.Fatal(err)
	}
	if back, err := io.ReadAll(zr); err != nil || !bytes.Equal(back, content) {
		t.Errorf("unpacked %d bytes, %v", len(back), err)
	}
	broken := errors.New("broken")
	b, err = Compress(&Blob{Desc: d, Reader: iotest.ErrReader(broken)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(b); !errors.Is(err, broken) {
		t.Errorf("compressing what cannot be read: %v", err)
	}
	if _, err := Compress(&Blob{Desc: oci.Descriptor{MediaType: oci.MediaTypeLayerGzip}}); err == nil {
		t.Errorf("a packed layer was packed again")
	}
}

// endless is a source that never ends, and that must not be read any more once
// the blob has been freed: then it is closed, or gives its next file.
type endless struct {
	t     *testing.T
	freed *atomic.Bool
}

func (e endless) Read(p []byte) (int, error) {
	if e.freed.Load() {
		e.t.Error("the source was read after Free")
	}
	return len(p), nil
}

// A destination that fails, or the end of a copy, leaves a layer half read.
// Nothing of what compresses it may go on: the bubble fails the test if a
// goroutine is left at its end.
func TestCompressGivenUp(t *testing.T) {
	for name, use := range map[string]func(b *Blob) error{
		"never read":   func(*Blob) error { return nil },
		"read a bit":   func(b *Blob) error { _, err := io.ReadFull(b, make([]byte, 10)); return err },
		"read further": func(b *Blob) error { _, err := io.CopyN(io.Discard, b, 10_000); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var freed atomic.Bool
				b, err := Compress(&Blob{Desc: oci.Descriptor{MediaType: oci.MediaTypeLayer, Size: -1}, Reader: endless{t, &freed}})
				if err == nil {
					err = use(b)
				}
				if err != nil {
					t.Fatal(err)
				}
				b.Free()
				freed.Store(true)
				b.Free() // it is idempotent
				if _, err := b.Read(make([]byte, 1)); err == nil {
					t.Errorf("a blob that was given up can be read")
				}
			})
		})
	}
}

// The same for a source that breaks off: the error is the one that the reader
// sees, alone, and the compressor's own goroutines end.
func TestCompressBrokenSource(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int64{0, 100, 10 << 20} {
		synctest.Test(t, func(t *testing.T) {
			r := io.MultiReader(io.LimitReader(endless{t, new(atomic.Bool)}, size), iotest.ErrReader(broken))
			b, err := Compress(&Blob{Desc: oci.Descriptor{MediaType: oci.MediaTypeLayer, Size: -1}, Reader: r})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Free()
			if _, err := Copy(io.Discard, b); err != broken {
				t.Errorf("after %d bytes: %v; want %v", size, err, broken)
			}
		})
	}
}

// The program xz can say no more than that its input is short. What the user
// needs, and what the exit code is made of, is why.
func TestDecompressSaysWhy(t *testing.T) {
	content := noise(300_000)
	broken := errors.New("broken")
	for name, p := range packed4(t, content) {
		rc, _, err := Decompress(io.MultiReader(bytes.NewReader(p[:len(p)/2]), iotest.ErrReader(broken)))
		if err == nil {
			_, err = io.ReadAll(rc)
			rc.Close()
		}
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v; want %v", name, err, broken)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, p := range packed4(f, []byte("hello, hello, hello")) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if Sniff(b) == Xz {
			return // a program of its own for each is too slow
		}
		rc, _, err := Decompress(bytes.NewReader(b))
		if err != nil {
			return
		}
		defer rc.Close()
		io.Copy(io.Discard, io.LimitReader(rc, 1<<20))
	})
}

func benchmark(b *testing.B, content []byte, f func(io.Reader) (io.Reader, error)) {
	b.SetBytes(int64(len(content)))
	for range b.N {
		r, err := f(bytes.NewReader(content))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompress(b *testing.B) {
	content := []byte(strings.Repeat("layers of files, 0123456789\n", 300_000))
	benchmark(b, content, func(r io.Reader) (io.Reader, error) {
		return Compress(&Blob{Desc: describe2(content), Reader: r})
	})
}

func BenchmarkDecompress(b *testing.B) {
	content := append(noise(2<<20), []byte(strings.Repeat("layers of files, 0123456789\n", 100_000))...)
	for name, p := range packed4(b, content) {
		b.Run("of "+name, func(b *testing.B) {
			benchmark(b, p, func(r io.Reader) (io.Reader, error) {
				rc, _, err := Decompress(r)
				return rc, err
			})
		})
	}
}
