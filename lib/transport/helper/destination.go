package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// A Destination is an image that a program puts. The image is there when the
// stream has ended and the program with the exit code 0; a program that did
// not see the end of the stream has to leave everything as it was. It is an
// image.Beginner, and is written to by one goroutine at a time.
type Destination struct {
	p      *Program
	detail string
	src    image.Source // that was expected

	c   *process // nil before the first byte
	w   *archive.Writer
	has map[digest.Digest]bool // what the program says it has
	err error                  // after which nothing works
}

// Destination returns the image that the program knows as detail. Errors come
// with the first write: those of the exit code, as for Source, and
// image.ErrIncomplete.
func (p *Program) Destination(detail string) *Destination {
	return &Destination{p: p, detail: detail}
}

// Expect tells, before the first write, where the image comes from: see
// archive.Expect.
func (d *Destination) Expect(src image.Source) { d.src = src }

// Wants implements image.Destination.
func (d *Destination) Wants() image.Wants {
	return image.Wants{Ordered: true, Sizes: true, Spool: d.p.o.Stream.Spool}
}

// Has implements image.Destination: what the program says it has, and what it
// has been sent.
func (d *Destination) Has(ctx context.Context, b oci.Descriptor) (bool, error) {
	if d.err != nil || d.w == nil || d.has[b.Digest] {
		return d.has[b.Digest], d.err
	}
	return d.w.Has(ctx, b)
}

// Begin implements image.Beginner. The program is asked what it has of the
// image, if it can tell, and is given the head of the stream.
func (d *Destination) Begin(ctx context.Context, t *image.Tree) error {
	return d.do(ctx, func() error {
		if d.c == nil {
			if err := d.askHas(ctx, t); err != nil {
				return err
			}
		}
		if err := d.open(); err != nil {
			return err
		}
		return d.w.Begin(ctx, t)
	})
}

// askHas asks the program which of the blobs of t it has.
func (d *Destination) askHas(ctx context.Context, t *image.Tree) error {
	ok, err := d.p.offers(ctx, verbHas, d.detail)
	if !ok || err != nil {
		return err
	}
	asked := map[digest.Digest]bool{}
	var all strings.Builder
	for b := range t.Blobs() {
		if oci.CheckDigest(b.Digest) == nil {
			asked[b.Digest] = true
			all.WriteString(b.Digest.String() + "\n")
		}
	}
	if len(asked) == 0 {
		return nil
	}
	out, err := d.p.ask(ctx, verbHas, d.detail, all.String(), maxNames)
	if err != nil {
		return err
	}
	d.has = map[digest.Digest]bool{}
	for _, s := range lines(out) {
		sum := digest.Digest(s)
		if !asked[sum] {
			return fmt.Errorf("%s %s: %w: it was not asked for %.100q", d.p.name, verbHas, oci.ErrInvalid, s)
		}
		d.has[sum] = true
	}
	return nil
}

// open starts the program.
func (d *Destination) open() error {
	if d.c != nil {
		return nil
	}
	c, err := d.p.start(verbPut, d.detail, true, false)
	if err != nil {
		return err
	}
	o := d.p.o.Stream
	o.HeadOnly = true // what the program has is not sent: Commit looks at what is missing
	d.c, d.w = c, archive.NewWriter(c.stdin, o)
	if d.src != nil {
		archive.Expect(d.w, d.src)
	}
	return nil
}

// Put implements image.Destination.
func (d *Destination) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	now := b.Desc
	err := d.do(ctx, func() error {
		err := d.open()
		if err == nil {
			now, err = d.w.Put(ctx, b)
		}
		return err
	})
	return now, err
}

// Commit implements image.Destination. It waits until the program has ended,
// for as long as ctx lets it.
func (d *Destination) Commit(ctx context.Context, t *image.Tree) error {
	return d.do(ctx, func() error {
		if err := d.open(); err != nil {
			return err
		}
		if err := d.missing(ctx, t); err != nil {
			return err
		}
		if err := d.w.Commit(ctx, t); err != nil {
			return err
		}
		d.err = os.ErrClosed
		if err := d.c.stdin.Close(); err != nil {
			return err
		}
		return d.c.wait(ctx)
	})
}

func (d *Destination) missing(ctx context.Context, t *image.Tree) error {
	for b := range t.Blobs() {
		ok, err := d.Has(ctx, b)
		if err != nil {
			return err
		}
		if !ok && !oci.IsForeign(b) {
			return fmt.Errorf("%w: blob %s is missing", image.ErrIncomplete, b.Digest)
		}
	}
	return nil
}

// do runs f, unless something has failed before. A program that stops reading
// has its reason: it is given the time to say it.
func (d *Destination) do(ctx context.Context, f func() error) error {
	if d.err == nil && ctx.Err() != nil {
		d.err = context.Cause(ctx)
	}
	if d.err != nil {
		return d.err
	}
	err := f()
	if errors.Is(err, syscall.EPIPE) && d.c != nil {
		err = d.reason()
	}
	if err != nil {
		d.err = err
	}
	return err
}

func (d *Destination) reason() error {
	if d.c.within(2*grace) && d.c.err != nil {
		return d.c.err
	}
	return fmt.Errorf("%s: %w: it did not read the image to its end", d.c.label, ErrFailed)
}

// Close ends the program, if it has not ended by itself. It has then not seen
// the end of the stream, unless Commit has sent that.
func (d *Destination) Close() error {
	if d.c != nil {
		d.c.end()
		d.w.Close()
		d.c = nil
	}
	d.err = os.ErrClosed
	return nil
}
