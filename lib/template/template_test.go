package template

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func execute(text string, data any) (string, error) {
	var b strings.Builder
	err := Execute(&b, text, data)
	return b.String(), err
}

// What the manual page promises, by example.
func TestExecute(t *testing.T) {
	data := newSample()
	for _, c := range []struct{ text, want string }{
		{"{{.Name}}", "example\n"},
		{"{{.Name}}\n", "example\n"},
		{`{{.Name}}\t{{.Number}}\n`, "example\t42\n"},
		{"", "\n"},
		{"{{range .}}{{.Name}}{{end}}", "example\n"},
		{"{{range .Strings}}{{.}} {{end}}", "one two three \n"},
		{"{{(index $ 0).Name}}", "example\n"},
		{"{{.Labels.none}}", "<no value>\n"},
		{"{{json .Labels}}", `{"an.other":"<b>","key":"value","zoo":"last"}` + "\n"},
		{`{{join .Strings ", "}}`, "one, two, three\n"},
		{"{{.Name | upper | printf `%s!`}}", "EXAMPLE!\n"},
		{"{{truncate .Digest.Encoded 12}}", "ed7002b439e9\n"},
		{`{{.Created.Format "2006-01-02"}}`, "2026-02-03\n"},
		{"{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "an.other=<b> key=value zoo=last \n"},
		// A newline within a string does not parse: the text is meant as it is.
		{`{{printf "%s\n" .Name}}`, "example\n"},
		{`{{printf "%s" .Name}}`, "example\n"},
		{`{{print "a\n"}}b`, "a\nb"},
		{"table {{.Name}} {{.Number}} end", "example     42          end\n"},
		{`table a-rather-long-cell b\n{{.Name}}\tx`, "a-rather-long-cell  b\nexample             x\n"},
		{"tables {{.Name}}", "tables example\n"},
	} {
		if got, err := execute(c.text, data); got != c.want || err != nil {
			t.Errorf("Execute(%q) = %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestExecuteJSON(t *testing.T) {
	data := map[string]any{"b": "<&>", "a": []int{1}}
	want := "{\n    \"a\": [\n        1\n    ],\n    \"b\": \"\\u003c\\u0026\\u003e\"\n}\n"
	for _, text := range []string{"json", " json\n", "{{json}}", "{{ json. }}", "\t{{\njson.\r}} "} {
		if got, err := execute(text, data); got != want || err != nil {
			t.Errorf("Execute(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{json}", "{{json..}}", "{{js on}}", "json.", "{{json", "json}}"} {
		if got, _ := execute(text, data); got == want {
			t.Errorf("Execute(%q) is JSON; want a template", text)
		}
	}
	if got, err := execute("json", newSample().Func); err == nil {
		t.Errorf("Execute(json) of a function = %q; want an error", got)
	}
}

// Where Execute is not what text/template is, and why. One that is no difference
// any more fails.
func TestDifferences(t *testing.T) {
	const deep = `{{define "x"}}{{if .}}{{template "x" (slice . 1)}}{{end}}{{end}}{{range .}}{{template "x" (printf "%150d" 1)}}{{end}}`
	data := newSample()
	for _, c := range []struct{ why, text, want string }{ // no want: an error
		{"any type of strings is as good as string", "{{lower .Word}}", "word\n"},
		{"any type of strings is as good as string", "{{index (split .Digest `:`) 0}}", "sha256\n"},
		{"any type of strings is as good as string", "{{join .Words `+`}} {{join .Mixed `+`}}", "a+b x+y\n"},
		{"a template is no program: depth is bounded", deep, ""},
		{"a template is no program: space is bounded", "{{len (pad `x` 0 1000001)}}", ""},
		{"data has no functions", "{{call .Func}}", ""},
		{"data has no channels", "{{len .Chan}}", ""},
		{"data has no channels", "{{range .Done}}{{end}}", ""},
		{"maps have keys of basic types", "{{range .Odds}}{{.}} {{end}}", "ten two \n"},
		{"methods are those in the table", "{{.When.GoString}}", ""},
		{"methods are those in the table", "{{.Digest.Validate}}", ""},
		{"methods are those in the table", "{{.Err.Error}}", ""},
		{"templates can be defined without a range", `{{define "x"}}<{{.}}>{{end}}{{template "x" .Name}}`, "<example>\n"},
		{"a range over a dot that is not the list is not one over the list", "{{with .Strings}}{{range .}}{{.}}{{end}}{{end}}", "onetwothree\n"},
		{"a range over a dot that is not the list is not one over the list", `{{block "x" .Strings}}{{range .}}{{.}}{{end}}{{end}}`, "onetwothree\n"},
		{"a range over the list may be trimmed", "{{- range . -}} {{.Name}} {{- end -}}", "example"},
		{"a range over the list may set variables", "{{range $i, $x := .}}{{$i}}={{$x.Name}}{{end}}", "0=example\n"},
		{"a table may have a range over the list", "table {{range .}}{{.Name}} x{{end}}", "example     x\n"},
		{"what is around the text does not count", "{{.Name}}{{break}}", ""},
		{"what is around the text does not count", "{{.Name}}{{else}}none", ""},
	} {
		got, err := execute(c.text, data)
		if (err == nil) != (c.want != "") || err == nil && got != c.want {
			t.Errorf("Execute(%q) = %q, %v; want %q: %s", c.text, got, err, c.want, c.why)
		}
		var b strings.Builder
		if rerr := reference(&b, c.text, data); (rerr == nil) == (err == nil) && b.String() == got {
			t.Errorf("Execute(%q) = %q, %v; text/template has the same", c.text, got, err)
		}
	}
}

// A person reads the message, to find the place in the text that they wrote.
func TestErrors(t *testing.T) {
	data := newSample()
	for _, c := range []struct{ text, want string }{
		{"{{.Foo}}", "template: format:1:2: at <.Foo>: no field or method Foo in type template.sample"},
		{`a\n b {{.Name.Foo}}`, "template: format:2:10: at <.Name.Foo>: no field or method Foo in type string"},
		{"{{.hidden}}", "template: format:1:2: at <.hidden>: no field or method hidden in type template.sample"},
		{"{{.Never.Year}}", "template: format:1:8: at <.Never.Year>: Year of nil *time.Time"},
		{"{{.Name 1}}", "template: format:1:2: at <.Name>: Name is not a method, and takes no arguments"},
		{"{{index .Strings 7}}", "template: format:1:2: at <index>: index: out of range: 7"},
		{"{{lower 1}}", "template: format:1:8: at <1>: want string, got int"},
		{"{{lower .Name .Name}}", "template: format:1:2: at <lower>: wrong number of arguments for lower: want 1, got 2"},
		{"{{printf}}", "template: format:1:2: at <printf>: wrong number of arguments for printf: want at least 1, got 0"},
		{"{{.Invalid.Encoded}}", "template: format:1:10: at <.Invalid.Encoded>: Encoded: no ':' separator in digest \"\""},
		{`{{template "x"}}`, `template: format:1:11: at <{{template "x"}}>: template "x" is not defined`},
		{`{{define "x"}}{{template "x" .}}{{end}}{{template "x" .}}`, `template: format:1:25: at <{{template "x" .}}>: templates invoke each other more than 100 deep`},
		{"{{range .Name}}{{end}}", "template: format:1:8: at <.Name>: cannot range over string"},
		{"{{.Func}}", "template: format:1:2: at <.Func>: cannot print func() string"},
		{"{{eq 1 `a`}}", "template: format:1:2: at <eq>: eq: cannot compare int and string"},
		{"{{.Name", "template: format:2: unclosed action started at format:1"},
		{"{{nosuch}}", `template: format:1: function "nosuch" not defined`},
		{"{{index . `a\nb\x1b`}}{{end}}", "template: format:2: unexpected {{end}}"},
		{"{{slice `a\nb\x1b` 9}}", "template: format:1:2: at <slice>: slice: out of range: 9"},
		{"{{(print `a\nb\x1b`).X}}", "template: format:2:4: at <(print `a b `).X>: no field or method X in type string"},
		{"{{(print `" + strings.Repeat("long ", 20) + "`).X}}", "template: format:1:112: at <(print `" + strings.Repeat("long ", 10) + "lo...>: no field or method X in type string"},
		{"{{(print `" + strings.Repeat("é", 60) + "`).X}}", "template: format:1:132: at <(print `" + strings.Repeat("é", 26) + "...>: no field or method X in type string"},
	} {
		got, err := execute(c.text, data)
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrTemplate) {
			t.Errorf("Execute(%q) = %q, %v; want the error %q", c.text, got, err, c.want)
		}
	}
}

// broken is standard output when nobody reads it any more.
type broken struct{ after int }

func (b *broken) Write(p []byte) (int, error) {
	b.after -= len(p)
	if b.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// A reader that has gone away is not the template's fault: it has an exit code
// of its own.
func TestWriteError(t *testing.T) {
	for _, text := range []string{
		"json", "text", "{{.Name}}", "table {{.Name}}", "{{range 10000}}text{{end}}", "{{range 10000}}{{.}}{{end}}{{.Foo}}",
		"table {{range 10000}}text\t{{.}}\n{{end}}",
	} {
		err := Execute(&broken{}, text, newSample())
		if !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, ErrTemplate) {
			t.Errorf("Execute(%q) to a broken pipe = %v; want %v", text, err, io.ErrClosedPipe)
		}
	}
}

// counter counts what comes, and remembers the largest piece.
type counter struct{ n, largest int }

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	c.largest = max(c.largest, len(p))
	return len(p), nil
}

// The output may be larger than memory.
func TestStreams(t *testing.T) {
	const n = 200_000
	var c counter
	if err := Execute(&c, "{{range 200000}}x{{end}}", nil); err != nil || c.n != n+1 || c.largest > n/10 {
		t.Errorf("Execute writes %d bytes, at once up to %d, %v; want %d in small pieces", c.n, c.largest, err, n+1)
	}
}

// Nesting is as deep as a command line is long. It must not be a crash.
func TestNesting(t *testing.T) {
	const n = 16_000
	for _, c := range []struct{ open, in, end string }{
		{"{{if 1}}", "x", "{{end}}"}, {"{{range 1}}", "x", "{{end}}"}, {"{{with 1}}", "x", "{{end}}"},
		{"", "{{if 0}}" + strings.Repeat("{{else if 0}}", n) + "{{else}}x{{end}}", ""},
		{"", "{{" + strings.Repeat("(", n/2) + "`x`" + strings.Repeat(")", n/2) + "}}", ""},
		{"", "{{`x`" + strings.Repeat("|print", n) + "}}", ""},
	} {
		text := strings.Repeat(c.open, n) + c.in + strings.Repeat(c.end, n)
		if got, err := execute(text, nil); got != "x\n" || err != nil {
			t.Errorf("Execute(%q, nested) = %.20q, %v; want x", c.open+c.in[:1]+c.end, got, err)
		}
	}
	if _, err := execute("{{"+strings.Repeat("(", 1e5)+"1"+strings.Repeat(")", 1e5)+"}}", nil); err == nil {
		t.Errorf("100,000 parentheses are evaluated; want an error")
	}
}
