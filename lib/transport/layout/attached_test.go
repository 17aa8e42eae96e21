package layout

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/test/harness"
)

func TestAttachedLaw(t *testing.T) {
	for _, name := range []string{"v1", ""} { // without a name the image is found among the names of what is attached
		imagetest.TestAttached(t, func(t *testing.T) imagetest.Place {
			dir := filepath.Join(t.TempDir(), "x")
			return imagetest.Place{
				Create: func(t *testing.T) image.Destination { return must(places[0].create(dir, name, nil))(t) },
				Open:   func(*testing.T) (image.Source, error) { return places[0].open(dir, name) },
			}
		})
	}
}

// With blobs in another directory lists are written there, and read where they
// are.
func TestAttachedShared(t *testing.T) {
	base := t.TempDir()
	dir, o := filepath.Join(base, "x"), Options{SharedBlobs: filepath.Join(base, "shared")}
	c := imagetest.Image()
	first, second := attachTo(c, "first"), attachTo(c, "second")
	for i, a := range []*attachment{first, second} {
		dst := must(CreateOCI(ref(dir, "v1"), []Options{{}, o}[i]))(t)
		check(t, sendAttached(t.Context(), dst, c, a))
		check(t, dst.Close())
	}
	src := must(OpenOCI(ref(dir, "v1"), o))(t)
	defer src.Close()
	if got := digestsOf(must(src.Referrers(t.Context(), c.Root.Digest))(t)); !slices.Equal(got, []digest.Digest{first.Root.Digest, second.Root.Digest}) {
		t.Errorf("Referrers = %v; want the old one, which is not shared, and the new one", got)
	}
}

// An attachment is an artifact that belongs to something.
type attachment struct {
	*imagetest.Content
	to   digest.Digest
	name string
}

// attachTo makes a referrer of c's root.
func attachTo(c *imagetest.Content, text string) *attachment {
	a := newContent()
	a.manifest(digest.SHA256, oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "artifactType": "text/" + text,
		"config":      a.blob(digest.SHA256, "application/vnd.oci.empty.v1+json", []byte("{}")),
		"layers":      []oci.Descriptor{a.blob(digest.SHA256, "text/plain", []byte(text))},
		"subject":     oci.Descriptor{MediaType: c.Root.MediaType, Digest: c.Root.Digest, Size: c.Root.Size},
		"annotations": map[string]string{"text": text},
	})
	return &attachment{a.Content, c.Root.Digest, ""}
}

// signatureOf makes what cosign attaches by a name.
func signatureOf(c *imagetest.Content, text string) *attachment {
	a := newContent()
	a.manifest(digest.SHA256, oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest,
		"config": a.blob(digest.SHA256, oci.MediaTypeConfig, []byte(`{"rootfs":{"type":"layers","diff_ids":[]}}`)),
		"layers": []oci.Descriptor{a.blob(digest.SHA256, "text/plain", []byte(text))},
	})
	return &attachment{a.Content, c.Root.Digest, oci.ReferrersTag(c.Root.Digest) + ".sig"}
}

// treeOf reads the whole tree of c.
func treeOf(ctx context.Context, c *imagetest.Content) (*image.Tree, error) {
	tree, err := image.Root(ctx, c.Source(), "")
	if err != nil {
		return nil, err
	}
	return tree, tree.Grow(ctx, c.Source(), nil)
}

// sendAttached writes c with what is attached to it, or to other attachments.
func sendAttached(ctx context.Context, dst image.Destination, c *imagetest.Content, all ...*attachment) error {
	tree, err := treeOf(ctx, c)
	if err != nil {
		return err
	}
	contents := []*imagetest.Content{c}
	for _, a := range all {
		k, err := treeOf(ctx, a.Content)
		if err != nil {
			return err
		}
		k.Name = a.name
		for s := range tree.Walk() {
			if s.Desc.Digest == a.to {
				s.Attached = append(s.Attached, k)
			}
		}
		contents = append(contents, a.Content)
	}
	if err := image.Begin(ctx, dst, tree); err != nil {
		return err
	}
	for _, c := range contents {
		for _, d := range slices.Sorted(maps.Keys(c.Blobs)) {
			desc := oci.Descriptor{Digest: d, Size: int64(len(c.Blobs[d]))}
			if ok, err := dst.Has(ctx, desc); ok || err != nil {
				continue
			}
			b, err := blob.Verify(&blob.Blob{Desc: desc, Reader: bytes.NewReader(c.Blobs[d])})
			if err == nil {
				_, err = dst.Put(ctx, b)
			}
			if err != nil {
				return err
			}
		}
	}
	return dst.Commit(ctx, tree)
}

