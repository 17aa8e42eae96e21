package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Changes to a file are made in its text: what is not changed stays as it is,
// byte for byte, with the white space, the order and the number formats of
// whoever wrote it. Each change returns the file read anew from its text.

// errLegacy is the error about a key that a .dockercfg can not hold.
var errLegacy = errors.New("a file in the old .dockercfg format has no place for a registry without a dot or a port")

// A text is a JSON value to be written into a line with that indentation.
type text func(s style, indent string) string

// A style is how a file, or a part of it, is written.
type style struct {
	lines bool   // a member a line
	unit  string // of indentation
}

func literal(s string) text { return func(style, string) string { return quote(s) } }

// A field is a member to be written.
type field struct {
	key   string
	value text
}

// object is the text of an object.
func object(fields ...field) text {
	return func(s style, indent string) string {
		if len(fields) == 0 {
			return "{}"
		}
		before, between, after := "", ", ", ""
		if s.lines {
			before, between, after = "\n"+indent+s.unit, ",\n"+indent+s.unit, "\n"+indent
		}
		var parts []string
		for _, f := range fields {
			parts = append(parts, quote(f.key)+": "+f.value(s, indent+s.unit))
		}
		return "{" + before + strings.Join(parts, between) + after + "}"
	}
}

// quote writes a JSON string without the escapes that are for HTML.
func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always can be
	return strings.TrimSuffix(b.String(), "\n")
}

// style returns how the file is written. A new one is written as docker,
// podman and skopeo do.
func (f *file) style() style {
	s := style{lines: len(bytes.TrimSpace(f.data)) == 0 || bytes.ContainsRune(bytes.TrimSpace(f.data), '\n'), unit: "\t"}
	for line := range bytes.Lines(f.data) {
		if rest := bytes.TrimLeft(line, " \t"); len(rest) < len(line) && len(bytes.TrimSpace(rest)) > 0 {
			s.unit = string(line[:len(line)-len(rest)])
			break
		}
	}
	return s
}

