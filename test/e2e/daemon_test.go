package e2e_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// A daemon's image is one as any other: it goes in from a registry under a name
// of its own, and comes out to a registry, a layout and a pipe, the same
// configuration and so the same image to every engine.
func TestDockerDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Docker(), sample.Many(30))
	e := harness.Dockerd(t)
	host := "unix://" + e.Socket
	env := harness.Command{Env: []string{"DOCKER_HOST=" + host}}
	for _, tag := range []string{"tiny", "docker", "many"} {
		name := "r.example/" + tag + ":1"
		if out := env.Must(t, "img-copy", "-q", w.at(tag), "docker-daemon:"+name); out != "docker-daemon:"+name+"\n" {
			t.Errorf("img-copy printed %q", out)
		}
		config := configOf(t, w.Layout, tag)
		if got := e.Must(t, nil, "image", "inspect", "--format={{.Id}}", name); got != config.String()+"\n" {
			t.Errorf("docker has %s as %s; want %s", tag, got, config)
		}
		to := w.Registry.Ref("back/" + tag + ":1")
		env.Must(t, "img-copy", "-q", "docker-daemon:"+name, to)
		if got := configIn(t, to); got != config.String() {
			t.Errorf("%s came back with the configuration %s; want %s", tag, got, config)
		}
		// The face does not look at DOCKER_HOST; it has an option.
		again := w.Registry.Ref("face/" + tag + ":1")
		harness.Must(t, filepath.Join(harness.Img(t), "skopeo"), "copy", "--insecure-policy", "--quiet", "--src-daemon-host", host, "docker-daemon:"+name, again, "--dest-tls-verify=false")
		if got := configIn(t, again); got != config.String() {
			t.Errorf("through skopeo %s came back with the configuration %s; want %s", tag, got, config)
		}
	}
	id := configOf(t, w.Layout, "tiny").String()
	mustPipe(t, stage{"img-copy", "-q", "--src-daemon-host", host, "docker-daemon:" + id, "-"},
		stage{"img-copy", "-q", "-", "oci:" + harness.Dir(t) + "/out:x"})
	fails(t, 3, "img-copy", "--src-daemon-host", host, "docker-daemon:r.example/nosuch:1", "dir:"+harness.Dir(t)+"/x")
	if out := fails(t, 5, "img-copy", "--src-daemon-host", host+".gone", "docker-daemon:r.example/tiny:1", "dir:"+harness.Dir(t)+"/x"); !strings.Contains(out, e.Socket+".gone") {
		t.Errorf("the error does not say where there is no daemon: %s", out)
	}
}

// configIn is the digest of the configuration that a reference has.
func configIn(t *testing.T, ref string) string {
	t.Helper()
	var m document
	if err := json.Unmarshal([]byte(harness.Must(t, "img-inspect", "--raw", ref)), &m); err != nil || m.Config == nil {
		t.Fatalf("%s: no manifest of an image (%v)", ref, err)
	}
	return m.Config.Digest.String()
}
