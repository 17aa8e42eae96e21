package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// A face is a command line of skopeo that scripts use, to be given to the real
// one, which is Debian's 1.9.3, and to ours. In it R is the registry, LAYOUT
// the samples' directory, POLICY one of policies, DIR a directory of each one's
// own, ME a name that is another one for each, NUL a digest of nothing, and _ a
// space.
type face struct {
	args string
	// Where we are not to do as 1.9.3 does.
	code int    // exit code of later versions
	skip string // of "stdout", "message" and "effect" those that are not compared
	why  string
}

// Reasons that several have.
const (
	notFoundIs2 = "later versions exit with 2 when the image is not found"
	usageIs1    = "later versions fail on a wrong count of operands, and print the help on stderr"
	wording     = "the text is no part of what later versions keep to"
	noPing      = "we ask for the manifest at once: the message is another, about the same cause"
	jsonFormat  = "later versions know json in templates"
)

var faces = []face{
	// copy: what goes where, and what is said of it
	{args: "copy docker://R/tiny:1 oci:DIR/l:x"},
	{args: "copy docker://R/tiny:1 oci:DIR/l"},
	{args: "copy docker://R/tiny:1 dir:DIR/d"},
	{args: "copy docker://R/tiny:1 oci-archive:DIR/a.tar:x"},
	{args: "copy docker://R/tiny:1 oci-archive:DIR/a.tar"},
	{args: "copy --dest-tls-verify=false docker://R/tiny:1 docker://R/ME/tiny:1"},
	{args: "copy --dest-tls-verify=false docker://R/docker:1 docker://R/ME/docker:1"},
	{args: "copy --dest-tls-verify=false docker://R/zstd:1 docker://R/ME/zstd:1"},
	{args: "copy --dest-tls-verify=false oci:LAYOUT:artifact docker://R/ME/artifact:1"},
	{args: "copy --dest-tls-verify=false docker://R/platforms:1 docker://R/ME/one:1"},
	{args: "copy --dest-tls-verify=false --all docker://R/platforms:1 docker://R/ME/all:1"},
	{args: "copy -a docker://R/platforms:1 oci:DIR/l:x"},
	{args: "copy -a docker://R/list:1 dir:DIR/d"},
	{args: "copy oci:LAYOUT:many dir:DIR/d"},
	{args: "copy -q docker://R/tiny:1 dir:DIR/d"},
	{args: "copy --quiet docker://R/artifact:1 dir:DIR/d"},
	{args: "copy docker://R/artifact:1 oci:DIR/l:x"},
	{args: "copy --src-tls-verify=0 docker://R/tiny:1 -- dir:DIR/d"},
	{args: "copy docker://R/tiny:1 dir:DIR/d --quiet=true"},
	{args: "copy --digestfile=DIR/digest docker://R/tiny:1 dir:DIR/d"},
	{args: "copy --digestfile DIR/digest --all docker://R/platforms:1 dir:DIR/d"},
	{args: "copy --digestfile=DIR/no/digest docker://R/tiny:1 dir:DIR/d"},
	{args: "copy --format=oci oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --preserve-digests oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --remove-signatures oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --retry-times=2 oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --multi-arch=all docker://R/list:1 dir:DIR/d"},
	{args: "copy --multi-arch=index-only docker://R/list:1 dir:DIR/d"},
	{args: "copy --multi-arch=index-only docker://R/platforms:1 oci:DIR/l:x"},
	{args: "copy --multi-arch=system docker://R/platforms:1 dir:DIR/d"},
	{args: "copy --override-arch=arm64 docker://R/platforms:1 oci:DIR/l:x"},
	{args: "--override-arch arm copy docker://R/platforms:1 dir:DIR/d"},
	{args: "--override-arch arm --override-variant v7 copy docker://R/list:1 dir:DIR/d"},
	{args: "--override-arch arm --override-variant v6 copy docker://R/platforms:1 dir:DIR/d"},
	{args: "--override-arch arm64 --override-variant v9 copy docker://R/platforms:1 dir:DIR/d"},
	{args: "--override-arch amd64 --override-variant v2 copy docker://R/platforms:1 dir:DIR/d"},
	{args: "--override-arch s390x copy docker://R/platforms:1 dir:DIR/d"},
	{args: "--override-os windows copy docker://R/list:1 dir:DIR/d"},
	{args: "--override-arch s390x copy docker://R/tiny:1 dir:DIR/d"},
	{args: "--insecure-policy copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "--policy=DIR/none copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "--policy=POLICY/accept.json copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "--policy=POLICY/reject.json copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "--policy=POLICY/reject.json copy docker://R/tiny:1 dir:DIR/d"},
	{args: "--policy=POLICY/reject.json copy --all docker://R/platforms:1 dir:DIR/d", skip: "stdout message",
		why: "we refuse a list as a whole, before anything of it is copied"},
	{args: "--policy=POLICY/reject.json --insecure-policy copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "--policy=POLICY/reject.json inspect --raw oci:LAYOUT:tiny"},
	{args: "--policy=POLICY/scoped.json copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "--policy=POLICY/scoped.json copy docker://R/tiny:1 dir:DIR/d"},
	{args: "--policy=POLICY/scoped.json copy docker://R/zstd:1 dir:DIR/d"},
	{args: "--policy=POLICY/broken.json copy oci:LAYOUT:tiny dir:DIR/d", skip: "message", why: wording},
	{args: "--policy=POLICY/empty.json copy oci:LAYOUT:tiny dir:DIR/d", skip: "message", why: wording},
	{args: "--command-timeout=1h copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "--tmpdir DIR copy oci:LAYOUT:tiny oci-archive:DIR/a.tar:x"},

	// copy: what is refused, in the order in which it is looked at
	{args: "copy", code: 1, skip: "stdout message", why: usageIs1},
	{args: "copy oci:LAYOUT:tiny", code: 1, skip: "stdout message", why: usageIs1},
	{args: "copy a b c", code: 1, skip: "stdout message", why: usageIs1},
	{args: "copy --nosuch oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --multi-arch=bogus docker://R/platforms:1 dir:DIR/d"},
	{args: "copy --multi-arch=all --all docker://R/platforms:1 dir:DIR/d"},
	{args: "copy --format=bogus oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy foo dir:DIR/d"},
	{args: "copy foo:bar dir:DIR/d"},
	{args: "copy foo bar"},
	{args: "copy --multi-arch=bogus foo bar"},
	{args: "--policy=DIR/none copy foo bar"},
	{args: "copy --src-creds= foo bar"},
	{args: "copy --src-creds= --multi-arch=bogus oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy oci:LAYOUT:tiny foo"},
	{args: "copy oci:LAYOUT:tiny foo:bar"},
	{args: "copy docker:tiny dir:DIR/d"},
	{args: "copy docker://UPPER dir:DIR/d"},
	{args: "copy docker://UPPER.example/foo/BAR dir:DIR/d"},
	{args: "copy docker://[::1]:5000/a:b dir:DIR/d"},
	{args: "copy docker://R/tiny:1@NUL dir:DIR/d"},
	{args: "copy docker:// dir:DIR/d"},
	{args: "copy oci:LAYOUT:bad_name dir:DIR/d"},
	{args: "copy oci:LAYOUT:tiny docker-archive:DIR/a.tar:"},
	{args: "copy oci:LAYOUT:tiny docker-archive:DIR/a.tar:foo@NUL"},
	{args: "copy oci:LAYOUT:tiny docker-archive:DIR/a.tar:UPPER"},
	{args: "copy --src-creds= oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --src-creds=:p oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --src-creds=u:p --src-no-creds oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --src-username=u oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --src-password=p oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --src-creds=u:p --src-username=u --src-password=p oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --dest-username=u --dest-password=p --dest-no-creds oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --additional-tag=UPPER:x oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy --additional-tag=foo oci:LAYOUT:tiny docker-archive:DIR/d.tar:x"},
	{args: "--command-timeout=bogus copy oci:LAYOUT:tiny dir:DIR/d"},
	{args: "copy oci:LAYOUT:tiny dir:LAYOUT"},
	{args: "copy oci:LAYOUT:tiny dir:DIR/no/d"},
	{args: "copy oci:LAYOUT:tiny oci:DIR/no/d:x"},
	{args: "copy oci:LAYOUT:tiny oci-archive:DIR/no/d.tar:x"},
	{args: "copy --all docker://R/platforms:1 docker-archive:DIR/a.tar:x"},

	// copy: what is not there
	{args: "copy docker://R/nosuch:1 dir:DIR/d", code: 2, why: notFoundIs2},
	{args: "copy docker://R/tiny:nosuch oci:DIR/d:x", code: 2, why: notFoundIs2},
	{args: "copy docker://R/tiny@NUL dir:DIR/d", code: 2, why: notFoundIs2},
	{args: "copy oci:LAYOUT:nosuch dir:DIR/d", code: 2, why: notFoundIs2},
	{args: "copy oci:LAYOUT dir:DIR/d"},
	{args: "copy oci:DIR/none:x dir:DIR/d", skip: "message", why: wording},
	{args: "copy dir:DIR/none oci:DIR/l:x"},
	{args: "copy oci-archive:DIR/none.tar oci:DIR/l:x", skip: "message", why: "later versions say: archive file not found"},
	{args: "copy docker-archive:DIR/none.tar oci:DIR/l:x", skip: "message", why: wording},
	{args: "copy docker://127.0.0.1:1/a:b dir:DIR/d", skip: "message", why: noPing},

	// inspect
	{args: "inspect docker://R/tiny:1"},
	{args: "inspect docker://R/docker:1"},
	{args: "inspect docker://R/platforms:1"},
	{args: "inspect docker://R/list:1"},
	{args: "inspect -n docker://R/tiny:1"},
	{args: "inspect --no-tags docker://R/zstd:1"},
	{args: "inspect oci:LAYOUT:tiny"},
	{args: "inspect oci:LAYOUT:platforms"},
	{args: "inspect docker://R/artifact:1", skip: "message", why: "later versions name the artifact's own type"},
	{args: "inspect --raw docker://R/tiny:1"},
	{args: "inspect --raw docker://R/platforms:1"},
	{args: "inspect --raw docker://R/artifact:1"},
	{args: "inspect --config docker://R/tiny:1"},
	{args: "inspect --config docker://R/docker:1"},
	{args: "inspect --config docker://R/platforms:1"},
	{args: "inspect --config --raw docker://R/tiny:1"},
	{args: "inspect --config --raw docker://R/artifact:1"},
	{args: "inspect --config --raw --override-arch=arm64 docker://R/platforms:1"},
	{args: "inspect --override-arch=s390x docker://R/platforms:1"},
	{args: "inspect --format={{.Digest}} oci:LAYOUT:tiny"},
	{args: "inspect --format {{.Name}}:{{.Os}} docker://R/tiny:1"},
	{args: "inspect -f {{range_.Layers}}{{.}}\\n{{end}} oci:LAYOUT:tiny"},
	{args: "inspect --config --format={{.Architecture}} oci:LAYOUT:tiny"},
	{args: "inspect --config --format={{.Config.Env}} oci:LAYOUT:tiny"},
	{args: "inspect --format=json oci:LAYOUT:tiny"},
	{args: "inspect --format={{json_.Env}} oci:LAYOUT:tiny", code: -1, skip: "stdout message", why: jsonFormat},
	{args: "inspect --format={{.Nope}} oci:LAYOUT:tiny", skip: "message", why: wording},
	{args: "inspect --format={{ oci:LAYOUT:tiny", skip: "message", why: wording},
	{args: "inspect --raw --format={{.Name}} oci:LAYOUT:tiny"},
	{args: "inspect"},
	{args: "inspect a b"},
	{args: "inspect foo"},
	{args: "inspect foo:bar"},
	{args: "inspect docker:tiny"},
	{args: "inspect --nosuch oci:LAYOUT:tiny"},
	{args: "inspect --creds=u:p --no-creds oci:LAYOUT:tiny"},
	{args: "inspect oci:LAYOUT"},
	{args: "inspect dir:DIR/none"},
	{args: "inspect oci:LAYOUT:nosuch", code: 2, why: notFoundIs2},
	{args: "inspect docker://R/nosuch", code: 2, why: notFoundIs2},
	{args: "inspect docker://R/tiny:nosuch", code: 2, why: notFoundIs2},
	{args: "inspect docker-archive:DIR/none.tar", skip: "message", why: wording},
	{args: "inspect docker://127.0.0.1:1/a:b", skip: "message", why: noPing},

	// the rest
	{args: "manifest-digest LAYOUT/index.json"},
	{args: "manifest-digest LAYOUT/none"},
	{args: "manifest-digest LAYOUT"},
	{args: "manifest-digest"},
	{args: "manifest-digest a b"},
	{args: "manifest-digest --nosuch x"},
	{args: ""},
	{args: "foo"},
	{args: "cop"},
	{args: "inspec x"},
	{args: "--nosuch"},
}

// outcome is what a run did, without what differs between any two.
type outcome struct {
	code    int
	stdout  string
	message string // level and text of the last line of the log
	effect  string // what lies in DIR, and in the registry as ME
}

// A script that calls skopeo must not notice that it is us.
func TestFace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, peerShapes()...)
	real, face := harness.Tool(t, "skopeo"), filepath.Join(harness.Img(t), "skopeo")
	if got := harness.Must(t, real, "--version"); got != "skopeo version 1.9.3\n" {
		t.Fatalf("the real skopeo is %q; want 1.9.3, of which the differences are known here", got)
	}
	policies := policies(t, w)
	for _, f := range faces {
		t.Run(f.args, func(t *testing.T) {
			t.Parallel()
			args := strings.ReplaceAll(f.args, "POLICY", policies)
			want, got := runFace(t, w, real, "theirs", args), runFace(t, w, face, "ours", args)
			if (f.code != 0 || f.skip != "") != (f.why != "") {
				t.Fatal("a difference needs a reason, and a reason a difference")
			}
			if f.code != 0 {
				want.code = max(f.code, 0)
			}
			compareFaces(t, f, got, want)
		})
	}
}

// policies returns a directory of trust policies.
func policies(t *testing.T, w world) string {
	t.Helper()
	dir := harness.Dir(t)
	for name, text := range map[string]string{
		"accept": `{"default":[{"type":"insecureAcceptAnything"}]}`,
		"reject": `{"default":[{"type":"reject"}]}`,
		"scoped": `{"default":[{"type":"reject"}],"transports":{"docker":{"` + w.Addr + `/tiny":[{"type":"insecureAcceptAnything"}]}}}`,
		"broken": `{"default":[{"type":"insecureAcceptAnything"}]`,
		"empty":  `{"default":[]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func compareFaces(t *testing.T, f face, got, want outcome) {
	t.Helper()
	if got.code != want.code {
		t.Errorf("exit %d; want %d", got.code, want.code)
	}
	for _, x := range []struct{ part, got, want string }{
		{"stdout", got.stdout, want.stdout}, {"message", got.message, want.message}, {"effect", got.effect, want.effect},
	} {
		if x.got != x.want && !strings.Contains(f.skip, x.part) {
			t.Errorf("%s\n%q; want\n%q", x.part, x.got, x.want)
		}
	}
}

var logLine = regexp.MustCompile(`^time="[^"]*" level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S+)(.*)\n$`)

func runFace(t *testing.T, w world, program, me, args string) outcome {
	t.Helper()
	dir := harness.Dir(t)
	args = strings.NewReplacer("copy ", "copy --src-tls-verify=false ", "inspect ", "inspect --tls-verify=false ").Replace(args)
	replace := strings.NewReplacer("LAYOUT", w.Layout.Dir, "DIR", dir, "ME", me, "R/", w.Addr+"/", "NUL", zeroes, "_", " ")
	var words []string
	for _, a := range strings.Fields(args) {
		words = append(words, replace.Replace(a))
	}
	r := harness.Command{Dir: dir}.Run(t, program, words...)
	back := strings.NewReplacer(dir, "DIR", w.Layout.Dir, "LAYOUT", w.Addr+"/"+me+"/", "R/ME/", w.Addr, "R")
	o := outcome{r.Code, later(back.Replace(r.Stdout)), "", effectOf(t, dir)}
	fatal := 0
	for line := range strings.Lines(r.Stderr) {
		m := logLine.FindStringSubmatch(line)
		if m == nil {
			if me == "ours" && !strings.Contains(r.Stderr, "operand") && !strings.Contains(r.Stderr, "arguments expected") {
				t.Errorf("stderr has %q; want lines of the log only", line)
			}
			continue
		}
		o.message = m[1] + " " + later(back.Replace(m[2]+m[3]))
		if m[1] == "fatal" {
			fatal++
		}
	}
	if me == "ours" && fatal != min(r.Code, 1) {
		t.Errorf("exit %d with %d fatal lines:\n%s", r.Code, fatal, r.Stderr)
	}
	for _, word := range words {
		if name, ok := strings.CutPrefix(word, "docker://"+w.Addr+"/"+me+"/"); ok {
			d, _ := w.Manifest(t, me+"/"+strings.TrimSuffix(name, ":1"), "1")
			o.effect += string(d)
		}
	}
	return o
}

// effectOf describes the files in a directory: the images in archives and
// layouts, the content of the others, which are named by it.
func effectOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, f := range tree(t, dir) {
		path := filepath.Join(dir, f)
		switch name := filepath.Base(f); {
		case f == "d/version" && len(tree(t, dir+"/d")) == 1:
			// what a copy that failed leaves of theirs: ours does not touch the place
		case strings.HasSuffix(f, ".tar"):
			d, err := whole("oci-archive:" + path)
			b.WriteString(f + " " + d.String() + " ")
			if err != nil {
				b.WriteString(err.Error())
			}
		case name == v1.ImageIndexFile:
			for _, d := range entries(t, path) {
				b.WriteString(f + " " + mustJSON(t, []any{d.Digest, d.MediaType, d.Size, d.Annotations}))
			}
		case name == "oci-layout":
		case len(name) == 64:
			b.WriteString(f + "\n")
		default:
			b.WriteString(f + " " + string(slurp(t, path)))
		}
	}
	return b.String()
}

var (
	ofImages   = regexp.MustCompile(`Copying (\d+) of (\d+) images in list`)
	unquoted   = regexp.MustCompile(`for architecture (\w+), variant (\S+), OS (\w+)`)
	notQuoting = `for architecture \"$1\", variant $2, OS \"$3\"`
)

// later rewrites what 1.9.3 prints to what later versions print, where that
// is so everywhere: signatures are mentioned only if there are any, images of
// lists are counted in other words, what is looked for is quoted, the tool's
// and the registry's text are not both there if they are the same, and inspect
// tells about layers (LayersData, which only ours has here). Layers are moved at
// the same time, in any order.
func later(s string) string {
	s = ofImages.ReplaceAllString(s, "Copying $1 images generated from $2 images in list")
	s = strings.ReplaceAll(s, "Storing signatures\n", "")
	s = unquoted.ReplaceAllString(s, notQuoting)
	s = strings.ReplaceAll(s, "manifest unknown: manifest unknown", "manifest unknown")
	if begin := strings.Index(s, `    "LayersData": [`); begin >= 0 {
		end := begin + strings.Index(s[begin:], "\n    ],\n") + len("\n    ],\n")
		s = s[:begin] + s[end:]
	}
	lines := strings.SplitAfter(s, "\n")
	for i := 0; i < len(lines); i++ {
		j := i
		for j < len(lines) && strings.HasPrefix(lines[j], "Copying blob ") {
			j++
		}
		slices.Sort(lines[i:j])
		i = max(i, j-1)
	}
	return strings.Join(lines, "")
}

// What 1.9.3 does not have and later versions do, by their documentation.
func TestFaceOfLaterVersions(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Tiny()), harness.Dir(t)
	run := func(args ...string) harness.Result {
		return harness.Run(t, nil, filepath.Join(harness.Img(t), "skopeo"), args...)
	}
	// LayersData, behind Layers.
	var s summary
	r := run("inspect", "--tls-verify=false", w.at("tiny"))
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil || len(s.LayersData) != 3 {
		t.Errorf("inspect: %+v (%v); want LayersData", r, err)
	} else if y := s.LayersData[1]; y.Digest != s.Layers[1] || y.MIMEType != v1.MediaTypeImageLayerGzip || y.Size == 0 || y.Annotations != nil {
		t.Errorf("LayersData[1] = %+v", y)
	}
	if names := keys(t, r.Stdout).names; names[len(names)-1] != "Env" || names[len(names)-2] != "LayersData" {
		t.Errorf("inspect has the keys %q; want skopeo's, and no more", names)
	}
	if r := run("inspect", "--format={{json .Env}}", w.Layout.Ref("tiny")); r.Stdout != `["PATH=/opt","SAMPLE=yes"]`+"\n" {
		t.Errorf("{{json .Env}}: %+v", r)
	}
	if r := run("inspect", "--manifest-digest=sha512", "--format={{.Digest}}", w.Layout.Ref("tiny")); !strings.HasPrefix(r.Stdout, "sha512:") {
		t.Errorf("--manifest-digest=sha512: %+v", r)
	}
	if r := run("inspect", "--manifest-digest=md5", w.Layout.Ref("tiny")); r.Code != 1 || !strings.Contains(r.Stderr, `digest algorithm \"md5\" is not available`) {
		t.Errorf("--manifest-digest=md5: %+v", r)
	}
	// A wrong count of operands: the help on stderr, then the failure.
	for _, args := range [][]string{{"copy"}, {"copy", "a"}, {"copy", "a", "b", "c"}} {
		r := run(args...)
		if r.Code != 1 || r.Stdout != "" || !strings.Contains(r.Stderr, "Usage:") || !strings.HasSuffix(r.Stderr, "level=fatal msg=\"Exactly two arguments expected\"\n") {
			t.Errorf("%q: %+v; want the help on stderr, then the fatal line", args, r)
		}
	}
	// The index of a layout's image, as a source and not as a destination.
	if r := run("copy", "-q", "oci:"+w.Layout.Dir+":@0", "dir:"+dir+"/d"); r.Code != 0 {
		t.Errorf("oci:DIR:@0: %+v", r)
	}
	for ref, want := range map[string]string{
		"oci:" + w.Layout.Dir + ":@7":  "index 7 is too large, only 1 entries available",
		"oci:" + w.Layout.Dir + ":@x":  "Invalid source index @x: not an integer: ",
		"oci:" + w.Layout.Dir + ":@-1": "Invalid source index @-1: must not be negative",
		"oci-archive:" + dir + "/none": "archive file not found: ",
	} {
		if r := run("copy", ref, "dir:"+dir+"/d"); r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("copy %s: %+v; want %s", ref, r, want)
		}
	}
	if r := run("copy", w.Layout.Ref("tiny"), "oci:"+dir+"/l:@0"); r.Code != 1 || !strings.Contains(r.Stderr, "Destination reference must not contain a manifest index @0") {
		t.Errorf("copy to oci:DIR:@0: %+v", r)
	}
	// Options that are about later versions' abilities.
	for _, flags := range [][]string{{"--image-parallel-copies=2"}, {"--retry-delay=1s"}, {"--src-tls-verify"}, {"--multi-arch=system"}} {
		if r := run(append(append([]string{"copy", "-q"}, flags...), w.Layout.Ref("tiny"), "dir:"+dir+"/flags")...); r.Code != 0 || r.Stdout != "" {
			t.Errorf("copy %v: %+v", flags, r)
		}
	}
	if r := run("--insecure-policy", "--require-signed", "copy", w.Layout.Ref("tiny"), "dir:"+dir+"/p"); r.Code != 1 || !strings.Contains(r.Stderr, "--insecure-policy and --require-signed are mutually exclusive") {
		t.Errorf("both policies: %+v", r)
	}
	if r := run("--version"); r.Code != 0 || !strings.HasPrefix(r.Stdout, "skopeo version ") {
		t.Errorf("--version: %+v", r)
	}
}
