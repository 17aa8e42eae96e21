package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
)

// configOf returns the digest of a sample's configuration, which is what
// engines know an image by.
func configOf(t *testing.T, l harness.Layout, tag string) digest.Digest {
	t.Helper()
	var m document
	if err := json.Unmarshal(slurp(t, l.Blob(l.Roots[tag].Digest)), &m); err != nil || m.Config == nil {
		t.Fatalf("%s: no manifest of an image (%v)", tag, err)
	}
	return m.Config.Digest
}

// The engines read the stream from a pipe, as the image that it is, under the
// name that it was copied from.
func TestPipeIntoEngines(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Docker(), sample.Plain(), sample.Many(30), sample.Zstd(), sample.Platforms())
	single := []string{"tiny", "docker", "plain", "many"}
	t.Run("docker", func(t *testing.T) {
		t.Parallel()
		e := harness.Dockerd(t)
		for _, tag := range single {
			name := w.Addr + "/" + tag + ":1"
			if out := feed(t, e, []string{w.at(tag)}, "load"); out != "Loaded image: "+name+"\n" {
				t.Errorf("docker load printed %q; want the image %s", out, name)
			}
			if got, want := e.Must(t, nil, "image", "inspect", "--format={{.Id}}", name), configOf(t, w.Layout, tag); got != want.String()+"\n" {
				t.Errorf("docker loaded %s as %s; want %s", tag, got, want)
			}
		}
		feed(t, e, []string{"--platform=linux/amd64", w.at("platforms")}, "load")
		if got := e.Must(t, nil, "image", "inspect", "--format={{.Architecture}}", w.Addr+"/platforms:1"); got != "amd64\n" {
			t.Errorf("docker loaded one of several platforms as %s", got)
		}
	})
	t.Run("podman", func(t *testing.T) {
		t.Parallel()
		e := harness.Podman(t)
		for _, tag := range append(single, "zstd") {
			feed(t, e, []string{w.at(tag)}, "load")
			name := w.Addr + "/" + tag + ":1"
			if got, want := e.Must(t, nil, "image", "inspect", "--format={{.Id}}", name), configOf(t, w.Layout, tag); got != want.Encoded()+"\n" {
				t.Errorf("podman loaded %s as %s; want %s", tag, got, want)
			}
		}
	})
	t.Run("containerd", func(t *testing.T) {
		t.Parallel()
		e := harness.Containerd(t)
		for _, tag := range append(single, "zstd", "platforms") {
			feed(t, e, []string{w.at(tag)}, "images", "import", "-")
			name, root := w.Addr+"/"+tag+":1", w.Roots[tag].Digest.String()
			list := e.Must(t, nil, "images", "list")
			if line := lineWith(list, name+" "); !strings.Contains(line, root) {
				t.Errorf("containerd imported %q; want %s as %s", list, root, name)
			}
		}
		if missing := e.Must(t, nil, "images", "check"); strings.Contains(missing, "incomplete") {
			t.Errorf("not whole:\n%s", missing)
		}
	})
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// What goes through a pipe may be packed on the way, by who wants to; the
// reader finds out. Streams that became files are what peers read.
func TestPipeThroughFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms(), sample.Artifact(), sample.Nested())
	for tag, root := range w.Roots {
		for _, filter := range []stage{{"cat"}, {"gzip", "-c"}, {"zstd", "-qc"}, {"xz", "-c"}, {"bzip2", "-c"}, {"dd", "bs=700", "status=none"}} {
			t.Run(tag+"/"+filter[0], func(t *testing.T) {
				t.Parallel()
				name := filter[0] + "/" + tag + ":1"
				mustPipe(t, stage{"img-copy", w.at(tag), "-"}, filter, stage{"img-copy", "-", w.Registry.Ref(name)})
				holds(t, w.Registry, name, root.Digest.String())
			})
		}
	}
	for _, p := range places[:3] {
		t.Run("into-"+p.name, func(t *testing.T) {
			t.Parallel()
			to := p.in(harness.Dir(t), "x")
			mustPipe(t, stage{"img-copy", w.at("platforms"), "-"}, stage{"img-copy", "-", to})
			mustWhole(t, to, w.Roots["platforms"].Digest)
		})
	}
	// A stream goes on as the stream that it was: filters can be put in a row.
	t.Run("again", func(t *testing.T) {
		t.Parallel()
		once := harness.Must(t, "img-copy", w.at("tiny"), "-")
		twice := mustPipe(t, stage{"img-copy", w.at("tiny"), "-"}, stage{"img-copy", "-", "-"}, stage{"img-copy", "-", "-"})
		if once != twice {
			t.Error("a stream copied to a stream is another stream")
		}
	})
}

