package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// tiny is an image small enough to be spoiled in every way. Its layers are
// plain: no checksum but the digest protects them. One ends in zeros, as tars
// do, so that a cut behind it looks like an end mark.
func tiny() *imagetest.Content {
	a, _ := imagetest.Layer("a", []byte("A"))
	b, _ := imagetest.Layer("b", []byte("B"))
	return imagetest.Plain(a, b)
}

// wholes are archives of tiny images in the forms that matter.
func wholes(t *testing.T) map[string][]byte {
	o := newOldImage("a", "b")
	return map[string][]byte{
		"ours":   streamOf(t, tiny(), Options{Name: "x"}),
		"docker": dockerSave(t, []string{"x:1"}, o),
		"crane":  craneTarball(t, nil, o),
	}
}

// A stream that was cut must never be taken for a whole one, wherever that was.
func TestCut(t *testing.T) {
	for name, b := range wholes(t) {
		for n := 0; n < len(b); n += blockSize {
			for _, cut := range []int{n, n + 1, n + blockSize - 1} {
				for kind, src := range readers(t, b[:cut], Selection{}) {
					_, err := take(t.Context(), src)
					if err == nil {
						t.Errorf("%s/%s: cut to %d of %d bytes it was taken for whole", name, kind, cut, len(b))
					} else if !errors.Is(err, image.ErrIncomplete) && cut >= blockSize {
						t.Errorf("%s/%s: cut to %d bytes: %v; want %v", name, kind, cut, err, image.ErrIncomplete)
					}
				}
			}
		}
	}
}

// Of two zero blocks both must be there, and nothing but zeros behind them.
func TestEndMark(t *testing.T) {
	for name, b := range wholes(t) {
		for tail, ok := range map[string]bool{
			string(make([]byte, 9000)):       true, // tar fills its last record
			"x":                              false,
			string(make([]byte, 5000)) + "x": false,
			string(b):                        false, // two archives in a row: which one is meant?
		} {
			for kind, src := range readers(t, append(bytes.Clone(b), tail...), Selection{}) {
				if _, err := take(t.Context(), src); (err == nil) != ok || err != nil && !errors.Is(err, image.ErrIncomplete) {
					t.Errorf("%s/%s: with %d bytes behind it: %v; want it to be read: %v", name, kind, len(tail), err, ok)
				}
			}
		}
	}
}

// Whatever byte is wrong, either the image is refused or it is the same image:
// some bytes of a tar mean nothing.
func TestCorrupt(t *testing.T) {
	for name, b := range wholes(t) {
		want, err := take(t.Context(), NewReader(bytes.NewReader(b), Selection{}))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(b); i += 17 {
			bad := bytes.Clone(b)
			bad[i] ^= 0x21
			for kind, src := range readers(t, bad, Selection{}) {
				got, err := take(t.Context(), src)
				if err == nil && !sameContent(t, got, want) {
					t.Errorf("%s/%s: byte %d is wrong, and the image became %s", name, kind, i, got.Root.Digest)
				}
			}
		}
	}
}

// sameContent reports whether got and want are the same image. The header of a
// gzip stream may differ: what is in it is then the same all the same, because
// the configuration, which is the same, has its digest.
func sameContent(t *testing.T, got, want *imagetest.Memory) bool {
	if got.Root.Digest == want.Root.Digest {
		return true
	}
	a, err := oci.Parse(got.Manifests[got.Root.Digest])
	if err != nil {
		t.Fatal(err)
	}
	b, err := oci.Parse(want.Manifests[want.Root.Digest])
	if err != nil {
		t.Fatal(err)
	}
	return a.Config.Digest == b.Config.Digest && a.MediaType == oci.MediaTypeDockerManifest && a.Layers[0].MediaType == oci.MediaTypeDockerLayerGzip
}

// A layer that is not what the configuration says is found out, though no
// manifest has its digest: packed or not, first in memory or too large for it.
func TestWrongLayer(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), (maxAhead+1000)/16)
	plain, _ := imagetest.Layer("big", big)
	random := newOldImage("a")
	random.layers[0] = plain
	for name, b := range map[string][]byte{
		"small":      dockerSave(t, nil, withConfigOf(newOldImage("a", "b"), newOldImage("a", "c"))),
		"packed":     craneTarball(t, nil, withConfigOf(newOldImage("a", "b"), newOldImage("a", "c"))),
		"large":      dockerSave(t, nil, random),
		"no gzip":    tarOf(t, member{name: "c.json", body: newOldImage("a").config}, member{name: "l.tar.gz", body: []byte("\x1f\x8b\x08 this is not gzip")}, member{name: dockerName, body: view(t, dockerImage{Config: "c.json", Layers: []string{"l.tar.gz"}})}),
		"exchanged":  exchanged(t),
		"named hash": tarOf(t, member{name: "c.json", body: newOldImage("a").config}, member{name: blobName(digest.FromBytes(plain)), body: plain}, member{name: dockerName, body: view(t, dockerImage{Config: "c.json", Layers: []string{blobName(digest.FromBytes(plain))}})}),
	} {
		for kind, src := range readers(t, b, Selection{}) {
			if _, err := take(t.Context(), src); !errors.Is(err, image.ErrMismatch) {
				t.Errorf("%s/%s: %v; want %v", name, kind, err, image.ErrMismatch)
			}
		}
	}
}

