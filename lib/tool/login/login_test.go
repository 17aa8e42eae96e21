package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const secret = "Hunter2-S3cret"

// A desk is a user with a home and a terminal, and a registry that knows the
// user alice.
type desk struct {
	t       *testing.T
	dir     string
	server  *registrytest.Server
	answers []string // at the terminal; none: there is no terminal
	said    strings.Builder
}

func newDesk(t *testing.T, scheme registrytest.AuthScheme) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	users := map[string]string{"alice": secret, "bob": "b:o b"}
	d.server = registrytest.Start(t, registrytest.Options{Auth: registrytest.Auth{Scheme: scheme, Users: users, Identity: map[string]string{"tok": "alice"}}})
	t.Setenv("HOME", filepath.Join(d.dir, "home"))
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(d.dir, "run"))
	for _, name := range []string{"REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "CONTAINERS_REGISTRIES_CONF_OVERRIDE"} {
		t.Setenv(name, "")
	}
	d.put("registries.conf", "")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", filepath.Join(d.dir, "registries.conf"))
	if err := os.MkdirAll(filepath.Join(d.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// put writes a file of the user's, in which REGISTRY stands for the registry.
func (d *desk) put(name, content string) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(d.fill(content)), 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) fill(s string) string {
	return strings.NewReplacer("REGISTRY", d.server.Addr, "DIR", d.dir).Replace(s)
}

// ask is the user at the terminal.
func (d *desk) ask(_ context.Context, prompt string, secret bool) (string, error) {
	if len(d.answers) == 0 {
		return "", ErrNoTerminal
	}
	answer := d.answers[0]
	d.answers = d.answers[1:]
	fmt.Fprintf(&d.said, "%s[secret: %v]\n", prompt, secret)
	if answer == "EOF" {
		return "", io.EOF
	}
	return answer, nil
}

// run runs "login ..." or "logout ..." and returns all that is seen of it.
func (d *desk) run(command, in string) (code int, out, err string) {
	d.t.Helper()
	words := strings.Fields(d.fill(command))
	tool := Logout()
	if words[0] == "login" {
		tool = login(transport.Check, d.ask)
	}
	var stdout, stderr bytes.Buffer
	std := &cli.IO{In: strings.NewReader(in), Out: &stdout, Err: &stderr}
	code = tool.Execute(d.t.Context(), std, words[1:])
	clean := strings.NewReplacer(d.server.Addr, "REGISTRY", d.dir, "DIR")
	figure := regexp.MustCompile(`(?m) in [0-9]+m?s$|, column [0-9]+:`) // times, and where an address was before
	return code, clean.Replace(stdout.String()), figure.ReplaceAllString(clean.Replace(stderr.String()), " N")
}

// What users see, command after command. No line of it may hold a secret; the
// files, which are shown at the end, may.
func TestTranscript(t *testing.T) {
	d := newDesk(t, registrytest.Basic)
	d.put("compact.json", `{"auths":{"i.example":{"auth":"Yjox"}},"HttpHeaders":{"X":"y"}}`)
	d.put("broken.json", `{"auths": {"REGISTRY": {"auth": "`+secret+`"}}}`)
	d.put("cut.json", `{"auths": {"REGISTRY": {"auth": "`+secret)
	d.put("token.json", `{"auths": {"REGISTRY": {"identitytoken": "`+secret+`"}}}`)
	d.put("stale.json", `{"auths": {"REGISTRY": {"username": "alice", "password": "`+secret+`-old"}}}`)
	d.put("helper.json", `{"credHelpers": {"REGISTRY": "nowhere"}}`)
	var b strings.Builder
	for _, step := range transcript() {
		d.answers = step.answers
		code, out, errs := d.run(step.command, step.in)
		fmt.Fprintf(&b, "$ img-%s\n", step.command)
		b.WriteString(d.said.String())
		for line := range strings.Lines(out) {
			b.WriteString("1: " + line)
		}
		for line := range strings.Lines(errs) {
			b.WriteString("2: " + line)
		}
		if d.said.Reset(); code != 0 {
			fmt.Fprintf(&b, "exit %d\n", code)
		}
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte("alice:" + secret)), "b:o b"} {
			if strings.Contains(out+errs, form) {
				t.Errorf("img-%s shows a secret:\n%s%s", step.command, out, errs)
			}
		}
	}
	for _, name := range []string{"run/containers/auth.json", "new/docker.json", "compact.json", "broken.json", "token.json", "stale.json", "helper.json"} {
		text, err := os.ReadFile(filepath.Join(d.dir, name))
		fmt.Fprintf(&b, "== %s: %v\n%s\n", name, err, strings.ReplaceAll(string(text), d.server.Addr, "REGISTRY"))
	}
	golden(t, "transcript.golden", b.String())
}

// A step of the transcript is a command, what is on its standard input, and
// what is typed.
type step struct {
	command, in string
	answers     []string
}

