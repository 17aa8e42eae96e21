package oci

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

// golden fails unless got is what the file in testdata holds.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := testdata(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s; want\n%s", name, got, want)
	}
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// imageOf returns a manifest that names the configuration and has the layers.
func imageOf(mediaType, configType string, config []byte, rest string) Raw {
	return Raw{mediaType, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},%s}`,
		mediaType, configType, digest.FromBytes(config), len(config), expand.Replace(rest))}
}

func configOf(diffIDs, history string) []byte {
	return []byte(expand.Replace(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[` + diffIDs + `]},"history":[` + history + `]}`))
}

func TestConvertLayerType(t *testing.T) {
	for _, tt := range []struct{ from, docker, oci string }{
		{MediaTypeLayer, MediaTypeDockerLayer, MediaTypeLayer},
		{MediaTypeLayerGzip, MediaTypeDockerLayerGzip, MediaTypeLayerGzip},
		{MediaTypeLayerZstd, "", MediaTypeLayerZstd},
		{MediaTypeDockerLayer, MediaTypeDockerLayer, MediaTypeLayer},
		{MediaTypeDockerLayerGzip, MediaTypeDockerLayerGzip, MediaTypeLayerGzip},
		{MediaTypeDockerLayerZstd, "", MediaTypeLayerZstd},
		{mediaTypeNonDist, MediaTypeDockerForeign, mediaTypeNonDist},
		{mediaTypeNonDistGzip, MediaTypeDockerForeignGz, mediaTypeNonDistGzip},
		{mediaTypeNonDistZstd, "", mediaTypeNonDistZstd},
		{MediaTypeDockerForeign, MediaTypeDockerForeign, mediaTypeNonDist},
		{MediaTypeDockerForeignGz, MediaTypeDockerForeignGz, mediaTypeNonDistGzip},
		{MediaTypeLayerGzip + "+encrypted", "", ""},
		{MediaTypeDockerLayerGzip + "+encrypted", "", ""},
		{"application/vnd.in-toto+json", "", ""},
		{MediaTypeOctetStream, "", ""},
		{"", "", ""},
	} {
		for to, want := range map[string]string{MediaTypeManifest: tt.oci, MediaTypeDockerManifest: tt.docker, MediaTypeSchema1Signed: tt.docker} {
			got, err := ConvertLayerType(tt.from, to)
			if got != want || errors.Is(err, ErrConvert) != (want == "") {
				t.Errorf("ConvertLayerType(%q, %q) = %q, %v; want %q", tt.from, to, got, err, want)
			}
		}
	}
}

// The files in testdata are read by people when something changes; the tests
// against skopeo say that they are right.
func TestConvertGolden(t *testing.T) {
	config := testdata(t, "docker.config.json")
	docker := imageOf(MediaTypeDockerManifest, MediaTypeDockerConfig, config,
		`"layers":[{"mediaType":"`+MediaTypeDockerLayerGzip+`","size":1,"digest":"$A"},{"mediaType":"`+MediaTypeDockerForeignGz+`","size":2,"digest":"$B","urls":["https://a/b"]}]`)
	oci := convert(t, docker, config, MediaTypeManifest)
	golden(t, "oci.manifest.json", oci.Manifest.Bytes)
	golden(t, "oci.config.json", oci.Config)
	golden(t, "oci.lost.txt", []byte(strings.Join(oci.Lost, "\n")+"\n"))

	back := convert(t, oci.Manifest, oci.Config, MediaTypeDockerManifest)
	golden(t, "back.manifest.json", back.Manifest.Bytes)
	if !bytes.Equal(back.Config, oci.Config) {
		t.Errorf("Docker's configuration is %s; want the bytes of the other, which keep the image's ID", back.Config)
	}
	again := convert(t, back.Manifest, back.Config, MediaTypeManifest)
	if !bytes.Equal(again.Config, oci.Config) || !bytes.Equal(again.Manifest.Bytes, oci.Manifest.Bytes) || len(again.Lost) > 0 {
		t.Errorf("converted there and back it is another one: %s %s, lost %q", again.Manifest.Bytes, again.Config, again.Lost)
	}
}

