package conf

import (
	"fmt"
	"testing"
)

// show writes what Find returns on one line.
func (m *machine) show(l *Lookasides, name string) string {
	m.Helper()
	got, err := l.Find(ref(m.T, name))
	if err != nil {
		return m.strip(err.Error())
	}
	return m.strip(fmt.Sprintf("%s %s %v", got.Read, got.Write, got.Attachments))
}

// Each field is searched for by itself, from the whole name up to the default.
func TestLookasides(t *testing.T) {
	const dir = "/etc/containers/registries.d"
	m := newMachine(t, "0",
		dir+"/default.yaml", "default-docker:\n  lookaside-staging: file:///staging\n",
		dir+"/a.yaml", `
docker:
  a.example:
    lookaside: https://a.example/sigs
    use-sigstore-attachments: true
  a.example/n:
    lookaside-staging: file:///n
  a.example/n/r:
    use-sigstore-attachments: no
  a.example/n/r:t:
    lookaside: http://localhost:4242/t
`,
		dir+"/b.yaml", `
docker:
  "*.b.example":
    sigstore: https://old.example
    sigstore-staging: file:///old
  x.b.example:5000:
    sigstore: https://port.example
    lookaside: https://new.example
    other: 1
  docker.io/library/busybox: {lookaside: "file:///hub"}
  bad.example: {lookaside: "ftp://user:secret@bad.example"}
  host.example:

    lookaside: https://
  path.example: {lookaside-staging: file://x}
  null.example:
other: [1]
`,
		dir+"/ignored.yml", "docker: 1", dir+"/c.yaml", "", dir+"/d.yaml", "default-docker:\n#  lookaside: file:///x\n")
	l, err := m.Lookasides("")
	if err != nil {
		t.Fatal(err)
	}
	const initial = "file:///var/lib/containers/sigstore"
	for _, tt := range []struct{ name, want string }{
		{"none.example/x:t", initial + " file:///staging false"},
		{"null.example/x:t", initial + " file:///staging false"},
		// One scope that says where to read and not where to write is asked
		// for both.
		{"a.example/x:t", "https://a.example/sigs https://a.example/sigs true"},
		{"a.example/n/x:t", "https://a.example/sigs file:///n true"},
		{"a.example/n/r:u", "https://a.example/sigs file:///n false"},
		{"a.example/n/r", "https://a.example/sigs file:///n false"},
		{"a.example/n/r:t", "http://localhost:4242/t http://localhost:4242/t false"},
		{"a.example/n/r@" + someDigest, "https://a.example/sigs file:///n false"},
		{"a.example:443/n/r:t", initial + " file:///staging false"}, // a port makes another host
		{"x.b.example/y:t", "https://old.example file:///old false"},
		{"x.y.b.example:80/y:t", "https://old.example file:///old false"},
		{"b.example/y:t", initial + " file:///staging false"},
		{"x.b.example:5000/y:t", "https://new.example https://new.example false"},
		{"busybox:1", "file:///hub file:///hub false"},
		// The URL may hold a password.
		{"bad.example/x", `configuration file "` + dir + `/b.yaml", line 11: not a URL with file, http or https, and a path or host`},
		{"host.example/x", `configuration file "` + dir + `/b.yaml", line 14: not a URL with file, http or https, and a path or host`},
		{"path.example/x", `configuration file "` + dir + `/b.yaml", line 15: not a URL with file, http or https, and a path or host`},
	} {
		if got := m.show(l, tt.name); got != tt.want {
			t.Errorf("Find(%s) = %s; want %s", tt.name, got, tt.want)
		}
	}
	want := []string{
		`configuration file "/etc/containers/registries.d/b.yaml", line 9: unknown key "other"`,
		`configuration file "/etc/containers/registries.d/b.yaml", line 17: unknown key "other"`,
	}
	for i, s := range m.debug {
		m.debug[i] = m.strip(s)
	}
	if fmt.Sprint(m.debug) != fmt.Sprint(want) {
		t.Errorf("debug: %q; want %q", m.debug, want)
	}
}

