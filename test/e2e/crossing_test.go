package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
)

// images are the samples that are one image, which docker-archive: can hold.
var images = []string{"tiny", "docker", "plain", "zstd", "many", "big"}

// A place is where a copy may lie on this disk.
type place struct {
	name   string
	ref    string   // DIR is a directory of its own, TAG the sample's tag
	shapes []string // that it can hold, nil for all
}

var places = []place{
	{"oci", "oci:DIR/layout:TAG", nil},
	{"dir", "dir:DIR/dir", nil},
	{"oci-archive", "oci-archive:DIR/oci.tar:TAG", nil},
	{"docker-archive", "docker-archive:DIR/docker.tar:sample/TAG:1", images},
}

func (p place) in(dir, tag string) string {
	return strings.NewReplacer("DIR", dir, "TAG", tag).Replace(p.ref)
}

// What is copied must be what the name names, byte for byte, whatever it is:
// from the newest registry to the oldest one supported and back, and into each
// kind of place on a disk and out of it again. Each place has to hold all of
// it, by a reading that is not ours.
func TestCrossing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.All()...)
	older := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	for tag, root := range w.Roots {
		t.Run("2.8/"+tag, func(t *testing.T) {
			t.Parallel()
			copyImage(t, w.at(tag), older.Ref("to/"+tag+":2"))
			holds(t, older, "to/"+tag+":2", root.Digest.String())
			copyImage(t, older.Ref("to/"+tag+":2"), w.Registry.Ref("back/"+tag+":3"))
			holds(t, w.Registry, "back/"+tag+":3", root.Digest.String())
		})
		for _, p := range places {
			if p.shapes != nil && !slices.Contains(p.shapes, tag) {
				continue
			}
			t.Run(p.name+"/"+tag, func(t *testing.T) {
				t.Parallel()
				ref := p.in(harness.Dir(t), tag)
				copyImage(t, w.at(tag), ref)
				mustWhole(t, ref, root.Digest)
				back := "from-" + p.name + "/" + tag + ":1"
				copyImage(t, ref, older.Ref(back))
				holds(t, older, back, root.Digest.String())
			})
		}
		t.Run("stream/"+tag, func(t *testing.T) {
			t.Parallel()
			back := "from-stream/" + tag + ":1"
			mustPipe(t, stage{"img-copy", w.at(tag), "-"}, stage{"img-copy", "-", older.Ref(back)})
			holds(t, older, back, root.Digest.String())
		})
	}
}

// The places must also lead to each other, not only to registries: what one
// kind leaves out may be what another needs.
func TestCrossingOfPlaces(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny(), sample.Docker(), sample.Platforms())
	for tag, root := range l.Roots {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			dir := harness.Dir(t)
			from := l.Ref(tag)
			for _, p := range []int{1, 2, 0, 3, 1, 3, 2, 1, 0} { // each kind after another one
				if p == 3 && tag == "platforms" {
					continue
				}
				to := places[p].in(dir, tag)
				copyImage(t, from, to)
				mustWhole(t, to, root.Digest)
				from = to
			}
		})
	}
}

// An archive holds several images, and taking one out must give that one. A
// name that is not in it, and none where there is a choice, are failures.
func TestSeveralImagesInOneArchive(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny(), sample.Docker(), sample.Many(5)), harness.Dir(t)
	for _, p := range places[2:] {
		t.Run(p.name, func(t *testing.T) {
			for tag := range l.Roots {
				copyImage(t, l.Ref(tag), p.in(dir, tag))
			}
			for tag, root := range l.Roots {
				to := "oci:" + filepath.Join(dir, p.name) + ":" + tag
				copyImage(t, p.in(dir, tag), to)
				mustWhole(t, to, root.Digest)
			}
			all := p.in(dir, "tiny")
			unnamed := all[:strings.Index(all, ".tar")+4]
			fails(t, 3, "img-inspect", p.in(dir, "other"))
			if r := harness.Run(t, nil, "img-inspect", unnamed); r.Code == 0 {
				t.Errorf("img-inspect %s: one of three images was chosen", unnamed)
			}
		})
	}
	// An engine gets them all at once.
	e := harness.Podman(t)
	e.Must(t, nil, "load", "-i", filepath.Join(dir, "docker.tar"))
	names := e.Must(t, nil, "images", "--format={{.Repository}}:{{.Tag}}")
	for tag := range l.Roots {
		if !strings.Contains(names, "sample/"+tag+":1\n") {
			t.Errorf("podman loaded %q; want sample/%s:1 among them", names, tag)
		}
	}
}

// Copies of the same image must be the same file wherever and whenever they are
// made: people compare them, sign them and store them by digest.
func TestArchivesAreReproducible(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Many(40), sample.Platforms())
	for _, tag := range []string{"many", "platforms"} {
		for _, p := range places[2:] {
			t.Run(p.name+"/"+tag, func(t *testing.T) {
				t.Parallel()
				var files [2][]byte
				for i := range files {
					dir := harness.Dir(t)
					copyImage(t, w.at(tag), p.in(dir, tag), "--platform=linux/amd64")
					names := tree(t, dir)
					if len(names) != 1 {
						t.Fatalf("the copy left %q; want the archive alone", names)
					}
					files[i] = slurp(t, filepath.Join(dir, names[0]))
				}
				if !bytes.Equal(files[0], files[1]) {
					t.Error("the same image twice gives two archives")
				}
			})
		}
		t.Run("stream/"+tag, func(t *testing.T) {
			t.Parallel()
			one := harness.Must(t, "img-copy", w.at(tag), "-")
			two := harness.Must(t, "img-copy", "--jobs=1", w.at(tag), "-")
			if one != two {
				t.Error("the same image twice gives two streams")
			}
		})
	}
}

