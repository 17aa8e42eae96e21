package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// regctl wants to be told of plain HTTP.
func regctl(r *harness.Registry, args ...string) stage {
	return append(stage{"regctl", "--host", "reg=" + r.Addr + ",tls=disabled"}, args...)
}

// peerShapes are all samples, but one of fewer layers: peers take long for many.
func peerShapes() []sample.Shape {
	return append(slices.DeleteFunc(sample.All(), func(s sample.Shape) bool { return s.Name == "many" }), sample.Many(20))
}

// A reading is how a peer reads what we wrote. Most put it into a registry, so
// that what they understood can be compared, whole, with what it should be.
type reading struct {
	name   string
	place  string // that we wrote: a name of places, or "registry" or "stream"
	except []string
	// read returns the command that puts the place, which lies in dir, into
	// the registry as name.
	read func(dir, tag string, to *harness.Registry, name string) stage
}

// skopeoCannot lists what skopeo 1.9 does not read out of a layout: an index of
// an index, and what has Docker's media types in index.json, which later
// versions do.
var skopeoCannot = []string{"nested", "docker", "list"}

var readings = []reading{
	{"skopeo", "oci", skopeoCannot, func(dir, tag string, to *harness.Registry, name string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:" + dir + "/layout:" + tag, to.Ref(name)}
	}},
	{"crane", "oci", nil, func(dir, _ string, to *harness.Registry, name string) stage {
		return stage{"crane", "push", dir + "/layout", to.Addr + "/" + name}
	}},
	{"regctl", "oci", nil, func(dir, tag string, to *harness.Registry, name string) stage {
		return regctl(to, "image", "copy", "ocidir://"+dir+"/layout:"+tag, to.Addr+"/"+name)
	}},
	{"skopeo", "dir", []string{"nested"}, func(dir, _ string, to *harness.Registry, name string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "dir:" + dir + "/dir", to.Ref(name)}
	}},
	{"skopeo", "oci-archive", skopeoCannot, func(dir, tag string, to *harness.Registry, name string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:" + dir + "/oci.tar:" + tag, to.Ref(name)}
	}},
	{"regctl", "oci-archive", nil, func(dir, tag string, to *harness.Registry, name string) stage {
		return regctl(to, "image", "import", to.Addr+"/"+name, dir+"/oci.tar")
	}},
	{"skopeo", "stream", []string{"nested"}, func(dir, _ string, to *harness.Registry, name string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:" + dir + "/stream", to.Ref(name)}
	}},
	{"regctl", "stream", nil, func(dir, tag string, to *harness.Registry, name string) stage {
		return regctl(to, "image", "import", to.Addr+"/"+name, dir+"/stream")
	}},
	{"skopeo", "registry", []string{"nested"}, func(_, tag string, to *harness.Registry, name string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", to.Ref("ours/" + tag + ":1"), to.Ref(name)}
	}},
	{"crane", "registry", nil, func(_, tag string, to *harness.Registry, name string) stage {
		return stage{"crane", "copy", to.Addr + "/ours/" + tag + ":1", to.Addr + "/" + name}
	}},
	{"regctl", "registry", nil, func(_, tag string, to *harness.Registry, name string) stage {
		return regctl(to, "image", "copy", to.Addr+"/ours/"+tag+":1", to.Addr+"/"+name)
	}},
}

// What we write is for others to read. Whatever a peer is able to carry must
// come out of it with the digest that went in.
func TestPeersReadOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, peerShapes()...)
	older := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	for tag, root := range w.Roots {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			dir := harness.Dir(t)
			for _, p := range places[:3] {
				copyImage(t, w.at(tag), p.in(dir, tag))
			}
			stream := harness.Must(t, "img-copy", w.at(tag), "-")
			if err := os.WriteFile(filepath.Join(dir, "stream"), []byte(stream), 0o644); err != nil {
				t.Fatal(err)
			}
			copyImage(t, w.at(tag), older.Ref("ours/"+tag+":1"))
			for _, x := range readings {
				if slices.Contains(x.except, tag) {
					continue
				}
				name := x.name + "-" + x.place + "/" + tag + ":1"
				s := x.read(dir, tag, older, name)
				if r := harness.Run(t, nil, s[0], s[1:]...); r.Code != 0 {
					t.Errorf("%s: exit %d\n%s%s", strings.Join(s, " "), r.Code, r.Stdout, r.Stderr)
				}
				holds(t, older, name, root.Digest.String())
			}
			validate(t, older, dir, tag)
		})
	}
}

