package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// helper puts a program docker-credential-NAME, written in sh, on PATH. Its
// variable $server is what it was asked for; each run adds a line to the file
// whose name is returned.
func helper(t *testing.T, name, script string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	text := "#!/bin/sh\nserver=$(cat)\necho \"$# $1 $server\" >>'" + log + "'\n" + script + "\n"
	path := filepath.Join(dir, "docker-credential-"+name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return log
}

// knows is a helper script that knows one server.
func knows(server, user, secret string) string {
	return fmt.Sprintf(`if [ "$server" = %q ]; then echo '{"ServerURL": "x", "Username": %q, "Secret": %q}'; exit; fi
echo "credentials not found in native keychain"; exit 1`, server, user, secret)
}

func runs(t *testing.T, log string) string {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "|")
}

// configured returns a finder over one file.
func configured(t *testing.T, content string) *Finder {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, content)
	return &Finder{File: path}
}

func TestHelperFromFile(t *testing.T) {
	tests := []struct {
		name, script, file, repository, want, runs string
	}{
		{"credHelpers", knows("h.example", "alice", "s3"), `{"credHelpers": {"h.example": "test"}}`,
			"h.example/a/b", "alice:s3", "1 get h.example"},
		{"identity token", knows("h.example", "<token>", "s3"), `{"credHelpers": {"h.example": "test"}}`,
			"h.example/a", ":<s3>", "1 get h.example"},
		{"not found is nothing", knows("x", "a", "b"), `{"credHelpers": {"h.example": "test"}}`,
			"h.example/a", "", "1 get h.example"},
		{"the helper decides, not auths", knows("x", "a", "b"),
			`{"credHelpers": {"h.example": "test"}, "auths": {"h.example": {"username": "bob"}}}`,
			"h.example/a", "", "1 get h.example"},
		{"other hosts are not asked for", knows("h.example", "a", "b"),
			`{"credHelpers": {"h.example": "test"}, "auths": {"i.example": {"username": "bob"}}}`,
			"i.example/a", "bob", ""},
		{"a namespace has no helper", knows("h.example", "a", "b"), `{"credHelpers": {"h.example/a": "test"}}`,
			"h.example/a", "", ""},
		{"asked by the key of the file", knows("https://h.example", "a", "b"), `{"credHelpers": {"https://h.example": "test"}}`,
			"h.example/a", "a:b", "1 get https://h.example"},
		{"hub by host", knows("docker.io", "a", "b"), `{"credHelpers": {"docker.io": "test"}}`,
			"docker.io/library/x", "a:b", "1 get docker.io"},
		{"hub by host, stored by docker", knows(hubURL, "a", "b"), `{"credHelpers": {"docker.io": "test"}}`,
			"docker.io/library/x", "a:b", "1 get docker.io|1 get " + hubURL},
		{"hub by URL", knows("x", "a", "b"), `{"credHelpers": {"https://index.docker.io/v1/": "test"}}`,
			"docker.io/library/x", "", "1 get " + hubURL},
		{"empty name: the file, not the store", knows("h.example", "a", "b"),
			`{"credHelpers": {"h.example": ""}, "credsStore": "test", "auths": {"h.example": {"username": "bob"}}}`,
			"h.example/a", "bob", ""},
		{"empty name and no entry", knows("h.example", "a", "b"), `{"credHelpers": {"h.example": ""}, "credsStore": "test"}`,
			"h.example/a", "", ""},

		{"credsStore", knows("h.example", "alice", "s3"), `{"auths": {"h.example": {}}, "credsStore": "test"}`,
			"h.example/a", "alice:s3", "1 get h.example"},
		{"credsStore without a mark in auths", knows("h.example", "alice", "s3"), `{"credsStore": "test"}`,
			"h.example/a", "alice:s3", "1 get h.example"},
		{"credsStore of Docker Desktop", knows(hubURL, "alice", "s3"),
			"{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {}\n\t},\n\t\"credsStore\": \"test\",\n\t\"currentContext\": \"desktop-linux\"\n}",
			"docker.io/library/x", "alice:s3", "1 get " + hubURL},
		{"credsStore and the hub, no mark", knows(hubURL, "alice", "s3"), `{"credsStore": "test"}`,
			"registry-1.docker.io/library/x", "alice:s3", "1 get " + hubURL},
		{"credsStore by the mark's URL", knows("https://h.example", "a", "b"),
			`{"auths": {"https://h.example": {}, "h.example/n": {}}, "credsStore": "test"}`,
			"h.example/n", "a:b", "1 get https://h.example"},
		{"auths goes before credsStore", knows("h.example", "a", "b"),
			`{"auths": {"h.example": {"username": "bob"}}, "credsStore": "test"}`, "h.example/a", "bob", ""},
		{"credHelpers goes before credsStore", knows("h.example", "a", "b"),
			`{"credHelpers": {"h.example": "test"}, "credsStore": "missing"}`, "h.example/a", "a:b", "1 get h.example"},
		{"empty credsStore", "", `{"credsStore": ""}`, "h.example/a", "", ""},
		{"an answer without a word", "echo '{}'", `{"credHelpers": {"h.example": "test"}}`, "h.example/a", "", "1 get h.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := helper(t, "test", tt.script)
			f := configured(t, tt.file)
			f.Warn = func(s string) { t.Errorf("warning: %s", s) }
			got, err := f.Find(t.Context(), tt.repository)
			if err != nil || plain(got) != tt.want {
				t.Errorf("Find(%q) = %q, %v; want %q", tt.repository, plain(got), err, tt.want)
			}
			if got := runs(t, log); got != tt.runs {
				t.Errorf("the helper was asked %q; want %q", got, tt.runs)
			}
		})
	}
}

