package e2e_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
)

// keeper is a credential helper that keeps what it is told in a directory, and
// a log of what it was asked. Under any other name than keeper it cannot list
// what it has, as with many of those that people write.
const keeper = `#!/bin/sh
# a file for each server, in docker's form
echo "$1" >>"$HOME/keeper.log"
file() { printf %s/keeper/%s "$HOME" "$(printf %s "$1" | tr -c 'a-zA-Z0-9.' _)"; }
mkdir -p "$HOME/keeper"
case $1 in
store)
	text=$(cat)
	url=$(printf %s "$text" | jq -r .ServerURL)
	printf %s "$text" >"$(file "$url")" ;;
get)
	read -r url || [ -n "$url" ]
	[ -e "$(file "$url")" ] || { echo credentials not found in native keychain; exit 1; }
	cat "$(file "$url")" ;;
erase)
	read -r url || [ -n "$url" ]
	rm "$(file "$url")" ;;
list)
	[ "${0##*-}" = keeper ] || { echo "unknown verb list"; exit 1; }
	cat /dev/null "$HOME"/keeper/* | jq -s 'map({(.ServerURL): .Username}) | add // {}' ;;
esac
`

// withPass gives the home a key and a password store, as docker-credential-pass
// wants them.
func (h home) withPass(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(h.path(".gnupg"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := h.command()
	t.Cleanup(func() { c.Run(t, "gpgconf", "--kill", "all") }) // the agent would stay
	c.Must(t, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "e2e@example.org", "default", "default", "never")
	c.Must(t, "pass", "init", "e2e@example.org")
}

// Where the password lies in a keyring it must get there, and be found and
// removed there, and the file holds nothing but where to look.
func TestHelperStores(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for name, x := range map[string]struct {
		file, text string // HOST is the registry
		flag       string
		env        string // ~ is the home
	}{
		"credHelpers": {"x.json", `{"credHelpers":{"HOST":"HELPER"}}`, "--authfile=", "REGISTRY_AUTH_FILE=~/x.json"},
		"credsStore":  {".docker/config.json", `{"credsStore":"HELPER"}`, "--compat-auth-file=", "DOCKER_CONFIG=~/.docker"},
	} {
		for _, helper := range []string{"pass", "keeper", "simple"} {
			t.Run(name+"/"+helper, func(t *testing.T) {
				t.Parallel()
				b := a.elsewhere(t)
				if helper == "pass" {
					b.withPass(t)
				}
				script(t, b.path("bin/docker-credential-keeper"), keeper)
				script(t, b.path("bin/docker-credential-simple"), keeper)
				file := b.write(t, x.file, strings.NewReplacer("HOST", b.Addr, "HELPER", helper).Replace(x.text))
				env := []string{strings.ReplaceAll(x.env, "~", string(b.home)), "PATH=" + b.path("bin") + ":" + pathOf(t)}
				b.reads(t, false, env...)
				b.login(t, env, x.flag+file)
				text := string(slurp(t, file))
				if basic := base64.StdEncoding.EncodeToString([]byte(b.User + ":" + b.Password)); strings.Contains(text, basic) {
					t.Errorf("the password is in the file: %s", text)
				}
				b.reads(t, true, env...)
				if got := b.command(env...).Must(t, "img-login", x.flag+file, "--get-login", b.Addr); got != b.User+"\n" {
					t.Errorf("--get-login = %q; want %s", got, b.User)
				}
				b.command(env...).Must(t, "crane", "digest", b.Addr+"/a/b:1") // finds it there too
				b.command(env...).Must(t, "img-logout", x.flag+file, b.Addr)
				b.reads(t, false, env...)
				for _, f := range tree(t, string(b.home)) {
					if dir, _, _ := strings.Cut(f, "/"); (dir == ".password-store" && strings.HasSuffix(f, ".gpg")) || dir == "keeper" {
						t.Errorf("logged out, and %s is still there", f)
					}
				}
			})
		}
	}
}

// What docker put into a keyring through a helper is found.
func TestHelperOfDocker(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.withPass(t)
	a.write(t, ".docker/config.json", `{"credsStore":"pass"}`)
	dockerLogin(t, harness.Dockerd(t), a)
	if text := string(slurp(t, a.path(".docker/config.json"))); strings.Contains(text, `"auth":`) {
		t.Fatalf("docker wrote the password itself: %s", text)
	}
	a.reads(t, true)
}

// pathOf returns the PATH that programs get.
func pathOf(t *testing.T) string {
	t.Helper()
	for _, e := range harness.Environ(t) {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			return path
		}
	}
	return ""
}

// What stands in the arguments or the environment of a process everybody on the
// machine can read, and what is printed ends in logs. Neither may have the
// password, however it was given.
func TestNoSecretInArguments(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	script(t, a.path("bin/docker-credential-keeper"), keeper)
	script(t, a.path("bin/tell"), fmt.Sprintf("#!/bin/sh\nprintf '%%s:%%s\\n' %q %q\n", a.User, a.Password))
	file := a.write(t, "x.json", `{"credHelpers":{"`+a.Addr+`":"keeper"}}`)
	secret := a.write(t, "secret", a.User+":"+a.Password+"\n")
	basic := base64.StdEncoding.EncodeToString([]byte(a.User + ":" + a.Password))
	env := "PATH=" + a.path("bin") + ":" + pathOf(t)
	for i, command := range []string{
		`img-login --debug --verbose --authfile "$1" --username ` + a.User + ` --password-stdin ` + a.Addr,
		`img-inspect --debug --authfile "$1" ` + a.Ref("a/b:1"),
		`img-copy --debug --authfile "$1" ` + a.Ref("a/b:1") + ` oci:` + harness.Dir(t) + `/l:x`,
		`img-inspect --debug --creds-fd 3 ` + a.Ref("a/b:1") + ` 3<"$2"`,
		`img-copy --debug --src-creds-fd 3 --dest-creds-fd 4 ` + a.Ref("a/b:1") + ` ` + a.Ref("c/d:1") + ` 3<"$2" 4<"$2"`,
		`img-inspect --debug --creds-command tell ` + a.Ref("a/b:1"),
		`img-copy --debug --src-creds-command tell --dest-creds-command tell ` + a.Ref("a/b:1") + ` ` + a.Ref("c/d:2"),
		`img-logout --authfile "$1" ` + a.Addr,
	} {
		trace := filepath.Join(harness.Dir(t), "trace")
		c := a.command(env)
		c.Stdin = strings.NewReader(a.Password)
		r := c.Run(t, "strace", "-f", "-v", "-s", "1000000", "-e", "trace=execve", "-o", trace,
			"env", "PATH="+harness.Img(t)+":"+a.path("bin")+":"+pathOf(t), "sh", "-c", "exec "+command, "sh", file, secret)
		if r.Code != 0 {
			t.Errorf("%s: exit %d\n%s", command, r.Code, r.Stderr)
		}
		calls := string(slurp(t, trace))
		if !strings.Contains(calls, "/"+strings.Fields(command)[0]) {
			t.Fatalf("%s: strace saw nothing of it:\n%s", command, calls)
		}
		for what, text := range map[string]string{"output": r.Stdout + r.Stderr, "a program's arguments": calls} {
			if strings.Contains(text, a.Password) || strings.Contains(text, basic) {
				t.Errorf("%d: %s: the password is in %s:\n%s", i, command, what, text)
			}
		}
	}
	if log := string(slurp(t, a.path("keeper.log"))); !strings.Contains(log, "store") || !strings.Contains(log, "get") || !strings.Contains(log, "erase") {
		t.Errorf("the helper was asked to %q; want store, get and erase", log)
	}
}

// Helpers fail in their own ways. What they say of it is for the user, but an
// answer may hold the secret, so that nothing of it is shown; and a name that
// leads elsewhere is no program.
func TestHelperFails(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for name, x := range map[string]struct {
		helper, text string
		code         int
	}{
		"locked":    {"broken", "#!/bin/sh\necho the keyring is locked\nexit 1\n", failure},
		"no JSON":   {"broken", "#!/bin/sh\necho open sesame\n", failure},
		"gone":      {"nosuch", "", failure},
		"elsewhere": {"../../bin/evil", "", failure},
		"silent":    {"broken", "#!/bin/sh\nexit 0\n", failure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := a.elsewhere(t)
			script(t, b.path("bin/docker-credential-broken"), x.text)
			script(t, b.path("bin/evil"), "#!/bin/sh\ntouch \"$HOME/pwned\"\n")
			file := b.write(t, "x.json", fmt.Sprintf(`{"credHelpers":{%q:%q}}`, b.Addr, x.helper))
			r := b.command("PATH="+b.path("bin")+":"+pathOf(t)).Run(t, "img-inspect", "--debug", "--authfile="+file, b.Ref("a/b:1"))
			if r.Code != x.code || r.Stdout != "" || strings.Contains(r.Stderr, b.Password) {
				t.Errorf("%+v; want exit %d and no secret", r, x.code)
			}
			if name == "locked" && !strings.Contains(r.Stderr, "the keyring is locked") {
				t.Errorf("%q; want what the helper said", r.Stderr)
			}
			if _, err := os.Stat(b.path("pwned")); err == nil {
				t.Error("a program was run that is no helper")
			}
		})
	}
}