// withConfigOf has the layers of a and the configuration of b.
func withConfigOf(a, b oldImage) oldImage { return oldImage{b.config, a.layers} }

func exchanged(t *testing.T) []byte {
	o := newOldImage("a", "b")
	o.layers[0], o.layers[1] = o.layers[1], o.layers[0]
	return dockerSave(t, nil, o)
}

// What strangers wrote into an archive comes into messages as one short line
// that drives no terminal.
func TestMessages(t *testing.T) {
	evil := strings.Repeat("\x1b[2J\r\n", 5000)
	for _, b := range [][]byte{
		tarOf(t, member{name: dockerName, body: view(t, dockerImage{Config: evil})}),
		tarOf(t, member{name: dockerName, body: []byte(`[` + strconv.Quote(evil) + `]`)}),
		tarOf(t, member{name: dockerName, body: []byte(`[{"Config":"c","` + strings.Repeat("x", 9000) + `":1,"` + strings.Repeat("x", 9000) + `":1}]`)}),
		tarOf(t, member{name: "c", body: newOldImage("a").config}, member{name: dockerName, body: view(t, dockerImage{Config: "c", Layers: []string{evil}})}),
		tarOf(t, member{name: dockerName, body: view(t, dockerImage{Config: evil, RepoTags: []string{evil}}, dockerImage{Config: evil})}),
		tarOf(t, member{name: indexName, body: []byte(`{"schemaVersion":2,"manifests":[` + evilEntry(evil, "a") + `,` + evilEntry(evil, "b") + `]}`)}),
	} {
		for kind, src := range readers(t, b, Selection{}) {
			_, err := take(t.Context(), src)
			if err == nil {
				t.Errorf("%s: the image was read", kind)
			} else if s := err.Error(); len(s) > 2000 || strings.ContainsAny(s, "\x1b\r\n") {
				t.Errorf("%s: message has %d bytes: %.300q", kind, len(s), s)
			}
		}
	}
}

func evilEntry(name, content string) string {
	b, _ := json.Marshal(map[string]any{"mediaType": oci.MediaTypeManifest, "digest": digest.FromString(content), "size": 1, "annotations": map[string]string{"org.opencontainers.image.ref.name": name}})
	return string(b)
}

// What manifest.json names must be there, and make sense.
func TestDockerRefused(t *testing.T) {
	o := newOldImage("a", "b")
	config := member{name: "c.json", body: o.config}
	layers := []member{{name: "a.tar", body: o.layers[0]}, {name: "b.tar", body: o.layers[1]}}
	doc := func(s string) member { return member{name: dockerName, body: []byte(s)} }
	for name, tt := range map[string]struct {
		members []member
		want    error
	}{
		"no layer":      {[]member{config, layers[0], doc(`[{"Config":"c.json","Layers":["a.tar","b.tar"]}]`)}, image.ErrIncomplete},
		"no config":     {[]member{layers[0], layers[1], doc(`[{"Config":"c.json","Layers":["a.tar","b.tar"]}]`)}, image.ErrIncomplete},
		"fewer layers":  {[]member{config, layers[0], layers[1], doc(`[{"Config":"c.json","Layers":["a.tar"]}]`)}, oci.ErrInvalid},
		"more layers":   {[]member{config, layers[0], layers[1], doc(`[{"Config":"c.json","Layers":["a.tar","b.tar","b.tar"]}]`)}, oci.ErrInvalid},
		"Config twice":  {[]member{config, layers[0], layers[1], doc(`[{"Config":"c.json","Config":"d.json","Layers":["a.tar","b.tar"]}]`)}, oci.ErrInvalid},
		"layers":        {[]member{config, layers[0], layers[1], doc(`[{"Config":"c.json","Layers":["a.tar","b.tar"],"layers":[]}]`)}, oci.ErrInvalid},
		"null":          {[]member{config, doc(`null`)}, oci.ErrInvalid},
		"trailing":      {[]member{config, layers[0], layers[1], doc(`[{"Config":"c.json","Layers":["a.tar","b.tar"]}] []`)}, oci.ErrInvalid},
		"empty":         {[]member{config, doc(`[]`)}, image.ErrUnsupported},
		"no Config":     {[]member{config, doc(`[{"Layers":[]}]`)}, oci.ErrInvalid},
		"not JSON":      {[]member{config, doc(`[{"Config":`)}, oci.ErrInvalid},
		"cut":           {[]member{config, doc(`[`)}, oci.ErrInvalid},
		"config is bad": {[]member{{name: "c.json", body: []byte(`{"rootfs":{"diff_ids":["md5:00"]}}`)}, layers[0], doc(`[{"Config":"c.json","Layers":["a.tar"]}]`)}, oci.ErrInvalid},
		"xz":            {[]member{config, {name: "a.tar", body: []byte("\xfd7zXZ\x00 and so on")}, layers[1], doc(`[{"Config":"c.json","Layers":["a.tar","b.tar"]}]`)}, image.ErrUnsupported},
	} {
		for kind, src := range readers(t, tarOf(t, tt.members...), Selection{View: Docker}) {
			if _, err := take(t.Context(), src); !errors.Is(err, tt.want) {
				t.Errorf("%s/%s: %v; want %v", name, kind, err, tt.want)
			}
		}
	}
}

