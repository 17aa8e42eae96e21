package e2e_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// locked returns a registry that wants a password, over HTTPS, with an image in
// it as a/b:1.
func locked(t *testing.T, version string) (*harness.Registry, harness.Layout) {
	t.Helper()
	r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, TLS: true, Htpasswd: true})
	l := harness.Image(t, sample.Tiny())
	r.Seed(t, l, "tiny", "a/b:1")
	return r, l
}

// authFile writes a file of credentials. The text may name HOST, AUTH (the
// right credentials) and BAD (wrong ones).
func authFile(t *testing.T, r *harness.Registry, file, text string) {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))
	bad := base64.StdEncoding.EncodeToString([]byte("somebody:else"))
	text = strings.NewReplacer("HOST", r.Addr, "AUTH", auth, "BAD", bad).Replace(text)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const goodAuth = `{"auths":{"HOST":{"auth":"AUTH"}}}`

// Credentials are found wherever other tools left them, in the order in which
// those look, and the first file that has any decides.
func TestCredentials(t *testing.T) {
	t.Parallel()
	r, l := locked(t, "v3")
	for name, x := range map[string]struct {
		files map[string]string // by path below the home directory
		env   []string          // ~ is that directory, and the home
		flags []string
		code  int
	}{
		"none":               {code: unauthorised},
		"creds":              {flags: []string{"--creds", r.User + ":" + r.Password}},
		"username, password": {flags: []string{"--username", r.User, "--password", r.Password}},
		"wrong creds":        {flags: []string{"--creds", r.User + ":wrong"}, code: unauthorised},
		"no-creds":           {files: map[string]string{".docker/config.json": goodAuth}, flags: []string{"--no-creds"}, code: unauthorised},
		"authfile":           {files: map[string]string{"x.json": goodAuth}, flags: []string{"--authfile", "~/x.json"}},
		"REGISTRY_AUTH_FILE": {files: map[string]string{"x.json": goodAuth}, env: []string{"REGISTRY_AUTH_FILE=~/x.json"}},
		"authfile before REGISTRY_AUTH_FILE": {
			files: map[string]string{"x.json": goodAuth, "y.json": "{}"},
			env:   []string{"REGISTRY_AUTH_FILE=~/y.json"}, flags: []string{"--authfile", "~/x.json"},
		},
		"authfile alone counts": {
			files: map[string]string{"x.json": "{}", ".docker/config.json": goodAuth},
			flags: []string{"--authfile", "~/x.json"}, code: unauthorised,
		},
		"runtime":       {files: map[string]string{"run/containers/auth.json": goodAuth}, env: []string{"XDG_RUNTIME_DIR=~/run"}},
		"config":        {files: map[string]string{".config/containers/auth.json": goodAuth}},
		"XDG config":    {files: map[string]string{"xdg/containers/auth.json": goodAuth}, env: []string{"XDG_CONFIG_HOME=~/xdg"}},
		"docker":        {files: map[string]string{".docker/config.json": goodAuth}},
		"DOCKER_CONFIG": {files: map[string]string{"d/config.json": goodAuth}, env: []string{"DOCKER_CONFIG=~/d"}},
		"dockercfg":     {files: map[string]string{".dockercfg": `{"HOST":{"auth":"AUTH"}}`}},
		"runtime before docker": {
			files: map[string]string{"run/containers/auth.json": `{"auths":{"HOST":{"auth":"BAD"}}}`, ".docker/config.json": goodAuth},
			env:   []string{"XDG_RUNTIME_DIR=~/run"}, code: unauthorised,
		},
		"docker behind another's file": {files: map[string]string{
			".config/containers/auth.json": `{"auths":{"other.example":{"auth":"BAD"}}}`, ".docker/config.json": goodAuth,
		}},
		"repository before host":    {files: map[string]string{".docker/config.json": `{"auths":{"HOST":{"auth":"BAD"},"HOST/a/b":{"auth":"AUTH"}}}`}},
		"namespace before host":     {files: map[string]string{".docker/config.json": `{"auths":{"HOST/a":{"auth":"AUTH"},"HOST":{"auth":"BAD"}}}`}},
		"another namespace":         {files: map[string]string{".docker/config.json": `{"auths":{"HOST/c":{"auth":"AUTH"}}}`}, code: unauthorised},
		"a name that begins alike":  {files: map[string]string{".docker/config.json": `{"auths":{"HOST0":{"auth":"AUTH"},"HOST/a/bb":{"auth":"AUTH"}}}`}, code: unauthorised},
		"docker's old form":         {files: map[string]string{".docker/config.json": `{"auths":{"https://HOST/v1/":{"auth":"AUTH"}}}`}},
		"helper":                    {files: map[string]string{".docker/config.json": `{"credHelpers":{"HOST":"e2e"}}`}},
		"helper that knows nothing": {files: map[string]string{".docker/config.json": `{"credHelpers":{"HOST":"nothing"}}`}, code: unauthorised},
		"file behind such a helper": {files: map[string]string{
			".config/containers/auth.json": `{"credHelpers":{"HOST":"nothing"}}`, ".docker/config.json": goodAuth,
		}},
		"broken file":  {files: map[string]string{".docker/config.json": `{"auths":{"HOST":{"auth":"AUTH"`}, code: failure},
		"broken auth":  {files: map[string]string{".docker/config.json": `{"auths":{"HOST":{"auth":"!!!!"}}}`}, code: failure},
		"missing file": {flags: []string{"--authfile", "~/none.json"}, code: unauthorised},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := harness.Dir(t)
			for f, text := range x.files {
				authFile(t, r, filepath.Join(home, f), text)
			}
			c := harness.Command{Env: []string{"HOME=" + home, "PATH=" + helpers(t, r) + ":/usr/bin:/bin"}}
			for _, e := range x.env {
				c.Env = append(c.Env, strings.ReplaceAll(e, "~", home))
			}
			args := []string{"--digest", "--cert-dir=" + r.CertDir}
			for _, f := range x.flags {
				args = append(args, strings.ReplaceAll(f, "~", home))
			}
			got := c.Run(t, "img-inspect", append(args, r.Ref("a/b:1"))...)
			if x.code != 0 {
				if m := failed(t, got, x.code, "img-inspect"); x.code == unauthorised && !strings.Contains(m, r.Addr) {
					t.Errorf("message %q; want the registry in it", m)
				}
			} else if got.Stdout != l.Roots["tiny"].Digest.String()+"\n" {
				t.Errorf("%+v; want the image's digest", got)
			}
			for _, secret := range []string{r.Password, "somebody", "else", base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))} {
				if strings.Contains(got.Stderr, secret) {
					t.Errorf("%q shows the secret %q", got.Stderr, secret)
				}
			}
		})
	}
}

