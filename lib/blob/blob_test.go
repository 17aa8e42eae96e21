package blob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// noise returns n bytes, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func describe(b []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// readers hand out the same bytes in all the ways that io.Reader allows.
var readers = map[string]func(io.Reader) io.Reader{
	"whole":         func(r io.Reader) io.Reader { return r },
	"halves":        iotest.HalfReader,
	"one byte":      iotest.OneByteReader,
	"EOF with data": iotest.DataErrReader,
}

func TestVerify(t *testing.T) {
	good := noise(5000)
	for name, tt := range map[string]struct {
		bytes []byte
		desc  oci.Descriptor
		err   error
	}{
		"good":           {good, describe(good), nil},
		"empty":          {nil, describe(nil), nil},
		"size unknown":   {good, oci.Descriptor{Digest: describe(good).Digest, Size: -1}, nil},
		"sha512":         {good, oci.Descriptor{Digest: digest.SHA512.FromBytes(good), Size: 5000}, nil},
		"changed":        {append([]byte{good[0] ^ 1}, good[1:]...), describe(good), ErrMismatch},
		"short":          {good[:4999], describe(good), ErrMismatch},
		"long":           {append(bytes.Clone(good), 0), describe(good), ErrMismatch},
		"nothing":        {nil, describe(good), ErrMismatch},
		"size lies up":   {good, oci.Descriptor{Digest: describe(good).Digest, Size: 6000}, ErrMismatch},
		"size lies down": {good, oci.Descriptor{Digest: describe(good).Digest, Size: 4000}, ErrMismatch},
	} {
		for how, wrap := range readers {
			b, err := Verify(&Blob{Desc: tt.desc, Reader: wrap(bytes.NewReader(tt.bytes))})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(b)
			if !errors.Is(err, tt.err) {
				t.Errorf("%s, %s: %v; want %v", name, how, err, tt.err)
			}
			if tt.desc.Size >= 0 && int64(len(got)) > tt.desc.Size {
				t.Errorf("%s, %s: gave out %d bytes of %d promised", name, how, len(got), tt.desc.Size)
			}
			if _, again := b.Read(make([]byte, 1)); err != nil && !errors.Is(again, tt.err) {
				t.Errorf("%s, %s: read again: %v; want %v", name, how, again, tt.err)
			}
		}
	}
	if _, err := Verify(&Blob{Desc: oci.Descriptor{Digest: "sha256:../x"}}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("a digest that is a path: %v", err)
	}
}

