package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// A user's home, a registry that wants a password, and an image that is there
// as a/b:1.
type account struct {
	home
	*harness.Registry
	digest string
}

func newAccount(t *testing.T) account {
	t.Helper()
	r := harness.StartRegistry(t, harness.RegistryOptions{Htpasswd: true, Delete: true})
	return accountAt(t, r)
}

func accountAt(t *testing.T, r *harness.Registry) account {
	t.Helper()
	l := harness.Image(t, sample.Tiny())
	r.Seed(t, l, "tiny", "a/b:1")
	return account{newHome(t), r, l.Roots["tiny"].Digest.String()}
}

// elsewhere returns another home for the same registry.
func (a account) elsewhere(t *testing.T) account {
	t.Helper()
	return account{newHome(t), a.Registry, a.digest}
}

// login runs img-login with the right password on its standard input.
func (a account) login(t *testing.T, env []string, flags ...string) {
	t.Helper()
	c := a.command(env...)
	c.Stdin = strings.NewReader(a.Password)
	r := c.Run(t, "img-login", append(flags, "--username="+a.User, "--password-stdin", a.Addr)...)
	if r.Code != 0 || r.Stdout != "" {
		t.Fatalf("img-login %q: exit %d and %q on standard output; want 0 and nothing\n%s", flags, r.Code, r.Stdout, r.Stderr)
	}
	if strings.Contains(r.Stderr, a.Password) {
		t.Errorf("img-login %q shows the password: %q", flags, r.Stderr)
	}
}

// reads checks whether img-inspect and img-copy find credentials.
func (a account) reads(t *testing.T, want bool, env ...string) {
	t.Helper()
	c := a.command(env...)
	for _, args := range []stage{
		{"img-inspect", "--digest", a.Ref("a/b:1")},
		{"img-copy", "-q", a.Ref("a/b:1"), "oci:" + harness.Dir(t) + "/l:x"},
	} {
		r := c.Run(t, args[0], args[1:]...)
		switch {
		case want && (r.Code != 0 || !strings.Contains(r.Stdout, a.digest)):
			t.Errorf("%s: exit %d, %q; want the image\n%s", args[0], r.Code, r.Stdout, r.Stderr)
		case !want:
			failed(t, r, unauthorised, args[0])
		}
	}
}

// Nobody logs in anew because a tool is new: what others wrote when they logged
// in, and where they wrote it, is found.
func TestLoginOfOthers(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for name, x := range map[string]struct {
		login stage
		env   string // ~ is the home
		file  string
	}{
		"skopeo":             {stage{"skopeo", "login", "--tls-verify=false"}, "", "run/containers/auth.json"},
		"skopeo, a file":     {stage{"skopeo", "login", "--tls-verify=false"}, "REGISTRY_AUTH_FILE=~/x.json", "x.json"},
		"podman":             {stage{"podman", "login", "--tls-verify=false"}, "", "run/containers/auth.json"},
		"podman, for docker": {stage{"podman", "login", "--tls-verify=false"}, "REGISTRY_AUTH_FILE=~/.docker/config.json", ".docker/config.json"},
		"crane":              {stage{"crane", "auth", "login"}, "", ".docker/config.json"},
		"crane, a directory": {stage{"crane", "auth", "login"}, "DOCKER_CONFIG=~/d", "d/config.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := a.elsewhere(t)
			var env []string
			if x.env != "" {
				env = []string{strings.ReplaceAll(x.env, "~", string(b.home))}
			}
			if err := os.MkdirAll(filepath.Dir(b.path(x.file)), 0o700); err != nil {
				t.Fatal(err)
			}
			b.reads(t, false, env...)
			c := b.command(env...)
			c.Stdin = strings.NewReader(b.Password)
			c.Must(t, x.login[0], append(x.login[1:], "--username="+b.User, "--password-stdin", b.Addr)...)
			if _, err := os.Stat(b.path(x.file)); err != nil {
				t.Errorf("%s wrote somewhere else: %v", x.login[0], err)
			}
			b.reads(t, true, env...)
		})
	}
	t.Run("docker", func(t *testing.T) {
		t.Parallel()
		b := a.elsewhere(t)
		b.write(t, ".docker/config.json", `{"auths":{"other.example":{"auth":"eDp5"}}}`)
		dockerLogin(t, harness.Dockerd(t), b)
		b.reads(t, true)
	})
}

