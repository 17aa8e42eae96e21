package helper

import (
	"io"
	"strings"
	"unicode/utf8"
)

// What is shown of a program's standard error.
const (
	maxLine  = 500  // bytes of a line
	maxLines = 1000 // of one run
)

// A speech is what a program says on standard error.
type speech struct {
	w    io.Writer // nil for nowhere
	name string    // stands before each line
	mute func() bool

	line  []byte
	cut   bool // there was more of the line
	shown int  // lines
}

// relay shows the lines of r until it ends. It reads on when it has shown
// enough: a program must not wait for that.
func (s *speech) relay(r io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			s.hear(b)
		}
		if err != nil {
			s.say()
			return
		}
	}
}

func (s *speech) hear(b byte) {
	switch {
	case b == '\n' || b == '\r': // with which programs draw over what they drew
		s.say()
	case len(s.line) < maxLine:
		s.line = append(s.line, b)
	default:
		s.cut = true
	}
}

// say shows the line, if there is something in it.
func (s *speech) say() {
	text := clean(s.line)
	if s.cut {
		text += " ..."
	}
	s.line, s.cut = s.line[:0], false
	if strings.TrimSpace(text) == "" || s.w == nil || s.shown > maxLines || s.mute() {
		return
	}
	if s.shown++; s.shown > maxLines {
		text = "(says more, which is not shown)"
	}
	io.WriteString(s.w, s.name+": "+text+"\n")
}

// clean returns b with a question mark in the place of everything that is not
// printed.
func clean(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\t':
			r = ' '
		case r == utf8.RuneError || unprintable(r):
			r = '?'
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}
