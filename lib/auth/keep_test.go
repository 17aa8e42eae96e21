package auth

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// keeper puts a helper program docker-credential-NAME on PATH that keeps
// credentials as files in a directory, by the server with its slashes turned.
// Its answers are those of docker's own helpers.
func keeper(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script := `#!/bin/sh
cd '` + dir + `' || exit 9
file() { printf %s "$1" | tr / '|'; }
in=$(cat)
case $1 in
store)
	server=$(printf %s "$in" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
	printf '%s\n' "$in" >"$(file "$server")" ;;
get)
	cat "$(file "$in")" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
erase)
	rm "$(file "$in")" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
list)
	test ! -e no-list || { echo 'list is not implemented'; exit 1; }
	sep='{'
	for f in *; do
		test -e "$f" || continue
		printf '%s"%s":"user"' "$sep" "$(printf %s "$f" | tr '|' /)"; sep=,
	done
	test "$sep" = , || printf '{'
	echo '}' ;;
esac
`
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-"+name), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	return dir
}

// Where a helper keeps a credential, no file may have it too, and whoever looks
// has to find it: docker by the mark in auths.
func TestPutHelper(t *testing.T) {
	tests := []struct {
		name    string
		docker  bool
		helpers []string
		file    string
		key     string
		c       Credential
		kept    string // in the helper
		after   string
	}{
		{"credHelpers, containers", false, nil, `{"credHelpers": {"h.example": "test"}}`, "h.example", alice(), "h.example",
			`{"credHelpers": {"h.example": "test"}}`},
		{"credHelpers, an old secret in the file", false, nil, `{"credHelpers": {"h.example": "test"}, "auths": {"h.example": {"auth": "Yjox", "x": 1}}}`, "h.example", alice(), "h.example",
			`{"credHelpers": {"h.example": "test"}, "auths": {"h.example": {"x": 1}}}`},
		{"credHelpers, docker", true, nil, `{"credHelpers": {"h.example": "test"}}`, "h.example", alice(), "h.example",
			`{"credHelpers": {"h.example": "test"}, "auths": {"h.example": {}}}`},
		{"credHelpers of the hub", false, nil, `{"credHelpers": {"https://index.docker.io/v1/": "test"}}`, "docker.io", alice(), hubURL,
			`{"credHelpers": {"https://index.docker.io/v1/": "test"}}`},
		{"credsStore", true, nil, `{"credsStore": "test", "x": 1}`, "h.example:5000", alice(), "h.example:5000",
			`{"credsStore": "test", "x": 1, "auths": {"h.example:5000": {}}}`},
		{"credsStore, the hub", true, nil, `{"credsStore": "test", "auths": {"docker.io": {"auth": "Yjox"}}}`, "docker.io", alice(), hubURL,
			`{"credsStore": "test", "auths": {"https://index.docker.io/v1/": {}}}`},
		{"credsStore, containers", false, nil, `{"credsStore": "test"}`, "docker.io", alice(), hubURL,
			`{"credsStore": "test", "auths": {"https://index.docker.io/v1/": {}}}`},
		{"credsStore, a namespace", false, nil, `{"credsStore": "test"}`, "h.example/n", alice(), "",
			`{"credsStore": "test", "auths": {"h.example/n": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"identity token", true, nil, `{"credsStore": "test"}`, "h.example", Credential{IdentityToken: "tok"}, "h.example",
			`{"credsStore": "test", "auths": {"h.example": {}}}`},
		{"registries.conf", false, []string{"test", FilesHelper}, `{}`, "h.example", alice(), "h.example", `{}`},
		{"registries.conf, the file", false, []string{FilesHelper, "test"}, `{"auths": {}}`, "h.example", alice(), "", `{"auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"registries.conf, a namespace", false, []string{"test", FilesHelper}, `{"auths": {}}`, "h.example/n", alice(), "",
			`{"auths": {"h.example/n": {"auth": "YWxpY2U6czNjcjN0"}}}`},
		{"registries.conf, docker's format", true, []string{"test"}, `{"auths": {}}`, "h.example", alice(), "", `{"auths": {"h.example": {"auth": "YWxpY2U6czNjcjN0"}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := keeper(t, "test")
			s, path := storeIn(t, tt.file)
			if s.Helpers = tt.helpers; tt.docker {
				inDocker(s)
			}
			at, err := s.Put(t.Context(), tt.key, tt.c)
			if err != nil || (at.Helper == "test") != (tt.kept != "") || (at.File == path) != (tt.kept == "" || at.Helper == "") {
				t.Fatalf("Put() = %+v, %v", at, err)
			}
			if got := strings.ReplaceAll(strings.Join(names(t, dir), " "), "|", "/"); got != tt.kept {
				t.Errorf("the helper keeps %q; want %q", got, tt.kept)
			}
			if got := read(t, path); got != tt.after {
				t.Errorf("the file is\n%s\nwant\n%s", got, tt.after)
			}
			if got, err := s.Find(t.Context(), tt.key); err != nil || got != tt.c {
				t.Errorf("Find() = %q, %v; want %q", plain(got), err, plain(tt.c))
			}
			all, err := s.List(t.Context())
			if err != nil || len(all) != 1 || all[0] != at {
				t.Errorf("List() = %+v, %v; want %+v", all, err, at)
			}
			removed, err := s.Remove(t.Context(), tt.key)
			if err != nil || len(removed) != 1 || removed[0] != at {
				t.Errorf("Remove() = %+v, %v; want %+v", removed, err, at)
			}
			if got, err := s.Find(t.Context(), tt.key); err != nil || !got.IsZero() || len(names(t, dir)) > 0 {
				t.Errorf("after Remove() the helper keeps %q; Find() = %q, %v", names(t, dir), plain(got), err)
			}
			if _, err := s.Remove(t.Context(), tt.key); !errors.Is(err, ErrNotStored) {
				t.Errorf("a second Remove() = %v; want %v", err, ErrNotStored)
			}
		})
	}
}

// A helper program without "list" is asked to erase unseen.
func TestRemoveUnlisted(t *testing.T) {
	dir := keeper(t, "test")
	write(t, filepath.Join(dir, "no-list"), "")
	s, _ := storeIn(t, `{"credHelpers": {"h.example": "test"}}`)
	var warned []string
	s.Warn = func(s string) { warned = append(warned, s) }
	if _, err := s.Put(t.Context(), "h.example", alice()); err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 0 || len(warned) != 1 || !strings.HasSuffix(warned[0], "list is not implemented") {
		t.Errorf("List() = %v, %v with warnings %q", all, err, warned)
	}
	if removed, err := s.Remove(t.Context(), "h.example"); err != nil || len(removed) != 1 {
		t.Errorf("Remove() = %v, %v", removed, err)
	}
	if removed, err := s.Remove(t.Context(), "h.example"); !errors.Is(err, ErrNotStored) || len(removed) != 0 {
		t.Errorf("a second Remove() = %v, %v; want %v", removed, err, ErrNotStored)
	}
}

func TestRemoveAllHelpers(t *testing.T) {
	dir := keeper(t, "test")
	for _, server := range []string{"h.example", "i.example", "j.example"} {
		write(t, filepath.Join(dir, server), `{"Username": "a", "Secret": "b"}`)
	}
	s, path := storeIn(t, `{"credHelpers": {"h.example": "test"}, "auths": {"g.example": {"auth": "Yjox"}, "i.example": {}}, "credsStore": "test"}`)
	removed, err := s.RemoveAll(t.Context())
	var keys []string
	for _, r := range removed {
		keys = append(keys, r.Key+" "+r.Helper)
	}
	// What others keep in the same helper is theirs.
	if want := []string{"g.example ", "i.example test", "h.example test"}; err != nil || !slices.Equal(keys, want) || !slices.Equal(names(t, dir), []string{"j.example"}) {
		t.Errorf("RemoveAll() = %q, %v; the helper has %q; want %q", keys, err, names(t, dir), want)
	}
	if got, want := read(t, path), `{"credHelpers": {"h.example": "test"}, "auths": {}, "credsStore": "test"}`; got != want {
		t.Errorf("the file is %s; want %s", got, want)
	}
	// Those of registries.conf are for nobody else.
	s.Helpers = []string{"test", FilesHelper}
	if removed, err := s.RemoveAll(t.Context()); err != nil || len(removed) != 1 || removed[0].Key != "j.example" {
		t.Errorf("RemoveAll() with helpers = %v, %v; want j.example", removed, err)
	}
	// One that fails does not keep the rest, and is not passed over in silence.
	write(t, path, `{"auths": {"h.example": {"auth": "Yjox"}, "i.example": {}}, "credsStore": "nowhere"}`)
	s.Helpers = nil
	removed, err = s.RemoveAll(t.Context())
	if !errors.Is(err, ErrHelper) || len(removed) != 1 || removed[0].Key != "h.example" {
		t.Errorf("RemoveAll() = %v, %v; want h.example and %v", removed, err, ErrHelper)
	}
}

// The first helper that takes it has it; that one before it did not is worth a
// warning, because the secret is now somewhere else than was wanted.
func TestPutHelpersFail(t *testing.T) {
	helper(t, "broken", "echo cannot unlock the key ring; exit 1")
	s, path := storeIn(t, "{}")
	var warned []string
	s.Warn = func(s string) { warned = append(warned, s) }
	s.Helpers = []string{"broken", "nowhere", FilesHelper}
	if at, err := s.Put(t.Context(), "h.example", alice()); err != nil || at.File != path {
		t.Errorf("Put() = %+v, %v; want the file", at, err)
	}
	want := "credential helper failed: docker-credential-broken: exit status 1: cannot unlock the key ring; " +
		"credential helper failed: docker-credential-nowhere: no such program in $PATH"
	if len(warned) != 1 || warned[0] != want {
		t.Errorf("warnings = %q; want %q", warned, want)
	}
	s.Helpers = []string{"broken", "nowhere"}
	if _, err := s.Put(t.Context(), "h.example", alice()); message(err) != want {
		t.Errorf("Put() = %v; want %s", err, want)
	}
	if _, err := s.Put(t.Context(), "h.example/n", alice()); !errors.Is(err, ErrNamespaced) {
		t.Errorf("Put() of a namespace = %v; want %v", err, ErrNamespaced)
	}
}

// What a helper says when it fails may be what it was told.
func TestPutHelperLeaks(t *testing.T) {
	for _, script := range []string{`echo "cannot store $server"; exit 1`, `echo can not store s3cr3t; exit 1`, `echo "$server"; exit 1`} {
		helper(t, "test", script)
		s, _ := storeIn(t, `{"credHelpers": {"h.example": "test"}}`)
		_, err := s.Put(t.Context(), "h.example", alice())
		if !errors.Is(err, ErrHelper) || strings.Contains(message(err), "s3cr3t") {
			t.Errorf("Put() with %s = %v", script, err)
		}
	}
	helper(t, "test", "exit 0")
	s, _ := storeIn(t, `{"credHelpers": {"h.example": "test"}}`)
	if _, err := s.Put(t.Context(), "h.example", Credential{Username: "a", Password: "\xff"}); !errors.Is(err, ErrCredential) {
		t.Errorf("Put() of what JSON can not hold = %v; want %v", err, ErrCredential)
	}
}

// That of macOS lists what it was told as "h.example" as "https://h.example".
func TestRemoveListedAsURL(t *testing.T) {
	const listed = "https://h.example:5000"
	helper(t, "test", `case "$1" in
list) echo '{"`+listed+`": "alice", "https://h.example": "bob", "https://h.example:5000/n": "carol"}' ;;
erase) test "$server" = "`+listed+`" || { echo not that one; exit 1; } ;;
esac`)
	s, _ := storeIn(t, `{"credHelpers": {"h.example:5000": "test"}}`)
	want := Stored{Key: listed, Helper: "test"}
	if removed, err := s.Remove(t.Context(), "h.example:5000"); err != nil || len(removed) != 1 || removed[0] != want {
		t.Errorf("Remove() = %+v, %v; want %+v", removed, err, want)
	}
}

// Docker leaves its mark for what credHelpers has, too: that is one credential,
// and the program of credsStore knows nothing of it.
func TestListMarkOfHelper(t *testing.T) {
	keeper(t, "test")
	s, _ := storeIn(t, `{"credHelpers": {"h.example": "test"}, "credsStore": "nowhere"}`)
	inDocker(s)
	at, err := s.Put(t.Context(), "h.example", alice())
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 1 || all[0] != at {
		t.Errorf("List() = %+v, %v; want %+v", all, err, at)
	}
	if removed, err := s.RemoveAll(t.Context()); err != nil || len(removed) != 1 || removed[0] != at {
		t.Errorf("RemoveAll() = %+v, %v; want %+v", removed, err, at)
	}
}

// What is said to be removed is: also if only a part could be.
func TestRemoveFails(t *testing.T) {
	keeper(t, "test")
	s, path := storeIn(t, `{"credHelpers": {"h.example": "test"}}`)
	at, err := s.Put(t.Context(), "h.example", alice())
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, `{"credHelpers": {"h.example": "test"}, "auths": {"h.example": {"auth": "Yjox"}}}`)
	s.step = func(string, string) error { return syscall.ENOSPC }
	removed, err := s.Remove(t.Context(), "h.example")
	if !errors.Is(err, syscall.ENOSPC) || len(removed) != 1 || removed[0] != at {
		t.Errorf("Remove() = %+v, %v; want %+v and %v", removed, err, at, syscall.ENOSPC)
	}
}
