package sample

import (
	"archive/tar"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// created is the date of everything here.
var created = time.Unix(1_700_000_000, 0).UTC()

// form is how a layer is stored.
type form int

const (
	gzipped form = iota
	stored       // gzip that does not compress: as large as it is cheap to make
	plain
	zstded
)

// layer describes a layer's content: one directory with two files.
type layer struct {
	name string
	size int64 // of its larger file, in bytes
	form form
}

// put stores the layer and returns its descriptor and the digest of its tar.
func (y layer) put(l *layout, mediaType string) (v1.Descriptor, digest.Digest, error) {
	diff := digest.SHA256.Digester()
	d, err := l.put(mediaType, func(w io.Writer) error {
		z, err := y.form.writer(w)
		if err != nil {
			return err
		}
		if err := y.writeTar(io.MultiWriter(z, diff.Hash())); err != nil {
			return err
		}
		return z.Close()
	})
	return d, diff.Digest(), err
}

func (f form) writer(w io.Writer) (io.WriteCloser, error) {
	switch f {
	case gzipped:
		return gzip.NewWriter(w), nil
	case stored:
		return gzip.NewWriterLevel(w, gzip.NoCompression)
	case zstded:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return nopCloser{w}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func (y layer) writeTar(w io.Writer) error {
	t := tar.NewWriter(w)
	dir := &tar.Header{Name: "opt/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: created}
	if err := t.WriteHeader(dir); err != nil {
		return err
	}
	note := "layer " + y.name + "\n"
	err := writeFile(t, "opt/"+y.name+".txt", int64(len(note)), func() error {
		_, err := io.WriteString(t, note)
		return err
	})
	if err != nil {
		return err
	}
	err = writeFile(t, "opt/"+y.name+".dat", y.size, func() error { return y.writeData(t) })
	if err != nil {
		return err
	}
	return t.Close()
}

func writeFile(t *tar.Writer, name string, size int64, body func() error) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: created}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	return body()
}

// writeData writes y.size bytes of text that no two layers share. Large data
// is one block over and over with a count in front of each, which costs little
// more than the copying.
func (y layer) writeData(w io.Writer) error {
	h := fnv.New64a()
	io.WriteString(h, y.name)
	r := rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), h.Sum64())))
	raw := make([]byte, min(y.size, 1<<20)/2+1)
	r.Read(raw)
	block := hex.AppendEncode(nil, raw)
	for n, left := 0, y.size; left > 0; n++ {
		if len(block) > 16 {
			copy(block, fmt.Sprintf("%016x", n))
		}
		part := block[:min(left, int64(len(block)))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		left -= int64(len(part))
	}
	return nil
}
