package layout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/test/harness"
)

// remove deletes from the layout in dir.
func remove(dir string, s disk.Step, list ...image.Deletion) error {
	shelf, err := openShelf(ref(dir, ""), Options{}, s)
	if err != nil {
		return err
	}
	defer shelf.Close()
	return shelf.Delete(context.Background(), list)
}

func named(names ...string) []image.Deletion {
	var all []image.Deletion
	for _, n := range names {
		all = append(all, image.Deletion{Name: n})
	}
	return all
}

// A full layout has an image with all kinds of things attached, at two levels,
// an image that shares a layer with it, one without a name, and an index.
type full struct {
	dir                  string
	image, other, noName *imagetest.Content
	index                *imagetest.Content
	a, b, ofA, sig       *attachment
}

func newFull(t *testing.T) *full {
	t.Helper()
	f := &full{image: imageOf("shared", "image"), other: imageOf("shared", "other"), noName: imageOf("no name"), index: imagetest.Index()}
	f.a, f.b, f.sig = attachTo(f.image, "a"), attachTo(f.image, "b"), signatureOf(f.image, "s")
	f.ofA = attachTo(f.a.Content, "about a")
	f.dir = filepath.Join(t.TempDir(), "x")
	check(t, attach(f.dir, "v1", nil, f.image, f.a, f.b, f.sig, f.ofA))
	check(t, places[0].write(f.dir, "v2", f.other, 1, nil))
	check(t, places[0].write(f.dir, "", f.noName, 1, nil))
	check(t, places[0].write(f.dir, "multi", f.index, 1, nil))
	return f
}

// wantLeft fails unless the blobs are those of what is left, and of the lists
// of referrers that index.json names, and nothing else.
func wantLeft(t *testing.T, what, dir string, left ...*imagetest.Content) {
	t.Helper()
	want := map[string]bool{indexFile: true, layoutFile: true}
	for _, c := range left {
		for d := range c.Manifests {
			want["blobs/"+blobName(d)] = true
		}
		for d := range c.Blobs {
			want["blobs/"+blobName(d)] = true
		}
	}
	got := files(t, dir)
	x := must(parseIndex([]byte(got[indexFile])))(t)
	for _, e := range x.entries {
		if base, ok := baseOf(e.name); ok && base == e.name {
			want["blobs/"+blobName(e.desc.Digest)] = true
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s: %s is gone", what, name)
		}
	}
	for name := range got {
		if !want[name] {
			t.Errorf("%s: %s is left", what, name)
		}
	}
}

// tagsOf lists the names in a layout.
func tagsOf(t *testing.T, dir string) []string {
	t.Helper()
	src := must(OpenOCI(ref(dir, ""), Options{}))(t)
	defer src.Close()
	return slices.Sorted(slices.Values(must(src.Tags(t.Context()))(t)))
}

