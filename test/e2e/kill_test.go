package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
)

// kills is how many copies into each kind of place are killed.
const kills = 25

// changes are the system calls that a copy may change files with, and some
// between them.
const changes = "write,writev,pwrite64,copy_file_range,sendfile,splice,openat,close,fsync,fdatasync,sync_file_range,rename,renameat," +
	"renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,ftruncate,fallocate,fchmod,fchmodat,flock"

// A machine that stops in the middle of a copy must find the old image there or
// the new one, whole, and the next run must end what was begun and leave
// nothing that is not the image. The copies are killed at a system call, any of
// those that change files, or after any number of events.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l := harness.Image(t, sample.Tiny(), sample.Plain(), sample.Many(20), sample.Big(3<<20))
	for i, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			killCopies(t, l, p, rand.New(rand.NewPCG(seed, uint64(i))))
		})
	}
}

func killCopies(t *testing.T, l harness.Layout, p place, random *rand.Rand) {
	t.Helper()
	old := harness.Dir(t)
	copyImage(t, l.Ref("tiny"), p.in(old, "x"))
	keeps := strings.Contains(p.ref, "TAG") // there may be another image in it
	if keeps {
		copyImage(t, l.Ref("plain"), p.in(old, "other"))
	}
	killed, finished, dirty := 0, 0, 0
	defer func() {
		t.Logf("%d killed: %d had the new image already, %d left something to clean up", killed, finished, dirty)
	}()
	for try := 0; killed < kills; try++ {
		if try > 10*kills {
			t.Fatalf("%d copies were killed in %d tries; want %d", killed, try, kills)
		}
		dir, tag := harness.Dir(t), []string{"many", "big"}[try%2]
		harness.Must(t, "cp", "-a", old+"/.", dir)
		args := []string{"--quiet", l.Ref(tag), p.in(dir, "x")}
		how, done := "", false
		if try%5 == 0 {
			how, done = killAfterEvents(t, random.IntN(45), args[1:])
		} else {
			how, done = killAtCall(t, 1+random.IntN(80>>random.IntN(6)), dir, args)
		}
		if !done {
			continue
		}
		killed++
		got, err := whole(p.in(dir, "x"))
		if err != nil || got != l.Roots["tiny"].Digest && got != l.Roots[tag].Digest {
			t.Errorf("killed %s, %s holds %q, %v; want the old image or the new", how, p.name, got, err)
		}
		if keeps {
			mustWhole(t, p.in(dir, "other"), l.Roots["plain"].Digest)
		}
		if got != l.Roots["tiny"].Digest {
			finished++
		}
		left := tree(t, dir)
		if len(left) > len(tree(t, old)) {
			dirty++
		}
		if r := harness.Run(t, nil, "img-copy", args...); r.Code != 0 {
			t.Errorf("killed %s, the next run fails: exit %d\n%s", how, r.Code, r.Stderr)
		}
		mustWhole(t, p.in(dir, "x"), l.Roots[tag].Digest)
		checkClean(t, p, dir, fmt.Sprintf("killed %s, which left %q; the next run", how, left))
		if t.Failed() {
			return
		}
	}
}

// killAtCall kills img-copy when one of its threads makes the nth of the calls
// that change files. It returns false if none made so many.
func killAtCall(t *testing.T, n int, dir string, args []string) (string, bool) {
	t.Helper()
	trace := []string{"-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-o", "/dev/null", "-e", "trace=" + changes,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", changes, n), harness.Tool(t, "img-copy")}
	r := harness.Run(t, nil, "strace", append(trace, args...)...)
	if r.Code == 0 {
		return "", false
	}
	if r.Code != -1 && r.Code != 137 {
		t.Fatalf("strace: %+v", r)
	}
	return fmt.Sprintf("at call %d", n), true
}

// killAfterEvents kills img-copy when it has told of n events, or false.
func killAfterEvents(t *testing.T, n int, args []string) (string, bool) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := program{stderr: w}.start(t, "img-copy", append([]string{"--progress=json"}, args...)...)
	w.Close()
	lines := bufio.NewScanner(r)
	for range n {
		if !lines.Scan() {
			p.wait(t)
			return "", false
		}
	}
	p.cmd.Process.Kill()
	p.wait(t)
	return fmt.Sprintf("after %d events", n), p.cmd.ProcessState.ExitCode() == -1
}