// dockerLogin logs in with docker. Its configuration has to be there: without
// one docker looks for a helper by itself.
func dockerLogin(t *testing.T, e *harness.Engine, a account) {
	t.Helper()
	c := a.command()
	c.Stdin = strings.NewReader(a.Password)
	c.Must(t, "docker", "--host=unix://"+e.Socket, "login", "--username="+a.User, "--password-stdin", a.Addr)
}

// readers are commands that need credentials of their own finding.
func readers(a account) map[string]stage {
	return map[string]stage{
		"skopeo": {"skopeo", "inspect", "--raw", "--tls-verify=false", a.Ref("a/b:1")},
		"podman": {"podman", "--root=" + a.path("podman"), "--runroot=" + a.path("r"), "--storage-driver=vfs", "pull", "-q", "--tls-verify=false", a.Addr + "/a/b:1"},
		"crane":  {"crane", "digest", a.Addr + "/a/b:1"},
		"regctl": {"regctl", "--host", "reg=" + a.Addr + ",tls=disabled", "manifest", "head", a.Addr + "/a/b:1"},
	}
}

// What we write is what the others look for, where they look for it.
func TestLoginForOthers(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for name, x := range map[string]struct {
		flags, env []string // ~ is the home
		readers    []string
		file       string
	}{
		"as it is":      {nil, nil, []string{"skopeo", "podman"}, "run/containers/auth.json"},
		"authfile":      {[]string{"--authfile=~/.config/containers/auth.json"}, nil, []string{"skopeo", "podman"}, ".config/containers/auth.json"},
		"variable":      {nil, []string{"REGISTRY_AUTH_FILE=~/x.json"}, []string{"skopeo", "podman"}, "x.json"},
		"compat":        {[]string{"--compat-auth-file=~/.docker/config.json"}, nil, []string{"skopeo", "podman", "crane", "regctl"}, ".docker/config.json"},
		"DOCKER_CONFIG": {nil, []string{"DOCKER_CONFIG=~/.docker"}, []string{"skopeo", "podman", "crane", "regctl"}, ".docker/config.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := a.elsewhere(t)
			var flags, env []string
			for _, f := range x.flags {
				flags = append(flags, strings.ReplaceAll(f, "~", string(b.home)))
			}
			for _, e := range x.env {
				env = append(env, strings.ReplaceAll(e, "~", string(b.home)))
			}
			b.login(t, env, flags...)
			if st, err := os.Stat(b.path(x.file)); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("the file: %v, %v; want %s for nobody else to read", st, err, x.file)
			}
			b.reads(t, true, env...)
			for _, reader := range x.readers {
				cmd := readers(b)[reader]
				if r := b.command(env...).Run(t, cmd[0], cmd[1:]...); r.Code != 0 {
					t.Errorf("%s does not find the credentials: exit %d\n%s", reader, r.Code, r.Stderr)
				}
			}
			c := b.command(env...)
			if r := c.Run(t, "img-logout", append(flags, b.Addr)...); r.Code != 0 {
				t.Errorf("img-logout: %+v", r)
			}
			b.reads(t, false, env...)
			if text := string(slurp(t, b.path(x.file))); strings.Contains(text, b.Addr) {
				t.Errorf("logged out, and the file has %s", text)
			}
			r := c.Run(t, "img-logout", append(flags, b.Addr)...)
			failed(t, r, notFound, "img-logout")
		})
	}
	t.Run("docker", func(t *testing.T) {
		t.Parallel()
		b, e := a.elsewhere(t), harness.Dockerd(t)
		b.login(t, nil, "--compat-auth-file="+b.path(".docker/config.json"))
		b.command().Must(t, "docker", "--host=unix://"+e.Socket, "pull", b.Addr+"/a/b:1")
	})
}

