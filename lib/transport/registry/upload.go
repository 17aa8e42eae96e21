package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/oci"
)

// slowest is how many bytes a second a registry has to get through, at least,
// when it puts an upload in its place before it answers.
const slowest = 16 << 20

// place is where an upload goes on (distribution-spec, pushing blobs).
type place struct {
	url *url.URL
	min int64 // bytes of a chunk, at least: OCI-Chunk-Min-Length
}

// An upload is a blob on its way out. Its state is what the registry holds of
// it; after a break it asks, and goes on from there.
type upload struct {
	d     *Destination
	feed  *feed
	at    *place // nil: no session is open
	off   int64  // bytes that the session holds
	chunk int64  // bytes of one request; 0: all that is left

	streams   bool  // no bytes go with the closing PUT
	unsure    bool  // whether off is right has to be asked
	resumed   bool  // it went on in the middle, once or more
	restarted bool  // and then from the beginning
	best      int64 // the largest off
	tries     int   // since then
	breaks    int64 // in all
	far       int64 // how many bytes were ever given out
	resent    int64 // bytes that were given out again
	divided   bool  // chunk is a guess
	rounds    int   // of authentication, since best
	cause     error // of the last break
}

// put sends one blob, and leaves nothing behind if it fails.
func (d *Destination) put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	u := &upload{
		d:       d,
		at:      d.take(b.Desc.Digest),
		chunk:   d.chunk.Load(),
		streams: d.patchOnly.Load(),
		feed: &feed{
			b:    b,
			lend: func() *[]byte { return d.pool.Get().(*[]byte) },
			back: func(p *[]byte) { d.pool.Put(p) },
		},
	}
	err := u.feed.first(ctx)
	if err == nil {
		err = u.run(ctx)
	}
	u.feed.release(ctx)
	if err != nil {
		d.abandon(u.at, true)
		return oci.Descriptor{}, err
	}
	if u.divided {
		d.chunk.CompareAndSwap(0, u.chunk)
	}
	out := u.feed.desc
	if out.Size < 0 {
		out.Size = u.feed.pos
	}
	return out, nil
}

// run sends until the registry has it all. The source's own errors come back
// as they are.
func (u *upload) run(ctx context.Context) error {
	for {
		err := u.d.retry.hold(ctx)
		done := false
		if err == nil && u.unsure {
			done, err = u.locate(ctx)
		}
		if err == nil && !done {
			err = u.send(ctx)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case u.feed.failed() != nil:
			return u.feed.err
		case errors.Is(err, errOnce):
			return fmt.Errorf("%w; %w", u.cause, errOnce)
		}
		u.cause = err
		if err := u.mend(ctx, err); err != nil {
			return err
		}
	}
}

