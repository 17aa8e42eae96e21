package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// entries returns what an index in a layout names.
func entries(t *testing.T, file string) []v1.Descriptor {
	t.Helper()
	var x v1.Index
	if err := json.Unmarshal(slurp(t, file), &x); err != nil {
		t.Fatal(err)
	}
	return x.Manifests
}

// rootOf returns the digest on the one line that img-copy printed.
func rootOf(t *testing.T, out string) digest.Digest {
	t.Helper()
	_, d, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "@")
	if err := digest.Digest(d).Validate(); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return digest.Digest(d)
}

// Who wants some platforms gets those, each as it was, with the attestations
// that are about them and nothing more. That the index is another one now has
// to be said, because its digest is what people pin.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Platforms(), sample.List(), sample.Nested())
	all := entries(t, w.Blob(w.Roots["platforms"].Digest)) // amd64, arm64/v8, arm/v7, and the attestation of each
	for name, x := range map[string]struct {
		flags []string
		want  []int
	}{
		"one":      {[]string{"--platform=linux/amd64"}, []int{0, 3}},
		"variant":  {[]string{"--platform=linux/arm/v7"}, []int{2, 5}},
		"weaker":   {[]string{"--platform=linux/arm64"}, []int{1, 4}},
		"comma":    {[]string{"--platform=linux/amd64,linux/arm64/v8"}, []int{0, 1, 3, 4}},
		"repeated": {[]string{"--platform=linux/arm/v7", "--platform", "linux/amd64"}, []int{0, 2, 3, 5}},
		"twice":    {[]string{"--platform=linux/amd64,linux/amd64"}, []int{0, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := harness.Dir(t)
			r := harness.Run(t, nil, "img-copy", append(x.flags, "--progress=none", w.at("platforms"), "oci:"+dir+"/l:x")...)
			if r.Code != 0 || !strings.Contains(r.Stderr, w.Roots["platforms"].Digest.String()) || strings.Count(r.Stderr, "\n") != 1 {
				t.Errorf("exit %d, %q; want a line about the digest that changes", r.Code, r.Stderr)
			}
			root := rootOf(t, r.Stdout)
			mustWhole(t, "oci:"+dir+"/l:x", root)
			var want []v1.Descriptor
			for _, i := range x.want {
				want = append(want, all[i])
			}
			got := entries(t, filepath.Join(dir, "l/blobs/sha256", root.Encoded()))
			if a, b := mustJSON(t, got), mustJSON(t, want); a != b {
				t.Errorf("the index has %s; want %s", a, b)
			}
		})
	}
	t.Run("list", func(t *testing.T) {
		t.Parallel()
		copyImage(t, w.at("list"), w.Registry.Ref("some-list:1"), "--platform=linux/arm64,linux/arm/v7")
		_, b := w.Manifest(t, "some-list", "1")
		var x v1.Index
		if err := json.Unmarshal(b, &x); err != nil || x.MediaType != sample.DockerList || len(x.Manifests) != 2 {
			t.Errorf("%s (%v); want Docker's list of two", b, err)
		}
	})
	t.Run("nested", func(t *testing.T) {
		t.Parallel()
		dir := harness.Dir(t)
		root := rootOf(t, harness.Must(t, "img-copy", "--platform=linux/arm64", w.at("nested"), "oci:"+dir+"/l:x"))
		mustWhole(t, "oci:"+dir+"/l:x", root)
		if got := harness.Must(t, "img-inspect", "--platform=linux/arm64", "--config", "--format={{.Architecture}}", "oci:"+dir+"/l:x"); got != "arm64\n" {
			t.Errorf("the copy's architecture is %s", got)
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// With --sparse the index stays what it was, so that its signatures hold, and
// only what was asked for is there.
func TestSparse(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Platforms()), harness.Dir(t)
	all := entries(t, w.Blob(w.Roots["platforms"].Digest))
	to := "oci:" + dir + "/l:x"
	r := harness.Run(t, nil, "img-copy", "--sparse", "--platform=linux/amd64", "--progress=none", w.at("platforms"), to)
	if r.Code != 0 || rootOf(t, r.Stdout) != w.Roots["platforms"].Digest {
		t.Errorf("exit %d, %s%s; want the digest that the source has", r.Code, r.Stdout, r.Stderr)
	}
	have := map[digest.Digest]bool{}
	for _, f := range tree(t, dir+"/l/blobs") {
		have[digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(f))] = true
	}
	for i, d := range all {
		if want := i == 0 || i == 3; have[d.Digest] != want {
			t.Errorf("entry %d (%+v): there=%v; want %v", i, d.Platform, have[d.Digest], want)
		}
	}
	if got := harness.Must(t, "img-inspect", "--config", "--format={{.Architecture}}", "--platform=linux/amd64", to); got != "amd64\n" {
		t.Errorf("the copy's architecture is %s", got)
	}
	// Without a platform there is nothing to leave out.
	to = "oci:" + dir + "/whole:x"
	if r := harness.Run(t, nil, "img-copy", "--quiet", "--sparse", w.at("platforms"), to); r.Code == 0 {
		mustWhole(t, to, w.Roots["platforms"].Digest)
	} else {
		failed(t, r, wrongUse, "img-copy --sparse")
	}
}

// A destination that holds a single image takes the one for this machine, and
// two for it are a contradiction.
func TestOneImageOfSeveral(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Platforms(), sample.List(), sample.Nested(), sample.Artifact()), harness.Dir(t)
	for _, tag := range []string{"platforms", "list", "nested"} {
		for _, arch := range []string{"", "amd64", "arm64"} {
			file := filepath.Join(dir, tag+arch+".tar")
			flags := []string{"--platform=linux/" + arch}
			if arch == "" {
				flags, arch = nil, runtime.GOARCH
			}
			copyImage(t, w.at(tag), "docker-archive:"+file+":a/b:1", flags...)
			a, err := readTar(strings.NewReader(string(slurp(t, file))))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.docker("a/b:1"); err != nil {
				t.Error(err)
			}
			if got := harness.Must(t, "skopeo", "inspect", "--format={{.Architecture}}", "docker-archive:"+file); got != arch+"\n" {
				t.Errorf("%s for %s is for %s", tag, arch, got)
			}
		}
	}
	file := filepath.Join(dir, "no.tar")
	fails(t, failure, "img-copy", "--quiet", "--platform=linux/amd64,linux/arm64", w.at("platforms"), "docker-archive:"+file+":a/b:1")
	fails(t, failure, "img-copy", "--quiet", w.at("artifact"), "docker-archive:"+file+":a/b:1")
	if _, err := os.Stat(file); err == nil {
		t.Error("what failed left an archive")
	}
}