func convert(t *testing.T, r Raw, config []byte, to string) *Conversion {
	t.Helper()
	c, err := Convert(r, config, to)
	if err != nil {
		t.Fatalf("Convert to %s: %v", to, err)
	}
	return c
}

// What Docker has no place for is lost, and said; what is of the type already
// keeps every byte, odd ones too.
func TestConvertLost(t *testing.T) {
	config := configOf(`"$A"`, "")
	r := imageOf(MediaTypeManifest, MediaTypeConfig, config, `"artifactType":"a/b","annotations":{"a":"b"},
		"subject":{"mediaType":"$man","digest":"$C","size":1},
		"layers":[{"mediaType":"$lay","digest":"$B","size":1,"annotations":{"c":"d"},"data":"eA=="}]`)
	c := convert(t, r, config, MediaTypeDockerManifest)
	want := `the manifest's annotations, the manifest's subject, the manifest's artifactType, layer 1's annotations`
	if got := strings.Join(c.Lost, ", "); got != want {
		t.Errorf("Lost = %s; want %s", got, want)
	}
	for _, gone := range []string{"annotations", "subject", "artifactType", "data"} {
		if bytes.Contains(c.Manifest.Bytes, []byte(gone)) {
			t.Errorf("Docker's manifest has %s: %s", gone, c.Manifest.Bytes)
		}
	}
	if !bytes.Equal(c.Config, config) {
		t.Errorf("configuration is %s; want the same bytes", c.Config)
	}
	same := convert(t, r, config, MediaTypeManifest)
	if !bytes.Equal(same.Manifest.Bytes, r.Bytes) || len(same.Lost) > 0 {
		t.Errorf("an OCI image as an OCI image is %s, lost %q", same.Manifest.Bytes, same.Lost)
	}
}

func TestConvertRefuses(t *testing.T) {
	config := configOf(`"$A"`, "")
	layer := func(mediaType string) string {
		return `"layers":[{"mediaType":"` + mediaType + `","digest":"$B","size":1}]`
	}
	oci := func(config []byte, layers string) Raw {
		return imageOf(MediaTypeManifest, MediaTypeConfig, config, layers)
	}
	docker := func(config []byte) Raw {
		return imageOf(MediaTypeDockerManifest, MediaTypeDockerConfig, config, layer(MediaTypeDockerLayerGzip))
	}
	folded := []byte(strings.Replace(string(config), `"os"`, `"OS":"windows","os"`, 1))
	for name, tt := range map[string]struct {
		r      Raw
		config []byte
		to     string
		want   error
	}{
		"zstd":             {oci(config, layer(MediaTypeLayerZstd)), config, MediaTypeDockerManifest, ErrConvert},
		"encrypted":        {oci(config, layer(MediaTypeLayerGzip+"+encrypted")), config, MediaTypeDockerManifest, ErrConvert},
		"attestation":      {oci(config, layer("application/vnd.in-toto+json")), config, MediaTypeDockerManifest, ErrConvert},
		"artifact":         {imageOf(MediaTypeManifest, "a/b", config, layer(MediaTypeLayer)), config, MediaTypeDockerManifest, ErrConvert},
		"index":            {Raw{"", []byte(`{"schemaVersion":2,"manifests":[]}`)}, nil, MediaTypeDockerManifest, ErrConvert},
		"to an index":      {docker(config), config, MediaTypeIndex, ErrConvert},
		"to schema 1":      {docker(config), config, MediaTypeSchema1, ErrConvert},
		"to nothing":       {docker(config), config, "", ErrConvert},
		"from schema 1":    {Raw{"", []byte(`{"schemaVersion":1}`)}, nil, MediaTypeManifest, ErrSchema1},
		"other config":     {docker(config), []byte(`{}`), MediaTypeManifest, ErrInvalid},
		"no diff IDs":      {docker([]byte(`{}`)), []byte(`{}`), MediaTypeManifest, ErrInvalid},
		"config no object": {docker([]byte(`[]`)), []byte(`[]`), MediaTypeManifest, ErrInvalid},
		"diff ID a path":   {docker(configOf(`"sha256:../x"`, "")), configOf(`"sha256:../x"`, ""), MediaTypeManifest, ErrInvalid},
		"two OSes":         {docker(folded), folded, MediaTypeManifest, ErrInvalid},
	} {
		if c, err := Convert(tt.r, tt.config, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("%s: Convert = %v, %v; want %v", name, c, err, tt.want)
		}
	}
	two := `"layers":[{"mediaType":"$lay","digest":"$A","size":1},{"mediaType":"` + MediaTypeLayerZstd + `","digest":"$B","size":1}]`
	_, err := Convert(oci(config, two), config, MediaTypeDockerManifest)
	if err == nil || !strings.Contains(err.Error(), "layer 2, sha256:"+hexB) {
		t.Errorf("error %v does not name layer 2", err)
	}
}

