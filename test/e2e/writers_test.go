package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// Many writers at one layout must not lose each other's tags, as scripts that
// mirror in parallel would: twenty at once, from the moment when there is not
// even the directory.
func TestWritersAtOneLayout(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny(), sample.Platforms(), sample.Many(10)), harness.Dir(t)
	tags := []string{"tiny", "platforms", "many"}
	layout := filepath.Join(dir, "layout")
	var rs []*running
	for i := range 20 {
		to := fmt.Sprintf("oci:%s:tag-%d", layout, i)
		rs = append(rs, program{}.start(t, "img-copy", "--quiet", l.Ref(tags[i%3]), to))
	}
	for i, r := range rs {
		if got := r.wait(t); got.Code != 0 {
			t.Errorf("writer %d: exit %d\n%s", i, got.Code, got.Stderr)
		}
	}
	for i := range rs {
		mustWhole(t, fmt.Sprintf("oci:%s:tag-%d", layout, i), l.Roots[tags[i%3]].Digest)
	}
	onlyContent(t, layout)
}

// Writers of the same tag must leave one of the images, whole, and one entry.
func TestWritersOfOneTag(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny(), sample.Platforms(), sample.Many(10)), harness.Dir(t)
	for _, p := range places {
		tags := []string{"tiny", "many", "platforms"}
		if p.shapes != nil {
			tags = tags[:2]
		}
		to := p.in(dir, "x")
		var rs []*running
		for i := range 9 {
			rs = append(rs, program{}.start(t, "img-copy", "--quiet", l.Ref(tags[i%len(tags)]), to))
		}
		for i, r := range rs {
			if got := r.wait(t); got.Code != 0 {
				t.Errorf("writer %d to %s: exit %d\n%s", i, to, got.Code, got.Stderr)
			}
		}
		got, err := whole(to)
		if err != nil || got != l.Roots["tiny"].Digest && got != l.Roots["many"].Digest && got != l.Roots["platforms"].Digest {
			t.Errorf("%s holds %q, %v; want one of the images", to, got, err)
		}
	}
	if files := tree(t, dir); strings.Contains(strings.Join(files, " "), "tmp") {
		t.Errorf("files left: %q", files)
	}
}

// onlyContent checks that a layout has nothing but its three parts, and that
// each blob is what it is called.
func onlyContent(t *testing.T, layout string) {
	t.Helper()
	for _, f := range tree(t, layout) {
		switch name := filepath.Base(f); {
		case f == "oci-layout", f == "index.json":
		case filepath.Dir(f) == "blobs/sha256" && len(name) == 64:
			if got := harness.Must(t, "sha256sum", filepath.Join(layout, f)); !strings.HasPrefix(got, name) {
				t.Errorf("blob %s holds %s", name, got)
			}
		default:
			t.Errorf("%s is left in the layout", f)
		}
	}
}
