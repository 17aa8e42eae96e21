package bound

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/klauspost/compress/gzip"
)

// entry of a docker-archive's manifest.json.
type entry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func tarHeader(name string, size int64) ([]byte, error) {
	var b bytes.Buffer
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o444, Size: size, Format: tar.FormatGNU}
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// archiveFile writes a tar whose sizes are patched in afterwards, so that no
// layer needs a temporary file.
type archiveFile struct {
	f   *os.File
	off int64
}

func (a *archiveFile) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(p, a.off)
	a.off += int64(n)
	return n, err
}

func (a *archiveFile) pad() { a.off = (a.off + 511) &^ 511 }

func (a *archiveFile) file(name string, b []byte) error {
	h, err := tarHeader(name, int64(len(b)))
	if err != nil {
		return err
	}
	if _, err := a.Write(append(h, b...)); err != nil {
		return err
	}
	a.pad()
	return nil
}

// writeArchive writes a docker-archive with plain layers, one after the other:
// download, gunzip, and hash with write are three goroutines.
func (p *Probe) writeArchive(ctx context.Context, src source, path string) error {
	raw, _, err := src.root(ctx)
	if err != nil {
		return err
	}
	var m oci.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	cfg, diffIDs, err := readConfig(ctx, src, *m.Config)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a := &archiveFile{f: f}
	e := entry{Config: strings.TrimPrefix(m.Config.Digest, "sha256:") + ".json", RepoTags: []string{"lab/x:v1"}}
	if err := a.file(e.Config, cfg); err != nil {
		return err
	}
	for i, d := range m.Layers {
		name := strings.TrimPrefix(diffIDs[i], "sha256:") + ".tar"
		e.Layers = append(e.Layers, name)
		if err := a.layer(ctx, src, d, name, diffIDs[i]); err != nil {
			return err
		}
	}
	if err := a.file("manifest.json", oci.JSON([]entry{e})); err != nil {
		return err
	}
	return f.Truncate(a.off + 1024)
}

func readConfig(ctx context.Context, src source, d oci.Descriptor) ([]byte, []string, error) {
	r, err := src.blob(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, err
	}
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	err = json.Unmarshal(b, &c)
	return b, c.RootFS.DiffIDs, err
}

func (a *archiveFile) layer(ctx context.Context, src source, d oci.Descriptor, name, diffID string) error {
	at := a.off
	a.off += 512
	start := a.off
	h := sha256.New()
	w := teeWriter{a, h}
	for c := range plainChunks(ctx, src, d) {
		if c.err != nil {
			return c.err
		}
		if _, err := w.Write(c.v); err != nil {
			return err
		}
	}
	if err := checkSum(h, diffID); err != nil {
		return err
	}
	b, err := tarHeader(name, a.off-start)
	if err != nil {
		return err
	}
	a.pad()
	_, err = a.f.WriteAt(b, at)
	return err
}

// plainChunks gives the decompressed bytes of a layer, up to 8 MiB ahead.
func plainChunks(ctx context.Context, src source, d oci.Descriptor) <-chan result[[]byte] {
	out := make(chan result[[]byte], 8)
	go func() {
		defer close(out)
		if err := gunzip(ctx, src, d, out); err != nil {
			out <- result[[]byte]{err: err}
		}
	}()
	return out
}

func gunzip(ctx context.Context, src source, d oci.Descriptor, out chan<- result[[]byte]) error {
	body, err := src.blob(ctx, d)
	if err != nil {
		return err
	}
	defer body.Close()
	pr, pw := io.Pipe()
	defer pr.Close()
	go func() {
		h := sha256.New()
		_, err := io.CopyBuffer(onlyWriter{pw}, &hashReader{body, h}, make([]byte, 256<<10))
		if err == nil {
			err = checkSum(h, d.Digest)
		}
		pw.CloseWithError(err)
	}()
	zr, err := gzip.NewReader(pr)
	if err != nil {
		return err
	}
	for {
		b := make([]byte, 1<<20)
		n, err := io.ReadFull(zr, b)
		if n > 0 {
			out <- result[[]byte]{v: b[:n]}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// meter hashes and counts.
type meter struct {
	h hash.Hash
	n int64
}

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	return m.h.Write(p)
}

func (m *meter) descriptor(mediaType string) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(m.h.Sum(nil)), Size: m.n}
}

// members indexes the files of a tar by their headers; nothing is unpacked.
func members(f *os.File) (map[string]*io.SectionReader, error) {
	files := map[string]*io.SectionReader{}
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		off, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			files[h.Name] = io.NewSectionReader(f, off, h.Size)
		}
	}
}
