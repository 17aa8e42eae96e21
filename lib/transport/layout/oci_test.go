package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// ociDir makes a layout with each image under its name.
func ociDir(t *testing.T, images map[string]*imagetest.Content) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "x")
	names := []string{}
	for name := range images {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		check(t, places[0].write(dir, strings.TrimPrefix(name, "-"), images[name], 4, nil))
	}
	return dir
}

// rootOf opens the layout and reads the manifest that it was opened for.
func rootOf(l reference.Layout, o Options) (oci.Raw, error) {
	src, err := OpenOCI(l, o)
	if err != nil {
		return oci.Raw{}, err
	}
	defer src.Close()
	return src.Manifest(context.Background(), "")
}

// Which image a name means: scripts rely on the choice and on the texts.
func TestChoose(t *testing.T) {
	image1, nested := imagetest.Image(), imagetest.Nested()
	pin := "@" + string(image1.Root.Digest)
	two := ociDir(t, map[string]*imagetest.Content{"v1": image1, "v2": nested})
	one := ociDir(t, map[string]*imagetest.Content{"-": nested})
	literal := ociDir(t, map[string]*imagetest.Content{"v1": image1, "v1" + pin: nested})
	var inner digest.Digest // an image below an index that is below an index
	for d, raw := range nested.Manifests {
		if bytes.Contains(raw.Bytes, []byte(`"arm64"`)) && d != nested.Root.Digest {
			m := must(oci.Parse(raw))(t)
			inner = m.Manifests[0].Digest
		}
	}
	other := strings.Replace(pin, "sha256:", "sha256:0", 1)[:len(pin)]
	for _, tt := range []struct {
		dir, name string
		index     int
		want      digest.Digest
		is        error
		text      string
	}{
		{two, "v1", -1, image1.Root.Digest, nil, ""},
		{two, "v2", -1, nested.Root.Digest, nil, ""},
		{two, "", 0, image1.Root.Digest, nil, ""},
		{two, "", 1, nested.Root.Digest, nil, ""},
		{one, "", -1, nested.Root.Digest, nil, ""},
		{two, "", -1, "", image.ErrUnsupported, "more than one image in oci, choose an image"},
		{two, "", 2, "", image.ErrNotFound, "index 2 is too large, only 2 entries available"},
		{two, "v3", -1, "", image.ErrNotFound, `no descriptor found for reference "v3"`},
		{two, "v1" + pin, -1, image1.Root.Digest, nil, ""},
		{two, "v2" + pin, -1, "", image.ErrMismatch, ""},
		{two, "v3" + pin, -1, "", image.ErrNotFound, ""},
		{two, "v1@sha256:abc", -1, "", image.ErrNotFound, ""},
		{literal, "v1" + pin, -1, nested.Root.Digest, nil, ""},
		{two, pin, -1, image1.Root.Digest, nil, ""},
		{one, "@" + string(inner), -1, inner, nil, ""},
		{two, other, -1, "", image.ErrNotFound, ""},
		{two, "@" + string(firstBlob(image1)), -1, "", image.ErrNotFound, ""}, // no manifest
	} {
		raw, err := rootOf(reference.Layout{Path: tt.dir, Name: tt.name, Index: tt.index}, Options{})
		switch {
		case tt.want != "" && (err != nil || raw.Digest() != tt.want):
			t.Errorf("%q, %d: %s, %v; want %s", tt.name, tt.index, raw.Digest(), err, tt.want)
		case tt.want == "" && (!errors.Is(err, tt.is)):
			t.Errorf("%q, %d: %v; want %v", tt.name, tt.index, err, tt.is)
		case tt.text != "" && err.Error() != tt.text:
			t.Errorf("%q, %d: %q; want %q", tt.name, tt.index, err, tt.text)
		}
	}
}

func firstBlob(c *imagetest.Content) digest.Digest {
	for d := range c.Blobs {
		return d
	}
	return ""
}

