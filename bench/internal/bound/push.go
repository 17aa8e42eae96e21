package bound

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
	"github.com/klauspost/pgzip"
)

// pushArchive sends a docker-archive to a registry: each layer is compressed
// and hashed once, while it is uploaded.
func (p *Probe) pushArchive(ctx context.Context, path string, c *registry.Client, tag string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	files, err := members(f)
	if err != nil {
		return err
	}
	e, cfg, err := archiveHead(files)
	if err != nil {
		return err
	}
	config := oci.Descriptor{MediaType: oci.TypeConfig, Digest: oci.Digest(cfg), Size: int64(len(cfg))}
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest, Config: &config, Layers: make([]oci.Descriptor, len(e.Layers))}
	if err := registry.Each(2, numbers(len(m.Layers)), func(i int) error {
		r := files[e.Layers[i]]
		if r == nil {
			return fmt.Errorf("%s: no member %s", path, e.Layers[i])
		}
		var err error
		m.Layers[i], err = p.pushLayer(ctx, c, r)
		return err
	}); err != nil {
		return err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(cfg)), nil }
	if err := c.PutBlob(ctx, config, open); err != nil {
		return err
	}
	return c.PutManifest(ctx, tag, oci.TypeManifest, oci.JSON(m))
}

func archiveHead(files map[string]*io.SectionReader) (entry, []byte, error) {
	var list []entry
	r := files["manifest.json"]
	if r == nil {
		return entry{}, nil, fmt.Errorf("no manifest.json")
	}
	if err := json.NewDecoder(r).Decode(&list); err != nil {
		return entry{}, nil, err
	}
	if len(list) != 1 || files[list[0].Config] == nil {
		return entry{}, nil, fmt.Errorf("manifest.json names %d images; want one with its config", len(list))
	}
	cfg, err := io.ReadAll(files[list[0].Config])
	return list[0], cfg, err
}

func (p *Probe) pushLayer(ctx context.Context, c *registry.Client, r io.Reader) (oci.Descriptor, error) {
	location, _, err := c.StartUpload(ctx, "", "")
	if err != nil {
		return oci.Descriptor{}, err
	}
	pr, pw := io.Pipe()
	out := &meter{h: sha256.New()}
	go func() { pw.CloseWithError(p.compress(io.MultiWriter(out, pw), r)) }()
	if location, err = c.PatchUpload(ctx, location, pr); err != nil {
		return oci.Descriptor{}, err
	}
	d := out.descriptor(oci.TypeLayer)
	return d, c.PutUpload(ctx, location, d.Digest, http.NoBody, 0)
}

func (p *Probe) compress(w io.Writer, r io.Reader) error {
	zw, err := pgzip.NewWriterLevel(w, p.Level)
	if err != nil {
		return err
	}
	if err := zw.SetConcurrency(1<<20, 3); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(onlyWriter{zw}, onlyReader{r}, make([]byte, 1<<20)); err != nil {
		return err
	}
	return zw.Close()
}