// attach is sendAttached to a layout.
func attach(dir, name string, s disk.Step, c *imagetest.Content, all ...*attachment) error {
	dst, err := createOCI(ref(dir, name), Options{}, s)
	if err != nil {
		return err
	}
	err = sendAttached(context.Background(), dst, c, all...)
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	return err
}

func digestsOf(list []oci.Descriptor) []digest.Digest {
	var all []digest.Digest
	for _, d := range list {
		all = append(all, d.Digest)
	}
	return all
}

// A list of referrers that two writers add to at the same time must not lose
// one: it is read and written under the lock of index.json.
func TestAttachedWriters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	c := imagetest.Image()
	var wg sync.WaitGroup
	for _, who := range []string{"a", "b"} {
		wg.Go(func() {
			for n := range 10 {
				if err := attach(dir, "v1", nil, c, attachTo(c, fmt.Sprint(who, n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	src := must(OpenOCI(ref(dir, "v1"), Options{}))(t)
	defer src.Close()
	if got := must(src.Referrers(t.Context(), c.Root.Digest))(t); len(got) != 20 {
		t.Errorf("there are %d referrers; want 20", len(got))
	}
	if tags := must(src.Tags(t.Context()))(t); len(tags) != 2 {
		t.Errorf("Tags = %v; want the image and its list of referrers", tags)
	}
	if n := strings.Count(files(t, dir)[indexFile], `"digest"`); n != 2 {
		t.Errorf("index.json has %d entries; want 2: old lists are of no use", n)
	}
}

// A disk that fails leaves all names as they were, or all as they are to be:
// an image never has a part of what was attached in one copy.
func TestAttachedFailAtEachStep(t *testing.T) {
	c := imagetest.Image()
	a, b, s := attachTo(c, "a"), attachTo(c, "b"), signatureOf(c, "s")
	template := filepath.Join(t.TempDir(), "x")
	check(t, attach(template, "v1", nil, c, a))
	for n, done := 1, false; !done; n++ {
		dir, at, failing := filepath.Join(t.TempDir(), "x"), 0, ""
		check(t, os.CopyFS(dir, os.DirFS(template)))
		err := attach(dir, "v1", func(op, name string) error {
			if at++; at < n {
				return nil
			}
			failing += op + " " + name + "; "
			return syscall.EIO
		}, c, b, s)
		done = at < n
		if !done && !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v; want %v", failing, err, syscall.EIO)
		}
		src := must(OpenOCI(ref(dir, "v1"), Options{}))(t)
		tree := must(treeOf(t.Context(), c))(t)
		check(t, imagetest.Check(t.Context(), src, c))
		check(t, tree.Attach(t.Context(), src, image.With{Referrers: true, Tags: true}))
		if k := len(tree.Attached); k != 1 && k != 3 || done && k != 3 {
			t.Errorf("%s: %d things are attached; want 1, or all 3", failing, k)
		}
		for d := range tree.Blobs() {
			if _, err := image.ReadBlob(t.Context(), src, d, 1<<20); err != nil {
				t.Errorf("%s: %v", failing, err)
			}
		}
		check(t, src.Close())
	}
}

// What is there already is not written again, as for images.
func TestAttachedNoOp(t *testing.T) {
	c := imagetest.Image()
	dir := filepath.Join(t.TempDir(), "x")
	all := []*attachment{attachTo(c, "a"), attachTo(c, "b"), signatureOf(c, "s")}
	check(t, attach(dir, "v1", nil, c, all...))
	check(t, attach(dir, "v1", func(op, name string) error {
		if op != "sync" {
			t.Errorf("%s %s; want no changes", op, name)
		}
		return nil
	}, c, all[1], all[0], all[2]))
}

// A signature that is signed again takes the place of the old one, which does
// not stay as an image without a name.
func TestAttachedMoves(t *testing.T) {
	c := imagetest.Image()
	dir := filepath.Join(t.TempDir(), "x")
	for _, text := range []string{"old", "new"} {
		check(t, attach(dir, "", nil, c, signatureOf(c, text)))
	}
	check(t, places[0].read(dir, "", c))
	src := must(OpenOCI(ref(dir, ""), Options{}))(t)
	defer src.Close()
	s := signatureOf(c, "new")
	if d, err := src.Find(t.Context(), s.name); err != nil || d.Digest != s.Root.Digest {
		t.Errorf("Find = %v, %v; want the new signature", d, err)
	}
}

// What a destination says while it is written to must be what a copy in the
// end asks it for: nothing before Commit, everything after it.
func TestDestinationTells(t *testing.T) {
	c := imagetest.Image()
	a, s := attachTo(c, "a"), signatureOf(c, "s")
	dir := filepath.Join(t.TempDir(), "x")
	dst := must(CreateOCI(ref(dir, "v1"), Options{}))(t)
	defer dst.Close()
	tell := func() (string, string, string) {
		_, err := dst.Find(t.Context(), s.name)
		if err != nil && !errors.Is(err, image.ErrNotFound) {
			t.Error(err)
		}
		return fmt.Sprint(must(dst.Tags(t.Context()))(t)), fmt.Sprint(digestsOf(must(dst.Referrers(t.Context(), c.Root.Digest))(t))), fmt.Sprint(err == nil)
	}
	want := func(tags, referrers, found string) {
		t.Helper()
		if a, b, c := tell(); a != tags || b != referrers || c != found {
			t.Errorf("tags %s, referrers %s, signature found %s; want %s, %s, %s", a, b, c, tags, referrers, found)
		}
	}
	want("[]", "[]", "false")
	check(t, sendAttached(t.Context(), dst, c, a, s))
	want(fmt.Sprintf("[%s %s v1]", s.name, oci.ReferrersTag(c.Root.Digest)), fmt.Sprintf("[%s]", a.Root.Digest), "true")
	b := attachTo(c, "b")
	check(t, attach(dir, "v1", nil, c, b)) // somebody else
	want(fmt.Sprintf("[%s v1 %s]", s.name, oci.ReferrersTag(c.Root.Digest)), fmt.Sprintf("[%s %s]", a.Root.Digest, b.Root.Digest), "true")
}

// oras has referrers as entries of index.json. They must be found there, but
// nothing else is to be read for it.
func TestPlainReferrers(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	root := must(disk.Open(filepath.Join(dir, blobsDir), nil))(t)
	defer root.Close()
	entry := func(d oci.Descriptor, artifactType, name string) string {
		d = oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: artifactType}
		if name != "" {
			d.Annotations = map[string]string{oci.AnnotationRefName: name}
		}
		return string(must(json.Marshal(d))(t))
	}
	entries := []string{entry(c.Root, "", "v1")}
	var want []digest.Digest
	for i, tt := range []struct {
		artifactType, name string
		found              bool
	}{{"", "", true}, {"text/x", "", true}, {"text/x", "named", true}, {"", "image", false}} {
		a := attachTo(c, fmt.Sprint("plain", i))
		check(t, putBytes(root, blobName(a.Root.Digest), a.Manifests[a.Root.Digest].Bytes))
		entries = append(entries, entry(a.Root, tt.artifactType, tt.name))
		if tt.found {
			want = append(want, a.Root.Digest)
		}
	}
	other, missing := attachTo(imagetest.Docker(), "other"), attachTo(c, "missing")
	check(t, putBytes(root, blobName(other.Root.Digest), other.Manifests[other.Root.Digest].Bytes))
	entries = append(entries, entry(other.Root, "", ""), entry(missing.Root, "", ""), entries[1])
	check(t, os.WriteFile(filepath.Join(dir, indexFile), []byte(`{"schemaVersion":2,"manifests":[`+strings.Join(entries, ",")+`]}`), 0o644))
	src := must(OpenOCI(ref(dir, "v1"), Options{}))(t)
	defer src.Close()
	for range 2 {
		list := must(src.Referrers(t.Context(), c.Root.Digest))(t)
		if got := digestsOf(list); !slices.Equal(got, want) {
			t.Errorf("Referrers = %v; want %v", got, want)
		}
		if list[0].ArtifactType != "text/plain0" || list[0].Annotations["text"] != "plain0" {
			t.Errorf("the first is %v; want the type and annotations of its manifest", list[0])
		}
	}
	// Those and listed ones are shown once each.
	check(t, attach(dir, "v1", nil, c, attachTo(c, "plain1"), attachTo(c, "listed")))
	src2 := must(OpenOCI(ref(dir, "v1"), Options{}))(t)
	defer src2.Close()
	if got := must(src2.Referrers(t.Context(), c.Root.Digest))(t); len(got) != 4 {
		t.Errorf("Referrers = %v; want 4", digestsOf(got))
	}
}

// Names of lists are a stranger's word: one that stands for an image is no
// list, and a writer must not put a list in its place.
func TestNoList(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c, oci.ReferrersTag(c.Root.Digest): imagetest.Docker()})
	src := must(OpenOCI(ref(dir, ""), Options{}))(t)
	defer src.Close()
	if got, err := src.Referrers(t.Context(), c.Root.Digest); got != nil || err != nil {
		t.Errorf("Referrers = %v, %v; want none", got, err)
	}
	if err := attach(dir, "v1", nil, c, attachTo(c, "a")); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("Commit = %v; want %v", err, image.ErrUnsupported)
	}
	bad := signatureOf(c, "s")
	bad.name += "/../x\n"
	if err := attach(dir, "v1", nil, c, bad); !errors.Is(err, reference.ErrFormat) {
		t.Errorf("Commit = %v; want %v", err, reference.ErrFormat)
	}
}

// What belongs to an image does not make it one of several.
func TestOnlyImage(t *testing.T) {
	c, sig := imagetest.Image(), oci.ReferrersTag(imagetest.Image().Root.Digest)+".sig"
	for _, tt := range []struct {
		images map[string]*imagetest.Content
		want   digest.Digest
	}{
		{map[string]*imagetest.Content{"v1": c, sig: imagetest.Docker()}, c.Root.Digest},
		{map[string]*imagetest.Content{"-": c, sig: imagetest.Docker()}, c.Root.Digest},
		{map[string]*imagetest.Content{sig: c}, c.Root.Digest}, // there is nothing else
		{map[string]*imagetest.Content{sig: c, sig + "2": imagetest.Docker()}, ""},
		{map[string]*imagetest.Content{"v1": c, "v2": c, sig: imagetest.Docker()}, ""},
	} {
		raw, err := rootOf(ref(ociDir(t, tt.images), ""), Options{})
		if tt.want == "" && !errors.Is(err, image.ErrUnsupported) || tt.want != "" && raw.Digest() != tt.want {
			t.Errorf("of %v: %v; want %q", slices.Sorted(maps.Keys(tt.images)), err, tt.want)
		}
	}
}

// dir: holds one image, and nothing beside it.
func TestDirRefusesAttached(t *testing.T) {
	c := imagetest.Image()
	dir := filepath.Join(t.TempDir(), "x")
	dst := must(CreateDir(dir))(t)
	tree := must(treeOf(t.Context(), c))(t)
	tree.Attached = []*image.Tree{must(treeOf(t.Context(), attachTo(c, "a").Content))(t)}
	if err := image.Begin(t.Context(), dst, tree); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("Begin = %v; want %v", err, image.ErrUnsupported)
	}
	if err := dst.Commit(t.Context(), tree); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("Commit = %v; want %v", err, image.ErrUnsupported)
	}
	check(t, dst.Close())
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	check(t, places[1].write(dir, "", c, 1, nil))
	src := must(OpenDir(dir))(t)
	defer src.Close()
	if _, err := image.Tags(t.Context(), src); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("Tags = %v; want %v", err, image.ErrUnsupported)
	}
}

