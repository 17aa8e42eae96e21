package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// worthAsking is from how many bytes on a blob is worth a request of its own,
// to find out whether it is there.
const worthAsking = 1 << 20

// mount asks the registry to take a blob from a repository of its own: the
// source's, if that is there, or the destination's, which asks whether the
// blob is there already (distribution-spec, mounting a blob from another
// repository). A registry that does not mount opens an upload instead, which
// is kept for the blob. Because such a one says nothing about what it has,
// the question is put in parallel, for larger blobs, until it has been seen
// to mount.
func (d *Destination) mount(ctx context.Context, desc oci.Descriptor, from string) (bool, error) {
	if err := oci.CheckDigest(desc.Digest); err != nil {
		return false, err
	}
	mountless := d.mountless.Load()
	ask := mountless || desc.Size > worthAsking && !d.mounts.Load()
	var answer <-chan bool
	if ask {
		answer = d.look(ctx, desc)
	}
	at, there, err := d.begin(ctx, desc.Digest, from, mountless)
	if refusesMount(err) && !mountless {
		d.mountless.Store(true)
		if answer == nil {
			answer = d.look(ctx, desc)
		}
		at, there, err = d.begin(ctx, desc.Digest, from, true)
	}
	if err != nil {
		return false, err
	}
	if !there && answer != nil && <-answer {
		d.abandon(at, false)
		return true, nil
	}
	if there {
		d.mounts.Store(true)
	} else {
		d.keep(desc.Digest, at)
	}
	return there, nil
}

// look asks for a blob beside something else. What goes wrong is no answer:
// the other request will tell.
func (d *Destination) look(ctx context.Context, desc oci.Descriptor) <-chan bool {
	c := make(chan bool, 1)
	d.background.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(d.life, cancel)()
		there, err := d.hasBlob(ctx, desc)
		c <- there && err == nil
	})
	return c
}

// refusesMount reports whether an error may be about the parameters of a mount
// and not about the upload.
func refusesMount(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.token || e.passing() {
		return false
	}
	return e.Status/100 == 4 || e.Status == http.StatusNotImplemented
}

// begin opens an upload, with a mount unless it is to be plain.
func (d *Destination) begin(ctx context.Context, want digest.Digest, from string, plain bool) (at *place, there bool, err error) {
	req := &request{method: http.MethodPost, path: d.path("blobs", "uploads", "")}
	if !plain {
		req.query = url.Values{"mount": {want.String()}, "from": {from}}.Encode()
	}
	err = d.ask(ctx, req, func(resp *response) error {
		if resp.StatusCode == http.StatusCreated && !plain {
			there = true
			return nil
		}
		next, err := d.remote.resolve(resp.Request.URL, resp.Header.Get("Location"))
		if err != nil {
			return err
		}
		least, _ := number(resp.Header.Get("Oci-Chunk-Min-Length"))
		at = &place{next, least}
		return nil
	})
	return at, there, err
}

// start opens an upload.
func (d *Destination) start(ctx context.Context) (*place, error) {
	at, _, err := d.begin(ctx, "", "", true)
	if err != nil {
		return nil, fmt.Errorf("opening an upload: %w", err)
	}
	return at, nil
}

// keep holds an upload open for a blob that will be put.
func (d *Destination) keep(want digest.Digest, at *place) {
	d.mu.Lock()
	older := d.open[want]
	d.open[want] = at
	d.mu.Unlock()
	d.abandon(older, false)
}

// take returns the upload that is open for a blob, nil if there is none.
func (d *Destination) take(want digest.Digest) *place {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.open[want]
	delete(d.open, want)
	return at
}

// settle is how long a registry is given to see that a request has broken off.
// An upload that it is still writing to comes back after it was cancelled.
const settle = 100 * time.Millisecond

// abandon cancels an upload, if there is one, beside everything else: at once,
// or when a request for it that broke off has settled. That it may fail does
// no harm: registries forget uploads.
func (d *Destination) abandon(at *place, broken bool) {
	if at == nil {
		return
	}
	d.background.Go(func() {
		wait, tries := time.Duration(0), 1
		if broken {
			wait, tries = settle, 3
		}
		for ; tries > 0; tries-- {
			if sleep(d.life, wait) != nil || d.cancelUpload(at.url) {
				return
			}
			// Where a location stands for an offset, it is out of date
			// after a break. The answer to GET has the current one.
			next := d.current(at.url)
			if next == nil || d.cancelUpload(next) {
				return
			}
		}
	})
}

// cancelUpload reports whether the registry took a request to cancel.
func (d *Destination) cancelUpload(at *url.URL) bool {
	resp, err := d.once(d.life, &request{method: http.MethodDelete, url: at})
	if err != nil {
		return false
	}
	resp.discard()
	return resp.StatusCode/100 == 2
}

// current returns the location that an upload has now, nil if it is gone.
func (d *Destination) current(at *url.URL) *url.URL {
	resp, err := d.once(d.life, &request{method: http.MethodGet, url: at})
	if err != nil {
		return nil
	}
	resp.discard()
	if resp.StatusCode/100 != 2 {
		return nil
	}
	next, err := d.remote.resolve(resp.Request.URL, resp.Header.Get("Location"))
	if err != nil {
		return nil
	}
	return next
}
