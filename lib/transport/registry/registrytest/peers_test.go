package registrytest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
	"github.com/imgtools/imgtools/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// auths are the ways in which registries know their callers.
var auths = map[string]registrytest.Auth{
	"open":   {},
	"basic":  {Scheme: registrytest.Basic, Users: users},
	"bearer": {Scheme: registrytest.Bearer, Users: users},
}

var users = map[string]string{"ali": "sesame"}

// A peer is a program that others use with registries.
type peer struct {
	name string
	// copy copies all of an image between two references.
	copy func(p *session, from, to string)
	// skips says which images the program does not know what to do with.
	skips map[string]bool
}

// A session is a peer with a home in which it is logged in.
type session struct {
	t    *testing.T
	home string
}

func (p *session) run(name string, args ...string) string {
	p.t.Helper()
	c := harness.Command{Env: []string{"HOME=" + p.home, "DOCKER_CONFIG=" + p.home}}
	return c.Must(p.t, name, args...)
}

func (p *session) fails(name string, args ...string) {
	p.t.Helper()
	c := harness.Command{Env: []string{"HOME=" + p.home, "DOCKER_CONFIG=" + p.home}}
	if r := c.Run(p.t, name, args...); r.Code == 0 {
		p.t.Errorf("%s %q succeeds; want it to fail", name, args)
	}
}

