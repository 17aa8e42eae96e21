package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// auths writes a file of entries: registry, "user:password", and so on.
func auths(pairs ...string) string {
	var entries []string
	for i := 0; i < len(pairs); i += 2 {
		entry := "{}"
		if pairs[i+1] != "" {
			entry = fmt.Sprintf(`{"auth": %q}`, base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
		}
		entries = append(entries, fmt.Sprintf("%q: %s", pairs[i], entry))
	}
	return `{"auths": {` + strings.Join(entries, ", ") + `}}`
}

// A key must match by host, port and whole path elements. What is a neighbour
// by prefix, port, case or path gets nothing: it would be shown a credential
// that is not for it.
func TestFindKeys(t *testing.T) {
	tests := []struct {
		name, file, repository, want string
	}{
		{"host", auths("h.example", "a:1"), "h.example/x", "a:1"},
		{"host alone", auths("h.example", "a:1"), "h.example", "a:1"},
		{"port", auths("h.example:5000", "a:1", "h.example", "a:2"), "h.example:5000/x", "a:1"},
		{"no port", auths("h.example:5000", "a:1", "h.example", "a:2"), "h.example/x", "a:2"},
		{"longest wins", auths("h.example", "a:1", "h.example/n", "a:2", "h.example/n/m", "a:3"), "h.example/n/m/r", "a:3"},
		{"exact repository", auths("h.example/n", "a:1", "h.example/n/m", "a:2"), "h.example/n/m", "a:2"},
		{"parent", auths("h.example/n", "a:1", "h.example/n/m", "a:2"), "h.example/n/o", "a:1"},
		{"empty entry hides nothing", auths("h.example/n/m", "", "h.example/n", "a:1"), "h.example/n/m", "a:1"},
		{"empty auth hides nothing", auths("h.example/n", ":", "h.example", "a:1"), "h.example/n/m", "a:1"},

		{"prefix of a name", auths("h.example/n", "a:1"), "h.example/nn", ""},
		{"prefix of a host", auths("h.example", "a:1"), "h.example.com/n", ""},
		{"sub-domain", auths("example.com", "a:1"), "h.example.com/n", ""},
		{"parent does not get the child's", auths("h.example/n/m", "a:1"), "h.example/n", ""},
		{"sibling", auths("h.example/n/m", "a:1"), "h.example/n/o", ""},
		{"host does not get a namespace's", auths("h.example/n", "a:1"), "h.example", ""},
		{"other port", auths("h.example:5000", "a:1"), "h.example:5001/n", ""},
		{"default port", auths("h.example:443", "a:1"), "h.example/n", ""},
		{"default port asked", auths("h.example", "a:1"), "h.example:443/n", ""},
		{"case", auths("H.example", "a:1"), "h.example/n", ""},
		{"path case", auths("h.example/N", "a:1"), "h.example/n", ""},
		{"user info", auths("https://u@h.example", "a:1"), "h.example/n", ""},
		{"other scheme", auths("ftp://h.example", "a:1"), "h.example/n", ""},
		{"empty key", auths("", "a:1", "https://", "a:2", "/", "a:3"), "h.example/n", ""},

		{"URL", auths("https://h.example", "a:1"), "h.example/n", "a:1"},
		{"URL of the API", auths("https://h.example:5000/v2/", "a:1"), "h.example:5000/n", "a:1"},
		{"http URL", auths("http://h.example/v1/", "a:1"), "h.example/n", "a:1"},
		{"plain key before URL", auths("https://h.example", "a:1", "h.example", "a:2"), "h.example/n", "a:2"},
		{"URL with a namespace", auths("https://h.example/n", "a:1"), "h.example/n/m", "a:1"},
		{"URL with another namespace", auths("https://h.example/n", "a:1"), "h.example/m", ""},
		{"v1 is a namespace without a scheme", auths("h.example/v1", "a:1"), "h.example/n", ""},
		{"slash at the end", auths("h.example/", "a:1"), "h.example/n", "a:1"},

		{"hub, docker login", auths("https://index.docker.io/v1/", "a:1"), "docker.io/library/x", "a:1"},
		{"hub, podman login", auths("docker.io", "a:1"), "docker.io/library/x", "a:1"},
		{"hub, index", auths("index.docker.io", "a:1"), "docker.io/library/x", "a:1"},
		{"hub, registry-1", auths("registry-1.docker.io", "a:1"), "docker.io/library/x", "a:1"},
		{"hub by another name", auths("docker.io", "a:1"), "registry-1.docker.io/library/x", "a:1"},
		{"hub namespace", auths("docker.io/n", "a:1", "docker.io", "a:2"), "index.docker.io/n/x", "a:1"},
		{"hub, as spelled before others", auths("https://index.docker.io/v1/", "a:1", "docker.io", "a:2"), "docker.io/n/x", "a:2"},
		{"not the hub", auths("docker.io", "a:1"), "hub.docker.io/n", ""},
		{"hub with a port is not the hub", auths("docker.io", "a:1"), "docker.io:5000/n", ""},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "auth.json")
		write(t, path, tt.file)
		got, err := (&Finder{File: path}).Find(t.Context(), tt.repository)
		if err != nil || plain(got) != tt.want {
			t.Errorf("%s: Find(%q) in %s = %q, %v; want %q", tt.name, tt.repository, tt.file, plain(got), err, tt.want)
		}
	}
}

