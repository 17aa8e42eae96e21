package oci

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// state is an entry of a history, as a v1Compatibility.
func state(compat string) string {
	b, _ := json.Marshal(map[string]string{"v1Compatibility": expand.Replace(compat)})
	return string(b)
}

// schema1 returns a manifest with the blobs, by letter, and the states, the
// top first.
func schema1(blobs string, states ...string) []byte {
	var layers []string
	for _, b := range blobs {
		layers = append(layers, fmt.Sprintf(`{"blobSum":"$%c"}`, b))
	}
	return []byte("{\n   \"schemaVersion\": 1, \"name\" : \"a/b\",\"tag\":\"v1\", \"architecture\":\"amd64\",\n\"fsLayers\":[" +
		expand.Replace(strings.Join(layers, ",")) + `],"history":[` + strings.Join(states, ",") + "]\n}")
}

// signed returns the manifest with signatures that are none: nobody here looks.
func signed(payload []byte, extra string) []byte {
	n := len(payload) - 2
	header := fmt.Sprintf(`{"formatLength":%d,"formatTail":%q}`, n, base64.RawURLEncoding.EncodeToString(payload[n:]))
	return slices.Concat(payload[:n], fmt.Appendf(nil, `%s,"signatures":[{"header":{},"signature":"x","protected":%q}]`, extra,
		base64.RawURLEncoding.EncodeToString([]byte(header))), payload[n:])
}

// twoFaced returns a manifest whose protected header puts another tag into what
// the digest and the signatures cover than readers of the document see.
func twoFaced(doc []byte) []byte {
	n := bytes.Index(doc, []byte(`"tag"`))
	tail := bytes.Replace(doc[n:], []byte("v1"), []byte("v2"), 1)
	header := fmt.Sprintf(`{"formatLength":%d,"formatTail":%q}`, n, base64.RawURLEncoding.EncodeToString(tail))
	protected := fmt.Appendf(nil, `"signatures":[{"protected":%q}],`, base64.RawURLEncoding.EncodeToString([]byte(header)))
	return slices.Concat(doc[:n], protected, doc[n:])
}

var (
	base   = state(`{"id":"` + hexA + `","created":"2015-01-02T03:04:05Z","container_config":{"Cmd":["/bin/sh","-c","ADD x"]},"Size":7}`)
	middle = state(`{"id":"` + hexB + `","parent":"` + hexA + `","created":"2015-01-02T03:04:06Z","container_config":{"Cmd":["ENV"]},"comment":"c","throwaway":true}`)
	top    = state(`{"id":"` + hexC + `","parent":"` + hexB + `","created":"2015-01-02T03:04:07Z","author":"me","config":{"Cmd":["x"],"Labels":{"ID":"1"}},"docker_version":"1.8.2","Size":9,"os":"linux"}`)
)

