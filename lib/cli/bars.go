package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// frameInterval is the time between two frames of bars: ten a second.
const frameInterval = 100 * time.Millisecond

// estimateAfter is when the speed says something about the time that is left.
const estimateAfter = 3 * time.Second

// What a terminal is taken to be that does not tell its size.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// bars shows a block of lines that is redrawn in place: one for each blob on its
// way, the last one for all. What stays, scrolls up above it.
//
// After each frame the cursor is at the start of the line below the block, and it
// is never hidden: a program that is killed leaves the terminal in order. A frame
// is one write.
type bars struct {
	w     io.Writer
	name  string
	size  func() (width, height int)
	m     meter
	stay  []string // lines to print above the block in the next frame
	block []string // as drawn
}

func newBars(w io.Writer, name string, size func() (width, height int)) *bars {
	return &bars{w: w, name: name, size: size}
}

func (b *bars) event(e Event) {
	line := eventLine(&b.m, b.name, &e)
	if line != "" && e.Kind != KindCopy {
		b.stay = append(b.stay, line)
	}
}

func (b *bars) note(line string) { b.stay = append(b.stay, line) }

func (b *bars) tick(now time.Time) {
	b.m.speed.update(now, b.m.moving())
	for _, j := range b.m.jobs {
		j.speed.update(now, j.done)
	}
	width, height := b.size()
	if width <= 0 || height <= 0 {
		width, height = defaultWidth, defaultHeight
	}
	b.frame(b.lines(now, width-1, height-1))
}

func (b *bars) close(time.Time) { b.frame(nil) }

// frame replaces the block by the lines that stay and a new block.
func (b *bars) frame(block []string) {
	if len(b.stay) == 0 && slices.Equal(block, b.block) {
		return
	}
	var buf bytes.Buffer
	// A terminal that was made lower or narrower since may have scrolled or
	// wrapped the old block. Then a piece of it stays; going up further would
	// wipe out lines that are not ours.
	if up := len(b.block); up > 0 {
		fmt.Fprintf(&buf, "\r\x1b[%dA\x1b[J", up)
	}
	for _, line := range b.stay {
		buf.WriteString(line + "\n")
	}
	for _, line := range block {
		buf.WriteString(line + "\n")
	}
	b.stay, b.block = nil, block
	b.w.Write(buf.Bytes())
}

// lines returns the block: at most height lines of at most width columns.
func (b *bars) lines(now time.Time, width, height int) []string {
	if height < 1 || width < 1 || b.m.ended || b.m.began.IsZero() {
		return nil
	}
	jobs := b.m.jobs[:min(len(b.m.jobs), height-1)]
	lines := make([]string, 0, len(jobs)+1)
	for _, j := range jobs {
		_, digits, _ := strings.Cut(j.name, ":")
		if digits == "" {
			digits = j.name
		}
		lines = append(lines, barLine(digits, j.done, j.size, j.speed.rate, "", width))
	}
	done, total := b.m.sofar()
	tail := ""
	if rest := len(b.m.jobs) - len(jobs); rest > 0 {
		tail = fmt.Sprintf("+%d more", rest)
	} else if r := b.m.speed.rate; r > 0 && total > done && now.Sub(b.m.began) >= estimateAfter {
		tail = spanText(time.Duration(float64(total-done)/r*float64(time.Second))) + " left"
	}
	return append(lines, barLine("total", done, total, b.m.speed.rate, tail, width))
}

// barLine returns one line: name, figures, a bar if there is room for one, tail.
func barLine(name string, done, size int64, rate float64, tail string, width int) string {
	figures := fmt.Sprintf("%-12s %8s", clip(name, 12), sizeText(done))
	if size > 0 {
		done = min(done, size)
		figures += fmt.Sprintf(" of %8s %3d%%", sizeText(size), int(float64(done)/float64(size)*100))
	}
	if rate > 0 {
		figures += fmt.Sprintf(" %10s", rateText(rate))
	} else {
		figures += strings.Repeat(" ", 11)
	}
	tail = before(" ", tail)
	if room := min(width-len(figures)-len(tail)-3, 40); room >= 8 && size > 0 {
		full := int(float64(room) * float64(done) / float64(size))
		figures += " [" + strings.Repeat("=", full) + strings.Repeat(" ", room-full) + "]"
	}
	return clip(strings.TrimRight(figures+tail, " "), width)
}

// clip cuts s after n runes.
func clip(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