// The stream's order is what lets a reader decide before the first layer, and
// its entries are what lets every other tool read it: img-stream(5).
func TestStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms(), sample.Nested(), sample.Artifact())
	for tag, root := range w.Roots {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			out := harness.Must(t, "img-copy", w.at(tag), "-")
			if !strings.HasSuffix(out, strings.Repeat("\x00", 1024)) || len(out)%512 != 0 {
				t.Error("the stream does not end in two blocks of zeros")
			}
			a, err := readTar(strings.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := a.oci(""); err != nil || got != root.Digest {
				t.Errorf("the stream holds %s, %v; want %s", got, err, root.Digest)
			}
			for _, h := range a.headers {
				if h.Typeflag != '0' || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname+h.Gname != "" || h.ModTime.Unix() != 0 {
					t.Errorf("entry %+v; want a plain file of mode 0644, of root, of 1970", h)
				}
			}
			checkOrder(t, a, root.Digest, tag == "tiny")
		})
	}
}

// checkOrder checks the order of a stream's entries: the head, the manifests
// each before what it points at, the configurations, the layers in order.
func checkOrder(t *testing.T, a archive, root digest.Digest, single bool) {
	t.Helper()
	names := a.names()
	head := []string{"oci-layout", "index.json"}
	if single {
		head = append(head, "manifest.json")
	}
	if !slices.Equal(names[:len(head)], head) {
		t.Errorf("the stream begins with %q; want %q", names[:len(head)], head)
	}
	if slices.Contains(names, "manifest.json") != single {
		t.Errorf("manifest.json in %q; want it for a single image", names)
	}
	manifests, configs, layers := documents(t, a, root)
	var want []string
	want = append(append(append(append(want, head...), manifests...), configs...), layers...)
	if len(names) != len(want) || !slices.Equal(kinds(names, manifests, configs), kinds(want, manifests, configs)) {
		t.Errorf("entries %q; want the kinds of %q", names, want)
	}
	at := func(name string) int { return slices.Index(names, name) }
	for _, m := range manifests {
		children, err := childrenOf(a.files[m])
		if err != nil {
			t.Error(err)
		}
		for _, c := range children {
			if at(blobName(c.Digest)) < at(m) {
				t.Errorf("%s comes before %s, which points at it", c.Digest, m)
			}
		}
	}
	if got := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(layers, n) }); !slices.Equal(got, layers) {
		t.Errorf("layers in the order %q; want that of the manifests, %q", got, layers)
	}
}

func blobName(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// kinds tells which part of a stream each entry is of.
func kinds(names, manifests, configs []string) []string {
	var ks []string
	for _, n := range names {
		switch {
		case slices.Contains(manifests, n):
			n = "manifest"
		case slices.Contains(configs, n):
			n = "config"
		case strings.HasPrefix(n, "blobs/"):
			n = "layer"
		}
		ks = append(ks, n)
	}
	return ks
}

// documents lists the blobs below root by kind, each once.
func documents(t *testing.T, a archive, root digest.Digest) (manifests, configs, layers []string) {
	t.Helper()
	add := func(to *[]string, d digest.Digest) {
		if !slices.Contains(*to, blobName(d)) {
			*to = append(*to, blobName(d))
		}
	}
	var walk func(digest.Digest)
	walk = func(d digest.Digest) {
		add(&manifests, d)
		var m document
		if err := json.Unmarshal(a.files[blobName(d)], &m); err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		for _, c := range m.Manifests {
			walk(c.Digest)
		}
		if m.Config != nil {
			add(&configs, m.Config.Digest)
		}
		for _, y := range m.Layers {
			add(&layers, y.Digest)
		}
	}
	walk(root)
	return manifests, configs, layers
}

// Several kinds of file may be around an archive, and archives come sorted or
// with their head last. A reader has to take them all, seekable or not.
func TestReadArchivesInAnyForm(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny()), harness.Dir(t)
	root := l.Roots["tiny"].Digest
	file := filepath.Join(dir, "plain.tar")
	copyImage(t, l.Ref("tiny"), "oci-archive:"+file+":tiny")
	unpacked := filepath.Join(dir, "files")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "tar", "-xf", file, "-C", unpacked)
	headLast := filepath.Join(dir, "last.tar")
	harness.Must(t, "tar", "-cf", headLast, "-C", unpacked, "blobs", "manifest.json", "oci-layout", "index.json")
	dotted := filepath.Join(dir, "dotted.tar") // names that begin with ./, and directories
	harness.Must(t, "tar", "-cf", dotted, "-C", unpacked, "--format=pax", ".")
	for _, f := range []string{file, headLast, dotted} {
		for _, c := range [][]string{{"cat"}, {"gzip", "-c"}, {"zstd", "-qc"}, {"xz", "-c"}, {"bzip2", "-c"}} {
			t.Run(filepath.Base(f)+"/"+c[0], func(t *testing.T) {
				t.Parallel()
				packed := f + "." + c[0]
				if err := os.WriteFile(packed, []byte(harness.Must(t, c[0], append(c[1:], f)...)), 0o644); err != nil {
					t.Fatal(err)
				}
				for i, from := range []string{"oci-archive:" + packed, "docker-archive:" + packed} {
					to := "oci:" + packed + ".layout:" + []string{"o", "d"}[i]
					copyImage(t, from, to)
					mustWhole(t, to, root)
				}
				to := "dir:" + packed + ".dir"
				mustPipe(t, stage{"cat", packed}, stage{"img-copy", "-", to})
				mustWhole(t, to, root)
			})
		}
	}
}