// An index.json of other tools.
func TestForeignIndex(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	entry := func(mediaType, name string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}`, mediaType, c.Root.Digest, c.Root.Size, name)
	}
	for _, tt := range []struct {
		text, name string
		want       string // part of the error, "" for none
	}{
		{`{"manifests":[` + entry(c.Root.MediaType, "v1") + `],"x":null,"schemaVersion":2.0}`, "v1", ""},
		{`{"manifests":[` + entry("text/plain", "v1") + "," + entry(c.Root.MediaType, "v1") + `]}`, "v1", ""},
		{`{"manifests":[` + entry("text/plain", "v1") + "," + entry("a/b", "v1") + `]}`, "v1", `reference "v1" matches unsupported manifest MIME types ["text/plain" "a/b"]`},
		{`{"manifests":null}`, "", "more than one image in oci, choose an image"},
		{`{"manifests":[]}`, "v1", `no descriptor found for reference "v1"`},
		{`{"manifests":[{}]}`, "", "digest"},
		{`{"manifests":[{"digest":"sha256:../../../etc/passwd","size":1}]}`, "", "digest"},
		{`{"manifests":[` + strings.Replace(entry(c.Root.MediaType, "v1"), `"size":`, `"size":9`, 1) + `]}`, "v1", "content does not match"},
		{`{"manifests":[` + strings.Replace(entry(c.Root.MediaType, "v1"), `"size":`, `"size":-`, 1) + `]}`, "v1", "size"},
		{`{"manifests":[` + strings.Replace(entry(c.Root.MediaType, "v1"), `"size":`, `"size":123456`, 1) + `]}`, "v1", "too large"},
		{strings.Repeat(" ", maxIndex) + `{"manifests":[]}`, "v1", "too large"},
	} {
		check(t, os.WriteFile(filepath.Join(dir, indexFile), []byte(tt.text), 0o644))
		raw, err := rootOf(ref(dir, tt.name), Options{})
		switch {
		case tt.want == "" && (err != nil || raw.Digest() != c.Root.Digest):
			t.Errorf("%.300s: %v", tt.text, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%.300s: %v; want %s", tt.text, err, tt.want)
		}
	}
}

// The engine cannot know that a root manifest is not what index.json says.
func TestRootIsChecked(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	b := bytes.Replace(c.Manifests[c.Root.Digest].Bytes, []byte("schemaVersion"), []byte("schemaversion"), 1)
	check(t, os.WriteFile(filepath.Join(dir, blobsDir, blobName(c.Root.Digest)), b, 0o644))
	if _, err := rootOf(ref(dir, "v1"), Options{}); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("Manifest = %v; want %v", err, image.ErrMismatch)
	}
}

// A file that is no image of ours must not get out, and one that never ends
// must not stop us.
func TestReadsRegularFilesInside(t *testing.T) {
	c := imagetest.Image()
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, c.Manifests[c.Root.Digest].Bytes, 0o644)) // right bytes, wrong place
	moved := filepath.Join(t.TempDir(), "moved")
	for what, spoil := range map[string]func(dir string) error{
		"manifest leads out": func(dir string) error { return swapFor(dir, blobName(c.Root.Digest), secret) },
		"manifest leads up":  func(dir string) error { return swapFor(dir, blobName(c.Root.Digest), "../../../secret") },
		"blobs lead out": func(dir string) error {
			if err := os.Rename(filepath.Join(dir, blobsDir), moved); err != nil {
				return err
			}
			return os.Symlink(moved, filepath.Join(dir, blobsDir))
		},
		"index.json leads out": func(dir string) error {
			if err := os.Rename(filepath.Join(dir, indexFile), moved+".json"); err != nil {
				return err
			}
			return os.Symlink(moved+".json", filepath.Join(dir, indexFile))
		},
		"manifest is a pipe": func(dir string) error {
			path := filepath.Join(dir, blobsDir, blobName(c.Root.Digest))
			return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o644))
		},
		"index.json is a pipe": func(dir string) error {
			path := filepath.Join(dir, indexFile)
			return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o644))
		},
		"manifest is a directory": func(dir string) error {
			path := filepath.Join(dir, blobsDir, blobName(c.Root.Digest))
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o755))
		},
	} {
		dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
		check(t, spoil(dir))
		if raw, err := rootOf(ref(dir, "v1"), Options{}); err == nil {
			t.Errorf("%s: read %s", what, raw.Digest())
		}
	}
	// Inside blobs/ a link is a way to save space.
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	path := filepath.Join(dir, blobsDir, blobName(c.Root.Digest))
	check(t, errors.Join(os.Rename(path, path+".x"), os.Symlink(filepath.Base(path)+".x", path)))
	if _, err := rootOf(ref(dir, "v1"), Options{}); err != nil {
		t.Errorf("link inside: %v", err)
	}
}

// swapFor puts a symbolic link in the place of a blob.
func swapFor(dir, name, target string) error {
	path := filepath.Join(dir, blobsDir, name)
	return errors.Join(os.Remove(path), os.Symlink(target, path))
}

func TestTags(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"b": c, "a": imagetest.Docker(), "-": imageOf("x"), "c/d@1": c})
	src := must(OpenOCI(ref(dir, ""), Options{}))(t)
	defer src.Close()
	if got, want := must(image.Tags(t.Context(), src))(t), []string{"a", "b", "c/d@1"}; !slices.Equal(got, want) {
		t.Errorf("Tags = %v; want %v", got, want)
	}
}

func TestMissing(t *testing.T) {
	dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Image()})
	src := must(OpenOCI(ref(dir, "v1"), Options{}))(t)
	defer src.Close()
	none := digest.FromString("none")
	_, err := src.Blob(t.Context(), oci.Descriptor{Digest: none, Size: 4})
	if want := filepath.Join(dir, blobsDir, blobName(none)); !errors.Is(err, image.ErrNotFound) || !strings.Contains(err.Error(), want) {
		t.Errorf("Blob = %v; want %v and %s", err, image.ErrNotFound, want)
	}
	if _, err := src.Manifest(t.Context(), none); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("Manifest = %v; want %v", err, image.ErrNotFound)
	}
	if _, err := OpenOCI(ref(filepath.Join(dir, "none"), "v1"), Options{}); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, image.ErrNotFound) {
		t.Errorf("OpenOCI of a missing path: %v", err)
	}
}

// The bytes of a new layout: other tools read them.
func TestGoldenLayout(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	got := files(t, dir)
	want := map[string]string{
		layoutFile: `{"imageLayoutVersion":"1.0.0"}`,
		indexFile: fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d,"annotations":{"org.opencontainers.image.ref.name":"v1"},"platform":{"architecture":"amd64","os":"linux"}}]}`,
			c.Root.Digest, c.Root.Size),
		"blobs/" + blobName(c.Root.Digest): string(c.Manifests[c.Root.Digest].Bytes),
	}
	for d, b := range c.Blobs {
		want["blobs/"+blobName(d)] = string(b)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s is %q; want %q", name, got[name], text)
		}
		info := must(os.Stat(filepath.Join(dir, name)))(t)
		if info.Mode().Perm()&^0o022 != 0o644 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d files; want %d", len(got), len(want))
	}
}

