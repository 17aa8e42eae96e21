package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

const childEnv = "LAYOUT_TEST_CHILD"

// A job is what a child process is to do.
type job struct {
	Place  int // in places
	Dir    string
	Name   string
	Images []string // what to write one after the other, as NAME=TEXT,TEXT...
	Delete []image.Deletion
	KillAt int // the step to be killed at, from 1; 0: none
	Jobs   int
}

func child() int {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, s := range j.Images {
		name, texts, _ := strings.Cut(s, "=")
		if err := places[j.Place].write(j.Dir, name, imageOf(strings.Split(texts, ",")...), j.Jobs, killAt(j.KillAt)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if j.Delete == nil {
		return 0
	}
	if err := remove(j.Dir, killAt(j.KillAt), j.Delete...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// killAt is a step that kills the process, as kill -9 does, at the n-th change
// that it is about to make.
func killAt(n int) disk.Step {
	var mu sync.Mutex
	return func(string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
}

func (j job) command(t *testing.T) *exec.Cmd {
	t.Helper()
	b := must(json.Marshal(j))(t)
	cmd := exec.Command(must(os.Executable())(t))
	cmd.Env = append(os.Environ(), childEnv+"="+string(b))
	cmd.Stderr = os.Stderr
	return cmd
}

// killed runs the job and reports whether it was killed; otherwise it must
// have succeeded.
func (j job) killed(t *testing.T) bool {
	t.Helper()
	err := j.command(t).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	check(t, err)
	return false
}

// The images of these tests share a layer, so that something of the old one
// is used in the new one.
var (
	oldTexts = []string{"shared", "old"}
	newTexts = []string{"shared", "new", "more"}
)

// before makes what the places of these tests hold at the beginning: the old
// image, and for oci: another one beside it.
func (p place) before(t *testing.T, dir string) {
	t.Helper()
	if p.name == "oci" {
		check(t, p.write(dir, "v0", imageOf("neighbour"), 1, nil))
	}
	check(t, p.write(dir, "v1", imageOf(oldTexts...), 1, nil))
}

// whole fails unless the old image or the new one is there, as a whole.
func (p place) whole(t *testing.T, dir, what string, old *imagetest.Content) {
	t.Helper()
	fresh := p.read(dir, "v1", imageOf(newTexts...))
	if fresh == nil {
		return
	}
	if old == nil { // then there may be nothing, but not something else
		src, err := p.open(dir, "v1")
		if err != nil {
			return
		}
		defer src.Close()
		if raw, err := src.Manifest(t.Context(), ""); err == nil {
			t.Errorf("%s: there is %s, and not all of it: %v", what, raw.Digest(), fresh)
		}
		return
	}
	if err := p.read(dir, "v1", old); err != nil {
		t.Errorf("%s: neither the old image is whole (%v) nor the new one (%v)", what, err, fresh)
	}
}

// again writes the new image, which must succeed whatever was left, and leave
// nothing but the image.
func (p place) again(t *testing.T, dir, what string, old *imagetest.Content) {
	t.Helper()
	if err := p.write(dir, "v1", imageOf(newTexts...), 2, nil); err != nil {
		t.Fatalf("%s: the next run: %v", what, err)
	}
	if err := p.read(dir, "v1", imageOf(newTexts...)); err != nil {
		t.Errorf("%s: after the next run: %v", what, err)
	}
	if l := leftovers(t, dir); l != nil {
		t.Errorf("%s: the next run left %v", what, l)
	}
	if p.name == "oci" && old != nil {
		if err := p.read(dir, "v0", imageOf("neighbour")); err != nil {
			t.Errorf("%s: the neighbour: %v", what, err)
		}
	}
	if p.name == "dir" {
		if got, want := slices.Sorted(maps.Keys(files(t, dir))), filesOf(imageOf(newTexts...)); !slices.Equal(got, want) {
			t.Errorf("%s: files are %v; want %v", what, got, want)
		}
	}
}

// filesOf lists the files that dir: has for an image.
func filesOf(c *imagetest.Content) []string {
	names := []string{manifestFile, versionFile}
	for d := range c.Blobs {
		names = append(names, dirName(d))
	}
	slices.Sort(names)
	return names
}

// eachStart calls f for both places, with nothing there and with an old image.
func eachStart(t *testing.T, f func(t *testing.T, i int, start func(t *testing.T) string, old *imagetest.Content)) {
	for i, p := range places {
		t.Run(p.name+"/nothing there", func(t *testing.T) {
			t.Parallel() // disks are slow, and do several things at a time
			f(t, i, func(t *testing.T) string { return filepath.Join(t.TempDir(), "x") }, nil)
		})
		template := filepath.Join(t.TempDir(), "x")
		p.before(t, template)
		t.Run(p.name+"/old image there", func(t *testing.T) {
			t.Parallel()
			f(t, i, func(t *testing.T) string {
				dir := filepath.Join(t.TempDir(), "x")
				check(t, os.CopyFS(dir, os.DirFS(template)))
				return dir
			}, imageOf(oldTexts...))
		})
	}
}

// A process that is killed at any change of the disk leaves the old image or
// the new one, and nothing that the next run does not cope with.
func TestKillAtEachStep(t *testing.T) {
	eachStart(t, func(t *testing.T, i int, start func(*testing.T) string, old *imagetest.Content) {
		p := places[i]
		for n := 1; ; n++ {
			dir, what := start(t), fmt.Sprintf("killed at step %d", n)
			j := job{Place: i, Dir: dir, Images: []string{"v1=" + strings.Join(newTexts, ",")}, KillAt: n, Jobs: 1}
			if !j.killed(t) {
				if n < 25 {
					t.Errorf("there were only %d steps to be killed at", n-1)
				}
				return
			}
			p.whole(t, dir, what, old)
			p.again(t, dir, what, old)
		}
	})
}

// The same at a hundred moments that nobody chose, with blobs written several
// at a time. The moments say nothing about what must hold.
func TestKillAtRandom(t *testing.T) {
	var texts [2][]string
	for i := range 5 {
		s := strings.Repeat(fmt.Sprint("text", i), 20)
		texts[0], texts[1] = append(texts[0], s), append(texts[1], s+strings.Repeat("b", i%3))
	}
	images := [2]*imagetest.Content{imageOf(texts[0]...), imageOf(texts[1]...)}
	for i, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			killAtRandom(t, i, texts, images)
		})
	}
}

func killAtRandom(t *testing.T, i int, texts [2][]string, images [2]*imagetest.Content) {
	p, dir := places[i], filepath.Join(t.TempDir(), "x")
	to := func(k int) job {
		return job{Place: i, Dir: dir, Images: []string{"v1=" + strings.Join(texts[k], ",")}, Jobs: 4}
	}
	span := time.Duration(math.MaxInt64) // that a run takes, at its fastest
	for n := range 4 {
		begin := time.Now()
		if to(n % 2).killed(t) {
			t.Fatal("killed without being killed")
		}
		span = min(span, time.Since(begin))
	}
	there, killed := 1, 0
	for n := range 100 {
		other := 1 - there
		cmd := to(other).command(t)
		check(t, cmd.Start())
		time.Sleep(rand.N(span))
		cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		errOld, errNew := p.read(dir, "v1", images[there]), p.read(dir, "v1", images[other])
		if errOld != nil && errNew != nil {
			t.Fatalf("kill %d: neither the old image is whole (%v) nor the new one (%v)", n, errOld, errNew)
		}
		if n%3 == 0 { // now and then several killed ones follow each other
			check(t, p.write(dir, "v1", images[other], 4, nil))
			check(t, p.read(dir, "v1", images[other]))
			if l := leftovers(t, dir); l != nil {
				t.Errorf("kill %d: the next run left %v", n, l)
			}
			errNew = nil
		}
		if errNew == nil {
			there = other
		}
	}
	t.Logf("%d of 100 were killed before their end", killed)
}

// A change that fails, and a disk on which from some moment on all changes
// fail, are errors; what is there stays as whole as if the process had been
// killed.
func TestFailAtEachStep(t *testing.T) {
	eachStart(t, func(t *testing.T, i int, start func(*testing.T) string, old *imagetest.Content) {
		p := places[i]
		for _, forever := range []bool{false, true} {
			for n, done := 1, false; !done; n++ {
				dir, what := start(t), fmt.Sprintf("step %d fails (and all behind it: %v)", n, forever)
				at, failing := 0, ""
				err := p.write(dir, "v1", imageOf(newTexts...), 1, func(op, name string) error {
					if at++; at == n || forever && at > n {
						failing += op + " " + name + "; "
						return syscall.ENOSPC
					}
					return nil
				})
				done = at < n
				what += ": " + failing
				if !done && !errors.Is(err, syscall.ENOSPC) && !forgiven(failing) {
					t.Errorf("%s: %v; want %v", what, err, syscall.ENOSPC)
				}
				p.whole(t, dir, what, old)
				p.again(t, dir, what, old)
			}
		}
	})
}

// An image without blobs has nothing that is worth keeping, and yet a failed
// commit of one must not leave a directory that nobody takes for ours.
func TestFailWithoutBlobs(t *testing.T) {
	c := newContent()
	c.manifest(digest.SHA256, oci.MediaTypeIndex, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": []oci.Descriptor{}})
	for _, p := range places {
		for n, done := 1, false; !done; n++ {
			dir, at := filepath.Join(t.TempDir(), "x"), 0
			p.write(dir, "v1", c.Content, 1, func(string, string) error {
				if at++; at >= n {
					return syscall.EIO
				}
				return nil
			})
			done = at < n
			p.again(t, dir, fmt.Sprintf("step %d fails, and all behind it", n), nil)
		}
	}
}

// forgiven are failures that are no failures of the copy: a temporary file
// that cannot be removed or blob that cannot be linked, at which it is written
// anew.
func forgiven(failing string) bool {
	op, _, _ := strings.Cut(failing, " ")
	return op == "link" && strings.Contains(failing, stagePrefix) || op == "remove" && strings.Contains(failing, "/"+tempPrefix) || strings.HasPrefix(failing, "remove "+tempPrefix)
}

// What is named must be on the disk before the name is: fsync of the content,
// the rename, fsync of the folder, and only then the file that names it.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		place  int
		name   string   // whose rename makes the new image the image
		before []string // what must be synced behind the last blob and before it
		after  []string
	}{
		{0, indexFile, []string{"sha256", "."}, []string{"."}},
		{1, manifestFile, []string{"."}, []string{"."}},
	} {
		var log []string
		dir := filepath.Join(t.TempDir(), "x")
		check(t, places[tt.place].write(dir, "v1", imageOf(newTexts...), 1, func(op, name string) error {
			log = append(log, op+" "+name)
			return nil
		}))
		swap := -1
		for i, s := range log { // the last one: dir: has one in the stage before
			if s == "rename "+tt.name {
				swap = i
			}
		}
		if swap < 0 {
			t.Fatalf("%s is not renamed: %q", tt.name, log)
		}
		last := 0
		for i, s := range log[:swap-1] { // swap-1: the sync of the file itself
			if strings.HasPrefix(s, "rename ") && s != "rename "+tt.name {
				last = i
			}
		}
		if last == 0 {
			t.Errorf("no blob is renamed before %s: %q", tt.name, log)
		}
		for _, dir := range tt.before {
			if !slices.Contains(log[last:swap], "sync "+dir) {
				t.Errorf("%s is renamed before %s is synced: %q", tt.name, dir, log)
			}
		}
		for _, dir := range tt.after {
			if !slices.Contains(log[swap:], "sync "+dir) {
				t.Errorf("%s is not synced behind the rename of %s: %q", dir, tt.name, log)
			}
		}
		synced := map[string]bool{}
		writes := 0
		for _, s := range log {
			op, name, _ := strings.Cut(s, " ")
			switch op {
			case "write":
				synced[name], writes = false, writes+1
			case "sync":
				synced[name] = true
			}
		}
		for name, ok := range synced {
			if !ok {
				t.Errorf("%s is written to and not synced behind that", name)
			}
		}
		if writes < 5 {
			t.Errorf("only %d writes: %q", writes, log)
		}
	}
}

// Two processes that add twenty names each to one layout must not lose one.
// They begin with nothing there, so they make the layout at the same time too.
func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	var cmds []*exec.Cmd
	for _, who := range []string{"a", "b"} {
		j := job{Place: 0, Dir: dir, Jobs: 2}
		for n := range 20 {
			j.Images = append(j.Images, fmt.Sprintf("%s%d=shared,%s%d", who, n, who, n))
		}
		cmds = append(cmds, j.command(t))
	}
	for _, cmd := range cmds {
		check(t, cmd.Start())
	}
	for _, cmd := range cmds {
		check(t, cmd.Wait())
	}
	fortyTags(t, dir)
}