// What a deletion takes along, and what it leaves: all that something else
// still needs.
func TestDelete(t *testing.T) {
	byDigest := func(d digest.Digest) []image.Deletion { return []image.Deletion{{Digest: d}} }
	f := newFull(t)
	everything := []*imagetest.Content{f.image, f.other, f.noName, f.index, f.a.Content, f.b.Content, f.ofA.Content, f.sig.Content}
	but := func(less ...*imagetest.Content) []*imagetest.Content {
		return slices.DeleteFunc(slices.Clone(everything), func(c *imagetest.Content) bool { return slices.Contains(less, c) })
	}
	list, listOfA := oci.ReferrersTag(f.image.Root.Digest), oci.ReferrersTag(f.a.Root.Digest)
	names := []string{"multi", f.sig.name, list, listOfA, "v1", "v2"}
	all := []*imagetest.Content{f.image, f.a.Content, f.b.Content, f.ofA.Content, f.sig.Content}
	var inner digest.Digest
	for d := range f.index.Manifests {
		if d != f.index.Root.Digest {
			inner = d
		}
	}
	for _, tt := range []struct {
		what string
		list []image.Deletion
		gone []string // names
		left []*imagetest.Content
	}{
		{"nothing", nil, nil, everything},
		{"what is not there", append(named("none"), byDigest(digest.FromString("none"))...), nil, everything},
		{"a name", named("v1"), []string{"v1", list, listOfA, f.sig.name}, but(all...)},
		{"a name of that digest", []image.Deletion{{Name: "v1", Digest: f.image.Root.Digest}}, []string{"v1", list, listOfA, f.sig.name}, but(all...)},
		{"a digest", byDigest(f.image.Root.Digest), []string{"v1", list, listOfA, f.sig.name}, but(all...)},
		{"two names", named("v1", "v2"), []string{"v1", "v2", list, listOfA, f.sig.name}, but(append(all, f.other)...)},
		{"no name", byDigest(f.noName.Root.Digest), nil, but(f.noName)},
		{"an index", named("multi"), []string{"multi"}, but(f.index)},
		{"what an index needs", byDigest(inner), nil, everything},
		{"a referrer", byDigest(f.b.Root.Digest), nil, but(f.b.Content)},
		{"a referrer with a referrer", byDigest(f.a.Root.Digest), []string{listOfA}, but(f.a.Content, f.ofA.Content)},
		{"the only referrer", byDigest(f.ofA.Root.Digest), []string{listOfA}, but(f.ofA.Content)},
		{"all referrers", append(byDigest(f.a.Root.Digest), byDigest(f.b.Root.Digest)...), []string{list, listOfA}, but(f.a.Content, f.b.Content, f.ofA.Content)},
		{"a signature", named(f.sig.name), []string{f.sig.name}, but(f.sig.Content)},
		{"everything", append(named("v1", "v2", "multi"), byDigest(f.noName.Root.Digest)...), names, nil},
	} {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, os.CopyFS(dir, os.DirFS(f.dir)))
		check(t, os.WriteFile(filepath.Join(dir, "blobs/sha256", strings.Repeat("0", 64)), []byte("nobody's"), 0o644))
		for range 2 { // what is deleted may be deleted
			check(t, remove(dir, nil, tt.list...))
			wantLeft(t, tt.what, dir, tt.left...)
			want := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return slices.Contains(tt.gone, s) })
			slices.Sort(want)
			if got := tagsOf(t, dir); !slices.Equal(got, want) {
				t.Errorf("%s: names are %v; want %v", tt.what, got, want)
			}
		}
	}
}

// A name goes, and what it stood for stays if it has another one.
func TestDeleteOneNameOfTwo(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c, "v2": c})
	check(t, attach(dir, "v1", nil, c, attachTo(c, "a"), signatureOf(c, "s")))
	check(t, remove(dir, nil, named("v1")...))
	check(t, places[0].read(dir, "v2", c))
	if got := tagsOf(t, dir); len(got) != 3 {
		t.Errorf("names are %v; want v2 and what belongs to it", got)
	}
}

// A signature may be kept apart from what it is of: it must not go with
// something else.
func TestDeleteLeavesOrphans(t *testing.T) {
	c := imageOf("not here")
	s := signatureOf(c, "s")
	dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Image(), s.name: s.Content})
	check(t, remove(dir, nil, named("v1")...))
	wantLeft(t, "orphan", dir, s.Content)
	check(t, remove(dir, nil, image.Deletion{Digest: c.Root.Digest}))
	wantLeft(t, "orphan of what is deleted", dir)
}

// Retention must not take a name that has moved to a new image meanwhile; the
// others go.
func TestDeleteMovedName(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c, "v2": imagetest.Docker()})
	var events []string
	shelf := must(OpenShelf(ref(dir, ""), Options{Notify: func(e image.Event) {
		events = append(events, fmt.Sprint(e.Kind, " ", e.Text, " ", e.Err != nil))
	}}))(t)
	defer shelf.Close()
	err := shelf.Delete(t.Context(), []image.Deletion{{Name: "v1", Digest: digest.FromString("old")}, {Name: "v2"}, {Digest: "sha256:../x"}})
	if !errors.Is(err, image.ErrMismatch) || !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("Delete = %v; want %v and %v", err, image.ErrMismatch, oci.ErrInvalid)
	}
	wantLeft(t, "moved", dir, c)
	if want := []string{"delete v1 true", "delete v2 false", "delete sha256:../x true"}; !slices.Equal(events, want) {
		t.Errorf("events are %q; want %q", events, want)
	}
	// A shelf sees what it did.
	if tags := must(shelf.Tags(t.Context()))(t); !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("Tags = %v", tags)
	}
	if _, err := shelf.Manifest(t.Context(), ""); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("Manifest = %v; want %v", err, image.ErrUnsupported)
	}
	if _, err := shelf.Manifest(t.Context(), c.Root.Digest); err != nil {
		t.Error(err)
	}
}