// Only an image has a platform of its own; what a configuration does not say
// is not made up.
func TestPlatform(t *testing.T) {
	for name, want := range map[string]string{
		"image": `"amd64"`, "docker": `"amd64"`, "index": "", "list": "", "nested": "", "artifact": "",
	} {
		dir := ociDir(t, map[string]*imagetest.Content{"v1": imagetest.Everything()[name]})
		text := files(t, dir)[indexFile]
		if got := strings.Contains(text, "platform"); got != (want != "") || !strings.Contains(text, want) {
			t.Errorf("%s: %s; want a platform with %q", name, text, want)
		}
	}
}

// A copy of what is there already writes nothing at all.
func TestNoOp(t *testing.T) {
	c := imagetest.Index()
	dir := ociDir(t, map[string]*imagetest.Content{"v1": c})
	var changes []string
	check(t, places[0].write(dir, "v1", c, 2, func(op, name string) error {
		if op != "sync" {
			changes = append(changes, op+" "+name)
		}
		return nil
	}))
	if changes != nil {
		t.Errorf("changes: %v; want none", changes)
	}
}

// Other people's directories are not ours to write to.
func TestCreateOCIRefuses(t *testing.T) {
	for _, tt := range []struct {
		files map[string]string
		want  string // in the error; "" for none
	}{
		{nil, ""},
		{map[string]string{"blobs/sha256/x": ""}, ""},           // left by a tool that makes oci-layout last
		{map[string]string{tempPrefix + "x": "{"}, ""},          // left by us
		{map[string]string{"blobs/x": "", indexFile: "{}"}, ""}, // there are such
		{map[string]string{layoutFile: `{"imageLayoutVersion":"1.0.0"}`, "README": "hi"}, ""},
		{map[string]string{"README": "hi"}, "not an OCI layout"},
		{map[string]string{"blobs/x": "", ".git/HEAD": ""}, "not an OCI layout"},
		{map[string]string{layoutFile: `{"imageLayoutVersion":"2.0.0"}`}, "not supported"},
		{map[string]string{layoutFile: ``}, "invalid document"},
	} {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, os.Mkdir(dir, 0o755))
		for name, text := range tt.files {
			check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		}
		err := places[0].write(dir, "v1", imagetest.Image(), 2, nil)
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%v: %v; want %q", tt.files, err, tt.want)
		case tt.want == "":
			check(t, places[0].read(dir, "v1", imagetest.Image()))
		case len(files(t, dir)) != len(tt.files):
			t.Errorf("%v: now there is %v", tt.files, files(t, dir))
		}
	}
}

