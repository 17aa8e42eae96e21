package archive

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Writer writes one image to a stream, in the form of img-stream(5). It is an
// image.Destination and an image.Beginner. If Begin comes before the first blob
// the head of the stream does too, as it should; otherwise it comes behind the
// blobs.
//
// The end mark is written by Commit, so that a stream without one holds no
// whole image. After an error the stream is spoiled, and all else fails.
type Writer struct {
	o    Options
	out  *outflow
	head string // the identity of the tree that the head is for; "" before it
	sent map[digest.Digest]bool
	err  error
}

// NewWriter returns a Writer to w, which it does not close.
func NewWriter(w io.Writer, o Options) *Writer {
	return &Writer{o: o, out: newOutflow(w), sent: map[digest.Digest]bool{}}
}

// Wants implements image.Destination.
func (w *Writer) Wants() image.Wants {
	return image.Wants{Ordered: true, Sizes: true, Single: w.o.View == Docker, Spool: w.o.Spool}
}

// Has implements image.Destination: what has been written need not come again.
func (w *Writer) Has(_ context.Context, d oci.Descriptor) (bool, error) {
	return w.sent[d.Digest], w.err
}

// Begin implements image.Beginner: it writes the head.
func (w *Writer) Begin(ctx context.Context, t *image.Tree) error {
	return w.do(ctx, func() error {
		err := w.writeHead(t)
		w.out.push()
		return err
	})
}

// Put implements image.Destination.
func (w *Writer) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	if !b.Known() {
		return b.Desc, fmt.Errorf("%w: a blob whose digest or size is not known", image.ErrUnsupported)
	}
	if err := oci.CheckDescriptor(b.Desc); err != nil {
		return b.Desc, err
	}
	return b.Desc, w.do(ctx, func() error {
		if w.sent[b.Desc.Digest] {
			_, err := blob.Copy(io.Discard, reader{ctx, b})
			return err
		}
		err := w.member(blobName(b.Desc.Digest), b.Desc.Size, reader{ctx, b})
		w.sent[b.Desc.Digest] = err == nil
		return err
	})
}

// Commit implements image.Destination: it writes what is missing of the head,
// and the end mark, and waits until all has been taken.
func (w *Writer) Commit(ctx context.Context, t *image.Tree) error {
	return w.do(ctx, func() error {
		if err := missing(t, func(d digest.Digest) bool { return w.sent[d] }); err != nil && !w.o.HeadOnly {
			return err
		}
		if err := w.writeHead(t); err != nil {
			return err
		}
		if _, err := w.out.Write(make([]byte, 2*blockSize)); err != nil {
			return err
		}
		return w.out.flush()
	})
}

// Close frees what the writer holds.
func (w *Writer) Close() error {
	if w.out != nil {
		w.out.close()
		w.out, w.err = nil, io.ErrClosedPipe
	}
	return nil
}

// do runs f, unless something has failed before.
func (w *Writer) do(ctx context.Context, f func() error) error {
	if w.err == nil {
		w.err = live(ctx)
	}
	if w.err != nil {
		return w.err
	}
	w.out.ctx = ctx
	w.err = f()
	return w.err
}

func (w *Writer) writeHead(t *image.Tree) error {
	switch w.head {
	case identity(t):
		return nil
	case "":
	default:
		return errOther
	}
	var h holdings
	if err := h.add(t, &w.o); err != nil {
		return err
	}
	head, err := h.head()
	if err != nil {
		return err
	}
	for _, d := range head.docs {
		if err := w.bytes(d.name, d.data); err != nil {
			return err
		}
		if sum, ok := blobDigest(d.name); ok {
			w.sent[sum] = true
		}
	}
	w.head = identity(t)
	return nil
}

func (w *Writer) bytes(name string, b []byte) error {
	h, err := tarHeader(name, int64(len(b)))
	if err != nil {
		return err
	}
	for _, p := range [][]byte{h, b, padding(int64(len(b)))} {
		if _, err := w.out.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// member writes a member of size bytes, which are what r holds.
func (w *Writer) member(name string, size int64, r io.Reader) error {
	h, err := tarHeader(name, size)
	if err != nil {
		return err
	}
	if _, err := w.out.Write(h); err != nil {
		return err
	}
	n, err := blob.Copy(&exact{w.out, size}, r)
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%s: %w: it has %d bytes, not %d", name, image.ErrMismatch, n, size)
	}
	_, err = w.out.Write(padding(size))
	return err
}

// exact takes no more than a number of bytes.
type exact struct {
	io.Writer
	left int64
}

func (e *exact) Write(p []byte) (int, error) {
	if e.left -= int64(len(p)); e.left < 0 {
		return 0, fmt.Errorf("%w: the content is longer than its descriptor says", image.ErrMismatch)
	}
	return e.Writer.Write(p)
}

// padding is what fills the last block of n bytes.
func padding(n int64) []byte { return make([]byte, padded(n)-n) }