// --dry-run tells all that would be done and does none of it.
func TestDryRun(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Platforms(), sample.Tiny()), harness.Dir(t)
	for _, tag := range []string{"tiny", "platforms"} {
		for _, to := range []string{w.Registry.Ref("dry/" + tag + ":1"), "oci:" + dir + "/l:x", "dir:" + dir + "/d", "oci-archive:" + dir + "/o.tar", "-"} {
			out := harness.Must(t, "img-copy", "--dry-run", w.at(tag), to)
			for d, size := range contents(t, w.Layout, tag) {
				if line := lineWith(out, d.String()); !strings.Contains(line, "\t"+strconv.FormatInt(size, 10)+"\t") {
					t.Errorf("the plan for %s has %q of %s; want its size, %d", to, line, d, size)
				}
			}
		}
		holds(t, w.Registry, "dry/"+tag+":1", "")
	}
	if files := tree(t, dir); len(files) != 0 {
		t.Errorf("dry runs made %q", files)
	}
	if files, err := filepath.Glob(filepath.Join(w.Registry.Dir, "docker/registry/v2/repositories/dry")); err != nil || len(files) != 0 {
		t.Errorf("dry runs made %q in the registry (%v)", files, err)
	}
	// Neither may it touch what is there.
	copyImage(t, w.at("tiny"), "oci:"+dir+"/l:x")
	before, index := tree(t, dir), slurp(t, dir+"/l/index.json")
	harness.Must(t, "img-copy", "--dry-run", w.at("platforms"), "oci:"+dir+"/l:x")
	if after := tree(t, dir); !slices.Equal(before, after) || !bytes.Equal(index, slurp(t, dir+"/l/index.json")) {
		t.Errorf("a dry run changed %q to %q", before, after)
	}
}