// What cannot be understood may need any blob.
func TestDeleteStops(t *testing.T) {
	c, other := imagetest.Image(), imageOf("other")
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		stops bool
	}{
		"damaged": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, blobsDir, blobName(c.Root.Digest)), []byte(`{}`), 0o644)
		}, true},
		"not a file": {func(dir string) error {
			path := filepath.Join(dir, blobsDir, blobName(c.Root.Digest))
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o755))
		}, true},
		"not there": {func(dir string) error { return os.Remove(filepath.Join(dir, blobsDir, blobName(c.Root.Digest))) }, false},
	} {
		dir := ociDir(t, map[string]*imagetest.Content{"v1": c, "v2": other})
		check(t, tt.spoil(dir))
		before := len(files(t, dir))
		var failed []error
		shelf := must(OpenShelf(ref(dir, ""), Options{Notify: func(e image.Event) { failed = append(failed, e.Err) }}))(t)
		err := shelf.Delete(t.Context(), named("v2"))
		check(t, shelf.Close())
		if (err != nil) != tt.stops {
			t.Errorf("%s: %v; want an error: %v", name, err, tt.stops)
		}
		if after := len(files(t, dir)); (after == before) != tt.stops {
			t.Errorf("%s: %d files of %d are left", name, after, before)
		}
		if got := tagsOf(t, dir); !slices.Equal(got, []string{"v1"}) || len(failed) != 1 || failed[0] != nil {
			t.Errorf("%s: names are %v, events say %v; want v2 deleted", name, got, failed)
		}
		// When what is damaged goes itself, nothing is in the way any more.
		if err := remove(dir, nil, named("v1")...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A document of a kind that nobody knows yet names what it needs somehow.
func TestDeleteUnknownKinds(t *testing.T) {
	c := newContent()
	layer := c.blob(digest.SHA512, "a/layer", []byte("layer"))
	config := c.blob(digest.SHA256, "a/config", []byte("config"))
	inner := c.manifest(digest.SHA256, oci.MediaTypeManifest, map[string]any{"schemaVersion": 2, "config": config, "layers": []oci.Descriptor{layer}})
	c.manifest(digest.SHA256, "application/vnd.future+json", map[string]any{"see": "also " + inner.Digest.String() + ", sha256:12"})
	dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Image()})
	for _, all := range []map[digest.Digest][]byte{c.Blobs, {inner.Digest: c.Manifests[inner.Digest].Bytes, c.Root.Digest: c.Manifests[c.Root.Digest].Bytes}} {
		for d, b := range all {
			path := filepath.Join(dir, blobsDir, blobName(d))
			check(t, os.MkdirAll(filepath.Dir(path), 0o755))
			check(t, os.WriteFile(path, b, 0o644))
		}
	}
	root := must(disk.Open(dir, nil))(t)
	defer root.Close()
	x := must(readIndex(root))(t)
	check(t, x.add(c.Root, "future"))
	check(t, writeIndex(root, x))
	check(t, remove(dir, nil, named("v1")...))
	wantLeft(t, "unknown", dir, c.Content)
}

