package helper

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// A Source is the image that a program gets. It is read once, front to back:
// an image.Sequence. The program is started by the first look at the image.
type Source struct {
	*archive.Reader
	out *output
}

// Source returns the image that the program knows as detail. Errors come with
// the first manifest: those of the stream (see archive.Reader) and, if the
// program fails, reference.ErrFormat, image.ErrNotFound, image.ErrUnsupported
// or ErrFailed, also behind a stream that seems whole.
func (p *Program) Source(detail string) *Source {
	out := &output{p: p, detail: detail}
	return &Source{archive.NewReader(out, archive.Selection{}), out}
}

// Tags implements image.Lister: it asks the program or, if that has no list,
// but has begun to give the image, lists the names in that.
func (s *Source) Tags(ctx context.Context) ([]string, error) {
	names, err := s.out.p.List(ctx, s.out.detail)
	if errors.Is(err, image.ErrUnsupported) && s.out.started() {
		return s.Reader.Tags(ctx)
	}
	return names, err
}

// Close ends the program, if it has not ended by itself.
func (s *Source) Close() error {
	s.out.close()
	return s.Reader.Close()
}

// An output is what a program gets, which is started by the first Read. Its end
// is that of a program that ended well; and a Reader says io.EOF only when it
// has come to the end of what it reads.
type output struct {
	p      *Program
	detail string

	mu  sync.Mutex
	c   *process
	err error
}

func (o *output) process() (*process, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.c == nil && o.err == nil {
		o.c, o.err = o.p.start(verbGet, o.detail, false, true)
	}
	return o.c, o.err
}

func (o *output) started() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.c != nil
}

func (o *output) Read(b []byte) (int, error) {
	c, err := o.process()
	if err != nil {
		return 0, err
	}
	return c.Read(b)
}

func (o *output) close() {
	o.mu.Lock()
	c := o.c
	if o.err == nil {
		o.err = os.ErrClosed
	}
	o.mu.Unlock()
	if c != nil {
		c.end()
	}
}
