package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Every message has to lead to the place, and must hold none of the content:
// a misplaced quote turns a password into a key.
func TestParseFileErrors(t *testing.T) {
	tests := []struct {
		name, in     string
		line, column int
		problem      string
	}{
		{"cut", `{"auths": {"h.example": {"auth": "aHVud`, 1, 40, "ends in the middle of a JSON value"},
		{"cut after a key", "{\n\"auths\"", 2, 8, "ends in the middle of a JSON value"},
		{"syntax", "{\n  \"auths\": {hunter2}\n}", 2, 13, "not valid JSON"},
		{"comma", "{\"auths\": {},\n}", 2, 1, "not valid JSON"},
		{"trailing text", "{}\n\n hunter2", 3, 2, "data after the JSON value"},
		{"second value", "{}{}", 1, 3, "data after the JSON value"},
		{"not UTF-8", "{\"auths\": {\"\xff\": {}}}", 1, 13, "not UTF-8"},
		{"byte order mark", "\ufeff{}", 1, 1, "not valid JSON"},
		{"array", "[]", 1, 1, "top level is not a JSON object"},
		{"null", "null", 1, 1, "top level is not a JSON object"},
		{"string", `"hunter2"`, 1, 1, "top level is not a JSON object"},
		{"auths array", "{\n\t\"auths\": []}", 2, 11, "auths is not a JSON object"},
		{"credHelpers string", `{"credHelpers": "x"}`, 1, 17, "credHelpers is not a JSON object"},
		{"auths twice", `{"auths": {}, "auths": {}}`, 1, 24, "a key of top level comes twice"},
		{"auths in two cases", `{"auths": {}, "Auths": {}}`, 1, 24, "a key of top level comes twice"},
		{"unknown key twice", `{"x": 1, "x": 2}`, 1, 15, "a key of top level comes twice"},
		{"registry twice", `{"auths": {"h.example": {}, "h\u002eexample": {}}}`, 1, 47, "a key of auths comes twice"},
		{"too deep", strings.Repeat("[", 20000), 1, 10001, "not valid JSON"},
	}
	for _, tt := range tests {
		_, err := parseFile("/x/auth.json", []byte(tt.in))
		got, ok := errors.AsType[*FileError](err)
		if !ok || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: parseFile() = %v; want a *FileError", tt.name, err)
			continue
		}
		want := FileError{"/x/auth.json", tt.line, tt.column, tt.problem}
		if *got != want {
			t.Errorf("%s: parseFile() = %+v; want %+v", tt.name, *got, want)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct {
		name, in string
		column   int
		problem  string
	}{
		{"entry array", `[]`, 26, `the entry of "h.example" is not a JSON object`},
		{"entry string", `"hunter2"`, 26, `the entry of "h.example" is not a JSON object`},
		{"auth number", `{"auth": 1234567}`, 35, `auth in the entry of "h.example" is not a string`},
		{"auth object", `{"auth": {}}`, 35, `auth in the entry of "h.example" is not a string`},
		{"auth not base64", `{"auth": "hunter2!"}`, 35, `auth in the entry of "h.example" is not base64`},
		{"auth cut", `{"auth": "YTpi\u003d"}`, 35, `auth in the entry of "h.example" is not base64`},
		{"username", `{"username": true}`, 39, `username in the entry of "h.example" is not a string`},
		{"password", `{"Password": 1234567}`, 39, `password in the entry of "h.example" is not a string`},
		{"token", `{"identitytoken": []}`, 44, `identitytoken in the entry of "h.example" is not a string`},
		{"twice", `{"auth": "YTpi", "auth": "YTpj"}`, 51, `a key of the entry of "h.example" comes twice`},
		{"two cases", `{"auth": "YTpi", "Auth": "YTpj"}`, 51, `a key of the entry of "h.example" comes twice`},
	}
	for _, tt := range tests {
		f, err := parseFile("/x/auth.json", []byte(`{"auths": { "h.example": `+tt.in+`, "other.example": 5}}`))
		if err != nil {
			t.Errorf("%s: parseFile() = %v; want nil", tt.name, err)
			continue
		}
		_, err = (&Finder{}).inFile(t.Context(), f, mustTarget(t, "h.example/a"))
		want := FileError{"/x/auth.json", 1, tt.column, tt.problem}
		if got, ok := errors.AsType[*FileError](err); !ok || *got != want {
			t.Errorf("%s: error = %v; want %+v", tt.name, err, want)
		}
		// The broken entry is nobody else's problem.
		if _, err = (&Finder{}).inFile(t.Context(), f, mustTarget(t, "third.example")); err != nil {
			t.Errorf("%s: error for another registry = %v; want nil", tt.name, err)
		}
	}
}

// Writing (login, logout) must give back what other programs keep in a file.
func TestParseFileKeepsUnknownKeys(t *testing.T) {
	const in = `{"HttpHeaders": {"User-Agent": "x"}, "auths": {"h.example": {"auth": "YTpi", "email": "e"}},
		"psFormat":"table {{.ID}}", "n": 1.50}`
	f, err := parseFile("x", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range append(f.top, f.auths...) {
		got = append(got, m.key+" "+string(m.value))
		if !bytes.HasPrefix([]byte(in)[m.at:], m.value) {
			t.Errorf("%s is not at offset %d", m.key, m.at)
		}
	}
	want := []string{
		`HttpHeaders {"User-Agent": "x"}`,
		`auths {"h.example": {"auth": "YTpi", "email": "e"}}`,
		`psFormat "table {{.ID}}"`,
		`n 1.50`,
		`h.example {"auth": "YTpi", "email": "e"}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("parseFile() keeps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadFileEmpty(t *testing.T) {
	dir := t.TempDir()
	empty, blank, aFile := filepath.Join(dir, "empty"), filepath.Join(dir, "blank"), filepath.Join(dir, "file")
	write(t, empty, "")
	write(t, blank, " \n")
	write(t, aFile, "{}")
	for _, path := range []string{
		empty, // what `touch` and a failed redirection leave
		blank,
		aFile,
		filepath.Join(dir, "missing"),
		filepath.Join(aFile, "auth.json"), // HOME=/dev/null and the like
		os.DevNull,                        // REGISTRY_AUTH_FILE=/dev/null: "no file"
	} {
		f, err := readFile(path)
		if err != nil || len(f.auths) != 0 {
			t.Errorf("readFile(%s) = %v, %v; want an empty file", path, f, err)
		}
	}
}

// Nothing that never ends or never begins may be read: each of these would
// hang or eat the memory.
func TestReadFileOnlyRegular(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", link, dir} {
		_, err := readFile(path)
		if !strings.HasSuffix(message(err), path+": not a regular file") {
			t.Errorf("readFile(%s) = %v; want not a regular file", path, err)
		}
	}
}

func TestReadFileLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.json")
	fill := func(size int) string { return "{" + strings.Repeat(" ", size-2) + "}" }
	write(t, path, fill(maxFile))
	if _, err := readFile(path); err != nil {
		t.Errorf("readFile of %d bytes = %v; want nil", maxFile, err)
	}
	write(t, path, fill(maxFile+1))
	if _, err := readFile(path); !strings.HasSuffix(message(err), "larger than 1048576 bytes") {
		t.Errorf("readFile of %d bytes = %v; want too large", maxFile+1, err)
	}
	if _, err := readFile("bad\x00name"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("readFile of an impossible name = %v; want an error", err)
	}
}

// FuzzFile puts a secret somewhere into a file. Whatever is around it, nothing
// panics and neither errors nor warnings hold the secret, plain or encoded.
func FuzzFile(f *testing.F) {
	const secret = "Hunter2-S3cret"
	encoded := base64.StdEncoding.EncodeToString([]byte("u:" + secret))
	f.Add([]byte(`{"auths": {"h.example": {"auth": "`), []byte(`"}}}`), true)
	f.Add([]byte(`{"auths": {"h.example/a": {"password": "`), []byte(`", "username": "u"}}}`), false)
	f.Add([]byte(`{"auths": {"h.example": {"`), []byte(`": 1}}}`), false)
	f.Add([]byte(`{"auths": {"h.example": {"auth": `), []byte(`}}`), false)
	f.Add([]byte(`{"auths": {"h.example": {"identitytoken": "`), []byte("\xff"), false)
	f.Add([]byte(`{"https://h.example/v1/": {"auth": "`), []byte(`"}}`), true)
	f.Add([]byte(`{"credHelpers": {"`), []byte(`": ""}, "credHelpers": {}}`), false)
	f.Add([]byte(``), []byte(``), false)
	f.Fuzz(func(t *testing.T, before, after []byte, encode bool) {
		middle := secret
		if encode {
			middle = encoded
		}
		if bytes.Contains(before, []byte(secret)) || bytes.Contains(after, []byte(secret)) {
			return
		}
		var said []string
		parsed, err := parseFile("auth.json", append(append(before, middle...), after...))
		said = append(said, message(err))
		if err == nil {
			said = append(said, lookAll(t, parsed)...)
		}
		for _, s := range said {
			if strings.Contains(s, secret) || strings.Contains(s, encoded) || strings.Contains(s, "\n") {
				t.Errorf("said %q", s)
			}
		}
	})
}

// lookAll looks for some repositories without running helpers, and returns
// all that was said.
func lookAll(t *testing.T, f *file) (said []string) {
	for _, repository := range []string{"h.example/a/b", "h.example", "docker.io/library/x"} {
		target := mustTarget(t, repository)
		for _, m := range target.matches(f.auths) {
			c, err := f.decode(m, func(s string) { said = append(said, s) })
			said = append(said, message(err), c.String())
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("decode: %v does not wrap ErrMalformed", err)
			}
			// A user name may be shown; fuzzing puts the secret there too.
			if strings.Contains(c.Username, "Hunter2") {
				said = said[:len(said)-1]
			}
		}
		for _, m := range target.ofHost().matches(f.credHelpers) {
			name, err := f.text(m.member, "credHelpers")
			said = append(said, message(err), message(checkHelperName(name)))
		}
	}
	return said
}

func mustTarget(t *testing.T, repository string) target {
	t.Helper()
	got, err := parseTarget(repository)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