// helpers returns a directory of credential helpers: e2e knows the registry's
// user, nothing knows nothing, as the protocol of docker's helpers says it.
func helpers(t *testing.T, r *harness.Registry) string {
	t.Helper()
	dir := harness.Dir(t)
	for name, script := range map[string]string{
		"e2e": fmt.Sprintf(`#!/bin/sh
read -r host
[ "$1" = get ] && [ "$host" = %q ] || exit 1
printf '{"ServerURL":"%%s","Username":%q,"Secret":%q}\n' "$host"
`, r.Addr, r.User, r.Password),
		"nothing": "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Each side of a copy has its own credentials; what is for one must not be sent
// to the other.
func TestCredentialsOfTwoSides(t *testing.T) {
	t.Parallel()
	from, l := locked(t, "v3")
	to, _ := locked(t, "2.8")
	creds := from.User + ":" + from.Password
	certs := []string{"--quiet", "--src-cert-dir=" + from.CertDir, "--dest-cert-dir=" + to.CertDir}
	dir := harness.Dir(t)
	authFile(t, from, dir+"/from.json", goodAuth)
	authFile(t, to, dir+"/to.json", goodAuth)
	for i, x := range []struct {
		flags []string
		side  string // that refuses
	}{
		{[]string{"--src-creds=" + creds, "--dest-creds=" + creds}, ""},
		{[]string{"--src-username=" + from.User, "--src-password=" + from.Password, "--dest-username=" + to.User, "--dest-password=" + to.Password}, ""},
		{[]string{"--src-authfile=" + dir + "/from.json", "--dest-authfile=" + dir + "/to.json"}, ""},
		{[]string{"--authfile=" + dir + "/from.json", "--dest-authfile=" + dir + "/to.json"}, ""},
		{[]string{"--src-creds=" + creds}, "destination"},
		{[]string{"--dest-creds=" + creds}, "source"},
		{[]string{"--authfile=" + dir + "/from.json"}, "destination"},
		{[]string{"--authfile=" + dir + "/to.json"}, "source"},
		{[]string{"--src-creds=" + creds, "--dest-creds=" + creds, "--src-authfile=" + dir + "/to.json"}, ""},
	} {
		ref := to.Ref(fmt.Sprintf("two/%d:1", i))
		args := append(append(certs, x.flags...), from.Ref("a/b:1"), ref)
		r := harness.Run(t, nil, "img-copy", args...)
		if x.side == "" {
			if r.Code != 0 {
				t.Errorf("%v: exit %d\n%s", x.flags, r.Code, r.Stderr)
			}
			holds(t, to, fmt.Sprintf("two/%d:1", i), l.Roots["tiny"].Digest.String())
			continue
		}
		if m := failed(t, r, unauthorised, "img-copy"); !strings.Contains(m, x.side) {
			t.Errorf("%v: message %q; want the %s refused", x.flags, m, x.side)
		}
	}
}

// The connection is as safe as was asked for: a certificate that nobody vouches
// for is refused unless the user says otherwise, and plain HTTP beyond this
// machine is not even tried.
func TestTLS(t *testing.T) {
	t.Parallel()
	r, l := locked(t, "v3")
	creds := "--creds=" + r.User + ":" + r.Password
	got := harness.Run(t, nil, "img-inspect", creds, r.Ref("a/b:1"))
	if m := failed(t, got, got.Code, "img-inspect"); got.Code == 0 || !strings.Contains(m, "certificate") {
		t.Errorf("an unknown authority: %+v; want it refused", got)
	}
	for _, flag := range []string{"--tls-verify=false", "--cert-dir=" + r.CertDir} {
		if out := harness.Must(t, "img-inspect", "--digest", flag, creds, r.Ref("a/b:1")); out != l.Roots["tiny"].Digest.String()+"\n" {
			t.Errorf("img-inspect %s: %q", flag, out)
		}
	}
	harness.Must(t, "img-copy", "-q", "--src-tls-verify=false", "--src-"+creds[2:], r.Ref("a/b:1"), "dir:"+harness.Dir(t)+"/d")
	trusted := harness.Command{Env: []string{"SSL_CERT_FILE=" + filepath.Join(r.CertDir, "ca.crt")}}
	trusted.Must(t, "img-inspect", creds, r.Ref("a/b:1"))

	var plain atomic.Int32
	l2, err := net.Listen("tcp", net.JoinHostPort(outerAddress(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		plain.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	s.Listener.Close()
	s.Listener = l2
	s.Start()
	defer s.Close()
	ref := "docker://" + l2.Addr().String() + "/a/b:1"
	if r := harness.Run(t, nil, "img-inspect", "--retry-times=0", "--creds=u:p", ref); r.Code == 0 || plain.Load() != 0 {
		t.Errorf("%+v, and %d requests in the clear; want none", r, plain.Load())
	}
	if harness.Run(t, nil, "img-inspect", "--retry-times=0", "--tls-verify=false", ref); plain.Load() == 0 {
		t.Error("no request in the clear though the user allowed it")
	}
}

// outerAddress returns an address of this machine that is not loopback.
func outerAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but loopback; the test needs one")
	return ""
}

// Who debugs sends the output to others. No secret may be in it, in any form,
// whether it was right or wrong, and whoever had it.
func TestNoSecretInOutput(t *testing.T) {
	t.Parallel()
	r, l := locked(t, "v3")
	const user, word = "user", "hunter2"
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + word))
	right := base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))
	dir := harness.Dir(t)
	if err := os.WriteFile(filepath.Join(dir, "auth.json"), []byte(`{"auths":{"`+r.Addr+`":{"auth":"`+basic+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{
		{"--src-creds=" + user + ":" + word},
		{"--src-username=" + user, "--src-password=" + word},
		{"--src-registry-token=" + word},
		{"--src-authfile=" + dir + "/auth.json"},
		{"--src-creds=" + r.User + ":" + r.Password},
		{"--src-creds=" + user + ":" + word, "--src-no-creds"},
		{"--src-creds=" + user + ":" + word, "--src-username=" + word},
	} {
		for _, more := range [][]string{{"--debug"}, {"--debug", "--progress=json"}, {"--debug", "--no-such-flag"}} {
			args := append(append(flags, more...), "--src-cert-dir="+r.CertDir, r.Ref("a/b:1"), "oci:"+harness.Dir(t)+"/l:x")
			got := harness.Run(t, nil, "img-copy", args...)
			for _, secret := range []string{word, basic, right, r.Password} {
				if strings.Contains(got.Stdout+got.Stderr, secret) {
					t.Errorf("%v: the output has %q:\n%s%s", flags, secret, got.Stdout, got.Stderr)
				}
			}
		}
	}
	// Uploads have state in their URLs' queries, which is as good as a password.
	got := harness.Run(t, nil, "img-copy", "--debug", "--dest-creds="+r.User+":"+r.Password, "--dest-cert-dir="+r.CertDir, l.Ref("tiny"), r.Ref("c/d:1"))
	if got.Code != 0 || strings.Contains(got.Stderr, "_state=") {
		t.Errorf("exit %d; the output shows queries:\n%s", got.Code, got.Stderr)
	}
}

// A token goes to the server that asked for it and to no other, even if that
// one is asked for the content.
func TestRedirectGetsNoCredentials(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	var leaked atomic.Value
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			leaked.Store(a)
		}
		http.ServeFile(w, r, filepath.Join(l.Dir, "blobs/sha256", filepath.Base(r.URL.Path)))
	}))
	defer store.Close()
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != "user" || p != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", l.Roots["tiny"].MediaType)
			http.ServeFile(w, r, l.Blob(l.Roots["tiny"].Digest))
			return
		}
		_, hex, _ := strings.Cut(r.URL.Path, "sha256:")
		http.Redirect(w, r, store.URL+"/"+hex+"?X-Signature=hunter3", http.StatusTemporaryRedirect)
	}))
	defer registry.Close()
	to := "oci:" + harness.Dir(t) + "/l:x"
	r := harness.Run(t, nil, "img-copy", "--debug", "--src-creds=user:hunter2", "docker://"+registry.Listener.Addr().String()+"/a/b:1", to)
	if r.Code != 0 {
		t.Fatalf("exit %d\n%s", r.Code, r.Stderr)
	}
	mustWhole(t, to, l.Roots["tiny"].Digest)
	if a := leaked.Load(); a != nil {
		t.Errorf("the redirect's target got %v", a)
	}
	if strings.Contains(r.Stderr, "hunter") {
		t.Errorf("the output shows secrets:\n%s", r.Stderr)
	}
}