// login makes a home that has the password for the servers, and in which
// regctl knows that they speak plain HTTP.
func login(t *testing.T, servers ...*registrytest.Server) *session {
	t.Helper()
	p := &session{t, t.TempDir()}
	var auth []string
	for _, s := range servers {
		auth = append(auth, fmt.Sprintf(`%q:{"auth":"YWxpOnNlc2FtZQ=="}`, s.Addr))
		p.run("regctl", "registry", "set", s.Addr, "--tls", "disabled", "--skip-check")
	}
	config := `{"auths":{` + strings.Join(auth, ",") + `}}`
	if err := os.WriteFile(filepath.Join(p.home, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *session) authfile() string { return "--authfile=" + filepath.Join(p.home, "config.json") }

var peers = []peer{
	{"crane", func(p *session, from, to string) { p.run("crane", "copy", "--insecure", from, to) }, nil},
	{"regctl", func(p *session, from, to string) { p.run("regctl", "image", "copy", "--force-recursive", from, to) }, nil},
	{"skopeo", func(p *session, from, to string) {
		p.run("skopeo", "copy", "--all", "--preserve-digests", p.authfile(), "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+from, "docker://"+to)
	}, map[string]bool{"nested": true}}, // a list in a list is not known to it
}

// Everything that others copy in and out arrives as it was: between two
// registries, which are pulls and uploads, and within one, which are mounts.
func TestPeersCopy(t *testing.T) {
	for scheme, auth := range auths {
		for _, peer := range peers {
			t.Run(scheme+"/"+peer.name, func(t *testing.T) {
				a := registrytest.Start(t, registrytest.Options{Auth: auth, Referrers: true})
				b := registrytest.Start(t, registrytest.Options{Auth: auth, RelativeLocation: true, NoMount: true})
				p := login(t, a, b)
				for kind, c := range imagetest.Everything() {
					if peer.skips[kind] {
						continue
					}
					a.Put("from/"+kind, "1", c.Root.Digest, c.Manifests, c.Blobs)
					peer.copy(p, a.Addr+"/from/"+kind+":1", b.Addr+"/there/"+kind+":2")
					check(t, b, "there/"+kind, "2", c)
					peer.copy(p, b.Addr+"/there/"+kind+":2", a.Addr+"/back/"+kind+":3")
					check(t, a, "back/"+kind, "3", c)
					peer.copy(p, a.Addr+"/from/"+kind+":1", a.Addr+"/beside/"+kind+":4")
					check(t, a, "beside/"+kind, "4", c)
				}
				for _, s := range []*registrytest.Server{a, b} {
					for _, q := range s.Requests() {
						if q.Status == 0 || q.Status >= 500 {
							t.Errorf("%s %s got %d", q.Method, q.Path, q.Status)
						}
					}
				}
			})
		}
	}
}

// check compares what a name stands for with what was copied there.
func check(t *testing.T, s *registrytest.Server, repo, tag string, c *imagetest.Content) {
	t.Helper()
	if got, ok := s.Manifest(repo, tag); !ok || !bytes.Equal(got, c.Manifests[c.Root.Digest].Bytes) {
		t.Errorf("%s:%s: %d bytes, %v; want the %d of the root", repo, tag, len(got), ok, c.Root.Size)
	}
	for d, m := range c.Manifests {
		if got, ok := s.Manifest(repo, d.String()); !ok || !bytes.Equal(got, m.Bytes) {
			t.Errorf("%s: manifest %s: %d bytes, %v; want %d", repo, d, len(got), ok, len(m.Bytes))
		}
	}
	for d, b := range c.Blobs {
		if got, ok := s.Blob(repo, d); !ok || !bytes.Equal(got, b) {
			t.Errorf("%s: blob %s: %d bytes, %v; want %d", repo, d, len(got), ok, len(b))
		}
	}
}

// What else people do with registries.
func TestPeersManage(t *testing.T) {
	for scheme, auth := range auths {
		t.Run(scheme, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{Auth: auth, Referrers: true, TagDelete: true, PageSize: 2})
			p, c := login(t, s), imagetest.Image()
			for _, tag := range []string{"1", "2", "3", "4", "5"} {
				s.Put("a/b", tag, c.Root.Digest, c.Manifests, c.Blobs)
			}
			ref := s.Addr + "/a/b"

			const tags = "1\n2\n3\n4\n5\n"
			if got := p.run("crane", "ls", "--insecure", ref); got != tags {
				t.Errorf("crane ls = %q; want %q", got, tags)
			}
			if got := p.run("regctl", "tag", "ls", ref); got != tags {
				t.Errorf("regctl tag ls = %q; want %q", got, tags)
			}
			if got := p.run("skopeo", "list-tags", "--tls-verify=false", p.authfile(), "docker://"+ref); !strings.Contains(got, `"5"`) {
				t.Errorf("skopeo list-tags = %s; want five tags", got)
			}
			p.run("crane", "validate", "--insecure", "--remote", ref+":1")
			if got := p.run("crane", "digest", "--insecure", ref+":1"); strings.TrimSpace(got) != c.Root.Digest.String() {
				t.Errorf("crane digest = %s; want %s", got, c.Root.Digest)
			}
			if got := p.run("skopeo", "inspect", "--tls-verify=false", p.authfile(), "docker://"+ref+":1"); !strings.Contains(got, c.Root.Digest.String()) {
				t.Errorf("skopeo inspect = %s; want it to name %s", got, c.Root.Digest)
			}

			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, []byte("attached"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.run("regctl", "artifact", "put", "--subject", ref+":1", "--artifact-type", "text/x", "--file", file)
			if got := p.run("regctl", "artifact", "list", ref+":1"); !strings.Contains(got, "text/x") {
				t.Errorf("regctl artifact list = %s; want what was attached", got)
			}

			p.run("regctl", "tag", "delete", ref+":5")
			if got := fmt.Sprint(s.Tags("a/b")); got != "[1 2 3 4]" {
				t.Errorf("tags after regctl tag delete: %s; want the other four", got)
			}
			p.run("skopeo", "delete", "--tls-verify=false", p.authfile(), "docker://"+ref+":1")
			if got := s.Tags("a/b"); len(got) != 0 {
				t.Errorf("tags after skopeo delete: %q; want none", got)
			}
			p.fails("crane", "digest", "--insecure", ref+":1")
		})
	}
}

// Images that come from files: pushes of monolithic and streamed blobs.
func TestPeersFiles(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p, c := login(t, s), imagetest.Index()
	s.Put("a", "1", c.Root.Digest, c.Manifests, c.Blobs)
	dir := t.TempDir()

	layout := filepath.Join(dir, "crane")
	p.run("crane", "pull", "--insecure", "--format=oci", s.Addr+"/a:1", layout)
	p.run("crane", "push", "--insecure", "--index", layout, s.Addr+"/crane:1")
	if len(s.Tags("crane")) != 1 {
		t.Errorf("crane push --index: tags are %q; want one", s.Tags("crane"))
	}

	layout = filepath.Join(dir, "skopeo")
	p.run("skopeo", "copy", "--all", "--src-tls-verify=false", "docker://"+s.Addr+"/a:1", "oci:"+layout+":1")
	p.run("skopeo", "copy", "--all", "--dest-tls-verify=false", "oci:"+layout+":1", "docker://"+s.Addr+"/skopeo:1")
	check(t, s, "skopeo", "1", c)

	archive := filepath.Join(dir, "regctl.tar")
	p.run("regctl", "image", "export", s.Addr+"/a:1", archive)
	p.run("regctl", "image", "import", s.Addr+"/regctl:1", archive)
	check(t, s, "regctl", "1", c)
}

// TLS with an authority of our own, and a password that is wrong.
func TestPeersTLS(t *testing.T) {
	s := registrytest.StartTLS(t, registrytest.Options{Auth: auths["bearer"]})
	c := imagetest.Image()
	s.Put("a", "1", c.Root.Digest, c.Manifests, c.Blobs)
	p, dir := login(t), "dir:"+filepath.Join(t.TempDir(), "image")
	ref := "docker://" + s.Addr + "/a:1"
	p.run("skopeo", "copy", "--src-cert-dir="+s.CertDir, "--src-creds=ali:sesame", ref, dir)
	p.fails("skopeo", "copy", "--src-cert-dir="+s.CertDir, "--src-creds=ali:wrong", ref, dir)
	p.fails("skopeo", "copy", "--src-creds=ali:sesame", ref, dir)
}
