package cli

import (
	"fmt"
	"io"
	"strings"
)

// shells names those that Completion knows.
func shells() []string { return []string{"bash", "zsh", "fish"} }

// Completion writes a script that teaches the shell, one of bash, zsh and fish,
// to complete the tool's options, their words and files, and what operands begin
// with. For the multi-call program it covers the tools too, under their own names
// and behind the program's. Another shell is a usage error.
func (t *Tool) Completion(w io.Writer, shell string) error {
	var b strings.Builder
	tools := t.family()
	switch shell {
	case "bash":
		bashScript(&b, t, tools)
	case "zsh":
		zshScript(&b, t, tools)
	case "fish":
		fishScript(&b, t, tools)
	default:
		return Usagef("no completion for shell %q: want %s", shell, orList(shells()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// family returns the tools of the multi-call program t, or none.
func (t *Tool) family() []*Tool {
	var tools []*Tool
	for _, e := range t.entries {
		if e.Tool != nil {
			tools = append(tools, e.Tool())
		}
	}
	return tools
}

// function returns the name of the shell function for the tool. An autoloaded
// file of zsh has to have the same.
func (t *Tool) function() string { return "_" + t.Name }

// verb returns the tool's name behind the multi-call program's.
func (t *Tool) verb(program string) string { return strings.TrimPrefix(t.Name, program+"-") }

// argKind says how the argument of a flag is completed.
func (f *Flag) argKind() (words []string, files bool) {
	if c, ok := f.Value.(chooser); ok {
		return c.choices(), false
	}
	switch f.Arg {
	case "FILE", "PATH", "DIR":
		return nil, true
	}
	return nil, false
}

func (f *Flag) repeats() bool {
	r, ok := f.Value.(repeater)
	return ok && r.repeats()
}

// firstSentence shortens a help text to what a menu can show.
func firstSentence(help string) string {
	s, _, _ := strings.Cut(help, ". ")
	return strings.TrimSuffix(Clean(s), ".")
}

// quote puts s in single quotes as the shells bash and zsh want it.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func bashScript(b *strings.Builder, t *Tool, tools []*Tool) {
	fmt.Fprintf(b, "# bash completion for %s\n", t.Name)
	for _, tool := range tools {
		bashFunction(b, tool)
		fmt.Fprintf(b, "complete -o default -F %s %s\n", tool.function(), tool.Name)
	}
	if len(tools) == 0 {
		bashFunction(b, t)
	} else {
		bashFamily(b, t, tools)
	}
	fmt.Fprintf(b, "complete -o default -F %s %s\n", t.function(), t.Name)
}

// bashFunction writes the function that fills COMPREPLY. Bash hands "--name=va"
// over as three words; without a reply it completes files.
func bashFunction(b *strings.Builder, t *Tool) {
	fmt.Fprintf(b, "%s() {\n", t.function())
	b.WriteString(`	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} eq=
	COMPREPLY=()
	if [[ $cur == = ]]; then
		cur= eq==
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]} eq==
	fi
	case $prev$eq in
`)
	var all, switches []string
	for _, f := range t.visible() {
		all = append(all, "--"+f.Name)
		if f.Arg == "" {
			switches = append(switches, "--"+f.Name+"=")
			continue
		}
		bashArgument(b, &f)
	}
	fmt.Fprintf(b, "\t%s)\n\t\t%s\n\t\treturn\n\t\t;;\n", strings.Join(switches, "|"), bashReply("true", "false"))
	b.WriteString("\tesac\n\tif [[ $cur == -* ]]; then\n")
	b.WriteString("\t\t" + bashReply(all...) + "\n")
	if len(t.Words) > 0 {
		b.WriteString("\telse\n\t\tcompopt -o nospace\n\t\t" + bashReply(t.Words...) + "\n")
	}
	b.WriteString("\tfi\n}\n")
}

// bashArgument writes the case of a flag's argument.
func bashArgument(b *strings.Builder, f *Flag) {
	pattern := fmt.Sprintf("--%s|--%s=", f.Name, f.Name)
	if f.Short != 0 {
		pattern += fmt.Sprintf("|-%c", f.Short)
	}
	action := "compopt +o default"
	words, files := f.argKind()
	switch {
	case files:
		action = ":"
	case len(words) > 0:
		action = bashReply(words...)
	}
	fmt.Fprintf(b, "\t%s)\n\t\t%s\n\t\treturn\n\t\t;;\n", pattern, action)
}

func bashReply(words ...string) string {
	return "COMPREPLY=($(compgen -W " + quote(strings.Join(words, " ")) + ` -- "$cur"))`
}

func bashFamily(b *strings.Builder, t *Tool, tools []*Tool) {
	var names []string
	for _, tool := range tools {
		names = append(names, tool.verb(t.Name))
	}
	for _, f := range t.visible() {
		names = append(names, "--"+f.Name)
	}
	fmt.Fprintf(b, "%s() {\n\tif ((COMP_CWORD < 2)); then\n", t.function())
	fmt.Fprintf(b, "\t\tlocal cur=${COMP_WORDS[1]}\n\t\t%s\n\t\treturn\n\tfi\n", bashReply(names...))
	b.WriteString("\tcase ${COMP_WORDS[1]} in\n")
	for _, tool := range tools {
		fmt.Fprintf(b, "\t%s|%s) %s ;;\n", tool.verb(t.Name), tool.Name, tool.function())
	}
	b.WriteString("\tesac\n}\n")
}

func zshScript(b *strings.Builder, t *Tool, tools []*Tool) {
	names := []string{t.Name}
	for _, tool := range tools {
		names = append(names, tool.Name)
	}
	fmt.Fprintf(b, "#compdef %s\n", strings.Join(names, " "))
	for _, tool := range tools {
		zshFunction(b, tool)
	}
	if len(tools) == 0 {
		zshFunction(b, t)
	} else {
		zshFamily(b, t, tools)
	}
	// As an autoloaded file the script is the function itself.
	b.WriteString("if [[ $funcstack[1] == " + t.function() + " ]]; then\n\tcase $service in\n")
	for _, tool := range tools {
		fmt.Fprintf(b, "\t%s) %s ;;\n", tool.Name, tool.function())
	}
	fmt.Fprintf(b, "\t*) %s ;;\n\tesac\nelse\n", t.function())
	fmt.Fprintf(b, "\tcompdef %s %s\n", t.function(), t.Name)
	for _, tool := range tools {
		fmt.Fprintf(b, "\tcompdef %s %s\n", tool.function(), tool.Name)
	}
	b.WriteString("fi\n")
}

func zshFunction(b *strings.Builder, t *Tool) {
	fmt.Fprintf(b, "%s() {\n\t_arguments -s -S", t.function())
	for _, f := range t.visible() {
		b.WriteString(" \\\n\t\t" + zshSpec(&f))
	}
	if len(t.Words) > 0 {
		fmt.Fprintf(b, " \\\n\t\t%s", quote("*:operand:{ compadd -S '' -- "+strings.Join(t.Words, " ")+"; _files }"))
	} else {
		b.WriteString(" \\\n\t\t'*:operand:_files'")
	}
	b.WriteString("\n}\n")
}

// zshSpec returns one option as _arguments wants it.
func zshSpec(f *Flag) string {
	help := strings.NewReplacer("[", `\[`, "]", `\]`, `\`, `\\`).Replace(firstSentence(f.Help))
	long, short, arg := "--"+f.Name, "", ""
	if f.Short != 0 {
		short = "-" + string(rune(f.Short))
	}
	if f.Arg != "" {
		action := " "
		words, files := f.argKind()
		switch {
		case files:
			action = "_files"
		case len(words) > 0:
			action = "(" + strings.Join(words, " ") + ")"
		}
		arg = ":" + strings.ReplaceAll(f.Arg, ":", `\:`) + ":" + action
		long += "="
		if short != "" {
			short += "+"
		}
	} else if _, ok := f.Value.(ternary); ok {
		long += "=-"
		arg = "::BOOL:(true false)"
	}
	tail := quote("[" + help + "]" + arg)
	before := ""
	switch {
	case f.repeats():
		before = "'*'"
	case short != "":
		before = fmt.Sprintf("'(-%c --%s)'", f.Short, f.Name)
	}
	if short != "" {
		return before + "{" + short + "," + long + "}" + tail
	}
	return before + long + tail
}

func zshFamily(b *strings.Builder, t *Tool, tools []*Tool) {
	fmt.Fprintf(b, "%s() {\n\tif (( CURRENT == 2 )); then\n\t\tlocal -a tools=(\n", t.function())
	for _, tool := range tools {
		fmt.Fprintf(b, "\t\t\t%s\n", quote(tool.verb(t.Name)+":"+strings.ReplaceAll(Clean(tool.Short), ":", `\:`)))
	}
	b.WriteString("\t\t)\n\t\t_describe tool tools\n\t\treturn\n\tfi\n\tshift words\n\t(( CURRENT-- ))\n\tcase $words[1] in\n")
	for _, tool := range tools {
		fmt.Fprintf(b, "\t%s|%s) %s ;;\n", tool.verb(t.Name), tool.Name, tool.function())
	}
	b.WriteString("\tesac\n}\n")
}

func fishScript(b *strings.Builder, t *Tool, tools []*Tool) {
	fmt.Fprintf(b, "# fish completion for %s\n", t.Name)
	if len(tools) == 0 {
		fishTool(b, t, "complete -c "+t.Name)
		return
	}
	begin := "complete -c " + t.Name + " -n __fish_use_subcommand"
	for _, tool := range tools {
		fishTool(b, tool, "complete -c "+tool.Name)
		verb := tool.verb(t.Name)
		fmt.Fprintf(b, "%s -f -a %s -d %s\n", begin, verb, fishQuote(Clean(tool.Short)))
		fishTool(b, tool, fmt.Sprintf("complete -c %s -n '__fish_seen_subcommand_from %s %s'", t.Name, verb, tool.Name))
	}
	fishTool(b, t, begin)
}

func fishTool(b *strings.Builder, t *Tool, begin string) {
	for _, f := range t.visible() {
		b.WriteString(begin)
		if f.Short != 0 {
			fmt.Fprintf(b, " -s %c", f.Short)
		}
		b.WriteString(" -l " + f.Name)
		words, files := f.argKind()
		switch {
		case f.Arg == "":
		case files:
			b.WriteString(" -r -F")
		case len(words) > 0:
			b.WriteString(" -x -a " + fishQuote(strings.Join(words, " ")))
		default:
			b.WriteString(" -x")
		}
		b.WriteString(" -d " + fishQuote(firstSentence(f.Help)) + "\n")
	}
	if len(t.Words) > 0 {
		b.WriteString(begin + " -a " + fishQuote(strings.Join(t.Words, " ")) + "\n")
	}
}

// fishQuote puts s in single quotes as fish wants it.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