func transcript() []step {
	return []step{
		{"login --get-login REGISTRY", "", nil},
		{"logout REGISTRY", "", nil},
		{"logout --all", "", nil},
		{"login REGISTRY", "", nil},
		{"login REGISTRY", "", []string{"alice", secret}},
		{"login REGISTRY", "", nil},
		{"login --get-login REGISTRY", "", nil},
		{"login --get-login REGISTRY/a/b", "", nil},
		{"login -v -u bob --password-stdin https://REGISTRY/v2/", "b:o b\n", nil},
		{"login --get-login REGISTRY", "", nil},
		{"login -v -u alice --password-stdin REGISTRY/team/x", secret, nil},
		{"login -u alice REGISTRY", "", []string{"wrong"}},
		{"login -u alice REGISTRY", "", []string{"EOF"}},
		{"login -p " + secret + " REGISTRY", "", []string{" alice "}},
		{"login --debug -u alice --password-stdin REGISTRY", secret + "\r\n", nil},
		{"login --debug -u alice --password-stdin REGISTRY", secret + "-not\n", nil},

		{"login --verbose -u alice --password-stdin --compat-auth-file DIR/new/docker.json REGISTRY", secret, nil},
		{"login -u alice --password-stdin --compat-auth-file DIR/new/docker.json REGISTRY/team", secret, nil},
		{"login -u alice --password-stdin --authfile DIR/compact.json REGISTRY", secret, nil},
		{"login --authfile DIR/broken.json REGISTRY", "", nil},
		{"login --authfile DIR/broken.json -u alice --password-stdin REGISTRY", secret, nil},
		{"login --authfile DIR/cut.json --get-login REGISTRY", "", nil},
		{"login --authfile DIR/cut.json -u alice --password-stdin REGISTRY", secret, nil},
		{"login --authfile DIR/token.json --get-login REGISTRY", "", nil},
		{"login --authfile DIR/token.json -u alice --password-stdin REGISTRY", secret, nil},
		{"login --authfile DIR/stale.json REGISTRY", "", nil},
		{"login --authfile DIR/stale.json REGISTRY", "", []string{"", secret}},
		{"login --authfile DIR/helper.json REGISTRY", "", nil},
		{"logout --authfile DIR/helper.json REGISTRY", "", nil},

		{"login -u alice --password-stdin REGISTRY", "a\nb\n", nil},
		{"login --password-stdin REGISTRY", secret, nil},
		{"login -u alice -p x --password-stdin REGISTRY", secret, nil},
		{"login -u alice --password-stdin REGISTRY", "", nil},
		{"login REGISTRY REGISTRY", "", nil},
		{"login", "", nil},
		{"login --get-login -u alice REGISTRY", "", nil},
		{"login --authfile a --compat-auth-file b REGISTRY", "", nil},
		{"login REGISTRY/a:tag", "", nil},
		{"login https://alice:" + secret + "@REGISTRY/", "", nil},
		{"login https://REGISTRY/team", "", nil},
		{"login REGISTRY/", "", nil},
		{"login h.example/UPPER", "", nil},

		{"logout REGISTRY/team", "", nil},
		{"logout REGISTRY/team/x", "", nil},
		{"logout --authfile DIR/none.json REGISTRY", "", nil},
		{"logout --authfile DIR/cut.json REGISTRY", "", nil},
		{"logout --compat-auth-file DIR/new/docker.json REGISTRY", "", nil},
		{"logout --all REGISTRY", "", nil},
		{"logout", "", nil},
		{"logout --all", "", nil},
		{"login --get-login REGISTRY", "", nil},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	have, expected := strings.SplitAfter(got, "\n"), strings.SplitAfter(string(want), "\n")
	for i := range max(len(have), len(expected)) {
		if i >= len(have) || i >= len(expected) || have[i] != expected[i] {
			t.Fatalf("line %d of %s differs (-update writes it anew):\n%s", i+1, path, strings.Join(have[max(0, i-3):min(len(have), i+3)], ""))
		}
	}
}

// A registry with a token service is asked without a scope, and an identity
// token is tried as it is stored.
func TestBearer(t *testing.T) {
	d := newDesk(t, registrytest.Bearer)
	if code, _, errs := d.run("login -u alice --password-stdin REGISTRY", secret); code != 0 {
		t.Errorf("login: exit %d: %s", code, errs)
	}
	if code, _, errs := d.run("login -u alice --password-stdin REGISTRY", "wrong"); code != cli.CodeUnauthorized {
		t.Errorf("login with a wrong password: exit %d: %s", code, errs)
	}
	for token, want := range map[string]int{"tok": 0, "old": cli.CodeUnauthorized} {
		d.put("token.json", `{"auths": {"REGISTRY": {"identitytoken": "`+token+`"}}}`)
		if code, _, errs := d.run("login --authfile DIR/token.json REGISTRY", ""); code != want {
			t.Errorf("login with the identity token %s: exit %d: %s", token, code, errs)
		}
	}
}

// Nothing is stored that the registry was not asked about, and nothing is said
// to succeed that was not stored.
func TestLoginFails(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{
		{image.ErrUnauthorized, cli.CodeUnauthorized},
		{image.ErrDenied, cli.CodeUnauthorized},
		{image.ErrNetwork, cli.CodeNetwork},
		{errors.New("x"), cli.CodeFailed},
		{nil, cli.CodeFailed}, // and then the directory can not be made
	} {
		d := newDesk(t, registrytest.Open)
		if tt.err == nil {
			d.put("run/containers", "")
		}
		refuse := func(context.Context, string, *transport.Access) error { return tt.err }
		var out, errs bytes.Buffer
		std := &cli.IO{In: strings.NewReader(secret), Out: &out, Err: &errs}
		code := login(refuse, d.ask).Execute(t.Context(), std, []string{"-u", "alice", "--password-stdin", d.server.Addr})
		if code != tt.code || strings.Contains(errs.String(), "Succeeded") || out.Len() > 0 {
			t.Errorf("login when the registry says %v: exit %d, %s; want %d", tt.err, code, &errs, tt.code)
		}
		if _, err := os.Stat(filepath.Join(d.dir, "run", "containers", "auth.json")); err == nil {
			t.Errorf("login when the registry says %v has stored something", tt.err)
		}
	}
}

// Nobody should type a password that has no place to go.
func TestLoginNoPlace(t *testing.T) {
	d := newDesk(t, registrytest.Basic)
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(d.dir, "gone"))
	d.answers = []string{"alice", secret}
	code, _, errs := d.run("login REGISTRY", "")
	if code != cli.CodeFailed || len(d.answers) != 2 || errs != "img-login: $XDG_RUNTIME_DIR is \"DIR/gone\", which does not exist: create it or unset the variable\n" {
		t.Errorf("login without a run-time directory: exit %d, %s", code, errs)
	}
}