// The name that a stream carries is where it comes from; what it is called at
// its end is said there.
func TestStreamIntoNamedPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny())
	dir := harness.Dir(t)
	file := filepath.Join(dir, "stream.tar")
	if err := os.WriteFile(file, []byte(harness.Must(t, "img-copy", w.at("tiny"), "-")), 0o644); err != nil {
		t.Fatal(err)
	}
	want := w.Roots["tiny"].Digest
	mustPipe(t, stage{"cat", file}, stage{"img-copy", "-", "oci:" + dir + "/layout:mine"})
	mustWhole(t, "oci:"+dir+"/layout:mine", want)
	harness.Must(t, "skopeo", "copy", "oci-archive:"+file, "dir:"+dir+"/skopeo")
	if got := digest.FromBytes(slurp(t, dir+"/skopeo/manifest.json")); got != want {
		t.Errorf("skopeo read the stream as %s; want %s", got, want)
	}
	harness.Must(t, "sh", "-c", "skopeo copy oci-archive:/dev/stdin dir:"+dir+"/piped <"+file)
	if got := digest.FromBytes(slurp(t, dir+"/piped/manifest.json")); got != want {
		t.Errorf("skopeo read the stream on its standard input as %s; want %s", got, want)
	}
	harness.Must(t, "skopeo", "inspect", "docker-archive:"+file)
	copyImage(t, "oci-archive:"+file, w.Registry.Ref("from-file:1"))
	holds(t, w.Registry, "from-file:1", want.String())
}

// A pipe that is cut, wherever, must not give anything a name, and must be told
// from other failures: 7, content that is not what its digest says.
func TestCutPipe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms())
	for tag := range w.Roots {
		stream := harness.Must(t, "img-copy", w.at(tag), "-")
		data := len(stream) - 1024 // the rest is two blocks of zeros, which tell nothing
		a, err := readTar(strings.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		last := (a.headers[len(a.headers)-1].Size + 511) / 512 * 512
		cuts := []int{1, 511, 512, 1000, 2048, data / 3, data / 2, data - int(last) - 512, data - int(last), data - 513}
		for _, n := range cuts {
			t.Run(fmt.Sprintf("%s/%d", tag, n), func(t *testing.T) {
				t.Parallel()
				cutPipe(t, w, tag, n)
			})
		}
	}
}

func cutPipe(t *testing.T, w world, tag string, n int) {
	t.Helper()
	dir := harness.Dir(t)
	name := fmt.Sprintf("cut/%s-%d:1", tag, n)
	for i, to := range []string{w.Registry.Ref(name), "oci:" + dir + "/layout:x", "dir:" + dir + "/dir", "oci-archive:" + dir + "/a.tar:x"} {
		r := pipe(t, stage{"img-copy", "--quiet", w.at(tag), "-"}, stage{"head", "-c", fmt.Sprint(n)}, stage{"img-copy", "--quiet", "-", to})
		failed(t, r[2], 7, fmt.Sprintf("img-copy - %s of the first %d bytes", to, n))
		if i > 0 {
			if got, err := whole(to); err == nil {
				t.Errorf("%s holds %s after a cut at %d", to, got, n)
			}
		}
	}
	holds(t, w.Registry, name, "")
	for _, f := range tree(t, dir) { // blobs that came whole may stay, for the next run
		if strings.HasSuffix(f, "index.json") || strings.HasSuffix(f, "manifest.json") || strings.HasSuffix(f, ".tar") {
			if b := string(slurp(t, filepath.Join(dir, f))); strings.Contains(b, "sha256") {
				t.Errorf("%s names what is not whole: %s", f, b)
			}
		}
	}
}

// Nothing at all on a pipe, or something that is no stream, is a failure too.
func TestNoStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny())
	for what, s := range map[string]stage{"nothing": {"true"}, "zeros": {"head", "-c", "100000", "/dev/zero"}, "text": {"yes"}, "tar": {"tar", "-c", "/etc/passwd"}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := pipe(t, s, stage{"img-copy", "--quiet", "-", w.Registry.Ref(what + ":1")})
			if r[1].Code == 0 || r[1].Code == 2 {
				t.Errorf("img-copy of %s: exit %d; want a failure, that is not the user's", what, r[1].Code)
			}
			failed(t, r[1], r[1].Code, "img-copy - of "+what)
			holds(t, w.Registry, what+":1", "")
		})
	}
}

