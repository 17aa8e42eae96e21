package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// An old image is what archives without manifests are made of: a
// configuration, and layers that are not compressed.
type oldImage struct {
	config []byte
	layers [][]byte
}

func newOldImage(names ...string) oldImage {
	var o oldImage
	for _, n := range names {
		plain, _ := imagetest.Layer(n, bytes.Repeat([]byte(n+"\n"), 300))
		o = o.with(plain)
	}
	return o
}

// with has one layer more.
func (o oldImage) with(layer []byte) oldImage {
	layers := append(slices.Clone(o.layers), layer)
	var ids []digest.Digest
	for _, l := range layers {
		ids = append(ids, digest.FromBytes(l))
	}
	config, _ := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/x"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	return oldImage{config, layers}
}

func (o oldImage) diffID(i int) string { return digest.FromBytes(o.layers[i]).Encoded() }
func (o oldImage) id() string          { return digest.FromBytes(o.config).Encoded() }

// gzipped returns the layers compressed.
func (o oldImage) gzipped(t testing.TB) [][]byte {
	var all [][]byte
	for _, l := range o.layers {
		all = append(all, gzipOf(t, l))
	}
	return all
}

func gzipOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func view(t testing.TB, images ...dockerImage) []byte {
	t.Helper()
	b, err := json.Marshal(images)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dockerSave is what docker save wrote from 1.10 to 24: a directory for each
// layer, with documents of the time before manifest.json, sorted by name, and
// what is to be read first at the end.
func dockerSave(t testing.TB, tags []string, o oldImage) []byte {
	e := dockerImage{Config: o.id() + ".json", RepoTags: tags}
	var all []member
	for i := range o.layers {
		id := digest.FromString(fmt.Sprint("v1 id ", i)).Encoded()
		all = append(all,
			member{name: id + "/", kind: tar.TypeDir},
			member{name: id + "/VERSION", body: []byte("1.0")},
			member{name: id + "/json", body: []byte(`{"id":"` + id + `"}`)},
			member{name: id + "/layer.tar", body: o.layers[i]})
		e.Layers = append(e.Layers, id+"/layer.tar")
	}
	all = append(all, member{name: o.id() + ".json", body: o.config})
	slices.SortStableFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	all = append(all, member{name: dockerName, body: view(t, e)}, member{name: "repositories", body: []byte(`{"a":{"b":"c"}}`)})
	return tarOf(t, all...)
}

// skopeoArchive is what skopeo and podman write: layers named by their digest,
// links in the old places.
func skopeoArchive(t testing.TB, tags []string, o oldImage) []byte {
	e := dockerImage{Config: o.id() + ".json", RepoTags: tags}
	var all []member
	for i := range o.layers {
		name := o.diffID(i) + ".tar"
		all = append(all, member{name: name, body: o.layers[i]})
		e.Layers = append(e.Layers, name)
	}
	all = append(all, member{name: o.id() + ".json", body: o.config})
	for i := range o.layers {
		id := digest.FromString(fmt.Sprint("chain ", i)).Encoded()
		all = append(all, member{name: id + "/layer.tar", link: "../" + o.diffID(i) + ".tar"},
			member{name: id + "/VERSION", body: []byte("1.0")}, member{name: id + "/json", body: []byte(`{"id":"x"}`)})
	}
	return tarOf(t, append(all, member{name: dockerName, body: view(t, e)}, member{name: "repositories", body: []byte(`{}`)})...)
}

// linkedLayers is what older Docker wrote for layers that it had saved before:
// manifest.json itself names links.
func linkedLayers(t testing.TB, o oldImage, kind byte) []byte {
	e := dockerImage{Config: "c.json", Layers: []string{"one/layer.tar", "two/layer.tar", "three/layer.tar"}}
	target := "../one/layer.tar"
	if kind == tar.TypeLink {
		target = "one/layer.tar"
	}
	return tarOf(t,
		member{name: "one/layer.tar", body: o.layers[0]},
		member{name: "two/layer.tar", body: o.layers[1]},
		member{name: "three/layer.tar", link: target, kind: kind},
		member{name: "c.json", body: o.config},
		member{name: dockerName, body: view(t, e)})
}

// craneTarball is crane's: compressed layers, a configuration with a digest
// for a name.
func craneTarball(t testing.TB, tags []string, o oldImage) []byte {
	e := dockerImage{Config: "sha256:" + o.id(), RepoTags: tags}
	all := []member{{name: e.Config, body: o.config}}
	for _, z := range o.gzipped(t) {
		name := digest.FromBytes(z).Encoded() + ".tar.gz"
		all = append(all, member{name: name, body: z})
		e.Layers = append(e.Layers, name)
	}
	return tarOf(t, append(all, member{name: dockerName, body: view(t, e)})...)
}

// wantMade fails unless src gives the Docker manifest made of the
// configuration and these layers.
func wantMade(t *testing.T, src image.Source, o oldImage, mediaType string, layers [][]byte) {
	t.Helper()
	got, err := take(t.Context(), src)
	if err != nil {
		t.Errorf("read: %v", err)
		return
	}
	if !image.Made(src) {
		t.Errorf("Made() = false; there was no manifest to be read")
	}
	m, err := oci.Parse(got.Manifests[got.Root.Digest])
	if err != nil {
		t.Fatal(err)
	}
	if m.MediaType != oci.MediaTypeDockerManifest || m.Config.Digest != digest.FromBytes(o.config) || len(m.Layers) != len(layers) {
		t.Fatalf("manifest is %s with config %s and %d layers; want %s, sha256:%s, %d", m.MediaType, m.Config.Digest, len(m.Layers), oci.MediaTypeDockerManifest, o.id(), len(layers))
	}
	for i, l := range m.Layers {
		want := oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(layers[i]), Size: int64(len(layers[i]))}
		if l.MediaType != want.MediaType || l.Digest != want.Digest || l.Size != want.Size || !bytes.Equal(got.Blobs[l.Digest], layers[i]) {
			t.Errorf("layer %d is %+v; want %+v", i, l, want)
		}
	}
}

