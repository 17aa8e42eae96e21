package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/imgtools/imgtools/lib/disk"
)

// maxFile is the size, in bytes, of the largest auth file that is read.
const maxFile = 1 << 20

// ErrMalformed is wrapped by every error about the content of an auth file.
var ErrMalformed = errors.New("malformed auth file")

// A FileError says where an auth file is wrong. It wraps ErrMalformed.
type FileError struct {
	Path    string
	Line    int    // from 1
	Column  int    // in bytes, from 1
	Problem string // holds nothing of the file's content but well-known keys
}

func (e *FileError) Error() string {
	return fmt.Sprintf("auth file %q, line %d, column %d: %s", e.Path, e.Line, e.Column, e.Problem)
}

func (e *FileError) Unwrap() error { return ErrMalformed }

// A member is one key of a JSON object with its value, as it was written.
type member struct {
	key   string
	value json.RawMessage
	at    int // offset of the value in the file, in bytes
	from  int // offset of the key
}

// end is the offset behind the value.
func (m member) end() int { return m.at + len(m.value) }

// A file is a parsed auth file. Only the tables named here are looked into;
// every other key stays in top, raw and in its place, so that a file can be
// written back without losing what other programs keep in it.
type file struct {
	path        string
	data        []byte
	top         []member // all top-level keys, in order
	auths       []member // registry or namespace → entry
	credHelpers []member // registry → name of a helper program
	credsStore  *member  // name of the helper program for all other registries
	legacy      bool     // auths are keys of the top level: a .dockercfg
}

// readFile reads and parses an auth file. A missing file and a file of no
// bytes are empty, and so is the null device.
func readFile(path string) (*file, error) {
	data, err := disk.ReadFile(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return &file{path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading auth file: %w", err)
	}
	return parseFile(path, data)
}

// parseFile parses the content of an auth file: docker's config.json, the
// containers tools' auth.json or the old .dockercfg, told apart by content.
// Entries are checked when they are used, so that a broken entry of one
// registry does not stop the others.
func parseFile(path string, data []byte) (*file, error) {
	f := &file{path: path, data: data}
	if len(bytes.TrimSpace(data)) == 0 {
		return f, nil
	}
	if err := f.checkSyntax(); err != nil {
		return nil, err
	}
	top, err := f.object(member{value: data}, "top level")
	if err != nil {
		return nil, err
	}
	f.top = top
	known := false
	for i, m := range top {
		// Other readers of these files take any case.
		switch strings.ToLower(m.key) {
		case "auths":
			f.auths, err = f.table(m, "auths", &known)
		case "credhelpers":
			f.credHelpers, err = f.table(m, "credHelpers", &known)
		case "credsstore":
			f.credsStore, known = &top[i], true
		}
		if err != nil {
			return nil, err
		}
	}
	if !known {
		f.auths = legacyEntries(top)
		f.legacy = len(f.auths) > 0
	}
	return f, nil
}

// table returns the members of a top-level object and notes that it exists.
func (f *file) table(m member, name string, known *bool) ([]member, error) {
	*known = true
	if isNull(m.value) {
		return nil, nil
	}
	return f.object(m, name)
}

// legacyEntries picks the registries out of the top level of a .dockercfg. A
// host has a dot or a colon, or is localhost, as in every image name; no other
// key of a config.json does.
func legacyEntries(top []member) []member {
	var entries []member
	for _, m := range top {
		if m.value[0] == '{' && isHostKey(m.key) {
			entries = append(entries, m)
		}
	}
	return entries
}

func isHostKey(key string) bool {
	host, _, _ := strings.Cut(key, "/")
	return host == "localhost" || strings.ContainsAny(key, ".:")
}

// checkSyntax makes sure that the file is one JSON value and nothing more.
// encoding/json's own messages are not used: they quote what they stumble on.
func (f *file) checkSyntax() error {
	for i := 0; i < len(f.data); {
		r, n := utf8.DecodeRune(f.data[i:])
		if r == utf8.RuneError && n == 1 {
			return f.wrong(i, "not UTF-8")
		}
		i += n
	}
	dec := json.NewDecoder(bytes.NewReader(f.data))
	var value json.RawMessage
	if err := dec.Decode(&value); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return f.wrong(int(syntax.Offset)-1, "not valid JSON")
		}
		return f.wrong(len(f.data), "ends in the middle of a JSON value")
	}
	rest := f.data[dec.InputOffset():]
	if trailing := bytes.TrimLeft(rest, " \t\r\n"); len(trailing) > 0 {
		return f.wrong(len(f.data)-len(trailing), "data after the JSON value")
	}
	return nil
}

// object splits an object into its members. A key that comes twice is refused:
// programs differ in which of the two they take.
func (f *file) object(m member, name string) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(m.value))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, f.wrong(m.at, name+" is not a JSON object")
	}
	var members []member
	seen := make(map[string]bool)
	for dec.More() {
		// Between here and the key are white space and a comma.
		from := int(dec.InputOffset())
		from += bytes.IndexByte(m.value[from:], '"')
		key, err := dec.Token()
		if err != nil {
			return nil, f.wrong(m.at+int(dec.InputOffset()), "not valid JSON")
		}
		one := member{key: key.(string), from: m.at + from}
		if err := dec.Decode(&one.value); err != nil {
			return nil, f.wrong(m.at+int(dec.InputOffset()), "not valid JSON")
		}
		one.at = m.at + int(dec.InputOffset()) - len(one.value)
		id := knownKey(one.key)
		if seen[id] {
			return nil, f.wrong(one.at, "a key of "+name+" comes twice")
		}
		seen[id] = true
		members = append(members, one)
	}
	return members, nil
}

// knownKey folds the case of the keys that this package gives a meaning to, as
// other readers of these files do. Two spellings of one are then a key that
// comes twice.
func knownKey(key string) string {
	switch folded := strings.ToLower(key); folded {
	case "auths", "credhelpers", "credsstore", "auth", "username", "password", "identitytoken":
		return folded
	}
	return key
}

// text returns a value that is a string, or "" for null.
func (f *file) text(m member, name string) (string, error) {
	if isNull(m.value) {
		return "", nil
	}
	var s string
	if json.Unmarshal(m.value, &s) != nil {
		return "", f.wrong(m.at, name+" is not a string")
	}
	return s, nil
}

func isNull(value json.RawMessage) bool { return string(value) == "null" }

// wrong returns the error for a problem at an offset of the file.
func (f *file) wrong(offset int, problem string) error {
	offset = max(0, min(offset, len(f.data)))
	before := f.data[:offset]
	return &FileError{
		Path:    f.path,
		Line:    1 + bytes.Count(before, []byte("\n")),
		Column:  offset - bytes.LastIndexByte(before, '\n'),
		Problem: problem,
	}
}