// checkClean checks that nothing is in the place that is no part of it.
func checkClean(t *testing.T, p place, dir, who string) {
	t.Helper()
	part := map[string]*regexp.Regexp{
		"oci":            regexp.MustCompile(`^layout/(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})$`),
		"dir":            regexp.MustCompile(`^dir/(version|manifest\.json|[0-9a-f]{64}(\.manifest\.json)?)$`),
		"oci-archive":    regexp.MustCompile(`^oci\.tar$`),
		"docker-archive": regexp.MustCompile(`^docker\.tar$`),
	}[p.name]
	for _, f := range tree(t, dir) {
		if !part.MatchString(f) {
			t.Errorf("%s left %s", who, f)
		}
	}
}

// checkLeft checks what is in a directory after a copy failed: what was there
// before, and of the new image at most blobs that are whole, which the next run
// does not have to fetch again. They have no other name than their digest.
func checkLeft(t *testing.T, dir string, before []string, who string) {
	t.Helper()
	for _, f := range tree(t, dir) {
		if slices.Contains(before, f) {
			continue
		}
		if name := filepath.Base(f); !strings.HasPrefix(harness.Must(t, "sha256sum", filepath.Join(dir, f)), name) {
			t.Errorf("%s left %s, which is no whole blob", who, f)
		}
	}
}

// A copy that fails, for whatever reason, leaves what was there: it is often
// the only one.
func TestFailureKeepsTheOld(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny(), sample.Big(1<<20))
	broken := harness.Image(t, sample.Big(1<<20))
	breakBlob(t, broken, "big")
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			dir := harness.Dir(t)
			to := p.in(dir, "x")
			copyImage(t, l.Ref("tiny"), to)
			before := tree(t, dir)
			for from, code := range map[string]int{
				l.Ref("nosuch"): notFound, "oci:" + dir + "/nosuch:x": notFound, r.Ref("nosuch:1"): notFound,
				broken.Ref("big"): mismatch, "docker://127.0.0.1:1/a/b:1": network, "-": mismatch,
			} {
				fails(t, code, "img-copy", "--quiet", "--retry-times=0", from, to)
				mustWhole(t, to, l.Roots["tiny"].Digest)
			}
			checkLeft(t, dir, before, "copies that failed")
		})
	}
}

// What a copy fetched before it failed is not fetched again: the line may be
// slow, and the layers large.
func TestNextRunGoesOn(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Many(20))
	r := harness.StartRegistry(t, harness.RegistryOptions{})
	r.Seed(t, l, "many", "x:1")
	for _, to := range []string{"oci:" + harness.Dir(t) + "/layout:x", "dir:" + harness.Dir(t) + "/dir", r.Ref("y:1")} {
		broken := harness.Image(t, sample.Many(20))
		bad := breakBlob(t, broken, "many")
		first := harness.Run(t, nil, "img-copy", "--jobs=1", "--progress=json", broken.Ref("many"), to)
		if first.Code != mismatch {
			t.Fatalf("copy of a broken image: %+v", first)
		}
		done := map[string]bool{}
		for line := range strings.Lines(first.Stderr) {
			if strings.HasPrefix(line, "{") {
				if e := events(t, line)[0]; e.Kind == "done" {
					done[e.Digest] = true
				}
			}
		}
		if len(done) == 0 || done[bad.String()] {
			t.Fatalf("done before the failure: %v; want some, and not the broken one", done)
		}
		second := harness.Run(t, nil, "img-copy", "--progress=json", l.Ref("many"), to)
		for _, e := range events(t, second.Stderr) {
			if e.Kind == "copy" && done[e.Digest] {
				t.Errorf("%s was copied to %s again", e.Digest, to)
			}
		}
		if second.Code != 0 {
			t.Errorf("the next run to %s: %+v", to, second)
		}
	}
}