// Archives of every age that has been seen are read, from a file as from a
// pipe, and give the same manifest both ways.
func TestDockerArchives(t *testing.T) {
	o := newOldImage("base", "middle", "top")
	tags := []string{"foo/bar:1"}
	twice := newOldImage("base", "middle", "base")
	for name, tt := range map[string]struct {
		tar       []byte
		o         oldImage
		mediaType string
		layers    [][]byte
	}{
		"docker save 1.10 to 24": {dockerSave(t, tags, o), o, oci.MediaTypeDockerLayer, o.layers},
		"no names":               {dockerSave(t, nil, o), o, oci.MediaTypeDockerLayer, o.layers},
		"skopeo, podman":         {skopeoArchive(t, tags, o), o, oci.MediaTypeDockerLayer, o.layers},
		"symbolic links":         {linkedLayers(t, twice, tar.TypeSymlink), twice, oci.MediaTypeDockerLayer, twice.layers},
		"hard links":             {linkedLayers(t, twice, tar.TypeLink), twice, oci.MediaTypeDockerLayer, twice.layers},
		"crane":                  {craneTarball(t, tags, o), o, oci.MediaTypeDockerLayerGzip, o.gzipped(t)},
	} {
		for _, v := range []View{Any, Docker} {
			for kind, src := range readers(t, tt.tar, Selection{View: v}) {
				t.Run(fmt.Sprintf("%s/%s/%d", name, kind, v), func(t *testing.T) { wantMade(t, src, tt.o, tt.mediaType, tt.layers) })
			}
		}
		for kind, src := range readers(t, tt.tar, Selection{View: OCI}) {
			if _, err := take(t.Context(), src); !errors.Is(err, image.ErrIncomplete) {
				t.Errorf("%s/%s: as an OCI archive: %v; want %v", name, kind, err, image.ErrIncomplete)
			}
		}
	}
}

