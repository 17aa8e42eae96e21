package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// An act is a command line of skopeo in a row of them, of which each finds what
// those before it left. In it R is the registry, ME a repository of each
// program's own, DIR a directory of each one's own.
type act struct {
	args, stdin string
	// Where we are not to do as 1.9.3 does.
	code int // exit code of later versions
	skip string
	why  string
}

// Reasons that several have.
const laterWords = "later versions say it in other words"

var accountActs = []act{
	{args: "login --get-login R"},
	{args: "login --tls-verify=false -u ali -p wrong R"},
	{args: "login --tls-verify=false --username ali --password-stdin R", stdin: "open sesame"},
	{args: "login --tls-verify=false --get-login R"},
	{args: "login --get-login R/a/b"},
	{args: "login --tls-verify=false R"},
	{args: "login --tls-verify=false -v R"},
	{args: "login --tls-verify=false -v -u ali --password-stdin R", stdin: "open sesame\n"},
	{args: "login --tls-verify=false -u ali -p wrong R"},
	{args: "login --tls-verify=false -u ali --password-stdin -p x R", stdin: "open sesame", skip: "message", why: laterWords},
	{args: "login --tls-verify=false --password-stdin R", stdin: "open sesame", skip: "message", why: laterWords},
	{args: "login --tls-verify=false -u ali --password-stdin R/ns", stdin: "open sesame"},
	{args: "login --get-login R/ns"},
	{args: "logout R/ns"},
	{args: "login --tls-verify=false -u ali --password-stdin R/a/b:1", stdin: "open sesame"},
	{args: "login --tls-verify=false -u ali --password-stdin http://R", stdin: "open sesame"},
	{args: "login", skip: "message", why: laterWords},
	{args: "login a b", skip: "message", why: laterWords},
	{args: "login --nosuch R"},
	{args: "login --tls-verify=false -u ali --password-stdin --authfile DIR/x.json R", stdin: "open sesame"},
	{args: "login --get-login --authfile DIR/x.json R"},
	{args: "login --get-login --authfile DIR/none.json R"},
	{args: "logout --authfile DIR/none.json R", skip: "message", why: laterWords},
	{args: "logout --authfile DIR/x.json other.example"},
	{args: "logout --authfile DIR/x.json R"},
	{args: "logout R"},
	{args: "logout R"},
	{args: "logout", skip: "message", why: laterWords},
	{args: "logout a b", skip: "message", why: laterWords},
	{args: "logout --all R"},
	{args: "login --tls-verify=false -u ali --password-stdin R", stdin: "open sesame"},
	{args: "logout --all"},
	{args: "login --get-login R"},
}

var repositoryActs = []act{
	{args: "list-tags --tls-verify=false docker://R/ME"},
	{args: "list-tags --tls-verify=false docker://R/ME:1"},
	{args: "list-tags --tls-verify=false docker://R/nosuch", skip: "message", why: laterWords},
	{args: "list-tags docker-archive:DIR/archive.tar"},
	{args: "list-tags docker-archive:DIR/none.tar", skip: "message", why: wording},
	{args: "list-tags oci:DIR/l"},
	{args: "list-tags foo"},
	{args: "list-tags R/ME"},
	{args: "list-tags docker:x"},
	{args: "list-tags", code: 1, skip: "stdout message", why: usageIs1},
	{args: "list-tags a b", code: 1, skip: "stdout message", why: usageIs1},
	{args: "delete"},
	{args: "delete a b"},
	{args: "delete foo"},
	{args: "delete --tls-verify=false docker://R/ME:none"},
	{args: "delete dir:DIR/d"},
	{args: "delete docker-archive:DIR/archive.tar"},
	{args: "delete oci-archive:DIR/archive.tar"},
	{args: "delete --tls-verify=false docker://R/ME:1"},
	{args: "list-tags --tls-verify=false docker://R/ME"},
	{args: "delete --tls-verify=false docker://R/ME:1"},
	{args: "delete --tls-verify=false docker://R/ME:index"},
	{args: "list-tags --tls-verify=false docker://R/ME"},
}

// The commands that change something, or that find what others changed, do it
// as the real ones do: in the same files, with the same words and codes.
func TestFaceOfAccounts(t *testing.T) {
	t.Parallel()
	playFaces(t, accountActs, harness.RegistryOptions{Htpasswd: true})
}

func TestFaceOfRepositories(t *testing.T) {
	t.Parallel()
	playFaces(t, repositoryActs, harness.RegistryOptions{Delete: true})
}

func playFaces(t *testing.T, acts []act, o harness.RegistryOptions) {
	t.Helper()
	r := harness.StartRegistry(t, o)
	l := harness.Image(t, sample.Tiny(), sample.Platforms())
	real, ours := player{t, r, "theirs", harness.Tool(t, "skopeo"), newHome(t)}, player{t, r, "ours", filepath.Join(harness.Img(t), "skopeo"), newHome(t)}
	for _, p := range []player{real, ours} {
		r.Seed(t, l, "tiny", p.me+":1")
		r.Seed(t, l, "tiny", p.me+":2")
		r.Seed(t, l, "platforms", p.me+":index")
		harness.Must(t, "skopeo", "copy", "-q", l.Ref("tiny"), "docker-archive:"+p.path("archive.tar")+":example.com/x:1")
	}
	for _, a := range acts {
		want, got := real.play(a), ours.play(a)
		if a.code != 0 {
			want.code = a.code
		}
		t.Run(a.args, func(t *testing.T) { compareFaces(t, face{skip: a.skip}, got, want) })
	}
}

// A player is a program at a registry.
type player struct {
	t       *testing.T
	r       *harness.Registry
	me      string
	program string
	home
}

func (p player) play(a act) outcome {
	p.t.Helper()
	there := strings.NewReplacer("DIR", string(p.home), "ME", p.me)
	var words []string
	for _, w := range strings.Fields(a.args) {
		w = there.Replace(w)
		if w == "R" || strings.HasPrefix(w, "R/") {
			w = p.r.Addr + w[1:]
		}
		words = append(words, strings.Replace(w, "//R", "//"+p.r.Addr, 1))
	}
	c := p.command()
	c.Dir, c.Stdin = string(p.home), strings.NewReader(a.stdin)
	res := c.Run(p.t, p.program, words...)
	back := strings.NewReplacer(string(p.home), "DIR", p.r.Addr+"/"+p.me, "R/ME", p.r.Addr, "R")
	o := outcome{code: res.Code, stdout: later(back.Replace(res.Stdout))}
	for line := range strings.Lines(res.Stderr) {
		if m := logLine.FindStringSubmatch(line); m != nil && m[1] != "warning" {
			o.message = m[1] + " " + later(back.Replace(m[2]+m[3]))
		}
	}
	for _, f := range []string{"run/containers/auth.json", "x.json"} {
		if b, err := os.ReadFile(p.path(f)); err == nil {
			o.effect += f + " " + back.Replace(strings.TrimSpace(string(b))) + "\n"
		}
	}
	for _, tag := range []string{"1", "2", "index"} {
		d, _ := p.r.Manifest(p.t, p.me, tag)
		o.effect += tag + " " + string(d) + "\n"
	}
	return o
}