// indent returns the white space that the line of an offset begins with.
func (f *file) indent(offset int) string {
	line := f.data[bytes.LastIndexByte(f.data[:offset], '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// whole is the top level, as the value of a member.
func (f *file) whole() member {
	value := bytes.TrimSpace(f.data)
	return member{value: value, at: bytes.Index(f.data, value)}
}

// splice replaces a part of the text.
func (f *file) splice(from, to int, s string) (*file, error) {
	data := make([]byte, 0, len(f.data)+len(s))
	data = append(append(append(data, f.data[:from]...), s...), f.data[to:]...)
	return parseFile(f.path, data)
}

// put gives the object in, which has those members, a member of that key and
// value, in the place of the one that it has or behind the last.
func (f *file) put(in member, members []member, key string, value text) (*file, error) {
	s := f.style()
	for _, m := range members {
		if m.key == key {
			return f.splice(m.at, m.end(), value(s, f.indent(m.from)))
		}
	}
	if len(members) == 0 {
		return f.splice(in.at, in.end(), object(field{key, value})(s, f.indent(in.at)))
	}
	last := members[len(members)-1]
	before := f.data[:last.from]
	gap := string(before[len(bytes.TrimRight(before, " \t\r\n")):])
	colon := ": "
	switch s.lines = strings.Contains(gap, "\n"); {
	case f.data[last.at-1] == ':':
		colon = ":"
	case gap == "":
		gap = " "
	}
	indent := gap[strings.LastIndexByte(gap, '\n')+1:]
	return f.splice(last.end(), last.end(), ","+gap+quote(key)+colon+value(s, indent))
}

// cut takes the i-th of an object's members out.
func (f *file) cut(in member, members []member, i int) (*file, error) {
	switch {
	case len(members) == 1:
		return f.splice(in.at, in.end(), "{}")
	case i+1 < len(members):
		return f.splice(members[i].from, members[i+1].from, "")
	}
	return f.splice(members[i-1].end(), members[i].end(), "")
}

// entries returns the object that the entries are in, with all its members; ok
// is false if there is none. A .dockercfg is one as a whole.
func (f *file) entries() (in member, members []member, ok bool) {
	if f.legacy {
		return f.whole(), f.top, true
	}
	for _, m := range f.top {
		if strings.EqualFold(m.key, "auths") {
			return m, f.auths, true
		}
	}
	return member{}, nil, false
}

// entry returns the entry of exactly that key.
func (f *file) entry(key string) (m member, ok bool) {
	for _, m := range f.auths {
		if m.key == key {
			return m, true
		}
	}
	return member{}, false
}

// secrets are the fields that hold a credential in an entry. For the mark
// that docker leaves in a file whose credsStore has the credential there are
// none.
func (c Credential) secrets() []field {
	var fields []field
	if c.Username != "" || c.Password != "" {
		auth := base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password))
		fields = append(fields, field{"auth", literal(auth)})
	}
	if c.IdentityToken != "" {
		fields = append(fields, field{"identitytoken", literal(c.IdentityToken)})
	}
	return fields
}

// with makes c what the file holds for the key. What else an entry has stays,
// and so do all other entries.
func (f *file) with(key string, c Credential) (*file, error) {
	fields := c.secrets()
	in, members, ok := f.entries()
	m, found := f.entry(key)
	switch {
	case f.legacy && !found && !isHostKey(key):
		return nil, fmt.Errorf("auth file %q: %w", f.path, errLegacy)
	case !ok && len(f.top) == 0:
		s := f.style()
		body := object(field{"auths", object(field{key, object(fields...)})})(s, "")
		if len(bytes.TrimSpace(f.data)) == 0 {
			return f.splice(0, len(f.data), body+"\n")
		}
		w := f.whole()
		return f.splice(w.at, w.end(), body)
	case !ok:
		return f.put(f.whole(), f.top, "auths", object(field{key, object(fields...)}))
	case !found:
		return f.put(in, members, key, object(fields...))
	case m.value[0] != '{':
		return f.put(in, members, key, object(fields...))
	}
	return f.refill(key, fields)
}

// refill gives an entry that is there other secrets.
func (f *file) refill(key string, fields []field) (*file, error) {
	f, err := f.strip(key, fields)
	for _, one := range fields {
		if err != nil {
			return nil, err
		}
		m, _ := f.entry(key)
		var members []member
		if members, err = f.object(m, "the entry"); err == nil {
			f, err = f.put(m, members, one.key, one.value)
		}
	}
	return f, err
}

// strip takes the secrets out of an entry, but for those that will be
// replaced.
func (f *file) strip(key string, but []field) (*file, error) {
	for {
		m, _ := f.entry(key)
		members, err := f.object(m, "the entry")
		if err != nil {
			return nil, err
		}
		i := 0
		for i < len(members) && !isSecret(members[i].key, but) {
			i++
		}
		if i == len(members) {
			return f, nil
		}
		if f, err = f.cut(m, members, i); err != nil {
			return nil, err
		}
	}
}

func isSecret(key string, but []field) bool {
	for _, f := range but {
		if f.key == key {
			return false
		}
	}
	switch strings.ToLower(key) {
	case "auth", "username", "password", "identitytoken":
		return true
	}
	return false
}

// without takes the entries out that drop says.
func (f *file) without(drop func(key string) bool) (*file, error) {
	for i := 0; i < len(f.auths); {
		if !drop(f.auths[i].key) {
			i++
			continue
		}
		in, members, _ := f.entries()
		at := 0
		for members[at].from != f.auths[i].from {
			at++
		}
		var err error
		if f, err = f.cut(in, members, at); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// empty takes all entries out, and with helpers the table credHelpers too.
func (f *file) empty(helpers bool) (*file, error) {
	f, err := f.withoutAll()
	if err != nil || !helpers {
		return f, err
	}
	for i, m := range f.top {
		if strings.EqualFold(m.key, "credHelpers") {
			return f.cut(f.whole(), f.top, i)
		}
	}
	return f, nil
}

func (f *file) withoutAll() (*file, error) {
	if f.legacy {
		return f.without(func(string) bool { return true })
	}
	in, members, ok := f.entries()
	if !ok || len(members) == 0 {
		return f, nil
	}
	return f.splice(in.at, in.end(), "{}")
}
