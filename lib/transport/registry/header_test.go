package registry

import (
	"fmt"
	"testing"
)

func TestNextLink(t *testing.T) {
	tests := []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{`</v2/a/tags/list?last=b&n=2>; rel="next"`}, "/v2/a/tags/list?last=b&n=2"},
		{[]string{`</v2/a/tags/list?last=b>; rel=next`}, "/v2/a/tags/list?last=b"},
		{[]string{`</x>;REL="prev Next"`}, "/x"},
		{[]string{`</x>; title="a, b; rel=next"; rel="prev"`}, ""},
		{[]string{`</p>; rel="prev", </n>; rel="next"`}, "/n"},
		{[]string{`</p>; rel=prev`, `</n> ; rel = "next"`}, "/n"},
		{[]string{`</a>; rel="prev"; rel="next"`}, ""},
		{[]string{`</a>`}, ""},
		{[]string{`</a; rel="next"`}, ""},
		{[]string{`rel="next"`}, ""},
		{[]string{`<>; rel="next"`}, ""},
		{[]string{`</a>; flag; rel="next"`}, "/a"},
		{[]string{`</a>;;rel=next;`}, "/a"},
	}
	for _, tt := range tests {
		if got := nextLink(tt.lines); got != tt.want {
			t.Errorf("nextLink(%q) = %q; want %q", tt.lines, got, tt.want)
		}
	}
}

func FuzzNextLink(f *testing.F) {
	f.Add(`</v2/a/tags/list?last=b>; rel="next"`)
	f.Add(`<a>;x="\`)
	f.Fuzz(func(t *testing.T, line string) {
		got := nextLink([]string{line})
		if again := nextLink([]string{"<" + got + `>; rel="next"`}); again != got {
			t.Errorf("nextLink(%q) = %q; said again: %q", line, got, again)
		}
	})
}

// A range that is not exactly one is none: parts must not be glued together
// wrongly.
func TestParseContentRange(t *testing.T) {
	tests := []struct {
		in   string
		want span
		ok   bool
	}{
		{"bytes 0-9/10", span{0, 9, 10}, true},
		{" Bytes 5-9/* ", span{5, 9, -1}, true},
		{"bytes 5-5/6", span{5, 5, 6}, true},
		{"bytes 9-5/10", span{}, false},
		{"bytes 0-10/10", span{}, false},
		{"bytes */10", span{}, false},
		{"bytes -5/10", span{}, false},
		{"bytes +1-5/10", span{}, false},
		{"bytes 1-5", span{}, false},
		{"items 1-5/10", span{}, false},
		{"bytes 1-9223372036854775807/*", span{}, false},
		{"bytes 1-99999999999999999999/*", span{}, false},
		{"", span{}, false},
	}
	for _, tt := range tests {
		got, ok := parseContentRange(tt.in)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("parseContentRange(%q) = %v, %v; want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseUploaded(t *testing.T) {
	tests := []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0-9", 10, true},
		{"0-0", 0, true}, // what registries send for nothing at all
		{"bytes=0-9", 10, true},
		{"1-9", 0, false},
		{"0--1", 0, false},
		{"9", 0, false},
		{"", 0, false},
		{"0-9223372036854775807", 0, false},
	}
	for _, tt := range tests {
		if got, ok := parseUploaded(tt.in); got != tt.want || ok != tt.ok {
			t.Errorf("parseUploaded(%q) = %d, %v; want %d, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzRanges(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("0-9")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := parseContentRange(s); ok {
			total := "*"
			if r.total >= 0 {
				total = fmt.Sprint(r.total)
			}
			if again, ok := parseContentRange(fmt.Sprintf("bytes %d-%d/%s", r.first, r.last, total)); !ok || again != r || r.first < 0 || r.last < r.first {
				t.Errorf("parseContentRange(%q) = %v", s, r)
			}
		}
		if n, ok := parseUploaded(s); n < 0 || !ok && n != 0 {
			t.Errorf("parseUploaded(%q) = %d, %v", s, n, ok)
		}
	})
}
