package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/layout"
	"github.com/imgtools/imgtools/test/harness"
)

func TestAttachedLaw(t *testing.T) {
	for _, o := range []Options{{View: OCI, Name: "v1"}, {View: OCI}, {Name: "a.example/b:v1"}} {
		imagetest.TestAttached(t, func(t *testing.T) imagetest.Place {
			path := filepath.Join(t.TempDir(), "a.tar")
			return imagetest.Place{
				Create: func(t *testing.T) image.Destination {
					dst, err := Create(path, o)
					if err != nil {
						t.Fatal(err)
					}
					return dst
				},
				Open: func(*testing.T) (image.Source, error) {
					return OpenFile(path, Selection{View: o.View, Name: o.Name})
				},
			}
		})
	}
}

// attachedStream writes an image with all that is attached to a stream.
func attachedStream(t testing.TB, c *imagetest.Content, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, o)
	defer w.Close()
	if err := imagetest.SendAttached(t.Context(), w, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withAttached reads the tree of a source with all that is attached.
func withAttached(ctx context.Context, src image.Source) (*image.Tree, error) {
	tree, err := grow(ctx, src)
	if err != nil {
		return nil, err
	}
	return tree, tree.Attach(ctx, src, image.With{Referrers: true, Tags: true})
}

// attachments maps all that is attached, at any level, to what it is attached to.
func attachments(tree *image.Tree) map[string]string {
	all := map[string]string{}
	for k := range tree.Walk() {
		for _, a := range k.Attached {
			all[a.Name+" "+a.Desc.Digest.String()] = k.Desc.Digest.String()
		}
	}
	return all
}

func wantAttached(t testing.TB, what string, src image.Source, c *imagetest.Content) *image.Tree {
	t.Helper()
	want, err := withAttached(t.Context(), c.Source())
	if err != nil {
		t.Fatal(err)
	}
	got, err := withAttached(t.Context(), src)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return nil
	}
	if got, want := attachments(got), attachments(want); !maps.Equal(got, want) || len(want) != 4 {
		t.Errorf("%s: attached are %v; want %v", what, got, want)
	}
	return got
}

// A stream has all that is attached in its head: it is known before the first
// blob has passed. In the docker view, the image is what it is without it.
func TestAttachedStream(t *testing.T) {
	c := imagetest.Signed()
	for _, o := range []Options{{}, {Name: "v1"}} {
		b := attachedStream(t, c, o)
		for name, src := range readers(t, b, Selection{}) {
			tree := wantAttached(t, name, src, c)
			seq, ok := src.(image.Sequence)
			if tree == nil || !ok {
				continue
			}
			got := map[digest.Digest]bool{}
			for {
				b, err := seq.Next(t.Context())
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got[b.Desc.Digest] = true
			}
			for d := range tree.Blobs() {
				if !got[d.Digest] {
					t.Errorf("%s: blob %s did not come", name, d.Digest)
				}
			}
		}
		if again := attachedStream(t, c, o); !bytes.Equal(again, b) {
			t.Errorf("two streams differ")
		}
	}
}

