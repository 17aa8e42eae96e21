package helper

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// What is not a name must not become a path, and what PATH finds where we
// happen to be must not be run.
func TestFind(t *testing.T) {
	dir := install(t, map[string]string{"good": "#!/bin/sh\n", "Two-2": "#!/bin/sh\n"})
	for _, name := range []string{"good", "Two-2"} {
		if p, err := Find(name, Options{}); err != nil || p.path != filepath.Join(dir, prefix+name) {
			t.Errorf("Find(%s) = %v, %v", name, p, err)
		}
	}
	for _, name := range []string{"", "../good", "good/", "a.b", "a_b", "a b", "ä", "a\n", "missing", strings.Repeat("a", maxName+1)} {
		if _, err := Find(name, Options{}); !errors.Is(err, ErrProgram) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Find(%.20q) = %v; want %v", name, err, ErrProgram)
		}
	}
	t.Chdir(dir)
	for _, path := range []string{".", "", "./", filepath.Join("..", filepath.Base(dir))} {
		t.Setenv("PATH", path)
		if _, err := Find("good", Options{}); !errors.Is(err, ErrProgram) {
			t.Errorf("Find with PATH=%q: %v; want %v", path, err, ErrProgram)
		}
	}
}

// read reads all of what the program gets.
func read(t *testing.T, p *Program, c *imagetest.Content) error {
	t.Helper()
	src := p.Source("detail")
	defer func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}()
	return imagetest.Check(t.Context(), src, c)
}

// A copy may only end well if the stream and the program do.
func TestGetFails(t *testing.T) {
	c := imagetest.Index()
	whole := streamOf(t, c)
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "whole"), whole)
	var packed bytes.Buffer
	if b, err := blob.Compress(&blob.Blob{Desc: oci.Descriptor{Size: int64(len(whole)), MediaType: oci.MediaTypeLayer}, Reader: bytes.NewReader(whole)}); err != nil {
		t.Fatal(err)
	} else if _, err := blob.Copy(&packed, b); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "packed"), packed.Bytes())
	for name, tt := range map[string]struct {
		body string
		want error
	}{
		"good":                {`cat "$W"`, nil},
		"good, packed":        {`cat "$W/../packed"`, nil},
		"arguments":           {`[ "$#" = 2 ] && [ "$1" = get ] && [ "$2" = detail ] && cat "$W"`, nil},
		"nothing on stdin":    {`[ -z "$(cat)" ] && cat "$W"`, nil},
		"closed early":        {`cat "$W"; exec >&-; exit 0`, nil},
		"a child holds on":    {`sleep 1000 & cat "$W"`, nil},
		"failed":              {`exit 1`, ErrFailed},
		"wrong use":           {`exit 2`, reference.ErrFormat},
		"not found":           {`exit 3`, image.ErrNotFound},
		"not offered":         {`exit 4`, image.ErrUnsupported},
		"another code":        {`exit 77`, ErrFailed},
		"killed":              {`kill -9 $$`, ErrFailed},
		"nothing":             {`exit 0`, image.ErrIncomplete},
		"whole, then 1":       {`cat "$W"; exit 1`, ErrFailed},
		"whole, then 3":       {`cat "$W"; exit 3`, image.ErrNotFound},
		"whole, closed, 1":    {`cat "$W"; exec >&-; exit 1`, ErrFailed},
		"whole, then killed":  {`cat "$W"; kill -9 $$`, ErrFailed},
		"packed, then 1":      {`cat "$W/../packed"; exit 1`, ErrFailed},
		"cut, then 0":         {`head -c 9000 "$W"`, image.ErrIncomplete},
		"no end mark, then 0": {`head -c -1024 "$W"`, image.ErrIncomplete},
		"half an end, then 0": {`head -c -512 "$W"`, image.ErrIncomplete},
		"cut, then 3":         {`head -c 9000 "$W"; exit 3`, image.ErrNotFound},
		"xz":                  {`xz -c "$W"`, nil},
		"xz, then 1":          {`xz -c "$W"; exit 1`, ErrFailed},
		"xz, closed, then 1":  {`xz -c "$W"; exec >&-; exit 1`, ErrFailed},
		"bzip2, then 1":       {`bzip2 -c "$W"; exit 1`, ErrFailed},
		"zstd, then 1":        {`zstd -qc "$W"; exit 1`, ErrFailed},
		"packed, cut, then 1": {`head -c 2000 "$W/../packed"; exit 1`, ErrFailed},
		"more behind":         {`cat "$W"; echo more`, image.ErrIncomplete},
		"garbage":             {`head -c 5000 /bin/sh`, oci.ErrInvalid},
		"a message, then 3":   {`echo no such image; exit 3`, image.ErrNotFound},
		"endless garbage":     {`exec yes`, oci.ErrInvalid},
		"endless zeros":       {`exec cat /dev/zero`, nil},
	} {
		p := script(t, Options{}, "W="+file+"\n"+strings.ReplaceAll(tt.body, "$W/../", dir+"/"))
		err := read(t, p, c)
		if name == "endless zeros" && err != nil {
			continue // whatever is found fault with first
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", name, err, tt.want)
		}
	}
}