// If the writer fails, the reader must too: the shell looks at the last exit
// code, and there was no image.
func TestFailingWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny())
	r := pipe(t, stage{"img-copy", w.Registry.Ref("none:1"), "-"}, stage{"img-copy", "-", w.Registry.Ref("b:1")})
	failed(t, r[0], 3, "img-copy of what is not there")
	failed(t, r[1], 7, "img-copy - of what failed")
	holds(t, w.Registry, "b:1", "")

	// A writer that finds a blob broken when half of it has gone through.
	l := harness.Image(t, sample.Big(1<<20))
	breakBlob(t, l, "big")
	r = pipe(t, stage{"img-copy", "-q", l.Ref("big"), "-"}, stage{"img-copy", "-q", "-", w.Registry.Ref("b:1")})
	if r[0].Code != 7 || strings.Count(r[0].Stderr, "\n") != 1 {
		t.Errorf("writer of a broken blob: %d, %s; want 7 and one line", r[0].Code, r[0].Stderr)
	}
	failed(t, r[1], 7, "img-copy - of a broken blob")
	holds(t, w.Registry, "b:1", "")
}

// breakBlob changes one byte in the middle of the last layer of a sample.
func breakBlob(t *testing.T, l harness.Layout, tag string) digest.Digest {
	t.Helper()
	var m document
	if err := json.Unmarshal(slurp(t, l.Blob(l.Roots[tag].Digest)), &m); err != nil {
		t.Fatal(err)
	}
	d := m.Layers[len(m.Layers)-1].Digest
	b := slurp(t, l.Blob(d))
	b[len(b)/2] ^= 1
	if err := os.WriteFile(l.Blob(d), b, 0o644); err != nil {
		t.Fatal(err)
	}
	return d
}

// A reader that goes away is a failure of its own (9) and no crash, and says so
// in one line: the user may have meant it.
func TestGoneReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Big(3<<20))
	for _, reader := range []stage{{"true"}, {"head", "-c", "1"}, {"head", "-c", "100000"}} {
		r := pipe(t, stage{"img-copy", "--quiet", w.at("big"), "-"}, reader)
		if r[0].Code != 9 || strings.Count(r[0].Stderr, "\n") != 1 {
			t.Errorf("img-copy into %s: exit %d, %s; want 9 and one line", reader, r[0].Code, r[0].Stderr)
		}
	}
}

// A layer of a gigabyte goes through a pipe in little memory, and touches no
// disk: of a copy nothing but the copy shall be made.
func TestGigabyteThroughPipe(t *testing.T) {
	l := harness.Image(t, sample.Big(1<<30))
	root, dir := l.Roots["big"].Digest, harness.Dir(t)
	from := harness.StartRegistry(t, harness.RegistryOptions{})
	from.Seed(t, l, "big", "a:1")
	if err := os.RemoveAll(l.Dir); err != nil { // it may lie in memory
		t.Fatal(err)
	}
	to := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	side := func(name string, args ...string) stage {
		trace := stage{"strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none",
			"-e", "trace=open,openat,openat2,creat,memfd_create,mkdir,mkdirat", "-o", filepath.Join(dir, name+".trace")}
		s := append(append(trace, harness.Tool(t, "img-copy"), "--quiet"), args...)
		return measure(t, s, filepath.Join(dir, name))
	}
	mustPipe(t, side("writer", from.Ref("a:1"), "-"), side("reader", "-", to.Ref("b:1")))
	holds(t, to, "b:1", root.String())
	for _, name := range []string{"writer", "reader"} {
		var u usage
		if err := json.Unmarshal(slurp(t, filepath.Join(dir, name)), &u); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d KiB at most", name, u.MaxRSS>>10)
		if u.MaxRSS >= 32<<20 {
			t.Errorf("the %s took %d bytes of memory; want less than 32 MiB", name, u.MaxRSS)
		}
		calls := string(slurp(t, filepath.Join(dir, name+".trace")))
		if !strings.Contains(calls, "open") {
			t.Fatalf("nothing was traced: %s", calls)
		}
		for line := range strings.Lines(calls) {
			if strings.Contains(line, "O_CREAT") || strings.Contains(line, "O_TMPFILE") || !strings.Contains(line, "open") {
				t.Errorf("the %s made a file: %s", name, line)
			}
		}
	}
}
