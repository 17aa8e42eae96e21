package registry

import "strings"

// A challenge is one of the ways that a server takes credentials (RFC 9110,
// section 11.6.1). Scheme and names are in lower case.
type challenge struct {
	scheme string
	params map[string]string
}

// Limits on what one answer may ask.
const (
	maxChallenges = 16
	maxParams     = 32
)

// parseChallenges reads all challenges of all WWW-Authenticate lines. What
// makes no sense is passed over up to the next comma; of a name given twice
// the first counts.
func parseChallenges(lines []string) []challenge {
	var list []challenge
	for _, line := range lines {
		p := lexer{s: line}
		for len(list) < maxChallenges && p.more() {
			list = p.element(list)
		}
	}
	return list
}

// element reads one element of the list: a scheme with or without its first
// parameter, or another parameter of the last challenge.
func (p *lexer) element(list []challenge) []challenge {
	word := p.token()
	if word == "" {
		p.skip()
		return list
	}
	spaced := p.space()
	if p.peek() == '=' && len(list) > 0 { // a parameter
		p.pos++
		list[len(list)-1].set(word, p.value())
		return list
	}
	c := challenge{strings.ToLower(word), map[string]string{}}
	if spaced {
		p.first(c)
	}
	return append(list, c)
}

// first reads what follows a scheme: a parameter, a token68, or nothing.
func (p *lexer) first(c challenge) {
	start := p.pos
	name := p.token()
	p.space()
	if name != "" && p.peek() == '=' {
		p.pos++
		if next := p.peek(); next != '=' && next != ',' && next != 0 {
			c.set(name, p.value())
			return
		}
	}
	p.pos = start
	if p.peek() != ',' {
		p.skip() // a token68, which no scheme of ours has
	}
}

func (c challenge) set(name, value string) {
	name = strings.ToLower(name)
	if _, ok := c.params[name]; !ok && len(c.params) < maxParams {
		c.params[name] = value
	}
}

// A lexer walks over a header value.
type lexer struct {
	s   string
	pos int
}

// more passes over commas and space, and reports whether something follows.
func (p *lexer) more() bool {
	for p.pos < len(p.s) && strings.IndexByte(", \t", p.s[p.pos]) >= 0 {
		p.pos++
	}
	return p.pos < len(p.s)
}

// peek returns the next byte, 0 at the end.
func (p *lexer) peek() byte {
	if p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

// space passes over white space and reports whether there was some.
func (p *lexer) space() bool {
	start := p.pos
	for p.peek() == ' ' || p.peek() == '\t' {
		p.pos++
	}
	return p.pos > start
}

// skip passes over everything up to the next comma outside quotes.
func (p *lexer) skip() {
	for p.pos < len(p.s) && p.s[p.pos] != ',' {
		if p.s[p.pos] == '"' {
			p.quoted()
			continue
		}
		p.pos++
	}
}

// token reads a token (RFC 9110, section 5.6.2), "" if there is none.
func (p *lexer) token() string {
	start := p.pos
	for p.pos < len(p.s) && isTokenByte(p.s[p.pos]) {
		p.pos++
	}
	return p.s[start:p.pos]
}

func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// value reads what follows a '=': a quoted string or, more generously than
// the grammar has it, everything up to a comma or space.
func (p *lexer) value() string {
	p.space()
	if p.peek() == '"' {
		return p.quoted()
	}
	start := p.pos
	for p.pos < len(p.s) && strings.IndexByte(", \t", p.s[p.pos]) < 0 {
		p.pos++
	}
	return p.s[start:p.pos]
}

// quoted reads a quoted string; one without an end goes to the end.
func (p *lexer) quoted() string {
	var b strings.Builder
	for p.pos++; p.pos < len(p.s); p.pos++ {
		switch c := p.s[p.pos]; {
		case c == '"':
			p.pos++
			return b.String()
		case c == '\\' && p.pos+1 < len(p.s):
			p.pos++
			b.WriteByte(p.s[p.pos])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
