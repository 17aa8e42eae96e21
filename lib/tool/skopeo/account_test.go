package skopeo

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// secret is alice's password, which must be nowhere but in the auth file.
const secret = "open-sesame"

// stored is an auth file with credentials for a key.
func stored(key, user, password string) string {
	pair := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return fmt.Sprintf("{\n\t\"auths\": {\n\t\t%q: {\n\t\t\t\"auth\": %q\n\t\t}\n\t}\n}", key, pair)
}

// guarded is a registry that knows alice.
func guarded(t *testing.T, scheme registrytest.AuthScheme) *registrytest.Server {
	t.Helper()
	return registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: scheme, Users: map[string]string{"alice": secret}}})
}

// What is said, on which stream, and what is stored, are skopeo's: scripts
// feed it and look for "Login Succeeded!".
func TestLogin(t *testing.T) {
	home := alone(t)
	s := guarded(t, registrytest.Basic)
	file := filepath.Join(home, "containers", "auth.json")
	good := stored(s.Addr, "alice", secret)
	const succeeded = "Login Succeeded!\n"
	trying := "Authenticating with existing credentials for " + s.Addr + "\n"
	const invalid = "Existing credentials are invalid, please enter valid username and password\n"
	for _, tt := range []struct {
		name  string
		has   string // the auth file, before
		in    string
		args  []string
		out   string
		fatal string
		want  string // the auth file, after; "" for as before
	}{
		{"options", "", "", []string{"-u", "alice", "-p", secret, s.Addr}, succeeded, "", good},
		{"spaces", "", "", []string{"-u", " alice ", "-p", secret, s.Addr}, succeeded, "", good},
		{"verbose", "", "", []string{"-v", "-u", "alice", "-p", secret, s.Addr}, "Used:  " + file + "\n" + succeeded, "", good},
		{"standard input", "", secret + "\n", []string{"-u", "alice", "--password-stdin", s.Addr}, succeeded, "", good},
		{"lines are joined", "", secret[:3] + "\r\n" + secret[3:], []string{"-u", "alice", "--password-stdin", s.Addr}, succeeded, "", good},
		{"asked", "", "alice\n", []string{"-p", secret, s.Addr}, "Username: " + succeeded, "", good},
		{"asked, stored", good, "\n", []string{"-p", secret, s.Addr}, "Username (alice): " + succeeded, "", ""},
		{"namespace", "", "", []string{"-u", "alice", "-p", secret, s.Addr + "/a/b"}, succeeded, "", stored(s.Addr+"/a/b", "alice", secret)},
		{"URL", "", "", []string{"-u", "alice", "-p", secret, "https://" + s.Addr + "/v2/"}, succeeded, "", good},
		{"replaced", stored(s.Addr, "bob", "old"), "", []string{"-u", "alice", "-p", secret, s.Addr}, succeeded, "", good},
		{"stored, valid", good, "", []string{s.Addr}, trying + "Existing credentials are valid. Already logged in to " + s.Addr + "\n", "", ""},
		{"stored, invalid", stored(s.Addr, "alice", "old"), "", []string{s.Addr}, trying + invalid + "Username (alice): ", "getting username and password: reading username: EOF", ""},
		{"no terminal", "", "alice\n", []string{s.Addr}, "Username: Password: ", "getting username and password: reading password: inappropriate ioctl for device", ""},
		{"wrong", "", "", []string{"-u", "alice", "-p", "wrong", s.Addr}, "", `logging into "` + s.Addr + `": invalid username/password`, ""},
		{"token", `{"auths":{"` + s.Addr + `":{"auth":"YTo=","identitytoken":"t"}}}`, "", []string{"-u", "alice", "-p", secret, s.Addr}, "", "currently logged in, auth file contains an Identity token", ""},
		{"broken file", "{", "", []string{"-u", "alice", "-p", secret, s.Addr}, "", "get credentials: auth file ", ""},
	} {
		os.Remove(file)
		if tt.has != "" {
			write(t, file, tt.has)
		}
		r := with(t, tt.in, append([]string{"login", "--tls-verify=false"}, tt.args...)...)
		if tt.fatal == "" && (r.code != 0 || r.err != "") {
			t.Errorf("%s: exit %d, %s", tt.name, r.code, r.err)
		}
		if tt.fatal != "" {
			if msg := r.fatal(t); r.code != 1 || !strings.HasPrefix(msg, tt.fatal) {
				t.Errorf("%s: exit %d, %q; want 1, %q", tt.name, r.code, msg, tt.fatal)
			}
		}
		if r.out != tt.out {
			t.Errorf("%s: %q; want %q", tt.name, r.out, tt.out)
		}
		if tt.want == "" {
			tt.want = tt.has
		}
		b, _ := os.ReadFile(file) // which may not be there
		if got := strings.TrimSpace(string(b)); got != strings.TrimSpace(tt.want) {
			t.Errorf("%s: the auth file is %s; want %s", tt.name, got, tt.want)
		}
		if strings.Contains(r.out+r.err, secret) {
			t.Errorf("%s: the password was printed", tt.name)
		}
	}
}

