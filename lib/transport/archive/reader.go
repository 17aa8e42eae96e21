package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Reader is an image in a tar that is read once, front to back. It takes
// members in any order. What may be a manifest or a configuration waits in
// memory, within bounds, until it is known what it is. Next must be called
// until it says io.EOF: only then has the end of the stream been seen.
//
// It is an image.Sequence, Lister, Namer, Referrer and Maker.
type Reader struct {
	sel    Selection
	src    io.Reader
	closer io.Closer // of src, if that is to be closed with the reader

	in    *inflow // nil before the first read
	walk  *walker
	err   error // that ended the stream; io.EOF if it was whole
	shelf shelf
	cat   catalogue
	made  *oci.Raw // of the choice, if it has no manifest of its own

	members names[*storedLayer] // of docker archives
	configs map[string]bool     // named by manifest.json
	layers  map[string]bool
	pending *entry   // has been come to, and is for Next
	ready   []*entry // are before it, and in memory
	ahead   int64    // bytes of these
	given   *entry   // what Next gave out last
}

// NewReader returns a Reader of the tar in r, which may be compressed. It reads
// nothing yet. What r is read to is the end of the stream, beyond that of the
// tar; r is not closed.
func NewReader(r io.Reader, sel Selection) *Reader {
	rd := &Reader{sel: sel, src: r}
	rd.cat.library, rd.cat.waits = rd, func() bool { return rd.err == nil && rd.shelf.awaited > 0 }
	return rd
}

// newClosingReader is NewReader, and closes f with the reader.
func newClosingReader(f io.ReadCloser, sel Selection) *Reader {
	r := NewReader(f, sel)
	r.closer = f
	return r
}

// Close frees what the reader holds. It does not wait for the stream.
func (r *Reader) Close() error {
	r.given.drop()
	if r.in != nil {
		r.in.close()
		r.in = nil
	}
	r.err = os.ErrClosed
	if r.closer != nil {
		return r.closer.Close()
	}
	return nil
}

// Made reports whether the manifest was made up, because the archive has none.
func (r *Reader) Made() bool { return r.made != nil }

// Next implements image.Sequence. Members of the stream that are blobs of no
// image come too, if nothing before them says that they are not needed. The
// digest of a layer of a docker archive is "".
func (r *Reader) Next(ctx context.Context) (*blob.Blob, error) {
	r.begin(ctx)
	r.given.drop()
	for r.err == nil && r.pending == nil && len(r.ready) == 0 {
		r.err = r.step()
	}
	if len(r.ready) > 0 {
		e := r.ready[0]
		r.ready = r.ready[1:]
		r.ahead -= e.desc.Size
		return r.blob(e), nil
	}
	if e := r.pending; e != nil {
		r.pending = nil
		return r.blob(e), nil
	}
	return nil, r.err
}

// Manifest implements image.Source. It reads on as far as nothing is in the
// way that Next has to give out.
func (r *Reader) Manifest(ctx context.Context, d digest.Digest) (raw oci.Raw, err error) {
	err = r.look(ctx, func() error {
		raw, err = r.manifest(d)
		return err
	})
	return raw, err
}

