package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"text/template"
)

var (
	jsonForm  = regexp.MustCompile(`^\s*(json|{{\s*json\.?\s*}})\s*$`)
	rangeForm = regexp.MustCompile(`(?s){{\s*range\s*\.\s*}}.*{{\s*end\s*-?\s*}}`)
)

// reference does what Execute does, by means of text/template, and the way that
// the programs do it for which this is a drop-in.
func reference(w io.Writer, text string, data any) error {
	if jsonForm.MatchString(text) {
		b, err := json.MarshalIndent(data, "", "    ")
		if err == nil {
			fmt.Fprintf(w, "%s\n", b)
		}
		return err
	}
	expanded := strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(text)
	body, table := strings.CutPrefix(text, "table ")
	if table {
		expanded = strings.NewReplacer(`\n`, "\n", `\t`, "\t", " ", "\t").Replace(body)
		tw := tabwriter.NewWriter(w, 12, 2, 2, ' ', tabwriter.StripEscape)
		defer tw.Flush()
		w = tw
	}
	if !strings.HasSuffix(expanded, "\n") {
		expanded += "\n"
	}
	tmpl, err := template.New(root).Funcs(referenceFuncs()).Parse(wrap(expanded, table))
	if err != nil {
		tmpl, err = template.New(root).Funcs(referenceFuncs()).Parse(wrap(body, table))
	}
	if err != nil {
		return err
	}
	return tmpl.Execute(w, []any{data})
}

func wrap(text string, table bool) string {
	if !table && rangeForm.MatchString(text) {
		return text
	}
	return "{{range .}}" + text + "{{end -}}"
}

func referenceFuncs() template.FuncMap {
	return template.FuncMap{
		"join": strings.Join, "split": strings.Split, "lower": strings.ToLower, "upper": strings.ToUpper,
		//lint:ignore SA1019 it is what title is held to
		"title": strings.Title,
		"json": func(v any) (string, error) {
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			err := enc.Encode(v)
			return strings.TrimSpace(b.String()), err
		},
		"pad": func(s string, before, after int) string {
			if s == "" {
				return s
			}
			return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
		},
		"truncate": func(s string, n int) string {
			if len(s) < n {
				return s
			}
			return s[:n]
		},
	}
}

// limited ends a template that has no end.
type limited struct {
	bytes.Buffer
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > 1<<20 {
		return 0, io.ErrShortWrite
	}
	return l.Buffer.Write(p)
}

// better are the reference's errors where Execute succeeds on purpose. What they
// are about is in TestDifferences.
var better = []string{"expected string; got template.word", "expected string; got digest.", "expected []string; got []"}

// same checks that Execute does what the reference does, and reports whether
// that was to succeed.
func same(t *testing.T, text string, data any) bool {
	t.Helper()
	var got, want limited
	gotErr, wantErr := Execute(&got, text, data), reference(&want, text, data)
	if wantErr != nil {
		for _, b := range better {
			if strings.Contains(wantErr.Error(), b) {
				return false
			}
		}
	}
	if (gotErr != nil) != (wantErr != nil) {
		t.Errorf("Execute(%q) = %q, %v; text/template has %q, %v", text, got.String(), gotErr, want.String(), wantErr)
	} else if got.String() != want.String() { // up to an error, too
		t.Errorf("Execute(%q) = %q, %v; text/template has %q, %v", text, got.String(), gotErr, want.String(), wantErr)
	}
	if gotErr != nil && strings.ContainsFunc(gotErr.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("Execute(%q): the error is not one line: %q", text, gotErr)
	}
	return wantErr == nil
}

// Each line of the file is a template. One evaluator is the other's measure.
func TestReference(t *testing.T) {
	file, err := os.ReadFile("testdata/templates.txt")
	if err != nil {
		t.Fatal(err)
	}
	data, succeeded := newSample(), 0
	lines := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
	for _, text := range lines {
		if same(t, text, data) {
			succeeded++
		}
	}
	t.Logf("%d of %d templates succeed", succeeded, len(lines))
}