// What a program gave before it failed may be in place already. It must not
// get a name, whether the manifest came first or last.
func TestCopyFails(t *testing.T) {
	c := imagetest.Image()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "whole"), streamOf(t, c))
	for name, tt := range map[string]struct{ get, put string }{
		"good":       {`cat ` + file, `cat >/dev/null`},
		"get failed": {`cat ` + file + `; exit 3`, `cat >/dev/null`},
		"get cut":    {`head -c -512 ` + file, `cat >/dev/null`},
		"put failed": {`cat ` + file, `cat >/dev/null; exit 3`},
	} {
		p := script(t, Options{}, `case $1 in get) `+tt.get+`;; put) `+tt.put+`;; *) exit 4;; esac`)
		src, mem := p.Source("x"), imagetest.NewMemory(image.Wants{})
		_, err := copy.Copy(t.Context(), mem, src, copy.Options{Gate: copy.AdmitAll})
		src.Close()
		if want := !strings.HasPrefix(name, "get"); (err == nil) != want || mem.Committed != want {
			t.Errorf("%s: copy into memory: %v, committed: %v", name, err, mem.Committed)
		}
		src, dst := p.Source("x"), p.Destination("y")
		_, err = copy.Copy(t.Context(), dst, src, copy.Options{Gate: copy.AdmitAll})
		src.Close()
		dst.Close()
		if (err == nil) != (name == "good") || err != nil && !errors.Is(err, image.ErrNotFound) && !errors.Is(err, image.ErrIncomplete) {
			t.Errorf("%s: copy to a program: %v", name, err)
		}
	}
}

// Old docker wrote the manifest last: the blobs are put before anything else is
// known.
func TestCopyLate(t *testing.T) {
	c := imagetest.Image()
	p := script(t, Options{}, `case $1 in put) cat >"$2";; get) cat "$2";; has) echo asked >&2; exit 1;; *) exit 4;; esac`)
	root, err := oci.Parse(c.Manifests[c.Root.Digest])
	if err != nil {
		t.Fatal(err)
	}
	var order []digest.Digest
	for _, d := range root.Blobs() {
		order = append(order, d.Digest)
	}
	path := filepath.Join(t.TempDir(), "file")
	dst := p.Destination(path)
	defer dst.Close()
	if _, err := copy.Copy(t.Context(), dst, c.Stream(true, order...), copy.Options{Gate: copy.AdmitAll}); err != nil {
		t.Fatal(err)
	}
	src := p.Source(path)
	defer src.Close()
	if err := imagetest.Check(t.Context(), src, c); err != nil {
		t.Error(err)
	}
}

// When a program says nothing more, the end of the context is the end.
func TestGetHangs(t *testing.T) {
	c := imagetest.Image()
	file := write(t, filepath.Join(t.TempDir(), "whole"), streamOf(t, c))
	for name, body := range map[string]string{
		"at once":      `echo started >&2; exec sleep 1000`,
		"in the head":  `head -c 700 ` + file + `; echo started >&2; exec sleep 1000`,
		"at the end":   `cat ` + file + `; echo started >&2; exec sleep 1000`,
		"closed":       `cat ` + file + `; exec >&-; echo started >&2; exec sleep 1000`,
		"deaf":         `trap "" TERM; echo started >&2; while :; do sleep 1000; done`,
		"its children": `trap "" TERM; (sleep 1000; sleep 1000) & echo started >&2; wait`,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		told := &told{on: "started", f: cancel}
		p := script(t, Options{Stderr: told}, body)
		src := p.Source("x")
		if err := imagetest.Check(ctx, src, c); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want %v", name, err, context.Canceled)
		}
		run, _ := src.out.process()
		src.Close()
		cancel()
		gone(t, name, run)
	}
}