// What is not a blob is not ours to remove.
func TestDeleteLeavesForeign(t *testing.T) {
	dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Image()})
	hex := strings.Repeat("a", 64)
	kept := []string{"README", "blobs/README", "blobs/md5/" + hex, "blobs/sha256/" + hex + ".sig", "blobs/sha256/" + strings.ToUpper(hex)}
	for _, name := range kept {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	check(t, os.Symlink("../../README", filepath.Join(dir, "blobs/sha256", hex)))
	check(t, os.WriteFile(filepath.Join(dir, "blobs/sha256", tempPrefix+"x"), nil, 0o644))
	check(t, remove(dir, nil, named("v1")...))
	want := append(kept, indexFile, layoutFile)
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(files(t, dir))); !slices.Equal(got, want) {
		t.Errorf("left are %v; want %v", got, want)
	}
	if _, err := os.Lstat(filepath.Join(dir, "blobs/sha256", hex)); err != nil {
		t.Error(err)
	}
}

// Blobs that layouts share are not one layout's to remove.
func TestDeleteShared(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "x")
	var warnings []string
	o := Options{SharedBlobs: filepath.Join(base, "shared"), Notify: func(e image.Event) {
		if e.Kind == image.EventWarning {
			warnings = append(warnings, e.Text)
		}
	}}
	c := imagetest.Image()
	dst := must(CreateOCI(ref(dir, "v1"), o))(t)
	check(t, sendAttached(t.Context(), dst, c, attachTo(c, "a"), attachTo(c, "b")))
	check(t, dst.Close())
	before := len(files(t, base))
	shelf := must(OpenShelf(ref(dir, ""), o))(t)
	defer shelf.Close()
	check(t, shelf.Delete(t.Context(), []image.Deletion{{Digest: attachTo(c, "a").Root.Digest}}))
	if got := must(shelf.Referrers(t.Context(), c.Root.Digest))(t); len(got) != 1 {
		t.Errorf("%d referrers are left; want 1", len(got))
	}
	check(t, shelf.Delete(t.Context(), named("v1")))
	if after := len(files(t, base)); after != before+1 { // a shorter list
		t.Errorf("%d files of %d are left", after, before)
	}
	if got := tagsOf(t, dir); len(got) != 0 || len(warnings) != 2 {
		t.Errorf("names are %v, warnings %q; want none, and two", got, warnings)
	}
}

// What is no layout, or one of a kind that we do not know, is left alone.
func TestOpenShelfRefuses(t *testing.T) {
	for _, text := range []string{"", `{"imageLayoutVersion":"2.0.0"}`} {
		dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Image()})
		check(t, os.Remove(filepath.Join(dir, layoutFile)))
		if text != "" {
			check(t, os.WriteFile(filepath.Join(dir, layoutFile), []byte(text), 0o644))
		}
		if _, err := OpenShelf(ref(dir, ""), Options{}); !errors.Is(err, image.ErrUnsupported) {
			t.Errorf("OpenShelf with %q = %v; want %v", text, err, image.ErrUnsupported)
		}
	}
}

// Nobody who reads or writes may lose a blob that he relies on: a deleter waits
// for him, and says so. A reader that was opened, and has not looked yet, finds
// what is there afterwards.
func TestDeleteWaits(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c, "v2": imagetest.Docker()})
	waits := make(chan string, 9)
	shelf := must(OpenShelf(ref(dir, ""), Options{Notify: func(e image.Event) {
		if e.Kind == image.EventWarning {
			waits <- e.Text
		}
	}}))(t)
	defer shelf.Close()
	must(shelf.Tags(t.Context()))(t) // its own lock is not in its way
	idle := must(OpenOCI(ref(dir, "v1"), Options{}))(t)
	defer idle.Close()
	reader := must(OpenOCI(ref(dir, "v1"), Options{}))(t)
	must(reader.Manifest(t.Context(), ""))(t)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := shelf.Delete(ctx, named("v1")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Delete = %v; want %v", err, context.DeadlineExceeded)
	}
	if len(waits) != 1 {
		t.Fatalf("there are %d warnings; want 1", len(waits))
	}
	<-waits
	done := make(chan error)
	go func() { done <- shelf.Delete(t.Context(), named("v1")) }()
	if s := <-waits; !strings.Contains(s, dir) {
		t.Errorf("the warning is %q; want the name of the layout", s)
	}
	check(t, imagetest.Check(t.Context(), reader, c))
	check(t, reader.Close())
	check(t, <-done)
	if _, err := idle.Manifest(t.Context(), ""); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("Manifest = %v; want %v", err, image.ErrNotFound)
	}
}