// regctl and we find, and add to, each other's referrers.
func TestRegctlReferrers(t *testing.T) {
	c := imagetest.Image()
	dir := filepath.Join(t.TempDir(), "x")
	check(t, attach(dir, "v1", nil, c, attachTo(c, "ours"), signatureOf(c, "s")))
	file := filepath.Join(t.TempDir(), "f")
	check(t, os.WriteFile(file, []byte("theirs"), 0o644))
	name := "ocidir://" + dir + ":v1"
	harness.Must(t, "regctl", "artifact", "put", "--artifact-type", "text/theirs", "--subject", name, "--file", file)
	check(t, attach(dir, "v1", nil, c, attachTo(c, "more")))
	src := must(OpenOCI(ref(dir, ""), Options{}))(t)
	defer src.Close()
	types := map[string]bool{}
	for _, d := range must(src.Referrers(t.Context(), c.Root.Digest))(t) {
		types[d.ArtifactType] = true
	}
	theirs := harness.Must(t, "regctl", "artifact", "list", name)
	for _, s := range []string{"text/ours", "text/theirs", "text/more"} {
		if !types[s] {
			t.Errorf("we do not find %s: %v", s, types)
		}
		if !strings.Contains(theirs, s) {
			t.Errorf("regctl does not find %s: %s", s, theirs)
		}
	}
	if got := harness.Must(t, "regctl", "artifact", "list", "--digest-tags", name); !strings.Contains(got, string(signatureOf(c, "s").Root.Digest)) {
		t.Errorf("regctl does not find the signature: %s", got)
	}
	if got := strings.Fields(harness.Must(t, "umoci", "ls", "--layout", dir)); len(got) != 3 {
		t.Errorf("umoci lists %v; want the image and two names that belong to it", got)
	}
	if raw := skopeo(t, "inspect", "--raw", "oci:"+dir+":v1"); raw != string(c.Manifests[c.Root.Digest].Bytes) {
		t.Errorf("skopeo reads %s", raw)
	}
}