// gone fails unless all of a run's group has ended. That it was waited for is
// in what went before; here is only what the system needs to clean up.
func gone(t *testing.T, name string, c *process) {
	t.Helper()
	for range 1000 {
		if errors.Is(syscall.Kill(-c.pid, 0), syscall.ESRCH) {
			return
		}
		if zombies(c.pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: the program or what it started goes on", name)
}

// zombies reports whether all that is left of a group has ended: children of
// nobody wait for whoever collects them.
func zombies(group int) bool {
	list, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range list {
		b, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 2 && f[2] == strconv.Itoa(group) && f[0] != "Z" && f[0] != "X" {
			return false
		}
	}
	return true
}

// A told writer calls f when it is told something.
type told struct {
	on string
	f  func()

	mu   sync.Mutex
	text string
}

func (w *told) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text += string(b)
	if w.on != "" && strings.Contains(string(b), w.on) {
		w.f()
	}
	return len(b), nil
}

// Only part of an image is read to inspect it. The program is not heard to its
// end then, and must not go on.
func TestGetPart(t *testing.T) {
	c := imagetest.Image()
	file := write(t, filepath.Join(t.TempDir(), "whole"), streamOf(t, c))
	p := script(t, Options{}, `cat `+file+`; exec sleep 1000`)
	src := p.Source("x")
	if raw, err := src.Manifest(t.Context(), ""); err != nil || raw.Digest() != c.Root.Digest {
		t.Errorf("Manifest = %s, %v", raw.Digest(), err)
	}
	run, _ := src.out.process()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	gone(t, "sleep", run)
	if _, err := src.Next(t.Context()); err == nil || err == io.EOF {
		t.Errorf("Next after Close = %v", err)
	}
}

// A source that nobody looks at starts nothing, also when it is looked at after
// its end.
func TestGetNothing(t *testing.T) {
	dir := t.TempDir()
	p := script(t, Options{}, `echo ran >`+dir+`/ran`)
	src := p.Source("x")
	src.Close()
	if _, err := src.Manifest(t.Context(), ""); err == nil {
		t.Error("Manifest after Close")
	}
	dst := p.Destination("x")
	dst.Close()
	if err := imagetest.Send(t.Context(), dst, imagetest.Image()); err == nil {
		t.Error("Send after Close")
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("the program was started: %v", err)
	}
}

// The copy has failed if the program says so, whenever it does.
func TestPutFails(t *testing.T) {
	c := imagetest.Image()
	for name, tt := range map[string]struct {
		body string
		want error
	}{
		"good":              {`cat >/dev/null`, nil},
		"noise":             {`yes | head -c 1000000; cat >/dev/null`, nil},
		"failed":            {`cat >/dev/null; exit 1`, ErrFailed},
		"wrong use":         {`exit 2`, reference.ErrFormat},
		"not found":         {`cat >/dev/null; exit 3`, image.ErrNotFound},
		"not offered":       {`exit 4`, image.ErrUnsupported},
		"killed":            {`kill -9 $$`, ErrFailed},
		"not read, then 3":  {`exec <&-; exit 3`, image.ErrNotFound},
		"a child holds on":  {`sleep 1000 & cat >/dev/null; exit 0`, nil},
		"a child, failed":   {`sleep 1000 & exit 3`, image.ErrNotFound},
		"has is not digest": {`HAS`, oci.ErrInvalid},
	} {
		body := "case $1 in capabilities) exit 4;; esac\n" + tt.body
		if tt.body == "HAS" {
			body = "case $1 in capabilities) echo has;; has) echo no;; esac"
		}
		p := script(t, Options{}, body)
		dst := p.Destination("x")
		err := imagetest.Send(t.Context(), dst, c)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", name, err, tt.want)
		}
		if err := dst.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// send puts a layer of n zeros, which need not be what its digest says.
func send(ctx context.Context, dst image.Destination, n int64) error {
	d := oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: "sha256:" + ones, Size: n}
	_, err := dst.Put(ctx, &blob.Blob{Desc: d, Reader: io.LimitReader(zeros{}, n)})
	return err
}

const ones = "1111111111111111111111111111111111111111111111111111111111111111"

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A program that reads no more breaks the pipe; what it says of it counts, not
// the pipe. One that says that all is well has not read what we wrote.
func TestPutBroken(t *testing.T) {
	for code, want := range map[int]error{0: ErrFailed, 1: ErrFailed, 3: image.ErrNotFound} {
		p := script(t, Options{}, `head -c 1000 >/dev/null; exit `+strconv.Itoa(code))
		dst := p.Destination("x")
		err := send(t.Context(), dst, 10<<20)
		if !errors.Is(err, want) || strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("exit %d: %v; want %v", code, err, want)
		}
		dst.Close()
	}
}