// Data is not always a pointer to a struct.
func TestReferenceData(t *testing.T) {
	link := &inner{Key: "k"}
	for _, data := range []any{
		nil, "text", 3, 2.5, true, []string{"a"}, map[string]any{"Key": "v"}, map[string]int{}, *newSample(), link, &link,
		(*inner)(nil), map[string]*inner{"Key": nil}, []any{nil}, word("w"), [2]int{1, 2}, &addressed{3}, addressed{3},
	} {
		for _, text := range []string{
			"json", "{{.}}", "{{.Key}}", "{{.Key.Key}}", "{{range .}}{{.}}{{end}}", "{{range .}}{{range .}}{{.}}{{else}}none{{end}}{{end}}",
			"{{if .}}yes{{else}}no{{end}}", "{{with .}}{{.}}{{end}}", "{{len .}}", "{{print .}}", "{{printf `%v` .}}", "{{index . 0}}", "{{index . `Key`}}",
			"{{slice . 1}}", "{{eq . 3}}", "{{eq . nil}}", "{{lt . 3}}", "{{html .}}", "{{json .}}", "{{.String}}", "{{not .}}", "{{and . 1}}",
		} {
			same(t, text, data)
		}
	}
}

// A random template composes what nobody thinks of. Most of them fail somewhere,
// which is to be the same too.
func TestReferenceRandom(t *testing.T) {
	const n = 3000
	data, succeeded := newSample(), 0
	for seed := range uint64(n) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 1)), wild: seed%4 == 0}
		if same(t, g.template(), data) {
			succeeded++
		}
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
	t.Logf("%d of %d templates succeed", succeeded, n)
	if succeeded < n/4 {
		t.Errorf("%d of %d random templates succeed; want more, to have compared outputs", succeeded, n)
	}
}

type generator struct {
	r     *rand.Rand
	depth int
	wild  bool // use what fails
}

func (g *generator) of(choices ...string) string { return choices[g.r.IntN(len(choices))] }

// template writes a template that keeps the data in $r, and defines others.
func (g *generator) template() string {
	text := "{{$r := .}}{{$v := 1}}" + g.nodes()
	if g.r.IntN(3) > 0 {
		return g.of("", "table ") + text
	}
	return `{{define "t"}}{{$r := .}}{{$v := .}}[` + g.nodes() + `]{{end}}{{range .}}` + text + `{{template "t" .}}{{end}}`
}

func (g *generator) nodes() string {
	var b strings.Builder
	for range 1 + g.r.IntN(3) {
		b.WriteString(g.node())
	}
	return b.String()
}

func (g *generator) node() string {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth > 4 {
		return g.of("text", " ", `\n`, `a\tb`)
	}
	open, end := g.of("{{", "{{", "{{- "), g.of("}}", "}}", " -}}")
	switch g.r.IntN(12) {
	case 0:
		return g.of("text ", " ", `\n`, `a\tb `, "{{/* comment */}}", "{{- /* trim */ -}}")
	case 1:
		return open + "if " + g.pipe() + end + g.nodes() + g.of("", "{{else}}"+g.nodes(), "{{else if "+g.pipe()+"}}"+g.nodes()) + "{{end}}"
	case 2:
		return open + "with " + g.of("", "$w := ") + g.pipe() + end + g.nodes() + g.of("", "{{else}}"+g.nodes(), "{{else with "+g.pipe()+"}}"+g.nodes()) + "{{end}}"
	case 3, 4:
		vars := g.of("", "$v := ", "$i, $v := ", "$v = ", "$r, $v = ")
		return open + "range " + vars + g.list() + end + g.nodes() + g.of("", "{{if $v}}{{break}}{{end}}", "{{if not $v}}{{continue}}{{end}}") + g.nodes() + g.of("", "{{else}}"+g.nodes()) + "{{end}}"
	case 5:
		return open + g.of("$v := ", "$v = ", "$n := ") + g.pipe() + end
	case 6:
		return `{{block "b" ` + g.pipe() + `}}{{.}}{{end}}`
	}
	return open + g.pipe() + end
}

