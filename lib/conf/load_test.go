package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// helper is a file that says which file was read.
func helper(names ...string) string {
	return fmt.Sprintf("credential-helpers = [%s]\n", `"`+strings.Join(names, `", "`)+`"`)
}

// Which main file is read, of all that may be there.
func TestMainFile(t *testing.T) {
	const name = "/containers/registries.conf"
	all := []string{"/home/u/.config" + name, helper("home"), "/xdg" + name, helper("xdg"), "/etc" + name, helper("etc"),
		"/usr/share" + name, helper("usr"), "/named", helper("named"), "/env", helper("env")}
	tests := []struct {
		name   string
		remove []string
		xdg    string
		env    string
		named  string
		want   string
	}{
		{"home", nil, "", "", "", "home"},
		{"XDG_CONFIG_HOME", nil, "/xdg", "", "", "xdg"},
		{"XDG_CONFIG_HOME without the file", []string{"/xdg"}, "/xdg", "", "", "etc"}, // not ~/.config
		{"etc", []string{"/home"}, "", "", "", "etc"},
		{"usr", []string{"/home", "/etc"}, "", "", "", "usr"},
		{"none", []string{"/home", "/etc", "/usr"}, "", "", "", "containers-auth.json"},
		{"variable", nil, "", "/env", "", "env"},
		{"named", nil, "", "", "/named", "named"},
		{"named and variable", nil, "", "/env", "/named", "named"},
	}
	for _, tt := range tests {
		m := newMachine(t, "1000", all...)
		for _, dir := range tt.remove {
			if err := os.RemoveAll(m.path(dir)); err != nil {
				t.Fatal(err)
			}
		}
		if tt.xdg != "" {
			m.env["XDG_CONFIG_HOME"] = m.path(tt.xdg)
		}
		if tt.env != "" {
			m.env["CONTAINERS_REGISTRIES_CONF"] = m.path(tt.env)
		}
		named := ""
		if tt.named != "" {
			named = m.path(tt.named)
		}
		r, err := m.Registries(named)
		if err != nil || strings.Join(r.CredentialHelpers(), " ") != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.name, r.CredentialHelpers(), err, tt.want)
		}
	}
}

// Each directory holds a file of its own, and one under a name of each directory
// before it. The first directory with a name has the file that is read.
func TestDropIns(t *testing.T) {
	dirs := []string{
		"/home/u/.config/containers/registries.conf.d",
		"/etc/containers/registries.rootless.conf.d/1000",
		"/etc/containers/registries.rootless.conf.d",
		"/etc/containers/registries.rootful.conf.d",
		"/etc/containers/registries.conf.d",
		"/usr/share/containers/registries.rootless.conf.d/1000",
		"/usr/share/containers/registries.rootless.conf.d",
		"/usr/share/containers/registries.rootful.conf.d",
		"/usr/share/containers/registries.conf.d",
	}
	var files []string // path, content, ...
	for i, dir := range dirs {
		files = append(files, fmt.Sprintf("%s/%d.conf", dir, i), "", dir+"/other.yaml", "")
		for j := range i + 1 {
			files = append(files, fmt.Sprintf("%s/1%d.conf", dir, j), "")
		}
	}
	for _, uid := range []string{"0", "1000", "1001"} {
		m := newMachine(t, uid, files...)
		mine := slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool {
			return strings.Contains(dir, "rootful") == (uid != "0") && strings.Contains(dir, "root") ||
				strings.Contains(dir, "/1000") && uid != "1000"
		})
		var want []string
		for _, n := range []int{0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 2, 3, 4, 5, 6, 7, 8} { // as names sort
			for _, dir := range mine {
				name := fmt.Sprintf("%s/%d.conf", dir, n)
				if slices.Contains(files, name) {
					want = append(want, name)
					break
				}
			}
		}
		got, err := m.dropIns()
		for i := range got {
			got[i] = m.strip(got[i])
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("drop-ins of user %s: %v, %v; want %v", uid, got, err, want)
		}
	}
}

