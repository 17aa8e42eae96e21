package layout

import (
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

func dirOf(t *testing.T, c *imagetest.Content) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "x")
	check(t, places[1].write(dir, "", c, 4, nil))
	return dir
}

// The files of dir: other tools read them.
func TestGoldenDir(t *testing.T) {
	c := imagetest.Index()
	want := map[string]string{
		"manifest.json": string(c.Manifests[c.Root.Digest].Bytes),
		"version":       "Directory Transport Version: 1.1\n",
	}
	for d, raw := range c.Manifests {
		if d != c.Root.Digest {
			want[d.Encoded()+".manifest.json"] = string(raw.Bytes)
		}
	}
	for d, b := range c.Blobs {
		want[d.Encoded()] = string(b)
	}
	if got := files(t, dirOf(t, c)); !maps.Equal(got, want) {
		t.Errorf("files are %v; want %v", slices.Sorted(keys(got)), slices.Sorted(keys(want)))
	}
	got := files(t, dirOf(t, mixed()))
	if v := got["version"]; v != "Directory Transport Version: 1.2\n" {
		t.Errorf("version with other digests than sha256 is %q", v)
	}
	for d := range mixed().Blobs {
		if _, ok := got[string(d.Algorithm())+"-"+d.Encoded()]; !ok {
			t.Errorf("there is no file for %s: %v", d, slices.Sorted(keys(got)))
		}
	}
}

// What is not an image of dir: is not ours to write over.
func TestCreateDirRefuses(t *testing.T) {
	const foreign = "not a containers image directory, don't want to overwrite important data"
	for _, tt := range []struct{ files, want string }{
		{"", ""},
		{"version=Directory Transport Version: 1.1\n", ""},
		{"version=Directory Transport Version: 1.2\n|README=x", ""},
		{"version=Directory Transport Version: 1.0\n", ""},
		{stagePrefix + "X/y=z", ""}, // left by us
		{"README=x", foreign},
		{"manifest.json={}", foreign},
		{"version=1.1\n|README=x", foreign},
		{"version=|manifest.json={}", foreign},
		{"version=Directory Transport Version: 1.3\n", `unsupported directory transport version "1.3" at "DIR"`},
		{"version=Directory Transport Version: 2.0\n", `unsupported directory transport version "2.0" at "DIR"`},
	} {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, os.Mkdir(dir, 0o755))
		for f := range strings.SplitSeq(tt.files, "|") {
			if name, text, ok := strings.Cut(f, "="); ok {
				check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
				check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
		}
		before := files(t, dir)
		err := places[1].write(dir, "", imagetest.Image(), 2, nil)
		want := strings.ReplaceAll(tt.want, "DIR", dir)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || err.Error() != want):
			t.Errorf("%q: %v; want %q", tt.files, err, want)
		case want == "":
			check(t, places[1].read(dir, "", imagetest.Image()))
		case !maps.Equal(files(t, dir), before):
			t.Errorf("%q: now there is %v", tt.files, files(t, dir))
		}
	}
	base := t.TempDir()
	_, err := CreateDir(filepath.Join(base, "a", "x"))
	if want := "lstat " + filepath.Join(base, "a") + ": no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("CreateDir below a missing directory: %v; want %s", err, want)
	}
	check(t, os.WriteFile(filepath.Join(base, "file"), nil, 0o644))
	if _, err := CreateDir(filepath.Join(base, "file")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("CreateDir of a file: %v", err)
	}
}

// A new image takes the place of all of the old one, and of nothing else.
func TestReplace(t *testing.T) {
	old, c := imagetest.Index(), imagetest.Image()
	dir := dirOf(t, old)
	hex := old.Root.Digest.Encoded()
	gone := []string{"signature-1", "signature-12", hex + ".signature-1", "sha512-" + strings.Repeat("a", 128)}
	stay := []string{
		"README", "signature-x", "signature-", "xsignature-1", "notes-1", hex[1:], strings.ToUpper(hex), hex + ".txt", "sha256-" + hex, "x.manifest.json",
		"sub/" + hex, "." + hex,
	}
	check(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	check(t, os.Mkdir(filepath.Join(dir, strings.Repeat("b", 64)), 0o755)) // a directory is not a blob
	for _, name := range append(gone, stay...) {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644))
	}
	check(t, places[1].write(dir, "", c, 2, nil))
	check(t, places[1].read(dir, "", c))
	want := slices.Sorted(slices.Values(append(stay, filesOf(c)...)))
	if got := slices.Sorted(keys(files(t, dir))); !slices.Equal(got, want) {
		t.Errorf("files are %v; want %v", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, strings.Repeat("b", 64))); err != nil {
		t.Error(err)
	}
}

