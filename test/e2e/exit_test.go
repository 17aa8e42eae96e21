package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// The exit codes that img(1) documents for every tool, as scripts use them.
const (
	failure      = 1
	wrongUse     = 2
	notFound     = 3
	unauthorised = 4
	network      = 5
	refused      = 6
	mismatch     = 7
	badOutput    = 9
)

// A script looks at the exit code, so that wrong use must never look like a
// fault that passes, or the other way round.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny()), harness.Dir(t)
	good, to := l.Ref("tiny"), "oci:"+dir+"/to:x"
	for _, args := range [][]string{
		{"img-copy"},
		{"img-copy", good},
		{"img-copy", good, to, to},
		{"img-copy", "--no-such-option", good, to},
		{"img-copy", "--jobs=many", good, to},
		{"img-copy", "--platform=linux", good, to},
		{"img-copy", "--platform=linux/amd64/v1/x", good, to},
		{"img-copy", "--progress=loud", good, to},
		{"img-copy", "--timeout=soon", good, to},
		{"img-copy", "--retry-times=-1", good, to},
		{"img-copy", "--additional-tag=UPPER:x", good, to},
		{"img-copy", "--src-creds=", good, to},
		{"img-copy", "--src-creds=u:p", "--src-no-creds", good, to},
		{"img-copy", "--src-creds=u:p", "--src-username=u", "--src-password=p", good, to},
		{"img-copy", "--src-username=u", good, to},
		{"img-copy", "--dest-password=p", good, to},
		{"img-copy", "name", to},
		{"img-copy", "nosuch:name", to},
		{"img-copy", good, "name"},
		{"img-copy", good, "docker:name"},
		{"img-copy", "docker://UPPER/case", to},
		{"img-copy", "docker://a.example/x:" + strings.Repeat("y", 129), to},
		{"img-copy", "docker://a.example/x@sha256:../../etc", to},
		{"img-copy", good, "oci:" + dir + "/to:a b"},
		{"img-copy", good, "oci:" + dir + "/to:@0"},
		{"img-copy", good, "docker-archive:" + dir + "/x.tar:UPPER"},
		{"img-inspect"},
		{"img-inspect", good, good},
		{"img-inspect", "--raw", "--digest", good},
		{"img-inspect", "--blob=md5:d41d8cd98f00b204e9800998ecf8427e", good},
		{"img-inspect", "--blob=sha256:../../x", good},
		{"img-inspect", "--raw", "--format=json", good},
		{"img-inspect", "--format={{", good},
		{"img-inspect", "name"},
		{"img-manifest-digest", "a", "b"},
		{"img-manifest-digest", "--raw"},
		{"img", "img-nosuch"},
		{"img", "--nosuch"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			fails(t, wrongUse, args[0], args[1:]...)
		})
	}
	if files := tree(t, dir); len(files) != 0 {
		t.Errorf("wrong use made %q", files)
	}
}

// What is not there is told by its own code, and the message says which side
// and which of its parts was looked for.
func TestNotFound(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Tiny(), sample.Platforms(), sample.Docker()), harness.Dir(t)
	archive, docker := dir+"/oci.tar", dir+"/docker.tar"
	copyImage(t, w.at("tiny"), "oci-archive:"+archive+":tiny")
	copyImage(t, w.at("tiny"), "docker-archive:"+docker+":sample/tiny:1")
	for from, cause := range map[string]string{
		w.Registry.Ref("nosuch:1"):                   "nosuch",
		w.Registry.Ref("tiny:nosuch"):                "nosuch",
		w.Registry.Ref("tiny@" + zeroes):             zeroes,
		w.Layout.Ref("nosuch"):                       "nosuch",
		"oci:" + dir + "/nosuch:x":                   "no such file or directory",
		"dir:" + dir + "/nosuch":                     "no such file or directory",
		"dir:" + w.Layout.Dir:                        "manifest.json",
		"oci-archive:" + dir + "/nosuch.tar":         "not found",
		"oci-archive:" + archive + ":nosuch":         "nosuch",
		"docker-archive:" + dir + "/nosuch.tar":      "no such file or directory",
		"docker-archive:" + docker + ":nosuch:1":     "nosuch",
		"docker-archive:" + docker + ":sample/tiny":  "latest",
		"docker-archive:" + docker + ":sample/tin:1": "tin:1",
	} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			to := harness.Dir(t)
			m := fails(t, notFound, "img-copy", from, "oci:"+to+"/layout:x")
			place, _, _ := strings.Cut(from, ".tar:") // a name in an archive of docker's is shown in full
			if !strings.HasPrefix(m, "img-copy: source "+place) || !strings.Contains(m, cause) {
				t.Errorf("message %q; want the side, the reference and the cause, %s", m, cause)
			}
			if files := tree(t, to); len(files) != 0 {
				t.Errorf("a copy of what is not there made %q", files)
			}
			m = fails(t, notFound, "img-inspect", from)
			if !strings.HasPrefix(m, "img-inspect: "+place) || !strings.Contains(m, cause) {
				t.Errorf("message %q; want the reference and the cause, %s", m, cause)
			}
		})
	}
	// The destination's part: a directory to lie in.
	for _, to := range []string{"oci:" + dir + "/no/such:x", "dir:" + dir + "/no/such", "oci-archive:" + dir + "/no/such.tar"} {
		m := fails(t, notFound, "img-copy", "--quiet", w.at("tiny"), to)
		if !strings.Contains(m, "destination") || !strings.Contains(m, "no such file or directory") {
			t.Errorf("message %q; want the side and the cause", m)
		}
	}
}

