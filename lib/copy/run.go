package copy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Run does what the plan says. It is called once.
func (p *Plan) Run(ctx context.Context) (Result, error) {
	for _, n := range p.Notes {
		p.o.Notify.Send(image.Event{Kind: image.EventWarning, Text: n})
	}
	if p.Same {
		return p.result(nil), p.passOver(ctx)
	}
	m := &mover{Plan: p, moved: map[digest.Digest]oci.Descriptor{}}
	if p.Later {
		return m.late(ctx)
	}
	p.announce()
	if !p.changes() {
		if err := image.Begin(ctx, p.dst, p.Tree); err != nil {
			return Result{}, p.o.atDestination("begin", err)
		}
	}
	if err := m.all(ctx); err != nil {
		return Result{}, err
	}
	return m.commit(ctx)
}

// passOver reads a stream that is not needed to its end, for whoever writes it,
// and to see that it has one.
func (p *Plan) passOver(ctx context.Context) error {
	seq, ok := p.src.(image.Sequence)
	for ok {
		_, err := seq.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return p.o.atSource("read stream", err)
		}
	}
	return nil
}

func (p *Plan) announce() {
	e := image.Event{Kind: image.EventPlan, Blob: p.Tree.Desc}
	for _, s := range p.Steps {
		if !s.Skip {
			e.Blobs++
			e.Bytes += s.Blob.Size
		}
	}
	p.o.Notify.Send(e)
}

func (p *Plan) result(m *mover) Result {
	r := Result{Root: p.Tree.Desc, Source: p.Source, Same: p.Same, Notes: p.Notes}
	if m != nil {
		r.Moved, r.Bytes, r.Present = m.count, m.bytes, m.present
	}
	return r
}

// A mover carries out one plan.
type mover struct {
	*Plan

	found   atomic.Bool // the destination had a blob already
	packing sync.Mutex  // held while a layer is compressed: one takes all cores

	mu      sync.Mutex
	moved   map[digest.Digest]oci.Descriptor // what each blob became, and each that it became
	count   int
	bytes   int64
	present int
}

// all moves every blob of the plan.
func (m *mover) all(ctx context.Context) error {
	if seq, ok := m.src.(image.Sequence); ok {
		if err := m.stream(ctx, seq); err != nil {
			return err
		}
	}
	return m.rest(ctx)
}

// commit gives the tree, with what its blobs became, to the destination.
func (m *mover) commit(ctx context.Context) (Result, error) {
	t, err := m.Tree.Rewrite(m.moved)
	if err != nil {
		return Result{}, m.o.atSource("rewrite manifest", err)
	}
	m.Tree = t
	if err := m.checkTarget(); err != nil {
		return Result{}, err
	}
	m.o.Notify.Send(image.Event{Kind: image.EventCommit, Blob: t.Desc})
	if err := m.dst.Commit(ctx, t); err != nil {
		return Result{}, m.o.atDestination("commit", err)
	}
	return m.result(m), m.checkAttached(ctx)
}

// rest moves the blobs that have not come yet by asking for each.
func (m *mover) rest(ctx context.Context) error {
	var steps []Step
	for _, s := range m.Steps {
		if !m.has(s.Blob.Digest) {
			steps = append(steps, s)
		}
	}
	if m.dst.Wants().Ordered {
		return m.inOrder(ctx, steps)
	}
	g, ctx := newGroup(ctx, m.o.jobs())
	for _, s := range steps {
		g.Go(func() error { return m.move(ctx, s) })
	}
	return g.Wait()
}

// move moves one blob, if the destination does not have it.
func (m *mover) move(ctx context.Context, s Step) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var early chan opened
	if m.opensEarly(s) {
		early = m.openSoon(ctx, s.Blob)
	}
	ok, err := m.there(ctx, s)
	if ok || err != nil {
		m.found.Store(true)
		cancel()
		m.drop(early)
		return err
	}
	if s.Compress {
		m.packing.Lock()
		defer m.packing.Unlock()
	}
	if early == nil {
		early = m.openSoon(ctx, s.Blob)
	}
	o := <-early
	if o.err != nil {
		return o.err
	}
	defer o.rc.Close()
	return m.put(ctx, s, m.blob(ctx, s.Blob, o.rc))
}

// earlyBlob is up to how many bytes a blob is asked for at the source while
// the destination is still looking for it: what would come in vain is little.
const earlyBlob = 4 << 20

