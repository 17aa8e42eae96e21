package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storeIn returns a Store of one file that has that content, in containers'
// format, and the file's name. Without content there is no file.
func storeIn(t *testing.T, content string) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.json")
	if content != "" {
		write(t, path, content)
	}
	env := map[string]string{"HOME": t.TempDir()}
	return &Store{Finder: Finder{File: path, Env: func(name string) string { return env[name] }}}, path
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// inDocker makes a Store write docker's format.
func inDocker(s *Store) *Store {
	s.Docker, s.File = s.File, ""
	return s
}

// What login writes must be what the other programs expect, and nothing else
// in a file may change: people keep proxies, plugins and contexts there, some in
// a repository where each changed byte shows.
func TestPutText(t *testing.T) {
	alice := Credential{Username: "alice", Password: "s3cr3t"}
	token := Credential{Username: "alice", IdentityToken: "tok"}
	tests := []struct {
		name   string
		docker bool
		before string
		key    string
		c      Credential
		after  string
	}{
		{"new, as podman and skopeo", false, "", "h.example:5000", alice,
			"{\n\t\"auths\": {\n\t\t\"h.example:5000\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t\t}\n\t}\n}\n"},
		{"new, as docker", true, "", "docker.io", alice,
			"{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t\t}\n\t}\n}\n"},
		{"what touch leaves", false, " \n", "h.example", alice,
			"{\n\t\"auths\": {\n\t\t\"h.example\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t\t}\n\t}\n}\n"},
		{"an empty object", false, `{}`, "h.example", alice, `{"auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"one more, as podman writes", false,
			"{\n\t\"auths\": {\n\t\t\"i.example\": {\n\t\t\t\"auth\": \"Yjox\"\n\t\t}\n\t}\n}", "h.example/n", alice,
			"{\n\t\"auths\": {\n\t\t\"i.example\": {\n\t\t\t\"auth\": \"Yjox\"\n\t\t},\n\t\t\"h.example/n\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t\t}\n\t}\n}"},
		{"no auths yet, four blanks", true, "{\n    \"HttpHeaders\": {\"X\": \"<y>\"},\n    \"n\": 1.50\n}\n", "h.example", alice,
			"{\n    \"HttpHeaders\": {\"X\": \"<y>\"},\n    \"n\": 1.50,\n    \"auths\": {\n        \"h.example\": {\n            \"auth\": \"YWxpY2U6czNjcjN0\"\n        }\n    }\n}\n"},
		{"empty auths", true, "{\n\t\"auths\": {},\n\t\"psFormat\": \"x\"\n}", "h.example", alice,
			"{\n\t\"auths\": {\n\t\t\"h.example\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t\t}\n\t},\n\t\"psFormat\": \"x\"\n}"},
		{"null auths in one line", false, `{"auths": null,"x":[1, 2 ]}`, "h.example", alice, `{"auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}},"x":[1, 2 ]}`},
		{"tight", false, `{"auths":{"i.example":{"auth":"Yjox"}}}`, "h.example", alice,
			`{"auths":{"i.example":{"auth":"Yjox"},"h.example":{"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"replaced, with what others keep there", false,
			`{"auths": {"h.example": {"email": "a@b", "auth": "Yjox", "x": {"y": 1e3}}, "i.example": {}}}`, "h.example", alice,
			`{"auths": {"h.example": {"email": "a@b", "auth": "YWxpY2U6czNjcjN0", "x": {"y": 1e3}}, "i.example": {}}}`},
		{"an identity token goes", false, `{"auths": {"h.example": {"auth": "Yjox", "identitytoken": "old"}}}`, "h.example", alice,
			`{"auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"user name and password go, in any case", false, `{"auths": {"h.example": {"Username": "b", "PASSWORD": "old", "z": 1}}}`, "h.example", alice,
			`{"auths": {"h.example": {"z": 1, "auth": "YWxpY2U6czNjcjN0"}}}`},
		{"an identity token comes", true, `{"auths": {"h.example": {"auth": "Yjox"}}}`, "h.example", token,
			`{"auths": {"h.example": {"auth": "YWxpY2U6", "identitytoken": "tok"}}}`},
		{"a token alone", false, `{"auths": {"h.example": {"auth": "Yjox"}}}`, "h.example", Credential{IdentityToken: "tok"},
			`{"auths": {"h.example": {"identitytoken": "tok"}}}`},
		{"null for an entry", false, `{"auths": {"h.example": null}}`, "h.example", alice, `{"auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"nonsense for an entry", false, `{"auths": {"h.example": [1]}}`, "h.example", alice, `{"auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"a key with escapes", false, `{"auths": {"h\u002eexample": {"auth": "Yjox"}}}`, "h.example", alice,
			`{"auths": {"h\u002eexample": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"other spellings stay", false, `{"auths": {"https://h.example": {"auth": "Yjox"}}}`, "h.example", alice,
			`{"auths": {"https://h.example": {"auth": "Yjox"}, "h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"but for those that docker's key would lose to", true, `{"auths": {"docker.io": {"auth": "Yjox"}, "docker.io/n": {"auth": "Yjox"}}}`, "docker.io", alice,
			`{"auths": {"docker.io/n": {"auth": "Yjox"}, "https://index.docker.io/v1/": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"line ends of another world", false, "{\r\n  \"auths\": {\r\n    \"i.example\": {}\r\n  }\r\n}\r\n", "h.example", alice,
			"{\r\n  \"auths\": {\r\n    \"i.example\": {},\r\n    \"h.example\": {\n      \"auth\": \"YWxpY2U6czNjcjN0\"\n    }\r\n  }\r\n}\r\n"},
		{"legacy .dockercfg", false, "{\n\t\"https://index.docker.io/v1/\": {\"auth\": \"Yjox\", \"email\": \"e\"}\n}\n", "h.example", alice,
			"{\n\t\"https://index.docker.io/v1/\": {\"auth\": \"Yjox\", \"email\": \"e\"},\n\t\"h.example\": {\n\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t}\n}\n"},
		{"legacy, replaced", false, `{"h.example": {"auth": "Yjox", "email": "e"}}`, "h.example", alice,
			`{"h.example": {"auth": "YWxpY2U6czNjcjN0", "email": "e"}}`},
		{"an empty helper name: the file itself", true, `{"credHelpers": {"h.example": ""}, "credsStore": "none"}`, "h.example", alice,
			`{"credHelpers": {"h.example": ""}, "credsStore": "none", "auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
	}
	for _, tt := range tests {
		s, path := storeIn(t, tt.before)
		if tt.docker {
			inDocker(s)
		}
		at, err := s.Put(t.Context(), tt.key, tt.c)
		if err != nil || at.File != path || at.Helper != "" {
			t.Errorf("%s: Put() = %v, %v; want %s", tt.name, at, err, path)
			continue
		}
		if got := read(t, path); got != tt.after {
			t.Errorf("%s: the file is\n%s\nwant\n%s", tt.name, got, tt.after)
		}
		if got, err := s.Find(t.Context(), tt.key); err != nil || got != tt.c {
			t.Errorf("%s: Find() = %q, %v; want %q", tt.name, plain(got), err, plain(tt.c))
		}
	}
}

func TestPutRefused(t *testing.T) {
	alice := Credential{Username: "alice", Password: "s3cr3t"}
	tests := []struct {
		name   string
		docker bool
		file   string
		key    string
		c      Credential
		err    error
	}{
		{"nothing", false, "", "h.example", Credential{}, ErrCredential},
		{"a colon in the user name", false, "", "h.example", Credential{Username: "a:b", Password: "c"}, ErrCredential},
		{"NUL", false, "", "h.example", Credential{Username: "a", Password: "c\x00"}, ErrCredential},
		{"token not UTF-8", false, "", "h.example", Credential{IdentityToken: "\xff"}, ErrCredential},
		{"URL", false, "", "https://h.example", alice, nil},
		{"slash", false, "", "h.example/", alice, nil},
		{"no host", false, "", "/x", alice, nil},
		{"blank", false, "", "h example", alice, nil},
		{"digest", false, "", "h.example/a@sha256:x", alice, nil},
		{"namespace in docker's format", true, "", "h.example/n", alice, ErrNamespaced},
		{"namespace and a helper", false, `{"credHelpers": {"h.example": "test"}}`, "h.example/n", alice, ErrNamespaced},
		{"helper name", false, `{"credHelpers": {"h.example": "../x"}}`, "h.example", alice, ErrHelperName},
		{"helper that is none", false, `{"credHelpers": {"h.example": "nowhere"}}`, "h.example", alice, ErrHelper},
		{"helper of a wrong type", false, `{"credHelpers": {"h.example": 1}}`, "h.example", alice, ErrMalformed},
		{"store that is none", true, `{"credsStore": "nowhere"}`, "h.example", alice, ErrHelper},
		{"store of a wrong type", true, `{"credsStore": 1}`, "h.example", alice, ErrMalformed},
		{"malformed", false, `{"auths": `, "h.example", alice, ErrMalformed},
		{"auths of a wrong type", false, `{"auths": []}`, "h.example", alice, ErrMalformed},
		{"not an object", false, `[]`, "h.example", alice, ErrMalformed},
		{"no host for a .dockercfg", false, `{"h.example": {"auth": "Yjox"}}`, "host", alice, errLegacy},
		{"too large", false, `{"x": "` + strings.Repeat("x", maxFile-10) + `"}`, "h.example", alice, nil},
	}
	for _, tt := range tests {
		s, path := storeIn(t, tt.file)
		if tt.docker {
			inDocker(s)
		}
		at, err := s.Put(t.Context(), tt.key, tt.c)
		if err == nil || tt.err != nil && !errors.Is(err, tt.err) || at != (Stored{}) {
			t.Errorf("%s: Put() = %v, %v; want %v", tt.name, at, err, tt.err)
		}
		if strings.Contains(message(err), "s3cr3t") {
			t.Errorf("%s: the error shows the secret: %v", tt.name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != tt.file {
			t.Errorf("%s: the file has changed: %.100q", tt.name, got)
		}
	}
}

// The file is chosen by options and variables, in this order and no other: a
// login that goes elsewhere is a secret in a place that nobody looks after.
func TestPlace(t *testing.T) {
	dir := t.TempDir()
	all := map[string]string{"REGISTRY_AUTH_FILE": "/e/auth.json", "DOCKER_CONFIG": "/d", "XDG_RUNTIME_DIR": dir, "HOME": "/home/a"}
	tests := []struct {
		file, docker string
		without      []string
		want         place
	}{
		{"/f", "", nil, place{"/f", false, true}},
		{"", "/c", nil, place{"/c", true, true}},
		{"", "", nil, place{"/e/auth.json", false, true}},
		{"", "", []string{"REGISTRY_AUTH_FILE"}, place{"/d/config.json", true, true}},
		{"", "", []string{"REGISTRY_AUTH_FILE", "DOCKER_CONFIG"}, place{dir + "/containers/auth.json", false, false}},
		{"", "", []string{"REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"}, place{fmt.Sprintf("/run/containers/%d/auth.json", os.Geteuid()), false, false}},
	}
	for _, tt := range tests {
		env := func(name string) string {
			for _, w := range tt.without {
				if w == name {
					return ""
				}
			}
			return all[name]
		}
		s := &Store{Finder: Finder{File: tt.file, Env: env}, Docker: tt.docker}
		if got, err := s.place(); err != nil || got != tt.want {
			t.Errorf("place of %q, %q without %v = %+v, %v; want %+v", tt.file, tt.docker, tt.without, got, err, tt.want)
		}
	}
	s := &Store{Finder: Finder{File: "/f"}, Docker: "/c"}
	if _, err := s.Path(); err != ErrTwoFiles {
		t.Errorf("Path of two files: %v; want %v", err, ErrTwoFiles)
	}
	all = map[string]string{"XDG_RUNTIME_DIR": filepath.Join(dir, "none")}
	s = &Store{Finder: Finder{Env: func(name string) string { return all[name] }}}
	if _, err := s.Put(t.Context(), "h.example", Credential{Username: "a"}); !strings.Contains(message(err), "none\", which does not exist") {
		t.Errorf("Put without the run-time directory: %v", err)
	}
}

// Reading by a Store is from its own file alone if that was named, and
// otherwise by the search order.
func TestStoreFind(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".docker", "config.json"), auths("h.example", "home:1"))
	write(t, filepath.Join(dir, "named", "config.json"), auths("i.example", "named:1"))
	env := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": dir}
	s := &Store{Finder: Finder{Env: func(name string) string { return env[name] }}}
	c, at, err := s.Locate(t.Context(), "h.example/n")
	if err != nil || plain(c) != "home:1" || at.String() != "auth file "+filepath.Join(dir, ".docker", "config.json") {
		t.Errorf("Locate() = %q, %v, %v", plain(c), at, err)
	}
	env["XDG_RUNTIME_DIR"] = filepath.Join(dir, "gone")
	if c, err := s.Find(t.Context(), "h.example"); err != nil || plain(c) != "home:1" {
		t.Errorf("Find() without the run-time directory = %q, %v; want home:1", plain(c), err)
	}
	env["DOCKER_CONFIG"] = filepath.Join(dir, "named")
	if c, err := s.Find(t.Context(), "h.example"); err != nil || !c.IsZero() {
		t.Errorf("Find() with $DOCKER_CONFIG = %q, %v; want nothing", plain(c), err)
	}
	if c, err := s.Find(t.Context(), "i.example"); err != nil || plain(c) != "named:1" {
		t.Errorf("Find() with $DOCKER_CONFIG = %q, %v; want named:1", plain(c), err)
	}
}

// Docker does not find what stands in its file under containers' keys.
func TestPutWarnsOfFormat(t *testing.T) {
	s, _ := storeIn(t, "")
	var warned []string
	s.Warn = func(s string) { warned = append(warned, s) }
	s.File = filepath.Join(s.home(), ".docker", "config.json")
	for _, docker := range []bool{false, true} {
		if docker {
			inDocker(s)
		}
		if _, err := s.Put(t.Context(), "h.example", Credential{Username: "a", Password: "b"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(warned) != 1 || warned[0] != "saving credentials to ~/.docker/config.json, but not using Docker-compatible file format" {
		t.Errorf("warnings = %q; want one", warned)
	}
}

func TestRemoveText(t *testing.T) {
	tests := []struct {
		name          string
		docker        bool
		before, key   string
		after, places string
	}{
		{"the first", false, `{"auths": {"h.example": {"auth": "Yjox"}, "i.example": {}}}`, "h.example", `{"auths": {"i.example": {}}}`, "h.example"},
		{"the last", false, "{\n\t\"auths\": {\n\t\t\"i.example\": {},\n\t\t\"h.example\": {\"auth\": \"Yjox\"}\n\t},\n\t\"x\": 1\n}\n", "h.example",
			"{\n\t\"auths\": {\n\t\t\"i.example\": {}\n\t},\n\t\"x\": 1\n}\n", "h.example"},
		{"the only one", false, "{\n\t\"auths\": {\n\t\t\"h.example\": {\"auth\": \"Yjox\"}\n\t}\n}", "h.example", "{\n\t\"auths\": {}\n}", "h.example"},
		{"no parent, no child", false, auths("h.example", "a:1", "h.example/n", "a:2", "h.example/n/m", "a:3"), "h.example/n",
			auths("h.example", "a:1", "h.example/n/m", "a:3"), "h.example/n"},
		{"all its spellings", false, auths("https://h.example", "a:1", "h.example", "a:2", "https://h.example/v2/", "a:3", "i.example", "a:4"), "h.example",
			auths("i.example", "a:4"), "https://h.example h.example https://h.example/v2/"},
		{"docker's of the hub", true, auths("https://index.docker.io/v1/", "a:1", "i.example", "a:2"), "docker.io", auths("i.example", "a:2"), "https://index.docker.io/v1/"},
		{"an empty one", false, auths("h.example", "", "i.example", "a:2"), "h.example", auths("i.example", "a:2"), "h.example"},
		{"one that nobody can read", false, `{"auths": {"h.example": {"auth": "?"}}}`, "h.example", `{"auths": {}}`, "h.example"},
		{"legacy", false, `{"a.example": {"auth": "Yjox"}, "h.example": {"auth": "Yjox"}, "x": {}}`, "h.example", `{"a.example": {"auth": "Yjox"}, "x": {}}`, "h.example"},

		{"not there", false, auths("h.example/n", "a:1", "g.example", "a:2"), "h.example", auths("h.example/n", "a:1", "g.example", "a:2"), ""},
		{"no auths", false, `{"x": 1}`, "h.example", `{"x": 1}`, ""},
	}
	for _, tt := range tests {
		s, path := storeIn(t, tt.before)
		if tt.docker {
			inDocker(s)
		}
		removed, err := s.Remove(t.Context(), tt.key)
		var keys []string
		for _, r := range removed {
			keys = append(keys, r.Key)
			if r.File != path || r.Helper != "" {
				t.Errorf("%s: Remove() = %+v; want %s", tt.name, r, path)
			}
		}
		if got := strings.Join(keys, " "); got != tt.places || (err != nil) != (tt.places == "") || err != nil && !errors.Is(err, ErrNotStored) {
			t.Errorf("%s: Remove() = %q, %v; want %q", tt.name, got, err, tt.places)
		}
		if got := read(t, path); got != tt.after {
			t.Errorf("%s: the file is\n%s\nwant\n%s", tt.name, got, tt.after)
		}
	}
	s, path := storeIn(t, "")
	if _, err := s.Remove(t.Context(), "h.example"); !errors.Is(err, ErrNotStored) {
		t.Errorf("Remove() without a file = %v; want %v", err, ErrNotStored)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove() made the file: %v", err)
	}
}

func TestRemoveAll(t *testing.T) {
	tests := []struct {
		name, before string
		drop         bool
		after        string
		removed      int
	}{
		{"all, and nothing else", "{\n\t\"auths\": {\n\t\t\"h.example\": {\"auth\": \"Yjox\"},\n\t\t\"i.example/n\": {\"auth\": \"Yjox\"}\n\t},\n\t\"x\":  1\n}", false, "{\n\t\"auths\": {},\n\t\"x\":  1\n}", 2},
		{"what helpers are named stays", `{"auths": {"h.example": {"auth": "Yjox"}}, "credHelpers": {"g.example": ""}}`, false, `{"auths": {}, "credHelpers": {"g.example": ""}}`, 1},
		{"or goes", `{"credHelpers": {"g.example": ""}, "auths": {"h.example": {"auth": "Yjox"}}}`, true, `{"auths": {}}`, 1},
		{"legacy", `{"a.example": {"auth": "Yjox"}, "x": {}, "h.example": {"auth": "Yjox"}}`, false, `{"x": {}}`, 2},
		{"nothing", `{"x": 1}`, false, `{"x": 1}`, 0},
	}
	for _, tt := range tests {
		s, path := storeIn(t, tt.before)
		s.DropHelpers = tt.drop
		removed, err := s.RemoveAll(t.Context())
		if err != nil || len(removed) != tt.removed {
			t.Errorf("%s: RemoveAll() = %v, %v; want %d", tt.name, removed, err, tt.removed)
		}
		if got := read(t, path); got != tt.after {
			t.Errorf("%s: the file is\n%s\nwant\n%s", tt.name, got, tt.after)
		}
	}
}

// FuzzStore puts a credential into a file of any content and takes it out
// again. What was put is found, all other entries and keys keep their bytes, and
// what was removed is gone.
func FuzzStore(f *testing.F) {
	f.Add([]byte(`{"auths": {"h.example": {"auth": "Yjox", "x": [1,  2]}, "i.example": {"auth":"Yjox"}}, "HttpHeaders":{"a":"b"}}`), "h.example", "alice", "s3cr3t", "")
	f.Add([]byte("{\n  \"credHelpers\": {},\n  \"Auths\": {\n  }\n}\n"), "h.example/n", "alice", "", "tok")
	f.Add([]byte(`{"h.example": {"auth": "Yjox"}, "detachKeys": "x"}`), "docker.io", "a", "b:c", "")
	f.Add([]byte(``), "docker.io/library/x", "", "\xff", "")
	f.Add([]byte(`{"auths":{"docker.io":{"username":"a"},"index.docker.io":null}}`), "docker.io", "a", "b", "")
	f.Fuzz(func(t *testing.T, data []byte, key, user, password, token string) {
		c := Credential{Username: user, Password: password, IdentityToken: token}
		target, err := parseKey(key)
		if err != nil || c.check() != nil {
			return
		}
		before, err := parseFile("auth.json", data)
		if err != nil {
			return
		}
		names := []string{target.given[0]}
		if target.scopes[0] == hub {
			names = append(names, hubURL)
		}
		for _, name := range names {
			after, err := before.store(target, name, c)
			if err != nil {
				if !errors.Is(err, errLegacy) {
					t.Fatalf("store: %v", err)
				}
				continue
			}
			if got := target.matches(after.auths); len(got) == 0 || got[0].key != name {
				t.Fatalf("%q in %s is not what is found first", name, after.data)
			}
			sameButFor(t, before, after, target)
			gone, err := after.without(func(k string) bool { return canonicalKey(k) == target.scopes[0] })
			if err != nil {
				t.Fatalf("without: %v", err)
			}
			sameButFor(t, before, gone, target)
			for _, m := range gone.auths {
				if canonicalKey(m.key) == target.scopes[0] {
					t.Fatalf("%q is left in %s", m.key, gone.data)
				}
			}
		}
	})
}

// sameButFor fails unless what is not the target's is the same in both files.
func sameButFor(t *testing.T, before, after *file, target target) {
	t.Helper()
	others := func(f *file) []byte {
		var b bytes.Buffer
		for _, m := range f.auths {
			if canonicalKey(m.key) != target.scopes[0] {
				fmt.Fprintf(&b, "%q %s\n", m.key, m.value)
			}
		}
		for _, m := range f.top {
			if !strings.EqualFold(m.key, "auths") && !(before.legacy && isHostKey(m.key)) {
				fmt.Fprintf(&b, "%q %s\n", m.key, m.value)
			}
		}
		return b.Bytes()
	}
	if a, b := others(before), others(after); !bytes.Equal(a, b) {
		t.Fatalf("before:\n%s\nafter:\n%s", a, b)
	}
}