const zeroes = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// An image that has no part for the platform asked for is not found; nothing
// else may be taken in its place.
func TestPlatformNotFound(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t, sample.Tiny(), sample.Platforms(), sample.List()), harness.Dir(t)
	fails(t, notFound, "img-copy", "--platform=linux/arm64", w.at("tiny"), "oci:"+dir+"/layout:x")
	for _, tag := range []string{"platforms", "list"} {
		for _, p := range []string{"linux/s390x", "linux/amd64,linux/s390x", "windows/amd64", "linux/arm64/v9"} {
			m := fails(t, notFound, "img-copy", "--quiet", "--platform="+p, w.at(tag), "oci:"+dir+"/layout:x")
			if !strings.Contains(m, w.at(tag)) {
				t.Errorf("message %q; want the reference", m)
			}
		}
	}
	if files := tree(t, dir); len(files) != 0 {
		t.Errorf("the copies that failed made %q", files)
	}
}

// A registry that cannot be reached, or that answers as none would, is the
// network's fault, and worth trying again later.
func TestNetworkFailure(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "try later", http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	for _, addr := range []string{closed.Addr().String(), busy.Listener.Addr().String(), "registry.invalid"} {
		ref := "docker://" + addr + "/a/b:1"
		m := fails(t, network, "img-copy", "--quiet", "--retry-delay=1ms", ref, "oci:"+harness.Dir(t)+"/l:x")
		if !strings.HasPrefix(m, "img-copy: source "+ref) {
			t.Errorf("message %q; want side and reference first", m)
		}
		m = fails(t, network, "img-copy", "--quiet", "--retry-delay=1ms", l.Ref("tiny"), ref)
		if !strings.HasPrefix(m, "img-copy: destination "+ref) {
			t.Errorf("message %q; want side and reference first", m)
		}
		fails(t, network, "img-inspect", "--retry-delay=1ms", ref)
	}
}

// A registry that takes the connection and says nothing must not hold a script
// for ever: --timeout covers all of it.
func TestTimeout(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ref := "docker://" + silent.Addr().String() + "/a/b:1"
	l := harness.Image(t, sample.Tiny())
	fails(t, network, "img-copy", "--quiet", "--timeout=200ms", ref, "oci:"+harness.Dir(t)+"/l:x")
	fails(t, network, "img-copy", "--quiet", "--timeout=200ms", l.Ref("tiny"), ref)
	fails(t, network, "img-inspect", "--timeout=200ms", ref)
	// Neither must a pipe that nobody writes to.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := program{stdin: r}.start(t, "img-copy", "--quiet", "--timeout=200ms", "-", "oci:"+harness.Dir(t)+"/l:x")
	r.Close()
	failed(t, p.wait(t), network, "img-copy of a silent pipe")
}