// Blob implements image.Source, for what waits in memory.
func (r *Reader) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	var b []byte
	err := r.look(ctx, func() (err error) {
		b, err = r.small(d.Digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return io.NopCloser(reader{ctx, bytes.NewReader(b)}), nil
}

// look reads on until f finds what it looks for, or it cannot be found, or
// something is in the way that Next has to give out: image.ErrLater.
func (r *Reader) look(ctx context.Context, f func() error) error {
	for {
		err := f()
		if !errors.Is(err, image.ErrLater) {
			return err
		}
		if err := r.goOn(ctx); err != nil {
			return err
		}
	}
}

func (r *Reader) small(d digest.Digest) ([]byte, error) {
	if err := oci.CheckDigest(d); err != nil {
		return nil, err
	}
	if b, ok := r.shelf.find(d); ok {
		return b, nil
	}
	for _, e := range r.ready {
		if e.desc.Digest == d {
			return e.held, nil
		}
	}
	return nil, r.absent("blob " + d.String())
}

// absent says why something is not there.
func (r *Reader) absent(what string) error {
	switch r.err {
	case nil:
		return fmt.Errorf("%s: %w", what, image.ErrLater)
	case io.EOF:
		return fmt.Errorf("%s: %w in what waits in memory of the stream", what, image.ErrNotFound)
	}
	return r.err
}

// document implements library.
func (r *Reader) document(name string, limit int64) ([]byte, error) {
	name, err := r.members.follow(name)
	if err != nil {
		return nil, err
	}
	b, ok := r.shelf.docs[name]
	if !ok {
		return nil, r.absent(fmt.Sprintf("%.200q", name))
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%.200q: %w: %d bytes, more than %d", name, image.ErrTooLarge, len(b), limit)
	}
	return b, nil
}

func (r *Reader) manifest(d digest.Digest) (oci.Raw, error) {
	if d == "" {
		ch, err := r.cat.choose(r.sel)
		if err != nil {
			return oci.Raw{}, err
		}
		if ch.docker != nil && r.err == nil {
			return oci.Raw{}, image.ErrLater // when all layers have passed
		}
		if ch.docker != nil {
			return r.make(ch.docker)
		}
		return r.cat.manifest(ch.root)
	}
	if err := oci.CheckDigest(d); err != nil {
		return oci.Raw{}, err
	}
	if r.made != nil && r.made.DigestBy(d.Algorithm()) == d {
		return *r.made, nil
	}
	raw, err := r.cat.manifest(oci.Descriptor{Digest: d, Size: -1})
	if errors.Is(err, image.ErrNotFound) && r.made == nil {
		if _, e := r.manifest(""); e == nil && r.made != nil {
			return r.manifest(d)
		}
	}
	return raw, err
}

// make makes the manifest of an image that has none out of the layers that
// have passed.
func (r *Reader) make(e *dockerImage) (oci.Raw, error) {
	if r.made != nil {
		return *r.made, nil
	}
	config, err := r.document(memberName(e.Config), oci.MaxManifest)
	if err != nil {
		return oci.Raw{}, lost(err)
	}
	ids, err := e.diffIDs(config)
	if err != nil {
		return oci.Raw{}, err
	}
	var layers []oci.Descriptor
	for i, name := range e.Layers {
		l, ok, err := r.members.find(memberName(name))
		if err == nil && ok {
			err = l.err
		}
		if err != nil {
			return oci.Raw{}, err
		}
		if !ok || l.desc.Digest == "" {
			return oci.Raw{}, lost(r.absent(fmt.Sprintf("layer %.200q", name)))
		}
		if l.diffID != "" && l.diffID != ids[i] {
			return oci.Raw{}, wrongLayer(name, l.diffID, ids[i])
		}
		layers = append(layers, l.desc)
	}
	raw := makeManifest(config, layers)
	if err := r.sel.checkMade(raw); err != nil {
		return oci.Raw{}, err
	}
	r.made = &raw
	return raw, nil
}

// checkMade refuses a manifest that was made, if another was asked for.
func (s Selection) checkMade(raw oci.Raw) error {
	if s.Digest != "" && raw.DigestBy(s.Digest.Algorithm()) != s.Digest {
		return fmt.Errorf("manifest %s: %w: it is %s", s.Digest, image.ErrMismatch, raw.Digest())
	}
	return nil
}

// lost is err about something that manifest.json names.
func lost(err error) error {
	if errors.Is(err, image.ErrNotFound) {
		return fmt.Errorf("%w: %s names what is not there: %w", image.ErrIncomplete, dockerName, err)
	}
	return err
}

// goOn reads one member more. A blob is put into memory if it is small; if it
// is not the error is image.ErrLater: Next comes first.
func (r *Reader) goOn(ctx context.Context) error {
	r.begin(ctx)
	if e := r.pending; e != nil {
		if r.ahead+e.desc.Size > maxAhead || len(r.ready) == maxReady {
			return image.ErrLater
		}
		if r.err = r.hold(e); r.err != nil {
			return r.err
		}
		r.ahead += e.desc.Size
		r.ready, r.pending = append(r.ready, e), nil
	}
	if r.err == nil {
		r.err = r.step()
	}
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// hold reads a pending blob into memory.
func (r *Reader) hold(e *entry) error {
	if err := e.hold(); err != nil {
		return r.walk.damaged(err)
	}
	if e.layer != nil {
		return e.identify()
	}
	return nil
}

// begin notes who reads now, and opens the stream the first time.
func (r *Reader) begin(ctx context.Context) {
	if r.in == nil && r.err == nil {
		r.in = newInflow(r.src)
		r.walk = walk(r.in)
	}
	if r.in != nil {
		r.in.ctx = ctx
	}
}

// step takes one member of the tar: away, onto the shelf, or as pending.
func (r *Reader) step() error {
	if err := live(r.in.ctx); err != nil {
		return err
	}
	h, err := r.walk.next()
	if err != nil {
		return err
	}
	name := memberName(h.Name)
	switch {
	case name == "":
	case h.Typeflag == tar.TypeReg:
		err = r.sort(&entry{name: name, desc: oci.Descriptor{Size: h.Size}, body: r.walk})
	case h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink:
		if to := linkTarget(name, h); to != "" {
			err = r.members.add(name, to, nil)
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = r.walk.damaged(err)
	}
	return err
}
