package harness_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Both registries, in each way that tests open them, must take what Seed
// uploads and give it to others byte for byte.
func TestRegistry(t *testing.T) {
	l := harness.Image(t, sample.All()...)
	for _, version := range []string{"v3", "2.8"} {
		for _, locked := range []bool{false, true} {
			o := harness.RegistryOptions{Version: version, TLS: locked, Htpasswd: locked, Delete: locked}
			t.Run(fmt.Sprintf("%s,locked=%v", version, locked), func(t *testing.T) {
				t.Parallel()
				r := harness.StartRegistry(t, o)
				for tag, root := range l.Roots {
					r.Seed(t, l, tag, "seed/"+tag+":1")
					if got, _ := r.Manifest(t, "seed/"+tag, "1"); got != root.Digest {
						t.Errorf("%s: registry has %q; want %s", tag, got, root.Digest)
					}
				}
				if got, _ := r.Manifest(t, "seed/tiny", "none"); got != "" {
					t.Errorf("manifest of a tag that is not there: %q; want none", got)
				}
				pushPull(t, r, l)
			})
		}
	}
}

// pushPull sends an image in with one tool and gets it back with another.
func pushPull(t *testing.T, r *harness.Registry, l harness.Layout) {
	t.Helper()
	flags := []string{"--tls-verify=false"}
	if r.CertDir != "" {
		flags = []string{"--cert-dir=" + r.CertDir, "--creds=" + r.User + ":" + r.Password}
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