func (g *generator) list() string {
	return g.of("$r.Labels", "$r.Layers", "$r.Strings", "$r.Inners", "$r.Links", "$r.Array", "$r.Ints", "$r.NoList", "$r.NoMap", "$r.List", "3", "$r.U8", "$", "$r.Free", "$r.Mixed", g.wilder(g.operand(), "$"))
}

func (g *generator) wilder(wild, tame string) string {
	if g.wild {
		return wild
	}
	return tame
}

func (g *generator) pipe() string {
	g.depth++
	defer func() { g.depth-- }()
	text := g.command()
	if !g.wild {
		return text + g.of("", "", "", " | print", " | printf `%v-%v` 1", " | html", " | js", " | urlquery", " | json", " | not", " | and 1", " | or 0", " | println", " | print | upper", " | print | len | eq 3")
	}
	for g.r.IntN(4) == 0 {
		text += " | " + g.of("len", "print", "printf `%v-%v` 1", "html", "js", "urlquery", "json", "not", "lower", "upper", "title", "eq 1", "index $r.Array", "and 1", "or 0", "println", "truncate `abc`", "join $r.Strings", "$r.When.Format")
	}
	return text
}

func (g *generator) command() string {
	if !g.wild {
		return g.tame()
	}
	a, b := g.operand(), g.operand()
	switch g.r.IntN(14) {
	case 0:
		return g.of("eq", "ne", "lt", "le", "gt", "ge") + " " + a + " " + b
	case 1:
		return g.of("and", "or") + " " + a + " " + b
	case 2:
		return "index " + g.list() + " " + g.of("0", "1", `"key"`, "-1", a)
	case 3:
		return "slice " + g.of("$r.Strings", "$r.Name", "$r.Array", a) + g.of("", " 1", " 1 2", " 0 1 2", " 2 1", " "+b)
	case 4:
		return g.of("print", "println", "html", "js", "urlquery", "json", "not", "len") + " " + a
	case 5:
		return g.of("print ", "printf `%v %v` ", "printf `%s|%q` ", "html ", "urlquery ") + a + " " + b
	case 6:
		return g.of("lower", "upper", "title") + " " + g.of("$r.Name", "$r.Text", a)
	case 7:
		return g.of("join $r.Strings `, `", "split $r.Text ` `", "pad $r.Name 1 2", "truncate $r.Name 3", "join $r.NoList "+a, "truncate $r.Text "+a)
	}
	return a
}

// tame returns a command that succeeds.
func (g *generator) tame() string {
	number := func() string { return g.of("1", "-3", "$r.Number", "$r.I8", "$r.U8", "$r.U64", "(len $r.Text)", "'a'") }
	str := func() string {
		return g.of("$r.Name", "`str`", "$r.Text", "$r.Markup", "$r.Code", "(print $v)", "$r.Labels.key", "(index $r.Labels `x`)")
	}
	switch g.r.IntN(12) {
	case 0:
		return g.of("eq", "ne", "lt", "le", "gt", "ge") + " " + number() + " " + number()
	case 1:
		return g.of("eq", "ne", "lt", "le", "gt", "ge") + " " + str() + " " + str()
	case 2:
		return g.of("and", "or") + " " + g.operand() + " " + g.operand()
	case 3:
		return "index " + g.of("$r.Strings", "$r.Inners", "$r.Ints", "$r.Array", "$r.Layers") + g.of(" 0", " 1")
	case 4:
		return "slice " + g.of("$r.Strings", "$r.Name", "$r.Array") + g.of("", " 1", " 1 2", " 3 3")
	case 5:
		return g.of("print", "println", "html", "js", "urlquery", "not", "printf `%v %s`") + " " + g.operand() + " " + g.of("", str())
	case 6:
		return g.of("lower", "upper", "title", "json", "len") + " " + str()
	case 7:
		return g.of("join $r.Strings ", "split $r.Text ") + str()
	case 8:
		return g.of("truncate ", "pad `x` 0 | truncate ") + str() + " 3"
	}
	return g.operand()
}