// A logout is the same whoever logged in, and touches nothing else: neither
// what is said of other registries, nor what we do not know.
func TestLogout(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const others = `{"auths":{"other.example":{"auth":"eDp5","email":"x@y"}},"psFormat":"table","HttpHeaders":{"A":"b"},"credHelpers":{"c.example":"c"}}`
	for name, x := range map[string]struct{ in, out stage }{
		"skopeo, we": {stage{"skopeo", "login", "--tls-verify=false", "--authfile"}, stage{"img-logout", "--authfile"}},
		"podman, we": {stage{"podman", "login", "--tls-verify=false", "--authfile"}, stage{"img-logout", "--authfile"}},
		"we, skopeo": {stage{"img-login", "--authfile"}, stage{"skopeo", "logout", "--authfile"}},
		"we, podman": {stage{"img-login", "--authfile"}, stage{"podman", "logout", "--authfile"}},
		"we, we":     {stage{"img-login", "--authfile"}, stage{"img-logout", "--authfile"}},
		"for docker": {stage{"img-login", "--compat-auth-file"}, stage{"img-logout", "--compat-auth-file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := a.elsewhere(t)
			file := b.write(t, "x.json", others)
			c := b.command()
			c.Stdin = strings.NewReader(b.Password)
			c.Must(t, x.in[0], append(x.in[1:], file, "--username="+b.User, "--password-stdin", b.Addr)...)
			b.reads(t, true, "REGISTRY_AUTH_FILE="+file)
			b.command().Must(t, x.out[0], append(x.out[1:], file, b.Addr)...)
			b.reads(t, false, "REGISTRY_AUTH_FILE="+file)
			var got, want map[string]any
			if err := json.Unmarshal(slurp(t, file), &got); err != nil {
				t.Fatal(err)
			}
			json.Unmarshal([]byte(others), &want)
			if auths, _ := got["auths"].(map[string]any); auths["other.example"] == nil || len(auths) != 1 {
				t.Errorf("left are %v; want the other registry", got["auths"])
			}
			if ours := !strings.Contains(x.in[0]+x.out[0], "skopeo") && !strings.Contains(x.in[0]+x.out[0], "podman"); ours && mustJSON(t, got) != mustJSON(t, want) {
				t.Errorf("left is %s; want %s", mustJSON(t, got), mustJSON(t, want))
			}
		})
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		b := a.elsewhere(t)
		file := b.write(t, "x.json", others)
		b.login(t, nil, "--authfile="+file)
		b.command().Must(t, "img-logout", "--all", "--authfile="+file)
		var got struct {
			Auths    map[string]any
			PsFormat string
		}
		if err := json.Unmarshal(slurp(t, file), &got); err != nil || len(got.Auths) != 0 || got.PsFormat != "table" {
			t.Errorf("left is %+v (%v); want no credentials, and the rest", got, err)
		}
	})
}

// A password that is wrong is found out when it is given, not weeks later, and
// what was there stays.
func TestLoginChecks(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	file := a.write(t, "x.json", `{"auths":{"other.example":{"auth":"eDp5"}}}`)
	before := string(slurp(t, file))
	for _, x := range []struct {
		password string
		code     int
		args     []string
	}{
		{"wrong", unauthorised, []string{"--username=" + a.User, "--password-stdin", a.Addr}},
		{"x", wrongUse, []string{"--password-stdin", a.Addr}},
		{"x", wrongUse, []string{"--username=u", "--password-stdin", "--password=x", a.Addr}},
		{"x", wrongUse, []string{"--username=u", "--password-stdin", a.Addr + "/a/b:1"}},
		{"x", wrongUse, []string{"--username=u", "--password-stdin"}},
		{"x", wrongUse, []string{"--username=u", "--password-stdin", a.Addr, a.Addr}},
		{"x", network, []string{"--username=u", "--password-stdin", "127.0.0.1:1"}},
	} {
		c := a.command()
		c.Stdin = strings.NewReader(x.password)
		r := c.Run(t, "img-login", append([]string{"--authfile=" + file}, x.args...)...)
		failed(t, r, x.code, "img-login "+strings.Join(x.args, " "))
		if got := string(slurp(t, file)); got != before {
			t.Fatalf("img-login %q failed and wrote %s", x.args, got)
		}
	}
	r := a.command().Run(t, "img-login", "--authfile="+file, "--get-login", a.Addr)
	failed(t, r, notFound, "img-login --get-login")
	a.login(t, nil, "--authfile="+file)
	if got := a.command().Must(t, "img-login", "--authfile="+file, "--get-login", a.Addr); got != a.User+"\n" {
		t.Errorf("--get-login = %q; want %s", got, a.User)
	}
}

