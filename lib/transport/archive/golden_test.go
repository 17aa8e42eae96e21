package archive

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

var fix = flag.Bool("fix", false, "write the golden files anew")

// fixed is an image whose bytes are written out here, so that no encoder's
// whims are in them.
func fixed() *imagetest.Content {
	blob := func(mediaType, s string) (oci.Descriptor, []byte) {
		return oci.Descriptor{MediaType: mediaType, Digest: digest.FromString(s), Size: int64(len(s))}, []byte(s)
	}
	layer, layerBytes := blob(oci.MediaTypeLayer, strings.Repeat("\x00", 1024))
	config, configBytes := blob(oci.MediaTypeConfig, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["`+layer.Digest.String()+`"]}}`)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oci.MediaTypeManifest, config.MediaType, config.Digest, config.Size, layer.MediaType, layer.Digest, layer.Size)
	raw := oci.Raw{MediaType: oci.MediaTypeManifest, Bytes: []byte(manifest)}
	return &imagetest.Content{
		Root:      raw.Descriptor(),
		Manifests: map[digest.Digest]oci.Raw{raw.Digest(): raw},
		Blobs:     map[digest.Digest][]byte{layer.Digest: layerBytes, config.Digest: configBytes},
	}
}

// The bytes of a stream are what img-stream(5) promises, and do not change from
// one version to the next: who keeps archives compares them.
func TestGolden(t *testing.T) {
	b := streamOf(t, fixed(), Options{Name: "v1", Labels: []reference.Docker{docker(t, "busybox:1.36")}})
	const name = "testdata/stream.hex"
	if *fix {
		if err := os.WriteFile(name, []byte(dump(b)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(b); got != string(want) {
		t.Errorf("the stream is not what is in %s but\n%s", name, got)
	}
}

// dump writes b in lines of 32 bytes, as text where it is some; lines of zeros
// are counted.
func dump(b []byte) string {
	var s strings.Builder
	zeros := 0
	for i := 0; i < len(b); i += 32 {
		line := b[i:min(i+32, len(b))]
		if bytes.Count(line, []byte{0}) == len(line) {
			zeros += len(line)
			continue
		}
		if zeros > 0 {
			fmt.Fprintf(&s, "%06x %d zeros\n", i-zeros, zeros)
			zeros = 0
		}
		fmt.Fprintf(&s, "%06x %q\n", i, line)
	}
	if zeros > 0 {
		fmt.Fprintf(&s, "%06x %d zeros\n", len(b)-zeros, zeros)
	}
	return s.String()
}

// What goes beyond ustar is stored as pax has it: sizes from 8 GiB, and names
// that do not fit.
func TestHeaders(t *testing.T) {
	sha512 := blobName(digest.SHA512.FromString("x"))
	for _, tt := range []struct {
		name string
		size int64
		len  int
	}{
		{indexName, 1, 512},
		{blobName(digest.FromString("x")), 8<<30 - 1, 512},
		{blobName(digest.FromString("x")), 8 << 30, 1536},
		{blobName(digest.SHA384.FromString("x")), 1, 512},
		{sha512, 1, 1536},
	} {
		h, err := tarHeader(tt.name, tt.size)
		if err != nil || len(h) != tt.len {
			t.Errorf("tarHeader(%q, %d) = %d bytes, %v; want %d", tt.name, tt.size, len(h), err, tt.len)
		}
		got, err := walk(bytes.NewReader(append(h, make([]byte, 2048)...))).next()
		if err != nil || got.Name != tt.name || got.Size != tt.size || got.Mode != 0o644 || got.Uid != 0 || got.Gid != 0 || got.ModTime.Unix() != 0 || got.Uname+got.Gname != "" {
			t.Errorf("tarHeader(%q, %d) reads as %+v, %v", tt.name, tt.size, got, err)
		}
	}
}
