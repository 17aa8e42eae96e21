package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// A source is an image that a daemon is saving.
type source struct {
	*archive.Reader
	client *client
	name   Name
	id     digest.Digest // of the image, as the daemon says
	root   oci.Raw       // its manifest, once it is known
	body   *saved
}

// Open asks the daemon for the image that n stands for, and begins to read it.
// The daemon decides on the order, and those before 25 put what names the
// layers behind them. Where the daemon keeps images unpacked, the manifest is
// made up, by it or by lib/transport/archive: the sequence is an image.Maker.
//
// The error wraps image.ErrNotFound if n stands for nothing, image.ErrNetwork
// if no daemon answers, and image.ErrUnsupported if the options say nothing
// that can be done. The context is for these questions; the sequence lasts
// until it is closed.
func Open(ctx context.Context, n Name, o Options) (image.Sequence, error) {
	c, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	id, err := c.id(ctx, n.String())
	if err != nil {
		return nil, err
	}
	if n.ID != "" && id != n.ID {
		return nil, fmt.Errorf("image %s: %w: the daemon has %s", n.ID, image.ErrMismatch, id)
	}
	body, err := c.save(ctx, n.String())
	if err != nil {
		return nil, err
	}
	r := archive.NewReader(body, archive.Selection{Digest: n.Ref.Digest})
	return &source{Reader: r, client: c, name: n, id: id, body: body}, nil
}

// Manifest implements image.Source. The manifest of an image that was asked for
// by its ID or digest has that digest itself, or its configuration has;
// otherwise the error wraps image.ErrMismatch.
func (s *source) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	raw, err := s.Reader.Manifest(ctx, d)
	switch {
	case d == "" && s.name.Ref.Digest != "" && (errors.Is(err, image.ErrMismatch) || errors.Is(err, image.ErrNotFound)):
		return raw, fmt.Errorf("%w: the daemon does not keep the manifest that %s names: ask for the image by its tag, or as docker-daemon:%s", err, s.name, s.id)
	case err != nil || d != "":
		return raw, err
	}
	if s.name.ID != "" && !isID(s.name.ID, raw) {
		return oci.Raw{}, fmt.Errorf("image %s: %w: the daemon saved manifest %s", s.name.ID, image.ErrMismatch, raw.Digest())
	}
	s.root = raw
	return raw, nil
}

// isID reports whether an image with that manifest has that ID.
func isID(id digest.Digest, raw oci.Raw) bool {
	if raw.DigestBy(id.Algorithm()) == id {
		return true
	}
	m, err := oci.Parse(raw)
	return err == nil && m.Config != nil && m.Config.Digest == id
}

// Made implements image.Maker: a daemon that does not keep manifests has made
// up what it saves.
func (s *source) Made() bool {
	if s.Reader.Made() {
		return true
	}
	return s.root.Bytes != nil && s.root.DigestBy(s.id.Algorithm()) != s.id
}

// Close ends the save.
func (s *source) Close() error {
	s.body.Close()
	err := s.Reader.Close()
	s.client.close()
	return err
}

// save begins to read an image as the daemon saves it.
func (c *client) save(ctx context.Context, name string) (*saved, error) {
	own, cancel := context.WithCancelCause(context.Background())
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	w := newWatch(cancel, c.idle)
	resp, err := c.do(own, http.MethodGet, "/images/"+name+"/get", nil)
	w.ours(true)
	if !stop() && err == nil {
		resp.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &saved{client: c, body: resp.Body, ctx: own, cancel: cancel, watch: w}, nil
}

// saved is an image as it comes from the daemon. It outlives the context that
// it was asked for with: whoever reads has one of his own.
type saved struct {
	client *client
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *watch
}

func (s *saved) Read(p []byte) (int, error) {
	s.watch.ours(false)
	n, err := s.body.Read(p)
	s.watch.ours(true)
	if err != nil && err != io.EOF {
		err = s.client.failure(s.ctx, err)
	}
	return n, err
}

func (s *saved) Close() error {
	s.cancel(io.ErrClosedPipe)
	return s.body.Close()
}
