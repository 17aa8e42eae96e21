package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// A named pipe and a file descriptor are written to as they are, and nothing is
// made beside them.
func TestPipes(t *testing.T) {
	c := imagetest.Index()
	want := streamOf(t, c, Options{Name: "x"})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fmt.Sprintf("/dev/fd/%d", w.Fd()), fifo} {
		sent := make(chan error, 1)
		go func() {
			dst, err := Create(path, Options{Name: "x"})
			if err == nil {
				err = errors.Join(imagetest.Send(t.Context(), dst, c), dst.Close())
			}
			if path != fifo {
				w.Close() // which is the other one of this pipe
			}
			sent <- err
		}()
		from := r
		if path == fifo {
			if from, err = os.Open(fifo); err != nil {
				t.Fatal(err)
			}
		}
		got, err := io.ReadAll(from)
		if err = errors.Join(err, <-sent); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes came, not those of a stream", path, len(got))
		}
		from.Close()
	}
	noLitter(t, fifo)
	go func() {
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err == nil {
			f.Write(want)
			f.Close()
		}
	}()
	src, err := OpenFile(fifo, Selection{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	got, err := take(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	sameImage(t, got, c)
}

// The whole of a pipe is read, also what fills a tar's last record: whoever
// writes it must not be killed for that.
func TestDrains(t *testing.T) {
	b := append(streamOf(t, imagetest.Image(), Options{}), make([]byte, 1<<20)...)
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := w.Write(b)
		written <- err
		w.Close()
	}()
	rd := NewReader(r, Selection{})
	defer rd.Close()
	if _, err := take(t.Context(), rd); err != nil {
		t.Error(err)
	}
	r.CloseWithError(errors.New("closed before all was read"))
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A pipe that stands still keeps nobody who has given up.
func TestStalled(t *testing.T) {
	c := imagetest.Image()
	b := streamOf(t, c, Options{})
	for _, n := range []int{0, 700, 3000} { // before the head, in it, and behind it
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		rd := NewReader(r, Selection{})
		done := make(chan error)
		go func() {
			_, err := take(ctx, rd)
			done <- err
		}()
		if _, err := w.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("reading of a stalled pipe: %v; want %v", err, context.Canceled)
		}
		rd.Close()
		w.Close()
	}
	_, w := io.Pipe() // nobody reads
	ctx, cancel := context.WithCancel(t.Context())
	dst := NewWriter(w, Options{})
	defer dst.Close()
	big := bytes.Repeat([]byte("x"), 4*pumpSize)
	done := make(chan error)
	go func() {
		done <- putBytes(ctx, dst, oci.Descriptor{Digest: digest.FromBytes(big), Size: int64(len(big))}, big)
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("writing to a stalled pipe: %v; want %v", err, context.Canceled)
	}
}

// Nobody may ever come to the other end of a named pipe. Whoever waits for it
// can be told to stop, and if we do not come they are told.
func TestLonelyPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, f := range map[string]func() error{
		"read": func() error {
			src, err := OpenFile(path, Selection{})
			if err == nil {
				_, err = src.Manifest(ctx, "")
				src.Close()
			}
			return err
		},
		"write": func() error {
			dst, err := Create(path, Options{})
			if err == nil {
				err = imagetest.Send(ctx, dst, imagetest.Image())
				dst.Close()
			}
			return err
		},
	} {
		done := make(chan error, 1)
		go func() { done <- f() }()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v; want %v", what, err, context.Canceled)
			}
		case <-time.After(5 * time.Second): // far more than it takes
			t.Fatalf("%s waits for the other end of the pipe", what)
		}
	}
	for flag, f := range map[int]func() (io.Closer, error){
		os.O_WRONLY: func() (io.Closer, error) { return OpenFile(path, Selection{}) },
		os.O_RDONLY: func() (io.Closer, error) { return Create(path, Options{}) },
	} {
		opened := make(chan error)
		go func() {
			other, err := os.OpenFile(path, flag, 0)
			opened <- err
			other.Close()
		}()
		for waiting := true; waiting; { // until the other end is there
			c, err := f()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			select {
			case err := <-opened:
				if waiting = false; err != nil {
					t.Error(err)
				}
			default:
			}
		}
	}
}