// plain shows a credential whole, which is what Credential.String must not do.
func plain(c Credential) string {
	s := c.Username + ":" + c.Password
	if c.IdentityToken != "" {
		s += "<" + c.IdentityToken + ">"
	}
	return strings.TrimSuffix(s, ":")
}

// The files are as the programs write them: layout, keys and all. What kind it
// is shows in the content; every one of them may be named by --authfile.
func TestFindFormats(t *testing.T) {
	tests := []struct {
		name, file, repository, want string
	}{
		{"skopeo login, podman login",
			"{\n\t\"auths\": {\n\t\t\"quay.example:8443\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t\t}\n\t}\n}",
			"quay.example:8443/a/b", "alice:s3cr3t"},
		{"docker login",
			"{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcjN0\"\n\t\t}\n\t},\n" +
				"\t\"HttpHeaders\": {\n\t\t\"User-Agent\": \"Docker-Client/19.03.12 (linux)\"\n\t}\n}",
			"docker.io/library/busybox", "alice:s3cr3t"},
		{"docker login with an identity token",
			`{"auths": {"x.azurecr.example": {"auth": "MDAwMDAwMDAtMDAwMDo=", "identitytoken": "eyJ.tok.en"}}}`,
			"x.azurecr.example/a", "00000000-0000:<eyJ.tok.en>"},
		{"kubernetes secret",
			`{"auths":{"h.example":{"username":"alice","password":"s3cr3t","email":"a@b.example","auth":"YWxpY2U6czNjcjN0"}}}`,
			"h.example/a", "alice:s3cr3t"},
		{"user name and password only",
			`{"auths":{"h.example":{"username":"alice","password":"s3:cr3t"}}}`, "h.example/a", "alice:s3:cr3t"},
		{"auth goes first",
			`{"auths":{"h.example":{"username":"bob","password":"x","auth":"YWxpY2U6czNjcjN0"}}}`, "h.example/a", "alice:s3cr3t"},
		{"an empty auth does not",
			`{"auths":{"h.example":{"username":"bob","password":"x","auth":""}}}`, "h.example/a", "bob:x"},
		{"nulls", `{"auths":{"h.example/a":null,"h.example":{"auth":null,"username":"bob"}},"credHelpers":null,"credsStore":null}`,
			"h.example/a", "bob"},
		{"no auths", `{"auths":null}`, "h.example/a", ""},
		{"a token for the user name", `{"auths":{"h.example":{"identitytoken":"t"}}}`, "h.example/a", ":<t>"},
		{"NULs around the password", `{"auths":{"h.example":{"auth":"YWxpY2U6czNjcjN0AAA="}}}`, "h.example/a", "alice:s3cr3t"},
		{"colons in the password", auths("h.example", "alice:a:b"), "h.example/a", "alice:a:b"},
		{"any case, as other programs", `{"Auths":{"h.example":{"Auth":"YWxpY2U6czNjcjN0"}}}`, "h.example/a", "alice:s3cr3t"},
		{"legacy .dockercfg",
			`{"https://index.docker.io/v1/":{"auth":"YWxpY2U6czNjcjN0","email":"a@b.example"},"h.example":{"auth":"Yjox"}}`,
			"docker.io/library/busybox", "alice:s3cr3t"},
		{"legacy .dockercfg, other host",
			`{"https://index.docker.io/v1/":{"auth":"YWxpY2U6czNjcjN0","email":"a@b.example"},"localhost":{"auth":"Yjox"}}`,
			"localhost/x", "b:1"},
		{"no legacy entries beside auths", `{"auths":{},"h.example":{"auth":"YWxpY2U6czNjcjN0"}}`, "h.example/a", ""},
		{"a config without auths is not legacy", `{"aliases":{"auth":"x"},"detachKeys":"ctrl-e,e"}`, "aliases/a", ""},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "any-name")
		write(t, path, tt.file)
		got, err := (&Finder{File: path}).Find(t.Context(), tt.repository)
		if err != nil || plain(got) != tt.want {
			t.Errorf("%s: Find(%q) = %q, %v; want %q", tt.name, tt.repository, plain(got), err, tt.want)
		}
	}
}

