package registry

import (
	"strconv"
	"strings"
)

// nextLink returns the target of the first link with relation "next" in Link
// headers (RFC 8288), "" if there is none.
func nextLink(lines []string) string {
	for _, line := range lines {
		p := lexer{s: line}
		for p.more() {
			if target, next := p.link(); next {
				return target
			}
		}
	}
	return ""
}

// link reads one link and reports whether its relation is "next".
func (p *lexer) link() (target string, next bool) {
	if p.peek() != '<' {
		p.skip()
		return "", false
	}
	end := strings.IndexByte(p.s[p.pos:], '>')
	if end < 0 {
		p.pos = len(p.s)
		return "", false
	}
	target = p.s[p.pos+1 : p.pos+end]
	p.pos += end + 1
	seen := false // of several rel the first counts
	for p.space(); p.peek() == ';'; p.space() {
		p.pos++
		p.space()
		name := p.token()
		if p.space(); p.peek() != '=' {
			continue
		}
		p.pos++
		value := p.param()
		if strings.EqualFold(name, "rel") && !seen {
			seen = true
			next = hasWord(value, "next")
		}
	}
	p.skip()
	return target, next
}

// param reads the value of a link's parameter, which a semicolon ends too.
func (p *lexer) param() string {
	p.space()
	if p.peek() == '"' {
		return p.quoted()
	}
	start := p.pos
	for p.pos < len(p.s) && strings.IndexByte(",; \t", p.s[p.pos]) < 0 {
		p.pos++
	}
	return p.s[start:p.pos]
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// A span is the range of bytes of a 206 answer, both ends included. Total is
// -1 if the server does not know.
type span struct{ first, last, total int64 }

// parseContentRange reads "bytes FIRST-LAST/TOTAL" (RFC 9110, section 14.4).
func parseContentRange(s string) (span, bool) {
	unit, rest, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return span{}, false
	}
	ends, total, ok := strings.Cut(strings.TrimSpace(rest), "/")
	if !ok {
		return span{}, false
	}
	r := span{total: -1}
	if r.first, r.last, ok = parseEnds(ends); !ok {
		return span{}, false
	}
	if total != "*" {
		if r.total, ok = number(total); !ok || r.last >= r.total {
			return span{}, false
		}
	}
	return r, true
}

// parseUploaded reads the Range header of an upload, "0-LAST", and returns how
// many bytes the registry holds. Registries send 0-0 for none at all.
func parseUploaded(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 6 && strings.EqualFold(s[:6], "bytes=") {
		s = s[6:]
	}
	first, last, ok := parseEnds(s)
	switch {
	case !ok || first != 0:
		return 0, false
	case last == 0:
		return 0, true
	}
	return last + 1, true
}

// parseEnds reads FIRST-LAST.
func parseEnds(s string) (first, last int64, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, false
	}
	first, ok1 := number(a)
	last, ok2 := number(b)
	return first, last, ok1 && ok2 && first <= last && last < 1<<62
}

// number reads decimal digits and nothing else.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
