package oci_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// dockerConfig is a configuration with what tells conversions apart: fields of
// Docker only, characters that Go escapes, empty entries in the history, at
// the top and below, and times with and without fractions. No variant: where
// it stands in a configuration changed with the image-spec. $0, $1 are diff IDs.
const dockerConfig = `{"architecture":"arm64","config":{"Hostname":"h","Env":["PATH=/bin","A=<&>"],"Cmd":["sh","-c","echo \"hi\" && true"],` +
	`"Labels":{"b":"2","a":"1"},"Volumes":{"/v":{}},"ExposedPorts":{"80/tcp":{}},"WorkingDir":"/w","OnBuild":null,"Healthcheck":{"Test":["NONE"]},"StopSignal":"TERM","User":"1:2","Entrypoint":["/e"]},` +
	`"container":"0123","container_config":{"Hostname":"h","Cmd":["/bin/sh","-c","#(nop) CMD [\"sh\"]"]},"created":"2020-02-03T04:05:06.070809Z","docker_version":"19.03.1","author":"me <me@x>",` +
	`"history":[{"created":"2020-02-03T04:05:04Z","created_by":"/bin/sh -c #(nop) ADD file:x in / "},{"created":"2020-02-03T04:05:05.5Z","created_by":"ENV A=<&>","author":"me","comment":"c","empty_layer":true},` +
	`{"created":"2020-02-03T04:05:06Z","created_by":"RUN x"},{"created":"2020-02-03T04:05:06.070809Z","created_by":"CMD","empty_layer":true}],"os":"linux","os.version":"1","rootfs":{"type":"layers","diff_ids":["$0","$1"]}}`

// place is an image in a dir: place.
type place struct {
	manifest oci.Raw
	blobs    map[digest.Digest][]byte
}

func (p place) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{"version": []byte("Directory Transport Version: 1.1\n"), "manifest.json": p.manifest.Bytes}
	for d, b := range p.blobs {
		files[d.Encoded()] = b
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, name ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// skopeo converts the image and returns the directory with the result.
func (p place) skopeo(t *testing.T, format string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "to")
	harness.Must(t, "skopeo", "--insecure-policy", "copy", "-q", "--format", format, "dir:"+p.write(t), "dir:"+to)
	return to
}

// image returns an image of the type, with a layer in gzip and a plain one.
func image(t *testing.T, mediaType, config string) place {
	t.Helper()
	content := [][]byte{[]byte("one layer"), []byte("another layer")}
	for i, b := range content {
		config = strings.ReplaceAll(config, fmt.Sprintf("$%d", i), digest.FromBytes(b).String())
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content[0]); err != nil || w.Close() != nil {
		t.Fatal("gzip: ", err)
	}
	p := place{blobs: map[digest.Digest][]byte{}}
	add := func(mediaType string, b []byte) oci.Descriptor {
		d := digest.FromBytes(b)
		p.blobs[d] = b
		return oci.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
	}
	types := []string{oci.MediaTypeConfig, oci.MediaTypeLayerGzip, oci.MediaTypeLayer}
	if mediaType == oci.MediaTypeDockerManifest {
		types = []string{oci.MediaTypeDockerConfig, oci.MediaTypeDockerLayerGzip, oci.MediaTypeDockerLayer}
	}
	b, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaType, "config": add(types[0], []byte(config)),
		"layers": []oci.Descriptor{add(types[1], packed.Bytes()), add(types[2], content[1])},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.manifest = oci.Raw{MediaType: mediaType, Bytes: b}
	return p
}

func (p place) config(t *testing.T) []byte {
	t.Helper()
	m, err := oci.Parse(p.manifest)
	if err != nil {
		t.Fatal(err)
	}
	return p.blobs[m.Config.Digest]
}

// same fails if what skopeo wrote and what we made differ in a byte.
func same(t *testing.T, dir string, got *oci.Conversion) {
	t.Helper()
	manifest := read(t, dir, "manifest.json")
	theirs, err := oci.Parse(oci.Raw{Bytes: manifest})
	if err != nil {
		t.Fatal(err)
	}
	if want := read(t, dir, theirs.Config.Digest.Encoded()); string(got.Config) != string(want) {
		t.Errorf("configuration\n%s; skopeo made\n%s", got.Config, want)
	}
	if string(got.Manifest.Bytes) != string(manifest) {
		t.Errorf("manifest\n%s; skopeo made\n%s", got.Manifest.Bytes, manifest)
	}
}

var formats = map[string]string{"oci": oci.MediaTypeManifest, "v2s2": oci.MediaTypeDockerManifest}

// Whoever took images through skopeo has them under the digests that it gave
// them: ours must be the same, or images are there twice.
func TestSkopeoConvert(t *testing.T) {
	ociConfig := strings.NewReplacer(`"container":"0123",`, "", `"docker_version":"19.03.1",`, "").Replace(dockerConfig)
	for format, to := range formats {
		p := image(t, oci.MediaTypeDockerManifest, dockerConfig)
		if format == "v2s2" {
			p = image(t, oci.MediaTypeManifest, ociConfig)
		}
		got, err := oci.Convert(p.manifest, p.config(t), to)
		if err != nil {
			t.Fatalf("Convert to %s: %v", format, err)
		}
		same(t, p.skopeo(t, format), got)
	}
}