// Content that is not what its digest says must be found wherever it lies, and
// must not be given a name anywhere.
func TestCorruptedBlob(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny()), harness.Dir(t)
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	for _, p := range places[1:] {
		copyImage(t, l.Ref("tiny"), p.in(dir, "tiny"))
	}
	r.Seed(t, l, "tiny", "bad:1")
	d := breakBlob(t, l, "tiny")
	bad := slurp(t, l.Blob(d))
	good := append([]byte(nil), bad...)
	good[len(good)/2] ^= 1
	write := func(file string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "dir", d.Encoded()), bad)
	for _, name := range []string{"oci.tar", "docker.tar"} {
		file := filepath.Join(dir, name)
		b := string(slurp(t, file))
		if strings.Count(b, string(good)) != 1 {
			t.Fatalf("%s has the layer %d times", name, strings.Count(b, string(good)))
		}
		write(file, []byte(strings.Replace(b, string(good), string(bad), 1)))
	}
	h := d.Encoded()
	write(filepath.Join(r.Dir, "docker/registry/v2/blobs/sha256", h[:2], h, "data"), bad)
	froms := []string{l.Ref("tiny"), r.Ref("bad:1")}
	for _, p := range places[1:] {
		froms = append(froms, p.in(dir, "tiny"))
	}
	for _, from := range froms {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			to := harness.Dir(t)
			m := fails(t, mismatch, "img-copy", "--quiet", from, "oci:"+to+"/layout:x")
			place, _, _ := strings.Cut(from, ".tar:")
			if !strings.Contains(m, place) || !strings.Contains(m, d.String()) {
				t.Errorf("message %q; want the reference and %s", m, d)
			}
			if got, err := whole("oci:" + to + "/layout:x"); err == nil {
				t.Errorf("the layout has %s, which is broken", got)
			}
			for _, f := range tree(t, to) {
				if filepath.Base(f) == h || strings.Contains(string(slurp(t, filepath.Join(to, f))), h) && filepath.Base(f) == "index.json" {
					t.Errorf("%s is left of the broken copy", f)
				}
			}
			r := harness.Run(t, nil, "img-copy", "--quiet", from, "-")
			if r.Code != mismatch {
				t.Errorf("img-copy %s -: exit %d, %s; want 7", from, r.Code, r.Stderr)
			}
			// --blob gives bytes before it has seen them all; the code tells.
			if r := harness.Run(t, nil, "img-inspect", "--blob="+d.String(), from); r.Code != mismatch {
				t.Errorf("img-inspect --blob: exit %d, %s; want 7", r.Code, r.Stderr)
			}
		})
	}
}

// Standard output that cannot be written is a failure of its own: the caller
// has less than it thinks.
func TestBadOutput(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny()), harness.Dir(t)
	manifest := filepath.Join(dir, "manifest.json")
	if err := os.WriteFile(manifest, slurp(t, l.Blob(l.Roots["tiny"].Digest)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range []stage{
		{"img-copy", "--quiet", l.Ref("tiny"), "-"},
		{"img-copy", "--quiet", l.Ref("tiny"), "oci:" + dir + "/l:x"},
		{"img-copy", "--dry-run", l.Ref("tiny"), "oci:" + dir + "/l:y"},
		{"img-copy", "--help"},
		{"img-copy", "--version"},
		{"img-inspect", l.Ref("tiny")},
		{"img-inspect", "--raw", l.Ref("tiny")},
		{"img-inspect", "--head", l.Ref("tiny")},
		{"img-manifest-digest", manifest},
		{"img", "--list"},
	} {
		for _, output := range []string{"full", "gone"} {
			t.Run(strings.Join(args[:2], " ")+" "+output, func(t *testing.T) {
				t.Parallel()
				f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
				if output == "gone" {
					var reader *os.File
					if reader, f, err = os.Pipe(); err == nil {
						err = reader.Close()
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				failed(t, program{stdout: f}.start(t, args[0], args[1:]...).wait(t), badOutput, strings.Join(args, " "))
			})
		}
	}
}

// What a server says is for people to read, so that it is shown, but it must
// not get at their terminal, nor make one line look like two.
func TestServerTextIsEscaped(t *testing.T) {
	t.Parallel()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"errors":[{"code":"MANIFEST_INVALID","message":"red \u001b[31m alert\nimg-copy: all is well \u009b31m"}]}`)
	}))
	defer evil.Close()
	ref := "docker://" + evil.Listener.Addr().String() + "/a/b:1"
	for _, args := range [][]string{
		{"img-copy", ref, "oci:" + harness.Dir(t) + "/l:x"},
		{"img-copy", "--debug", ref, "oci:" + harness.Dir(t) + "/l:x"},
		{"img-copy", "--progress=json", ref, "oci:" + harness.Dir(t) + "/l:x"},
		{"img-inspect", ref},
	} {
		r := harness.Run(t, nil, args[0], args[1:]...)
		if r.Code != failure {
			t.Errorf("%s: exit %d; want 1", strings.Join(args, " "), r.Code)
		}
		if strings.ContainsAny(r.Stderr, "\x1b\u009b") || strings.Contains(r.Stderr, "\nimg-copy: all is well") {
			t.Errorf("%s: %q goes to the terminal as the server sent it", strings.Join(args, " "), r.Stderr)
		}
		if !strings.Contains(r.Stderr, "alert") {
			t.Errorf("%s: %q; want what the server said", strings.Join(args, " "), r.Stderr)
		}
	}
}
