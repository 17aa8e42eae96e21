package layout

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/test/harness"
)

func skopeo(t *testing.T, args ...string) string {
	t.Helper()
	return harness.Must(t, "skopeo", append([]string{"--insecure-policy"}, args...)...)
}

// skopeoReads are the kinds of images that skopeo copies. It knows no indexes
// within indexes, and up to 1.9 no Docker types in a layout.
var skopeoReads = map[string][]string{
	"oci": {"image", "index", "artifact"},
	"dir": {"image", "docker", "index", "list", "artifact"},
}

// What we write skopeo reads, and what skopeo writes we read, byte for byte.
func TestSkopeo(t *testing.T) {
	for _, p := range places {
		for _, kind := range skopeoReads[p.name] {
			t.Run(kind+" "+p.name, func(t *testing.T) {
				c := imagetest.Everything()[kind]
				base := t.TempDir()
				tag := map[string]string{"oci": ":v1", "dir": ""}[p.name]
				ours, theirs := filepath.Join(base, "ours"), filepath.Join(base, "theirs")
				check(t, p.write(ours, "v1", c, 2, nil))
				if raw := skopeo(t, "inspect", "--raw", p.name+":"+ours+tag); raw != string(c.Manifests[c.Root.Digest].Bytes) {
					t.Errorf("skopeo reads %s", raw)
				}
				skopeo(t, "copy", "--all", "--preserve-digests", p.name+":"+ours+tag, p.name+":"+theirs+tag)
				check(t, p.read(theirs, "v1", c))

				// Each writes over, or beside, what the other one wrote.
				other := imagetest.Image()
				check(t, p.write(theirs, "v2", other, 2, nil))
				check(t, p.read(theirs, "v2", other))
				tag2 := strings.Replace(tag, "1", "2", 1)
				skopeo(t, "copy", "--all", p.name+":"+theirs+tag2, p.name+":"+ours+tag2)
				check(t, p.read(ours, "v2", other))
				if p.name == "oci" {
					check(t, p.read(ours, "v1", c))
					check(t, p.read(theirs, "v1", c))
				}
			})
		}
	}
}

// skopeo must find the image that we moved a name to.
func TestSkopeoRetag(t *testing.T) {
	dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Index(), "v2": imagetest.Artifact()})
	check(t, places[0].write(dir, "v1", imagetest.Image(), 2, nil))
	for tag, c := range map[string]*imagetest.Content{"v1": imagetest.Image(), "v2": imagetest.Artifact()} {
		if raw := skopeo(t, "inspect", "--raw", "oci:"+dir+":"+tag); raw != string(c.Manifests[c.Root.Digest].Bytes) {
			t.Errorf("%s: skopeo reads %s", tag, raw)
		}
	}
}

func TestUmoci(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c, "other": imagetest.Index()})
	if got := strings.Fields(harness.Must(t, "umoci", "ls", "--layout", dir)); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"other", "v1"}) {
		t.Errorf("umoci ls: %v", got)
	}
	harness.Must(t, "umoci", "stat", "--image", dir+":v1")
	bundle := filepath.Join(t.TempDir(), "bundle")
	harness.Must(t, "umoci", "unpack", "--rootless", "--image", dir+":v1", bundle)
	if rootfs := files(t, filepath.Join(bundle, "rootfs")); rootfs["top"] != strings.Repeat("top\n", 100) {
		t.Errorf("umoci unpacked %v", slices.Sorted(keys(rootfs)))
	}
	// Its writes keep ours, ours keep its, and its garbage collection finds
	// nothing of what has a name.
	harness.Must(t, "umoci", "tag", "--image", dir+":v1", "v2")
	harness.Must(t, "umoci", "new", "--image", dir+":theirs")
	check(t, places[0].write(dir, "v3", imagetest.Docker(), 2, nil))
	harness.Must(t, "umoci", "rm", "--image", dir+":other")
	check(t, places[0].write(dir, "other", imagetest.Index(), 2, nil))
	for name, c := range map[string]*imagetest.Content{"v1": c, "v2": c, "v3": imagetest.Docker(), "other": imagetest.Index()} {
		check(t, places[0].read(dir, name, c))
	}
	if _, err := rootOf(ref(dir, "theirs"), Options{}); err != nil {
		t.Error(err)
	}
	fromScratch := filepath.Join(t.TempDir(), "umoci")
	harness.Must(t, "umoci", "init", "--layout", fromScratch)
	check(t, places[0].write(fromScratch, "v1", c, 2, nil))
	check(t, places[0].read(fromScratch, "v1", c))
}

// umoci's garbage collection knows what an image needs: nothing that we wrote
// for one may be superfluous to it.
func TestUmociCollects(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	before := len(files(t, dir))
	harness.Must(t, "umoci", "gc", "--layout", dir)
	if after := len(files(t, dir)); after != before {
		t.Errorf("%d files are left of %d", after, before)
	}
	check(t, places[0].read(dir, "v1", c))
}

func TestCrane(t *testing.T) {
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	for _, kind := range []string{"image", "docker", "index", "list"} {
		c := imagetest.Everything()[kind]
		dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
		name := r.Addr + "/" + kind + ":v1"
		harness.Must(t, "crane", "push", "--insecure", dir, name)
		if got := strings.TrimSpace(harness.Must(t, "crane", "digest", "--insecure", name)); got != string(c.Root.Digest) {
			t.Errorf("%s: crane pushed %s; want %s", kind, got, c.Root.Digest)
		}
		theirs := filepath.Join(t.TempDir(), "theirs")
		harness.Must(t, "crane", "pull", "--insecure", "--format", "oci", name, theirs)
		check(t, places[0].read(theirs, "", c))
		check(t, places[0].write(theirs, "more", imageOf("more"), 2, nil))
		check(t, places[0].read(theirs, "more", imageOf("more")))
		src := must(OpenOCI(ref(theirs, "@"+string(c.Root.Digest)), Options{}))(t)
		check(t, imagetest.Check(t.Context(), src, c))
		check(t, src.Close())
	}
}
