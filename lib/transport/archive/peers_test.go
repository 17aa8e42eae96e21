package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/layout"
	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// load copies a sample out of its layout into dst.
func load(t *testing.T, l harness.Layout, shape string, dst image.Destination) {
	t.Helper()
	src, err := layout.OpenOCI(reference.Layout{Path: l.Dir, Name: shape, Index: -1}, layout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := copy.Copy(t.Context(), dst, src, copy.Options{Gate: copy.AdmitAll}); err != nil {
		t.Fatalf("%s: %v", shape, err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

// archived writes samples into one archive, each under its name, as a docker
// reference too.
func archived(t *testing.T, l harness.Layout, v View, shapes ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tar")
	for _, s := range shapes {
		dst, err := Create(path, Options{View: v, Labels: []reference.Docker{docker(t, "a.example/"+s+":1")}})
		if err != nil {
			t.Fatal(err)
		}
		load(t, l, s, dst)
	}
	return path
}

// rootIn is the digest of the only image in a layout that a peer wrote.
func rootIn(t *testing.T, dir string) digest.Digest {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	ix, err := oci.Parse(oci.Raw{Bytes: raw})
	if err != nil || len(ix.Manifests) != 1 {
		t.Fatalf("%s: %v; %s", dir, err, raw)
	}
	return ix.Manifests[0].Digest
}

// What we write is read by those who read archives, each in its own way, and
// comes out with the digest that it went in with.
func TestPeersRead(t *testing.T) {
	l := harness.Image(t, sample.Tiny(), sample.Docker(), sample.Plain(), sample.Platforms(), sample.Artifact())
	dir := func() string { return filepath.Join(harness.Dir(t), "out") }
	same := func(what, got string, shape string) {
		t.Helper()
		if want := l.Roots[shape].Digest.String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s has %s; want %s", what, shape, got, want)
		}
	}
	for _, s := range []string{"tiny", "plain"} {
		path := archived(t, l, OCI, s)
		out := dir()
		harness.Must(t, "skopeo", "copy", "--dest-oci-accept-uncompressed-layers", "oci-archive:"+path, "oci:"+out+":x")
		same("skopeo oci-archive:", rootIn(t, out).String(), s)
		path = archived(t, l, Docker, s)
		out = dir()
		harness.Must(t, "skopeo", "copy", "docker-archive:"+path, "dir:"+out)
		same("regctl", regctlImport(t, path), s)
	}
	path := archived(t, l, OCI, "platforms")
	out := dir()
	harness.Must(t, "skopeo", "copy", "--all", "oci-archive:"+path, "oci:"+out+":x")
	same("skopeo copy --all", rootIn(t, out).String(), "platforms")
	same("regctl", regctlImport(t, path), "platforms")

	unpacked := dir()
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "tar", "-C", unpacked, "-xf", archived(t, l, OCI, "tiny"))
	harness.Must(t, "umoci", "unpack", "--rootless", "--image", unpacked+":1", dir())

	two := archived(t, l, Docker, "tiny", "docker")
	for _, s := range []string{"tiny", "docker"} {
		harness.Must(t, "skopeo", "copy", "docker-archive:"+two+":a.example/"+s+":1", "dir:"+dir())
	}
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	for _, s := range []string{"tiny", "docker", "plain"} {
		path := archived(t, l, Docker, s)
		harness.Must(t, "crane", "validate", "--tarball", path)
		harness.Must(t, "crane", "push", "--insecure", path, r.Addr+"/crane/"+s+":1")
	}
}

func regctlImport(t *testing.T, path string) string {
	t.Helper()
	ref := "ocidir://" + filepath.Join(harness.Dir(t), "out") + ":x"
	harness.Must(t, "regctl", "image", "import", ref, path)
	return harness.Must(t, "regctl", "manifest", "head", ref)
}

// The engines load a stream from their standard input and know the image by the
// name that it was given.
func TestEnginesLoad(t *testing.T) {
	l := harness.Image(t, sample.Tiny(), sample.Docker())
	dockerd, containerd, podman := harness.Dockerd(t), harness.Containerd(t), harness.Podman(t)
	for _, s := range []string{"tiny", "docker"} {
		var stream bytes.Buffer
		load(t, l, s, NewWriter(&stream, Options{Labels: []reference.Docker{docker(t, "a.example/"+s+":1")}}))
		in := func() io.Reader { return bytes.NewReader(stream.Bytes()) }
		dockerd.Must(t, in(), "load")
		if got := dockerd.Must(t, nil, "images", "--format", "{{.Repository}}:{{.Tag}}"); !strings.Contains(got, "a.example/"+s+":1") {
			t.Errorf("docker load: images are %q", got)
		}
		podman.Must(t, in(), "load")
		if got := podman.Must(t, nil, "images", "--format", "{{.Repository}}:{{.Tag}}"); !strings.Contains(got, "a.example/"+s+":1") {
			t.Errorf("podman load: images are %q", got)
		}
		containerd.Must(t, in(), "images", "import", "-")
		if got := containerd.Must(t, nil, "images", "ls"); !strings.Contains(got, "a.example/"+s+":1") || !strings.Contains(got, l.Roots[s].Digest.String()) {
			t.Errorf("ctr images import: images are %q", got)
		}
	}
	enginesSave(t, l, dockerd, containerd, podman)
}

// enginesSave reads what the engines write of what they have loaded.
func enginesSave(t *testing.T, l harness.Layout, dockerd, containerd, podman *harness.Engine) {
	dir := harness.Dir(t)
	path := func(name string) string { return filepath.Join(dir, name+".tar") }
	dockerd.Must(t, nil, "save", "-o", path("docker"), "a.example/tiny:1")
	podman.Must(t, nil, "save", "--format", "docker-archive", "-o", path("podman-docker"), "a.example/tiny:1")
	podman.Must(t, nil, "save", "--format", "oci-archive", "-o", path("podman-oci"), "a.example/tiny:1")
	podman.Must(t, nil, "save", "-m", "-o", path("podman-both"), "a.example/tiny:1", "a.example/docker:1")
	containerd.Must(t, nil, "images", "export", path("ctr"), "a.example/tiny:1")
	for _, tt := range []struct {
		name string
		sel  Selection
		want digest.Digest // "" for another than it was
	}{
		{"docker", Selection{}, ""},
		{"docker", Selection{View: Docker, Name: "a.example/tiny:1"}, ""},
		{"podman-docker", Selection{View: Docker}, ""},
		{"podman-both", Selection{View: Docker, Name: "a.example/docker:1"}, ""},
		{"podman-oci", Selection{View: OCI}, ""},
		{"ctr", Selection{}, l.Roots["tiny"].Digest},
		{"ctr", Selection{View: Docker}, l.Roots["tiny"].Digest},
	} {
		wantConfig(t, tt.name, mustRead(t, path(tt.name)), tt.sel, tt.want)
	}
}

// wantConfig fails unless the archive b holds the image whose configuration
// runs what the samples run, with all its layers, from a file and from a pipe.
func wantConfig(t *testing.T, name string, b []byte, sel Selection, want digest.Digest) {
	t.Helper()
	for kind, src := range readers(t, b, sel) {
		got, err := take(t.Context(), src)
		if err != nil {
			t.Errorf("%s/%s: %v", name, kind, err)
			continue
		}
		m, err := oci.Parse(got.Manifests[got.Root.Digest])
		if err != nil {
			t.Errorf("%s/%s: %v", name, kind, err)
			continue
		}
		c, err := oci.ParseConfig(got.Blobs[m.Config.Digest])
		if err != nil || !slices.Equal(c.Config.Entrypoint, []string{"/opt/run"}) || len(m.Layers) != 3 || len(c.DiffIDs()) != 3 {
			t.Errorf("%s/%s: %d layers, configuration %+v, %v", name, kind, len(m.Layers), c, err)
		}
		if want != "" && got.Root.Digest != want {
			t.Errorf("%s/%s: root is %s; want %s", name, kind, got.Root.Digest, want)
		}
	}
}

// What the tools write is read, from a file and from a pipe.
func TestPeersWrite(t *testing.T) {
	l := harness.Image(t, sample.Tiny())
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	r.Seed(t, l, "tiny", "tiny:1")
	dir := harness.Dir(t)
	path := func(name string) string { return filepath.Join(dir, name+".tar") }
	tiny := l.Roots["tiny"].Digest

	harness.Must(t, "skopeo", "copy", l.Ref("tiny"), "oci-archive:"+path("skopeo-oci")+":x")
	harness.Must(t, "skopeo", "copy", l.Ref("tiny"), "docker-archive:"+path("skopeo-docker")+":a.example/x:1")
	harness.Must(t, "crane", "pull", "--insecure", r.Addr+"/tiny:1", path("crane"))
	harness.Must(t, "crane", "pull", "--insecure", "--format", "legacy", r.Addr+"/tiny:1", path("crane-legacy"))
	harness.Must(t, "regctl", "image", "export", "ocidir://"+l.Dir+":tiny", path("regctl"))
	copied := filepath.Join(dir, "layout")
	harness.Must(t, "skopeo", "copy", l.Ref("tiny"), "oci:"+copied+":x")
	harness.Must(t, "umoci", "tag", "--image", copied+":x", "y")
	harness.Must(t, "umoci", "rm", "--image", copied+":x")
	harness.Must(t, "tar", "-C", copied, "-cf", path("umoci"), ".")
	harness.Must(t, "tar", "-C", copied, "-czf", path("umoci-gzip"), "--format=gnu", ".")
	for _, tt := range []struct {
		name string
		sel  Selection
		want digest.Digest
	}{
		{"skopeo-oci", Selection{View: OCI}, tiny},
		{"skopeo-oci", Selection{View: OCI, Name: "x"}, tiny},
		{"skopeo-docker", Selection{View: Docker, Name: "a.example/x:1"}, ""},
		{"skopeo-docker", Selection{}, ""},
		{"crane", Selection{View: Docker}, ""},
		{"crane-legacy", Selection{View: Docker}, ""},
		{"regctl", Selection{}, tiny},
		{"umoci", Selection{View: OCI, Name: "y"}, tiny},
		{"umoci-gzip", Selection{View: OCI}, tiny},
	} {
		wantConfig(t, tt.name, mustRead(t, path(tt.name)), tt.sel, tt.want)
	}
	extendOthers(t, path("skopeo-oci"), path("regctl"), path("umoci"))
}

// extendOthers adds an image to layouts in a tar that others wrote.
func extendOthers(t *testing.T, paths ...string) {
	t.Helper()
	c := imagetest.Artifact()
	for _, p := range paths {
		before := namesIn(t, p)
		writeTo(t, p, c, Options{Name: "added"})
		after := namesIn(t, p)
		if len(after) != len(before)+1 || after["added"] != c.Root.Digest {
			t.Errorf("%s: names were %v and are %v", filepath.Base(p), before, after)
		}
		for name := range before {
			src, err := OpenFile(p, Selection{View: OCI, Name: name})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := take(t.Context(), src); name != "" && err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(p), name, err)
			}
			src.Close()
		}
	}
}

// GNU tar lists what we write without a word, and finds regular files only.
func TestTarReads(t *testing.T) {
	l := harness.Image(t, sample.Platforms())
	got := harness.Must(t, "tar", "--numeric-owner", "-tvf", archived(t, l, OCI, "platforms"))
	for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
		if !strings.HasPrefix(line, "-rw-r--r-- 0/0 ") || !strings.Contains(line, " 1970-01-01 00:00 ") {
			t.Errorf("tar -t: %s", line)
		}
	}
	var names []string
	for _, m := range membersOf(t, mustRead(t, archived(t, l, OCI, "platforms"))) {
		names = append(names, m.name)
		if m.kind != tar.TypeReg {
			t.Errorf("%s has type %q", m.name, m.kind)
		}
	}
	if want := fmt.Sprint(names[:3]); want != "[oci-layout index.json blobs/sha256/"+l.Roots["platforms"].Digest.Encoded()+"]" {
		t.Errorf("the first members are %s", want)
	}
}