// send does what is left to do: everything in one PUT or, if that is not
// possible, PATCHes and a PUT that ends them.
func (u *upload) send(ctx context.Context) error {
	if err := u.rewind(ctx); err != nil {
		return err
	}
	if u.at == nil {
		var err error
		if u.at, err = u.d.start(ctx); err != nil {
			return err
		}
	}
	if u.off == 0 && u.digest() != "" {
		if n := u.left(); n >= 0 && (u.chunk == 0 || n <= u.chunk) && !u.streams {
			return u.finish(ctx, n)
		}
	}
	for u.feed.more(ctx) {
		if err := u.patch(ctx); err != nil {
			return err
		}
	}
	if err := u.feed.failed(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return u.finish(ctx, 0)
}

// rewind makes the source give out what the registry does not have.
func (u *upload) rewind(ctx context.Context) error {
	if u.at == nil {
		u.off = 0
	}
	if lost := u.feed.pos - u.off; lost > 0 {
		u.far = max(u.far, u.feed.pos)
		u.resent += lost
		if u.chunk == 0 && lost >= steps[0] {
			u.divide()
		}
	}
	return u.feed.seek(ctx, u.off)
}

// digest is the blob's, as soon as it is known.
func (u *upload) digest() string { return u.feed.desc.Digest.String() }

// left is how many bytes are to be sent, -1 if that is not known.
func (u *upload) left() int64 {
	if u.feed.desc.Size < 0 {
		return -1
	}
	return u.feed.desc.Size - u.off
}

// finish sends the last n bytes and closes the session.
func (u *upload) finish(ctx context.Context, n int64) error {
	if err := oci.CheckDigest(u.feed.desc.Digest); err != nil {
		return err
	}
	at := withDigest(u.at.url, u.digest())
	resp, err := u.request(ctx, http.MethodPut, at, n, http.Header{"Content-Type": {oci.MediaTypeOctetStream}})
	if err != nil {
		return err
	}
	resp.discard()
	if d := declared(resp.Header); d != "" && d.Algorithm() == u.feed.desc.Digest.Algorithm() && d != u.feed.desc.Digest {
		return fmt.Errorf("%s: %w: the registry says that it is %s", u.digest(), blob.ErrMismatch, d)
	}
	return nil
}

// withDigest adds the parameter to a location, of which nothing else may be
// changed: it may be signed.
func withDigest(at *url.URL, digest string) *url.URL {
	u := *at
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(digest)
	return &u
}

// patch sends the next chunk (distribution-spec, pushing a blob in chunks).
func (u *upload) patch(ctx context.Context) error {
	n := u.left()
	if most := max(u.chunk, u.at.min); u.chunk > 0 && (n < 0 || n > most) {
		n = most
	}
	h := http.Header{"Content-Type": {oci.MediaTypeOctetStream}}
	if u.left() >= 0 {
		h.Set("Content-Range", fmt.Sprintf("%d-%d", u.off, u.off+n-1))
	}
	resp, err := u.request(ctx, http.MethodPatch, u.at.url, n, h)
	if err != nil {
		return err
	}
	resp.discard()
	if held, ok := parseUploaded(resp.Header.Get("Range")); ok && held < u.feed.pos && u.feed.pos > 1 { // of 1 they say 0-0 too
		return cut(http.MethodPatch, u.at.url, "the registry took %d of %d bytes", held, u.feed.pos)
	}
	return u.goOn(resp, u.feed.pos)
}

// request sends the next n bytes, all that there are if n is below 0. An
// answer that is none of success is an error.
func (u *upload) request(ctx context.Context, method string, at *url.URL, n int64, h http.Header) (*response, error) {
	req := &request{method: method, url: at, header: h}
	if method == http.MethodPut {
		req.slow = time.Duration(u.off+max(n, 0)) / slowest * time.Second
	}
	switch {
	case n == 0:
	case u.feed.small:
		req.memory = u.feed.memory[u.feed.pos : u.feed.pos+n]
	case n < 0:
		req.body = newBody(-1, u.feed.until)
	default:
		size := n
		if u.left() < 0 {
			size = -1 // it may be less
		}
		req.body = newBody(size, func(gone <-chan struct{}) io.Reader { return io.LimitReader(u.feed.until(gone), n) })
	}
	resp, err := u.d.once(ctx, req)
	if err == nil && resp.StatusCode/100 != 2 {
		err = u.d.fail(resp) // read before the body is stopped, and the connection with it
	}
	if req.body != nil {
		req.body.stop()
	}
	if u.feed.small && err == nil {
		u.feed.pos += n
	}
	return resp, err
}

// locate asks what the registry holds of the upload, and reports whether the
// blob is in its place already: the answer that said so may have been lost.
func (u *upload) locate(ctx context.Context) (done bool, err error) {
	if u.at != nil {
		resp, err := u.d.once(ctx, &request{method: http.MethodGet, url: u.at.url})
		if err != nil {
			return false, err
		}
		known := resp.StatusCode/100 == 2
		if !known && u.transient(resp) {
			return false, u.d.fail(resp)
		}
		resp.discard()
		off, ok := parseUploaded(resp.Header.Get("Range"))
		if known && ok && (u.left() < 0 || off <= u.off+u.left()) {
			return false, u.goOn(resp, off)
		}
		if resp.StatusCode != http.StatusNotFound {
			u.d.abandon(u.at, true)
		}
	}
	u.at, u.off, u.unsure = nil, 0, false
	if d := u.feed.desc; d.Digest != "" {
		done, err = u.d.hasBlob(ctx, d)
	}
	return done, err
}

// transient reports whether an answer says nothing of the upload.
func (u *upload) transient(resp *response) bool {
	return (&Error{Status: resp.StatusCode}).passing()
}

// goOn goes on from off, where the answer says.
func (u *upload) goOn(resp *response, off int64) error {
	if err := u.move(resp); err != nil {
		return err
	}
	u.off, u.unsure = off, false
	u.resumed = u.resumed || off > 0
	if off >= u.best+swift { // less is no progress
		u.best, u.tries, u.rounds = off, 0, 0
	}
	return nil
}

// move takes over the location that an answer gives, if it does.
func (u *upload) move(resp *response) error {
	location := resp.Header.Get("Location")
	if location == "" {
		return nil
	}
	next, err := u.d.remote.resolve(resp.Request.URL, location)
	if err == nil {
		u.at = &place{next, u.at.min}
	}
	return err
}
