package job

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
	"github.com/imgtools/imgtools/bench/internal/shape"
)

// Check proves the result of the last run, of which stdout is the output, and
// says in a few words what it found.
func (e Env) Check(ctx context.Context, stdout []byte) (string, error) {
	switch e.Job.proof {
	case tagThere:
		return e.checkTag(ctx, e.Net.PlainB, "")
	case tagPiped:
		if !e.Exact {
			return e.checkTag(ctx, e.Net.PlainB, "")
		}
		return e.checkTag(ctx, e.Net.PlainB, e.Root.Digest)
	case tagSame:
		return e.checkTag(ctx, e.Net.PlainB, e.Root.Digest)
	case sameBeside:
		return e.checkTag(ctx, e.Net.PlainA, e.Root.Digest)
	case layoutSame:
		return e.checkLayout()
	case dirSame:
		return e.checkDir()
	case archiveGood:
		return checkArchive(e.Path("x.tar"))
	}
	return e.checkOutput(stdout)
}

func (e Env) checkOutput(stdout []byte) (string, error) {
	text := bytes.TrimSpace(stdout)
	ok := len(text) > 0
	switch e.Job.proof {
	case jsonPrinted:
		ok = json.Valid(text)
	case digestShown:
		ok = bytes.Contains(text, []byte(e.Root.Digest))
	case rawManifest:
		// A tool may end the line; the bytes before must be the manifest's.
		ok = oci.Digest(stdout) == e.Root.Digest || oci.Digest(text) == e.Root.Digest
	}
	if !ok {
		return "", fmt.Errorf("printed %.60q", text)
	}
	return fmt.Sprintf("%d bytes printed", len(stdout)), nil
}

func (e Env) checkTag(ctx context.Context, host, root string) (string, error) {
	c := registry.New(host+"/dst/"+e.Shape, "pull", true, &http.Client{})
	n, err := c.Check(ctx, shape.Tag(e.Shape), root)
	if err != nil {
		return "", err
	}
	d, err := c.ManifestDigest(ctx, shape.Tag(e.Shape))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d objects, %s digest", n, sameWord(d == e.Root.Digest)), nil
}

func sameWord(same bool) string {
	if same {
		return "same"
	}
	return "other"
}

func (e Env) checkLayout() (string, error) {
	dir := e.Path("oci")
	index, err := oci.ReadIndex(dir)
	if err != nil {
		return "", err
	}
	for _, d := range index.Manifests {
		if d.Digest == e.Root.Digest {
			n, err := oci.Verify(dir, d)
			return fmt.Sprintf("%d blobs, same digest", n), err
		}
	}
	return "", fmt.Errorf("%s does not name %s", dir, e.Root.Digest)
}

func (e Env) checkDir() (string, error) {
	dir := e.Path("dir")
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if errors.Is(err, os.ErrNotExist) {
		return e.checkLayout() // the bound writes the same bytes as a layout
	}
	if err != nil {
		return "", err
	}
	if d := oci.Digest(raw); d != e.Root.Digest {
		return "", fmt.Errorf("%s/manifest.json is %s; want %s", dir, d, e.Root.Digest)
	}
	var m oci.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", err
	}
	for _, d := range m.Blobs() {
		st, err := os.Stat(filepath.Join(dir, strings.TrimPrefix(d.Digest, "sha256:")))
		if err != nil {
			return "", err
		}
		if st.Size() != d.Size {
			return "", fmt.Errorf("%s has %d bytes; want %d", st.Name(), st.Size(), d.Size)
		}
	}
	return fmt.Sprintf("%d files, same digest", len(m.Blobs())), nil
}

// checkArchive reads a docker-archive and looks for all that it names.
func checkArchive(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	names := map[string]bool{}
	var list []struct {
		Config string
		Layers []string
	}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		names[h.Name] = true
		if h.Name != "manifest.json" {
			continue
		}
		if err := json.NewDecoder(tr).Decode(&list); err != nil {
			return "", err
		}
	}
	if len(list) != 1 {
		return "", fmt.Errorf("%s: manifest.json names %d images; want 1", path, len(list))
	}
	for _, n := range append(list[0].Layers, list[0].Config) {
		if !names[n] {
			return "", fmt.Errorf("%s: no member %s", path, n)
		}
	}
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d layers, %d MiB", len(list[0].Layers), st.Size()>>20), nil
}