// opensEarly reports whether a blob is worth that: as long as the destination
// has been found to have none.
func (m *mover) opensEarly(s Step) bool {
	_, asks := m.dst.(image.Mounter)
	return asks && !s.Skip && !s.Compress && s.Blob.Size <= earlyBlob && !m.found.Load() && !image.Shares(m.dst, m.src)
}

func (m *mover) openSoon(ctx context.Context, d oci.Descriptor) chan opened {
	c := make(chan opened, 1)
	go func() {
		rc, err := m.open(ctx, d)
		c <- opened{rc, err}
	}()
	return c
}

// there reports whether nothing needs to move for a step.
func (m *mover) there(ctx context.Context, s Step) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	switch {
	case s.Skip:
		m.o.Notify.Send(image.Event{Kind: image.EventWarning, Blob: s.Blob, Text: fmt.Sprintf("layer %s is not copied: it is to be had from its URLs", s.Blob.Digest)})
		return true, nil
	case s.Compress, s.Blob.Digest == "":
		return false, nil
	}
	ok, err := image.Mount(ctx, m.dst, s.Blob, m.src)
	if err != nil {
		return false, m.o.atDestination("look for "+s.Blob.Digest.String(), err)
	}
	if ok {
		m.note(s.Blob, s.Blob, false)
	}
	return ok, nil
}

func (m *mover) open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	rc, err := m.src.Blob(ctx, d)
	if _, ok := m.src.(image.Sequence); ok && errors.Is(err, image.ErrNotFound) {
		err = fmt.Errorf("%w: the stream ended without it", image.ErrIncomplete)
	}
	return rc, m.o.atSource("open "+d.Digest.String(), err)
}

// blob makes the blob that is read from r, and can be read again from the
// source.
func (m *mover) blob(ctx context.Context, d oci.Descriptor, r io.Reader) *blob.Blob {
	b := &blob.Blob{Desc: d, Reader: r}
	if _, ok := m.src.(image.Sequence); !ok {
		b.Reopen = func(offset int64) (io.ReadCloser, error) {
			rc, err := image.BlobAt(ctx, m.src, d, offset)
			return rc, m.o.atSource("open "+d.Digest.String(), err)
		}
	}
	return b
}

// put sends one blob through its stages into the destination.
func (m *mover) put(ctx context.Context, s Step, b *blob.Blob) error {
	was := b.Desc
	m.o.Notify.Send(image.Event{Kind: image.EventCopy, Blob: was})
	for _, stage := range m.stages(s) {
		next, err := stage(b)
		if err != nil {
			b.Free()
			return m.o.atSource("read "+name(was), err)
		}
		b = next
	}
	defer b.Free()
	now, err := m.dst.Put(ctx, b)
	if err != nil {
		return m.o.atDestination("write "+name(was), err)
	}
	if b.Placed != nil {
		b.Placed(now)
	}
	if was.Digest == "" {
		was = now
	}
	m.note(was, now, true)
	return nil
}

func name(d oci.Descriptor) string {
	if d.Digest == "" {
		return "a layer"
	}
	return d.Digest.String()
}

// stages are what stands between the source and the destination.
func (m *mover) stages(s Step) []blob.Stage {
	w := m.dst.Wants()
	row := []blob.Stage{m.watch, blob.Verify, m.fromSource}
	if s.Compress {
		row = append(row, blob.Compress)
	}
	if w.Sizes {
		row = append(row, m.spool(w.Spool))
	}
	return row
}

// spool is blob.Spool, and tells of it.
func (m *mover) spool(dir string) blob.Stage {
	return func(b *blob.Blob) (*blob.Blob, error) {
		if !b.Known() {
			m.o.Notify.Send(image.Event{Kind: image.EventSpool, Blob: b.Desc})
		}
		out, err := blob.Spool(dir)(b)
		return out, m.o.atDestination("spool a layer", err)
	}
}

// note remembers that a blob is at the destination.
func (m *mover) note(was, now oci.Descriptor, moved bool) {
	m.mu.Lock()
	m.moved[was.Digest] = now
	m.moved[now.Digest] = now
	kind := image.EventHave
	if moved {
		kind = image.EventDone
		m.count++
		m.bytes += now.Size
	} else {
		m.present++
	}
	m.mu.Unlock()
	m.o.Notify.Send(image.Event{Kind: kind, Blob: was})
}

func (m *mover) has(d digest.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.moved[d]
	return ok
}