// The main file, then the drop-ins by name, then the override.
func TestMerge(t *testing.T) {
	const etc = "/etc/containers/registries.conf"
	m := newMachine(t, "0",
		etc, helper("main")+`
[[registry]]
location = "a.example"
insecure = true
[[registry.mirror]]
location = "m.example"
[[registry]]
location = "b.example"
insecure = true
`,
		"/etc/containers/registries.conf.d/20.conf", `
[[registry]]
location = "a.example"
[[registry]]
location = "c.example"
blocked = true
`,
		"/usr/share/containers/registries.conf.d/10.conf", helper("ten")+`
[[registry]]
location = "a.example"
blocked = true
`,
		"/override", helper()+`
[[registry]]
location = "c.example"
`)
	check := func(name, named, helpers string, want ...string) {
		t.Helper()
		r, err := m.Registries(named)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, host := range []string{"a", "b", "c"} {
			got = append(got, m.strip(pull(t, r, host+".example/x")))
		}
		if !slices.Equal(got, want) || strings.Join(r.CredentialHelpers(), " ") != helpers {
			t.Errorf("%s: %q, %v; want %q, %s", name, got, r.CredentialHelpers(), want, helpers)
		}
	}
	const blockedC = "registry c.example is blocked in /etc/containers/registries.conf.d/20.conf, line 4"
	// A table is replaced whole: the one of 20.conf has no mirror.
	check("all", "", "ten", "a.example/x", "b.example/x insecure", blockedC)
	// Drop-ins are also read over a file that is named ...
	m.write("/named", helper("named"))
	check("named", m.path("/named"), "ten", "a.example/x", "b.example/x", blockedC)
	// ... but not over that of the variable.
	m.env["CONTAINERS_REGISTRIES_CONF"] = m.path(etc)
	check("variable", "", "main", "mirror m.example/x, a.example/x insecure", "b.example/x insecure", "c.example/x")
	m.env["CONTAINERS_REGISTRIES_CONF"] = os.DevNull
	check("no file", "", "containers-auth.json", "a.example/x", "b.example/x", "c.example/x")
	m.env["CONTAINERS_REGISTRIES_CONF"] = ""
	// An empty array counts: it brings back the default.
	m.write("/override", "credential-helpers = []\n[[registry]]\nlocation='c.example'\n")
	m.env["CONTAINERS_REGISTRIES_CONF_OVERRIDE"] = m.path("/override")
	check("override", "", "containers-auth.json", "a.example/x", "b.example/x insecure", "c.example/x")
}

// Links are how configuration gets into containers; what is no file is no
// drop-in, and must not hang.
func TestDropInKinds(t *testing.T) {
	const dir = "/etc/containers/registries.conf.d"
	m := newMachine(t, "0", "/data/linked", helper("linked"), dir+"/00.conf", helper("first"), dir+"/directory.conf/x", "")
	m.symlink(m.path("/data/linked"), dir+"/50.conf")
	m.symlink("nowhere", dir+"/60.conf")
	if err := syscall.Mkfifo(m.path(dir+"/70.conf"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := m.Registries("")
	if err != nil || fmt.Sprint(r.CredentialHelpers()) != "[linked]" {
		t.Errorf("Registries = %v, %v; want [linked]", r, err)
	}
	want := []string{"60.conf", "70.conf", "directory.conf"}
	for i, s := range want {
		want[i] = fmt.Sprintf("configuration file %q: not a regular file, passed over", dir+"/"+s)
	}
	for i, s := range m.debug {
		m.debug[i] = m.strip(s)
	}
	if !slices.Equal(m.debug, want) {
		t.Errorf("debug: %q; want %q", m.debug, want)
	}
}

// What was asked for by name must be there, and the error says which file it
// is about.
func TestLoadErrors(t *testing.T) {
	const dir = "/etc/containers/registries.conf.d"
	m := newMachine(t, "0", "/bad", "\n[[registry]]\n")
	check := func(name, named, want string, is error) {
		t.Helper()
		_, err := m.Registries(named)
		if err == nil || m.strip(err.Error()) != want || !errors.Is(err, is) {
			t.Errorf("%s: %v; want %s", name, err, want)
		}
	}
	check("named", m.path("/none"), "reading registries.conf: open /none: no such file or directory", fs.ErrNotExist)
	check("bad", m.path("/bad"), `configuration file "/bad", line 2: invalid condition: both location and prefix are unset`, ErrMalformed)
	m.env["CONTAINERS_REGISTRIES_CONF"] = m.path("/none")
	check("variable", "", "reading registries.conf: open /none: no such file or directory", fs.ErrNotExist)
	m.env["CONTAINERS_REGISTRIES_CONF"] = ""
	m.env["CONTAINERS_REGISTRIES_CONF_OVERRIDE"] = m.path("/none")
	check("override", "", "reading registries.conf: open /none: no such file or directory", fs.ErrNotExist)
	m.env["CONTAINERS_REGISTRIES_CONF_OVERRIDE"] = ""
	m.write(dir+"/9.conf", "short-name-mode = 'x'")
	check("drop-in", "", `configuration file "/etc/containers/registries.conf.d/9.conf", line 1: invalid short-name mode: "x"`, ErrMalformed)
	for i := range maxFiles + 1 {
		m.write(fmt.Sprintf("%s/%d.conf", dir, i), "")
	}
	_, err := m.Registries("")
	if want := "reading drop-ins of registries.conf: read " + dir + ": more than 1000 files named *.conf"; err == nil || m.strip(err.Error()) != want {
		t.Errorf("many drop-ins: %v; want %s", err, want)
	}
}
