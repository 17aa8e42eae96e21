package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

const (
	swift      = 64 << 10 // bytes after which a break is mended without a pause
	maxResumes = 1000     // breaks of one blob, and one more a MiB
)

// A download is a blob on its way in. When it breaks off, it goes on from
// where it was, by ranges (RFC 9110, section 14); as long as bytes come, the
// tries do not count. It gives out at most one byte more than the blob should
// have, and checks no digest.
type download struct {
	mu      sync.Mutex // held by Read, and by Close after it has ended that
	ctx     context.Context
	cancel  context.CancelFunc
	s       *session
	d       oci.Descriptor
	sources []*request // any of which will do

	body io.ReadCloser // nil: broken off, or not begun
	etag string        // of what came so far, if it is a strong one
	anew bool          // the server's ranges are wrong: it is asked for the whole
	off  int64         // of the next byte to give out
	end  int64         // how many bytes there are, -1 while nobody said
	last int64         // of the body: the byte before which it ends, 0 if at end

	until  int64 // the byte before which to stop asking, 0 for end
	strict bool  // only that range will do, and not everything

	lost    error // why there is no body
	fresh   int64 // bytes since the last try
	tries   int   // without any
	resumes int64
	err     error // of all further reading
}

// Read returns content; errors wrap image.ErrNetwork, ErrMismatch or, if the
// blob has gone meanwhile, ErrNotFound.
func (d *download) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.err == nil {
		if d.body == nil {
			if d.end >= 0 && d.off == d.end {
				d.err = io.EOF
			} else if err := d.reconnect(); err != nil {
				d.err = d.wrap(err)
			}
			continue
		}
		if n := d.read(p); n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, d.err
}

// read reads what comes, and notes how it ended.
func (d *download) read(p []byte) int {
	if d.end >= 0 {
		p = p[:min(int64(len(p)), d.end+1-d.off)]
	}
	n, err := d.body.Read(p)
	d.off += int64(n)
	d.fresh += int64(n)
	switch {
	case d.end >= 0 && d.off > d.end:
		d.err = fmt.Errorf("%s: %w: it is longer than %d bytes", d.d.Digest, image.ErrMismatch, d.end)
	case err == nil:
		return n
	case err == io.EOF && (d.end < 0 || d.off == d.end):
		d.err = io.EOF
	case err == io.EOF:
		d.lost = fmt.Errorf("%w: the answer has ended after %d of %d bytes", errShort, d.off, d.end)
	default:
		d.lost = err
	}
	d.body.Close()
	d.body = nil
	return n
}

// errShort says that an answer came to its proper end too early. It is not the
// network, then, but another try may still help.
var errShort = fmt.Errorf("%w: too short", image.ErrMismatch)

// reconnect goes on after a break.
func (d *download) reconnect() error {
	for {
		if d.fresh > 0 {
			d.tries = 0
		}
		d.tries++
		d.resumes++
		if d.resumes > maxResumes+d.off>>20 {
			return d.lost
		}
		if err := d.pause(); err != nil {
			return err
		}
		d.fresh = 0
		if err := d.s.retry.hold(d.ctx); err != nil {
			return err
		}
		if d.lost = d.connect(); d.lost == nil {
			return nil
		}
	}
}

// pause waits before another try, or returns why there is to be none.
func (d *download) pause() error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if d.fresh >= swift && passing(d.lost) {
		d.s.retry.tell(1, 0, d.lost)
		return nil
	}
	return d.s.retry.pause(d.ctx, d.tries, d.lost)
}

// connect asks for the blob, from off on, once.
func (d *download) connect() error {
	var errs []error
	for _, source := range d.sources {
		err := d.open(*source)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if d.ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func (d *download) open(req request) error {
	asked := !d.anew && (d.off > 0 || d.until > 0)
	if asked {
		req.header = http.Header{"Range": {d.rangeHeader()}}
		if d.etag != "" {
			req.header.Set("If-Range", d.etag)
		}
	}
	resp, err := d.s.once(d.ctx, &req)
	if err != nil {
		return err
	}
	d.last = 0
	switch resp.StatusCode {
	case http.StatusOK:
		err = d.whole(resp)
	case http.StatusPartialContent:
		if err = d.part(resp, asked); err != nil {
			d.anew = true
		}
	case http.StatusRequestedRangeNotSatisfiable:
		d.anew = true
		err = cut(http.MethodGet, resp.Request.URL, "there are no bytes from %d on, it says", d.off)
	default:
		return d.s.fail(resp)
	}
	if err != nil {
		resp.Body.Close()
		return err
	}
	if tag := resp.Header.Get("Etag"); strings.HasPrefix(tag, `"`) {
		d.etag = tag
	}
	d.body = resp.Body
	return nil
}

func (d *download) rangeHeader() string {
	if d.until > 0 {
		return fmt.Sprintf("bytes=%d-%d", d.off, d.until-1)
	}
	return fmt.Sprintf("bytes=%d-", d.off)
}

// whole takes an answer with all of the blob, and drops what has been given
// out already.
func (d *download) whole(resp *response) error {
	if d.strict {
		return cut(http.MethodGet, resp.Request.URL, "asked for a range, got everything")
	}
	if n := resp.ContentLength; n >= 0 {
		if d.end >= 0 && n != d.end {
			return fmt.Errorf("%w: it has %d bytes, not %d", image.ErrMismatch, n, d.end)
		}
		d.end = n
	}
	n, err := blob.Copy(io.Discard, io.LimitReader(resp.Body, d.off))
	if err == nil && n < d.off {
		err = fmt.Errorf("%w: the answer has ended after %d bytes", errShort, n)
	}
	return err
}

// part takes an answer with the rest of the blob, or the beginning of that. It
// has to say how much there is if nothing else does: its own end need not be
// that of the blob.
func (d *download) part(resp *response, asked bool) error {
	r, ok := parseContentRange(resp.Header.Get("Content-Range"))
	n := resp.ContentLength
	switch {
	case !asked || !ok || r.first != d.off,
		d.end < 0 && r.total < 0, d.end >= 0 && (r.last >= d.end || r.total >= 0 && r.total != d.end),
		n >= 0 && n != r.last-r.first+1:
		return cut(http.MethodGet, resp.Request.URL, "asked for the bytes from %d on, got the range %.60q", d.off, resp.Header.Get("Content-Range"))
	}
	d.end, d.last = max(d.end, r.total), r.last+1
	return nil
}

func (d *download) wrap(err error) error {
	if d.ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("fetching blob: %w", err)
}

// Close frees the connection, for others if all was read.
func (d *download) Close() error {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = errBodyClosed
	}
	if d.body == nil {
		return nil
	}
	err := d.body.Close()
	d.body = nil
	return err
}