func fortyTags(t *testing.T, dir string) {
	t.Helper()
	src := must(OpenOCI(ref(dir, ""), Options{}))(t)
	defer src.Close()
	if tags := must(src.Tags(t.Context()))(t); len(tags) != 40 {
		t.Errorf("there are %d tags: %v; want 40", len(tags), tags)
	}
	for _, who := range []string{"a", "b"} {
		for n := range 20 {
			check(t, places[0].read(dir, fmt.Sprint(who, n), imageOf("shared", fmt.Sprint(who, n))))
		}
	}
	if l := leftovers(t, dir); l != nil {
		t.Errorf("left: %v", l)
	}
}

// The same inside one process, where locks of files work differently on some
// systems.
func TestTwoGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	var wg sync.WaitGroup
	for _, who := range []string{"a", "b"} {
		wg.Go(func() {
			for n := range 20 {
				name := fmt.Sprint(who, n)
				if err := places[0].write(dir, name, imageOf("shared", name), 2, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	fortyTags(t, dir)
}

// A reader beside a writer sees one whole image or the other, at any moment:
// for oci: always, for dir: it may find that a file is gone, but never a mix.
func TestReaderBesideWriter(t *testing.T) {
	a, b := imageOf("shared", "a"), imageOf("shared", "b", "c")
	for _, p := range places {
		dir := filepath.Join(t.TempDir(), "x")
		check(t, p.write(dir, "v1", a, 1, nil))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := p.write(dir, "v1", []*imagetest.Content{b, a}[i%2], 2, nil); err != nil {
					t.Error(err)
				}
			}
		})
		for range 200 {
			errA, errB := p.read(dir, "v1", a), p.read(dir, "v1", b)
			gone := func(err error) bool { return errors.Is(err, os.ErrNotExist) }
			other := func(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "root is ") }
			for _, err := range []error{errA, errB} {
				if err != nil && !other(err) && (p.name == "oci" || !gone(err)) {
					t.Fatalf("%s: a reader sees %v", p.name, err)
				}
			}
		}
		close(stop)
		wg.Wait()
	}
}