func TestConvertIndex(t *testing.T) {
	index := Raw{"", []byte(expand.Replace(`{"schemaVersion":2,"mediaType":"$idx","annotations":{"a":"b"},"manifests":[
		{"mediaType":"$man","digest":"$A","size":1,"platform":{"os":"linux","architecture":"arm","variant":"v7"},"annotations":{"c":"d"}},
		{"mediaType":"$man","digest":"$B","size":2}]}`))}
	a := Descriptor{MediaType: MediaTypeDockerManifest, Digest: "sha256:" + hexB, Size: 5}
	b := Descriptor{MediaType: MediaTypeDockerManifest, Digest: "sha256:" + hexC, Size: 6, Platform: &Platform{OS: "linux", Architecture: "s390x"}}
	c, err := ConvertIndex(index, MediaTypeDockerList, []Descriptor{a, b})
	if err != nil {
		t.Fatal(err)
	}
	want := expand.Replace(`{"schemaVersion":2,"mediaType":"$dlist","manifests":[` +
		`{"mediaType":"$dman","size":5,"digest":"$B","platform":{"architecture":"arm","os":"linux","variant":"v7"}},` +
		`{"mediaType":"$dman","size":6,"digest":"$C","platform":{"architecture":"s390x","os":"linux"}}]}`)
	if string(c.Manifest.Bytes) != want || c.Manifest.MediaType != MediaTypeDockerList {
		t.Errorf("list is %s; want %s", c.Manifest.Bytes, want)
	}
	if got, want := strings.Join(c.Lost, ", "), "entry 1's annotations, the index's annotations"; got != want {
		t.Errorf("Lost = %s; want %s", got, want)
	}
	b.Platform = nil
	c, err = ConvertIndex(index, MediaTypeDockerList, []Descriptor{a, b})
	if err != nil || !strings.Contains(string(c.Manifest.Bytes), Host().Architecture) || len(c.Lost) != 3 {
		t.Errorf("without a platform: %s, lost %q, %v; want this machine's", c.Manifest.Bytes, c.Lost, err)
	}
	list := Raw{"", []byte(strings.Replace(want, `"os":"linux","variant":"v7"`, `"os":"linux","features":["sse4"],"variant":"v7"`, 1))}
	b.MediaType, a.MediaType = MediaTypeManifest, MediaTypeManifest
	c, err = ConvertIndex(list, MediaTypeIndex, []Descriptor{a, b})
	if err != nil || strings.Join(c.Lost, ", ") != "entry 1's platform.features" {
		t.Errorf("to an index: lost %q, %v; want the features", c.Lost, err)
	}
	inOrder := strings.NewReplacer(MediaTypeDockerList, MediaTypeIndex, MediaTypeDockerManifest, MediaTypeManifest,
		`"size":5,"digest":"sha256:`+hexB+`"`, `"digest":"sha256:`+hexB+`","size":5`, `"size":6,"digest":"sha256:`+hexC+`"`, `"digest":"sha256:`+hexC+`","size":6`)
	if want := inOrder.Replace(want); string(c.Manifest.Bytes) != want {
		t.Errorf("index is %s; want %s", c.Manifest.Bytes, want)
	}
	if same, err := ConvertIndex(list, MediaTypeDockerList, nil); err != nil || !bytes.Equal(same.Manifest.Bytes, list.Bytes) {
		t.Errorf("a list as a list is %v, %v", same, err)
	}
	for name, tt := range map[string]struct {
		r         Raw
		to        string
		instances []Descriptor
		want      error
	}{
		"instances missing": {index, MediaTypeDockerList, []Descriptor{a}, ErrInvalid},
		"OCI in a list":     {index, MediaTypeDockerList, []Descriptor{a, b}, ErrConvert},
		"no digest":         {list, MediaTypeIndex, []Descriptor{{}, {}}, ErrInvalid},
		"not an index":      {index, MediaTypeManifest, []Descriptor{a, b}, ErrConvert},
		"no list":           {Raw{"", []byte("{}")}, MediaTypeIndex, nil, ErrInvalid},
	} {
		if c, err := ConvertIndex(tt.r, tt.to, tt.instances); !errors.Is(err, tt.want) {
			t.Errorf("%s: ConvertIndex = %v, %v; want %v", name, c, err, tt.want)
		}
	}
}

