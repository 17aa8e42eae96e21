package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/cli"
	engine "github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// summarise describes src and the image in it for a platform, if there is one.
func summarise(t *testing.T, src image.Source, want oci.Platform) (*Summary, error) {
	t.Helper()
	root, err := image.Root(t.Context(), src, "")
	if err != nil {
		t.Fatal(err)
	}
	only, err := engine.Instance(t.Context(), src, root, want)
	if err != nil && !errors.Is(err, engine.ErrPlatform) {
		t.Fatal(err)
	}
	return Summarise(t.Context(), src, root, only)
}

func TestSummarise(t *testing.T) {
	mips := oci.Platform{OS: "plan9", Architecture: "mips"}
	for name, tt := range map[string]struct {
		c         *imagetest.Content
		want      oci.Platform
		layers    int
		arch      string
		instance  bool // another manifest than the root is described
		platforms int
	}{
		"image":                    {imagetest.Image(), imagetest.AMD64, 3, "amd64", false, 0},
		"image of another machine": {imagetest.Image(), mips, 3, "amd64", false, 0},
		"docker":                   {imagetest.Docker(), imagetest.AMD64, 3, "amd64", false, 0},
		"index":                    {imagetest.Index(), imagetest.ARM64, 2, "arm64", true, 6},
		"index without":            {imagetest.Index(), mips, 0, "", false, 6},
		"list":                     {imagetest.DockerList(), imagetest.AMD64, 2, "amd64", true, 2},
		"nested":                   {imagetest.Nested(), imagetest.AMD64, 2, "amd64", true, 2},
		"artifact":                 {imagetest.Artifact(), imagetest.AMD64, 1, "", false, 0},
	} {
		s, err := summarise(t, tt.c.Source(), tt.want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Digest != tt.c.Root.Digest || s.MediaType != tt.c.Root.MediaType || s.RepoTags == nil {
			t.Errorf("%s: %+v; want the root, %s", name, s, tt.c.Root.Digest)
		}
		if len(s.Layers) != tt.layers || len(s.LayersData) != tt.layers || s.Architecture != tt.arch || (s.Instance != "") != tt.instance || len(s.Platforms) != tt.platforms {
			t.Errorf("%s: %d layers, architecture %q, instance %q, %d platforms; want %+v", name, len(s.Layers), s.Architecture, s.Instance, len(s.Platforms), tt)
		}
	}
}

func TestSummariseFields(t *testing.T) {
	c := imagetest.Image()
	s, err := summarise(t, c.Source(), imagetest.AMD64)
	if err != nil {
		t.Fatal(err)
	}
	size := c.Root.Size
	for _, b := range c.Blobs {
		size += int64(len(b))
	}
	if s.Size != size || s.Os != "linux" || !slices.Equal(s.Env, []string{"A=b"}) || !slices.Equal(s.Cmd, []string{"/base"}) || s.Labels["who"] != "base+middle+top" || s.Created == nil {
		t.Errorf("Summarise = %+v; size want %d", s, size)
	}
	a, err := summarise(t, imagetest.Artifact().Source(), imagetest.AMD64)
	if err != nil || a.ArtifactType != "application/vnd.example.thing" || a.Annotations["k"] != "<v>" {
		t.Errorf("Summarise = %+v, %v", a, err)
	}
}

// run is what a user sees of img-inspect.
func run(t *testing.T, in []byte, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Tool().Execute(t.Context(), &cli.IO{In: bytes.NewReader(in), Out: &o, Err: &e}, args)
	return code, o.String(), e.String()
}

// A manifest alone, on standard input, is described as far as it goes.
func TestManifestAlone(t *testing.T) {
	for name, c := range imagetest.Everything() {
		raw := c.Manifests[c.Root.Digest].Bytes
		if name != "index" && name != "list" && name != "nested" {
			code, out, errs := run(t, raw, "-")
			var s Summary
			if code != 0 || json.Unmarshal([]byte(out), &s) != nil || s.Digest != c.Root.Digest || len(s.Layers) == 0 || s.Architecture != "" {
				t.Errorf("%s: exit %d, %s\n%s", name, code, out, errs)
			}
		}
		code, out, errs := run(t, raw, "--digest", "-")
		if code != 0 || out != c.Root.Digest.String()+"\n" {
			t.Errorf("%s: exit %d, %q %s", name, code, out, errs)
		}
		code, out, errs = run(t, raw, "--raw", "-")
		if code != 0 || out != string(raw) {
			t.Errorf("%s: exit %d, %d bytes %s", name, code, len(out), errs)
		}
	}
	image := imagetest.Image()
	code, out, errs := run(t, image.Manifests[image.Root.Digest].Bytes, "--config", "-")
	if code != cli.CodeNotFound || out != "" || !strings.Contains(errs, "a manifest only") {
		t.Errorf("--config of a manifest alone: exit %d, %q, %s", code, out, errs)
	}
}

// Each part is what --help says, from a registry and from a stream alike.
func TestParts(t *testing.T) {
	c := imagetest.Index()
	s := registrytest.Start(t, registrytest.Options{})
	s.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	tree, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = tree.Grow(t.Context(), c.Source(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	arm := tree.Kids[1]
	var layers strings.Builder
	for _, d := range arm.Manifest.Layers {
		layers.WriteString(d.Digest.String() + "\n")
	}
	layer := arm.Manifest.Layers[0].Digest
	name := "docker://" + s.Addr + "/a/b:1"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--raw"}, string(tree.Raw.Bytes)},
		{[]string{"--digest"}, c.Root.Digest.String() + "\n"},
		{[]string{"--manifest", "--platform=linux/arm64"}, string(arm.Raw.Bytes)},
		{[]string{"--layers", "--platform=linux/arm64"}, layers.String()},
		{[]string{"--raw", "--config", "--platform=linux/arm64"}, string(c.Blobs[arm.Manifest.Config.Digest])},
		{[]string{"--blob", layer.String()}, string(c.Blobs[layer])},
		{[]string{"--format={{.Digest}} {{.Architecture}}", "--platform=linux/arm64"}, c.Root.Digest.String() + " arm64\n"},
		{[]string{"--format={{.Name}} {{.RepoTags}}", "--tags"}, s.Addr + "/a/b [1]\n"},
	} {
		if code, out, errs := run(t, nil, append(tt.args, name)...); code != 0 || out != tt.want {
			t.Errorf("img-inspect %q: exit %d, %q, %s; want %q", tt.args, code, out, errs, tt.want)
		}
	}
	code, head, errs := run(t, nil, "--head", name)
	if code != 0 {
		t.Fatalf("--head: exit %d: %s", code, errs)
	}
	if code, out, errs := run(t, []byte(head), "--format={{.Architecture}}", "--platform=linux/arm64", "-"); code != 0 || out != "arm64\n" {
		t.Errorf("of the head: exit %d, %q, %s", code, out, errs)
	}
}

func TestRefused(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	c := imagetest.Index()
	s.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	name := "docker://" + s.Addr + "/a/b:1"
	for _, tt := range []struct {
		code int
		args []string
		want string
	}{
		{cli.CodeUsage, nil, "want one REFERENCE"},
		{cli.CodeUsage, []string{"busybox"}, "Invalid image name"},
		{cli.CodeUsage, []string{"--raw", "--digest", name}, "only one of"},
		{cli.CodeUsage, []string{"--raw", "--format=json", name}, "--format is for"},
		{cli.CodeUsage, []string{"--tags", "--layers", name}, "--tags is for"},
		{cli.CodeUsage, []string{"--platform=linux/arm64", "--raw", name}, "--platform is for"},
		{cli.CodeUsage, []string{"--platform=linux/arm64", "--platform=linux/amd64", name}, "only one --platform"},
		{cli.CodeUsage, []string{"--platform=arm64", name}, "OS/ARCH"},
		{cli.CodeUsage, []string{"--blob=sha256:../x", name}, "--blob"},
		{cli.CodeNotFound, []string{"--platform=plan9/mips", name}, "no image found"},
		{cli.CodeNotFound, []string{"--blob=" + digest.FromString("x").String(), name}, digest.FromString("x").String()},
		{cli.CodeNotFound, []string{"docker://" + s.Addr + "/a/b:2"}, "docker://" + s.Addr + "/a/b:2: inspect: "},
	} {
		code, out, errs := run(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.want) || out != "" {
			t.Errorf("img-inspect %q: exit %d, %q, %s; want exit %d and %q", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
}

// A registry that answers another image than the digest that was asked for must
// not have it described under that digest.
func TestPinned(t *testing.T) {
	c := imagetest.Image()
	n, err := transport.Parse("docker://r.example/a@" + imagetest.Docker().Root.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	liar := *c
	liar.Manifests = map[digest.Digest]oci.Raw{n.Docker().Digest: c.Manifests[c.Root.Digest]}
	v := &view{ctx: t.Context(), std: &cli.IO{Out: new(bytes.Buffer)}, name: n, src: liar.Source(), want: imagetest.AMD64}
	if err := v.summary(false, ""); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("summary = %v; want %v", err, image.ErrMismatch)
	}
}
