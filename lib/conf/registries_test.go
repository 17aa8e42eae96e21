package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The texts are those that people search for, and some that scripts do; the
// line is what spares them the search in the file.
func TestParseRegistriesErrors(t *testing.T) {
	tests := []struct {
		name, file string
		line       int // 0: no error
		want       string
	}{
		{"nothing", "", 0, ""},
		{"comments", "# [[registry]\n", 0, ""},
		{"syntax", "a = 1\n\n[[registry]\nlocation = 'x'\n", 3, `expected end of table array name delimiter ']', but got '\n' instead`},
		{"key twice", "[[registry]]\nlocation='a'\nlocation='b'\n", 3, "Key 'registry.location' has already been defined."},
		{"key twice by case", "[[registry]]\nlocation='a'\nLocation='b'\n", 3, "location is there twice, in different case"},
		{"not UTF-8", "\n# \xff", 2, "not UTF-8"},
		{"UTF-16", "\xff\xfea\x00", 1, "not UTF-8"},
		{"control character", "\n\n# \x1b[2J", 3, "control character U+001B"},
		{"nesting", "\na = " + strings.Repeat("[", 1<<19), 2, "values are nested too deep"},
		{"long message", "\n'" + strings.Repeat("k", 250) + "'=1\n'" + strings.Repeat("k", 250) + "'=1\n", 3, "Key '" + strings.Repeat("k", 115) + "..."},

		{"v1", "[registries.search]\nregistries = ['a.example']\n", 1, "registries.conf must be in v2 format but is in v1"},
		{"v1 insecure", "\n[registries]\n[registries.insecure]\nregistries = ['a.example']\n", 3, "registries.conf must be in v2 format but is in v1"},
		{"v1 block", "[registries]\n\nblock = {registries = ['a.example']}\n", 3, "registries.conf must be in v2 format but is in v1"},
		{"v1 and v2", "[[registry]]\nlocation='a'\n[registries.search]\nregistries = ['a.example']\n", 3, "registries.conf must be in v2 format but is in v1"},
		{"v1 that says nothing", "[registries.search]\nregistries = []\n", 0, ""},

		{"neither", "[[registry]]\nlocation='a.example'\n[[registry]]\nblocked=true\n", 3, "invalid condition: both location and prefix are unset"},
		{"only a slash", "[[registry]]\nlocation='/'\n", 1, "invalid condition: both location and prefix are unset"},
		{"no location", "\n[[registry]]\nprefix='a.example'\n", 2, "invalid condition: location is unset and prefix is not in the format: *.example.com"},
		{"no location, wildcard", "[[registry]]\nprefix='*.a.example'\n", 0, ""},
		{"scheme", "[[registry]]\nblocked=true\nlocation = 'https://a.example/'\n", 3, "invalid location 'https://a.example/': URI schemes are not supported"},
		{"scheme of prefix", "[[registry]]\nlocation='b'\nprefix = 'http://a.example'\n", 3, "invalid location 'http://a.example': URI schemes are not supported"},
		{"wildcard, path", "[[registry]]\nlocation='b'\nprefix='*.a.example/x'\n", 3, `prefix "*.a.example/x" with a wildcard is not in the format: *.example.com`},
		{"wildcard, port", "[[registry]]\nprefix='*.a.example:50'\n", 2, `prefix "*.a.example:50" with a wildcard is not in the format: *.example.com`},
		{"wildcard, digest", "[[registry]]\nprefix='*.a.example@sha256'\n", 2, `prefix "*.a.example@sha256" with a wildcard is not in the format: *.example.com`},
		{"pull-from-mirror", "[[registry]]\nlocation='a.example'\npull-from-mirror='all'\n", 3, `pull-from-mirror must not be set for a non-mirror registry "a.example"`},
		{"type", "[[registry]]\nlocation='a.example'\ninsecure='yes'\n", 3, "insecure must be true or false"},
		{"type of location", "[[registry]]\n\nlocation=5\n", 3, "location must be a string"},
		{"table, no array", "[registry]\nlocation='a'\n", 1, "registry must be an array of tables"},
		{"array of others", "registry = [{location='a'}, 5]\n", 1, "registry must be an array of tables"},
		{"inline", "registry = [\n{location='a.example'},\n{prefix='b.example'}]\n", 1, "invalid condition: location is unset and prefix is not in the format: *.example.com"},

		{"mirror", "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\n[[registry.mirror]]\ninsecure=true\n", 5, "invalid condition: mirror location is unset"},
		{"mirror, scheme", "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='oci://b'\n", 4, "invalid location 'oci://b': URI schemes are not supported"},
		{"mirror, pull", "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='never'\n", 5, `unsupported pull-from-mirror value "never" for mirror "b"`},
		{"mirror, both", "[[registry]]\nlocation='a'\nmirror-by-digest-only=true\n[[registry.mirror]]\npull-from-mirror='all'\nlocation='b'\n", 5,
			`cannot set mirror usage mirror-by-digest-only for the registry ("a") and pull-from-mirror for per-mirror ("b") at the same time`},
		{"mirror of the second", "[[registry]]\nlocation='a'\n[[registry]]\nlocation='b'\n[[registry.mirror]]\nlocation='c'\ninsecure=1\n", 7, "insecure must be true or false"},

		{"conflict", "[[registry]]\nlocation='a'\ninsecure=true\n[[registry]]\nprefix='b'\nlocation='a'\n", 4, "registry 'a' is defined multiple times with conflicting 'insecure' setting"},
		{"conflict, blocked", "[[registry]]\nlocation='a'\n[[registry]]\nprefix='b'\nlocation='a/'\nblocked=true\n", 6, "registry 'a' is defined multiple times with conflicting 'blocked' setting"},
		{"conflict of wildcards", "[[registry]]\nprefix='*.a'\n[[registry]]\nprefix='*.a'\ninsecure=true\n", 5, "registry '*.a' is defined multiple times with conflicting 'insecure' setting"},
		{"no conflict", "[[registry]]\nprefix='*.a'\n[[registry]]\nprefix='*.b'\ninsecure=true\n", 0, ""},

		{"search", "unqualified-search-registries = ['a.example', 'localhost:5000', 'B', '127.0.0.1/']\n", 0, ""},
		{"search, blank", "\nunqualified-search-registries = [\n'a b']\n", 2, `Invalid unqualified-search-registries entry "a b"`},
		{"search, path", "unqualified-search-registries = ['a.example/b']\n", 1, `Invalid unqualified-search-registries entry "a.example/b"`},
		{"search, empty", "unqualified-search-registries = ['']\n", 1, `Invalid unqualified-search-registries entry ""`},
		{"search, scheme", "unqualified-search-registries = ['https://a.example']\n", 1, "invalid location 'https://a.example': URI schemes are not supported"},
		{"search, type", "unqualified-search-registries = 'a.example'\n", 1, "unqualified-search-registries must be an array of strings"},
		{"mode", "short-name-mode = 'enforcing'\n", 0, ""},
		{"mode, bad", "\n\nshort-name-mode = 'on'\n", 3, `invalid short-name mode: "on"`},
		{"aliases", "[aliases]\na = 'b.example/c'\n'x/y' = 'localhost/z'\ngone = ''\n", 0, ""},
		{"alias without registry", "[aliases]\na='b.example/c'\nx = 'b/c'\n", 3, `alias "x" stands for "b/c", which is not a name with registry and without tag and digest`},
		{"alias with tag", "[aliases]\na = 'b.example/c:t'\n", 2, `alias "a" stands for "b.example/c:t", which is not a name with registry and without tag and digest`},
		{"alias of a tag", "[aliases]\n'a:t' = 'b.example/c'\n", 2, `alias "a:t" is not a name without registry, tag and digest`},
		{"alias of a full name", "[aliases]\n\n'a.example/b' = 'b.example/c'\n", 3, `alias "a.example/b" is not a name without registry, tag and digest`},
		{"alias of no name", "[aliases]\nA = 'b.example/c'\n", 2, `alias "A" is not a name without registry, tag and digest`},
		{"alias, type", "[aliases]\na = 1\n", 2, `alias "a" must be a string`},
		{"aliases, type", "\naliases = 1\n", 2, "aliases must be a table"},
		{"helpers, type", "credential-helpers = ['a', 5]\n", 1, "credential-helpers must be an array of strings"},
		{"layer store", "additional-layer-store-auth-helper = 5\n", 1, "additional-layer-store-auth-helper must be a string"},
	}
	for _, tt := range tests {
		_, err := parseRegistries("/r.conf", []byte(tt.file), func(string, ...any) {})
		checkError(t, tt.name, err, tt.line, tt.want)
	}
}