func TestCreateOCINames(t *testing.T) {
	dir := t.TempDir()
	for _, l := range []reference.Layout{
		{Path: dir, Index: 0}, {Path: dir, Index: -1, Name: "@" + string(digest.FromString("x"))}, {Path: dir, Index: -1, Name: "a b"}, {Path: dir, Index: -1, Name: "a\xff"},
	} {
		if d, err := CreateOCI(l, Options{}); err == nil {
			d.Close()
			t.Errorf("CreateOCI(%+v) succeeded", l)
		}
	}
	_, err := CreateOCI(ref(filepath.Join(dir, "a", "b", "x"), "v1"), Options{})
	if want := "lstat " + filepath.Join(dir, "a") + ": no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("CreateOCI below a missing directory: %v; want %s", err, want)
	}
}

// Asking is not writing: a dry run leaves no trace.
func TestHasMakesNothing(t *testing.T) {
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		dst := must(p.create(dir, "v1", nil))(t)
		if ok, err := dst.Has(t.Context(), desc("a")); ok || err != nil {
			t.Errorf("%s: Has = %v, %v", p.name, ok, err)
		}
		check(t, dst.Close())
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %s is there: %v", p.name, dir, err)
		}
	}
}

func TestEmptyPath(t *testing.T) {
	t.Chdir(t.TempDir())
	check(t, places[0].write("", "v1", imagetest.Image(), 2, nil))
	check(t, places[0].read("", "v1", imagetest.Image()))
	if _, err := os.Stat(indexFile); err != nil {
		t.Error(err)
	}
}

// Links that somebody planted in a layout must not make us write elsewhere.
func TestWritesInside(t *testing.T) {
	c := imagetest.Image()
	for _, name := range []string{indexFile, "blobs/" + blobName(c.Root.Digest), "blobs/" + blobName(firstBlob(c))} {
		dir := ociDir(t, map[string]*imagetest.Content{"v0": imageOf("old")})
		victim := filepath.Join(t.TempDir(), "victim")
		check(t, os.WriteFile(victim, []byte(`{"manifests":[]}`), 0o644))
		os.Remove(filepath.Join(dir, name))
		check(t, os.Symlink(victim, filepath.Join(dir, name)))
		err := places[0].write(dir, "v1", c, 2, nil)
		if b := must(os.ReadFile(victim))(t); string(b) != `{"manifests":[]}` {
			t.Errorf("%s: the victim is %q", name, b)
		}
		if name != indexFile { // which cannot be read, so cannot be kept
			check(t, err)
			check(t, places[0].read(dir, "v1", c))
		}
	}
	dir, outside := ociDir(t, map[string]*imagetest.Content{"v0": imageOf("old")}), t.TempDir()
	check(t, os.RemoveAll(filepath.Join(dir, blobsDir)))
	check(t, os.Symlink(outside, filepath.Join(dir, blobsDir)))
	if err := places[0].write(dir, "v1", c, 2, nil); err == nil || len(files(t, outside)) > 0 {
		t.Errorf("blobs/ leads out: %v; there are %v", err, files(t, outside))
	}
}