// A pipe that nobody reads any more is an error, at the latest at the commit.
func TestBrokenPipe(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	dst := NewWriter(w, Options{})
	defer dst.Close()
	if err := imagetest.Send(t.Context(), dst, imagetest.Image()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing to a broken pipe: %v; want %v", err, io.ErrClosedPipe)
	}
}

// A device that takes nothing is an error too.
func TestFullDevice(t *testing.T) {
	dst, err := Create("/dev/full", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := imagetest.Send(t.Context(), dst, imagetest.Image()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing to a full device: %v; want %v", err, unix.ENOSPC)
	}
	dst.Close()
}

// half takes every second write.
type half struct {
	n   int
	got []byte
}

func (h *half) Write(p []byte) (int, error) {
	if h.n++; h.n%2 == 1 {
		return 0, unix.ENOSPC
	}
	h.got = append(h.got, p...)
	return len(p), nil
}

// A place that is full for a moment must not get what comes behind the hole.
func TestNothingBehindHole(t *testing.T) {
	var h half
	out := newOutflow(&h)
	defer out.close()
	out.Write(make([]byte, 2*pumpSize))
	if err := out.flush(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("flush = %v; want %v", err, unix.ENOSPC)
	}
	<-out.free // the second buffer: the goroutine is done with it
	if len(h.got) > 0 {
		t.Errorf("after a write that failed %d bytes more were written", len(h.got))
	}
}

// A stream that fails says why, wherever it does: it was not cut off.
func TestStreamError(t *testing.T) {
	b := streamOf(t, imagetest.Image(), Options{})
	for n := 0; n < len(b)-1; n += 100 {
		src := NewReader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(unix.EIO)), Selection{})
		_, err := take(t.Context(), src)
		src.Close()
		if !errors.Is(err, unix.EIO) || errors.Is(err, image.ErrIncomplete) {
			t.Errorf("a stream that fails at %d: %v; want %v", n, err, unix.EIO)
		}
	}
}

// A blob that fails leaves a stream that nobody can take for whole, and a file
// as it was.
func TestFailedBlob(t *testing.T) {
	c := imagetest.Image()
	tree := treeOf(t, c)
	var b bytes.Buffer
	w := NewWriter(&b, Options{})
	defer w.Close()
	if err := w.Begin(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	d := tree.Manifest.Config
	if err := putBytes(t.Context(), w, *d, c.Blobs[d.Digest][1:]); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("Put of a short blob: %v", err)
	}
	if err := putBytes(t.Context(), w, *d, c.Blobs[d.Digest]); err == nil {
		t.Errorf("a stream goes on after a blob has failed")
	}
	if err := w.Commit(t.Context(), tree); err == nil {
		t.Errorf("a stream was committed after a blob has failed")
	}
	if _, err := w.Put(t.Context(), &blob.Blob{Desc: oci.Descriptor{Size: -1}, Reader: &b}); err == nil {
		t.Errorf("a blob of which nothing is known was accepted")
	}
}

// sized makes the header of a member whose content comes from elsewhere.
func sized(t *testing.T, name string, size int64) io.Reader {
	t.Helper()
	h, err := tarHeader(name, size)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(h)
}

// However large the blobs, memory is what a few buffers need.
func TestMemory(t *testing.T) {
	const size = 2 << 30
	content := func() io.Reader { return io.LimitReader(&endless{unit: make([]byte, pumpSize)}, size) }
	d := oci.Descriptor{Digest: digest.FromString("not really"), Size: size}
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	const limit = 4 << 20
	n := allocated(func() {
		r := NewReader(io.MultiReader(sized(t, blobName(d.Digest), size), content(), bytes.NewReader(make([]byte, 2*blockSize))), Selection{})
		defer r.Close()
		b, err := r.Next(t.Context())
		if err != nil || b.Desc.Digest != d.Digest || b.Desc.Size != size {
			t.Fatalf("Next = %+v, %v", b, err)
		}
		if n, err := blob.Copy(io.Discard, b); n != size || err != nil {
			t.Errorf("%d bytes came, %v; want %d", n, err, int64(size))
		}
		if _, err := r.Next(t.Context()); err != io.EOF {
			t.Errorf("Next = %v; want %v", err, io.EOF)
		}
	})
	if n > limit {
		t.Errorf("reading allocated %d bytes; want at most %d", n, limit)
	}
	n = allocated(func() {
		w := NewWriter(io.Discard, Options{})
		defer w.Close()
		if _, err := w.Put(t.Context(), &blob.Blob{Desc: d, Reader: content()}); err != nil {
			t.Error(err)
		}
	})
	if n > limit {
		t.Errorf("writing allocated %d bytes; want at most %d", n, limit)
	}
}