// Links are looked up among the members, and nowhere else; those that go round
// or lead out lead nowhere.
func TestLinks(t *testing.T) {
	o := newOldImage("a", "b")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, o.layers[1], 0o644); err != nil {
		t.Fatal(err)
	}
	rest := []member{{name: "c.json", body: o.config}, {name: "a.tar", body: o.layers[0]},
		{name: dockerName, body: view(t, dockerImage{Config: "c.json", Layers: []string{"a.tar", "b.tar"}})}}
	for name, links := range map[string][]member{
		"round":     {{name: "b.tar", link: "x"}, {name: "x", link: "b.tar"}},
		"itself":    {{name: "b.tar", link: "b.tar"}},
		"out":       {{name: "b.tar", link: "../../../../../../../.." + outside}},
		"absolute":  {{name: "b.tar", link: outside}},
		"hard, out": {{name: "b.tar", link: "../outside", kind: tar.TypeLink}},
		"nowhere":   {{name: "b.tar", link: "x"}},
	} {
		for kind, src := range readers(t, tarOf(t, append(links, rest...)...), Selection{}) {
			if _, err := take(t.Context(), src); err == nil {
				t.Errorf("%s/%s: the image was read", name, kind)
			}
		}
	}
	many := []member{}
	for i := range 2000 { // a chain that does end
		many = append(many, member{name: fmt.Sprint("l", i), link: fmt.Sprint("l", i+1)})
	}
	many = append(many, member{name: "l2000", body: o.layers[1]}, member{name: "b.tar", link: "l0"})
	for kind, src := range readers(t, tarOf(t, append(many, rest...)...), Selection{}) {
		if _, err := take(t.Context(), src); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("chain/%s: %v; want %v", kind, err, oci.ErrInvalid)
		}
	}
}

// Names that could be paths are names of members like others: nobody looks for
// them, and nothing appears on disk.
func TestNames(t *testing.T) {
	c := tiny()
	dir := t.TempDir()
	t.Chdir(dir)
	good := membersOf(t, streamOf(t, c, Options{}))
	for _, name := range []string{"../evil", "/etc/evil", "a/../../evil", "blobs/sha256/../../evil", "blobs/sha256/" + strings.Repeat("0", 63) + "/", "..", ".", "", "blobs/md5/x", strings.Repeat("long/", 100) + "x"} {
		all := append([]member{{name: name, body: []byte("{}"), kind: tar.TypeReg}}, good...)
		if strings.HasSuffix(name, "/") || name == "" {
			all[0].body, all[0].kind = nil, tar.TypeDir
		}
		for kind, src := range readers(t, tarOf(t, all...), Selection{}) {
			got, err := take(t.Context(), src)
			if err != nil {
				t.Errorf("%q/%s: %v", name, kind, err)
				continue
			}
			sameImage(t, got, c)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("reading made %s", entries[0].Name())
	}
	for in, want := range map[string]string{
		"index.json": "index.json", "./index.json": "index.json", "././a/b": "a/b", "/index.json": "", "../index.json": "", "a/../index.json": "",
		"./": "", "a//b": "", "a/": "", "./../a": "", ".//index.json": "", "..a": "..a", "a\x00b": "a\x00b",
	} {
		if got := memberName(in); got != want {
			t.Errorf("memberName(%q) = %q; want %q", in, got, want)
		}
	}
}

// Of two members with one name the later counts, as for tar, where that can be
// known. A stream cannot take back what it has said.
func TestNamesTwice(t *testing.T) {
	c, other := tiny(), imagetest.Image()
	good, wrong := membersOf(t, streamOf(t, c, Options{})), membersOf(t, streamOf(t, other, Options{}))
	twice := append([]member{wrong[1]}, good...) // another index.json first
	for kind, src := range readers(t, tarOf(t, twice...), Selection{}) {
		got, err := take(t.Context(), src)
		switch kind {
		case "file":
			if err != nil {
				t.Fatal(err)
			}
			sameImage(t, got, c)
		case "stream":
			if !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("stream with two of %s: %v; want %v", indexName, err, oci.ErrInvalid)
			}
		}
	}
	same := append([]member{good[1], good[len(good)-1]}, good...)
	for kind, src := range readers(t, tarOf(t, same...), Selection{}) {
		if got, err := take(t.Context(), src); err != nil {
			t.Errorf("%s with two of the same: %v", kind, err)
		} else {
			sameImage(t, got, c)
		}
	}
}