// Blobs that the old image has are not fetched, and the old image is whole
// until the new one is.
func TestDirReuses(t *testing.T) {
	old, c := imagetest.Index(), imagetest.Image() // they share a layer
	dir := dirOf(t, old)
	src := &counting{Source: c.Source()}
	dst := must(CreateDir(dir))(t)
	check(t, send(t.Context(), dst, src, 1))
	check(t, dst.Close())
	if src.n != len(c.Blobs)-1 {
		t.Errorf("%d blobs were fetched; want %d", src.n, len(c.Blobs)-1)
	}
	check(t, places[1].read(dir, "", c))
}

// Writers at the same time do not know of each other; the last one wins, as a
// whole.
func TestDirWriters(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "x")
	for _, dir := range []string{fresh, dirOf(t, imageOf("shared"))} {
		images := []*imagetest.Content{imageOf("shared", "a"), imageOf("shared", "b"), imageOf("shared", "a", "b")}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				if err := places[1].write(dir, "", images[i%3], 2, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		whole := 0
		for _, c := range images {
			if places[1].read(dir, "", c) == nil {
				whole++
				if got := slices.Sorted(keys(files(t, dir))); !slices.Equal(got, filesOf(c)) {
					t.Errorf("files are %v; want %v", got, filesOf(c))
				}
			}
		}
		if whole != 1 {
			t.Errorf("%d images are whole; want 1", whole)
		}
	}
}

// A stage whose writer lives is not touched by another writer.
func TestStageOfAnother(t *testing.T) {
	a, b := imageOf("shared", "a"), imageOf("shared", "b")
	dir := dirOf(t, imageOf("shared"))
	first := must(CreateDir(dir))(t)
	tree := must(image.Root(t.Context(), a.Source(), ""))(t)
	check(t, tree.Parse())
	for d := range tree.Blobs() {
		if ok := must(first.Has(t.Context(), d))(t); !ok {
			_, err := first.Put(t.Context(), blobOf(a, d))
			check(t, err)
		}
	}
	check(t, places[1].write(dir, "", b, 1, nil)) // removes what a had and b has not
	check(t, places[1].read(dir, "", b))
	check(t, first.Commit(t.Context(), tree))
	check(t, first.Close())
	check(t, places[1].read(dir, "", a))
	if l := leftovers(t, dir); l != nil {
		t.Errorf("left %v", l)
	}
}

// Of the stages that dead writers left, one is used and the others go; of what
// is in it, whole blobs are used, if they are what they are called.
func TestStaleStages(t *testing.T) {
	c := imagetest.Image()
	dir := dirOf(t, imageOf("old"))
	var good, bad digest.Digest
	for d := range c.Blobs {
		good, bad = bad, d
	}
	for _, stage := range []string{"a", "b"} {
		stage = filepath.Join(dir, stagePrefix+stage)
		check(t, os.Mkdir(stage, 0o755))
		for name, b := range map[string][]byte{
			good.Encoded(): c.Blobs[good], bad.Encoded(): bytes.ToUpper(c.Blobs[bad]),
			tempPrefix + "x": nil, manifestFile: []byte("{"), versionFile: nil, good.Encoded() + manifestSuffix: nil,
		} {
			check(t, os.WriteFile(filepath.Join(stage, name), b, 0o644))
		}
	}
	live := filepath.Join(dir, stagePrefix+"live")
	check(t, os.Mkdir(live, 0o755))
	root := must(disk.Open(dir, nil))(t)
	defer root.Close()
	lock := must(root.Lock(t.Context(), stagePrefix+"live"))(t)
	defer lock.Close()

	src := &counting{Source: c.Source()}
	dst := must(CreateDir(dir))(t)
	check(t, send(t.Context(), dst, src, 1))
	check(t, dst.Close())
	check(t, places[1].read(dir, "", c))
	if src.n != len(c.Blobs)-1 {
		t.Errorf("%d blobs were fetched; want %d", src.n, len(c.Blobs)-1)
	}
	if l := leftovers(t, dir); !slices.Equal(l, []string{"/" + stagePrefix + "live"}) {
		t.Errorf("left %v; want the stage of the writer that lives", l)
	}
}

