package harness_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// All registries, in each way that tests open them, must take what Seed uploads
// and give it to others byte for byte.
func TestRegistry(t *testing.T) {
	l := harness.Image(t, sample.All()...)
	for _, version := range []string{"v3", "2.8", "olareg"} {
		for _, locked := range []bool{false, true} {
			o := harness.RegistryOptions{Version: version, TLS: locked, Htpasswd: locked && version != "olareg", Delete: locked}
			t.Run(fmt.Sprintf("%s,locked=%v", version, locked), func(t *testing.T) {
				t.Parallel()
				r := harness.StartRegistry(t, o)
				seedAll(t, r, l)
				if got, _ := r.Manifest(t, "seed/tiny", "none"); got != "" {
					t.Errorf("manifest of a tag that is not there: %q; want none", got)
				}
				pushPull(t, r, l)
			})
		}
	}
}

func seedAll(t *testing.T, r *harness.Registry, l harness.Layout) {
	t.Helper()
	for tag, root := range l.Roots {
		r.Seed(t, l, tag, "seed/"+tag+":1")
		if got, _ := r.Manifest(t, "seed/"+tag, "1"); got != root.Digest {
			t.Errorf("%s: registry has %q; want %s", tag, got, root.Digest)
		}
	}
}

// The other ways to lock a registry must let those in that they should, and
// nobody else.
func TestLocks(t *testing.T) {
	l := harness.Image(t, sample.Tiny())
	for _, version := range []string{"v3", "2.8"} {
		t.Run(version+"/clients", func(t *testing.T) {
			t.Parallel()
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, TLS: true, Clients: true})
			seedAll(t, r, l)
			for dir, want := range map[string]bool{r.CertDir: false, r.ClientDir: true} {
				got := harness.Run(t, nil, "skopeo", "inspect", "--raw", "--cert-dir="+dir, r.Ref("seed/tiny:1"))
				if (got.Code == 0) != want {
					t.Errorf("with %s: %+v; want it let in: %v", dir, got, want)
				}
			}
		})
		t.Run(version+"/tokens", func(t *testing.T) {
			t.Parallel()
			tokens := harness.StartTokens(t, harness.TokenOptions{})
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, Tokens: tokens})
			seedAll(t, r, l)
			for _, x := range []struct {
				password string
				want     harness.TokenRequest
			}{
				{"wrong", harness.TokenRequest{Status: 401}},
				{r.Password, harness.TokenRequest{Status: 200, Proved: "password"}},
			} {
				x.want.Method, x.want.Account, x.want.Scopes = "GET", r.User, []string{"repository:seed/tiny:pull"}
				got := harness.Run(t, nil, "skopeo", "inspect", "--raw", "--tls-verify=false", "--creds="+r.User+":"+x.password, r.Ref("seed/tiny:1"))
				if (got.Code == 0) != (x.want.Status == 200) {
					t.Errorf("with %q: %+v; want %d of the token service", x.password, got, x.want.Status)
				}
				asked := tokens.Asked()
				if d := cmp.Diff(x.want, asked[len(asked)-1]); d != "" {
					t.Errorf("the token service heard something else (-want +got):\n%s", d)
				}
			}
		})
	}
}

// A mirror must give what the other registry has, and keep it.
func TestMirror(t *testing.T) {
	l := harness.Image(t, sample.Platforms())
	far := harness.StartRegistry(t, harness.RegistryOptions{})
	near := harness.StartRegistry(t, harness.RegistryOptions{Mirror: far})
	far.Seed(t, l, "platforms", "a/b:1")
	for _, r := range []*harness.Registry{near, far} {
		if got, _ := r.Manifest(t, "a/b", "1"); got != l.Roots["platforms"].Digest {
			t.Errorf("%s has %q; want %s", r.Addr, got, l.Roots["platforms"].Digest)
		}
	}
	contains(t, harness.Must(t, "skopeo", "list-tags", "--tls-verify=false", near.Ref("a/b")), `"1"`)
}

// Tags that were written into the storage must be there for the registry, or
// tests of thousands would prove nothing.
func TestTag(t *testing.T) {
	l := harness.Image(t, sample.Tiny(), sample.Docker())
	for _, version := range []string{"v3", "2.8"} {
		r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, Delete: true})
		r.Seed(t, l, "tiny", "a/b:1")
		r.Seed(t, l, "docker", "a/b:2")
		r.Tag(t, "a/b", map[string]digest.Digest{"x": l.Roots["tiny"].Digest, "y": l.Roots["docker"].Digest})
		way := r.Through(t, nil)
		for tag, of := range map[string]string{"1": "tiny", "2": "docker", "x": "tiny", "y": "docker"} {
			if got, _ := r.Manifest(t, "a/b", tag); got != l.Roots[of].Digest {
				t.Errorf("%s: %s is %q; want %s", version, tag, got, of)
			}
		}
		list := strings.Fields(harness.Must(t, "crane", "ls", way.Addr+"/a/b"))
		slices.Sort(list)
		if want := []string{"1", "2", "x", "y"}; !slices.Equal(list, want) {
			t.Errorf("%s: lists %q; want %q", version, list, want)
		}
		if got := way.Requests("tags/list"); len(got) != 1 {
			t.Errorf("the way saw %q; want the one list", got)
		}
	}
}