// validate has peers look into the images: at digests, sizes and what layers
// unpack to.
func validate(t *testing.T, r *harness.Registry, dir, tag string) {
	t.Helper()
	switch {
	case slices.Contains([]string{"tiny", "docker", "many", "big", "list"}, tag): // crane takes every layer for gzip
		harness.Must(t, "crane", "validate", "--remote", r.Addr+"/ours/"+tag+":1")
	}
	if slices.Contains([]string{"tiny", "plain", "many", "big"}, tag) { // umoci knows OCI's types alone, and no zstd
		if got := harness.Must(t, "umoci", "ls", "--layout", dir+"/layout"); got != tag+"\n" {
			t.Errorf("umoci ls: %q; want %s", got, tag)
		}
		harness.Must(t, "umoci", "unpack", "--image", dir+"/layout:"+tag, dir+"/bundle")
		harness.Must(t, "test", "-f", dir+"/bundle/rootfs/opt/"+map[string]string{
			"tiny": "tiny-c.txt", "plain": "plain-c.txt", "many": "many-019.txt", "big": "big.txt",
		}[tag])
	}
}

// A docker-archive loses the manifest at its readers, who make one of their
// own. What they must agree on is the configuration, and the layers' contents,
// which they check against it.
func TestPeersReadOurDockerArchive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Docker(), sample.Plain(), sample.Many(20), sample.Platforms())
	older := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	for tag := range w.Roots {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			dir := harness.Dir(t)
			file := filepath.Join(dir, "docker.tar")
			copyImage(t, w.at(tag), "docker-archive:"+file+":sample/"+tag+":1")
			want := digest.FromString(harness.Must(t, "img-inspect", "--config", "--raw", w.at(tag)))
			check := func(name string) {
				t.Helper()
				_, b := older.Manifest(t, name, "1")
				var m document
				if err := json.Unmarshal(b, &m); err != nil || m.Config == nil || m.Config.Digest != want {
					t.Errorf("%s: %s (%v); want configuration %s", name, b, err, want)
				}
			}
			harness.Must(t, "skopeo", "copy", "--dest-tls-verify=false", "docker-archive:"+file, older.Ref("skopeo/"+tag+":1"))
			check("skopeo/" + tag)
			harness.Must(t, "skopeo", "copy", "--dest-tls-verify=false", "docker-archive:"+file+":sample/"+tag+":1", older.Ref("named/"+tag+":1"))
			check("named/" + tag)
			harness.Must(t, "crane", "push", file, older.Addr+"/crane/"+tag+":1")
			check("crane/" + tag)
			harness.Must(t, "crane", "validate", "--tarball", file)
		})
	}
}

// A writing is how a peer makes something for us to read, out of an image in a
// registry.
type writing struct {
	name   string
	shapes []string // that it carries without a change, nil for all
	write  func(w world, tag, dir string) stage
	ref    string // of what was written
}

// skopeoKeeps lists what skopeo writes to a layout as it is: it converts what is
// not OCI's, and does not know indexes of indexes.
var skopeoKeeps = []string{"tiny", "plain", "zstd", "many", "big", "platforms", "artifact"}

var writings = []writing{
	{"skopeo", skopeoKeeps, func(w world, tag, dir string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", w.at(tag), "oci:" + dir + "/layout:a.b-c:d"}
	}, "oci:DIR/layout:a.b-c:d"},
	{"skopeo", append(skopeoKeeps, "docker", "list"), func(w world, tag, dir string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", w.at(tag), "dir:" + dir + "/dir"}
	}, "dir:DIR/dir"},
	{"skopeo", skopeoKeeps, func(w world, tag, dir string) stage {
		return stage{"skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", w.at(tag), "oci-archive:" + dir + "/oci.tar:a"}
	}, "oci-archive:DIR/oci.tar:a"},
	{"crane", nil, func(w world, tag, dir string) stage {
		return stage{"crane", "pull", "--format=oci", w.Addr + "/" + tag + ":1", dir + "/layout"}
	}, "oci:DIR/layout"},
	{"regctl", nil, func(w world, tag, dir string) stage {
		return regctl(w.Registry, "image", "export", w.Addr+"/"+tag+":1", dir+"/oci.tar")
	}, "oci-archive:DIR/oci.tar"},
	{"regctl-layout", nil, func(w world, tag, dir string) stage {
		return regctl(w.Registry, "image", "copy", w.Addr+"/"+tag+":1", "ocidir://"+dir+"/layout:1")
	}, "oci:DIR/layout:1"},
}

