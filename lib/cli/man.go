package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// manDate stands in the pages; it is the day on which the tables last changed in
// a way that readers of the pages should know of.
const manDate = "November 23, 2026"

// Man writes the man page of the tool as far as the table knows it, in mdoc(7):
// NAME, SYNOPSIS, DESCRIPTION (if there is a Long), TOOLS (of a multi-call
// program), OPTIONS, EXIT STATUS, EXAMPLES and SEE ALSO.
func (t *Tool) Man(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, ".Dd %s\n.Dt %s 1\n.Os\n", manDate, strings.ToUpper(t.Name))
	fmt.Fprintf(&b, ".Sh NAME\n.Nm %s\n.Nd %s\n", macroArg(t.Name), manText(t.Short))
	b.WriteString(".Sh SYNOPSIS\n.Nm\n.Op Ar option ...\n")
	if t.Args != "" {
		b.WriteString(".Ar " + macroArgs(t.Args) + "\n")
	}
	for i, p := range paragraphs(t.Long) {
		b.WriteString([]string{".Sh DESCRIPTION\n", ".Pp\n"}[min(i, 1)])
		writeManText(&b, p)
	}
	t.manTools(&b)
	t.manOptions(&b)
	manExitStatus(&b)
	t.manExamples(&b)
	t.manSee(&b)
	io.WriteString(w, b.String())
}

// ManOptions writes the section OPTIONS alone, for a page written by hand to be
// compared with.
func (t *Tool) ManOptions(w io.Writer) {
	var b strings.Builder
	t.manOptions(&b)
	io.WriteString(w, b.String())
}

// manTools lists the entries of the multi-call program.
func (t *Tool) manTools(b *strings.Builder) {
	if len(t.entries) == 0 {
		return
	}
	b.WriteString(".Sh TOOLS\n.Bl -tag -width Ds\n")
	for _, e := range t.entries {
		fmt.Fprintf(b, ".It Xr %s 1\n%s\n", macroArg(e.Name), manLine(manText(e.short())))
	}
	b.WriteString(".El\n")
}

func (t *Tool) manOptions(b *strings.Builder) {
	b.WriteString(".Sh OPTIONS\n.Bl -tag -width Ds\n")
	for _, f := range t.visible() {
		b.WriteString(".It ")
		if f.Short != 0 {
			fmt.Fprintf(b, "Fl %s , ", macroArg(string(rune(f.Short))))
		}
		b.WriteString("Fl -" + f.Name)
		if _, ok := f.Value.(ternary); ok && f.Arg == "" {
			b.WriteString(" Ns Op = Ns Ar BOOL")
		}
		if f.Arg != "" {
			b.WriteString(" Ar " + macroArgs(f.Arg))
		}
		b.WriteString("\n")
		writeManText(b, f.Help)
	}
	b.WriteString(".El\n")
}

func manExitStatus(b *strings.Builder) {
	b.WriteString(".Sh EXIT STATUS\n.Bl -tag -width Ds\n")
	for code, text := range codeTexts {
		fmt.Fprintf(b, ".It %d\n", code)
		writeManText(b, text)
	}
	b.WriteString(".It 128+ Ns Ar n\nEnded by signal\n.Ar n .\n.El\n")
}

func (t *Tool) manExamples(b *strings.Builder) {
	if len(t.Examples) == 0 {
		return
	}
	b.WriteString(".Sh EXAMPLES\n")
	for i, e := range t.Examples {
		if i > 0 {
			b.WriteString(".Pp\n")
		}
		writeManText(b, e.Text)
		b.WriteString(".Bd -literal -offset indent\n")
		for _, line := range strings.Split(e.Command, "\n") {
			b.WriteString(manLine(strings.ReplaceAll(escapeRoff(line), "-", `\-`)) + "\n")
		}
		b.WriteString(".Ed\n")
	}
}

func (t *Tool) manSee(b *strings.Builder) {
	for i, page := range t.See {
		if i == 0 {
			b.WriteString(".Sh SEE ALSO\n")
		}
		name, section, _ := strings.Cut(strings.TrimSuffix(page, ")"), "(")
		fmt.Fprintf(b, ".Xr %s %s%s\n", macroArg(name), section, map[bool]string{true: " ,"}[i < len(t.See)-1])
	}
}

// writeManText writes sentences, each on a line of its own, wrapped.
func writeManText(b *strings.Builder, text string) {
	var line []string
	flush := func() {
		for _, l := range wrap(strings.Join(line, " "), 78) {
			if l != "" {
				b.WriteString(manLine(l) + "\n")
			}
		}
		line = nil
	}
	for _, word := range strings.Fields(text) {
		line = append(line, manText(word))
		if endsSentence(word) {
			flush()
		}
	}
	flush()
}

func endsSentence(word string) bool {
	word = strings.TrimRight(word, `)"'`)
	return len(word) > 2 && strings.ContainsAny(word[len(word)-1:], ".!?") && !strings.HasSuffix(word, "..")
}

// manText escapes text for a text line. The dash of options and negative numbers
// must stay a dash that can be searched and copied.
func manText(text string) string {
	words := strings.Split(escapeRoff(text), " ")
	for i, w := range words {
		if strings.HasPrefix(strings.TrimLeft(w, `("'`), "-") {
			words[i] = strings.ReplaceAll(w, "-", `\-`)
		}
	}
	return strings.Join(words, " ")
}

func escapeRoff(s string) string { return strings.ReplaceAll(s, `\`, `\e`) }

// manLine guards a text line that would be read as a request.
func manLine(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// macroArgs writes words as arguments of a macro.
func macroArgs(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		words[i] = macroArg(w)
	}
	return strings.Join(words, " ")
}

// macroArg guards a word that a macro line would take for punctuation or for
// another macro: "Ar", "No", "Fl".
func macroArg(word string) string {
	word = strings.ReplaceAll(escapeRoff(word), `"`, `\(dq`)
	macro := (len(word) == 2 || len(word) == 3) && unicode.IsUpper(rune(word[0])) && !unicode.IsUpper(rune(word[1]))
	if len(word) == 1 && !unicode.IsLetter(rune(word[0])) || macro {
		return `\&` + word
	}
	return word
}