// A layout need not be writable to be read under a lock.
func TestReadOnlyReader(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	check(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, map[bool]os.FileMode{true: 0o555, false: 0o444}[e.IsDir()])
	}))
	t.Cleanup(func() {
		for _, d := range []string{".", "blobs", "blobs/sha256"} {
			os.Chmod(filepath.Join(dir, d), 0o755)
		}
	})
	check(t, places[0].read(dir, "v1", c))
}

// whole fails unless all that index.json names, and is attached to that, is
// there.
func (f *full) whole(t *testing.T, what, dir string) {
	t.Helper()
	src := must(OpenOCI(ref(dir, ""), Options{}))(t)
	defer src.Close()
	for _, tag := range append(must(src.Tags(t.Context()))(t), "@"+string(f.noName.Root.Digest)) {
		one := must(OpenOCI(ref(dir, tag), Options{}))(t)
		tree, err := image.Root(t.Context(), one, "")
		if errors.Is(err, image.ErrNotFound) && strings.HasPrefix(tag, "@") {
			one.Close()
			continue
		}
		if err == nil {
			err = tree.Grow(t.Context(), one, nil)
		}
		if err == nil {
			err = tree.Attach(t.Context(), one, image.With{Referrers: true, Tags: true})
		}
		if err == nil {
			for d := range tree.Blobs() {
				if _, e := image.ReadBlob(t.Context(), one, d, 1<<20); e != nil {
					err = e
				}
			}
		}
		if err != nil {
			t.Errorf("%s: %s: %v", what, tag, err)
		}
		want := 5
		if listed := must(one.Referrers(t.Context(), f.image.Root.Digest))(t); len(listed) == 1 {
			want-- // without b
		}
		if n := len(slices.Collect(tree.Walk())); tag == "v1" && n != want {
			t.Errorf("%s: v1 has %d manifests; want %d", what, n, want)
		}
		one.Close()
	}
}

// deletions of the crash tests: of a name with all that is attached, of a
// referrer, and of nothing.
func (f *full) deletions() map[string][]image.Deletion {
	return map[string][]image.Deletion{
		"a name":     named("v1", "multi"),
		"a referrer": {{Digest: f.b.Root.Digest}, {Name: "v2"}},
	}
}

// A process that is killed at any change leaves the old names or the new ones,
// and nothing that dangles. The next run ends what was begun.
func TestDeleteKillAtEachStep(t *testing.T) {
	f := newFull(t)
	for what, list := range f.deletions() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			done := filepath.Join(t.TempDir(), "done")
			check(t, os.CopyFS(done, os.DirFS(f.dir)))
			check(t, remove(done, nil, list...))
			want, old := files(t, done), files(t, f.dir)
			for n := 1; ; n++ {
				dir, at := filepath.Join(t.TempDir(), "x"), fmt.Sprintf("%s, killed at step %d", what, n)
				check(t, os.CopyFS(dir, os.DirFS(f.dir)))
				if !(job{Dir: dir, Delete: list, KillAt: n}).killed(t) {
					if n < 8 {
						t.Errorf("there were only %d steps to be killed at", n-1)
					}
					return
				}
				now := files(t, dir)
				if now[indexFile] != old[indexFile] && now[indexFile] != want[indexFile] {
					t.Errorf("%s: index.json is neither the old one nor the new one: %s", at, now[indexFile])
				}
				f.whole(t, at, dir)
				var again []image.Deletion // of nothing, if the names are gone
				if now[indexFile] == old[indexFile] {
					again = list
				}
				check(t, remove(dir, nil, again...))
				if got := files(t, dir); !maps.Equal(got, want) {
					t.Errorf("%s: the next run leaves %v; want %v", at, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
				}
			}
		})
	}
}