// dockerSave25 is what docker save writes since version 25, and containerd and
// BuildKit: a layout whose members are sorted by name, with directories.
func dockerSave25(t testing.TB, c *imagetest.Content) []byte {
	all := []member{{name: "blobs/", kind: tar.TypeDir}, {name: "blobs/sha256/", kind: tar.TypeDir}}
	tags := []string{"docker.io/foo/bar:1"}
	for _, m := range membersOf(t, streamOf(t, c, Options{Name: "1"})) {
		if m.name != indexName && m.name != dockerName {
			all = append(all, m)
		}
	}
	tree := treeOf(t, c)
	index, _ := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{map[string]any{
		"mediaType": tree.Desc.MediaType, "digest": tree.Desc.Digest, "size": tree.Desc.Size,
		"annotations": map[string]string{"io.containerd.image.name": tags[0], "org.opencontainers.image.ref.name": "1"},
	}}})
	all = append(all, member{name: indexName, body: index})
	if m := single(tree); m != nil {
		all = append(all, member{name: dockerName, body: view(t, dockerView(m, tags))})
	}
	slices.SortStableFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return tarOf(t, append(all, member{name: "repositories", body: []byte(`{}`)})...)
}

// reorder returns the tar with its members in another order and other names.
func reorder(t testing.TB, b []byte, rename func(string) string, less func(a, b member) int) []byte {
	all := membersOf(t, b)
	slices.SortStableFunc(all, less)
	for i := range all {
		all[i].name = rename(all[i].name)
	}
	return tarOf(t, all...)
}

// Layouts in a tar keep their digests in whatever order their members come,
// and by either view.
func TestLayouts(t *testing.T) {
	same := func(s string) string { return s }
	byName := func(a, b member) int { return strings.Compare(a.name, b.name) }
	for name, c := range imagetest.Everything() {
		b := streamOf(t, c, Options{Name: "1"})
		forms := map[string][]byte{
			"ours":     b,
			"sorted":   reorder(t, b, same, byName),
			"reversed": reorder(t, b, same, func(a, b member) int { return strings.Compare(b.name, a.name) }),
			"umoci":    reorder(t, b, func(s string) string { return "./" + s }, byName),
			"docker25": dockerSave25(t, c),
		}
		for form, b := range forms {
			for _, v := range []View{Any, OCI, Docker} {
				if v == Docker && (name == "index" || name == "list" || name == "nested" || name == "artifact") {
					continue // has no docker view
				}
				for kind, src := range readers(t, b, Selection{View: v}) {
					t.Run(fmt.Sprintf("%s/%s/%s/%d", name, form, kind, v), func(t *testing.T) {
						got, err := take(t.Context(), src)
						if err != nil {
							t.Fatal(err)
						}
						sameImage(t, got, c)
					})
				}
			}
		}
	}
}

// Compression around the whole is undone on the way, whatever it is.
func TestCompressedArchives(t *testing.T) {
	c := imagetest.Image()
	plain := streamOf(t, c, Options{})
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string][]byte{"gzip": gzipOf(t, plain), "zstd": enc.EncodeAll(plain, nil)}
	for _, program := range []string{"xz", "bzip2"} {
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(plain)
		if forms[program], err = cmd.Output(); err != nil {
			t.Fatalf("%s: %v", program, err)
		}
	}
	for name, b := range forms {
		for kind, src := range readers(t, b, Selection{}) {
			if _, ok := src.(*Reader); !ok {
				t.Errorf("%s: a compressed file is a %T; want *Reader", name, src)
			}
			got, err := take(t.Context(), src)
			if err != nil {
				t.Errorf("%s/%s: %v", name, kind, err)
				continue
			}
			sameImage(t, got, c)
		}
		for n := range []int{1, 100, len(b) - 1} {
			if _, err := take(t.Context(), NewReader(bytes.NewReader(b[:n]), Selection{})); err == nil {
				t.Errorf("%s: cut to %d bytes it was taken for whole", name, n)
			}
		}
	}
}

// A pipe that gives one byte at a time is read as one that gives all at once.
func TestOneByteReads(t *testing.T) {
	c := imagetest.Nested()
	b := streamOf(t, c, Options{})
	got, err := take(t.Context(), NewReader(oneByte{bytes.NewReader(b)}, Selection{}))
	if err != nil {
		t.Fatal(err)
	}
	sameImage(t, got, c)
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.Reader.Read(p[:1])
}