// Whatever converts is an image that parses, and to convert it again, there
// and back, changes nothing more.
func FuzzConvert(f *testing.F) {
	f.Add(testdata(f, "docker.config.json"), uint8(2))
	f.Add(testdata(f, "oci.config.json"), uint8(2))
	f.Add(configOf(`"$A"`, `{"created_by":"x"}`), uint8(1))
	f.Add([]byte(`{"rootfs":{"diff_ids":[]},"config":null}`), uint8(0))
	f.Fuzz(func(t *testing.T, config []byte, n uint8) {
		layers := strings.TrimSuffix(strings.Repeat(`{"mediaType":"`+MediaTypeDockerLayer+`","digest":"$B","size":1},`, int(n)), ",")
		r := imageOf(MediaTypeDockerManifest, MediaTypeDockerConfig, config, `"layers":[`+layers+`]`)
		c, err := Convert(r, config, MediaTypeManifest)
		if err != nil {
			return
		}
		back := convert(t, c.Manifest, c.Config, MediaTypeDockerManifest)
		again := convert(t, back.Manifest, back.Config, MediaTypeManifest)
		if !bytes.Equal(again.Manifest.Bytes, c.Manifest.Bytes) || !bytes.Equal(again.Config, c.Config) {
			t.Fatalf("%s becomes %s, then %s", config, c.Config, again.Config)
		}
		if s, err := MakeSchema1(c.Manifest, c.Config, "a", "b"); err == nil {
			if _, err := ParseSchema1(s.Manifest); err != nil {
				t.Fatalf("schema 1 of %s: %v", c.Config, err)
			}
		}
	})
}

// An index that becomes a list becomes the same list when it goes there again
// by way of an index.
func FuzzConvertIndex(f *testing.F) {
	f.Add([]byte(expand.Replace(`{"schemaVersion":2,"mediaType":"$idx","annotations":{"a":"b"},"manifests":[{"mediaType":"$man","digest":"$A","size":1,"platform":{"os":"linux","architecture":"arm","features":["x"]}},{"mediaType":"$man","digest":"$B","size":2}]}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(Raw{"", b})
		if err != nil || m.MediaType != MediaTypeIndex {
			return
		}
		instances := make([]Descriptor, len(m.Manifests))
		for i := range instances {
			instances[i] = Descriptor{MediaType: MediaTypeDockerManifest, Digest: "sha256:" + hexC, Size: int64(i)}
		}
		var lists [2]*Conversion
		r := Raw{"", b}
		for i := range lists {
			if lists[i], err = ConvertIndex(r, MediaTypeDockerList, instances); err != nil {
				t.Fatalf("to a list: %v", err)
			}
			index, err := ConvertIndex(lists[i].Manifest, MediaTypeIndex, instances)
			if err != nil {
				t.Fatalf("to an index: %v", err)
			}
			r = index.Manifest
		}
		if !bytes.Equal(lists[0].Manifest.Bytes, lists[1].Manifest.Bytes) {
			t.Fatalf("%s becomes %s, then %s", b, lists[0].Manifest.Bytes, lists[1].Manifest.Bytes)
		}
	})
}
