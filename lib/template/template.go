// Package template executes Go templates: what a tool's --format option takes.
//
// The language is that of text/template, and its parser is text/template/parse.
// Only the evaluation is our own. text/template finds methods with reflect's
// MethodByName; the linker cannot know by which names, keeps every exported
// method of every type in the program, and the static binary grows by 1.2 MB,
// where the parser costs 0.2 MB. Here fields, maps and lists are read by
// reflection, and the few methods that data has are in a table (see method).
//
// The room knows nothing of images. It imports the standard library only, and
// of that neither text/template nor regexp.
package template

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template/parse"
	"unicode"
)

// ErrTemplate is wrapped by each error that is the template's: its text does not
// parse, or it asks the data for what is not there. The message is one line.
var ErrTemplate = errors.New("template")

// root is the name of the template itself among those that it defines.
const root = "format"

// Execute runs the template text over data and writes the result to w, as it
// comes; after an error part of it may have been written.
//
// The text json, {{json}} or {{json.}} stands for data as JSON, indented by four
// spaces. Any other is a template. It is executed for a list, $, whose one
// element is data, and unless it has a range over that list itself, it is
// executed with that element as dot. \n and \t, written as two characters, stand
// for a newline and a tab, and a newline is added at the end if there is none;
// if the text does not parse so, as "\n" within a string, it is taken as it is.
// After the prefix "table " spaces are tabs as well, and the cells between tabs
// are written as columns, at least 12 wide and 2 apart.
//
// Functions are those of text/template (call fails: data has no functions) and
// join, json, lower, pad, split, title, truncate and upper. Methods are those of
// times, durations and digests, and String. A key that a map has not prints as
// <no value>; a field that a struct has not is an error. Templates may invoke
// each other to a depth of 100.
//
// Errors are ErrTemplate, those of encoding data as JSON, and those of w, as
// they are.
func Execute(w io.Writer, text string, data any) error {
	if isJSON(text) {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "    ")
		return enc.Encode(data)
	}
	text, table := strings.CutPrefix(text, "table ")
	s, err := parseText(text, table)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	if table {
		err = s.runTable(out, data)
	} else {
		err = s.run(out, data)
	}
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	return err
}

// isJSON reports whether the text is json, {{json}} or {{json.}}, whatever the
// space around the words.
func isJSON(text string) bool {
	const space = " \t\n\f\r"
	text = strings.Trim(text, space)
	if text == "json" {
		return true
	}
	text, open := strings.CutPrefix(text, "{{")
	text, closed := strings.CutSuffix(text, "}}")
	text = strings.TrimSuffix(strings.Trim(text, space), ".")
	return open && closed && text == "json"
}

// parseText parses the text as it is meant or else, if only that parses, as it
// is. The error is of the former.
func parseText(text string, table bool) (*state, error) {
	s := &state{funcs: functions()}
	var err error
	if s.trees, err = parse.Parse(root, expand(text, table), "", "", s.funcs); err == nil {
		return s, nil
	}
	var plain error
	if s.trees, plain = parse.Parse(root, text, "", "", s.funcs); plain == nil {
		return s, nil
	}
	return nil, fail(strings.TrimPrefix(err.Error(), "template: "))
}

// expand puts newlines and tabs where the text has an escape for them.
func expand(text string, table bool) string {
	pairs := []string{`\n`, "\n", `\t`, "\t"}
	if table {
		pairs = append(pairs, " ", "\t")
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

// runTable runs the template and writes what is between tabs as columns.
func (s *state) runTable(w io.Writer, data any) error {
	tw := tabwriter.NewWriter(w, 12, 2, 2, ' ', tabwriter.StripEscape)
	err := s.run(tw, data)
	if ferr := tw.Flush(); err == nil {
		err = ferr
	}
	return err
}

// run runs the template over a list of data alone, or over its one element.
func (s *state) run(w io.Writer, data any) error {
	list := reflect.ValueOf([]any{data})
	s.out, s.vars = w, []variable{{"$", list}}
	dot := list.Index(0)
	if s.ranges(s.trees[root].Root, map[string]bool{}) {
		dot = list
	}
	return s.walk(dot, s.trees[root].Root)
}

// ranges reports whether the nodes have a range over exactly ".", where that is
// still what they were given. It remembers the templates that it looked into.
func (s *state) ranges(list *parse.ListNode, seen map[string]bool) bool {
	if list == nil {
		return false
	}
	for _, node := range list.Nodes {
		found := false
		switch n := node.(type) {
		case *parse.RangeNode:
			found = isDot(n.Pipe) || s.ranges(n.ElseList, seen)
		case *parse.IfNode:
			found = s.ranges(n.List, seen) || s.ranges(n.ElseList, seen)
		case *parse.WithNode:
			found = isDot(n.Pipe) && s.ranges(n.List, seen) || s.ranges(n.ElseList, seen)
		case *parse.TemplateNode:
			if tree := s.trees[n.Name]; tree != nil && isDot(n.Pipe) && !seen[n.Name] {
				seen[n.Name] = true
				found = s.ranges(tree.Root, seen)
			}
		}
		if found {
			return true
		}
	}
	return false
}

// isDot reports whether a pipeline is ".".
func isDot(pipe *parse.PipeNode) bool {
	if pipe == nil || len(pipe.Cmds) != 1 || len(pipe.Cmds[0].Args) != 1 {
		return false
	}
	_, dot := pipe.Cmds[0].Args[0].(*parse.DotNode)
	return dot
}

// maxContext is how many bytes of a node an error quotes.
const maxContext = 60

// errorf returns an error that names the place of the node.
func (s *state) errorf(n parse.Node, format string, args ...any) error {
	location, context := s.trees[root].ErrorContext(n)
	if len(context) > maxContext {
		context = strings.ToValidUTF8(context[:maxContext], "") + "..."
	}
	return fail(fmt.Sprintf("%s: at <%s>: %s", location, context, fmt.Sprintf(format, args...)))
}

// fail returns an error of one line, without control characters.
func fail(message string) error {
	message = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
	return fmt.Errorf("%w: %s", ErrTemplate, message)
}