// Options are those of the registry's side; what they mean is tested there.
func TestLoginOptions(t *testing.T) {
	d := newDesk(t, registrytest.Open)
	var got *transport.Access
	var host string
	look := func(_ context.Context, h string, a *transport.Access) error { host, got = h, a; return nil }
	d.put("tls.yaml", "minVersion: \"1.3\"\n")
	var errs bytes.Buffer
	std := &cli.IO{In: strings.NewReader(secret), Out: io.Discard, Err: &errs}
	code := login(look, d.ask).Execute(t.Context(), std, []string{"-u", "alice", "--password-stdin", "--cert-dir=certs", "--tls-verify=false", "--tls-details", filepath.Join(d.dir, "tls.yaml"), "h.example/a"})
	if code != 0 || host != "h.example" || got.Registry.CertDir != "certs" || got.Registry.Network.TLS.MinVersion != tls.VersionTLS13 {
		t.Fatalf("login: exit %d, %s; asked %s with %+v", code, &errs, host, got)
	}
	c, err := got.Registry.Credential(t.Context(), "h.example")
	if err != nil || c.Username != "alice" || c.Password != secret {
		t.Errorf("the credential is %v, %v; want alice's", c, err)
	}
}

// The helper programs of registries.conf are for login too.
func TestLoginHelpers(t *testing.T) {
	d := newDesk(t, registrytest.Basic)
	bin := filepath.Join(d.dir, "bin")
	d.put("bin/docker-credential-test", "#!/bin/sh\ncase $1 in get) cat DIR/kept 2>/dev/null || { echo credentials not found in native keychain; exit 1; };; store) cat >DIR/kept;; "+
		"list) test -e DIR/kept && echo '{\"REGISTRY\": \"alice\"}' || echo {};; erase) rm DIR/kept;; esac\n")
	if err := os.Chmod(filepath.Join(bin, "docker-credential-test"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	d.put("registries.conf", `credential-helpers = ["test"]`)
	for _, tt := range []struct{ command, in, want string }{
		{"login -v -u alice --password-stdin REGISTRY", secret, "Stored in credential helper: test.\nLogin Succeeded!\n"},
		{"login REGISTRY", "", "Trying the credentials that are stored for REGISTRY.\nThey are valid: already logged in to REGISTRY.\n"},
		{"logout REGISTRY", "", "Removed login credentials for REGISTRY from credential helper: test\n"},
		{"logout --all", "", "No login credentials are stored\n"},
	} {
		if code, out, errs := d.run(tt.command, tt.in); code != 0 || out != "" || errs != tt.want {
			t.Errorf("img-%s: exit %d, %q, %q; want %q", tt.command, code, out, errs, tt.want)
		}
	}
	d.put("registries.conf", "")
	d.put("other.conf", `credential-helpers = ["test"]`)
	for _, command := range []string{"login -v -u alice --password-stdin", "logout"} {
		code, _, errs := d.run(command+" --registries-conf DIR/other.conf REGISTRY", secret)
		if code != 0 || !strings.Contains(errs, "credential helper: test") {
			t.Errorf("img-%s with another registries.conf: exit %d, %s", command, code, errs)
		}
	}
	d.put("registries.conf", "credential-helpers = 1")
	if code, _, errs := d.run("login REGISTRY", ""); code != cli.CodeFailed || !strings.Contains(errs, "DIR/registries.conf") {
		t.Errorf("login with a bad registries.conf: exit %d, %s", code, errs)
	}
}