// contents returns the size of everything below a sample's root, itself too.
func contents(t *testing.T, l harness.Layout, tag string) map[digest.Digest]int64 {
	t.Helper()
	sizes := map[digest.Digest]int64{}
	var walk func(v1.Descriptor)
	walk = func(d v1.Descriptor) {
		sizes[d.Digest] = d.Size
		if !isManifest(d.MediaType) {
			return
		}
		children, err := childrenOf(slurp(t, l.Blob(d.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range children {
			walk(c)
		}
	}
	walk(l.Roots[tag])
	return sizes
}

// The digest file is for scripts that go on from the copy: it holds the digest
// and no more, and is not written for a copy that failed.
func TestDigestFile(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Platforms()), harness.Dir(t)
	file := filepath.Join(dir, "digest")
	copyImage(t, w.at("platforms"), w.Registry.Ref("copy:1"), "--digestfile="+file)
	if got := string(slurp(t, file)); got != w.Roots["platforms"].Digest.String() {
		t.Errorf("the digest file holds %q; want %s", got, w.Roots["platforms"].Digest)
	}
	out := harness.Must(t, "img-copy", "--platform=linux/amd64", "--digestfile="+file, w.at("platforms"), w.Registry.Ref("some:1"))
	if got := string(slurp(t, file)); got != rootOf(t, out).String() {
		t.Errorf("the digest file holds %q; want that of %s", got, out)
	}
	none := filepath.Join(dir, "none")
	fails(t, notFound, "img-copy", "--digestfile="+none, w.Registry.Ref("nosuch:1"), w.Registry.Ref("copy:1"))
	if _, err := os.Stat(none); err == nil {
		t.Error("a copy that failed wrote a digest file")
	}
	stream := harness.Must(t, "img-copy", "--quiet", "--digestfile="+file, w.at("platforms"), "-")
	if got := string(slurp(t, file)); got != w.Roots["platforms"].Digest.String() || !strings.HasPrefix(stream, "oci-layout") {
		t.Errorf("the digest file of a stream holds %q", got)
	}
	// A digest file that cannot be written is no image that was not found.
	fails(t, failure, "img-copy", "--quiet", "--digestfile="+dir+"/no/such", w.at("platforms"), w.Registry.Ref("copy:1"))
}

// One copy may get several names, wherever names are.
func TestAdditionalTags(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Tiny()), harness.Dir(t)
	root := w.Roots["tiny"].Digest
	file := filepath.Join(dir, "docker.tar")
	copyImage(t, w.at("tiny"), "docker-archive:"+file+":a/b:1", "--additional-tag=a/b:2", "--additional-tag=c.example/d:3")
	a, err := readTar(strings.NewReader(string(slurp(t, file))))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"docker.io/a/b:1", "docker.io/a/b:2", "c.example/d:3"} {
		if _, err := a.docker(name); err != nil {
			t.Error(err)
		}
	}
	copyImage(t, w.at("tiny"), w.Registry.Ref("e:1"), "--additional-tag="+w.Addr+"/e:2")
	holds(t, w.Registry, "e:2", root.String())
	e := harness.Podman(t)
	e.Must(t, nil, "load", "-i", file)
	if names := e.Must(t, nil, "images", "--format={{.Repository}}:{{.Tag}}"); strings.Count(names, "\n") != 3 {
		t.Errorf("podman loaded %q; want three names", names)
	}
}

// Quiet is quiet, and what is shown is shown on standard error, in the form
// that was asked for.
func TestProgress(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Platforms()), harness.Dir(t)
	to := func(name string) string { return "oci:" + filepath.Join(dir, name) + ":x" }
	for _, flag := range []string{"--quiet", "-q", "--progress=none"} {
		if r := harness.Run(t, nil, "img-copy", flag, w.at("platforms"), to("q"+flag)); r.Code != 0 || r.Stderr != "" {
			t.Errorf("img-copy %s: %d, %q; want silence", flag, r.Code, r.Stderr)
		}
	}
	for _, flag := range []string{"--progress=auto", "--progress=plain", "--debug"} {
		r := harness.Run(t, nil, "img-copy", flag, w.at("platforms"), to("p"+flag))
		if r.Code != 0 || r.Stderr == "" || strings.Count(r.Stdout, "\n") != 1 {
			t.Errorf("img-copy %s: %+v; want one line, and something on stderr", flag, r)
		}
		if strings.Contains(r.Stderr, "\x1b") {
			t.Errorf("img-copy %s: %q; want no terminal escapes into what is no terminal", flag, r.Stderr)
		}
	}
}