// A full disk is such a failure: the error comes at a write, at the end of one,
// or when a file is to be made.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny(), sample.Many(20))
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range []string{
				"write,pwrite64,copy_file_range:error=ENOSPC:when=3+", "fsync,fdatasync:error=EIO:when=1+", "fsync,fdatasync:error=EIO:when=3+",
				"rename,renameat,renameat2,link,linkat:error=ENOSPC:when=1+", "rename,renameat,renameat2,link,linkat:error=EIO:when=4+",
				"mkdir,mkdirat:error=ENOSPC", "close:error=EIO:when=20+",
			} {
				dir := harness.Dir(t)
				to := p.in(dir, "x")
				copyImage(t, l.Ref("tiny"), to)
				calls, _, _ := strings.Cut(fault, ":")
				r := harness.Run(t, nil, "strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-o", "/dev/null",
					"-e", "trace="+calls, "-e", "inject="+fault, harness.Tool(t, "img-copy"), "--quiet", l.Ref("many"), to)
				got, err := whole(to)
				switch {
				case r.Code == 0 && got == l.Roots["many"].Digest && err == nil: // it never came to that call
				case r.Code == 0:
					t.Errorf("%s: done, and %s holds %s, %v", fault, p.name, got, err)
				case err != nil || got != l.Roots["tiny"].Digest && got != l.Roots["many"].Digest:
					t.Errorf("%s: failed, and %s holds %s, %v; want the old image or the new", fault, p.name, got, err)
				}
				copyImage(t, l.Ref("many"), to)
				mustWhole(t, to, l.Roots["many"].Digest)
				checkClean(t, p, dir, fault+", then the next run")
			}
		})
	}
}

// Who is asked to go (SIGTERM, or SIGINT from the keyboard) goes within two
// seconds, with the exit code that shells give for it, and leaves no name and
// no temporary file. Here the source does not say anything more.
func TestSignals(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Big(3<<20))
	stream := harness.Must(t, "img-copy", "--quiet", l.Ref("big"), "-")
	stalled := stalledRegistry(t, l)
	for _, p := range append([]place{{"registry", "", nil}}, places...) {
		for _, from := range []string{"-", stalled} {
			for signal, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
				t.Run(p.name+"/"+from[:1]+"/"+signal.String(), func(t *testing.T) {
					t.Parallel()
					dir := harness.Dir(t)
					to := p.in(dir, "x")
					var r *harness.Registry
					if p.name == "registry" {
						r = harness.StartRegistry(t, harness.RegistryOptions{})
						to = r.Ref("x:1")
					}
					interrupt(t, from, stream[:len(stream)/2], to, signal, code)
					if r != nil {
						holds(t, r, "x:1", "")
						return
					}
					if got, err := whole(to); err == nil {
						t.Errorf("%s holds %s; want nothing", to, got)
					}
					checkLeft(t, dir, []string{"layout/oci-layout", "layout/index.json"}, signal.String())
				})
			}
		}
	}
}

// interrupt sends a signal to a copy that is in the middle of a blob, of which
// no more comes.
func interrupt(t *testing.T, from, half, to string, signal syscall.Signal, code int) {
	t.Helper()
	stdin, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	told, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	p := program{stdin: stdin, stderr: stderr}.start(t, "img-copy", "--progress=json", from, to)
	stdin.Close()
	stderr.Close()
	go io.WriteString(feed, half)
	lines := bufio.NewScanner(told)
	for lines.Scan() && !strings.Contains(lines.Text(), `"kind":"copy"`) {
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	r := p.wait(t)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "did not stop in time") { // cut off by itself, after two seconds
			t.Errorf("%v: %s", signal, lines.Text())
		}
	}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if r.Code != code && !(status.Signaled() && status.Signal() == signal) {
		t.Errorf("exit %d after %v; want %d", r.Code, signal, code)
	}
	if r.Stdout != "" {
		t.Errorf("printed %q", r.Stdout)
	}
}

// stalledRegistry returns a reference to an image in a registry that begins
// with each large blob and never ends.
func stalledRegistry(t *testing.T, l harness.Layout) string {
	t.Helper()
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, ref, _ := strings.Cut(r.URL.Path, "/a/b/")
		kind, name, _ := strings.Cut(ref, "/")
		d := digest.Digest(name)
		if kind == "manifests" {
			d = l.Roots["big"].Digest
			w.Header().Set("Content-Type", l.Roots["big"].MediaType)
		}
		if d.Validate() != nil {
			return
		}
		b, err := os.ReadFile(l.Blob(d))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if len(b) < 1<<20 {
			w.Write(b)
			return
		}
		w.Write(b[:len(b)/2])
		w.(http.Flusher).Flush()
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		close(over)
		s.CloseClientConnections()
		s.Close()
	})
	return "docker://" + s.Listener.Addr().String() + "/a/b:1"
}