// A registry with a token service is asked for a token without a scope, and
// then whether it takes it.
func TestLoginToken(t *testing.T) {
	alone(t)
	s := guarded(t, registrytest.Bearer)
	if r := run(t, "login", "--tls-verify=false", "-u", "alice", "-p", secret, s.Addr); r.code != 0 || r.out != "Login Succeeded!\n" {
		t.Errorf("exit %d, %q, %s", r.code, r.out, r.err)
	}
	r := run(t, "login", "--tls-verify=false", "-u", "alice", "-p", "wrong", s.Addr)
	if msg := r.fatal(t); r.code != 1 || msg != `logging into "`+s.Addr+`": invalid username/password` {
		t.Errorf("exit %d, %q", r.code, msg)
	}
}

func TestAccountFailures(t *testing.T) {
	home := alone(t)
	file := filepath.Join(home, "f.json")
	for _, tt := range []struct {
		args string
		want string
	}{
		{"login", "please provide a registry to log in to"},
		{"login a b", "login accepts only one registry to log in to"},
		{"login --authfile=x --compat-auth-file=y", "options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously"},
		{"login a.example/b:c", `reference "a.example/b:c" contains tag or digest`},
		{"login a.example/UP", `parse reference from "a.example/UP": invalid reference format: repository name must be lowercase`},
		{"login --get-login a.example", "not logged into a.example"},
		{"login --get-login https://a.example/b", "not logged into a.example"},
		{"login --password-stdin a.example", "must provide --username with --password-stdin"},
		{"login --password-stdin -u a -p b a.example", "can't specify both --password-stdin and --password"},
		{"login --creds=a:b a.example", "unknown flag: --creds"},
		{"login --tls-verify=false -u a -p b 127.0.0.1:1", `authenticating creds for "127.0.0.1:1": `},
		{"logout", "please provide a registry to log out from"},
		{"logout a b", "logout accepts only one registry to log out from"},
		{"logout --all a", "--all takes no arguments"},
		{"logout a.example/b:c", `reference "a.example/b:c" contains tag or digest`},
		{"logout a.example", "not logged into a.example"},
		{"logout --authfile=" + file + " a.example", "credential file is not accessible: faccessat " + file + ": no such file or directory"},
		{"logout --compat-auth-file=" + file + " a.example", "credential file is not accessible: faccessat " + file + ": no such file or directory"},
		{"logout --authfile=" + home + " --compat-auth-file=" + home + " a.example", "options for paths to the credential file and to the Docker-compatible"},
	} {
		r := run(t, strings.Fields(tt.args)...)
		if msg := r.fatal(t); r.code != 1 || !strings.HasPrefix(msg, tt.want) {
			t.Errorf("skopeo %s: exit %d, %q; want 1 and %q", tt.args, r.code, msg, tt.want)
		}
		if r.out != "" {
			t.Errorf("skopeo %s: %q on standard output", tt.args, r.out)
		}
	}
}

