package reference

import (
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want Reference
	}{
		{"docker://a/b:c", Reference{"docker", "//a/b:c"}},
		{"oci:p:t", Reference{"oci", "p:t"}},
		{"oci:dir:foo:bar/baz@1", Reference{"oci", "dir:foo:bar/baz@1"}},
		{"dir:/a:b@c", Reference{"dir", "/a:b@c"}},
		{"dir:", Reference{"dir", ""}},
		{"foo:bar", Reference{"foo", "bar"}}, // unknown names are for lib/transport
		{":foo", Reference{"", "foo"}},
		{":", Reference{}},
		{"-", Reference{"-", ""}},
	}
	for _, tt := range tests {
		got, err := Parse(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
		if s := got.String(); s != tt.in {
			t.Errorf("Parse(%q).String() = %q; want the input", tt.in, s)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		in, text string
		is       error
	}{
		{"foo", `Invalid image name "foo", expected colon-separated transport:reference`, ErrNoTransport},
		{"", `Invalid image name "", expected colon-separated transport:reference`, ErrNoTransport},
		{"--", `Invalid image name "--", expected colon-separated transport:reference`, ErrNoTransport},
		{"ubuntu/größe", `Invalid image name "ubuntu/größe", expected colon-separated transport:reference`, ErrNoTransport},
		// What a name holds must not reach a terminal as control characters.
		{"a\x1b[2J\n", `Invalid image name "a\x1b[2J\n", expected colon-separated transport:reference`, ErrNoTransport},
		{"\xff", `Invalid image name "\xff", expected colon-separated transport:reference`, ErrNoTransport},
		// "-:x" as a stream would leave x out without a word.
		{"-:x", `Invalid image name "-:x", unknown transport "-"`, ErrFormat},
		{"-:", `Invalid image name "-:", unknown transport "-"`, ErrFormat},
	}
	for _, tt := range tests {
		got, err := Parse(tt.in)
		checkError(t, "Parse", tt.in, err, tt.text, tt.is)
		if got != (Reference{}) {
			t.Errorf("Parse(%q) = %+v with an error; want the zero value", tt.in, got)
		}
	}
}

// checkError checks the text, which scripts match on, and what errors.Is says;
// every parse error is an ErrFormat, so that a tool can tell wrong use by one
// test.
func checkError(t *testing.T, f, in string, err error, text string, is error) {
	t.Helper()
	if err == nil || err.Error() != text {
		t.Errorf("%s(%q) error = %v; want %s", f, in, err, text)
	}
	if !errors.Is(err, is) || !errors.Is(err, ErrFormat) {
		t.Errorf("%s(%q) error %v: is not both %q and ErrFormat", f, in, err, is)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"-", "", ":", "docker://a/b:c", "-:", "oci:p:t", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			checkPrintable(t, err)
			return
		}
		if r.String() != s {
			t.Errorf("Parse(%q).String() = %q; want the input", s, r)
		}
	})
}

// checkPrintable: a message is one line without control characters, whatever
// the name held.
func checkPrintable(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); printable(s) != s {
		t.Errorf("error text %q is not printable", s)
	}
}
