package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// A registry may want its clients to have certificates. They are given by a
// flag, for each side, or lie where podman and skopeo look for them.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	for _, version := range []string{"v3", "2.8"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, TLS: true, Clients: true, Htpasswd: true})
			r.Seed(t, l, "tiny", "a/b:1")
			creds := r.User + ":" + r.Password
			want := l.Roots["tiny"].Digest
			harness.Must(t, "img-inspect", "--creds="+creds, "--cert-dir="+r.ClientDir, r.Ref("a/b:1"))
			harness.Must(t, "img-copy", "-q", "--src-creds="+creds, "--dest-creds="+creds,
				"--src-cert-dir="+r.ClientDir, "--dest-cert-dir="+r.ClientDir, r.Ref("a/b:1"), r.Ref("c/d:1"))
			holds(t, r, "c/d:1", want.String())

			got := harness.Run(t, nil, "img-inspect", "--creds="+creds, "--cert-dir="+r.CertDir, r.Ref("a/b:1"))
			if m := failed(t, got, got.Code, "img-inspect"); got.Code == 0 || !strings.Contains(m, "certificate") {
				t.Errorf("no certificate: %+v; want it refused, for that", got)
			}
			other := harness.StartRegistry(t, harness.RegistryOptions{TLS: true, Clients: true})
			mixed := newHome(t)
			mixed.write(t, "ca.crt", string(slurp(t, filepath.Join(r.CertDir, "ca.crt"))))
			mixed.write(t, "x.cert", string(slurp(t, filepath.Join(other.ClientDir, "client.cert"))))
			mixed.write(t, "x.key", string(slurp(t, filepath.Join(other.ClientDir, "client.key"))))
			got = harness.Run(t, nil, "img-inspect", "--creds="+creds, "--cert-dir="+string(mixed), r.Ref("a/b:1"))
			if got.Code == 0 {
				t.Errorf("somebody else's certificate: %+v; want it refused", got)
			}
		})
	}
}

// The certificates of a host lie in a directory of its name, the user's before
// the machine's, and those of --cert-dir count instead.
func TestCertsD(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	r := harness.StartRegistry(t, harness.RegistryOptions{TLS: true, Clients: true})
	other := harness.StartRegistry(t, harness.RegistryOptions{TLS: true, Clients: true})
	r.Seed(t, l, "tiny", "a/b:1")
	home := newHome(t)
	home.trust(t, r.Addr, r.ClientDir)
	home.trust(t, other.Addr, other.ClientDir)
	c := home.command()
	c.Must(t, "img-inspect", r.Ref("a/b:1"))
	c.Must(t, "img-list-tags", r.Ref("a/b"))
	c.Must(t, "img-copy", "-q", r.Ref("a/b:1"), other.Ref("c/d:1")) // each with its own
	holds(t, other, "c/d:1", l.Roots["tiny"].Digest.String())
	c.Must(t, "skopeo", "inspect", "--raw", r.Ref("a/b:1"))
	if got := c.Run(t, "img-inspect", "--cert-dir="+other.ClientDir, r.Ref("a/b:1")); got.Code == 0 {
		t.Error("--cert-dir with another authority: done; want that directory and no other")
	}
	if got := harness.Run(t, nil, "img-inspect", r.Ref("a/b:1")); got.Code == 0 {
		t.Error("without certificates: done")
	}
	harness.Must(t, "rm", home.path(".config/containers/certs.d/"+r.Addr+"/client.key"))
	got := c.Run(t, "img-inspect", r.Ref("a/b:1"))
	if m := failed(t, got, got.Code, "img-inspect"); got.Code == 0 || !strings.Contains(m, "client.key") {
		t.Errorf("no key: %q; want the missing file in it", m)
	}
}

// A login needs the same certificates as all that comes after it.
func TestLoginWithCertificates(t *testing.T) {
	t.Parallel()
	a := accountAt(t, harness.StartRegistry(t, harness.RegistryOptions{TLS: true, Clients: true, Htpasswd: true}))
	c := a.command()
	c.Stdin = strings.NewReader(a.Password)
	if got := c.Run(t, "img-login", "--username="+a.User, "--password-stdin", "--cert-dir="+a.CertDir, a.Addr); got.Code == 0 {
		t.Errorf("without a certificate: %+v", got)
	}
	a.login(t, nil, "--cert-dir="+a.ClientDir)
	a.command().Must(t, "img-inspect", "--cert-dir="+a.ClientDir, a.Ref("a/b:1"))
	a.trust(t, a.Addr, a.ClientDir)
	a.login(t, nil)
	a.reads(t, true)
}

// Some may use no older TLS than they say; who says something that is no
// version is told so.
func TestTLSDetails(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	r := harness.StartRegistry(t, harness.RegistryOptions{TLS: true})
	r.Seed(t, l, "tiny", "a/b:1")
	home := newHome(t)
	for text, code := range map[string]int{
		"minVersion: \"1.3\"\n":                      0,
		"namedGroups: [X25519MLKEM768, secp256r1]\n": 0,
		"minVersion: \"1.4\"\n":                      failure,
		"nosuch: 1\n":                                failure,
		"minVersion: [\n":                            failure,
	} {
		file := home.write(t, "tls.yaml", text)
		got := harness.Run(t, nil, "img-inspect", "--cert-dir="+r.CertDir, "--tls-details="+file, r.Ref("a/b:1"))
		if got.Code != code {
			t.Errorf("%q: exit %d; want %d\n%s", text, got.Code, code, got.Stderr)
		}
		if code != 0 && !strings.Contains(got.Stderr, file) {
			t.Errorf("%q: %q; want the file in it", text, got.Stderr)
		}
	}
}