// The file is found by options and variables in skopeo's order, and docker's
// format has its own rules.
func TestLoginFiles(t *testing.T) {
	home := alone(t)
	s := guarded(t, registrytest.Basic)
	file := filepath.Join(home, "f.json")
	login := func(args ...string) result {
		return run(t, append([]string{"login", "--tls-verify=false", "-v", "-u", "alice", "-p", secret}, args...)...)
	}
	t.Setenv("DOCKER_CONFIG", home+"/docker")
	for _, tt := range []struct{ variable, option, want string }{
		{"", "", home + "/docker/config.json"},
		{home + "/variable.json", "", home + "/variable.json"},
		{home + "/variable.json", "--authfile=" + file, file},
		{home + "/variable.json", "--compat-auth-file=" + file, file},
	} {
		t.Setenv("REGISTRY_AUTH_FILE", tt.variable)
		args := []string{s.Addr}
		if tt.option != "" {
			args = append(args, tt.option)
		}
		if r := login(args...); r.out != "Used:  "+tt.want+"\nLogin Succeeded!\n" {
			t.Errorf("%+v: exit %d, %q, %s", tt, r.code, r.out, r.err)
		}
		if b, err := os.ReadFile(tt.want); err != nil || strings.TrimSpace(string(b)) != stored(s.Addr, "alice", secret) {
			t.Errorf("%+v: %s, %v", tt, b, err)
		}
	}
	r := login("--compat-auth-file="+file, s.Addr+"/a")
	if msg := r.fatal(t); msg != `Credentials cannot be recorded in Docker-compatible format with namespaced key "`+s.Addr+`/a"` {
		t.Errorf("a namespace in docker's format: exit %d, %q", r.code, msg)
	}
	if r := run(t, "login", "--get-login", "--authfile", file, s.Addr+"/a"); r.out != "alice\n" {
		t.Errorf("--get-login: exit %d, %q, %s", r.code, r.out, r.err)
	}
	// Credentials for a namespace that turn out to be for all are worth a word.
	r = login("--authfile="+file, "https://"+s.Addr+"/a")
	if r.code != 0 || !strings.Contains(r.err, "level=warning msg=\"The path of https://"+s.Addr+"/a does not count: ") {
		t.Errorf("a URL with a path: exit %d, %s", r.code, r.err)
	}
}

func TestLogout(t *testing.T) {
	home := alone(t)
	s := guarded(t, registrytest.Basic)
	file, dockers := filepath.Join(home, "containers", "auth.json"), filepath.Join(home, ".docker", "config.json")
	good := stored(s.Addr, "alice", secret)
	elsewhere := "Not logged into " + s.Addr + " with current tool. Existing credentials were established via docker login. Please use docker logout instead.\n"
	for _, tt := range []struct {
		name, path, has string
		args            []string
		out, fatal      string
		left            bool // the credentials
	}{
		{"there", file, good, []string{s.Addr}, "Removed login credentials for " + s.Addr + "\n", "", false},
		{"URL", file, good, []string{"https://" + s.Addr + "/x"}, "Removed login credentials for " + s.Addr + "\n", "", false},
		{"named file", home + "/f.json", good, []string{"--authfile", home + "/f.json", s.Addr}, "Removed login credentials for " + s.Addr + "\n", "", false},
		{"docker's format", home + "/f.json", good, []string{"--compat-auth-file", home + "/f.json", s.Addr}, "Removed login credentials for " + s.Addr + "\n", "", false},
		{"all", file, good, []string{"--all"}, "Removed login credentials for all registries\n", "", false},
		{"all of none", file, "{}", []string{"-a"}, "Removed login credentials for all registries\n", "", false},
		{"its parent", file, stored(s.Addr+"/a", "alice", secret), []string{s.Addr}, "", "not logged into " + s.Addr, true},
		{"its namespace", file, good, []string{s.Addr + "/a"}, strings.Replace(elsewhere, s.Addr, s.Addr+"/a", 1), "", true},
		{"docker's", dockers, good, []string{"--tls-verify=false", s.Addr}, elsewhere, "", true},
		{"docker's, invalid", dockers, stored(s.Addr, "alice", "old"), []string{"--tls-verify=false", s.Addr}, "", "not logged into " + s.Addr, true},
	} {
		for _, f := range []string{file, dockers, home + "/f.json"} {
			os.Remove(f)
		}
		write(t, tt.path, tt.has)
		r := run(t, append([]string{"logout"}, tt.args...)...)
		if r.out != tt.out || tt.fatal == "" && (r.code != 0 || r.err != "") {
			t.Errorf("%s: exit %d, %q, %s; want %q", tt.name, r.code, r.out, r.err, tt.out)
		}
		if tt.fatal != "" {
			if msg := r.fatal(t); r.code != 1 || msg != tt.fatal {
				t.Errorf("%s: exit %d, %q; want 1, %q", tt.name, r.code, msg, tt.fatal)
			}
		}
		b, err := os.ReadFile(tt.path)
		if left := strings.Contains(string(b), s.Addr); err != nil || left != tt.left {
			t.Errorf("%s: the file is %s, %v", tt.name, b, err)
		}
	}
}