// What may be a slip is told to those who look for one.
func TestParseRegistriesDebug(t *testing.T) {
	m := newMachine(t, "0", "/etc/containers/registries.conf", `
unqualified-search-registry = "a.example"
additional-layer-store-auth-helper = "/bin/x"
[[registry]]
location = "a.example"
insecuer = true
[[registry.mirror]]
location = "b.example"
blocked = true
[[registry]]
LOCATION = "a.example"
blocked = false
`)
	if _, err := m.Registries(""); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`line 6: unknown key "insecuer"`,
		`line 9: unknown key "blocked"`,
		`line 10: prefix "a.example" was there before, passed over`,
		`line 3: additional-layer-store-auth-helper is not run`,
		`line 2: unknown key "unqualified-search-registry"`,
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(m.debug))
	for i, s := range got {
		got[i] = strings.TrimPrefix(m.strip(s), `configuration file "/etc/containers/registries.conf", `)
	}
	if !slices.Equal(got, want) {
		t.Errorf("debug: %q; want %q", got, want)
	}
}

// pull writes what Pull returns on one line.
func pull(t *testing.T, r *Registries, name string) string {
	t.Helper()
	endpoints, err := r.Pull(ref(t, name))
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, e := range endpoints {
		s := e.Ref.String()
		if e.Mirror {
			s = "mirror " + s
		}
		if e.Insecure {
			s += " insecure"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func push(t *testing.T, r *Registries, name string) string {
	t.Helper()
	e, err := r.Push(ref(t, name))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(e.Ref, map[bool]string{true: " insecure"}[e.Insecure])
}

func TestPullPush(t *testing.T) {
	m := newMachine(t, "0")
	r, err := m.Registries("testdata/mirrors.conf")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, pull, push string }{
		{"none.example/a:t", "none.example/a:t", "none.example/a:t"},

		// A mirror of all, in order, then the place itself.
		{"busybox:1", "mirror m1.example/hub/library/busybox:1, mirror m2.example:5000/library/busybox:1 insecure, docker.io/library/busybox:1", "docker.io/library/busybox:1"},
		{"busybox", "mirror m1.example/hub/library/busybox, mirror m2.example:5000/library/busybox insecure, docker.io/library/busybox", "docker.io/library/busybox"},

		// The location of a prefix is for reading only; insecure is for both.
		{"moved.example/old/app:t", "new.example/app/app:t insecure", "moved.example/old/app:t insecure"},
		{"moved.example/old", "new.example/app insecure", "moved.example/old insecure"},
		{"moved.example/older/app:t", "moved.example/older/app:t", "moved.example/older/app:t"},
		// The longest prefix, down to one tag.
		{"moved.example/old/deep/app:t", "moved.example/old/deep/app:t", "moved.example/old/deep/app:t"},
		{"moved.example/old/app:bad", "registry moved.example/old/app:bad is blocked in testdata/mirrors.conf, line 24", "registry moved.example/old/app:bad is blocked in testdata/mirrors.conf, line 24"},
		{"moved.example/old/app:bader", "new.example/app/app:bader insecure", "moved.example/old/app:bader insecure"},

		// Mirrors for digests, for tags, for both.
		{"digest.example/a:t", "digest.example/a:t", "digest.example/a:t"},
		{"digest.example/a@" + someDigest, "mirror m.example/d/a@" + someDigest + ", digest.example/a@" + someDigest, "digest.example/a@" + someDigest},
		{"each.example/a:t", "mirror all.example/a:t, mirror tag.example/a:t, each.example/a:t", "each.example/a:t"},
		{"each.example/a@" + someDigest, "mirror all.example/a@" + someDigest + ", mirror dig.example/a@" + someDigest + ", each.example/a@" + someDigest, "each.example/a@" + someDigest},
		{"each.example/a", "mirror all.example/a, mirror tag.example/a, each.example/a", "each.example/a"}, // a list of tags

		// A wildcard stands for any depth, but not for the domain itself, nor
		// for another one with the same end.
		{"a.wild.example/x:t", "a.wild.example/x:t insecure", "a.wild.example/x:t insecure"},
		{"a.b.wild.example:5000/x:t", "a.b.wild.example:5000/x:t insecure", "a.b.wild.example:5000/x:t insecure"},
		{"a.wild.example.wild.example/x:t", "a.wild.example.wild.example/x:t insecure", "a.wild.example.wild.example/x:t insecure"},
		{"wild.example/x:t", "wild.example/x:t", "wild.example/x:t"},
		{"awild.example/x:t", "awild.example/x:t", "awild.example/x:t"},
		{"a.wild.example.com/x:t", "a.wild.example.com/x:t", "a.wild.example.com/x:t"},
		{"other.example/a.wild.example:t", "other.example/a.wild.example:t", "other.example/a.wild.example:t"},
		{"a.place.example/x:t", "mirror m.example/w/x:t, fixed.example/y/x:t", "a.place.example/x:t"},
		// As long as a wildcard, but the very name.
		{"s.wild.example/x:t", "s.wild.example/x:t", "s.wild.example/x:t"},
		{"a.deep.wild.example/x:t", "a.deep.wild.example/x:t", "a.deep.wild.example/x:t"},

		// A prefix goes on with a separator, and a port has one.
		{"port.example:5000/x:t", "port.example:5000/x:t insecure", "port.example:5000/x:t insecure"},
		{"port.example2/x:t", "port.example2/x:t", "port.example2/x:t"},

		// Blocked, but for its mirrors: how one keeps away from an origin.
		{"blocked.example/x:t", "registry blocked.example is blocked in testdata/mirrors.conf, line 67", "registry blocked.example is blocked in testdata/mirrors.conf, line 67"},
		{"origin.example/x:t", "mirror m.example/o/x:t", "registry origin.example is blocked in testdata/mirrors.conf, line 71"},
		{"away.example/x:t", "registry away.example is blocked in testdata/mirrors.conf, line 77", "registry away.example is blocked in testdata/mirrors.conf, line 77"},
		// What is blocked is not reached by another name either.
		{"byway.example/x:t", "registry blocked.example is blocked in testdata/mirrors.conf, line 67", "byway.example/x:t"},
		{"half.example/x:t", "half.example/x:t", "half.example/x:t"},

		// Names that a location would make into none.
		{"bad.example/x:t", `configuration file "testdata/mirrors.conf", line 92: rewriting reference bad.example/x:t to "docker.io/x:t": repository name must be canonical`, "bad.example/x:t"},
		{"upper.example/x:t", `configuration file "testdata/mirrors.conf", line 99: rewriting reference upper.example/x:t to "M/x:t": invalid reference format: repository name must be lowercase`, "upper.example/x:t"},
	}
	for _, tt := range tests {
		if got := pull(t, r, tt.name); got != tt.pull {
			t.Errorf("Pull(%s) = %s; want %s", tt.name, got, tt.pull)
		}
		if got := push(t, r, tt.name); got != tt.push {
			t.Errorf("Push(%s) = %s; want %s", tt.name, got, tt.push)
		}
	}
	if _, err := r.Pull(ref(t, "blocked.example/x")); !errors.Is(err, ErrBlocked) || errors.Is(err, ErrMalformed) {
		t.Errorf("Pull of what is blocked = %v; want an ErrBlocked", err)
	}
	if _, err := r.Push(ref(t, "blocked.example/x")); !errors.Is(err, ErrBlocked) {
		t.Errorf("Push of what is blocked = %v; want an ErrBlocked", err)
	}
	if _, err := r.Pull(ref(t, "bad.example/x")); !errors.Is(err, ErrMalformed) {
		t.Errorf("Pull of a name that becomes none = %v; want an ErrMalformed", err)
	}
}

// A destination whose digest is not known yet matches as its repository does,
// and stays what it is.
func TestPushUnknown(t *testing.T) {
	r, err := newMachine(t, "0").Registries("testdata/mirrors.conf")
	if err != nil {
		t.Fatal(err)
	}
	to := ref(t, "port.example/a")
	to.Unknown = true
	if e, err := r.Push(to); err != nil || e.Ref != to || !e.Insecure {
		t.Errorf("Push(%v) = %+v, %v; want it, insecure", to, e, err)
	}
	to = ref(t, "moved.example/old/a")
	to.Unknown = true
	if es, err := r.Pull(to); err != nil || len(es) != 1 || es[0].Ref.String() != "new.example/app/a@@unknown-digest@@" {
		t.Errorf("Pull(%v) = %+v, %v; want new.example/app/a@@unknown-digest@@", to, es, err)
	}
}

// Code that was given no configuration works as if there was none.
func TestNilRegistries(t *testing.T) {
	var r *Registries
	if got := pull(t, r, "a.example/b:c") + " " + push(t, r, "a.example/b:c") + fmt.Sprint(r.CredentialHelpers()); got != "a.example/b:c a.example/b:c[containers-auth.json]" {
		t.Errorf("nil Registries: %s", got)
	}
}

// The example of containers-registries.conf(5), in our words: its three steps
// are what people know the file by.
func TestManualExample(t *testing.T) {
	r, err := newMachine(t, "0").Registries("testdata/manual.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, want string }{
		{"example.com/foo/image:latest", "mirror example-mirror-0.local/mirror-for-foo/image:latest, " +
			"mirror example-mirror-1.local/mirrors/foo/image:latest insecure, internal-registry-for-example.com/bar/image:latest"},
		{"registry.com/image:latest", "mirror mirror.registry.com/image:latest, registry.com/image:latest"},
		{"example.com/bar/image:latest", "example.com/bar/image:latest"},
	} {
		if got := pull(t, r, tt.name); got != tt.want {
			t.Errorf("Pull(%s) = %s; want %s", tt.name, got, tt.want)
		}
	}
}

// What distributions install says nothing but aliases and a search list, with
// all else in comments. It must be read without a complaint.
func TestDistribution(t *testing.T) {
	m := newMachine(t, "0")
	for _, file := range []string{"testdata/distribution.conf", "testdata/shortnames.conf"} {
		r, err := m.Registries(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := pull(t, r, "alpine:3"); got != "docker.io/library/alpine:3" || len(m.debug) > 0 {
			t.Errorf("%s: Pull(alpine:3) = %s, debug %q; want no difference", file, got, m.debug)
		}
	}
}