func (g *generator) operand() string {
	g.depth++
	defer func() { g.depth-- }()
	if !g.wild {
		return g.of(".", "$v", "$v", "$r.Name", "$r.Digest", "$r.Digest.Encoded", "$r.Created", "$r.Created.Year", "$r.Never", "$r.Took", "$r.Labels", "$r.Labels.none", "$r.Ints", "$r.Nested.x.y", "$r.Free.m.deep",
			"$r.Free.nil", "$r.Strings", "$r.NoList", "$r.Inners", "(index $r.Inners 0).Next.Value", "$r.Array", "$r.List", "$r.Any.Key", "$r.NoAny", "$r.Err", "$r.Stringer", "$r.Addressed", "$r.Pointer",
			"$r.True", "$r.False", "$r.F32", "$r.NaN", "$r.Double.Key", "1", "2.5", "`raw`", "true", "("+g.of("print $v", "len $r.Strings", "index $r.Array 1", "or $v 0")+")")
	}
	if g.depth < 5 && g.r.IntN(5) == 0 {
		return "(" + g.pipe() + ")" + g.of("", "", "", ".Key", ".Name", ".String")
	}
	return g.of(".", "$", "$v", "$r.Name", "$r.Number", "$r.Digest", "$r.Digest.Encoded", "$r.Digest.Algorithm", "$r.Created", "$r.Created.Year", "$r.Never",
		"$r.Took", "$r.Took.Seconds", "$r.Labels", "$r.Labels.key", "$r.Labels.none", "$r.Ints", "$r.Nested.a.b", "$r.Nested.x.y", "$r.Free.m.deep", "$r.Free.nil",
		"$r.Layers", "$r.Strings", "$r.NoList", "$r.Inners", "(index $r.Inners 0).Key", "(index $r.Inners 0).Next.Value", "$r.Array", "$r.List", "$r.Any", "$r.Any.Key",
		"$r.NoAny", "$r.Err", "$r.Stringer", "$r.Addressed", "$r.Pointer", "$r.Pair", "$r.True", "$r.False", "$r.I8", "$r.Negative", "$r.U8", "$r.F32", "$r.NaN",
		"$r.Complex", "$r.Markup", "$r.Code", "$r.Text", "$r.Bad", "$r.hidden", "$r.Gone", "$r.Double.Key", "1", "0", "-3", "2.5", `"str"`, "`raw`", "'a'", "true", "nil", "1i", ".Key", ".Value")
}

// untamed are templates that the two evaluators are not compared by: those that
// take for ever, and those with methods that Execute does not have.
var untamed = regexp.MustCompile(`[0-9][0-9_+.a-zA-Z]{2}|'|call|Err|Chan|Done|Odds|Func|Anys|U64|I64|Number|\.(Append|Clock|Date|Get|Go|Gob|Has|I[nS]|ISO|Marshal|NoPointer|Pair|Size|Valid|Verif|Zone|Available|Digester|Error)`)

// Whatever the template, the evaluators agree, and neither crashes.
func FuzzReference(f *testing.F) {
	file, err := os.ReadFile("testdata/templates.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range strings.Split(string(file), "\n") {
		f.Add(text)
	}
	data := newSample()
	f.Fuzz(func(t *testing.T, text string) {
		if untamed.MatchString(text) || differs(text) {
			return
		}
		same(t, text, data)
	})
}

// differs reports whether the two take a template as one for the list, or for its
// element, by rules that differ: see TestDifferences.
func differs(text string) bool {
	for _, word := range []string{"define", "block", "template"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	body, table := strings.CutPrefix(text, "table ")
	s, err := parseText(body, table)
	if err != nil {
		return strings.Contains(text, "break") || strings.Contains(text, "continue") || strings.Contains(text, "else") || strings.Contains(text, "end")
	}
	return s.ranges(s.trees[root].Root, nil) == (wrap(body, table) != body)
}
