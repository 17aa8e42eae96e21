package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A file is an image in a tar that is read in place. It is an image.Source, an
// image.Ranger, Lister, Namer, Referrer and Maker.
type file struct {
	f       *os.File
	members names[span]
	sel     Selection

	mu   sync.Mutex
	cat  catalogue
	made *madeImage // of the choice, if it has no manifest of its own
}

// A span is where the content of a member lies.
type span struct{ offset, size int64 }

// A madeImage is a manifest that was made up, and where what it names lies.
type madeImage struct {
	raw   oci.Raw
	spans map[digest.Digest]span
}

// newFile reads the headers of the tar in f, which it owns from then on if
// there is no error.
func newFile(f *os.File, sel Selection) (*file, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &file{f: f, sel: sel}
	s.cat.library = s
	w := walk(io.NewSectionReader(f, 0, info.Size()))
	for {
		h, err := w.next()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		if err := s.note(h, w.tape.pos); err != nil {
			return nil, err
		}
	}
}

func (s *file) note(h *tar.Header, offset int64) error {
	name := memberName(h.Name)
	if name == "" {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return s.members.add(name, "", span{offset, h.Size})
	case tar.TypeLink, tar.TypeSymlink:
		if to := linkTarget(name, h); to != "" {
			return s.members.add(name, to, span{})
		}
	}
	return nil
}

// Close implements image.Source.
func (s *file) Close() error { return s.f.Close() }

// document implements library.
func (s *file) document(name string, limit int64) ([]byte, error) {
	at, ok, err := s.members.find(name)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%.200q: %w in the archive", name, image.ErrNotFound)
	case at.size > limit:
		return nil, fmt.Errorf("%.200q: %w: %d bytes, more than %d", name, image.ErrTooLarge, at.size, limit)
	}
	b := make([]byte, at.size)
	if _, err := io.ReadFull(s.section(at), b); err != nil {
		return nil, fmt.Errorf("%.200q: %w", name, err)
	}
	return b, nil
}

func (s *file) section(at span) *io.SectionReader {
	return io.NewSectionReader(s.f, at.offset, at.size)
}

// Made implements image.Maker.
func (s *file) Made() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made != nil
}

// Manifest implements image.Source.
func (s *file) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == "" {
		ch, err := s.cat.choose(s.sel)
		switch {
		case err != nil:
			return oci.Raw{}, err
		case ch.docker == nil:
			return s.cat.manifest(ch.root)
		}
		return s.make(ctx, ch.docker)
	}
	if err := oci.CheckDigest(d); err != nil {
		return oci.Raw{}, err
	}
	if _, ok, err := s.members.find(blobName(d)); ok || err != nil {
		return s.cat.manifest(oci.Descriptor{Digest: d, Size: -1})
	}
	if ch, err := s.cat.choose(s.sel); err == nil && ch.docker != nil {
		raw, err := s.make(ctx, ch.docker)
		if err != nil || raw.DigestBy(d.Algorithm()) == d {
			return raw, err
		}
	}
	return oci.Raw{}, fmt.Errorf("manifest %s: %w in the archive", d, image.ErrNotFound)
}

// Blob implements image.Source.
func (s *file) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return s.BlobAt(ctx, d, 0)
}

// BlobAt implements image.Ranger.
func (s *file) BlobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	at, err := s.locate(d.Digest)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > at.size {
		return nil, fmt.Errorf("blob %s: %w: it has %d bytes, and none at %d", d.Digest, image.ErrMismatch, at.size, offset)
	}
	return io.NopCloser(reader{ctx, s.section(span{at.offset + offset, at.size - offset})}), nil
}