// The IDs, the order and every byte of v1Compatibility decide what a docker of
// those days made of the image.
func TestSkopeoMakeSchema1(t *testing.T) {
	noContainer := strings.Replace(dockerConfig, `"container_config":{"Hostname":"h","Cmd":["/bin/sh","-c","#(nop) CMD [\"sh\"]"]},`, "", 1)
	for _, from := range []string{oci.MediaTypeManifest, oci.MediaTypeDockerManifest} {
		for _, config := range []string{dockerConfig, noContainer} {
			p := image(t, from, config)
			got, err := oci.MakeSchema1(p.manifest, p.config(t), "", "")
			if err != nil {
				t.Fatalf("MakeSchema1 of %s: %v", from, err)
			}
			dir := p.skopeo(t, "v2s1")
			theirs := oci.Raw{Bytes: read(t, dir, "manifest.json")}
			a, errA := oci.ParseSchema1(got.Manifest)
			b, errB := oci.ParseSchema1(theirs)
			if errA != nil || errB != nil {
				t.Fatalf("ParseSchema1: %v, of skopeo's %v", errA, errB)
			}
			b.Signed = false
			if !reflect.DeepEqual(a, b) {
				t.Errorf("schema 1 of %s says\n%+v; skopeo's\n%+v", from, a, b)
			}
			if empty := read(t, dir, oci.EmptyLayerDigest.Encoded()); !bytes.Equal(empty, oci.EmptyLayer()) {
				t.Errorf("skopeo's empty layer is %x", empty)
			}
		}
	}
}

// schema1Place takes an image through schema 1 as we make it; skopeo must
// then make of it what we do.
func schema1Place(t *testing.T, config string) (place, *oci.Schema1) {
	t.Helper()
	p := image(t, oci.MediaTypeDockerManifest, config)
	made, err := oci.MakeSchema1(p.manifest, p.config(t), "a/b", "v1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := oci.ParseSchema1(made.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	p.manifest = made.Manifest
	p.blobs[oci.EmptyLayerDigest] = oci.EmptyLayer()
	return p, s
}

func TestSkopeoConvertSchema1(t *testing.T) {
	for format, to := range formats {
		p, s := schema1Place(t, dockerConfig)
		var layers []oci.Descriptor
		for _, d := range s.Layers() {
			layers = append(layers, oci.Descriptor{Digest: d, Size: int64(len(p.blobs[d]))})
		}
		ids := []digest.Digest{digest.FromString("one layer"), digest.FromString("another layer")}
		got, err := oci.ConvertSchema1(s, layers, ids, to)
		if err != nil {
			t.Fatalf("ConvertSchema1 to %s: %v", format, err)
		}
		same(t, p.skopeo(t, format), got)
	}
}

// An index of two images becomes the list that skopeo makes of it, and back.
func TestSkopeoConvertIndex(t *testing.T) {
	list, index := oci.MediaTypeDockerList, oci.MediaTypeIndex
	for _, tt := range []struct{ format, from, image, to string }{
		{"v2s2", index, oci.MediaTypeManifest, list},
		{"oci", list, oci.MediaTypeDockerManifest, index},
	} {
		from := filepath.Join(t.TempDir(), "from")
		all := place{blobs: map[digest.Digest][]byte{}}
		var entries, converted []oci.Descriptor
		for i, arch := range []string{"amd64", "arm"} {
			p := image(t, tt.image, strings.Replace(dockerConfig, "arm64", arch, 1))
			d := p.manifest.Descriptor()
			d.Platform = &oci.Platform{OS: "linux", Architecture: arch, Variant: []string{"", "v7"}[i]}
			entries = append(entries, d)
			c, err := oci.Convert(p.manifest, p.config(t), formats[tt.format])
			if err != nil {
				t.Fatal(err)
			}
			converted = append(converted, c.Manifest.Descriptor())
			maps.Copy(all.blobs, p.blobs)
			all.blobs[d.Digest] = p.manifest.Bytes
		}
		b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": tt.from, "manifests": entries})
		if err != nil {
			t.Fatal(err)
		}
		all.manifest = oci.Raw{MediaType: tt.from, Bytes: b}
		if err := os.Rename(all.write(t), from); err != nil {
			t.Fatal(err)
		}
		for _, d := range entries {
			if err := os.Rename(filepath.Join(from, d.Digest.Encoded()), filepath.Join(from, d.Digest.Encoded()+".manifest.json")); err != nil {
				t.Fatal(err)
			}
		}
		to := filepath.Join(t.TempDir(), "to")
		harness.Must(t, "skopeo", "--insecure-policy", "copy", "-q", "--all", "--format", tt.format, "dir:"+from, "dir:"+to)
		got, err := oci.ConvertIndex(all.manifest, tt.to, converted)
		if err != nil {
			t.Fatal(err)
		}
		if want := read(t, to, "manifest.json"); string(got.Manifest.Bytes) != string(want) {
			t.Errorf("to %s:\n%s; skopeo made\n%s", tt.format, got.Manifest.Bytes, want)
		}
	}
}

// A signed manifest of skopeo's has the digest that skopeo says, and we read
// from it what we read from the payload.
func TestSkopeoSigned(t *testing.T) {
	dir := image(t, oci.MediaTypeDockerManifest, dockerConfig).skopeo(t, "v2s1")
	raw := oci.Raw{MediaType: oci.MediaTypeSchema1Signed, Bytes: read(t, dir, "manifest.json")}
	s, err := oci.ParseSchema1(raw)
	if err != nil || !s.Signed {
		t.Fatalf("ParseSchema1 = %+v, %v; want a signed one", s, err)
	}
	want := strings.TrimSpace(harness.Must(t, "skopeo", "manifest-digest", filepath.Join(dir, "manifest.json")))
	if got := raw.Digest().String(); got != want {
		t.Errorf("digest is %s; skopeo says %s", got, want)
	}
	if !slices.Contains(s.Layers(), digest.FromString("another layer")) {
		t.Errorf("Layers = %v", s.Layers())
	}
}