func TestOpenDir(t *testing.T) {
	c := imagetest.Nested()
	dir := dirOf(t, c)
	pin := "@" + string(c.Root.Digest)
	check(t, places[1].read(dir+pin, "", c))
	src := must(OpenDir(dir + "@" + string(digest.FromString("other"))))(t)
	if _, err := src.Manifest(t.Context(), ""); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("another pin: %v; want %v", err, image.ErrMismatch)
	}
	src.Close()
	check(t, os.Rename(dirOf(t, imagetest.Docker()), dir+pin)) // a path that has an @ is a path
	check(t, places[1].read(dir+pin, "", imagetest.Docker()))
	if _, err := OpenDir(dir + "-none" + pin); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, image.ErrNotFound) {
		t.Errorf("OpenDir of a missing path: %v", err)
	}

	check(t, os.Remove(filepath.Join(dir, versionFile))) // which may be missing
	check(t, places[1].read(dir, "", c))
	src = must(OpenDir(dir))(t)
	defer src.Close()
	if raw, err := src.Manifest(t.Context(), c.Root.Digest); err != nil || raw.MediaType != oci.MediaTypeIndex {
		t.Errorf("Manifest by digest = %q, %v", raw.MediaType, err)
	}
	if _, err := src.Manifest(t.Context(), digest.FromString("none")); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("Manifest of what is not there: %v; want %v", err, image.ErrNotFound)
	}
	check(t, os.WriteFile(filepath.Join(dir, versionFile), []byte("Directory Transport Version: 1.3\n"), 0o644))
	if _, err := OpenDir(dir); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf("OpenDir of version 1.3: %v; want %v", err, image.ErrUnsupported)
	}
}

func TestDirMissingManifest(t *testing.T) {
	dir := t.TempDir()
	src := must(OpenDir(dir))(t)
	defer src.Close()
	_, err := src.Manifest(t.Context(), "")
	if want := "open " + filepath.Join(dir, manifestFile) + ": no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("Manifest = %v; want %s", err, want)
	}
}

// The same traps as in a layout.
func TestDirReadsRegularFilesInside(t *testing.T) {
	c := imagetest.Image()
	secret := filepath.Join(t.TempDir(), "secret")
	for name, content := range map[string][]byte{manifestFile: c.Manifests[c.Root.Digest].Bytes, firstBlob(c).Encoded(): c.Blobs[firstBlob(c)]} {
		check(t, os.WriteFile(secret, content, 0o644))
		for _, plant := range []func(path string) error{
			func(path string) error { return os.Symlink(secret, path) },
			func(path string) error { return unix.Mkfifo(path, 0o644) },
			func(path string) error { return os.Mkdir(path, 0o755) },
		} {
			dir := dirOf(t, c)
			path := filepath.Join(dir, name)
			check(t, errors.Join(os.Remove(path), plant(path)))
			if places[1].read(dir, "", c) == nil {
				t.Errorf("%s was read", name)
			}
			if info := must(os.Lstat(path))(t); info.IsDir() {
				continue // which cannot be written over, and is an error
			}
			check(t, places[1].write(dir, "", c, 2, nil))
			check(t, places[1].read(dir, "", c))
			if b := must(os.ReadFile(secret))(t); !bytes.Equal(b, content) {
				t.Errorf("%s was written through a link", name)
			}
		}
	}
}

// Nothing is left of a copy that brought nothing.
func TestDirCloseRemoves(t *testing.T) {
	for _, there := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "x")
		if there {
			check(t, os.Mkdir(dir, 0o755))
		}
		dst := must(CreateDir(dir))(t)
		if _, err := dst.Put(t.Context(), badBlob()); err == nil {
			t.Errorf("Put of a broken blob succeeded")
		}
		check(t, dst.Close())
		if _, err := os.Stat(dir); (err == nil) != there {
			t.Errorf("was there before: %v; now: %v", there, err)
		}
		if there && len(leftovers(t, dir)) > 0 {
			t.Errorf("left %v", leftovers(t, dir))
		}
	}
}

// An image of the third kind keeps its type: what the bytes do not say would be
// lost.
func TestGuess(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"schemaVersion":1,"name":"x","fsLayers":[],"history":[]}`, oci.MediaTypeSchema1Signed},
		{`{"schemaVersion":2,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"` + string(digest.FromString("x")) + `","size":1},"layers":[]}`, oci.MediaTypeDockerManifest},
		{`{"x":1}`, ""},
	} {
		if got := guess(oci.Raw{Bytes: []byte(tt.text)}); got != tt.want {
			t.Errorf("guess(%s) = %q; want %q", tt.text, got, tt.want)
		}
	}
}
