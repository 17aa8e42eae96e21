package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// screen is a terminal: it keeps the lines that scrolled away, and knows the few
// things that bars tell it. Anything else is an error.
type screen struct {
	t             *testing.T
	width, height int
	lines         [][]rune // all there ever were; the last height of them are seen
	row, col      int
	writes        int
}

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, lines: make([][]rune, 1)}
}

func (s *screen) size() (int, int) { return s.width, s.height }
func (s *screen) top() int         { return max(0, len(s.lines)-s.height) }

func (s *screen) Write(p []byte) (int, error) {
	s.writes++
	if !utf8.Valid(p) {
		s.t.Errorf("not UTF-8: %q", p)
	}
	text := []rune(string(p))
	for len(text) > 0 {
		switch r := text[0]; {
		case r == '\n': // the terminal driver adds the return
			s.newline()
		case r == '\r':
			s.col = 0
		case r == 0x1b:
			text = text[s.escape(string(text)):]
			continue
		case r < ' ':
			s.t.Errorf("control character %q", r)
		default:
			s.put(r)
		}
		text = text[1:]
	}
	return len(p), nil
}

func (s *screen) newline() {
	s.col = 0
	if s.row++; s.row == len(s.lines) {
		s.lines = append(s.lines, nil)
	}
}

func (s *screen) put(r rune) {
	if s.col == s.width {
		s.newline()
	}
	for len(s.lines[s.row]) <= s.col {
		s.lines[s.row] = append(s.lines[s.row], ' ')
	}
	s.lines[s.row][s.col] = r
	s.col++
}

// escape obeys the sequence that text begins with and returns its length.
func (s *screen) escape(text string) int {
	var n int
	switch {
	case strings.HasPrefix(text, "\x1b[J"):
		s.lines[s.row] = s.lines[s.row][:s.col]
		s.lines = s.lines[:s.row+1]
		return len("\x1b[J")
	case strings.HasPrefix(text, "\x1b["):
		if _, err := fmt.Sscanf(text, "\x1b[%dA", &n); err == nil && n > 0 {
			s.row = max(s.row-n, s.top())
			return len(fmt.Sprintf("\x1b[%dA", n))
		}
	}
	s.t.Fatalf("unknown sequence %q", text)
	return 0
}

func (s *screen) text() string {
	var b strings.Builder
	for _, line := range s.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}

// The whole play, with what is seen at times, and what stays at the end.
func TestBars(t *testing.T) {
	s := newScreen(t, 80, 24)
	s.Write([]byte("$ img-copy a b\n"))
	b := newBars(s, "img-copy", s.size)
	var got strings.Builder
	shown := []float64{0, 0.5, 1.5, 2, 8, 14, 16.5, 20}
	second := 0.0
	for _, e := range play() {
		for ; at(second).Before(e.Time); second += 0.5 {
			b.tick(at(second))
			if slices.Contains(shown, second) {
				fmt.Fprintf(&got, "--- at %.1f\n%s", second, s.text())
			}
		}
		b.event(e)
	}
	b.note("img-copy: debug: in between")
	b.close(at(second))
	fmt.Fprintf(&got, "--- closed\n%s", s.text())
	golden(t, "bars.golden", []byte(got.String()))
	if s.row != len(s.lines)-1 || s.col != 0 || len(s.lines[s.row]) != 0 {
		t.Errorf("the cursor is at row %d of %d, column %d; want the start of an empty last line", s.row, len(s.lines), s.col)
	}
}

// After each frame the cursor must be where a shell's prompt can stand, as the
// program may be killed at any time.
func TestBarsCursor(t *testing.T) {
	s := newScreen(t, 60, 10)
	b := newBars(s, "img-copy", s.size)
	for i, e := range play() {
		b.event(e)
		b.tick(at(float64(i)))
		if s.col != 0 || s.row != len(s.lines)-1 {
			t.Errorf("after event %d the cursor is at row %d of %d, column %d", i, s.row, len(s.lines), s.col)
		}
	}
}

// Whatever its size, the block fits, and nothing above it is ever wiped out.
func TestBarsFit(t *testing.T) {
	for _, width := range []int{1, 2, 5, 14, 30, 40, 79, 80, 300} {
		for _, height := range []int{1, 2, 3, 5, 24} {
			s := newScreen(t, width, height)
			b := newBars(s, "img-copy", s.size)
			for i := range 12 {
				b.event(Event{Time: at(0), Kind: KindCopy, Digest: fmt.Sprintf("sha256:%064d", i), Size: 1e8})
			}
			for i := range 10 {
				for j := range 12 {
					b.event(Event{Time: at(float64(i)), Kind: KindProgress, Digest: fmt.Sprintf("sha256:%064d", j), Size: 1e8, Done: int64(i+1) * 1e7})
				}
				b.note(fmt.Sprintf("%d", i))
				b.tick(at(float64(i)))
				checkBlock(t, b, width, height)
			}
			b.close(at(10))
			if got, want := s.text(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n\n"; got != want {
				t.Errorf("%d×%d: what stays is %q; want %q", width, height, got, want)
			}
		}
	}
}