// A copy that is given up must leave no program behind, and none that could
// think that it has seen all: it would make an image of it.
func TestPutGivenUp(t *testing.T) {
	end := filepath.Join(t.TempDir(), "end")
	for name, body := range map[string]string{
		"reads":         `echo started >&2; cat >/dev/null; echo end >` + end,
		"hangs":         `echo started >&2; exec sleep 1000`,
		"deaf":          `trap "" TERM; echo started >&2; cat >/dev/null; echo end >` + end + `; sleep 1000`,
		"deaf, dallies": `trap "" TERM; echo started >&2; while :; do sleep 1000; done`,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		told := &told{on: "started", f: cancel}
		p := script(t, Options{Stderr: told}, body)
		dst := p.Destination("x")
		if err := send(ctx, dst, 1<<50); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want %v", name, err, context.Canceled)
		}
		run := dst.c
		if err := dst.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		gone(t, name, run)
		if _, err := os.Stat(end); err == nil {
			t.Errorf("%s: the program has seen the end of its input", name)
		}
	}
}

// A commit waits for a program that still works, until nobody wants to wait.
func TestCommitHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := &told{on: "read", f: cancel}
	p := script(t, Options{Stderr: told}, `case $1 in put) ;; *) exit 4;; esac; cat >/dev/null; echo read >&2; exec sleep 1000`)
	dst := p.Destination("x")
	if err := imagetest.Send(ctx, dst, imagetest.Image()); !errors.Is(err, context.Canceled) {
		t.Errorf("Send: %v; want %v", err, context.Canceled)
	}
	run := dst.c
	dst.Close()
	gone(t, "sleep", run)
}

// What the program has need not be sent. That it lacks something else is still
// seen, before the end mark.
func TestHas(t *testing.T) {
	c := imagetest.Image()
	tree, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = tree.Parse()
	}
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	had := tree.Manifest.Layers[0]
	body := `case $1 in
capabilities) printf 'put\r\nfuture\nhas\n';;
has) grep ` + had.Digest.Encoded() + `;;
put) cat >` + out + `;;
esac`
	p := script(t, Options{}, body)
	dst := p.Destination("x")
	if err := imagetest.Send(t.Context(), dst, c); err != nil {
		t.Fatal(err)
	}
	dst.Close()
	b, err := os.ReadFile(out)
	if err != nil || len(b) == 0 || len(b)%512 != 0 {
		t.Errorf("the stream has %d bytes, %v", len(b), err)
	}
	for _, d := range tree.Manifest.Blobs() {
		if got, want := bytes.Contains(b, []byte("blobs/sha256/"+d.Digest.Encoded())), d.Digest != had.Digest; got != want && d.Digest != had.Digest {
			t.Errorf("%s in the stream: %v; want %v", d.Digest, got, want)
		}
	}
	if bytes.Contains(b, c.Blobs[had.Digest]) {
		t.Error("the stream has what the program said it has")
	}
	dst = p.Destination("x")
	defer dst.Close()
	if err := dst.Begin(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	if err := dst.Commit(t.Context(), tree); !errors.Is(err, image.ErrIncomplete) {
		t.Errorf("Commit without the other blobs = %v; want %v", err, image.ErrIncomplete)
	}
}

