package oci

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hexC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// expand writes documents for people: A, B and C are digests, T types.
var expand = strings.NewReplacer(
	"$A", "sha256:"+hexA, "$B", "sha256:"+hexB, "$C", "sha256:"+hexC,
	"$man", MediaTypeManifest, "$idx", MediaTypeIndex, "$cfg", MediaTypeConfig, "$lay", MediaTypeLayerGzip,
	"$dman", MediaTypeDockerManifest, "$dlist", MediaTypeDockerList, "$dcfg", MediaTypeDockerConfig,
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ declared, doc, want string }{
		{"$man", `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"$A","size":2},"layers":[]}`, "$man"},
		{"", `{"schemaVersion":2,"mediaType":"$man","config":{"mediaType":"$cfg","digest":"$A","size":2},"layers":[{"mediaType":"$lay","digest":"$B","size":1}]}`, "$man"},
		{"", `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"$A","size":2}}`, "$man"},
		{"", `{"schemaVersion":2,"config":{"mediaType":"$dcfg","digest":"$A","size":2},"layers":[]}`, "$dman"},
		{"application/json", `{"schemaVersion":2,"manifests":[]}`, "$idx"},
		{"text/plain", `{"schemaVersion":2,"mediaType":"$dlist","manifests":[{"mediaType":"$dman","digest":"$A","size":9}]}`, "$dlist"},
		{"", `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[{"mediaType":"x/y","digest":"$A","size":9}]}`, MediaTypeArtifact},
		{"", `{"schemaVersion":2,"unknown":{"Keys":1,"keys":2},"config":{"mediaType":"x/y","digest":"$A","size":2},"layers":[],"annotations":{"Config":"x","config":"y"}}`, "$man"},
	} {
		m, err := Parse(Raw{expand.Replace(tt.declared), []byte(expand.Replace(tt.doc))})
		if err != nil {
			t.Errorf("Parse(%s) as %q: %v", tt.doc, tt.declared, err)
			continue
		}
		if want := expand.Replace(tt.want); m.MediaType != want {
			t.Errorf("Parse(%s) as %q is %s; want %s", tt.doc, tt.declared, m.MediaType, want)
		}
	}
}

