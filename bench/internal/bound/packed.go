package bound

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
)

// spot is where a blob goes in a file.
type spot struct {
	d   oci.Descriptor
	off int64
}

// packArchive writes a docker-archive whose layers stay as they are: every
// size, and so every place in the file, is known from the manifest, and blobs
// are written side by side.
func (p *Probe) packArchive(ctx context.Context, src source, path string) error {
	raw, _, err := src.root(ctx)
	if err != nil {
		return err
	}
	var m oci.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a := &archiveFile{f: f}
	e := entry{RepoTags: []string{"lab/x:v1"}}
	var spots []spot
	for _, d := range m.Blobs() {
		name := strings.TrimPrefix(d.Digest, "sha256:")
		if d.Digest == m.Config.Digest {
			e.Config = name
		} else {
			name += ".tar.gz"
			e.Layers = append(e.Layers, name)
		}
		h, err := tarHeader(name, d.Size)
		if err != nil {
			return err
		}
		if _, err := a.Write(h); err != nil {
			return err
		}
		spots = append(spots, spot{d, a.off})
		a.off += d.Size
		a.pad()
	}
	if err := a.file("manifest.json", oci.JSON([]entry{e})); err != nil {
		return err
	}
	if err := f.Truncate(a.off + 1024); err != nil {
		return err
	}
	if err := registry.Each(p.Jobs, spots, func(s spot) error { return fill(ctx, src, s, f) }); err != nil || !p.Fsync {
		return err
	}
	return f.Sync()
}

func fill(ctx context.Context, src source, s spot, f *os.File) error {
	body, err := src.blob(ctx, s.d)
	if err != nil {
		return err
	}
	defer body.Close()
	h := sha256.New()
	w := teeWriter{io.NewOffsetWriter(f, s.off), h}
	if _, err := io.CopyBuffer(w, onlyReader{body}, make([]byte, 512<<10)); err != nil {
		return err
	}
	return checkSum(h, s.d.Digest)
}