// Only what a dead process left may be swept away.
func TestSweep(t *testing.T) {
	dir := ociDir(t, map[string]*imagetest.Content{"v0": imageOf("old")})
	root := must(disk.Open(dir, nil))(t)
	defer root.Close()
	live := must(root.Temp("blobs/sha256", tempPrefix))(t)
	defer live.Drop()
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.WriteFile(outside, nil, 0o644))
	keep := []string{"blobs/sha256/other", "blobs/sha256/" + tempPrefix + "link", "blobs/sha256/" + tempPrefix + "dir", live.Name()}
	stale := []string{tempPrefix + "a", "blobs/sha256/" + tempPrefix + "b"}
	check(t, os.Symlink(outside, filepath.Join(dir, keep[1])))
	check(t, os.Mkdir(filepath.Join(dir, keep[2]), 0o755))
	for _, name := range append(stale, keep[0]) {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644))
	}
	check(t, places[0].write(dir, "v1", imageOf("new"), 2, nil))
	for _, name := range keep {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s was removed: %v", name, err)
		}
	}
	for _, name := range stale {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was left", name)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}

// counting counts the blobs that are read.
type counting struct {
	image.Source
	n int
}

func (c *counting) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	c.n++
	return c.Source.Blob(ctx, d)
}

// What a failed try has brought need not be fetched again: blobs are large and
// networks slow.
func TestNextTryGoesOn(t *testing.T) {
	c := imagetest.Image()
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		dst := must(p.create(dir, "v1", nil))(t)
		for d, b := range c.Blobs {
			_, err := dst.Put(t.Context(), must(blob.Verify(&blob.Blob{Desc: oci.Descriptor{Digest: d, Size: int64(len(b))}, Reader: bytes.NewReader(b)}))(t))
			check(t, err)

			if _, err := dst.Put(t.Context(), badBlob()); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: Put from a broken reader: %v", p.name, err)
			}
			break
		}
		check(t, dst.Close())
		for _, name := range leftovers(t, dir) {
			if strings.Contains(name, tempPrefix) {
				t.Errorf("%s: left %s", p.name, name)
			}
		}
		dst = must(p.create(dir, "v1", nil))(t)
		src := &counting{Source: c.Source()}
		check(t, send(t.Context(), dst, src, 1))
		check(t, dst.Close())
		if src.n != len(c.Blobs)-1 {
			t.Errorf("%s: %d blobs were fetched; want %d", p.name, src.n, len(c.Blobs)-1)
		}
		check(t, p.read(dir, "v1", c))
		if l := leftovers(t, dir); l != nil {
			t.Errorf("%s: left %v", p.name, l)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Put must stop with the engine, even when its source would go on for ever.
func TestPutStops(t *testing.T) {
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		dst := must(p.create(dir, "v1", nil))(t)
		ctx, cancel := context.WithCancel(t.Context())
		endless := &blob.Blob{Desc: oci.Descriptor{Digest: digest.FromString("x"), Size: -1}, Reader: onRead{cancel}}
		if _, err := dst.Put(ctx, endless); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Put = %v; want %v", p.name, err, context.Canceled)
		}
		check(t, dst.Close())
		if _, err := os.Lstat(dir); err == nil && len(leftovers(t, dir)) > 0 {
			t.Errorf("%s: left %v", p.name, leftovers(t, dir))
		}
	}
}

type onRead struct{ f func() }

func (r onRead) Read(p []byte) (int, error) { r.f(); return len(p), nil }