func checkBlock(t *testing.T, b *bars, width, height int) {
	t.Helper()
	if len(b.block) > height-1 {
		t.Errorf("%d×%d: a block of %d lines", width, height, len(b.block))
	}
	for _, line := range b.block {
		if n := utf8.RuneCountInString(line); n > width-1 {
			t.Errorf("%d×%d: a line of %d columns: %q", width, height, n, line)
		}
	}
}

// When the window is made smaller between two frames a piece of the old block
// may stay; lines that are not of the block must.
func TestBarsResize(t *testing.T) {
	s := newScreen(t, 80, 24)
	b := newBars(s, "img-copy", s.size)
	for i := range 10 {
		b.event(Event{Time: at(0), Kind: KindCopy, Digest: fmt.Sprintf("sha256:%064d", i), Size: 1e8})
	}
	for i, size := range [][2]int{{80, 24}, {40, 24}, {40, 5}, {120, 50}, {0, 0}, {20, 3}, {80, 24}} {
		s.width, s.height = size[0], size[1]
		if s.width == 0 { // it does not tell
			s.width, s.height = 80, 24
			b.size = func() (int, int) { return 0, 0 }
		} else {
			b.size = s.size
		}
		b.note(fmt.Sprintf("stays %d", i))
		b.tick(at(float64(i)))
		checkBlock(t, b, s.width, s.height)
	}
	b.close(at(10))
	for i := range 7 {
		if !strings.Contains(s.text(), fmt.Sprintf("stays %d\n", i)) {
			t.Errorf("line %d is gone:\n%s", i, s.text())
		}
	}
}

// Nothing new means nothing written; a frame is one write.
func TestBarsWrites(t *testing.T) {
	s := newScreen(t, 80, 24)
	b := newBars(s, "img-copy", s.size)
	b.tick(at(0))
	if s.writes != 0 {
		t.Errorf("%d writes before the first event; want 0", s.writes)
	}
	b.event(Event{Time: at(0.1), Kind: KindCopy, Digest: blobA, Size: 1e6})
	for i := range 1000 {
		b.event(Event{Time: at(0.1), Kind: KindProgress, Digest: blobA, Size: 1e6, Done: int64(i)})
		b.event(Event{Time: at(0.1), Kind: KindHave, Digest: fmt.Sprintf("sha256:%d", i)})
	}
	b.tick(at(0.1))
	b.tick(at(0.2))
	if s.writes != 1 {
		t.Errorf("%d writes for one frame; want 1", s.writes)
	}
}

func TestBarLine(t *testing.T) {
	for _, tc := range []struct {
		done, size int64
		rate       float64
		tail       string
		width      int
		want       string
	}{
		{0, 0, 0, "", 79, "aaaaaaaaaaaa      0 B"},
		{500, 1000, 0, "", 79, "aaaaaaaaaaaa    500 B of  1.00 kB  50%            [=============              ]"},
		{1000, 1000, 10, "1s left", 79, "aaaaaaaaaaaa  1.00 kB of  1.00 kB 100%     10 B/s [===================] 1s left"},
		{2000, 1000, 10, "", 30, "aaaaaaaaaaaa  2.00 kB of  1.00"}, // more than was said
		{5, 0, 3, "+7 more", 60, "aaaaaaaaaaaa      5 B      3 B/s +7 more"},
	} {
		got := barLine("aaaaaaaaaaaabbbb", tc.done, tc.size, tc.rate, tc.tail, tc.width)
		if got != tc.want {
			t.Errorf("barLine(%d, %d, %v, %q, %d) =\n%q; want\n%q", tc.done, tc.size, tc.rate, tc.tail, tc.width, got, tc.want)
		}
	}
	if got := slices.Collect(func(yield func(string) bool) {
		for _, n := range []int{0, 1, 2, 3} {
			if !yield(clip("äb", n)) {
				return
			}
		}
	}); !slices.Equal(got, []string{"", "ä", "äb", "äb"}) {
		t.Errorf("clip = %q", got)
	}
}