// An error of the reader must stay what it is, and never look like the end.
func TestVerifyKeepsErrors(t *testing.T) {
	good, broken := noise(100), errors.New("broken")
	b, err := Verify(&Blob{Desc: describe(good), Reader: io.MultiReader(bytes.NewReader(good[:50]), iotest.ErrReader(broken))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(b); err != broken {
		t.Errorf("read: %v; want %v", err, broken)
	}
}

func TestMeasure(t *testing.T) {
	good := noise(3000)
	for how, wrap := range readers {
		b, err := Verify(&Blob{Desc: oci.Descriptor{MediaType: "x/y", Size: 3000}, Reader: wrap(bytes.NewReader(good))})
		if err != nil {
			t.Fatal(err)
		}
		if b.Known() {
			t.Errorf("%s: known before it was read", how)
		}
		if _, err := Copy(io.Discard, b); err != nil {
			t.Fatal(err)
		}
		if want := describe(good); b.Desc.Digest != want.Digest || b.Desc.Size != 3000 || b.Desc.MediaType != "x/y" {
			t.Errorf("%s: measured %v; want %v", how, b.Desc, want)
		}
	}
	b, _ := Measure(&Blob{Desc: oci.Descriptor{Size: 4000}, Reader: bytes.NewReader(good)})
	if _, err := io.ReadAll(b); !errors.Is(err, ErrMismatch) {
		t.Errorf("3000 bytes where 4000 were promised: %v", err)
	}
}

func TestReadAll(t *testing.T) {
	good := noise(100)
	if b, err := ReadAll(bytes.NewReader(good), describe(good), 100); err != nil || !bytes.Equal(b, good) {
		t.Errorf("ReadAll = %d bytes, %v", len(b), err)
	}
	if _, err := ReadAll(bytes.NewReader(good), describe(good), 99); !errors.Is(err, ErrTooLarge) {
		t.Errorf("ReadAll of a large blob: %v; want %v", err, ErrTooLarge)
	}
	endless := iotest.HalfReader(rand.NewChaCha8([32]byte{}))
	if _, err := ReadLimited(endless, 1<<16); !errors.Is(err, ErrTooLarge) {
		t.Errorf("ReadLimited of an endless reader: %v; want %v", err, ErrTooLarge)
	}
}

// Content that is read again from the middle is verified from its first byte:
// both parts must be right, wherever the break was.
func TestReopen(t *testing.T) {
	good := noise(10<<20 + 77)
	reopen := func(content []byte) func(int64) (io.ReadCloser, error) {
		return func(off int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content[off:])), nil }
	}
	bad := bytes.Clone(good)
	bad[len(bad)-1] ^= 1
	for _, stop := range []int{0, 1, 1 << 20, 5 << 20, 9 << 20, len(good) - 1} {
		for _, back := range []int{0, 1, 3 << 20} {
			from := max(0, stop-back)
			for _, tt := range []struct {
				content []byte
				err     error
			}{{good, nil}, {bad, ErrMismatch}} {
				b, err := Verify(&Blob{Desc: describe(good), Reader: bytes.NewReader(good), Reopen: reopen(tt.content)})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, b, int64(stop)); err != nil {
					t.Fatal(err)
				}
				rc, err := b.Reopen(int64(from))
				if err != nil {
					t.Fatalf("Reopen(%d): %v", from, err)
				}
				rest, err := io.ReadAll(rc)
				if !errors.Is(err, tt.err) || err == nil && !bytes.Equal(rest, good[from:]) {
					t.Errorf("stopped at %d, reopened at %d: %d bytes, %v; want %d, %v", stop, from, len(rest), err, len(good)-from, tt.err)
				}
			}
		}
	}
}

func TestSpool(t *testing.T) {
	dir, good := t.TempDir(), noise(200_000)
	b, err := Spool(dir)(&Blob{Desc: oci.Descriptor{MediaType: "x/y", Size: -1}, Reader: bytes.NewReader(good)})
	if err != nil {
		t.Fatal(err)
	}
	if want := describe(good); b.Desc.Digest != want.Digest || b.Desc.Size != want.Size {
		t.Errorf("spooled %v; want %v", b.Desc, want)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("the file has a name: %v", names)
	}
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, good) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	known := &Blob{Desc: describe(good)}
	if b, err := Spool("/nonexistent")(known); b != known || err != nil {
		t.Errorf("a blob that is known was spooled: %v", err)
	}
	if _, err := Spool("/nonexistent")(&Blob{Desc: oci.Descriptor{Size: -1}}); err == nil {
		t.Errorf("spooled into a directory that is not there")
	}
}

// A spooled blob that nobody reads to its end must not keep its file open.
func TestSpoolGivenUp(t *testing.T) {
	free := 0
	b := &Blob{Desc: oci.Descriptor{Size: -1}, Reader: bytes.NewReader(noise(1000)), free: func() { free++ }}
	s, err := Spool(t.TempDir())(b)
	if err != nil {
		t.Fatal(err)
	}
	s.Free()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read of a freed file: %v; want %v", err, os.ErrClosed)
	}
	if free == 0 {
		t.Errorf("what stood before the spool was not freed")
	}
}

func BenchmarkVerify(b *testing.B) {
	content := noise(8 << 20)
	b.SetBytes(int64(len(content)))
	for range b.N {
		v, err := Verify(&Blob{Desc: describe2(content), Reader: bytes.NewReader(content)})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Copy(io.Discard, v); err != nil {
			b.Fatal(err)
		}
	}
}

var described = map[int]oci.Descriptor{}

func describe2(b []byte) oci.Descriptor {
	d, ok := described[len(b)]
	if !ok {
		d = describe(b)
		described[len(b)] = d
	}
	return d
}

func ExampleVerify() {
	content := []byte("hello")
	b, _ := Verify(&Blob{Desc: describe(content), Reader: bytes.NewReader([]byte("jello"))})
	_, err := io.ReadAll(b)
	fmt.Println(errors.Is(err, ErrMismatch))
	// Output: true
}