// What two readers could understand differently must not be understood at
// all. The reasons: CVE-2021-41190 (an index that is a manifest too), readers
// that fold the case of keys or take the last of two, digests that are paths.
func TestParseRefuses(t *testing.T) {
	config := `"config":{"mediaType":"$cfg","digest":"$A","size":2}`
	layers := `"layers":[{"mediaType":"$lay","digest":"$B","size":1}]`
	for name, doc := range map[string]string{
		"not JSON":              `{`,
		"trailing data":         `{"schemaVersion":2,` + config + `}{}`,
		"an array":              `[]`,
		"null":                  `null`,
		"empty":                 `{}`,
		"both kinds":            `{"schemaVersion":2,` + config + `,"manifests":[]}`,
		"index and layers":      `{"schemaVersion":2,` + layers + `,"manifests":[]}`,
		"index called image":    `{"schemaVersion":2,"mediaType":"$man","manifests":[]}`,
		"image called index":    `{"schemaVersion":2,"mediaType":"$idx",` + config + `}`,
		"fsLayers beside":       `{"schemaVersion":2,` + config + `,"fsLayers":[]}`,
		"duplicate layers":      `{"schemaVersion":2,` + config + `,` + layers + `,` + layers + `}`,
		"duplicate by escape":   `{"schemaVersion":2,` + config + `,"layers":[],"l\u0061yers":[]}`,
		"LAYERS":                `{"schemaVersion":2,` + config + `,"LAYERS":[]}`,
		"size with a long s":    `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"$A","size":2,"\u017fize":3}}`,
		"layers with a long s":  `{"schemaVersion":2,` + config + `,` + layers + `,"layerſ":[]}`,
		"Digest in descriptor":  `{"schemaVersion":2,"config":{"mediaType":"$cfg","Digest":"$A","size":2}}`,
		"duplicate in platform": `{"schemaVersion":2,"manifests":[{"mediaType":"$man","digest":"$A","size":1,"platform":{"os":"a","os":"b","architecture":"c"}}]}`,
		"config null":           `{"schemaVersion":2,"config":null,"layers":[]}`,
		"layers null":           `{"schemaVersion":2,` + config + `,"layers":null}`,
		"no config":             `{"schemaVersion":2,` + layers + `}`,
		"size below 0":          `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"$A","size":-1}}`,
		"size a fraction":       `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"$A","size":1.5}}`,
		"no digest":             `{"schemaVersion":2,"config":{"mediaType":"$cfg","size":1}}`,
		"digest a path":         `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"sha256:../../../etc/passwd","size":1}}`,
		"digest upper case":     `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"sha256:` + strings.ToUpper(hexA) + `","size":1}}`,
		"digest md5":            `{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1}}`,
		"subject's digest":      `{"schemaVersion":2,` + config + `,"subject":{"mediaType":"$man","digest":"sha256:x","size":1}}`,
		"version 3":             `{"schemaVersion":3,` + config + `}`,
		"no version":            `{` + config + `}`,
		"unknown type":          `{"schemaVersion":2,"mediaType":"application/x",` + config + `}`,
		"huge child":            `{"schemaVersion":2,"manifests":[{"mediaType":"$man","digest":"$A","size":99999999}]}`,
		"nested too deep":       strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		"too large":             `{"schemaVersion":2,` + config + `,"x":"` + strings.Repeat("x", MaxManifest) + `"}`,
		"too many layers":       `{"schemaVersion":2,` + config + `,"layers":[` + strings.TrimSuffix(strings.Repeat(`{"mediaType":"a","digest":"$B","size":1},`, MaxEntries+1), ",") + `]}`,
	} {
		if m, err := Parse(Raw{"", []byte(expand.Replace(doc))}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Parse = %v, %v; want %v", name, m, err, ErrInvalid)
		}
	}
	declared := Raw{MediaTypeIndex, []byte(expand.Replace(`{"schemaVersion":2,"mediaType":"$man",` + config + `}`))}
	if _, err := Parse(declared); !errors.Is(err, ErrInvalid) {
		t.Errorf("declared as an index, calls itself an image: %v", err)
	}
	if _, err := Parse(Raw{"", []byte(`{"schemaVersion":1,"fsLayers":[],"history":[]}`)}); !errors.Is(err, ErrSchema1) {
		t.Errorf("schema 1: %v; want %v", err, ErrSchema1)
	}
}

// Bytes that are not of the entries left out must stay: white space, order of
// keys, escapes, unknown fields.
func TestSelect(t *testing.T) {
	entry := func(d string) string {
		return fmt.Sprintf("{\n  \"size\" : 1, \"digest\":%q, \"x\": \"\\u0041\", \"mediaType\":\"a/b\"}", d)
	}
	a, b, c := entry("sha256:"+hexA), entry("sha256:"+hexB), entry("sha256:"+hexC)
	doc := func(list string) string {
		return "{ \"zzz\": [1,2 , 3],\n\"manifests\" :  [" + list + "]  ,\"schemaVersion\":2}\n"
	}
	all := " " + a + " ,\n " + b + ",\t" + c + " "
	for keep, want := range map[string]string{
		"abc": all,
		"bc":  " " + b + ",\t" + c + " ",
		"ac":  " " + a + ",\t" + c + " ",
		"ab":  " " + a + " ,\n " + b + " ",
		"a":   " " + a + " ",
		"b":   " " + b + " ",
		"c":   " " + c + " ",
		"":    "  ",
	} {
		r, err := Raw{Bytes: []byte(doc(all))}.Select(func(i int) bool { return strings.Contains(keep, string(rune('a'+i))) })
		if err != nil || string(r.Bytes) != doc(want) {
			t.Errorf("Select(%s) = %q, %v; want %q", keep, r.Bytes, err, doc(want))
		}
	}
	if _, err := (Raw{Bytes: []byte(`{"layers":[]}`)}).Select(nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("Select of what is no index: %v", err)
	}
}