// What others write is for us to read: byte for byte where they kept the bytes.
func TestWeReadPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, peerShapes()...)
	older := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	for tag, root := range w.Roots {
		for _, x := range writings {
			if x.shapes != nil && !slices.Contains(x.shapes, tag) {
				continue
			}
			from, _, _ := strings.Cut(x.ref, ":")
			t.Run(x.name+"/"+from+"/"+tag, func(t *testing.T) {
				t.Parallel()
				dir := harness.Dir(t)
				s := x.write(w, tag, dir)
				harness.Must(t, s[0], s[1:]...)
				ref := place{ref: x.ref}.in(dir, tag)
				name := x.name + "-" + from + "/" + tag + ":1"
				copyImage(t, ref, older.Ref(name))
				holds(t, older, name, root.Digest.String())
				if b, ok := strings.CutPrefix(ref, "oci-archive:"); ok { // and from a pipe
					file, _, _ := strings.Cut(b, ":")
					mustPipe(t, stage{"cat", file}, stage{"img-copy", "-", older.Ref("piped/" + name)})
					holds(t, older, "piped/"+name, root.Digest.String())
				}
			})
		}
	}
}

// Docker's own format names layers by what they unpack to. Whoever wrote it,
// what we take out of it must be that image: the same configuration, to which
// the layers are true, as a registry and a peer see it.
func TestWeReadDockerArchives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Docker(), sample.Many(20))
	older := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	write := map[string]func(t *testing.T, tag, file string){
		"skopeo": func(t *testing.T, tag, file string) {
			harness.Must(t, "skopeo", "copy", "--src-tls-verify=false", w.at(tag), "docker-archive:"+file+":sample/"+tag+":1")
		},
		"crane": func(t *testing.T, tag, file string) {
			harness.Must(t, "crane", "pull", "--format=tarball", w.Addr+"/"+tag+":1", file)
		},
		"crane-legacy": func(t *testing.T, tag, file string) {
			harness.Must(t, "crane", "pull", "--format=legacy", w.Addr+"/"+tag+":1", file)
		},
	}
	for writer, write := range write {
		for tag := range w.Roots {
			t.Run(writer+"/"+tag, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(harness.Dir(t), "docker.tar")
				write(t, tag, file)
				want := digest.FromString(harness.Must(t, "img-inspect", "--config", "--raw", w.at(tag)))
				checkDockerArchive(t, file, older, writer+"-"+tag, want)
			})
		}
	}
}

// checkDockerArchive copies a docker-archive that holds one image into the
// registry, in place and through a pipe, and checks what came of it.
func checkDockerArchive(t *testing.T, file string, r *harness.Registry, name string, config digest.Digest) {
	t.Helper()
	copyImage(t, "docker-archive:"+file, r.Ref(name+"/file:1"))
	mustPipe(t, stage{"cat", file}, stage{"img-copy", "-", r.Ref(name + "/pipe:1")})
	mustPipe(t, stage{"gzip", "-c", file}, stage{"img-copy", "-", r.Ref(name + "/gzip:1")})
	roots := map[digest.Digest]string{}
	for _, way := range []string{"file", "pipe", "gzip"} {
		d, b := r.Manifest(t, name+"/"+way, "1")
		roots[d] = way
		var m document
		if err := json.Unmarshal(b, &m); err != nil || m.Config == nil || m.Config.Digest != config {
			t.Errorf("%s from a %s: %s (%v); want configuration %s", name, way, b, err, config)
		}
		harness.Must(t, "crane", "validate", "--remote", r.Addr+"/"+name+"/"+way+":1")
	}
	if len(roots) != 1 {
		t.Errorf("the same archive in three ways gives the manifests %v; want one", roots)
	}
}

