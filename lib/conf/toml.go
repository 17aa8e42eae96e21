package conf

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// A document is a TOML file that is being read into what it means. It keeps
// the first problem; once there is one, what was read is of no use.
type document struct {
	path  string
	lines lineIndex
	debug func(string, ...any)
	err   error
}

// fail notes a problem at a line, if it is the first.
func (d *document) fail(line int, format string, args ...any) {
	if d.err == nil {
		d.err = &Error{d.path, line, fmt.Sprintf(format, args...)}
	}
}

// A table is one table of a document. Its methods look up a key and check the
// type of its value; a key that is missing is the zero value. Keys that differ
// only in case are the same, as for every other reader of these files.
type table struct {
	doc  *document
	name string // in doc.lines
	keys map[string]any
	read []string // keys that were looked up, as the document spells them
}

// parseTOML parses a file into its top-level table. Errors are in the
// document.
func parseTOML(path string, data []byte, debug func(string, ...any)) *table {
	doc := &document{path: path, debug: debug}
	top := &table{doc: doc, keys: map[string]any{}}
	if doc.err = checkText(path, data); doc.err != nil {
		return top
	}
	lines, line, problem := scanLines(string(data))
	if problem != "" {
		doc.fail(line, "%s", problem)
		return top
	}
	doc.lines = lines
	if _, err := toml.Decode(string(data), &top.keys); err != nil {
		line, message := 1, err.Error()
		if parse, ok := errors.AsType[toml.ParseError](err); ok {
			// Its own line is that after a line end that should not be there.
			before := data[:max(0, min(parse.Position.Start, len(data)))]
			line, message = 1+bytes.Count(before, []byte("\n")), parse.Message
		}
		doc.fail(line, "%s", short(message))
	}
	return top
}

// find returns the value of a key and the name of the key for doc.lines.
func (t *table) find(key string) (value any, name string) {
	for _, spelled := range slices.Sorted(maps.Keys(t.keys)) {
		if !strings.EqualFold(spelled, key) {
			continue
		}
		if name != "" {
			line := max(t.doc.lines.at(name), t.doc.lines.at(t.name+sep+spelled))
			t.doc.fail(line, "%s is there twice, in different case", key)
		}
		value, name = t.keys[spelled], t.name+sep+spelled
		t.read = append(t.read, spelled)
	}
	return value, name
}

// line returns the line of a key, or that of the table if the key is not there.
func (t *table) line(key string) int {
	if _, name := t.find(key); name != "" {
		return t.doc.lines.at(name)
	}
	return t.doc.lines.at(t.name)
}

// has reports whether the key is there, with whatever value.
func (t *table) has(key string) bool {
	_, name := t.find(key)
	return name != ""
}

// text returns the value of a key that is a string.
func (t *table) text(key string) string {
	value, name := t.find(key)
	s, ok := value.(string)
	if !ok && name != "" {
		t.doc.fail(t.line(key), "%s must be a string", key)
	}
	return s
}

// flag returns the value of a key that is a boolean.
func (t *table) flag(key string) bool {
	value, name := t.find(key)
	b, ok := value.(bool)
	if !ok && name != "" {
		t.doc.fail(t.line(key), "%s must be true or false", key)
	}
	return b
}

// texts returns the value of a key that is an array of strings. It is nil only
// if the key is not there.
func (t *table) texts(key string) []string {
	value, name := t.find(key)
	if name == "" {
		return nil
	}
	array, ok := value.([]any)
	list := make([]string, 0, len(array))
	for _, v := range array {
		s, isText := v.(string)
		ok = ok && isText
		list = append(list, s)
	}
	if !ok {
		t.doc.fail(t.line(key), "%s must be an array of strings", key)
	}
	return list
}

// table returns the table with that key; a missing one is empty.
func (t *table) table(key string) *table {
	value, name := t.find(key)
	keys, ok := value.(map[string]any)
	if !ok && name != "" {
		t.doc.fail(t.line(key), "%s must be a table", key)
	}
	return &table{doc: t.doc, name: name, keys: keys}
}

// tables returns the tables of an array, in order.
func (t *table) tables(key string) []*table {
	value, name := t.find(key)
	var list []*table
	add := func(keys map[string]any) {
		list = append(list, &table{doc: t.doc, name: name + "#" + itoa(len(list)), keys: keys})
	}
	ok := name == ""
	switch value := value.(type) {
	case []map[string]any:
		ok = true
		for _, keys := range value {
			add(keys)
		}
	case []any: // [[registry]] written as registry = [{...}]
		ok = true
		for _, v := range value {
			keys, isTable := v.(map[string]any)
			ok = ok && isTable
			add(keys)
		}
	}
	if !ok {
		t.doc.fail(t.line(key), "%s must be an array of tables", key)
	}
	return list
}

// done tells of the keys that nobody looked up.
func (t *table) done() {
	for _, key := range slices.Sorted(maps.Keys(t.keys)) {
		if !slices.Contains(t.read, key) {
			t.doc.debug("configuration file %q, line %d: unknown key %q", t.doc.path, t.doc.lines.at(t.name+sep+key), cut(key))
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
