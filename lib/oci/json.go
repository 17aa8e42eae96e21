package oci

import (
	"encoding/json"
	"fmt"
	"strings"
)

const maxNesting = 64

// A node is a JSON value and its place in the text it was read from.
type node struct {
	start, end int
	members    []member // of an object, in order
	items      []node   // of an array
	kind       byte     // '{', '[', '"' or 0 for a number, true, false, null
}

type member struct {
	key string
	val node
}

func (n node) get(key string) (node, bool) {
	for _, m := range n.members {
		if m.key == key {
			return m.val, true
		}
	}
	return node{}, false
}

func (n node) isNull(text []byte) bool { return string(text[n.start:n.end]) == "null" }

// scan reads text as one JSON value. It refuses what readers disagree about:
// an object with the same key twice, and anything behind the value.
func scan(text []byte) (node, error) {
	if !json.Valid(text) {
		return node{}, fmt.Errorf("%w: not JSON", ErrInvalid)
	}
	s := scanner{text: text}
	s.space()
	return s.value(0)
}

// CheckJSON returns an error that wraps ErrInvalid if text is not one JSON value
// that all readers read alike: an object in it has a key twice, or something
// stands behind the value.
func CheckJSON(text []byte) error {
	_, err := scan(text)
	return err
}

// A scanner walks over text that is known to be valid JSON.
type scanner struct {
	text []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.pos]) >= 0 {
		s.pos++
	}
}

func (s *scanner) value(depth int) (node, error) {
	if depth > maxNesting {
		return node{}, fmt.Errorf("%w: nested deeper than %d", ErrInvalid, maxNesting)
	}
	n := node{start: s.pos}
	var err error
	switch c := s.text[s.pos]; c {
	case '{':
		n.kind = c
		n.members, err = s.object(depth)
	case '[':
		n.kind = c
		n.items, err = s.array(depth)
	case '"':
		n.kind = c
		s.str()
	default:
		for s.pos < len(s.text) && strings.IndexByte(",]} \t\r\n", s.text[s.pos]) < 0 {
			s.pos++
		}
	}
	n.end = s.pos
	return n, err
}

// str moves behind the string that begins here.
func (s *scanner) str() {
	for s.pos++; s.text[s.pos] != '"'; s.pos++ {
		if s.text[s.pos] == '\\' {
			s.pos++
		}
	}
	s.pos++
}

func (s *scanner) object(depth int) ([]member, error) {
	var ms []member
	seen := map[string]bool{}
	for s.open('}') {
		at := s.pos
		s.str()
		var m member
		if err := json.Unmarshal(s.text[at:s.pos], &m.key); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrInvalid, err)
		}
		if seen[m.key] {
			return nil, fmt.Errorf("%w: key %q stands twice in one object", ErrInvalid, m.key)
		}
		seen[m.key] = true
		s.space()
		s.pos++ // the colon
		s.space()
		var err error
		if m.val, err = s.value(depth + 1); err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

func (s *scanner) array(depth int) ([]node, error) {
	var items []node
	for s.open(']') {
		n, err := s.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, n)
	}
	return items, nil
}

// open moves to the next element of the object or array that s is in, and
// behind its end when there is none.
func (s *scanner) open(end byte) bool {
	if c := s.text[s.pos]; c == '{' || c == '[' || c == ',' {
		s.pos++
	}
	s.space()
	if s.text[s.pos] == ',' {
		s.pos++
		s.space()
	}
	if s.text[s.pos] == end {
		s.pos++
		return false
	}
	return true
}