// Layers that are to be had from elsewhere are not fetched unless the user asks
// for it: who wrote the image would decide whom this machine talks to. The
// manifest that names them is kept as it is.
func TestForeignLayers(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Write([]byte("x"))
	}))
	defer elsewhere.Close()
	l, dir := harness.Image(t, sample.Tiny()), harness.Dir(t)
	foreign := v1.Descriptor{
		MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		Digest:    digest.FromString("x"), Size: 1, URLs: []string{elsewhere.URL + "/layer"},
	}
	text := strings.Replace(string(slurp(t, l.Blob(l.Roots["tiny"].Digest))), `"layers":[`, `"layers":[`+mustJSON(t, foreign)+",", 1)
	root := twist(t, l, dir, text)
	for _, to := range []string{"oci:" + dir + "/copy:x", "dir:" + dir + "/d", "oci-archive:" + dir + "/a.tar"} {
		if out := harness.Must(t, "img-copy", "--quiet", "oci:"+dir+":twisted", to); rootOf(t, out) != root {
			t.Errorf("the copy is %s; want %s", out, root)
		}
		if got := harness.Must(t, "img-inspect", "--raw", to); got != text {
			t.Errorf("the manifest is %s; want %s", got, text)
		}
	}
	harness.Must(t, "img-inspect", "oci:"+dir+":twisted")
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests to where the image points; want none", n)
	}
}

// What --progress=json says is an interface, img-events(5): one object a line,
// the plan first and the end last, and each blob begun is done.
func TestEvents(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Platforms(), sample.Big(3<<20)), harness.Dir(t)
	for _, tag := range []string{"platforms", "big"} {
		for _, dest := range []string{"oci:" + dir + "/" + tag + ":x", w.Registry.Ref("events/" + tag + ":1"), "-"} {
			r := harness.Run(t, nil, "img-copy", "--progress=json", w.at(tag), dest)
			if r.Code != 0 {
				t.Fatalf("%s: exit %d\n%s", dest, r.Code, r.Stderr)
			}
			checkEvents(t, events(t, r.Stderr), dest, contents(t, w.Layout, tag))
		}
	}
	r := harness.Run(t, nil, "img-copy", "--progress=json", w.Registry.Ref("nosuch:1"), "oci:"+dir+"/none:x")
	var last string
	for line := range strings.Lines(r.Stderr) {
		if strings.HasPrefix(line, "{") {
			if e := events(t, line)[0]; e.Kind == "end" {
				t.Errorf("a copy that failed says %s", line)
			}
		}
		last = line
	}
	if !strings.HasPrefix(last, "img-copy: ") {
		t.Errorf("a copy that failed ends with %q; want the message", last)
	}
}

func checkEvents(t *testing.T, es []event, dest string, blobs map[digest.Digest]int64) {
	t.Helper()
	if len(es) < 3 || es[0].Kind != "plan" || es[len(es)-1].Kind != "end" {
		t.Fatalf("events to %s: %+v; want the plan first and the end last", dest, es)
	}
	if es[0].Ref == "" || es[0].Size == 0 {
		t.Errorf("plan to %s: %+v; want ref and size", dest, es[0])
	}
	if got := es[len(es)-1]; got.Ref == "" {
		t.Errorf("end to %s: %+v; want ref", dest, got)
	}
	begun, over := map[string]bool{}, map[string]bool{}
	for _, e := range es {
		if e.Time == "" || !strings.HasSuffix(e.Time, "Z") {
			t.Errorf("event %+v; want a time, in UTC", e)
		}
		size, ok := blobs[digest.Digest(e.Digest)]
		switch e.Kind {
		case "plan", "end", "warning":
		case "commit":
			if e.Ref == "" {
				t.Errorf("%+v to %s; want ref", e, dest)
			}
		case "copy":
			begun[e.Digest] = true
		case "progress":
			if !begun[e.Digest] || over[e.Digest] {
				t.Errorf("%+v to %s is not between copy and done", e, dest)
			}
		case "done", "have":
			if over[e.Digest] || (e.Kind == "done") != begun[e.Digest] || !ok || e.Kind == "done" && e.Size != size {
				t.Errorf("%+v to %s is out of place; the blob has %d bytes", e, dest, size)
			}
			over[e.Digest] = true
		default:
			t.Errorf("%+v to %s is of no kind that there is", e, dest)
		}
	}
	for d := range begun {
		if !over[d] {
			t.Errorf("%s was begun for %s and not done", d, dest)
		}
	}
}

// One job at a time is for those whose registry cannot take more: blobs must
// then come one after the other.
func TestJobs(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Many(20)), harness.Dir(t)
	for _, flags := range [][]string{{"--jobs=1"}, {"-j", "1"}, {"-j", "30"}} {
		r := harness.Run(t, nil, "img-copy", append(flags, "--progress=json", w.at("many"), "oci:"+dir+"/"+strings.Join(flags, "")+":x")...)
		open, most := 0, 0
		for _, e := range events(t, r.Stderr) {
			switch e.Kind {
			case "copy":
				open++
			case "done":
				open--
			}
			most = max(most, open)
		}
		if r.Code != 0 || open != 0 || flags[len(flags)-1] != "30" && most != 1 {
			t.Errorf("%v: exit %d, %d blobs at once", flags, r.Code, most)
		}
	}
}

