package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	textWidth = 80 // columns of --help
	leftMax   = 26 // widest option that has its help on the same line
)

// Usage writes the text of --help, wrapped at 80 columns.
func (t *Tool) Usage(w io.Writer) {
	var b strings.Builder
	b.WriteString(t.Name + " - " + t.Short + "\n\nUsage: " + t.synopsis() + "\n")
	for _, p := range paragraphs(t.Long) {
		b.WriteString("\n")
		for _, line := range wrap(p, textWidth) {
			b.WriteString(line + "\n")
		}
	}
	if len(t.entries) > 0 {
		b.WriteString("\nTools:\n")
	}
	for _, e := range t.entries {
		fmt.Fprintf(&b, "  %-26s  %s\n", e.Name, e.short())
	}
	b.WriteString("\nOptions:\n")
	writeOptions(&b, t.visible())
	if len(t.Examples) > 0 {
		b.WriteString("\nExamples:\n")
	}
	for _, e := range t.Examples {
		for _, line := range wrap(e.Text, textWidth-2) {
			b.WriteString("  " + line + "\n")
		}
		b.WriteString("      " + strings.ReplaceAll(e.Command, "\n", "\n      ") + "\n")
	}
	io.WriteString(w, b.String())
}

func (t *Tool) synopsis() string {
	return strings.TrimRight(t.Name+" [option ...] "+t.Args, " ")
}

func writeOptions(b *strings.Builder, rows []Flag) {
	col := 0
	for i := range rows {
		if n := utf8.RuneCountInString(rows[i].left()); n <= leftMax {
			col = max(col, n)
		}
	}
	col += 4 // two before, two after
	for i := range rows {
		left := "  " + rows[i].left()
		for j, line := range wrap(rows[i].Help, textWidth-col) {
			if n := utf8.RuneCountInString(left); n > col-2 {
				b.WriteString(left + "\n")
				left = ""
			}
			if j > 0 {
				left = ""
			}
			b.WriteString(left + strings.Repeat(" ", col-utf8.RuneCountInString(left)) + line + "\n")
		}
	}
}

// left returns the row as it stands in --help: "-a, --all", "    --file FILE".
func (f *Flag) left() string {
	s := "    "
	if f.Short != 0 {
		s = "-" + string(rune(f.Short)) + ", "
	}
	s += "--" + f.Name
	if _, ok := f.Value.(ternary); ok && f.Arg == "" {
		return s + "[=BOOL]"
	}
	if f.Arg != "" {
		s += " " + f.Arg
	}
	return s
}

// paragraphs parts a text at its empty lines.
func paragraphs(text string) []string {
	var out []string
	for _, p := range strings.Split(text, "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// wrap breaks text between words into lines of at most width runes; a longer
// word has a line of its own. Text without words is one empty line.
func wrap(text string, width int) []string {
	var lines []string
	line, n := "", 0
	for _, word := range strings.Fields(text) {
		w := utf8.RuneCountInString(word)
		switch {
		case line == "":
			line, n = word, w
		case n+1+w <= width:
			line += " " + word
			n += 1 + w
		default:
			lines = append(lines, line)
			line, n = word, w
		}
	}
	return append(lines, line)
}