// Documents have their bounds, which hold before they are read.
func TestTooLarge(t *testing.T) {
	spaces := bytes.Repeat([]byte(" "), maxWaiting)
	o := newOldImage("a")
	layer := member{name: "a.tar", body: o.layers[0]}
	entry := view(t, dockerImage{Config: "c.json", Layers: []string{"a.tar"}})
	for name, b := range map[string][]byte{
		"index.json":    tarOf(t, member{name: indexName, body: append(spaces[:oci.MaxManifest:oci.MaxManifest], "{}"...)}),
		"manifest.json": tarOf(t, member{name: dockerName, body: append(spaces[:maxDocker:maxDocker], "[]"...)}),
		"config":        tarOf(t, layer, member{name: "c.json", body: append(spaces[:oci.MaxManifest:oci.MaxManifest], o.config...)}, member{name: dockerName, body: entry}),
	} {
		for kind, src := range readers(t, b, Selection{}) {
			_, err := take(t.Context(), src)
			if !errors.Is(err, image.ErrTooLarge) && !(kind == "stream" && name == "config" && errors.Is(err, image.ErrIncomplete)) {
				t.Errorf("%s/%s: %v; want %v", name, kind, err, image.ErrTooLarge)
			}
		}
	}
	var documents []member // that might be configurations, and that nobody names
	for i := range 6 {
		documents = append(documents, member{name: fmt.Sprint(i, ".json"), body: append([]byte("{}"), spaces[:3<<20]...)})
	}
	if _, err := take(t.Context(), NewReader(bytes.NewReader(tarOf(t, documents...)), Selection{})); !errors.Is(err, image.ErrTooLarge) {
		t.Errorf("documents that wait: %v; want %v", err, image.ErrTooLarge)
	}
}

// endless repeats some bytes.
type endless struct{ unit, rest []byte }

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(e.rest) == 0 {
			e.rest = e.unit
		}
		k := copy(p[n:], e.rest)
		e.rest = e.rest[k:]
		n += k
	}
	return n, nil
}

// A stream without an end is given up at some point.
func TestEndless(t *testing.T) {
	header := func(typ byte, name string, size int) []byte {
		b := tarOf(t, member{name: name, kind: tar.TypeReg, body: make([]byte, size)})
		b = bytes.Clone(b[:blockSize+padded(int64(size))])
		b[156] = typ
		checksum(b)
		return b
	}
	pax := header(tar.TypeXHeader, "x", 12)
	copy(pax[blockSize:], "12 path=abc\n")
	for name, unit := range map[string][]byte{
		"zeros":       make([]byte, blockSize),
		"directories": header(tar.TypeDir, "d", 0),
		"files":       header(tar.TypeReg, "f", 0),
		"pax headers": pax,
		"long names":  header(tar.TypeGNULongName, "n", 700),
		"short junk":  []byte("junk"),
	} {
		e := &endless{unit: unit}
		r := NewReader(e, Selection{})
		_, err := take(t.Context(), r)
		r.Close()
		if err == nil {
			t.Errorf("%s: an endless stream was read to its end", name)
		}
	}
}

// checksum puts the right one into a header.
func checksum(h []byte) {
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h[:blockSize] {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// A gzip around the whole that unpacks to a thousand times its size ends when
// the bounds of the tar do, and needs no memory for it.
func TestBomb(t *testing.T) {
	bomb := gzipOf(t, make([]byte, 20<<20))
	for kind, src := range readers(t, bomb, Selection{}) {
		if _, err := take(t.Context(), src); !errors.Is(err, image.ErrTooLarge) {
			t.Errorf("%s: %v; want %v", kind, err, image.ErrTooLarge)
		}
	}
}

// A sparse file's size in the header is not what is stored; nobody makes such
// archives of images.
func TestSparseMember(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o644, Size: 10, Format: tar.FormatPAX}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "0123456789")
	w.Close()
	raw := b.Bytes()
	raw[156] = tar.TypeGNUSparse
	copy(raw[257:265], "ustar  \x00")
	checksum(raw)
	for kind, src := range readers(t, raw, Selection{}) {
		if _, err := take(t.Context(), src); err == nil {
			t.Errorf("%s: a sparse member was accepted", kind)
		}
	}
}