// The engine takes all forms of streams, to all forms of destinations: blobs
// first and the head last, layers without digests, layers that change their
// form on the way.
func TestEngine(t *testing.T) {
	plain, _ := imagetest.Layer("big", bytes.Repeat([]byte("0123456789abcdef"), (maxAhead+1<<20)/16))
	big := newOldImage("base", "top").with(plain)
	sources := map[string][]byte{
		"docker save": dockerSave(t, []string{"a:1"}, big),
		"skopeo":      skopeoArchive(t, []string{"a:1"}, big),
		"crane":       craneTarball(t, []string{"a:1"}, big),
		"ours":        streamOf(t, imagetest.Plain(big.layers...), Options{}),
		"layout":      dockerSave25(t, imagetest.Plain(big.layers...)),
	}
	wants := map[string]image.Wants{"as is": {}, "ordered": {Ordered: true, Sizes: true}, "compressed": {Layers: image.Compressed}}
	o := copy.Options{Gate: copy.AdmitAll}
	for from, b := range sources {
		for to, w := range wants {
			dst := imagetest.NewMemory(w)
			r := NewReader(bytes.NewReader(b), Selection{})
			if _, err := copy.Copy(t.Context(), dst, r, o); err != nil {
				t.Errorf("%s, %s: %v", from, to, err)
			}
			r.Close()
		}
		var first []byte
		for i := range 2 {
			path := filepath.Join(t.TempDir(), "a.tar")
			dst, err := Create(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			r := NewReader(bytes.NewReader(b), Selection{})
			if _, err := copy.Copy(t.Context(), dst, r, o); err != nil {
				t.Errorf("%s to a file: %v", from, err)
			}
			r.Close()
			dst.Close()
			noLitter(t, path)
			if i == 0 {
				first = mustRead(t, path)
			} else if !bytes.Equal(first, mustRead(t, path)) {
				t.Errorf("%s: the same stream made two different files", from)
			}
		}
		var s bytes.Buffer
		dst, r := NewWriter(&s, Options{}), NewReader(bytes.NewReader(b), Selection{})
		if _, err := copy.Copy(t.Context(), dst, r, o); err != nil {
			t.Errorf("%s to a stream: %v", from, err)
		}
		r.Close()
		dst.Close()
		if _, err := take(t.Context(), NewReader(&s, Selection{})); err != nil {
			t.Errorf("%s through two streams: %v", from, err)
		}
	}
}

// A stream that is copied to a stream is the same stream: the image keeps its
// names, whichever of the two it has, unless it is given others.
func TestNamesAreKept(t *testing.T) {
	ref, err := reference.ParseDocker("a.example/b:c")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {Name: "v1"}, {Labels: []reference.Docker{ref}}, {Name: "v1", Labels: []reference.Docker{ref}}} {
		first := streamOf(t, imagetest.Image(), o)
		src := NewReader(bytes.NewReader(first), Selection{})
		var second bytes.Buffer
		dst := NewWriter(&second, Options{})
		Expect(dst, src)
		if _, err := copy.Copy(t.Context(), dst, src, copy.Options{Gate: copy.AdmitAll}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second.Bytes()) {
			t.Errorf("%+v: the copy of the stream is another one", o)
		}
	}
}

// A pipe that has a name is a stream as any other.
func TestNamesAreKeptInPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	first := streamOf(t, imagetest.Image(), Options{Name: "v1"})
	second := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(r)
		second <- b
	}()
	dst, err := Create(fmt.Sprintf("/dev/fd/%d", w.Fd()), Options{})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	src := NewReader(bytes.NewReader(first), Selection{})
	Expect(dst, src)
	_, err = copy.Copy(t.Context(), dst, src, copy.Options{Gate: copy.AdmitAll})
	if err = errors.Join(err, dst.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, <-second) {
		t.Error("the copy of the stream into a pipe is another one")
	}
}
