// Package bound is the bound that tools are measured against: the least code
// that does each job with the fewest round trips and one pass over the bytes.
// It has no policy, no signatures, no retries and no checks of what a user
// could get wrong. It is a measure of what a tool could reach, not a tool.
package bound

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
)

// Options choose variants of the bound.
type Options struct {
	Plain  bool // http
	HTTP2  bool // one connection instead of several
	Fsync  bool // the blobs of a layout, or an archive that is not unpacked
	Ranges bool // a large blob over several connections
	Jobs   int  // blobs at once
	Level  int  // gzip level
	Unpack bool // layers of a written archive
}

// Probe does the jobs.
type Probe struct {
	Options
	http *http.Client
}

// New returns a probe.
func New(o Options) *Probe {
	return &Probe{Options: o, http: &http.Client{Transport: registry.Transport(o.HTTP2)}}
}

func (p *Probe) client(ref, actions string) (*registry.Client, string) {
	name, tag := registry.SplitRef(strings.TrimPrefix(ref, "docker://"))
	return registry.New(name, actions, p.Plain, p.http), tag
}

// Digest writes the digest of a manifest to w.
func (p *Probe) Digest(ctx context.Context, ref string, w io.Writer) error {
	c, tag := p.client(ref, "pull")
	d, err := c.ManifestDigest(ctx, tag)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, d)
	return err
}

// Manifest writes the bytes of a manifest to w.
func (p *Probe) Manifest(ctx context.Context, ref string, w io.Writer) error {
	c, tag := p.client(ref, "pull")
	b, _, err := c.Manifest(ctx, tag)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Inspect writes the config of an image to w: the manifest is read for it.
func (p *Probe) Inspect(ctx context.Context, ref string, w io.Writer) error {
	c, tag := p.client(ref, "pull")
	b, _, err := c.Manifest(ctx, tag)
	if err != nil {
		return err
	}
	var m oci.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	r, err := c.Blob(ctx, m.Config.Digest)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// source is where an image is read from.
type source interface {
	root(ctx context.Context) (b []byte, mediaType string, err error)
	child(ctx context.Context, d oci.Descriptor) ([]byte, error)
	blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error)
}

// sink is where an image is written to.
type sink interface {
	digest(ctx context.Context) string // of what is there now, "" if nothing
	put(ctx context.Context, d oci.Descriptor, src source) error
	manifest(ctx context.Context, b []byte, mediaType string, root bool) error
	close() error
}

// Copy copies FROM to TO: docker://HOST/REPO:TAG, oci:DIR:TAG,
// docker-archive:FILE or - (an image stream).
func (p *Probe) Copy(ctx context.Context, from, to string) error {
	if from == "-" {
		c, tag := p.client(to, "pull,push")
		return p.streamIn(ctx, os.Stdin, c, tag)
	}
	if file, ok := strings.CutPrefix(from, "docker-archive:"); ok {
		c, tag := p.client(to, "pull,push")
		return p.pushArchive(ctx, file, c, tag)
	}
	src, err := p.source(from)
	if err != nil {
		return err
	}
	if to == "-" {
		return p.streamOut(ctx, src, os.Stdout)
	}
	if file, ok := strings.CutPrefix(to, "docker-archive:"); ok {
		if p.Unpack {
			return p.writeArchive(ctx, src, file)
		}
		return p.packArchive(ctx, src, file)
	}
	dst, err := p.sink(to, src)
	if err != nil {
		return err
	}
	return p.copy(ctx, src, dst)
}

func (p *Probe) source(s string) (source, error) {
	if strings.HasPrefix(s, "docker://") {
		c, tag := p.client(s, "pull")
		return &remote{probe: p, c: c, tag: tag}, nil
	}
	return parseLayout(s)
}

func (p *Probe) sink(s string, src source) (sink, error) {
	if !strings.HasPrefix(s, "docker://") {
		l, err := parseLayout(s)
		if err != nil {
			return nil, err
		}
		l.fsync = p.Fsync
		return l, oci.MakeLayout(l.dir)
	}
	c, tag := p.client(s, "pull,push")
	r := &remote{probe: p, c: c, tag: tag, from: c.Repo}
	if s, ok := src.(*remote); ok && s.c.Host == c.Host {
		r.from = s.c.Repo
		c.AlsoPull(s.c.Repo)
	}
	return r, nil
}

func parseLayout(s string) (*layout, error) {
	rest, ok := strings.CutPrefix(s, "oci:")
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return nil, fmt.Errorf("%q is not docker://NAME:TAG, oci:DIR:TAG, docker-archive:FILE or -", s)
	}
	return &layout{dir: filepath.Clean(rest[:i]), tag: rest[i+1:]}, nil
}

// tree is a root manifest, the manifests below it and their blobs.
type tree struct {
	raw      []byte
	mt       string
	children []oci.Descriptor
	kids     [][]byte
	blobs    []oci.Descriptor // each once
}

// load reads the manifests below the root, all at once.
func (p *Probe) load(ctx context.Context, src source, raw []byte, mt string) (*tree, error) {
	var m oci.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	t := &tree{raw: raw, mt: mt, children: m.Manifests, kids: make([][]byte, len(m.Manifests))}
	images := []oci.Manifest{m}
	if len(t.kids) > 0 {
		images = make([]oci.Manifest, len(t.kids))
	}
	err := registry.Each(p.Jobs, numbers(len(t.kids)), func(i int) error {
		var err error
		if t.kids[i], err = src.child(ctx, t.children[i]); err != nil {
			return err
		}
		return json.Unmarshal(t.kids[i], &images[i])
	})
	t.collect(images)
	return t, err
}

// collect lists the blobs of the images, each once.
func (t *tree) collect(images []oci.Manifest) {
	seen := map[string]bool{}
	for _, m := range images {
		for _, d := range m.Blobs() {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				t.blobs = append(t.blobs, d)
			}
		}
	}
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// copy asks for the source's manifest and the destination's digest together,
// moves every blob, then the manifests, children first.
func (p *Probe) copy(ctx context.Context, src source, dst sink) error {
	have := make(chan string, 1)
	go func() { have <- dst.digest(ctx) }()
	raw, mt, err := src.root(ctx)
	if err != nil {
		return err
	}
	if <-have == oci.Digest(raw) {
		return nil
	}
	t, err := p.load(ctx, src, raw, mt)
	if err != nil {
		return err
	}
	if err := registry.Each(p.Jobs, t.blobs, func(d oci.Descriptor) error { return dst.put(ctx, d, src) }); err != nil {
		return err
	}
	if err := registry.Each(p.Jobs, numbers(len(t.kids)), func(i int) error {
		return dst.manifest(ctx, t.kids[i], t.children[i].MediaType, false)
	}); err != nil {
		return err
	}
	if err := dst.manifest(ctx, t.raw, t.mt, true); err != nil {
		return err
	}
	return dst.close()
}
