package shape

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/klauspost/compress/gzip"
)

// layer is one generated layer: its blob and the digest of its plain tar.
type layer struct {
	desc   oci.Descriptor
	diffID string
}

// meter hashes and counts what is written to it.
type meter struct {
	h hash.Hash
	n int64
}

func newMeter() *meter { return &meter{h: sha256.New()} }

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	return m.h.Write(p)
}

func (m *meter) digest() string { return "sha256:" + hex.EncodeToString(m.h.Sum(nil)) }

// makeLayer writes one layer of about size plain bytes into the layout dir.
func makeLayer(dir string, seed uint64, size int64) (layer, error) {
	f, err := os.CreateTemp(dir, "layer")
	if err != nil {
		return layer{}, err
	}
	defer f.Close()
	buf := bufio.NewWriterSize(f, 1<<20)
	packed, plain := newMeter(), newMeter()
	zw, err := gzip.NewWriterLevel(io.MultiWriter(buf, packed), 6)
	if err != nil {
		return layer{}, err
	}
	if err := writeTar(io.MultiWriter(zw, plain), seed, size); err != nil {
		return layer{}, err
	}
	if err := zw.Close(); err != nil {
		return layer{}, err
	}
	if err := buf.Flush(); err != nil {
		return layer{}, err
	}
	if err := f.Chmod(0o644); err != nil {
		return layer{}, err
	}
	d := oci.Descriptor{MediaType: oci.TypeLayer, Digest: packed.digest(), Size: packed.n}
	return layer{d, plain.digest()}, os.Rename(f.Name(), oci.BlobPath(dir, d.Digest))
}

// makeLayers makes n layers with the seeds base, base+1, …, two at a time.
func makeLayers(dir string, base uint64, n int, size int64) ([]layer, error) {
	out := make([]layer, n)
	errs := make(chan error, n)
	slots := make(chan struct{}, 2)
	for i := range n {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var err error
			out[i], err = makeLayer(dir, base+uint64(i), size)
			errs <- err
		}()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return out, first
}

type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// makeImage writes config and manifest of an image and returns its descriptor.
func makeImage(dir, arch, note string, layers []layer) (oci.Descriptor, error) {
	const created = "2023-11-14T22:13:20Z"
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest}
	diff, hist := []string{}, []history{}
	for i, l := range layers {
		diff = append(diff, l.diffID)
		hist = append(hist, history{created, fmt.Sprintf("bench layer %d", i)})
		m.Layers = append(m.Layers, l.desc)
	}
	cfg, err := oci.WriteBlob(dir, oci.TypeConfig, oci.JSON(map[string]any{
		"architecture": arch, "os": "linux", "created": created,
		"config": map[string]any{"Cmd": []string{"/data"}, "Labels": map[string]string{"note": note}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diff}, "history": hist,
	}))
	if err != nil {
		return cfg, err
	}
	m.Config = &cfg
	return oci.WriteBlob(dir, oci.TypeManifest, oci.JSON(m))
}