func TestRewrite(t *testing.T) {
	doc := `{"layers" : [ {"size":1,"digest":"$A", "mediaType":"plain","annotations":{"digest":"$A"}}, {"digest":"$B","size":2,"mediaType":"q"} ],"config":{"digest":"$C","mediaType":"c","size":3}, "x":"$A"}`
	want := `{"layers" : [ {"size":77,"digest":"$C", "mediaType":"packed","annotations":{"digest":"$A"}}, {"digest":"$B","size":2,"mediaType":"q"} ],"config":{"digest":"$B","mediaType":"d","size":4}, "x":"$A"}`
	r, err := Raw{Bytes: []byte(expand.Replace(doc))}.Rewrite(map[digest.Digest]Descriptor{
		"sha256:" + hexA: {MediaType: "packed", Digest: "sha256:" + hexC, Size: 77},
		"sha256:" + hexC: {MediaType: "d", Digest: "sha256:" + hexB, Size: 4},
		"sha256:" + hexB: {Digest: "sha256:" + hexB}, // not another one
	})
	if err != nil || string(r.Bytes) != expand.Replace(want) {
		t.Errorf("Rewrite = %s, %v; want %s", r.Bytes, err, expand.Replace(want))
	}
}

// The digest of a signed schema 1 manifest is that of the payload: it must be
// what skopeo manifest-digest prints.
func TestSchema1Digest(t *testing.T) {
	signed := "{\n   \"schemaVersion\": 1,\n   \"name\": \"x\",\n   \"signatures\": [\n      {\n         \"protected\": \"eyJmb3JtYXRMZW5ndGgiOjQxLCJmb3JtYXRUYWlsIjoiQ24wIn0\"\n      }\n   ]\n}"
	payload := signed[:41] + "\n}"
	if got, want := (Raw{Bytes: []byte(signed)}).Digest(), digest.FromString(payload); got != want {
		t.Errorf("digest = %s; want %s, of the payload %q", got, want, payload)
	}
	for _, odd := range []string{"", `{"signatures":[]}`, `{"signatures":[{"protected":"!"}],"schemaVersion":1}`, `{"signatures":[{"protected":"e30"}],"schemaVersion":1}`} {
		if got, want := (Raw{Bytes: []byte(odd)}).Digest(), digest.FromString(odd); got != want {
			t.Errorf("digest of %q = %s; want that of its bytes", odd, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(expand.Replace(`{"schemaVersion":2,"mediaType":"$idx","manifests":[{"mediaType":"$man","digest":"$A","size":1,"platform":{"os":"linux","architecture":"amd64"}},{"mediaType":"$man","digest":"$B","size":2}]}`)))
	f.Add([]byte(expand.Replace(`{"schemaVersion":2,"config":{"mediaType":"$cfg","digest":"$A","size":2},"layers":[{"mediaType":"$lay","digest":"$B","size":1}]}`)))
	f.Add([]byte(`{"a":[{},[],"\"",-1.5e3,true,null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(Raw{Bytes: b})
		if err != nil {
			return
		}
		// What parses can be edited, and what was edited parses again.
		moved := map[digest.Digest]Descriptor{}
		for _, d := range append(m.Blobs(), m.Manifests...) {
			moved[d.Digest] = Descriptor{MediaType: d.MediaType, Digest: "sha256:" + hexC, Size: 5}
		}
		r, err := Raw{Bytes: b}.Rewrite(moved)
		if err != nil {
			t.Fatalf("Rewrite: %v", err)
		}
		if m.IsIndex() {
			if r, err = r.Select(func(i int) bool { return i%2 == 0 }); err != nil {
				t.Fatalf("Select: %v", err)
			}
		}
		n, err := Parse(r)
		if err != nil {
			t.Fatalf("Parse of the edited manifest %q: %v", r.Bytes, err)
		}
		if want := (len(m.Manifests) + 1) / 2; len(n.Manifests) != want {
			t.Fatalf("%d manifests after Select; want %d", len(n.Manifests), want)
		}
	})
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"\\\""}],"c":{}}`, ` [ ] `, `"x"`, `[[],[[]],{}]`, "{\"\\u0000\":0}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := scan(b)
		if err == nil {
			checkSpans(t, b, n)
		}
	})
}

// checkSpans fails if a value's place in the text does not hold one value.
func checkSpans(t *testing.T, text []byte, n node) {
	if s := string(text[n.start:n.end]); s != strings.TrimSpace(s) || s == "" {
		t.Fatalf("value %q in %q", s, text)
	}
	if _, err := scan(text[n.start:n.end]); err != nil {
		t.Fatalf("value %q: %v", text[n.start:n.end], err)
	}
	for _, m := range n.members {
		checkSpans(t, text, m.val)
	}
	for _, it := range n.items {
		checkSpans(t, text, it)
	}
}
