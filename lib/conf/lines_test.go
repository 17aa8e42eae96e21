package conf

import (
	"strings"
	"testing"
)

// A wrong line in a message is worse than none, so every way to write a value
// that has line ends, brackets, quotes or signs of comments in it is here.
func TestScanLines(t *testing.T) {
	const doc = "\ufeff# comment [not] = a table\n" + // 1
		"a = 1 # b = 2\n" + // 2
		"\r\n" +
		"b = [ # [x]\r\n" + // 4
		"  \"]\", '''\n" +
		"]\n" +
		"''', # '\n" +
		"]\n" +
		"c = \"\"\"\n" + // 9
		"d = 1\\\"\"\" = \\\n" +
		"[t]\n" +
		"\"\"\"\"\n" +
		"e = {x = \"}\", y = [1, 2]}\n" + // 13
		"'f.g' . \"h\" = 'C:\\' # i = 1\n" + // 14
		"[[r]]\n" + // 15
		"a=1\n" +
		"  [[r.m]]\n" + // 17
		"  a=1\n" +
		"[[r.m]]\n" + // 19
		"a=1\n" +
		"[[r]] # again\n" + // 21
		"[[ r . 'm' ]]\n" + // 22
		"a=1\n" + // 23
		"[r.t]\n" + // 24
		"a=1\n"
	lines, _, problem := scanLines(doc)
	if problem != "" {
		t.Fatal(problem)
	}
	for _, tt := range []struct {
		name string
		want int
	}{
		{"/a", 2}, {"/b", 4}, {"/c", 9}, {"/d", 1}, {"/t", 1}, {"/e", 13}, {"/e/x", 13}, {"/f.g", 14}, {"/f.g/h", 14},
		{"/r#0", 15}, {"/r#0/a", 16}, {"/r#0/m#0", 17}, {"/r#0/m#0/a", 18}, {"/r#0/m#1/a", 20}, {"/r#0/m#1/b", 19},
		{"/r#1", 21}, {"/r#1/m#0/a", 23}, {"/r#1/t", 24}, {"/r#1/t/a", 25}, {"/r#1/none", 21}, {"/none", 1}, {"", 1},
	} {
		if got := lines.at(strings.ReplaceAll(tt.name, "/", sep)); got != tt.want {
			t.Errorf("line of %s = %d; want %d", tt.name, got, tt.want)
		}
	}
}

// The parser follows nested values down its stack and copies the full name of
// every key; some kilobytes of a file could cost it the whole memory.
func TestScanLinesLimits(t *testing.T) {
	long := strings.Repeat("k", maxKey+1)
	tests := []struct {
		name, doc string
		line      int
		want      string
	}{
		{"arrays", "\na = " + strings.Repeat("[", 1<<19), 2, "values are nested too deep"},
		{"tables", "\n\na = " + strings.Repeat("{a=", 1<<17), 3, "values are nested too deep"},
		{"deep enough", "a = " + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), 0, ""},
		{"key", long + "=1", 1, "a key is too long"},
		{"key in quotes", `"` + long + `"=1`, 1, "a key is too long"},
		{"dots", "a" + strings.Repeat(".a", 1<<18) + "=1", 1, "a key is too long"},
		{"header", "[a" + strings.Repeat(".a", 1<<18) + "]", 1, "a key is too long"},
		{"inline key", "a={\"" + long + "\"=1}", 1, "a key is too long"},
		{"inline dots", "a={x=1,b" + strings.Repeat(".a", 1<<18) + "=1}", 1, "a key is too long"},
		{"long value", "a={b='" + long + "', c='" + long + "'}", 0, ""},
		{"long comment", "a=[#" + long + "\n{b=1}]", 0, ""},
		{"many long keys", "[" + long[:maxKey-10] + "]\n" + strings.Repeat("a=1\n", 1<<18), 57261, "too many or too long keys"},
		{"many tables", strings.Repeat("[[registry]]\nlocation='a'\n", 1<<15), 0, ""},
	}
	for _, tt := range tests {
		_, line, problem := scanLines(tt.doc)
		if problem != tt.want || tt.want != "" && line != tt.line {
			t.Errorf("%s: line %d: %q; want line %d: %q", tt.name, line, problem, tt.line, tt.want)
		}
	}
}
