package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// A destination is a name of a daemon that an image is loaded under. The daemon
// gets its bytes as they come, and acts upon them when it has seen their end,
// which only Commit writes.
type destination struct {
	w      *archive.Writer
	client *client
	name   Name
	pipe   *io.PipeWriter
	load   *load // nil before the first byte
	from   *io.PipeReader
}

// Create makes ready to load an image under the name n, which must be NAME:TAG.
// It holds single images only. Layers are sent as they are, packed or not;
// daemons before 23 refuse zstd. The destination must be closed, committed or
// not: that ends the request.
//
// Errors wrap reference.ErrFormat if it is not, image.ErrNetwork if no daemon
// answers, and image.ErrUnsupported if the options say nothing that can be done.
func Create(ctx context.Context, n Name, o Options) (image.Destination, error) {
	if err := n.CheckDestination(); err != nil {
		return nil, err
	}
	c, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	d := &destination{client: c, name: n}
	d.from, d.pipe = io.Pipe()
	names := append([]reference.Docker{n.Ref}, o.Labels...)
	d.w = archive.NewWriter(d.pipe, archive.Options{View: archive.Docker, Labels: names, Spool: o.Spool})
	return d, nil
}

// Wants implements image.Destination.
func (d *destination) Wants() image.Wants { return d.w.Wants() }

// Has implements image.Destination: what has been sent need not come again.
func (d *destination) Has(ctx context.Context, b oci.Descriptor) (bool, error) {
	return d.w.Has(ctx, b)
}

// Begin implements image.Beginner: it begins to send.
func (d *destination) Begin(ctx context.Context, t *image.Tree) error {
	d.start()
	return d.w.Begin(ctx, t)
}

// Put implements image.Destination.
func (d *destination) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	d.start()
	return d.w.Put(ctx, b)
}

// Commit implements image.Destination: it sends what is missing, waits for the
// daemon to load the image, and asks it whether the name now stands for that.
// If the context ends while the daemon is at work, it may still be done.
func (d *destination) Commit(ctx context.Context, t *image.Tree) error {
	d.start()
	if err := d.w.Commit(ctx, t); err != nil {
		return err
	}
	d.pipe.Close()
	if err := d.load.wait(ctx); err != nil {
		return err
	}
	id, err := d.client.id(ctx, d.name.String())
	if errors.Is(err, image.ErrNotFound) {
		return fmt.Errorf("%w: the daemon loaded the image, and does not know it by its name: %w", image.ErrIncomplete, err)
	}
	if err != nil {
		return err
	}
	for k := range t.Walk() {
		if isID(id, k.Raw) {
			return nil
		}
	}
	return fmt.Errorf("%w: the image was loaded, and the daemon has another one, %s, under its name", image.ErrMismatch, id)
}

// Close ends the load, if it is not over: the daemon, which then lacks the end
// of the image, drops it.
func (d *destination) Close() error {
	if d.load != nil {
		d.load.cancel(io.ErrClosedPipe)
	}
	d.from.CloseWithError(io.ErrClosedPipe)
	err := d.w.Close()
	if d.load != nil {
		<-d.load.done
	}
	d.client.close()
	return err
}

// start opens the way to the daemon.
func (d *destination) start() {
	if d.load == nil {
		d.load = d.client.load(d.from)
	}
}

// A load is a request that is under way.
type load struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it is over
	err    error         // valid then
}

var errEarly = fmt.Errorf("%w: the daemon answered before it had the whole image", image.ErrIncomplete)

// load sends what is in r. When it is over no more of that is read.
func (c *client) load(r *io.PipeReader) *load {
	ctx, cancel := context.WithCancelCause(context.Background())
	l := &load{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer cancel(nil)
		l.err = c.send(ctx, cancel, r)
		if l.err != nil {
			r.CloseWithError(l.err)
		}
		r.CloseWithError(errEarly)
	}()
	return l
}

// wait returns what became of the load.
func (l *load) wait(ctx context.Context) error {
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		l.cancel(context.Cause(ctx))
		return context.Cause(ctx)
	}
}

func (c *client) send(ctx context.Context, cancel context.CancelCauseFunc, r io.Reader) error {
	w := newWatch(cancel, c.idle)
	defer w.timer.Stop()
	resp, err := c.do(ctx, http.MethodPost, "/images/load?quiet=0", sent{r, w})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = progress(heard{resp.Body, w})
	var told *Error
	if err != nil && !errors.As(err, &told) && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, image.ErrTooLarge) {
		err = c.failure(ctx, err)
	}
	return err
}

// progress reads what a daemon tells while it loads an image: JSON objects,
// each in a line, of which one with the key error ends it. Errors: an *Error,
// oci.ErrInvalid for what is no such thing, image.ErrTooLarge, and those of r.
func progress(r io.Reader) error {
	left := &io.LimitedReader{R: r, N: maxProgress}
	lines := bufio.NewScanner(left)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		for {
			var m struct {
				Error       string
				ErrorDetail struct{ Message string }
			}
			err := dec.Decode(&m)
			if err == io.EOF {
				break
			}
			if cut := lines.Err(); err != nil && cut != nil {
				return cut
			}
			if err != nil {
				return fmt.Errorf("what the daemon tells while it loads: %w: %v", oci.ErrInvalid, err)
			}
			if m.Error == "" {
				m.Error = m.ErrorDetail.Message
			}
			if m.Error != "" {
				return &Error{Message: clean(m.Error)}
			}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) || left.N == 0 {
		return fmt.Errorf("what the daemon tells while it loads: %w", image.ErrTooLarge)
	}
	return lines.Err()
}