// A helper that answers nothing does not end the search: the next file counts.
func TestHelperNotFoundThenNextFile(t *testing.T) {
	helper(t, "test", knows("x", "a", "b"))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "containers", "auth.json"), `{"credHelpers": {"h.example": "test"}}`)
	write(t, filepath.Join(dir, ".dockercfg"), auths("h.example", "alice:1"))
	env := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": dir}
	got, err := (&Finder{Env: func(name string) string { return env[name] }}).Find(t.Context(), "h.example/a")
	if err != nil || plain(got) != "alice:1" {
		t.Errorf("Find() = %q, %v; want alice:1", plain(got), err)
	}
}

// What a helper says may be a secret, wherever it says it: errors tell what
// went wrong and repeat only a sentence that is no part of an answer.
func TestHelperFailures(t *testing.T) {
	const secret = "s3cr3t"
	tests := []struct{ name, script, want string }{
		{"reason", "echo 'the key store is locked'; exit 3", "exit status 3: the key store is locked"},
		{"reason with escapes", `printf 'bad \033[31mnews\n'; exit 1`, `exit status 1: bad \x1b[31mnews`},
		{"no reason", "exit 2", "exit status 2"},
		{"answer and failure", `echo '{"Username": "a", "Secret": "s3cr3t"}'; exit 1`, "exit status 1"},
		{"half an answer and failure", `echo '"Username": "a", "Secret": "s3cr3t'; exit 1`, "exit status 1"},
		{"token and failure", `echo s3cr3t; exit 1`, "exit status 1"},
		{"lines and failure", "echo trace on; echo s3cr3t; exit 1", "exit status 1"},
		{"text for an answer", "echo s3cr3t", "the answer is not a JSON object"},
		{"no answer", "exit 0", "the answer is not a JSON object"},
		{"two answers", `echo '{"Username": "a", "Secret": "s3cr3t"}{}'`, "the answer is not a JSON object"},
		{"number", `echo '{"Username": "a", "Secret": 1234567}'`, "the answer is not a credential"},
		{"array", `echo '["s3cr3t"]'`, "the answer is not a credential"},
		{"killed", "kill -9 $$", "signal: killed"},
		{"huge output", `while :; do echo '{"Username": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Secret": "s3cr3t"}'; done`,
			"more than 65536 bytes of output"},
		{"huge failure", `while :; do echo s3cr3t s3cr3t; done; exit 1`, "more than 65536 bytes of output"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			helper(t, "test", tt.script)
			f := configured(t, `{"credHelpers": {"h.example": "test"}}`)
			got, err := f.Find(t.Context(), "h.example/a")
			want := fmt.Sprintf("auth file %q: credential helper failed: docker-credential-test: %s", f.File, tt.want)
			if !errors.Is(err, ErrHelper) || !got.IsZero() || message(err) != want {
				t.Errorf("Find() = %q, %v; want %s", plain(got), err, want)
			}
			if strings.Contains(message(err), secret) || strings.Contains(message(err), "1234567") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

// A store that does not work is a warning: config.json is copied to places
// where its store does not exist, and a public image needs no credential.
func TestHelperStoreFails(t *testing.T) {
	helper(t, "broken", "exit 1")
	tests := []struct{ store, want string }{
		{"nowhere", "docker-credential-nowhere: no such program in $PATH"},
		{"broken", "docker-credential-broken: exit status 1"},
	}
	for _, tt := range tests {
		f := configured(t, `{"auths": {"h.example": {}}, "credsStore": "`+tt.store+`"}`)
		var warned []string
		f.Warn = func(s string) { warned = append(warned, s) }
		got, err := f.Find(t.Context(), "h.example/a")
		want := fmt.Sprintf("auth file %q: credential helper failed: %s", f.File, tt.want)
		if err != nil || !got.IsZero() || len(warned) != 1 || warned[0] != want {
			t.Errorf("Find() = %q, %v with warnings %q; want nothing and %q", plain(got), err, warned, want)
		}
	}
}

// A program named for this very registry has to exist.
func TestHelperMissing(t *testing.T) {
	f := configured(t, `{"credHelpers": {"h.example": "nowhere"}}`)
	_, err := f.Find(t.Context(), "h.example/a")
	if !errors.Is(err, ErrHelper) || !strings.HasSuffix(message(err), "docker-credential-nowhere: no such program in $PATH") {
		t.Errorf("Find() = %v; want a missing program", err)
	}
}

// A name with a slash would be a path from the current directory: a file of
// the source tree could make itself run.
func TestHelperName(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, filepath.Join(dir, "docker-credential-x", "run"), "#!/bin/sh\ntouch ran\necho '{}'\n")
	if err := os.Chmod(filepath.Join(dir, "docker-credential-x", "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x/run", "../x", "/bin/sh", "a b", "a;b", "a\\u0000b", "é", "a\\n"} {
		for _, file := range []string{`{"credHelpers": {"h.example": "` + name + `"}}`, `{"credsStore": "` + name + `"}`} {
			_, err := configured(t, file).Find(t.Context(), "h.example/a")
			if !errors.Is(err, ErrHelperName) {
				t.Errorf("Find() with helper %q = %v; want ErrHelperName", name, err)
			}
		}
	}
	if _, err := os.Stat("ran"); err == nil {
		t.Error("a program was run from the current directory")
	}
	for _, name := range []string{"desktop.exe", "ecr-login", "pass", "A_1"} {
		if err := checkHelperName(name); err != nil {
			t.Errorf("checkHelperName(%q) = %v; want nil", name, err)
		}
	}
	f := configured(t, `{"credHelpers": {"h.example": {}}}`)
	if _, err := f.Find(t.Context(), "h.example/a"); !errors.Is(err, ErrMalformed) {
		t.Errorf("Find() with an object for a name = %v; want ErrMalformed", err)
	}
}

// trigger calls f at the first write.
type trigger struct{ f func() }

func (t trigger) Write(p []byte) (int, error) { t.f(); return len(p), nil }

// A helper that hangs, holding its output open through a child, ends with the
// command: by the caller's context, whichever way it ends, or by its own limit.
func TestHelperHangs(t *testing.T) {
	helper(t, "test", "echo started >&2; exec sleep 600")
	content := `{"credHelpers": {"h.example": "test"}, "credsStore": "test"}`
	for _, host := range []string{"h.example", "store.example"} {
		f := configured(t, content)
		ctx, cancel := context.WithCancel(t.Context())
		f.Stderr = trigger{cancel} // cancelled for sure while the helper runs
		_, err := f.Find(ctx, host+"/a")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Find(%s) cancelled = %v; want context.Canceled", host, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	f := configured(t, content)
	f.Stderr = trigger{func() {}}
	if _, err := f.Find(ctx, "h.example/a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Find() past the deadline = %v; want context.DeadlineExceeded", err)
	}
	f.HelperTimeout = 10 * time.Millisecond
	_, err := f.Find(t.Context(), "h.example/a")
	if !strings.HasSuffix(message(err), "docker-credential-test: no answer within 10ms") {
		t.Errorf("Find() past the helper's limit = %v; want no answer within 10ms", err)
	}
}

// A helper may start an agent that lives on and holds the pipe: its answer is
// an answer all the same. The child ends when this test closes its pipe.
func TestHelperLeavesChild(t *testing.T) {
	dir := t.TempDir()
	read, wrote, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer wrote.Close()
	hold := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), read.Fd())
	helper(t, "test", "cat "+hold+" 2>"+filepath.Join(dir, "err")+" &\n"+`echo '{"Username": "alice", "Secret": "s3"}'`)
	got, err := configured(t, `{"credHelpers": {"h.example": "test"}}`).Find(t.Context(), "h.example/a")
	if err != nil || plain(got) != "alice:s3" {
		t.Errorf("Find() = %q, %v; want alice:s3", plain(got), err)
	}
}

// Helpers write prompts to standard error, which has to reach the user.
func TestHelperStderr(t *testing.T) {
	helper(t, "test", `echo 'touch the key' >&2; echo '{"Username": "alice", "Secret": "s3"}'`)
	f := configured(t, `{"credHelpers": {"h.example": "test"}}`)
	var said strings.Builder
	f.Stderr = &said
	got, err := f.Find(t.Context(), "h.example/a")
	if err != nil || plain(got) != "alice:s3" || said.String() != "touch the key\n" {
		t.Errorf("Find() = %q, %v with stderr %q; want alice:s3", plain(got), err, said.String())
	}
}

// The list of registries.conf: first answer wins, errors count only when
// nobody answers.
func TestHelperList(t *testing.T) {
	log := helper(t, "test", knows("h.example", "alice", "s3"))
	helper(t, "broken", "exit 1")
	file := auths("h.example", "bob:1", "i.example", "bob:2")
	tests := []struct {
		helpers           []string
		host, want, error string
	}{
		{nil, "h.example", "bob:1", ""},
		{[]string{FilesHelper}, "h.example", "bob:1", ""},
		{[]string{"test", FilesHelper}, "h.example", "alice:s3", ""},
		{[]string{"test", FilesHelper}, "i.example", "bob:2", ""},
		{[]string{"broken", FilesHelper}, "i.example", "bob:2", ""},
		{[]string{"test"}, "j.example", "", ""},
		{[]string{"broken", "nowhere", "test"}, "j.example", "", "credential helper failed: docker-credential-broken: exit status 1; " +
			"credential helper failed: docker-credential-nowhere: no such program in $PATH"},
	}
	for _, tt := range tests {
		f := configured(t, file)
		f.Helpers = tt.helpers
		got, err := f.Find(t.Context(), tt.host+"/n/r")
		if plain(got) != tt.want || message(err) != tt.error {
			t.Errorf("Find(%s) with %v = %q, %q; want %q, %q", tt.host, tt.helpers, plain(got), message(err), tt.want, tt.error)
		}
	}
	// Programs know servers, not namespaces.
	if got := runs(t, log); got != "1 get h.example|1 get i.example|1 get j.example|1 get j.example" {
		t.Errorf("the helper was asked %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := configured(t, file)
	f.Helpers = []string{"test", FilesHelper}
	if _, err := f.Find(ctx, "h.example/a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Find() cancelled = %v; want context.Canceled", err)
	}
}
