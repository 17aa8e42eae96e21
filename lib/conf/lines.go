package conf

import "strings"

const (
	maxKey   = 300      // bytes of a key with its dots; image names have 255
	maxDepth = 16       // arrays and tables in each other
	maxWork  = 32 << 20 // bytes of full key names that parsing may handle
)

// A lineIndex says on which line of a TOML document a table or key is. The
// name of a key is that of its table, sep and the key; the n-th table of an
// array, from 0, has "#n" at its end.
type lineIndex map[string]int

const sep = "\x00"

// at returns the line of a name or, if it is inside a value, of that value.
func (l lineIndex) at(name string) int {
	for {
		if line, ok := l[name]; ok {
			return line
		}
		i := strings.LastIndexAny(name, sep+"#")
		if i < 0 {
			return 1
		}
		name = name[:i]
	}
}

// A lineScanner finds the lines of statements, which the TOML parser does not
// tell: it goes by quotes, brackets and line ends alone. Of a malformed
// document it may get wrong what follows the first fault; by then the parser
// has given up.
//
// It also holds the document to limits. The parser has none for nesting, which
// costs it stack, nor for full key names, of which it makes a copy a key.
type lineScanner struct {
	s       string
	i, line int
	depth   int // of brackets and braces in a value
	work    int
	problem string // the limit that is exceeded

	lines  lineIndex
	tables map[string]int // name of an array of tables → how many so far
	table  string         // the name of the table that keys are in now
}

// scanLines returns the lines of all tables and keys. If the document exceeds
// a limit it also returns the line where, and the problem.
func scanLines(s string) (lines lineIndex, line int, problem string) {
	sc := &lineScanner{s: strings.TrimPrefix(s, "\ufeff"), line: 1, lines: lineIndex{}, tables: map[string]int{}}
	for sc.problem == "" && sc.blank() {
		if sc.s[sc.i] == '[' {
			sc.header()
		} else {
			sc.statement()
		}
	}
	return sc.lines, sc.line, sc.problem
}

// blank goes on to the next statement and reports whether there is one.
func (sc *lineScanner) blank() bool {
	for ; sc.i < len(sc.s); sc.i++ {
		switch sc.s[sc.i] {
		case '\n':
			sc.line++
		case ' ', '\t', '\r':
		case '#':
			sc.comment()
			sc.i--
		default:
			return true
		}
	}
	return false
}

// comment goes to the end of the line.
func (sc *lineScanner) comment() {
	if n := strings.IndexByte(sc.s[sc.i:], '\n'); n >= 0 {
		sc.i += n
	} else {
		sc.i = len(sc.s)
	}
}

// header reads [a.b] or [[a.b]].
func (sc *lineScanner) header() {
	array := strings.HasPrefix(sc.s[sc.i:], "[[")
	sc.i++
	if array {
		sc.i++
	}
	line := sc.line
	parts := sc.key()
	name := ""
	for i, part := range parts {
		name += sep + part
		n, last := sc.tables[name], i == len(parts)-1
		switch {
		case array && last:
			sc.tables[name]++
			name += "#" + itoa(n)
		case n > 0:
			name += "#" + itoa(n-1)
		}
	}
	sc.note(name, line)
	sc.spend(len(name), len(parts))
	sc.table = name
	sc.comment()
}

// statement reads a.b = value.
func (sc *lineScanner) statement() {
	line := sc.line
	name := sc.table
	parts := sc.key()
	for _, part := range parts {
		name += sep + part
		sc.note(name, line)
	}
	sc.spend(len(name), len(parts))
	sc.value(len(name))
}

func (sc *lineScanner) note(name string, line int) {
	if _, ok := sc.lines[name]; !ok {
		sc.lines[name] = line
	}
}

// spend counts what a key costs the parser: its full name, for each part.
func (sc *lineScanner) spend(name, parts int) {
	if sc.work += name * (1 + parts); sc.work > maxWork {
		sc.problem = "too many or too long keys"
	}
}

// key reads the parts of a key up to what ends it.
func (sc *lineScanner) key() []string {
	var parts []string
	start := sc.i
	for sc.i < len(sc.s) {
		from := sc.i
		switch c := sc.s[sc.i]; c {
		case '=', ']', '\n', '#':
			return parts
		case '.', ' ', '\t', '\r':
			sc.i++
			continue
		case '"', '\'':
			sc.quoted()
			parts = append(parts, unquote(sc.s[from:sc.i]))
		default:
			sc.i += bare(sc.s[sc.i:])
			parts = append(parts, sc.s[from:sc.i])
		}
		if sc.i-start > maxKey {
			sc.problem = "a key is too long"
			return nil
		}
	}
	return parts
}

// bare returns how many bytes of a key without quotes s begins with.
func bare(s string) int {
	if n := strings.IndexAny(s, "=].\n# \t\r\"'"); n >= 0 {
		return n
	}
	return len(s)
}

// unquote returns what a key in quotes says. An escape, which no name of an
// image needs, stays as it is: lines are looked up by the name of the table.
func unquote(s string) string {
	return strings.Trim(s, s[:1])
}

// value goes past the value of a key whose full name has that many bytes.
func (sc *lineScanner) value(name int) {
	from := sc.i + 1 // of a key in an inline table
	for sc.i++; sc.i < len(sc.s) && sc.problem == ""; sc.i++ {
		switch sc.s[sc.i] {
		case '"', '\'':
			sc.quoted()
			sc.i--
		case '\n':
			if sc.depth == 0 {
				return
			}
			sc.line++
		case '#':
			sc.comment()
			from = sc.i
			sc.i--
		case '[', '{':
			from = sc.i + 1
			sc.nest(1)
		case ']', '}':
			sc.nest(-1)
		case ',':
			from = sc.i + 1
		case '=':
			key := sc.s[min(from, sc.i):sc.i]
			if len(key) > maxKey {
				sc.problem = "a key is too long"
				break
			}
			sc.spend(name+sc.depth*maxKey, 1+strings.Count(key, "."))
		}
	}
	sc.depth = 0
}

func (sc *lineScanner) nest(n int) {
	if sc.depth = max(0, sc.depth+n); sc.depth > maxDepth {
		sc.problem = "values are nested too deep"
	}
}

// quoted goes past a string of any of the four kinds.
func (sc *lineScanner) quoted() {
	quote := sc.s[sc.i : sc.i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(sc.s[sc.i:], triple) {
		quote = triple
	}
	sc.i += len(quote)
	for sc.i < len(sc.s) {
		rest := sc.s[sc.i:]
		switch {
		case strings.HasPrefix(rest, quote):
			sc.i += len(quote)
			for len(quote) == 3 && sc.i < len(sc.s) && sc.s[sc.i] == quote[0] {
				sc.i++ // One or two quotes before the end belong to the string.
			}
			return
		case rest[0] == '\\' && quote[0] == '"' && len(rest) > 1 && rest[1] != '\n':
			sc.i++
		case rest[0] == '\n' && len(quote) == 1:
			return
		case rest[0] == '\n':
			sc.line++
		}
		sc.i++
	}
}
