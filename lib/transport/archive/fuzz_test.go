package archive

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
)

// Whatever the bytes, both readers come to an end without a panic. What one of
// them takes for an image the other takes for the same, unless it cannot: a
// stream does not take back what it has said.
func FuzzArchive(f *testing.F) {
	o := newOldImage("a")
	f.Add(streamOf(f, tiny(), Options{Name: "x"}))
	f.Add(dockerSave(f, []string{"x:1"}, o))
	f.Add(craneTarball(f, nil, o))
	f.Add(skopeoArchive(f, nil, o))
	f.Add(dockerSave25(f, imagetest.Artifact()))
	f.Add(gzipOf(f, streamOf(f, tiny(), Options{})))
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "a.tar")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		r := NewReader(bytes.NewReader(b), Selection{})
		defer r.Close()
		streamed, serr := take(t.Context(), r)
		src, err := OpenFile(path, Selection{})
		if err != nil {
			return
		}
		defer src.Close()
		filed, ferr := take(t.Context(), src)
		if serr == nil && ferr == nil && streamed.Root.Digest != filed.Root.Digest {
			t.Errorf("a stream gives %s, a file %s", streamed.Root.Digest, filed.Root.Digest)
		}
		if serr == nil && errors.Is(ferr, image.ErrMismatch) {
			t.Errorf("a stream gives %s, a file %v", streamed.Root.Digest, ferr)
		}
	})
}

// What is accepted of manifest.json means the same to a decoder that is less
// strict.
func FuzzDocker(f *testing.F) {
	for _, s := range []string{`[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`, `[{"Config":"c","RepoTags":null,"Layers":null,"LayerSources":{"a":{}}}]`, `[]`, `null`, `[{"config":"c"}]`, `[{"Config":"c"},]`, `[{}]`, `[{"Config":"c"}]x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseDocker(b)
		if err != nil {
			return
		}
		var want []dockerImage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("accepted: %q; json: %v", b, err)
		}
		if g, w := marshal(got), marshal(want); !bytes.Equal(g, w) {
			t.Errorf("parseDocker(%q) = %s; want %s", b, g, w)
		}
		again, err := parseDocker(marshal(got))
		if err != nil || len(again) != len(got) {
			t.Errorf("parseDocker(%s) = %d images, %v", marshal(got), len(again), err)
		}
	})
}
