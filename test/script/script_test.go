// Package script runs the scripts in testdata: what a person would type, and
// what must come of it. Each has img and its links, and the peers, on PATH, and
// these commands more than testscript's own:
//
//	registry NAME [2.8] [tls] [htpasswd] [delete]
//		starts a registry. $NAME is its host:port, with tls $NAME_CERTS the
//		folder of its ca.crt, with htpasswd $NAME_CREDS its user:password.
//	image NAME SHAPE...
//		writes a layout of samples. $NAME is its folder, $NAME_SHAPE a digest.
//	seed REGISTRY LAYOUT SHAPE REPOSITORY:TAG
//		uploads a sample to a registry without any tool.
//	dockerd, containerd
//		start an engine that docker or ctr then talk to.
//
// skopeo is the real one; ours by that name is $OURS/skopeo.
package script_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func TestScripts(t *testing.T) {
	bin := ours(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Values[worldKey{}] = &world{map[string]*harness.Registry{}, map[string]harness.Layout{}}
			for _, v := range harness.Environ(t) {
				name, value, _ := strings.Cut(v, "=")
				e.Setenv(name, value)
			}
			e.Setenv("PATH", bin+":"+e.Getenv("PATH"))
			e.Setenv("OURS", harness.Img(t))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry":   startRegistry,
			"image":      makeImage,
			"seed":       seed,
			"dockerd":    startDockerd,
			"containerd": startContainerd,
		},
	})
}

// ours returns a directory with img and its tools, but without its face as
// skopeo: by that name scripts get the real one, and ours as $OURS/skopeo.
func ours(t *testing.T) string {
	t.Helper()
	dir := harness.Dir(t)
	files, err := filepath.Glob(filepath.Join(harness.Img(t), "img*"))
	for _, file := range files {
		if err == nil {
			err = os.Symlink(file, filepath.Join(dir, filepath.Base(file)))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// world is what a script has started and made, by the script's names.
type world struct {
	registries map[string]*harness.Registry
	layouts    map[string]harness.Layout
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// script lets the harness serve a script.
type script struct{ *testscript.TestScript }

func (script) Helper()            {}
func (s script) Cleanup(f func()) { s.Defer(f) }

func usage(ts *testscript.TestScript, bad bool, text string) {
	if bad {
		ts.Fatalf("usage: %s", text)
	}
}

func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) == 0, "registry NAME [2.8] [tls] [htpasswd] [delete]")
	var o harness.RegistryOptions
	for _, option := range args[1:] {
		switch option {
		case "tls":
			o.TLS = true
		case "htpasswd":
			o.Htpasswd = true
		case "delete":
			o.Delete = true
		default:
			o.Version = option
		}
	}
	r, name := harness.StartRegistry(script{ts}, o), args[0]
	worldOf(ts).registries[name] = r
	ts.Setenv(name, r.Addr)
	ts.Setenv(name+"_CERTS", r.CertDir)
	ts.Setenv(name+"_CREDS", r.User+":"+r.Password)
}

func makeImage(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2, "image NAME SHAPE...")
	var shapes []sample.Shape
	for _, name := range args[1:] {
		i := slices.IndexFunc(sample.All(), func(s sample.Shape) bool { return s.Name == name })
		if i < 0 {
			ts.Fatalf("no sample %q", name)
		}
		shapes = append(shapes, sample.All()[i])
	}
	l := harness.Image(script{ts}, shapes...)
	worldOf(ts).layouts[args[0]] = l
	ts.Setenv(args[0], l.Dir)
	for tag, root := range l.Roots {
		ts.Setenv(args[0]+"_"+tag, root.Digest.String())
	}
}

func seed(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 4, "seed REGISTRY LAYOUT SHAPE REPOSITORY:TAG")
	w := worldOf(ts)
	r, l := w.registries[args[0]], w.layouts[args[1]]
	usage(ts, r == nil, "seed REGISTRY ...: no registry "+args[0])
	r.Seed(script{ts}, l, args[2], args[3])
}

func startDockerd(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 0, "dockerd")
	ts.Setenv("DOCKER_HOST", "unix://"+harness.Dockerd(script{ts}).Socket)
}

func startContainerd(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 0, "containerd")
	ts.Setenv("CONTAINERD_ADDRESS", harness.Containerd(script{ts}).Socket)
}