// Engines are where archives come from and go to. Each saves what it loaded of
// ours, and we read all of its formats.
func TestWeReadEngines(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	r := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	var m document
	if err := json.Unmarshal(slurp(t, l.Blob(l.Roots["tiny"].Digest)), &m); err != nil {
		t.Fatal(err)
	}
	file := func(t *testing.T) string { return filepath.Join(harness.Dir(t), "saved.tar") }
	load := "docker-archive:" + filepath.Join(harness.Dir(t), "load.tar") + ":sample/tiny:1"
	copyImage(t, l.Ref("tiny"), load)
	archive := strings.Split(load, ":")[1]

	t.Run("docker", func(t *testing.T) {
		e, f := harness.Dockerd(t), file(t)
		e.Must(t, nil, "load", "-i", archive)
		e.Must(t, nil, "save", "-o", f, "sample/tiny:1")
		checkDockerArchive(t, f, r, "docker", m.Config.Digest)
		copyImage(t, "docker-archive:"+f+":sample/tiny:1", r.Ref("named:1"))
	})
	t.Run("podman", func(t *testing.T) {
		e := harness.Podman(t)
		e.Must(t, nil, "load", "-i", archive)
		f := file(t)
		e.Must(t, nil, "save", "--format=docker-archive", "-o", f, "sample/tiny:1")
		checkDockerArchive(t, f, r, "podman", m.Config.Digest)
		for _, format := range []string{"oci-archive", "oci-dir", "docker-dir"} {
			f, from := file(t), map[string]string{"oci-archive": "oci-archive:", "oci-dir": "oci:", "docker-dir": "dir:"}[format]
			e.Must(t, nil, "save", "--format="+format, "-o", f, "sample/tiny:1")
			name := "podman-" + format + ":1"
			copyImage(t, from+f, r.Ref(name))
			if format != "docker-dir" { // whose layers are plain, which crane takes for gzip
				harness.Must(t, "crane", "validate", "--remote", r.Addr+"/"+name)
			}
		}
	})
	t.Run("containerd", func(t *testing.T) {
		e, f := harness.Containerd(t), file(t)
		e.Must(t, nil, "images", "import", archive)
		e.Must(t, nil, "images", "export", f, "docker.io/sample/tiny:1")
		copyImage(t, "oci-archive:"+f, r.Ref("containerd:1"))
		holds(t, r, "containerd:1", l.Roots["tiny"].Digest.String())
	})
}

// umoci makes layouts and images that are empty, and images step by step. What
// is empty has to be told from what is not there.
func TestWeReadUmoci(t *testing.T) {
	t.Parallel()
	dir := harness.Dir(t)
	layout := filepath.Join(dir, "layout")
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	harness.Must(t, "umoci", "init", "--layout", layout)
	if got := harness.Run(t, nil, "img-inspect", "oci:"+layout); got.Code == 0 {
		t.Errorf("img-inspect of an empty layout: %s; want a failure", got.Stdout)
	}
	fails(t, 3, "img-inspect", "oci:"+layout+":none")
	harness.Must(t, "umoci", "new", "--image", layout+":empty")
	copyImage(t, "oci:"+layout+":empty", r.Ref("empty:1"))
	copyImage(t, r.Ref("empty:1"), "oci:"+filepath.Join(dir, "back")+":empty")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "umoci", "insert", "--image", layout+":empty", "--tag", "one", filepath.Join(dir, "file"), "/file")
	copyImage(t, "oci:"+layout+":one", r.Ref("one:1"))
	harness.Must(t, "crane", "validate", "--remote", r.Addr+"/one:1")
	if got := harness.Must(t, "crane", "export", r.Addr+"/one:1", "-"); !strings.Contains(got, "hello\n") {
		t.Error("the file inserted is not in the image")
	}
}

// Writing into a layout that another tool made must keep what is in it, for it
// to read: its other tags, and the fields that we know nothing of.
func TestWriteIntoTheirLayouts(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny(), sample.Plain()), harness.Dir(t)
	layout := filepath.Join(dir, "layout")
	harness.Must(t, "umoci", "init", "--layout", layout)
	harness.Must(t, "umoci", "new", "--image", layout+":theirs")
	copyImage(t, l.Ref("tiny"), "oci:"+layout+":ours")
	harness.Must(t, "skopeo", "copy", l.Ref("plain"), "oci:"+layout+":skopeo")
	copyImage(t, l.Ref("tiny"), "oci:"+layout+":again")
	if got := harness.Must(t, "umoci", "ls", "--layout", layout); got != "again\nours\nskopeo\ntheirs\n" {
		if tags := strings.Fields(got); !slices.Equal(slices.Sorted(slices.Values(tags)), []string{"again", "ours", "skopeo", "theirs"}) {
			t.Errorf("umoci ls: %q; want the four tags", got)
		}
	}
	mustWhole(t, "oci:"+layout+":ours", l.Roots["tiny"].Digest)
	file := filepath.Join(layout, "index.json")
	var x map[string]any
	if err := json.Unmarshal(slurp(t, file), &x); err != nil {
		t.Fatal(err)
	}
	x["annotations"] = map[string]string{"org.example.owner": "somebody"}
	x["manifests"].([]any)[0].(map[string]any)["platform"] = v1.Platform{OS: "linux", Architecture: "riscv64"}
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	copyImage(t, l.Ref("plain"), "oci:"+layout+":last")
	after := string(slurp(t, file))
	for _, keep := range []string{"org.example.owner", "riscv64", fmt.Sprintf("%q", "last")} {
		if !strings.Contains(after, keep) {
			t.Errorf("index.json after a copy into it: %s; want %s in it", after, keep)
		}
	}
}