func TestFindUndecodableAuth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.json")
	write(t, path, auths("h.example/n", "no-colon-s3cr3t", "h.example", "alice:1"))
	var warned []string
	f := &Finder{File: path, Warn: func(s string) { warned = append(warned, s) }}
	got, err := f.Find(t.Context(), "h.example/n/m")
	if err != nil || plain(got) != "alice:1" {
		t.Errorf("Find() = %q, %v; want alice:1", plain(got), err)
	}
	want := `auth file "` + path + `": auth in the entry of "h.example/n" has no colon between user and password, ignored`
	if len(warned) != 1 || warned[0] != want {
		t.Errorf("warnings = %q; want %q", warned, want)
	}
}

func TestFindInvalidRepository(t *testing.T) {
	for _, repository := range []string{"", "/a", "h.example/a b", "h.example\n/a", "h.example/\x1b", "h\x7f"} {
		if _, err := (&Finder{File: os.DevNull}).Find(t.Context(), repository); err == nil {
			t.Errorf("Find(%q) = nil; want an error", repository)
		}
	}
}

// The places of the search order, each in a root of its own. The order is the
// whole point: a login in the run-time directory goes before an old file.
func TestFindSearchOrder(t *testing.T) {
	root := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{root}, names...)...) }
	env := map[string]string{
		"HOME":            in("home"),
		"XDG_RUNTIME_DIR": in("run"),
		"XDG_CONFIG_HOME": in("config"),
		"DOCKER_CONFIG":   in("docker"),
	}
	places := []string{
		in("run", "containers", "auth.json"),
		in("config", "containers", "auth.json"),
		in("docker", "config.json"),
		in("home", ".dockercfg"),
	}
	for i, path := range places {
		write(t, path, auths("h.example", fmt.Sprintf("user:%d", i)))
	}
	// Not looked into while the variables are set.
	write(t, in("home", ".config", "containers", "auth.json"), auths("h.example", "wrong:1"))
	write(t, in("home", ".docker", "config.json"), auths("h.example", "wrong:2"))

	f := &Finder{Env: func(name string) string { return env[name] }, Warn: func(s string) { t.Errorf("warning: %s", s) }}
	for i, path := range places {
		got, err := f.Find(t.Context(), "h.example/a")
		if err != nil || plain(got) != fmt.Sprintf("user:%d", i) {
			t.Errorf("Find() = %q, %v; want what is in %s", plain(got), err, path)
		}
		// From here on it has nothing for this registry: the next one counts.
		write(t, path, auths("other.example", "wrong:3", "h.example", ""))
	}
	if got, err := f.Find(t.Context(), "h.example/a"); err != nil || !got.IsZero() {
		t.Errorf("Find() = %q, %v; want nothing", plain(got), err)
	}

	delete(env, "XDG_CONFIG_HOME")
	if got, _ := f.Find(t.Context(), "h.example/a"); plain(got) != "wrong:1" {
		t.Errorf("Find() = %q; want what is in ~/.config", plain(got))
	}
	write(t, in("home", ".config", "containers", "auth.json"), "")
	delete(env, "DOCKER_CONFIG")
	if got, _ := f.Find(t.Context(), "h.example/a"); plain(got) != "wrong:2" {
		t.Errorf("Find() = %q; want what is in ~/.docker", plain(got))
	}
}