// The password of a namespace is for what is in it, and for nothing beside it.
func TestLoginToNamespace(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	file := a.path("x.json")
	c := a.command()
	c.Stdin = strings.NewReader(a.Password)
	c.Must(t, "img-login", "--authfile="+file, "--username="+a.User, "--password-stdin", a.Addr+"/a")
	a.reads(t, true, "REGISTRY_AUTH_FILE="+file)
	r := a.command("REGISTRY_AUTH_FILE="+file).Run(t, "img-inspect", a.Ref("other/b:1"))
	failed(t, r, unauthorised, "img-inspect")
	a.command().Must(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "--authfile="+file, a.Ref("a/b:1"))
	failed(t, a.command().Run(t, "img-logout", "--authfile="+file, a.Addr), notFound, "img-logout")
	a.command().Must(t, "img-logout", "--authfile="+file, a.Addr+"/a")
	a.reads(t, false, "REGISTRY_AUTH_FILE="+file)
}

// At a terminal the user is asked, and the password is not shown.
func TestLoginPrompt(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	master, slave := terminal(t)
	p := program{stdin: slave, stdout: slave, stderr: slave, env: a.command().Env, terminal: true}.start(t, "img-login", "--authfile="+a.path("x.json"), a.Addr)
	slave.Close()
	said := make(chan string)
	go func() {
		defer close(said)
		for {
			b := make([]byte, 4096)
			n, err := master.Read(b)
			if n > 0 {
				said <- string(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	var all strings.Builder
	answers := map[string]string{"Username": a.User, "Password": a.Password}
	for text := range said {
		all.WriteString(text)
		for prompt, answer := range answers {
			if strings.Contains(all.String(), prompt) {
				delete(answers, prompt)
				if _, err := master.WriteString(answer + "\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if r := p.wait(t); r.Code != 0 || len(answers) != 0 {
		t.Fatalf("exit %d after\n%s", r.Code, all.String())
	}
	if strings.Contains(all.String(), a.Password) {
		t.Errorf("the terminal shows the password:\n%s", all.String())
	}
	a.reads(t, true, "REGISTRY_AUTH_FILE="+a.path("x.json"))
}

// Twenty logins at once, as scripts do it, must all be in the file.
func TestLoginsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	file := a.path("x.json")
	var rs []*running
	for i := range 20 {
		p := program{stdin: strings.NewReader(a.Password), env: a.command().Env}
		rs = append(rs, p.start(t, "img-login", "--authfile="+file, "--username="+a.User, "--password-stdin", fmt.Sprintf("%s/n%d", a.Addr, i)))
	}
	for i, r := range rs {
		if got := r.wait(t); got.Code != 0 {
			t.Errorf("login %d: exit %d\n%s", i, got.Code, got.Stderr)
		}
	}
	var got struct{ Auths map[string]any }
	if err := json.Unmarshal(slurp(t, file), &got); err != nil || len(got.Auths) != len(rs) {
		t.Errorf("%d entries (%v); want %d", len(got.Auths), err, len(rs))
	}
	for _, f := range tree(t, string(a.home)) {
		if strings.HasPrefix(f, "x.json") && f != "x.json" && !strings.HasSuffix(f, ".lock") {
			t.Errorf("%s is left", f)
		}
	}
}

// At a registry with a token service it is that service which knows the
// password. A login needs no power over any repository.
func TestLoginAtTokenService(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v3", "2.8"} {
		s := harness.StartTokens(t, harness.TokenOptions{Anonymous: true})
		a := accountAt(t, harness.StartRegistry(t, harness.RegistryOptions{Version: version, Tokens: s}))
		c := a.command()
		c.Stdin = strings.NewReader("wrong")
		r := c.Run(t, "img-login", "--username="+a.User, "--password-stdin", a.Addr)
		failed(t, r, unauthorised, "img-login")
		n := len(s.Asked())
		a.login(t, nil)
		if got := heard(s, n); len(got) != 0 {
			t.Errorf("%s: to log in it asked for %q; want nothing", version, got)
		}
		n = len(s.Asked())
		a.reads(t, true)
		for _, q := range s.Asked()[n:] {
			if q.Account != a.User || q.Proved == "" {
				t.Errorf("%s: logged in, and it asks as %+v", version, q)
			}
		}
	}
}

// Scripts have passwords in pipes and in programs of their own.
func TestCredentialSources(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	script(t, a.path("bin/tell"), fmt.Sprintf("#!/bin/sh\nread -r host\n[ \"$host\" = %s ] && printf '%%s:%%s\\n' %q %q\n", a.Addr, a.User, a.Password))
	script(t, a.path("bin/json"), fmt.Sprintf("#!/bin/sh\nprintf '{\"Username\":\"%%s\",\"Secret\":\"%%s\"}' %q %q\n", a.User, a.Password))
	script(t, a.path("bin/wrong"), "#!/bin/sh\necho ali:wrong\n")
	script(t, a.path("bin/broken"), "#!/bin/sh\necho open sesame; exit 3\n")
	a.write(t, "creds", a.User+":"+a.Password+"\n")
	for command, code := range map[string]int{
		`img-inspect --creds-fd 5 REF 5<"$HOME/creds"`:                                          0,
		`cat "$HOME/creds" | img-inspect --creds-fd 0 REF`:                                      0,
		`img-inspect --creds-command tell REF`:                                                  0,
		`img-inspect --creds-command "json 'one argument'" REF`:                                 0,
		`img-copy -q --src-creds-command tell REF oci:"$HOME/l":x`:                              0,
		`img-copy -q --src-creds-fd 4 --dest-creds-fd 5 REF TO 4<"$HOME/creds" 5<"$HOME/creds"`: 0,
		`img-inspect --creds-command wrong REF`:                                                 unauthorised,
		`img-inspect --creds-command broken REF`:                                                failure,
		`img-inspect --creds-command no-such-program REF`:                                       failure,
		`img-inspect --creds-fd 77 REF`:                                                         wrongUse,
		`img-inspect --creds-fd 5 REF 5</dev/null`:                                              failure,
		`img-inspect --creds-fd 5 --creds u:p REF 5<"$HOME/creds"`:                              wrongUse,
		`img-inspect --creds-fd 5 --no-creds REF 5<"$HOME/creds"`:                               wrongUse,
		`img-inspect --creds-command "unclosed ' quote" REF`:                                    wrongUse,
	} {
		c := a.command("PATH=" + harness.Img(t) + ":" + a.path("bin") + ":/usr/bin:/bin")
		line := strings.NewReplacer("REF", a.Ref("a/b:1"), "TO", a.Ref("c/d:1")).Replace(command)
		r := c.Run(t, "sh", "-c", line)
		if r.Code != code {
			t.Errorf("%s: exit %d; want %d\n%s", command, r.Code, code, r.Stderr)
		}
		if strings.Contains(r.Stdout+r.Stderr, a.Password) {
			t.Errorf("%s: the output shows the password:\n%s", command, r.Stderr)
		}
	}
	holds(t, a.Registry, "c/d:1", a.digest)
}