// A stream whose head comes last tells what is attached at its end.
func TestAttachedHeadLast(t *testing.T) {
	c := imagetest.Signed()
	var head, blobs []member
	for _, m := range membersOf(t, attachedStream(t, c, Options{})) {
		if d, ok := blobDigest(m.name); ok && c.Manifests[d].Bytes == nil && !bytes.Contains(m.body, []byte(`"manifests"`)) {
			blobs = append(blobs, m)
		} else {
			head = append(head, m)
		}
	}
	slices.Reverse(head)
	r := NewReader(bytes.NewReader(tarOf(t, append(blobs, head...)...)), Selection{})
	defer r.Close()
	for {
		if _, err := r.Next(t.Context()); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	wantAttached(t, "head last", r, c)
}

// As long as index.json has not come, nobody knows.
func TestNamesLater(t *testing.T) {
	large := member{name: "blobs/sha256/" + strings.Repeat("a", 64), body: make([]byte, maxAhead+1)}
	b := tarOf(t, large, member{name: indexName, body: []byte(`{"schemaVersion":2,"manifests":[]}`)})
	r := NewReader(bytes.NewReader(b), Selection{})
	defer r.Close()
	ask := func() (errs []error) {
		_, err := r.Tags(t.Context())
		errs = append(errs, err)
		_, err = r.Find(t.Context(), "v1")
		errs = append(errs, err)
		_, err = r.Referrers(t.Context(), digest.FromString("x"))
		return append(errs, err)
	}
	for i, err := range ask() {
		if !errors.Is(err, image.ErrLater) {
			t.Errorf("call %d: %v; want %v", i, err, image.ErrLater)
		}
	}
	if _, err := r.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(t.Context()); err != io.EOF {
		t.Fatal(err)
	}
	for i, err := range ask() {
		if want := []error{nil, image.ErrNotFound, nil}[i]; !errors.Is(err, want) {
			t.Errorf("in the end, call %d: %v; want %v", i, err, want)
		}
	}
}

// The same bytes to a stream and to a file, in whatever order blobs come.
func TestAttachedBytes(t *testing.T) {
	c := imagetest.Signed()
	want := attachedStream(t, c, Options{Name: "v1"})
	for range 2 {
		path := filepath.Join(t.TempDir(), "a.tar")
		for range 2 { // and again, when all is there
			dst, err := Create(path, Options{Name: "v1"})
			if err != nil {
				t.Fatal(err)
			}
			tree, err := withAttached(t.Context(), c.Source())
			if err != nil {
				t.Fatal(err)
			}
			if err := image.Begin(t.Context(), dst, tree); err != nil {
				t.Fatal(err)
			}
			blobs := slices.Collect(tree.Blobs())
			slices.Reverse(blobs)
			for _, d := range blobs {
				if err := putBytes(t.Context(), dst, d, c.Blobs[d.Digest]); err != nil {
					t.Fatal(err)
				}
			}
			if err := dst.Commit(t.Context(), tree); err != nil {
				t.Fatal(err)
			}
			dst.Close()
			if got := mustRead(t, path); !bytes.Equal(got, want) {
				t.Errorf("the file differs from the stream")
			}
		}
	}
}

// one is Signed with only one of the things attached.
func one(t *testing.T, c *imagetest.Content, i int) *image.Tree {
	t.Helper()
	tree, err := withAttached(t.Context(), c.Source())
	if err != nil {
		t.Fatal(err)
	}
	tree.Attached = tree.Attached[i : i+1]
	return tree
}

func commit(t *testing.T, dst image.Destination, tree *image.Tree, c *imagetest.Content) {
	t.Helper()
	for d := range tree.Blobs() {
		if err := putBytes(t.Context(), dst, d, c.Blobs[d.Digest]); err != nil {
			t.Fatal(err)
		}
	}
	if err := dst.Commit(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
}

// A list of referrers is added to, by one writer after the other and by two at
// once; and a file's destination tells what is there now.
func TestAttachedMerge(t *testing.T) {
	c := imagetest.Signed()
	path := filepath.Join(t.TempDir(), "a.tar")
	var both [2]image.Destination
	for i := range both {
		dst, err := Create(path, Options{Name: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		both[i] = dst
		if err := image.Begin(t.Context(), dst, one(t, c, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, dst := range both {
		r := dst.(image.Referrer)
		if list, err := r.Referrers(t.Context(), c.Root.Digest); len(list) != 0 || err != nil {
			t.Errorf("before Commit there are %v, %v", list, err)
		}
		commit(t, dst, one(t, c, i), c)
		if list, err := r.Referrers(t.Context(), c.Root.Digest); len(list) != i+1 || err != nil {
			t.Errorf("after Commit %d there are %v, %v", i, list, err)
		}
	}
	dst := both[1]
	if tags, err := dst.(image.Lister).Tags(t.Context()); len(tags) != 4 || err != nil {
		t.Errorf("Tags = %v, %v; want the image, two lists and a signature", tags, err)
	}
	for name, want := range c.Names {
		if d, err := dst.(image.Namer).Find(t.Context(), name); err != nil || d.Digest != want.Digest {
			t.Errorf("Find(%s) = %v, %v", name, d.Digest, err)
		}
	}
	if _, err := dst.(image.Namer).Find(t.Context(), "none"); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("Find(none) = %v; want %v", err, image.ErrNotFound)
	}
	src, err := OpenFile(path, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	wantAttached(t, "merged", src, c)
}

// What is attached to an image that goes, because its name moves to another
// one, goes too; what was there without its image stays.
func TestAttachedGoes(t *testing.T) {
	c := imagetest.Signed()
	path := filepath.Join(t.TempDir(), "a.tar")
	orphan := oci.ReferrersTag(digest.FromString("elsewhere")) + ".sig"
	writeTo(t, path, imagetest.Artifact(), Options{Name: orphan})
	dst, err := Create(path, Options{Name: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := imagetest.SendAttached(t.Context(), dst, c); err != nil {
		t.Fatal(err)
	}
	dst.Close()
	if got := namesIn(t, path); len(got) != 5 {
		t.Errorf("names are %v; want 5", got)
	}
	writeTo(t, path, imagetest.Image(), Options{Name: "v1"})
	wantNamed(t, path, map[string]*imagetest.Content{"v1": imagetest.Image(), orphan: imagetest.Artifact()})
	members := membersOf(t, mustRead(t, path))
	want := 3 + len(imagetest.Image().Blobs) + 1 + len(imagetest.Artifact().Blobs) + 1
	if len(members) != want {
		t.Errorf("there are %d members; want %d", len(members), want)
	}
}

// A docker archive holds single images, and nothing beside them.
func TestAttachedDocker(t *testing.T) {
	c := imagetest.Image()
	tree := treeOf(t, c)
	tree.Attached = []*image.Tree{treeOf(t, imagetest.Artifact())}
	for name, dst := range map[string]image.Destination{
		"stream": NewWriter(io.Discard, Options{View: Docker}),
		"file": func() image.Destination {
			dst, err := Create(filepath.Join(t.TempDir(), "a.tar"), Options{View: Docker})
			if err != nil {
				t.Fatal(err)
			}
			return dst
		}(),
	} {
		if err := image.Begin(t.Context(), dst, tree); !errors.Is(err, image.ErrUnsupported) {
			t.Errorf("%s: Begin = %v; want %v", name, err, image.ErrUnsupported)
		}
		dst.Close()
	}
	// In an archive that has both views, the docker view is of the image only.
	b := attachedStream(t, single1(t), Options{Name: "a.example/b:c"})
	for name, src := range readers(t, b, Selection{View: Docker}) {
		if tree, err := withAttached(t.Context(), src); err != nil || len(attachments(tree)) != 0 {
			t.Errorf("%s: %v, %v; want nothing attached", name, tree, err)
		}
	}
}

// single1 is a signed image for one platform.
func single1(t *testing.T) *imagetest.Content {
	t.Helper()
	c := imagetest.Signed()
	for d, raw := range c.Manifests {
		if m, err := oci.Parse(raw); err != nil {
			t.Fatal(err)
		} else if m.IsImage() && c.Names[oci.ReferrersTag(d)+".sig"].Digest != "" {
			c.Root = raw.Descriptor()
			return c
		}
	}
	t.Fatal("no signed image")
	return nil
}

// Names are a stranger's word, and lists of referrers too.
func TestAttachedRefused(t *testing.T) {
	c := imagetest.Image()
	tree := treeOf(t, c)
	k := treeOf(t, imagetest.Artifact())
	k.Name = oci.ReferrersTag(c.Root.Digest) + ".sig\n"
	tree.Attached = []*image.Tree{k}
	if err := NewWriter(io.Discard, Options{}).Begin(t.Context(), tree); !errors.Is(err, reference.ErrFormat) {
		t.Errorf("Begin = %v; want %v", err, reference.ErrFormat)
	}
	path := filepath.Join(t.TempDir(), "a.tar")
	writeTo(t, path, imagetest.Docker(), Options{Name: oci.ReferrersTag(c.Root.Digest)})
	dst, err := Create(path, Options{Name: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	k.Name = ""
	if err := image.Begin(t.Context(), dst, tree); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("Begin = %v; want %v", err, image.ErrUnsupported)
	}
	// A tree that says another thing in the end is another tree.
	w := NewWriter(io.Discard, Options{HeadOnly: true})
	defer w.Close()
	if err := w.Begin(t.Context(), treeOf(t, c)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), tree); !errors.Is(err, errOther) {
		t.Errorf("Commit = %v; want %v", err, errOther)
	}
}

// oras has referrers as entries of index.json.
func TestPlainReferrers(t *testing.T) {
	c := single1(t)
	var entries []string
	members := []member{{name: layoutName, body: []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {name: indexName}}
	entry := func(d oci.Descriptor, more string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, d.MediaType, d.Digest, d.Size, more)
	}
	subject, want := digest.Digest(""), 0
	for _, d := range slices.Sorted(maps.Keys(c.Manifests)) {
		raw := c.Manifests[d]
		m, err := oci.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != nil {
			if subject == "" {
				subject = m.Subject.Digest
			}
			if subject == m.Subject.Digest {
				want++
			}
			entries = append(entries, entry(raw.Descriptor(), ""), entry(raw.Descriptor(), `,"artifactType":"x/y","annotations":{"org.opencontainers.image.ref.name":"n`+fmt.Sprint(len(entries))+`"}`))
			members = append(members, member{name: blobName(d), body: raw.Bytes})
		}
	}
	entries = append(entries, entry(oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString("gone"), Size: 4}, ""))
	members[1].body = []byte(`{"schemaVersion":2,"manifests":[` + strings.Join(entries, ",") + `]}`)
	b := tarOf(t, members...)
	for name, src := range readers(t, b, Selection{}) {
		for range 2 {
			if list, err := image.Referrers(t.Context(), src, subject); len(list) != want || err != nil || list[0].ArtifactType == "" || want == 0 {
				t.Errorf("%s: Referrers = %v, %v; want %d", name, list, err, want)
			}
		}
	}
	// They are no image without a name, whose place another takes.
	members[1].body = []byte(`{"schemaVersion":2,"manifests":[` + strings.Join(entries[:len(entries)-1], ",") + `]}`)
	path := fileOf(t, tarOf(t, members...))
	for range 2 {
		writeTo(t, path, imagetest.Artifact(), Options{})
	}
	src, err := OpenFile(path, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if list, err := image.Referrers(t.Context(), src, subject); len(list) != want || err != nil {
		t.Errorf("when an image is added: Referrers = %v, %v; want %d", list, err, want)
	}
	if all, err := List(t.Context(), path, OCI); len(all) != len(entries) || err != nil {
		t.Errorf("the archive lists %v, %v; want the referrers and one image", all, err)
	}
}

// Names of docker archives are what scripts have from skopeo; each leads to
// its image.
func TestDockerTags(t *testing.T) {
	plain, _ := imagetest.Layer("x", []byte("x"))
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, digest.FromBytes(plain))
	text := `[{"Config":"c.json","RepoTags":["b:2","docker.io/library/a:1"],"Layers":["x.tar"]},{"Config":"c.json","RepoTags":null,"Layers":["x.tar"]}]`
	b := tarOf(t, member{name: dockerName, body: []byte(text)}, member{name: "c.json", body: []byte(config)}, member{name: "x.tar", body: plain})
	want := []string{"b:2", "docker.io/library/a:1", "@1"}
	for _, v := range []View{Any, Docker} {
		for name, src := range readers(t, b, Selection{View: v, Position: 1}) {
			got, err := image.Tags(t.Context(), src)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: Tags = %v, %v; want %v", name, got, err, want)
			}
			for _, tag := range want {
				d, err := image.Find(t.Context(), src, tag)
				if _, inPlace := src.(*file); !inPlace {
					if !errors.Is(err, image.ErrUnsupported) {
						t.Errorf("%s: Find(%s) = %v; want %v", name, tag, err, image.ErrUnsupported)
					}
					continue
				}
				raw, rerr := src.Manifest(t.Context(), "")
				if err != nil || rerr != nil || d.Digest != raw.Digest() {
					t.Errorf("%s: Find(%s) = %v, %v; want %s", name, tag, d, err, raw.Digest())
				}
			}
			for _, tag := range []string{"c:3", "@2", ""} {
				if _, err := image.Find(t.Context(), src, tag); !errors.Is(err, image.ErrNotFound) {
					t.Errorf("%s: Find(%q) = %v; want %v", name, tag, err, image.ErrNotFound)
				}
			}
		}
	}
}

// Other programs read the image as if nothing was attached to it, and find
// what is where they look for it.
func TestAttachedPeers(t *testing.T) {
	c := single1(t)
	path := fileOf(t, attachedStream(t, c, Options{Name: "v1"}))
	raw := harness.Must(t, "skopeo", "--insecure-policy", "inspect", "--raw", "oci-archive:"+path+":v1")
	if raw != string(c.Manifests[c.Root.Digest].Bytes) {
		t.Errorf("skopeo reads %s", raw)
	}
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "tar", "-C", dir, "-xf", path)
	src, err := layout.OpenOCI(reference.Layout{Path: dir, Index: -1}, layout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if tree, err := withAttached(t.Context(), src); err != nil || len(attachments(tree)) != 1 {
		t.Errorf("as a layout: %v, %v; want the signature", tree, err)
	}
	signed := fileOf(t, attachedStream(t, imagetest.Signed(), Options{Name: "v1"}))
	all := filepath.Join(t.TempDir(), "all")
	if err := os.Mkdir(all, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, "tar", "-C", all, "-xf", signed)
	if got := harness.Must(t, "regctl", "artifact", "list", "ocidir://"+all+":v1"); !strings.Contains(got, "application/spdx+json") || !strings.Contains(got, "sigstore.bundle") {
		t.Errorf("regctl finds %s", got)
	}
}
