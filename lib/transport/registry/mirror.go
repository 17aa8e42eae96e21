package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// Limits for a repository that has another behind it. It is asked once, without
// retries: that is what the next one is for.
const (
	hurryConnect = 5 * time.Second
	hurryHeader  = 15 * time.Second
)

type hurryKey struct{}

// hurry returns a context for requests that another repository could answer.
func hurry(ctx context.Context) context.Context { return context.WithValue(ctx, hurryKey{}, true) }

func hurried(ctx context.Context) bool { return ctx.Value(hurryKey{}) != nil }

// hurry makes the watch of an exchange that is in a hurry look at the time that
// it takes to connect, and returns how long its answer may take.
func (m *remote) hurry(ctx context.Context, w *watch) time.Duration {
	if !hurried(ctx) {
		return m.limit.Header
	}
	w.network(sending, min(hurryConnect, m.limit.Connect))
	return min(hurryHeader, m.limit.Header)
}

// A MirrorSource reads one image from whichever of several repositories has it.
// It is an image.Source that opens blobs in the middle, lists tags and
// referrers, and looks up other names.
//
// The first that gives the manifest is kept to. What it does not have, or fails
// to give, is asked for at those behind it, each time; one that the network
// fails to reach is not asked again. Each time another one is asked, a warning
// is sent to the Notify of the one that failed.
type MirrorSource struct {
	list []*Source
	at   atomic.Int64 // of the first that is asked
	kept atomic.Bool  // it has given the manifest
}

// Mirrored opens several repositories, at least one, that should have the same
// content, for reading: mirrors, and last the one that they are mirrors of. They
// are asked in that order, each with its own options; but all except the last
// get 5 s to connect, with TLS, 15 s to answer, and no second try.
func Mirrored(list ...*Repository) *MirrorSource {
	m := &MirrorSource{}
	for _, r := range list {
		m.list = append(m.list, r.Source())
	}
	return m
}

// Reference returns the reference of the repository that is kept to, of the
// last one while none is.
func (m *MirrorSource) Reference() reference.Docker {
	if m.kept.Load() {
		return m.list[m.at.Load()].ref
	}
	return m.list[len(m.list)-1].ref
}

// Manifest returns the manifest with that digest or, for "", the one that the
// source is named by. A repository that has another one is passed over, and so
// is one that answers with a page for people. Errors are those of the last
// repository, with what the others said; see Source.Manifest.
func (m *MirrorSource) Manifest(ctx context.Context, want digest.Digest) (oci.Raw, error) {
	var raw oci.Raw
	i, err := m.ask(ctx, m.first(), func(ctx context.Context, s *Source) (err error) {
		if raw, err = s.Manifest(ctx, want); err == nil && hurried(ctx) {
			err = oci.CheckJSON(raw.Bytes)
		}
		return err
	})
	if err == nil && !m.kept.Load() {
		m.pass(i)
		m.kept.Store(true)
	}
	return raw, err
}

// Find returns what a name in the repository stands for; see Source.Find.
func (m *MirrorSource) Find(ctx context.Context, name string) (d oci.Descriptor, err error) {
	_, err = m.ask(ctx, m.first(), func(ctx context.Context, s *Source) (err error) {
		d, err = s.Find(ctx, name)
		return err
	})
	return d, err
}

// Tags lists the tags of the first repository that does.
func (m *MirrorSource) Tags(ctx context.Context) (list []string, err error) {
	_, err = m.ask(ctx, m.first(), func(ctx context.Context, s *Source) (err error) {
		list, err = s.Tags(ctx)
		return err
	})
	return list, err
}

// Referrers lists what the first repository that knows of any does: mirrors
// have images that they were asked for, and often nothing that is attached to
// them. See Source.Referrers.
func (m *MirrorSource) Referrers(ctx context.Context, subject digest.Digest) (list []oci.Descriptor, err error) {
	for i := m.first(); i < len(m.list) && len(list) == 0 && err == nil; i++ {
		i, err = m.ask(ctx, i, func(ctx context.Context, s *Source) (err error) {
			list, err = s.Referrers(ctx, subject)
			return err
		})
	}
	return list, err
}

// Blob opens a blob. What breaks off is resumed, at the next repository if need
// be, for as long as ctx lasts.
func (m *MirrorSource) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return m.BlobAt(ctx, d, 0)
}