// Which directory is read; a user's own one ends the search.
func TestLookasidesDir(t *testing.T) {
	const user, etc = "/home/u/.config/containers/registries.d", "/etc/containers/registries.d"
	file := func(url string) string { return "default-docker: {lookaside: 'file:///" + url + "'}" }
	m := newMachine(t, "1000", etc+"/a.yaml", file("etc"), "/named/a.yaml", file("named"), "/file", "")
	check := func(dir, want string) {
		t.Helper()
		l, err := m.Lookasides(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.show(l, "a.example/x"); got != want+" "+want+" false" {
			t.Errorf("directory %q: %s; want %s", dir, got, want)
		}
	}
	check("", "file:///etc")
	check(m.path("/named"), "file:///named")
	const initial = "file:///home/u/.local/share/containers/sigstore"
	check(m.path("/none"), initial)
	check(m.path("/file"), initial)
	m.write(user+"/b.yaml", "")
	check("", initial)
	m.uid = "0"
	check("", "file:///var/lib/containers/sigstore")

	var none *Lookasides
	if got, err := none.Find(ref(t, "a.example/x")); err != nil || got != (Lookaside{}) {
		t.Errorf("nil Lookasides: %+v, %v; want nothing", got, err)
	}
}

// Two files that say something of one scope are a conflict even if they agree:
// who reads one of them must not be wrong about what holds.
func TestLookasidesErrors(t *testing.T) {
	tests := []struct{ name, a, b, want string }{
		{"scope twice", "docker:\n  a.example: {}", "docker:\n\n  a.example: {lookaside: 'file:///x'}", `"/d/b.yaml", line 3: scope "a.example" is defined in "/d/a.yaml", line 2, too`},
		{"default twice", "\ndefault-docker: {}", "default-docker: {}", `"/d/b.yaml", line 1: default-docker is defined in "/d/a.yaml", line 2, too`},
		{"twice in one file", "docker:\n  a: {}\n  a: {}", "", `"/d/a.yaml", line 3: key "a" is there twice`},
		{"empty scope", "docker:\n  '': {}", "", `"/d/a.yaml", line 2: a scope is empty`},
		{"docker", "docker: x", "", `"/d/a.yaml", line 1: docker must be a mapping`},
		{"scope", "docker:\n  a: x", "", `"/d/a.yaml", line 2: scope "a" must be a mapping`},
		{"default", "default-docker:\n- x", "", `"/d/a.yaml", line 2: default-docker must be a mapping`},
		{"lookaside", "docker:\n  a:\n    lookaside: {}", "", `"/d/a.yaml", line 3: lookaside must be a string`},
		{"attachments", "docker:\n  a:\n    use-sigstore-attachments: maybe", "", `"/d/a.yaml", line 3: use-sigstore-attachments must be true or false`},
		{"attachments in quotes", "docker:\n  a:\n    use-sigstore-attachments: 'true'", "", `"/d/a.yaml", line 3: use-sigstore-attachments must be true or false`},
		{"syntax", "", "docker:\n\ta: b", `"/d/b.yaml", line 2: found character that cannot start any token`},
		{"second document", "docker:\n---\ndocker: {}", "", `"/d/a.yaml", line 3: a second document`},
	}
	for _, tt := range tests {
		m := newMachine(t, "0", "/d/a.yaml", tt.a, "/d/b.yaml", tt.b)
		_, err := m.Lookasides(m.path("/d"))
		if err == nil || m.strip(err.Error()) != "configuration file "+tt.want {
			t.Errorf("%s: %v; want %s", tt.name, err, tt.want)
		}
	}
	m := newMachine(t, "0", "/d/x.yaml/y", "")
	_, err := m.Lookasides(m.path("/d"))
	if want := "reading registries.d: read /d/x.yaml: not a regular file"; err == nil || m.strip(err.Error()) != want {
		t.Errorf("directory in place of a file: %v; want %s", err, want)
	}
}
