package blob

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/ulikunitz/xz"

	"github.com/imgtools/imgtools/lib/oci"
)

// Names of the compressions that Decompress knows.
const (
	Plain = ""
	Gzip  = "gzip"
	Bzip2 = "bzip2"
	Xz    = "xz"
	Zstd  = "zstd"
)

// zstdWindow is the largest window, in bytes, that a zstd stream may claim.
const zstdWindow = 128 << 20

var magics = []struct{ name, magic string }{
	{Gzip, "\x1f\x8b\x08"},
	{Bzip2, "BZh"},
	{Xz, "\xfd7zXZ\x00"},
	{Zstd, "\x28\xb5\x2f\xfd"},
}

// Sniff names the compression that content with this beginning has; Plain if
// it is none that is known. Six bytes are enough.
func Sniff(head []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.name
		}
	}
	return Plain
}

// Decompress returns a reader of what r holds unpacked, and the name of the
// compression that it found. Plain content comes through as it is. Memory is
// bounded whatever the content claims. Closing the reader frees what
// unpacking needs, not r.
func Decompress(r io.Reader) (io.ReadCloser, string, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	name := Sniff(head)
	rc, err := unpack(name, br)
	if err != nil {
		return nil, name, fmt.Errorf("%s: %w", name, err)
	}
	return rc, name, nil
}

func unpack(name string, r io.Reader) (io.ReadCloser, error) {
	switch name {
	case Gzip:
		return gzip.NewReader(r)
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(r)), nil
	case Zstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case Xz:
		return unxz(r)
	}
	return io.NopCloser(r), nil
}

// unxz runs the program xz where there is one: it is ten times as fast.
func unxz(r io.Reader) (io.ReadCloser, error) {
	path, err := exec.LookPath("xz")
	if err != nil {
		zr, err := xz.NewReader(r)
		return io.NopCloser(zr), err
	}
	cmd := exec.Command(path, "--decompress", "--stdout", "--memlimit-decompress=256MiB")
	in := &remembering{r: r}
	cmd.Stdin = in
	var msg tail
	cmd.Stderr = &msg
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{out, cmd, in, &msg, false}, nil
}

// A process is the output of a program, which ends with an error instead of
// io.EOF if the program fails.
type process struct {
	out  io.ReadCloser
	cmd  *exec.Cmd
	in   *remembering
	msg  *tail
	done bool
}

func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if err != io.EOF || p.done {
		return n, err
	}
	p.done = true
	werr := p.cmd.Wait()
	switch {
	case p.in.err != nil: // the program could only say that its input is short
		return n, p.in.err
	case werr != nil:
		return n, fmt.Errorf("%w: %s", werr, bytes.TrimSpace(p.msg.b))
	}
	return n, io.EOF
}

func (p *process) Close() error {
	if p.done {
		return nil
	}
	p.done = true
	p.cmd.Process.Kill()
	p.out.Close()
	p.cmd.Wait() // killed on purpose: how it ended says nothing
	return nil
}

// A remembering reader keeps the error that its reading ended with.
type remembering struct {
	r   io.Reader
	err error // not io.EOF
}

func (m *remembering) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// A tail keeps the beginning of what is written to it, for a message.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[:min(len(p), 1024-len(t.b))]...)
	return len(p), nil
}

const (
	gzipBlock = 256 << 10 // bytes that one core compresses at a time
	maxCores  = 8
)

// Compress is the stage that packs a plain layer with gzip, on several cores,
// each of which takes about 2 MiB of memory. The media type follows.
func Compress(b *Blob) (*Blob, error) {
	mediaType, ok := packed[b.Desc.MediaType]
	if !ok {
		return nil, fmt.Errorf("cannot compress %q", b.Desc.MediaType)
	}
	pr, pw := io.Pipe()
	zw := pgzip.NewWriter(pw)
	if err := zw.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0), maxCores)); err != nil {
		return nil, err
	}
	p := &packer{PipeReader: pr, done: make(chan struct{})}
	p.pack = func() {
		defer close(p.done)
		_, err := Copy(zw, b)
		if err == nil {
			err = zw.Close()
		}
		pw.CloseWithError(err)
		if err != nil {
			zw.Reset(io.Discard) // ends the goroutines that it has left
		}
	}
	return Measure(&Blob{
		Desc: oci.Descriptor{MediaType: mediaType, Size: -1}, Reader: p, Placed: b.Placed,
		free: func() { p.stop(); b.Free() },
	})
}

// packed names the media types of plain layers and what they are with gzip.
var packed = map[string]string{
	oci.MediaTypeLayer:       oci.MediaTypeLayerGzip,
	oci.MediaTypeDockerLayer: oci.MediaTypeDockerLayerGzip,
}

// Compresses reports whether Compress takes a layer of that media type.
func Compresses(mediaType string) bool { return packed[mediaType] != "" }

// A packer starts its writer when it is read for the first time.
type packer struct {
	*io.PipeReader
	once sync.Once
	pack func()
	done chan struct{} // closed when pack has ended
}

func (p *packer) Read(b []byte) (int, error) {
	p.once.Do(func() { go p.pack() })
	return p.PipeReader.Read(b)
}

// stop makes the writer give up, and waits until it has: it reads the source
// no more then.
func (p *packer) stop() {
	p.once.Do(func() { close(p.done) })
	p.Close()
	<-p.done
}