// pushPull sends an image in with one tool and gets it back with another.
func pushPull(t *testing.T, r *harness.Registry, l harness.Layout) {
	t.Helper()
	flags := []string{"--tls-verify=false"}
	if r.CertDir != "" {
		flags = []string{"--cert-dir=" + r.CertDir}
	}
	if r.User != "" {
		flags = append(flags, "--creds="+r.User+":"+r.Password)
	}
	push, back := []string{"copy"}, t.TempDir()
	for _, f := range flags {
		push = append(push, "--dest-"+strings.TrimPrefix(f, "--"))
	}
	harness.Must(t, "skopeo", append(push, l.Ref("tiny"), r.Ref("push/tiny:1"))...)
	if got, _ := r.Manifest(t, "push/tiny", "1"); got != l.Roots["tiny"].Digest {
		t.Errorf("pushed by skopeo: %s; want %s", got, l.Roots["tiny"].Digest)
	}
	cmd := harness.Command{}
	if r.CertDir != "" {
		cmd.Env = []string{"SSL_CERT_FILE=" + filepath.Join(r.CertDir, "ca.crt"), "HOME=" + t.TempDir()}
	}
	if r.User != "" {
		login := harness.Command{Stdin: strings.NewReader(r.Password), Env: cmd.Env}
		login.Must(t, "crane", "auth", "login", r.Addr, "--username", r.User, "--password-stdin")
	}
	cmd.Must(t, "crane", "pull", "--format=oci", r.Addr+"/seed/platforms:1", back)
	index, err := os.ReadFile(filepath.Join(back, "index.json"))
	if want := l.Roots["platforms"].Digest.String(); err != nil || !strings.Contains(string(index), want) {
		t.Errorf("pulled by crane: %s (%v); want %s", index, err, want)
	}
}

// The engines must load what the samples hold, or tests that load what our
// tools wrote could fail for the sample's sake.
func TestEngines(t *testing.T) {
	l := harness.Image(t, sample.Tiny(), sample.Docker(), sample.Many(30))
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	archive := func(t *testing.T, tag string) *os.File {
		file := filepath.Join(t.TempDir(), tag+".tar")
		r.Seed(t, l, tag, tag+":1")
		harness.Must(t, "skopeo", "copy", "--src-tls-verify=false", r.Ref(tag+":1"), "docker-archive:"+file+":sample/"+tag+":1")
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	t.Run("docker", func(t *testing.T) {
		e := harness.Dockerd(t)
		for _, tag := range []string{"tiny", "docker", "many"} {
			e.Must(t, archive(t, tag), "load")
		}
		contains(t, e.Must(t, nil, "image", "inspect", "--format={{.Config.Env}} {{len .RootFS.Layers}}", "sample/many:1"), "SAMPLE=yes] 30")
	})
	t.Run("podman", func(t *testing.T) {
		e := harness.Podman(t)
		e.Must(t, archive(t, "tiny"), "load")
		contains(t, e.Must(t, nil, "image", "inspect", "--format={{.Config.Env}}", "sample/tiny:1"), "SAMPLE=yes")
	})
	t.Run("containerd", func(t *testing.T) {
		e := harness.Containerd(t)
		e.Must(t, archive(t, "tiny"), "images", "import", "-")
		contains(t, e.Must(t, nil, "images", "list"), "docker.io/sample/tiny:1")
	})
}

func contains(t *testing.T, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("got %q; want it to contain %q", got, want)
	}
}

// Programs must see none of the user's files, and their exit codes, outputs
// and inputs must not be mixed up: every end-to-end test reads them.
func TestRun(t *testing.T) {
	r := harness.Run(t, strings.NewReader("in"), "sh", "-c", "cat; echo err >&2; find ~ -type f; exit 3")
	if r.Stdout != "in" || r.Stderr != "err\n" || r.Code != 3 {
		t.Errorf("Run = %+v; want stdout in, stderr err, code 3", r)
	}
}

// Who meets a failure of the harness must learn from it what to do.
func TestFailures(t *testing.T) {
	for want, call := range map[string]func(harness.T){
		"test/install.sh":        func(t harness.T) { harness.Run(t, nil, "no-such-program") },
		"no registry of version": func(t harness.T) { harness.StartRegistry(t, harness.RegistryOptions{Version: "1"}) },
		"exit 4":                 func(t harness.T) { harness.Must(t, "sh", "-c", "exit 4") },
	} {
		contains(t, fatal(t, call), want)
	}
}

// fatal returns what call fails with.
func fatal(t *testing.T, call func(harness.T)) (message string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			message = fmt.Sprint(r)
		}
	}()
	call(panicker{t})
	return "no failure"
}

// panicker is a test that shows its failure.
type panicker struct{ *testing.T }

func (panicker) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