// The same for a disk on which a change fails, or all do from then on.
func TestDeleteFailAtEachStep(t *testing.T) {
	f := newFull(t)
	for what, list := range f.deletions() {
		for _, forever := range []bool{false, true} {
			for n, done := 1, false; !done; n++ {
				dir, at, failing := filepath.Join(t.TempDir(), "x"), 0, ""
				check(t, os.CopyFS(dir, os.DirFS(f.dir)))
				err := remove(dir, func(op, name string) error {
					if at++; at == n || forever && at > n {
						failing += op + " " + name + "; "
						return syscall.EIO
					}
					return nil
				}, list...)
				done = at < n
				if !done && !errors.Is(err, syscall.EIO) {
					t.Errorf("%s: Delete = %v; want %v", failing, err, syscall.EIO)
				}
				f.whole(t, what+": "+failing, dir)
				check(t, remove(dir, nil, list...))
				if l := leftovers(t, dir); l != nil {
					t.Errorf("%s: the next run left %v", failing, l)
				}
			}
		}
	}
}

// Nothing of what is deleted may be removed before the new index.json is on
// the disk.
func TestDeleteOrder(t *testing.T) {
	f := newFull(t)
	var log []string
	check(t, remove(f.dir, func(op, name string) error { log = append(log, op+" "+name); return nil }, image.Deletion{Digest: f.b.Root.Digest}, image.Deletion{Name: "v2"}))
	swap := slices.Index(log, "rename "+indexFile)
	first := slices.IndexFunc(log, func(s string) bool { return strings.HasPrefix(s, "remove sha256/") })
	list := slices.IndexFunc(log, func(s string) bool { return strings.HasPrefix(s, "rename sha256/") })
	if list < 0 || log[list+1] != "sync sha256" || list > swap {
		t.Errorf("the new list of referrers is not on the disk before index.json: %q", log)
	}
	if swap < 0 || first < swap || log[swap+1] != "sync ." {
		t.Errorf("blobs are removed before index.json is on the disk: %q", log)
	}
}

// Writers, readers and deleters at once: no name is lost that was not deleted,
// and what has a name is whole.
func TestDeleteBesideOthers(t *testing.T) {
	dir := ociDir(t, map[string]*imagetest.Content{"stays": imageOf("shared", "stays")})
	image1 := imageOf("shared", "comes", "and goes")
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for _, name := range []string{"a", "b"} {
		writers.Go(func() {
			for range 15 {
				if err := attach(dir, name, nil, image1, attachTo(image1, name)); err != nil {
					t.Error(err)
				}
				if err := remove(dir, nil, named(name)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for name, c := range map[string]*imagetest.Content{"stays": imageOf("shared", "stays"), "a": image1} {
				err := places[0].read(dir, name, c)
				if err != nil && (name == "stays" || !strings.Contains(err.Error(), "no descriptor found")) {
					t.Errorf("a reader of %s sees %v", name, err)
				}
			}
			time.Sleep(time.Millisecond) // or deleters never find it without a reader
		}
	})
	writers.Wait()
	close(stop)
	readers.Wait()
	check(t, remove(dir, nil))
	wantLeft(t, "in the end", dir, imageOf("shared", "stays"))
}

// Other programs must find what is left, and nothing to collect.
func TestDeletePeers(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c, "v2": imagetest.Index()})
	check(t, remove(dir, nil, named("v2")...))
	before := len(files(t, dir))
	harness.Must(t, "umoci", "gc", "--layout", dir)
	if after := len(files(t, dir)); after != before {
		t.Errorf("umoci collected %d files", before-after)
	}
	if raw := skopeo(t, "inspect", "--raw", "oci:"+dir); raw != string(c.Manifests[c.Root.Digest].Bytes) {
		t.Errorf("skopeo reads %s", raw)
	}
	check(t, remove(dir, nil, image.Deletion{Digest: c.Root.Digest}))
	skopeo(t, "copy", "docker-archive:"+filepath.Join(archiveOf(t), "a.tar"), "oci:"+dir+":v3")
	if got := tagsOf(t, dir); !slices.Equal(got, []string{"v3"}) {
		t.Errorf("names are %v", got)
	}
}

// archiveOf makes a docker archive with skopeo.
func archiveOf(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Image()})
	skopeo(t, "copy", "oci:"+dir+":v1", "docker-archive:"+filepath.Join(base, "a.tar"))
	return base
}