// One file named means that no other is looked into, and the option goes
// before the variable.
func TestFindOneFile(t *testing.T) {
	dir := t.TempDir()
	home, byEnv, byFlag := filepath.Join(dir, ".dockercfg"), filepath.Join(dir, "env"), filepath.Join(dir, "flag")
	write(t, home, auths("h.example", "home:1", "home.example", "home:1"))
	write(t, byEnv, auths("h.example", "env:1", "env.example", "env:1"))
	write(t, byFlag, auths("h.example", "flag:1"))
	env := map[string]string{"HOME": dir, "REGISTRY_AUTH_FILE": byEnv, "XDG_RUNTIME_DIR": dir}
	getenv := func(name string) string { return env[name] }
	tests := []struct{ file, host, want string }{
		{byFlag, "h.example", "flag:1"},
		{byFlag, "env.example", ""},
		{byFlag, "home.example", ""},
		{"", "h.example", "env:1"},
		{"", "home.example", ""},
		{filepath.Join(dir, "missing"), "h.example", ""},
	}
	for _, tt := range tests {
		got, err := (&Finder{File: tt.file, Env: getenv}).Find(t.Context(), tt.host+"/a")
		if err != nil || plain(got) != tt.want {
			t.Errorf("Find(%q) with file %q = %q, %v; want %q", tt.host, tt.file, plain(got), err, tt.want)
		}
	}
}

func TestFindRuntimeDir(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".dockercfg"), auths("h.example", "a:1"))
	env := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": filepath.Join(dir, "gone")}
	var warned []string
	f := &Finder{Env: func(name string) string { return env[name] }, Warn: func(s string) { warned = append(warned, s) }}
	got, err := f.Find(t.Context(), "h.example/a")
	if err != nil || plain(got) != "a:1" {
		t.Errorf("Find() without the run-time directory = %q, %v; want a:1", plain(got), err)
	}
	if len(warned) != 1 || !strings.HasPrefix(warned[0], `$XDG_RUNTIME_DIR is "`) {
		t.Errorf("warnings = %q; want one about $XDG_RUNTIME_DIR", warned)
	}
	delete(env, "XDG_RUNTIME_DIR")
	want := fmt.Sprintf("/run/containers/%d/auth.json", os.Geteuid())
	if got := f.paths()[0]; got != want {
		t.Errorf("first file without $XDG_RUNTIME_DIR = %s; want %s", got, want)
	}
}

// Services run without $HOME; the user data base knows the directory.
func TestFindWithoutHome(t *testing.T) {
	paths := (&Finder{Env: func(string) string { return "" }}).paths()
	if last := paths[len(paths)-1]; !filepath.IsAbs(last) {
		t.Errorf("last file without $HOME = %s; want an absolute name", last)
	}
}

// A broken or unreadable file before the answer is an error, not a reason to
// use some other credential; a broken one behind the answer is not read.
func TestFindBrokenFile(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": dir}
	f := &Finder{Env: func(name string) string { return env[name] }}
	first, second := filepath.Join(dir, "containers", "auth.json"), filepath.Join(dir, ".docker", "config.json")
	write(t, first, "{")
	write(t, second, auths("h.example", "a:1"))
	if _, err := f.Find(t.Context(), "h.example/a"); !errors.Is(err, ErrMalformed) {
		t.Errorf("Find() with a broken first file = %v; want ErrMalformed", err)
	}
	write(t, second, "{")
	write(t, first, auths("h.example", "a:1"))
	if got, err := f.Find(t.Context(), "h.example/a"); err != nil || plain(got) != "a:1" {
		t.Errorf("Find() with a broken second file = %q, %v; want a:1", plain(got), err)
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(first, first); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Find(t.Context(), "h.example/a"); message(err) == "" || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Find() with a looping link = %v; want an error", err)
	}
}

// Who is out of time must not pass for somebody whom nobody knows.
func TestFindOutOfTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.json")
	write(t, path, auths("h.example", "alice:s3cr3t"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := &Finder{File: path, Helpers: []string{FilesHelper}}
	if c, err := f.Find(ctx, "h.example"); err == nil && c != alice() {
		t.Errorf("Find() = %q, %v; want alice or an error", plain(c), err)
	}
}
