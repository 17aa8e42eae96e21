package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

func desc(text string) oci.Descriptor {
	return oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString(text), Size: int64(len(text))}
}

// expand writes what is tedious: entries as {a}, {a:name}.
func expand(s string) string {
	for _, x := range []string{"a", "bb", "ccc"} {
		d := desc(x)
		head := `{"mediaType":"` + d.MediaType + `","digest":"` + string(d.Digest) + `","size":` + string(rune('0'+len(x)))
		s = strings.ReplaceAll(s, "{"+x+"}", head+"}")
		for _, name := range []string{"v1", "v2"} {
			s = strings.ReplaceAll(s, "{"+x+":"+name+"}", head+`,"annotations":{"org.opencontainers.image.ref.name":"`+name+`"}}`)
		}
	}
	return s
}

const fresh = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`

// What an index.json becomes, to the byte: other tools and other people read
// it, and what they put there is theirs.
func TestIndexSet(t *testing.T) {
	for _, tt := range []struct{ what, before, name, put, after string }{
		{"first", "", "v1", "a", fresh + `{a:v1}]}`},
		{"first without a name", "", "", "a", fresh + `{a}]}`},
		{"another name", fresh + `{a:v1}]}`, "v2", "bb", fresh + `{a:v1},{bb:v2}]}`},
		{"the same under another name", fresh + `{a:v1}]}`, "v2", "a", fresh + `{a:v1},{a:v2}]}`},
		{"nothing new", fresh + `{a:v1},{bb:v2}]}`, "v1", "a", "same"},
		{"nothing new without a name", fresh + `{a}]}`, "", "a", "same"},
		{"without a name beside a name", fresh + `{a:v1}]}`, "", "a", fresh + `{a:v1},{a}]}`},
		{"name moves", fresh + `{a:v1},{bb:v2}]}`, "v1", "ccc", fresh + `{a},{bb:v2},{ccc:v1}]}`},
		{"name moves back", fresh + `{a},{bb:v1}]}`, "v1", "a", fresh + `{a:v1},{bb}]}`},
		{"unnamed gets the name", fresh + `{a},{bb:v2}]}`, "v1", "a", fresh + `{a:v1},{bb:v2}]}`},
		{"the old one is there without a name", fresh + `{a},{a:v1}]}`, "v1", "bb", fresh + `{a},{bb:v1}]}`},
		{"two of one name", fresh + `{a:v1},{bb:v1}]}`, "v1", "ccc", fresh + `{a},{bb},{ccc:v1}]}`},
		{"an unnamed one that lies about its size", fresh + strings.Replace(expand(`{a}`), `"size":1`, `"size":7`, 1) + `]}`, "v1", "a", fresh + `{a:v1}]}`},
		{"manifests are null", `{"schemaVersion":2,"manifests":null,"x":1}`, "v1", "a", `{"schemaVersion":2,"manifests":[{a:v1}],"x":1}`},
		{"no manifests", `{"schemaVersion":2}`, "v1", "a", `{"schemaVersion":2,"manifests":[{a:v1}]}`},
		{
			"unknown fields, white space, numbers and escapes",
			"{ \"x\" : [ 1.50e3, \"\\u003c<&\" ] ,\n\"manifests\":[ { \"y\" : 12345678901234567890 , \"digest\":\"?\", \"annotations\" : { \"k\" : \"<v>\" } } ] }\n", "v1", "a",
			`{"x":[ 1.50e3, "\u003c<&" ],"manifests":[{ "y" : 12345678901234567890 , "digest":"?", "annotations" : { "k" : "<v>" } },{a:v1}]}`,
		},
		{
			"other annotations stay when the name goes",
			`{"manifests":[{"z":0,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"k":"<v>","org.opencontainers.image.ref.name":"v1"},"digest":"?"}]}`, "v1", "a",
			`{"manifests":[{"z":0,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"k":"<v>"},"digest":"?"},{a:v1}]}`,
		},
		{
			"an entry of a foreign type loses the name too",
			`{"manifests":[{"mediaType":"text/plain","annotations":{"org.opencontainers.image.ref.name":"v1"},"digest":"?"}]}`, "v1", "a",
			`{"manifests":[{"mediaType":"text/plain","digest":"?"},{a:v1}]}`,
		},
	} {
		x := newIndex()
		if tt.before != "" {
			x = must(parseIndex([]byte(expand(tt.before))))(t)
		}
		changed := must(x.set(tt.name, desc(tt.put)))(t)
		got, want := string(x.bytes()), expand(tt.after)
		switch {
		case tt.after == "same" && changed:
			t.Errorf("%s: changed to %s", tt.what, got)
		case tt.after != "same" && got != want:
			t.Errorf("%s:\ngot  %s\nwant %s", tt.what, got, want)
		case tt.after != "same" && !changed:
			t.Errorf("%s: set reports no change", tt.what)
		}
	}
}

func TestIndexPlatform(t *testing.T) {
	d := desc("a")
	d.Platform = &oci.Platform{Architecture: "arm", OS: "linux", Variant: "v7"}
	x := newIndex()
	must(x.set("v1", d))(t)
	want := fresh + strings.TrimSuffix(expand("{a:v1}"), "}") + `,"platform":{"architecture":"arm","os":"linux","variant":"v7"}}]}`
	if got := string(x.bytes()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Two readers of these would not see the same.
func TestIndexRefused(t *testing.T) {
	for _, s := range []string{
		``, `null`, `[]`, `"x"`, `{`, `{}{}`, `{}x`, `{"manifests":{}}`, `{"manifests":[null]}`, `{"manifests":[1]}`,
		`{"manifests":[],"manifests":[]}`, `{"Manifests":[]}`, "{\"manife\u017ft\u017f\":[]}",
		`{"manifests":[{"digest":"a","digest":"b"}]}`, `{"manifests":[{"Digest":"a"}]}`, `{"manifests":[{"size":"1"}]}`,
		`{"manifests":[{"annotations":{"k":1}}]}`, `{"manifests":[{"annotations":[]}]}`,
		`{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"a","org.opencontainers.image.ref.name":"b"}}]}`,
	} {
		if _, err := parseIndex([]byte(s)); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("parseIndex(%s): %v; want %v", s, err, oci.ErrInvalid)
		}
	}
}

// What is small in a file may be large in memory, and is read by whoever has
// never heard of it.
func TestIndexBounds(t *testing.T) {
	var keys strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&keys, `"%d":"",`, i)
	}
	for what, s := range map[string]string{
		"entries":     `{"manifests":[` + strings.Repeat(`{},`, maxEntries) + `{}]}`,
		"keys":        `{` + keys.String() + `"manifests":[]}`,
		"annotations": `{"manifests":[{"annotations":{` + keys.String() + `"":""}}]}`,
	} {
		if _, err := parseIndex([]byte(s)); !errors.Is(err, image.ErrTooLarge) {
			t.Errorf("too many %s: %v; want %v", what, err, image.ErrTooLarge)
		}
	}
	if _, err := parseIndex([]byte(`{"manifests":[` + strings.Repeat(`{},`, maxEntries-1) + `{}]}`)); err != nil {
		t.Errorf("%d entries: %v", maxEntries, err)
	}
}

// Whatever an index holds, giving it a name makes that name stand for what was
// given, keeps what other names stand for, and is done the second time.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"manifests":null}`, expand(fresh + `{a:v1},{bb:v2},{ccc}]}`), expand(fresh + `{a:v1},{bb:v1}]}`),
		` { "x" : {"y":[1,2,{"z":null}]}, "manifests" : [ {"mediaType":"text/plain","annotations":null} ] } `,
		`{"a":"\ud800","\u00e9":1e400,"manifests":[{"digest":"\"","platform":null,"annotations":{"":""}}]}`,
	} {
		f.Add([]byte(s), "v1")
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		x, err := parseIndex(b)
		if err != nil || !utf8.ValidString(name) { // which JSON cannot hold; CreateOCI refuses it
			return
		}
		names := func(x *index) (all []string) {
			for _, e := range x.entries {
				if n := e.name; n != "" && n != name {
					all = append(all, n+"="+string(e.desc.Digest))
				}
			}
			return all
		}
		others := names(x)
		d := desc("a")
		if _, err := x.set(name, d); err != nil {
			t.Fatalf("set: %v", err)
		}
		out := x.bytes()
		if !json.Valid(out) {
			t.Fatalf("not JSON: %s", out)
		}
		y, err := parseIndex(out)
		if err != nil {
			t.Fatalf("reading back %s: %v", out, err)
		}
		if got := names(y); !slices.Equal(got, others) {
			t.Fatalf("other names are %q; want %q", got, others)
		}
		i := y.named(name)
		if name == "" {
			i = y.unnamed(d)
		}
		if i < 0 || !y.entries[i].is(d) {
			t.Fatalf("%q does not stand for what was set: %s", name, out)
		}
		if changed, err := y.set(name, d); changed || err != nil {
			t.Fatalf("set again: %v, %v", changed, err)
		}
	})
}