// The pinned name is what scripts go on with: it must name what was copied, for
// every destination that has names.
func TestPinnedName(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Tiny()), harness.Dir(t)
	tos := []string{w.Registry.Ref("pinned:1"), w.Registry.Ref("pinned"), w.Registry.Ref("pinned@" + w.Roots["tiny"].Digest.String()),
		"oci:" + dir + "/unnamed", "oci-archive:" + dir + "/unnamed.tar", "docker-archive:" + dir + "/unnamed-docker.tar"}
	for _, p := range places {
		tos = append(tos, p.in(dir, "tiny"))
	}
	for _, to := range tos {
		out := strings.TrimSuffix(harness.Must(t, "img-copy", w.at("tiny"), to), "\n")
		r := harness.Run(t, nil, "img-inspect", "--digest", out)
		if r.Code != 0 || r.Stdout != w.Roots["tiny"].Digest.String()+"\n" {
			t.Errorf("img-copy to %s printed %s, of which img-inspect --digest says %q and %q", to, out, r.Stdout, r.Stderr)
		}
		if r := harness.Run(t, nil, "img-copy", out, "dir:"+filepath.Join(dir, "again")); r.Code != 0 {
			t.Errorf("img-copy of %s: exit %d, %s", out, r.Code, r.Stderr)
		}
	}
}

// An archive that is there gets the image added; --replace makes it hold the
// copy alone. What is no archive of ours is not written over.
func TestReplace(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny(), sample.Docker()), harness.Dir(t)
	for _, p := range places[2:] {
		copyImage(t, l.Ref("tiny"), p.in(dir, "tiny"))
		copyImage(t, l.Ref("docker"), p.in(dir, "docker"))
		copyImage(t, l.Ref("tiny"), "dir:"+dir+"/was-tiny")
		if out := harness.Must(t, "img-inspect", "--digest", p.in(dir, "tiny")); out != l.Roots["tiny"].Digest.String()+"\n" {
			t.Errorf("%s lost the image that it had: %s", p.name, out)
		}
		copyImage(t, l.Ref("docker"), p.in(dir, "docker"), "--replace")
		fails(t, notFound, "img-inspect", p.in(dir, "tiny"))
		mustWhole(t, p.in(dir, "docker"), l.Roots["docker"].Digest)
	}
	file := filepath.Join(dir, "letter.txt")
	const letter = "this is no archive, but somebody's letter\n"
	if err := os.WriteFile(file, []byte(letter), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"oci-archive:" + file, "docker-archive:" + file + ":a/b:1", "dir:" + dir, "oci:" + file} {
		if r := harness.Run(t, nil, "img-copy", "--quiet", l.Ref("tiny"), to); r.Code == 0 {
			t.Errorf("img-copy to %s, which is something else's: done; want a failure", to)
		}
		if got := string(slurp(t, file)); got != letter {
			t.Fatalf("img-copy to %s made %q of what was there", to, got)
		}
	}
}

// Bytes that are no text are not for terminals, where they do harm; --force is
// for those who know better.
func TestTerminal(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	layer := strings.Fields(harness.Must(t, "img-inspect", "--layers", l.Ref("tiny")))[2]
	for _, args := range []stage{
		{"img-copy", "--quiet", l.Ref("tiny"), "-"},
		{"img-inspect", "--head", l.Ref("tiny")},
		{"img-inspect", "--blob=" + layer, l.Ref("tiny")},
	} {
		master, slave := terminal(t)
		r := program{stdout: slave}.start(t, args[0], args[1:]...).wait(t)
		if r.Code == 0 {
			t.Errorf("%s to a terminal: done; want a failure", args)
		}
		if n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCINQ); err != nil || n != 0 {
			t.Errorf("%s wrote %d bytes to a terminal (%v)", args, n, err)
		}
		forced := program{stdout: slave}.start(t, args[0], append([]string{"--force"}, args[1:]...)...)
		b := make([]byte, 16)
		if n, err := master.Read(b); err != nil || n == 0 {
			t.Errorf("%s --force wrote nothing to a terminal (%v)", args, err)
		}
		forced.cmd.Process.Kill() // it may wait for more to be read
	}
	_, slave := terminal(t)
	if r := (program{stdout: slave}).start(t, "img-inspect", "--raw", l.Ref("tiny")).wait(t); r.Code != 0 {
		t.Errorf("a manifest, which is text, to a terminal: exit %d\n%s", r.Code, r.Stderr)
	}
}

// terminal returns the two ends of a pseudo terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}
