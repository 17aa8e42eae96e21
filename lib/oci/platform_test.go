package oci

import "testing"

func entriesOf(names ...string) []Descriptor {
	var ds []Descriptor
	for _, n := range names {
		d := Descriptor{}
		if n != "" {
			p, err := ParsePlatform(n)
			if err != nil {
				panic(err)
			}
			d.Platform = &p
		}
		ds = append(ds, d)
	}
	return ds
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		want    string
		entries []string
		index   int
	}{
		{"linux/amd64", []string{"linux/arm64", "linux/amd64"}, 1},
		{"linux/amd64", []string{"linux/amd64/v2"}, -1},
		{"linux/amd64", []string{"windows/amd64"}, -1},
		{"linux/amd64", []string{"unknown/unknown", "linux/s390x"}, -1},
		{"linux/amd64", []string{"linux/s390x", ""}, 1},               // the last resort
		{"linux/amd64", []string{"", "linux/amd64"}, 1},               // but only the last
		{"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6"}, 1}, // weaker ones run
		{"linux/arm/v6", []string{"linux/arm/v7", "linux/arm"}, 1},
		{"linux/arm", []string{"linux/arm/v6", "linux/arm/v7", "linux/arm/v8"}, 2},
		{"linux/arm", []string{"linux/arm/v6", "linux/arm"}, 1},
		{"linux/arm64/v8", []string{"linux/arm64", "linux/arm64/v8"}, 1},
		{"linux/arm64/v8", []string{"linux/arm64"}, 0},
		{"linux/amd64/v3", []string{"linux/amd64/v2", "linux/amd64"}, 1},
	} {
		p, err := ParsePlatform(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := Choose(entriesOf(tt.entries...), p); got != tt.index {
			t.Errorf("Choose(%q, %s) = %d; want %d", tt.entries, tt.want, got, tt.index)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		ok         bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/arm/v6", "linux/arm", true},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm", "linux/arm/v7", true},
		{"linux/arm/v6", "linux/arm/v7", false},
		{"linux/amd64", "windows/amd64", false},
	} {
		h, _ := ParsePlatform(tt.have)
		w, _ := ParsePlatform(tt.want)
		if got := Matches(h, w); got != tt.ok {
			t.Errorf("Matches(%s, %s) = %v; want %v", tt.have, tt.want, got, tt.ok)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for _, s := range []string{"", "linux", "linux/", "/amd64", "a/b/c/d", "linux/a b", "linux/a,b", "linux/amd64/", "linux/\x00"} {
		if p, err := ParsePlatform(s); err == nil {
			t.Errorf("ParsePlatform(%q) = %v", s, p)
		}
	}
	for _, s := range []string{"linux/amd64", "linux/arm/v7"} {
		if p, err := ParsePlatform(s); err != nil || FormatPlatform(p) != s {
			t.Errorf("ParsePlatform(%q) = %v, %v", s, p, err)
		}
	}
}