func TestParseSchema1(t *testing.T) {
	doc := schema1("CBA", top, middle, base)
	for name, text := range map[string][]byte{"unsigned": doc, "signed": signed(doc, "")} {
		r := Raw{MediaTypeSchema1Signed, text}
		s, err := ParseSchema1(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Name != "a/b" || s.Tag != "v1" || s.Architecture != "amd64" || s.Signed != (name == "signed") || len(s.Entries) != 3 {
			t.Errorf("%s: ParseSchema1 = %+v", name, s)
		}
		if got, want := fmt.Sprint(s.Layers()), expand.Replace("[$A $C]"); got != want {
			t.Errorf("%s: Layers = %s; want %s, the base first and no empty ones", name, got, want)
		}
		if got, want := r.Digest(), digest.FromBytes(doc); got != want {
			t.Errorf("%s: digest = %s; want %s, of the payload", name, got, want)
		}
	}
	// Old programs wrote an entry twice; readers have always taken it for one.
	s, err := ParseSchema1(Raw{"", schema1("CBAA", top, middle, base, base)})
	if err != nil || len(s.Entries) != 3 {
		t.Errorf("with the base twice: %+v, %v; want 3 entries", s, err)
	}
}

func TestParseSchema1Refuses(t *testing.T) {
	doc := schema1("CBA", top, middle, base)
	change := func(from, to string) []byte { return bytes.Replace(doc, []byte(from), []byte(to), 1) }
	for name, text := range map[string][]byte{
		"nothing":             nil,
		"an array":            []byte(`[]`),
		"no layers":           schema1(""),
		"too large":           append(bytes.Clone(doc), bytes.Repeat([]byte(" "), MaxManifest)...),
		"version 2":           change(`"schemaVersion": 1`, `"schemaVersion": 2`),
		"other type":          change(`"tag"`, expand.Replace(`"mediaType":"$man","tag"`)),
		"also an image":       change(`"tag"`, `"layers":[],"tag"`),
		"Name":                change(`"tag"`, `"Name":"c","tag"`),
		"name twice":          change(`"tag"`, `"name":"c","tag"`),
		"BlobSum":             change(`{"blobSum"`, `{"BlobSum":"x","blobSum"`),
		"digest a path":       change(`sha256:`+hexA, `sha256:../../x`),
		"fewer layers":        schema1("CB", top, middle, base),
		"more layers":         schema1("CBAA", top, middle, base),
		"compat no JSON":      schema1("A", state(`x`)),
		"compat an array":     schema1("A", state(`[]`)),
		"compat null":         schema1("A", `{"v1Compatibility":null}`),
		"compat an object":    schema1("A", `{"v1Compatibility":{}}`),
		"no ID":               schema1("A", state(`{}`)),
		"ID a path":           schema1("A", state(`{"id":"../x"}`)),
		"ID twice":            schema1("A", state(`{"id":"`+hexA+`","id":"`+hexB+`"}`)),
		"ID in capitals":      schema1("A", state(`{"id":"`+hexA+`","ID":"`+hexB+`"}`)),
		"Throwaway":           schema1("A", state(`{"id":"`+hexA+`","Throwaway":true}`)),
		"throwaway a string":  schema1("A", state(`{"id":"`+hexA+`","throwaway":"true"}`)),
		"created tomorrow":    schema1("A", state(`{"id":"`+hexA+`","created":"tomorrow"}`)),
		"cmd":                 schema1("A", state(`{"id":"`+hexA+`","container_config":{"cmd":["x"]}}`)),
		"base with a parent":  schema1("BC", top, middle),
		"parent missing":      schema1("CA", top, base),
		"order":               schema1("ABC", base, middle, top),
		"ID of two layers":    schema1("CBAB", top, middle, base, base),
		"a circle":            schema1("ABA", base, middle, base),
		"signed says other":   twoFaced(doc),
		"unsigned fsLayers":   signed(change(`"fsLayers"`, `"x"`), expand.Replace(`,"fsLayers":[{"blobSum":"$A"},{"blobSum":"$A"},{"blobSum":"$A"}]`)),
		"unsigned name":       signed(change(`"name"`, `"x"`), `,"name":"c"`),
		"nested too deep":     schema1("A", state(`{"id":"`+hexA+`","config":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`)),
		"too many":            schema1(strings.Repeat("A", MaxEntries+1), slices.Repeat([]string{`{}`}, MaxEntries+1)...),
		"signatures as names": change(`"tag"`, `"Signatures":[],"tag"`),
	} {
		if s, err := ParseSchema1(Raw{"", text}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: ParseSchema1 = %+v, %v; want %v", name, s, err, ErrInvalid)
		}
	}
	if _, err := ParseSchema1(Raw{MediaTypeManifest, doc}); !errors.Is(err, ErrInvalid) {
		t.Errorf("declared as an OCI manifest: %v; want %v", err, ErrInvalid)
	}
}

func parseSchema1For(t *testing.T, r Raw) *Schema1 {
	t.Helper()
	s, err := ParseSchema1(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConvertSchema1(t *testing.T) {
	s := parseSchema1For(t, Raw{"", schema1("CBA", top, middle, base)})
	layers := []Descriptor{{Digest: "sha256:" + hexA, Size: 5}, {Digest: "sha256:" + hexC, Size: 6, MediaType: MediaTypeLayer}}
	ids := []digest.Digest{"sha256:" + hexB, "sha256:" + hexA}
	c, err := ConvertSchema1(s, layers, ids, MediaTypeDockerManifest)
	if err != nil {
		t.Fatal(err)
	}
	want := expand.Replace(`{"architecture":"amd64","author":"me","config":{"Cmd":["x"],"Labels":{"ID":"1"}},"created":"2015-01-02T03:04:07Z","docker_version":"1.8.2",` +
		`"history":[{"created":"2015-01-02T03:04:05Z","created_by":"/bin/sh -c ADD x"},{"created":"2015-01-02T03:04:06Z","created_by":"ENV","comment":"c","empty_layer":true},` +
		`{"created":"2015-01-02T03:04:07Z","author":"me"}],"os":"linux","rootfs":{"type":"layers","diff_ids":["$B","$A"]}}`)
	if string(c.Config) != want {
		t.Errorf("configuration\n%s; want\n%s", c.Config, want)
	}
	m, err := Parse(c.Manifest)
	if err != nil || len(m.Layers) != 2 || m.Layers[0].MediaType != MediaTypeDockerLayerGzip || m.Layers[1].MediaType != MediaTypeDockerLayer {
		t.Errorf("manifest %s, %v; want a layer with gzip and a plain one", c.Manifest.Bytes, err)
	}
	if o, err := ConvertSchema1(s, layers, ids, MediaTypeManifest); err != nil || strings.Join(o.Lost, ", ") != "the configuration's docker_version" {
		t.Errorf("to OCI: %+v, %v; want docker_version lost", o, err)
	}
	zstd := []Descriptor{layers[0], {Digest: layers[1].Digest, MediaType: MediaTypeLayerZstd}}
	for name, tt := range map[string]struct {
		s      *Schema1
		layers []Descriptor
		ids    []digest.Digest
		to     string
		want   error
	}{
		"to schema 1":     {s, layers, ids, MediaTypeSchema1, ErrConvert},
		"zstd":            {s, zstd, ids, MediaTypeDockerManifest, ErrConvert},
		"a layer short":   {s, layers[1:], ids, MediaTypeManifest, ErrInvalid},
		"an ID short":     {s, layers, ids[1:], MediaTypeManifest, ErrInvalid},
		"an ID not one":   {s, layers, []digest.Digest{"x", "y"}, MediaTypeManifest, ErrInvalid},
		"a layer not one": {s, []Descriptor{{}, {}}, ids, MediaTypeManifest, ErrInvalid},
		"size not known":  {s, []Descriptor{layers[0], {Digest: layers[1].Digest, Size: -1}}, ids, MediaTypeManifest, ErrInvalid},
		"config a string": {parseSchema1For(t, Raw{"", schema1("A", state(`{"id":"`+hexA+`","config":"x"}`))}), layers[:1], ids[:1], MediaTypeDockerManifest, ErrInvalid},
		"no entries":      {&Schema1{}, nil, nil, MediaTypeManifest, ErrInvalid},
	} {
		if c, err := ConvertSchema1(tt.s, tt.layers, tt.ids, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("%s: ConvertSchema1 = %v, %v; want %v", name, c, err, tt.want)
		}
	}
}

// A configuration without architecture and os is none to most readers.
func TestSchema1ConfigFills(t *testing.T) {
	s := parseSchema1For(t, Raw{"", schema1("A", state(`{"id":"`+hexA+`","os":""}`))})
	got, err := s.Config(nil)
	if want := `{"architecture":"amd64","history":[{}],"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`; err != nil || string(got) != want {
		t.Errorf("Config = %s, %v; want %s", got, err, want)
	}
}

func TestMakeSchema1(t *testing.T) {
	config := testdata(t, "docker.config.json")
	r := imageOf(MediaTypeDockerManifest, MediaTypeDockerConfig, config,
		`"layers":[{"mediaType":"`+MediaTypeDockerLayerGzip+`","size":1,"digest":"$A"},{"mediaType":"`+MediaTypeDockerLayerGzip+`","size":2,"digest":"$B"}]`)
	c, err := MakeSchema1(r, config, "a/b", "v1")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema1.manifest.json", c.Manifest.Bytes)
	s := parseSchema1For(t, c.Manifest)
	if got, want := fmt.Sprint(s.Layers()), expand.Replace("[$A $B]"); got != want || s.Name != "a/b" || s.Tag != "v1" {
		t.Errorf("it has %s:%s, layers %s; want a/b:v1, %s", s.Name, s.Tag, got, want)
	}
	// The digest must not change when a signature is put in.
	text := signed(c.Manifest.Bytes, "")
	if got, want := (Raw{"", text}).Digest(), c.Manifest.Digest(); got != want {
		t.Errorf("signed its digest is %s; want %s", got, want)
	}
	// And back: what Docker's readers see of the image is the same.
	cfg, err := s.Config([]digest.Digest{"sha256:" + hexA, "sha256:" + hexB})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema1.config.json", cfg)
}

// A registry of Docker's (2.8, with schema1 enabled) made registry.schema1.json
// of the image for a client that asked for it. Ours has the same payload byte
// for byte, so that whoever pinned the one has the other.
func TestMakeSchema1AsRegistry(t *testing.T) {
	const want = digest.Digest("sha256:feabbe833319f5c6a93f5a40b590770f8fd8d43bf99bb60849d72656618dcc1b") // its Docker-Content-Digest
	theirs := Raw{MediaTypeSchema1Signed, testdata(t, "registry.schema1.json")}
	if got := theirs.Digest(); got != want {
		t.Errorf("digest = %s; want %s", got, want)
	}
	if !parseSchema1For(t, theirs).Signed {
		t.Error("it is not taken for signed")
	}
	ours, err := MakeSchema1(Raw{"", testdata(t, "registry.manifest.json")}, testdata(t, "registry.config.json"), "a/b", "v1")
	if err != nil {
		t.Fatal(err)
	}
	if got := ours.Manifest.Digest(); got != want {
		t.Errorf("ours has digest %s; want %s:\n%s", got, want, ours.Manifest.Bytes)
	}
}

func TestMakeSchema1Refuses(t *testing.T) {
	layer := `"layers":[{"mediaType":"` + MediaTypeDockerLayerGzip + `","digest":"$B","size":1}]`
	for name, tt := range map[string]struct {
		config []byte
		layers string
		want   error
	}{
		"no history":       {configOf(`"$A"`, ""), layer, ErrConvert},
		"only empty":       {configOf(`"$A"`, `{"empty_layer":true}`), layer, ErrConvert},
		"one too many":     {configOf(`"$A"`, `{},{}`), layer, ErrConvert},
		"zstd":             {configOf(`"$A"`, `{}`), strings.Replace(layer, MediaTypeDockerLayerGzip, MediaTypeLayerZstd, 1), ErrConvert},
		"URLs":             {configOf(`"$A"`, `{}`), strings.Replace(layer, `"size"`, `"urls":["https://x"],"size"`, 1), ErrConvert},
		"no diff ID":       {configOf(``, `{}`), layer, ErrInvalid},
		"broken history":   {configOf(`"$A"`, `1`), layer, ErrInvalid},
		"history too long": {configOf(`"$A"`, strings.Repeat(`{"empty_layer":true},`, MaxEntries)+"{}"), layer, ErrConvert},
	} {
		if c, err := MakeSchema1(imageOf(MediaTypeDockerManifest, MediaTypeDockerConfig, tt.config, tt.layers), tt.config, "a", "b"); !errors.Is(err, tt.want) {
			t.Errorf("%s: MakeSchema1 = %v, %v; want %v", name, c, err, tt.want)
		}
	}
}

// Registries and daemons know this layer by its digest, and make it themselves.
func TestEmptyLayer(t *testing.T) {
	if got := digest.FromBytes(EmptyLayer()); got != EmptyLayerDigest {
		t.Errorf("digest is %s; want %s", got, EmptyLayerDigest)
	}
	r, err := gzip.NewReader(bytes.NewReader(EmptyLayer()))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, make([]byte, 1024)) {
		t.Errorf("content is %x, %v; want 1024 zeros", b, err)
	}
}

func TestRename(t *testing.T) {
	doc := schema1("A", base)
	want := bytes.Replace(bytes.Replace(doc, []byte(`"a/b"`), []byte(`"c/d"`), 1), []byte(`"v1"`), []byte(`"v2"`), 1)
	for name, text := range map[string][]byte{"unsigned": doc, "signed": signed(doc, "")} {
		r := Raw{MediaTypeSchema1Signed, text}
		if got, err := r.Rename("c/d", "v2"); err != nil || !bytes.Equal(got.Bytes, want) || got.MediaType != MediaTypeSchema1 {
			t.Errorf("%s: Rename = %q %s, %v; want the payload with other names, %s", name, got.MediaType, got.Bytes, err, want)
		}
		if got, err := r.Rename("a/b", "v1"); err != nil || !bytes.Equal(got.Bytes, text) {
			t.Errorf("%s: Rename to the same = %s, %v; want no change", name, got.Bytes, err)
		}
	}
	for _, odd := range []string{"{}", `{"schemaVersion":1}`, strings.Replace(string(doc), `"tag"`, `"x"`, 1)} {
		if got, err := (Raw{"", []byte(odd)}).Rename("c", "d"); !errors.Is(err, ErrInvalid) {
			t.Errorf("Rename of %s = %s, %v; want %v", odd, got.Bytes, err, ErrInvalid)
		}
	}
}

// What parses converts to an image that parses, with or without names, and
// the two ways to OCI agree.
func FuzzParseSchema1(f *testing.F) {
	doc := schema1("CBA", top, middle, base)
	f.Add(doc)
	f.Add(signed(doc, ""))
	f.Add(schema1("AA", base, base))
	f.Add(testdata(f, "schema1.manifest.json"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSchema1(Raw{"", b})
		if err != nil {
			return
		}
		var layers []Descriptor
		ids := s.Layers()
		for _, d := range ids {
			layers = append(layers, Descriptor{Digest: d, Size: 1})
		}
		docker, err := ConvertSchema1(s, layers, ids, MediaTypeDockerManifest)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("ConvertSchema1: %v", err)
		}
		if err != nil {
			return // the top entry's configuration is none
		}
		again, err := Convert(docker.Manifest, docker.Config, MediaTypeManifest)
		direct, err2 := ConvertSchema1(s, layers, ids, MediaTypeManifest)
		if err == nil != (err2 == nil) {
			t.Fatalf("to OCI: %v; by way of Docker's format: %v", err2, err)
		}
		if err == nil && (!bytes.Equal(again.Manifest.Bytes, direct.Manifest.Bytes) || !bytes.Equal(again.Config, direct.Config)) {
			t.Fatalf("to OCI: %s; by way of Docker's format: %s", direct.Config, again.Config)
		}
		if r, err := (Raw{"", b}).Rename("new", "name"); err == nil {
			if s := parseSchema1For(t, r); s.Name != "new" || s.Tag != "name" {
				t.Fatalf("renamed it is %s:%s", s.Name, s.Tag)
			}
		}
	})
}