// Who deletes blobs holds blobs/ exclusively: a writer waits for that, as long
// as it is wanted, and holds deleters off while it relies on blobs.
func TestLocks(t *testing.T) {
	c := imagetest.Image()
	dir := ociDir(t, map[string]*imagetest.Content{"v0": c})
	root := must(disk.Open(dir, nil))(t)
	defer root.Close()
	for _, name := range []string{blobsDir, layoutFile} {
		held := must(root.Lock(t.Context(), name))(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		dst := must(CreateOCI(ref(dir, "v1"), Options{}))(t)
		if err := send(ctx, dst, c.Source(), 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s is locked: %v; want %v", name, err, context.DeadlineExceeded)
		}
		cancel()
		done := make(chan error)
		go func() { done <- send(t.Context(), dst, c.Source(), 2) }()
		held.Close()
		check(t, <-done)
		if f, err := root.TryLock(blobsDir); f != nil || err != nil {
			t.Errorf("blobs/ could be locked while somebody relied on it: %v", err)
		}
		check(t, dst.Close())
		f, err := root.TryLock(blobsDir)
		if f == nil || err != nil {
			t.Fatalf("blobs/ could not be locked when nobody relied on it: %v", err)
		}
		f.Close()
	}
}

// Other tools put a new file in the place of the one that we wait for. A lock
// on what has no name any more protects nothing.
func TestLockOfReplacedFile(t *testing.T) {
	dir := t.TempDir()
	root := must(disk.Open(dir, nil))(t)
	defer root.Close()
	check(t, putBytes(root, "a", []byte("1")))
	held := must(root.Lock(t.Context(), "a"))(t)
	got := make(chan *os.File)
	go func() {
		f, err := root.Lock(t.Context(), "a")
		if err != nil {
			t.Error(err)
		}
		got <- f
	}()
	check(t, putBytes(root, "a", []byte("2")))
	held.Close()
	f := <-got
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "2" || err != nil {
		t.Errorf("locked the file with %q, %v; want the new one", b, err)
	}
}

func TestSharedBlobs(t *testing.T) {
	c, more := imagetest.Index(), imagetest.Image()
	base := t.TempDir()
	o := Options{SharedBlobs: filepath.Join(base, "shared")}
	for i, c := range []*imagetest.Content{c, c, more} {
		dir := filepath.Join(base, fmt.Sprint("x", i))
		src := &counting{Source: c.Source()}
		dst := must(CreateOCI(ref(dir, "v1"), o))(t)
		check(t, send(t.Context(), dst, src, 1))
		check(t, dst.Close())
		if i == 1 && src.n > 0 {
			t.Errorf("%d blobs were fetched that another layout has", src.n)
		}
		got := must(OpenOCI(ref(dir, "v1"), o))(t)
		check(t, imagetest.Check(t.Context(), got, c))
		check(t, got.Close())
		if names := slices.Sorted(keys(files(t, dir))); !slices.Equal(names, []string{indexFile, layoutFile}) {
			t.Errorf("the layout itself has %v", names)
		}
	}
	if l := leftovers(t, base); l != nil {
		t.Errorf("left %v", l)
	}
	// Blobs that are not shared are found in the layout.
	own := ociDir(t, map[string]*imagetest.Content{"v1": imageOf("own")})
	got := must(OpenOCI(ref(own, "v1"), o))(t)
	defer got.Close()
	check(t, imagetest.Check(t.Context(), got, imageOf("own")))
}

// An index.json that cannot be read again must not be written.
func TestIndexTooLarge(t *testing.T) {
	dir := ociDir(t, map[string]*imagetest.Content{"v0": imageOf("old")})
	text := files(t, dir)[indexFile]
	text = strings.TrimSuffix(text, "}") + `,"x":"`
	text += strings.Repeat("x", maxIndex-len(text)-2) + `"}`
	check(t, os.WriteFile(filepath.Join(dir, indexFile), []byte(text), 0o644))
	if err := places[0].write(dir, "v1", imageOf("new"), 1, nil); !errors.Is(err, image.ErrTooLarge) {
		t.Errorf("Commit = %v; want %v", err, image.ErrTooLarge)
	}
	if files(t, dir)[indexFile] != text {
		t.Errorf("index.json has changed")
	}
}

// One that can be read must not be made one that cannot.
func TestIndexTooMany(t *testing.T) {
	dir := ociDir(t, map[string]*imagetest.Content{"v0": imageOf("old")})
	text := `{"manifests":[` + strings.Repeat(`{},`, maxEntries-1) + `{}]}`
	check(t, os.WriteFile(filepath.Join(dir, indexFile), []byte(text), 0o644))
	if err := places[0].write(dir, "v1", imageOf("new"), 1, nil); !errors.Is(err, image.ErrTooLarge) {
		t.Errorf("Commit = %v; want %v", err, image.ErrTooLarge)
	}
	if files(t, dir)[indexFile] != text {
		t.Errorf("index.json has changed")
	}
}