func TestList(t *testing.T) {
	for name, tt := range map[string]struct {
		body string
		want []string
		err  error
	}{
		"names":       {`printf '%s\n' "$1" "$2" v1.0 '' 'a b'; printf last`, []string{"list", "detail", "v1.0", "a b", "last"}, nil},
		"none":        {``, nil, nil},
		"not offered": {`exit 4`, nil, image.ErrUnsupported},
		"not found":   {`echo a; exit 3`, nil, image.ErrNotFound},
		"a terminal":  {`printf 'a\033[2J\n'`, nil, oci.ErrInvalid},
		"not UTF-8":   {`printf 'a\377\n'`, nil, oci.ErrInvalid},
		"endless":     {`exec yes`, nil, image.ErrTooLarge},
	} {
		src := script(t, Options{}, tt.body).Source("detail")
		got, err := image.Tags(t.Context(), src)
		if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
			t.Errorf("%s: Tags = %q, %v; want %q, %v", name, got, err, tt.want, tt.err)
		}
		src.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := script(t, Options{Stderr: &told{on: "go", f: cancel}}, `echo go >&2; exec sleep 1000`)
	if _, err := p.List(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("List of a program that hangs = %v; want %v", err, context.Canceled)
	}
}

// A user's terminal and patience are not the program's.
func TestStderr(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"lines":    {`echo one; echo; printf 'two\r\nthree'`, "img-transport-x: one\nimg-transport-x: two\nimg-transport-x: three\n"},
		"controls": {`printf 'a\033[31mb\000\a\302\2338\342\200\256c\377\tz\n'`, "img-transport-x: a?[31mb???8?c? z\n"},
		"bars":     {`printf '10%%\r20%%\r\n'`, "img-transport-x: 10%\nimg-transport-x: 20%\n"},
		"long":     {`head -c 100000 /dev/zero | tr '\0' a; echo; echo b`, "img-transport-x: " + strings.Repeat("a", maxLine) + " ...\nimg-transport-x: b\n"},
		"much":     {`yes | head -n 100000`, strings.Repeat("img-transport-x: y\n", maxLines) + "img-transport-x: (says more, which is not shown)\n"},
	} {
		w := &told{}
		p := script(t, Options{Stderr: w}, "{ "+tt.body+"; } >&2; exit 3")
		if _, err := p.List(t.Context(), "x"); !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if w.text != tt.want { // all of it is there when the error is
			t.Errorf("%s: %.2000q; want %.2000q", name, w.text, tt.want)
		}
	}
	p := script(t, Options{}, `exec yes >&2`) // and nobody listens
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.List(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("endless stderr: %v; want %v", err, context.DeadlineExceeded)
	}
}

// The names that an image has in what a program gives go along, and a program's
// own stream is named as its source was.
func TestExpect(t *testing.T) {
	c := imagetest.Image()
	var b bytes.Buffer
	w := archive.NewWriter(&b, archive.Options{Name: "kept"})
	if err := imagetest.Send(t.Context(), w, c); err != nil {
		t.Fatal(err)
	}
	w.Close()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "in"), b.Bytes())
	p := script(t, Options{}, `case $1 in get) cat `+file+`;; put) cat >`+dir+`/out;; *) exit 4;; esac`)
	src, dst := p.Source("x"), p.Destination("y")
	defer src.Close()
	defer dst.Close()
	if _, err := src.Manifest(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	dst.Expect(src)
	if err := imagetest.Send(t.Context(), dst, c); err != nil {
		t.Fatal(err)
	}
	if out, err := os.ReadFile(dir + "/out"); err != nil || !bytes.Equal(out, b.Bytes()) {
		t.Errorf("the stream that was put is not the one that was got: %v", err)
	}
	if tags, err := image.Tags(t.Context(), src); err != nil || !slices.Equal(tags, []string{"kept"}) {
		t.Errorf("Tags without list, after get = %q, %v; want those in the stream", tags, err)
	}
}

// What begins with a dash, or is empty, or means something to a shell, is a
// detail as any other.
func TestDetail(t *testing.T) {
	p := script(t, Options{}, `[ $# = 2 ] && printf '%s\n' "$2"`)
	for _, d := range []string{"-rf", "$(id) `id` ; 'x' \"y\" *", "a:b@c", "//host/path"} {
		if got, err := p.List(t.Context(), d); err != nil || !slices.Equal(got, []string{d}) {
			t.Errorf("%q came as %q, %v", d, got, err)
		}
	}
	if got, err := p.List(t.Context(), ""); err != nil || len(got) != 0 {
		t.Errorf("an empty detail came as %q, %v", got, err)
	}
	if _, err := p.List(t.Context(), "a\x00b"); err == nil {
		t.Error("a detail with a zero byte was cut")
	}
}