// locate returns where the content with that digest lies.
func (s *file) locate(d digest.Digest) (span, error) {
	if err := oci.CheckDigest(d); err != nil {
		return span{}, err
	}
	at, ok, err := s.members.find(blobName(d))
	if ok || err != nil {
		return at, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made != nil {
		if at, ok := s.made.spans[d]; ok {
			return at, nil
		}
	}
	return span{}, fmt.Errorf("blob %s: %w in the archive", d, image.ErrNotFound)
}

// make makes the manifest of the chosen image, which has none.
func (s *file) make(ctx context.Context, e *dockerImage) (oci.Raw, error) {
	if s.made != nil {
		return s.made.raw, nil
	}
	made, err := s.makeUp(ctx, e)
	if err == nil {
		err = s.sel.checkMade(made.raw)
	}
	if err != nil {
		return oci.Raw{}, err
	}
	s.made = made
	return made.raw, nil
}

// makeUp makes a manifest. Of a layer that is not compressed the digest is in
// the configuration, and whoever reads the layer verifies it; compressed ones
// are read to get theirs.
func (s *file) makeUp(ctx context.Context, e *dockerImage) (*madeImage, error) {
	config, err := s.document(memberName(e.Config), oci.MaxManifest)
	if err != nil {
		return nil, lost(err)
	}
	ids, err := e.diffIDs(config)
	if err != nil {
		return nil, err
	}
	layers := make([]*fileLayer, len(ids))
	first := map[span]*fileLayer{} // the same member is read once
	for i, name := range e.Layers {
		l, err := s.layer(name, ids[i])
		if err != nil {
			return nil, lost(err)
		}
		if same, ok := first[l.at]; ok {
			l = same
		}
		first[l.at] = l
		if l.want != ids[i] {
			return nil, wrongLayer(name, l.want, ids[i])
		}
		layers[i] = l
	}
	if err := hashAll(ctx, layers); err != nil {
		return nil, err
	}
	at, _, err := s.members.find(memberName(e.Config))
	if err != nil {
		return nil, err
	}
	made := &madeImage{spans: map[digest.Digest]span{digest.FromBytes(config): at}}
	descs := make([]oci.Descriptor, len(layers))
	for i, l := range layers {
		descs[i] = l.desc
		made.spans[l.desc.Digest] = l.at
	}
	made.raw = makeManifest(config, descs)
	return made, nil
}

// A fileLayer is a layer of a docker archive in a file.
type fileLayer struct {
	name   string
	at     span
	packed string
	want   digest.Digest // when unpacked
	desc   oci.Descriptor
	file   *file
}

func (s *file) layer(name string, want digest.Digest) (*fileLayer, error) {
	member, err := s.members.follow(memberName(name))
	if err != nil {
		return nil, err
	}
	at, ok := s.members.files[member]
	if !ok {
		return nil, fmt.Errorf("layer %.200q: %w in the archive", name, image.ErrNotFound)
	}
	head := make([]byte, min(sniffSize, at.size))
	if _, err := io.ReadFull(s.section(at), head); err != nil {
		return nil, fmt.Errorf("layer %.200q: %w", name, err)
	}
	l := &fileLayer{name: name, at: at, packed: blob.Sniff(head), want: want, file: s}
	l.desc.Size = at.size
	if l.desc.MediaType, err = layerType(name, l.packed); err != nil {
		return nil, err
	}
	if l.packed == blob.Plain {
		l.desc.Digest = want
	}
	if d, ok := blobDigest(member); ok {
		if l.packed == blob.Plain && d != want {
			return nil, wrongLayer(name, d, want)
		}
		l.desc.Digest = d
	}
	return l, nil
}

// hashAll computes the digests that are not known, several at a time.
func hashAll(ctx context.Context, layers []*fileLayer) error {
	todo := map[*fileLayer]bool{}
	for _, l := range layers {
		if l.desc.Digest == "" {
			todo[l] = true
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	room := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for l := range todo {
		room <- struct{}{}
		wait.Go(func() {
			if err := l.hash(ctx); err != nil {
				cancel(err)
			}
			<-room
		})
	}
	wait.Wait()
	return live(ctx)
}

// hash reads a compressed layer, to get its digest and to check what it is
// when unpacked.
func (l *fileLayer) hash(ctx context.Context) error {
	stored := digest.SHA256.Hash()
	u := newUnpacked(l.packed)
	_, err := blob.Copy(io.MultiWriter(stored, u), reader{ctx, l.file.section(l.at)})
	if err != nil {
		u.drop()
		return fmt.Errorf("layer %.200q: %w", l.name, err)
	}
	got, err := u.sum()
	if err != nil {
		return fmt.Errorf("layer %.200q: %w: %w", l.name, image.ErrMismatch, err)
	}
	if got != l.want {
		return wrongLayer(l.name, got, l.want)
	}
	l.desc.Digest = digest.NewDigest(digest.SHA256, stored)
	return nil
}
