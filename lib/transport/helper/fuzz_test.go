package helper

import (
	"bytes"
	"strings"
	"testing"
)

// Whatever a program says, what is shown are lines of ours that do nothing to
// a terminal.
func FuzzSpeech(f *testing.F) {
	f.Add([]byte("one\r\n\x1b[2J\xff\xe2\x80\xae\ttwo"))
	f.Add(bytes.Repeat([]byte("ä"), maxLine))
	f.Add(bytes.Repeat([]byte("a\n"), maxLines+2))
	f.Fuzz(func(t *testing.T, said []byte) {
		var shown strings.Builder
		s := &speech{w: &shown, name: "name", mute: func() bool { return false }}
		s.relay(bytes.NewReader(said))
		list := strings.SplitAfter(shown.String(), "\n")
		if len(list) > maxLines+2 || list[len(list)-1] != "" {
			t.Fatalf("%d lines, the last %q", len(list), list[len(list)-1])
		}
		for _, line := range list[:len(list)-1] {
			text, ok := strings.CutPrefix(line, "name: ")
			text = strings.TrimSuffix(text, "\n")
			if !ok || text == "" || len(text) > maxLine+len(" ...") || strings.ContainsFunc(text, unprintable) {
				t.Fatalf("%q became %q", said, line)
			}
		}
	})
}