// BlobAt opens a blob from offset bytes into it.
func (m *MirrorSource) BlobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	r := &relay{m: m, d: d, off: offset}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if err := r.open(m.first()); err != nil {
		r.cancel()
		return nil, err
	}
	return r, nil
}

// Close lets go of connections.
func (m *MirrorSource) Close() error {
	for _, s := range m.list {
		s.Close()
	}
	return nil
}

func (m *MirrorSource) first() int { return int(m.at.Load()) }

// pass makes the i-th repository the first that is asked, or one behind it.
func (m *MirrorSource) pass(i int) {
	for now := m.at.Load(); now < int64(i) && !m.at.CompareAndSwap(now, int64(i)); now = m.at.Load() {
	}
}

// ask does something with the i-th repository or, when that fails, with the
// next one, and so on. It returns with which.
func (m *MirrorSource) ask(ctx context.Context, i int, do func(context.Context, *Source) error) (int, error) {
	var failed []string
	for ; ; i++ {
		s, last := m.list[i], i == len(m.list)-1
		own := ctx
		if !last {
			own = hurry(ctx)
		}
		err := do(own, s)
		switch {
		case err == nil:
			return i, nil
		case ctx.Err() != nil:
			return i, err
		case last && len(failed) > 0:
			return i, fmt.Errorf("(Mirrors also failed: %s): %s: %w", strings.Join(failed, " "), s.ref, err)
		case last:
			return i, err
		}
		failed = append(failed, fmt.Sprintf("[%s: %s]", s.ref, oneLine(err)))
		m.leave(i, err)
	}
}

// leave tells that the i-th repository failed, and sees to it that one which
// cannot be reached is not asked again.
func (m *MirrorSource) leave(i int, err error) {
	s := m.list[i]
	s.o.Notify.Send(image.Event{Kind: image.EventWarning, Side: s.o.Side, Text: fmt.Sprintf("mirror %s: %s; asking %s", s.ref, oneLine(err), m.list[i+1].ref)})
	if errors.Is(err, image.ErrNetwork) {
		m.pass(i + 1)
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// sourcesOf returns the repositories that src reads from: of several the one
// that it keeps to, or all that it may come to.
func sourcesOf(src image.Source) []*Source {
	switch src := src.(type) {
	case *Source:
		return []*Source{src}
	case *MirrorSource:
		if i := src.first(); src.kept.Load() {
			return src.list[i : i+1]
		}
		return src.list[src.first():]
	}
	return nil
}

// A relay is a blob on its way in from several repositories, one after the
// other.
type relay struct {
	m      *MirrorSource
	d      oci.Descriptor
	ctx    context.Context
	cancel context.CancelFunc

	mu  sync.Mutex // held by Read, and by Close after it has ended that
	i   int        // of the repository that it comes from
	rc  io.ReadCloser
	off int64 // of the next byte
	err error // of all further reading
}

// open goes on at the i-th repository, or behind it.
func (r *relay) open(i int) (err error) {
	r.i, err = r.m.ask(r.ctx, i, func(ctx context.Context, s *Source) error {
		rc, err := s.BlobAt(ctx, r.d, r.off)
		if err == nil {
			r.rc = rc
		}
		return err
	})
	return err
}

// Read returns content; errors are those of the last repository.
func (r *relay) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil {
		n, err := r.rc.Read(p)
		r.off += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		wrong := errors.Is(err, image.ErrMismatch) && !errors.Is(err, errShort)
		if err == io.EOF || wrong || r.i == len(r.m.list)-1 || r.ctx.Err() != nil {
			r.err = err
			break
		}
		r.rc.Close()
		r.m.leave(r.i, err)
		r.err = r.open(r.i + 1)
	}
	return 0, r.err
}

// Close frees the connection.
func (r *relay) Close() error {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = errBodyClosed
	}
	return r.rc.Close()
}

var (
	_ image.Source   = (*MirrorSource)(nil)
	_ image.Ranger   = (*MirrorSource)(nil)
	_ image.Lister   = (*MirrorSource)(nil)
	_ image.Namer    = (*MirrorSource)(nil)
	_ image.Referrer = (*MirrorSource)(nil)
)
