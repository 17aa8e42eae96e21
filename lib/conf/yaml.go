package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A member is one key of a YAML mapping with its value.
type member struct {
	key   string
	line  int
	value *yaml.Node
}

// A yamlFile says where errors are.
type yamlFile string

func (f yamlFile) wrong(line int, format string, args ...any) error {
	return &Error{string(f), max(1, line), fmt.Sprintf(format, args...)}
}

// parse returns the members of a file that is one mapping. A file that says
// nothing has none.
func (f yamlFile) parse(data []byte) ([]member, error) {
	if err := checkText(string(f), data); err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first *yaml.Node
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF) && first == nil:
			return nil, nil
		case errors.Is(err, io.EOF):
			return f.mapping(first, "a configuration file")
		case err != nil:
			return nil, f.syntax(data, err)
		case len(doc.Content) != 1 || isNull(doc.Content[0]):
		case first != nil:
			return nil, f.wrong(doc.Content[0].Line, "a second document")
		default:
			first = doc.Content[0]
		}
	}
}

// syntax takes the line out of the text of the parser's error, which has it
// nowhere else: it leaves out the first line, and the one of an anchor.
func (f yamlFile) syntax(data []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, rest, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				return f.wrong(line, "%s", short(rest))
			}
		}
	}
	line := 1
	if anchor, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		anchor, _, _ = strings.Cut(anchor, "'")
		if i := bytes.Index(data, []byte("*"+anchor)); i >= 0 {
			line += bytes.Count(data[:i], []byte("\n"))
		}
	}
	return f.wrong(line, "%s", short(text))
}

// mapping returns the members of a mapping, none for null. what names it in
// errors.
func (f yamlFile) mapping(n *yaml.Node, what string) ([]member, error) {
	n = target(n)
	if isNull(n) {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, f.wrong(n.Line, "%s must be a mapping", what)
	}
	members := make([]member, 0, len(n.Content)/2)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := target(n.Content[i])
		m := member{key.Value, n.Content[i].Line, n.Content[i+1]}
		switch {
		case key.Kind != yaml.ScalarNode:
			return nil, f.wrong(m.line, "a key must be a string")
		case key.ShortTag() == "!!merge":
			return nil, f.wrong(m.line, "merge keys are not supported")
		case seen[m.key]:
			return nil, f.wrong(m.line, "key %q is there twice", cut(m.key))
		}
		seen[m.key] = true
		members = append(members, m)
	}
	return members, nil
}

// text returns a value that is a string, or is as good as one, such as 1.2.
func (f yamlFile) text(m member) (string, error) {
	n := target(m.value)
	if n.Kind != yaml.ScalarNode {
		return "", f.wrong(n.Line, "%s must be a string", m.key)
	}
	if isNull(n) {
		return "", nil
	}
	return n.Value, nil
}

// texts returns a value that is a list of strings. It is nil only for null.
func (f yamlFile) texts(m member) ([]string, []int, error) {
	n := target(m.value)
	if isNull(n) {
		return nil, nil, nil
	}
	if n.Kind != yaml.SequenceNode {
		return nil, nil, f.wrong(n.Line, "%s must be a list", m.key)
	}
	list, lines := make([]string, 0, len(n.Content)), make([]int, 0, len(n.Content))
	for _, item := range n.Content {
		s, err := f.text(member{m.key + " element", item.Line, item})
		if err != nil {
			return nil, nil, err
		}
		list, lines = append(list, s), append(lines, item.Line)
	}
	return list, lines, nil
}

// flag returns a value that is a boolean, nil for null. The words of YAML 1.1
// are taken too.
func (f yamlFile) flag(m member) (*bool, error) {
	n := target(m.value)
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if isNull(n) {
		return nil, nil
	}
	if n.Kind == yaml.ScalarNode && !quoted {
		switch strings.ToLower(n.Value) {
		case "true", "yes", "on", "y":
			return new(true), nil
		case "false", "no", "off", "n":
			return new(false), nil
		}
	}
	return nil, f.wrong(n.Line, "%s must be true or false", m.key)
}

// target returns the node that an alias stands for.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