// The layer is read anew from any place in it, for transfers that broke off.
func TestBlobAt(t *testing.T) {
	c := imagetest.Image()
	src, err := OpenFile(fileOf(t, streamOf(t, c, Options{})), Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := treeOf(t, c).Manifest.Layers[0]
	want := c.Blobs[d.Digest]
	for _, offset := range []int64{0, 1, d.Size - 1, d.Size} {
		rc, err := image.BlobAt(t.Context(), src, d, offset)
		if err != nil {
			t.Fatalf("BlobAt(%d): %v", offset, err)
		}
		if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, want[offset:]) {
			t.Errorf("BlobAt(%d) = %d bytes, %v; want %d", offset, len(got), err, len(want[offset:]))
		}
	}
	for _, offset := range []int64{-1, d.Size + 1} {
		if _, err := image.BlobAt(t.Context(), src, d, offset); err == nil {
			t.Errorf("BlobAt(%d) succeeded", offset)
		}
	}
	if _, err := src.Blob(t.Context(), oci.Descriptor{Digest: digest.FromString("x")}); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("Blob of something else: %v; want %v", err, image.ErrNotFound)
	}
	if _, err := src.Blob(t.Context(), oci.Descriptor{Digest: "sha256:../../x"}); err == nil {
		t.Errorf("a digest that is a path was accepted")
	}
}

// A sparse index, as ctr and docker write it for one platform out of several,
// can still be read where its manifests are; the rest is not there.
func TestSparse(t *testing.T) {
	c := imagetest.DockerList()
	tree := treeOf(t, c)
	lost := tree.Kids[1]
	var kept []member
	for _, m := range membersOf(t, streamOf(t, c, Options{})) {
		if m.name != blobName(lost.Desc.Digest) && m.name != blobName(lost.Manifest.Config.Digest) {
			kept = append(kept, m)
		}
	}
	// Docker's own view names the platform that is there.
	kept = append(kept, member{name: dockerName, body: view(t, dockerView(tree.Kids[0].Manifest, nil))})
	b := tarOf(t, kept...)
	for kind, src := range readers(t, b, Selection{}) {
		if _, err := take(t.Context(), src); err == nil {
			t.Errorf("%s: all of a sparse index was read", kind)
		}
	}
	for kind, src := range readers(t, b, Selection{View: Docker}) {
		got, err := take(t.Context(), src)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if got.Root.Digest != tree.Kids[0].Desc.Digest {
			t.Errorf("%s: root is %s; want %s", kind, got.Root.Digest, tree.Kids[0].Desc.Digest)
		}
	}
}

// What is not of an image may be in the tar, large or small, packed or not.
func TestStrangers(t *testing.T) {
	o := newOldImage("a")
	pax, _ := imagetest.Layer(strings.Repeat("long/", 60)+"x", []byte("x")) // begins with a pax header
	for _, stranger := range []member{
		{name: "README", body: []byte("text")},
		{name: "notes.json", body: []byte(`{"a":1}`)},
		{name: "list.json", body: []byte(`[1,2]`)},
		{name: "a.tar.xz", body: []byte("\xfd7zXZ\x00 and so on")},
		{name: "a.tgz", body: gzipOf(t, []byte("x"))},
		{name: "other", body: pax},
		{name: "empty"},
		{name: "device", kind: tar.TypeChar},
		{name: "fifo", kind: tar.TypeFifo},
		{name: "blobs/sha256", link: "../elsewhere"},
		{name: blobName(digest.FromString("stranger")), body: []byte("stranger")},
	} {
		for _, b := range [][]byte{dockerSave(t, nil, o), streamOf(t, tiny(), Options{})} {
			all := append([]member{stranger}, membersOf(t, b)...)
			for kind, src := range readers(t, tarOf(t, all...), Selection{}) {
				if _, err := take(t.Context(), src); err != nil {
					t.Errorf("%s/%s: %v", stranger.name, kind, err)
				}
			}
		}
	}
}

func TestEmptyAndForeignFiles(t *testing.T) {
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("hello, world\n"), "zeros": make([]byte, 100), "binary": bytes.Repeat([]byte{1, 2, 3, 0xff}, 1000)} {
		for kind, src := range readers(t, b, Selection{}) {
			if _, err := take(t.Context(), src); err == nil {
				t.Errorf("%s/%s: it was taken for an archive", name, kind)
			}
		}
	}
	if _, err := OpenFile(t.TempDir()+"/x", Selection{View: OCI}); err == nil || !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "archive file not found: ") {
		t.Errorf("OpenFile of nothing: %v", err)
	}
}
