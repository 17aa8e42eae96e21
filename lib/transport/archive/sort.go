package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// An entry is a member of a stream that has been come to.
type entry struct {
	name   string
	desc   oci.Descriptor
	body   io.Reader
	held   []byte       // all of it, if it is in memory
	layer  *storedLayer // what is learned of it, if it is a docker archive's
	packed string       // its compression
	digest *unpacked    // while it is read
}

// peek returns the beginning of the content.
func (e *entry) peek() ([]byte, error) {
	head, err := e.read(min(sniffSize, e.desc.Size))
	if err != nil {
		return nil, err
	}
	e.body = io.MultiReader(bytes.NewReader(head), e.body)
	return head, nil
}

// hold reads the content into memory.
func (e *entry) hold() error {
	b, err := e.read(e.desc.Size)
	if err != nil {
		return err
	}
	e.held, e.body = b, bytes.NewReader(b)
	return nil
}

// read reads n bytes, or fails.
func (e *entry) read(n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(e.body, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// identify finds out what a layer is that is in memory.
func (e *entry) identify() error {
	u := newUnpacked(e.packed)
	u.Write(e.held)
	diffID, err := u.sum()
	if err != nil {
		return fmt.Errorf("layer %.200q: %w: %w", e.name, image.ErrMismatch, err)
	}
	e.desc.Digest = digest.FromBytes(e.held)
	e.layer.desc, e.layer.diffID = e.desc, diffID
	return nil
}

// sort decides what to do with a member.
func (r *Reader) sort(e *entry) error {
	d, isBlob := blobDigest(e.name)
	switch {
	case e.name == indexName:
		return r.takeHead(e, oci.MaxManifest)
	case e.name == dockerName && r.sel.View != OCI:
		return r.takeHead(e, maxDocker)
	case isBlob:
		e.desc.Digest = d
		return r.sortBlob(e)
	case r.sel.View == OCI, r.sel.View == Any && r.cat.index != nil:
		return nil // of a docker archive, which is not looked at
	}
	return r.sortDocker(e)
}

// takeHead takes index.json or manifest.json, which come once: what has been
// done by the first cannot be taken back.
func (r *Reader) takeHead(e *entry, limit int64) error {
	if e.desc.Size > limit {
		return fmt.Errorf("%s: %w: %d bytes, more than %d", e.name, image.ErrTooLarge, e.desc.Size, limit)
	}
	if err := e.hold(); err != nil {
		return err
	}
	if old, ok := r.shelf.docs[e.name]; ok {
		if bytes.Equal(old, e.held) {
			return nil
		}
		return fmt.Errorf("%w: the stream has %s twice", oci.ErrInvalid, e.name)
	}
	if err := r.shelf.add(e); err != nil {
		return err
	}
	if e.name == dockerName {
		return r.takeDocker()
	}
	ix, err := r.cat.readIndex()
	if err == nil {
		r.shelf.expect(ix)
	}
	return err
}

func (r *Reader) takeDocker() error {
	images, err := r.cat.readDocker()
	r.configs, r.layers = map[string]bool{}, map[string]bool{}
	for _, d := range images {
		r.configs[memberName(d.Config)] = true
		for _, l := range d.Layers {
			r.layers[memberName(l)] = true
		}
	}
	return err
}

// sortBlob takes a member of blobs/.
func (r *Reader) sortBlob(e *entry) error {
	d := e.desc.Digest
	keep := r.shelf.manifests[d] || r.isConfig(e.name)
	mediaType, promised := r.shelf.promised[d]
	e.desc.MediaType = mediaType
	if !promised {
		e.desc.MediaType = oci.MediaTypeOctetStream
	}
	if e.desc.Size > oci.MaxManifest || !keep && (promised || r.cat.chosen != nil && r.shelf.awaited == 0) {
		return r.handOut(e)
	}
	if !keep {
		head, err := e.peek()
		if err != nil {
			return err
		}
		if !looksLikeDocument(head) || !r.shelf.fits(e) {
			return r.handOut(e)
		}
	}
	if err := e.hold(); err != nil {
		return err
	}
	if err := r.shelf.add(e); err != nil {
		return err
	}
	if r.shelf.manifests[d] {
		r.shelf.learn(d)
	}
	return r.members.add(e.name, "", storedPlain(e))
}

// storedPlain is a layer whose name is its digest. Nothing is known to begin
// like JSON when compressed.
func storedPlain(e *entry) *storedLayer {
	d := oci.Descriptor{MediaType: oci.MediaTypeDockerLayer, Digest: e.desc.Digest, Size: e.desc.Size}
	return &storedLayer{desc: d, diffID: d.Digest}
}

// isConfig reports whether manifest.json, if it has come, names a
// configuration so, and it is not known yet whether that is needed.
func (r *Reader) isConfig(name string) bool {
	return r.configs[name] && r.cat.chosen == nil
}

// handOut leaves a member of blobs/ to Next. If manifest.json may be all there
// is to go by, it is remembered as a layer.
func (r *Reader) handOut(e *entry) error {
	r.pending = e
	if r.sel.View == OCI || r.cat.chosen != nil || r.sel.View == Any && r.cat.index != nil {
		return nil
	}
	head, err := e.peek()
	if err != nil {
		return err
	}
	compression := blob.Sniff(head)
	mediaType, err := layerType(e.name, compression)
	if err != nil {
		return nil // no layer
	}
	l := storedPlain(e)
	if compression != blob.Plain {
		l.desc.MediaType, l.diffID = mediaType, ""
	}
	return r.members.add(e.name, "", l)
}

// sortDocker takes a member that may be the configuration or a layer of a
// docker archive.
func (r *Reader) sortDocker(e *entry) error {
	known := r.cat.docker != nil
	if path.Base(e.name) == "json" || e.name == layoutName || e.name == "repositories" {
		return nil // of images before manifest.json
	}
	head, err := e.peek()
	if err != nil {
		return err
	}
	switch {
	case r.layers[e.name], !known && looksLikeLayer(e.name, head):
		return r.takeLayer(e, blob.Sniff(head))
	case known && !r.configs[e.name], !looksLikeDocument(head), e.desc.Size > oci.MaxManifest:
		return r.members.add(e.name, "", &storedLayer{})
	}
	if err := e.hold(); err != nil {
		return err
	}
	if err := r.shelf.add(e); err != nil {
		return err
	}
	return r.members.add(e.name, "", &storedLayer{})
}

// takeLayer leaves a layer of a docker archive to Next. Its digest will be
// known when it has been read.
func (r *Reader) takeLayer(e *entry, compression string) error {
	mediaType, err := layerType(e.name, compression)
	if err != nil {
		return r.members.add(e.name, "", &storedLayer{err: err}) // it may be no layer
	}
	e.desc.MediaType = mediaType
	e.layer, e.packed = &storedLayer{}, compression
	r.pending = e
	return r.members.add(e.name, "", e.layer)
}

// blob gives an entry out.
func (r *Reader) blob(e *entry) *blob.Blob {
	r.given = e
	b := &blob.Blob{Desc: e.desc, Reader: &content{e, r}}
	if e.layer != nil && e.desc.Digest == "" {
		b.Placed = func(d oci.Descriptor) { e.layer.desc = d }
	}
	return b
}

// content reads an entry to its end.
type content struct {
	*entry
	r *Reader
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if c.layer != nil && c.layer.diffID == "" {
		if c.digest == nil {
			c.digest = newUnpacked(c.packed)
		}
		c.digest.Write(p[:n])
	}
	switch {
	case err == io.EOF && c.digest != nil:
		if c.layer.diffID, err = c.digest.sum(); err != nil {
			return n, fmt.Errorf("layer %.200q: %w: %w", c.name, image.ErrMismatch, err)
		}
		c.digest = nil
		return n, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = c.r.walk.damaged(err)
	}
	return n, err
}

// A shelf is where documents of a stream wait.
type shelf struct {
	docs      map[string][]byte // by name
	bytes     int64
	manifests map[digest.Digest]bool   // what is a manifest, whether or not it has come
	awaited   int                      // of these have not come
	promised  map[digest.Digest]string // media types of blobs that manifests name
	others    map[digest.Digest]string // names of documents that are not in blobs/
}

func (s *shelf) fits(e *entry) bool { return s.bytes+e.desc.Size <= maxWaiting }

// add puts an entry that is held onto the shelf.
func (s *shelf) add(e *entry) error {
	if !s.fits(e) {
		return fmt.Errorf("%w: documents of the stream, which must wait in memory, have more than %d bytes", image.ErrTooLarge, maxWaiting)
	}
	if s.docs == nil {
		s.docs = map[string][]byte{}
		s.manifests, s.promised = map[digest.Digest]bool{}, map[digest.Digest]string{}
		s.others = map[digest.Digest]string{}
	}
	if e.desc.Digest == "" {
		s.others[digest.FromBytes(e.held)] = e.name
	}
	if _, again := s.docs[e.name]; !again && s.manifests[e.desc.Digest] {
		s.awaited--
	}
	s.bytes += e.desc.Size
	s.docs[e.name] = e.held
	return nil
}

// drop ends what was begun with a layer that is not read to its end.
func (e *entry) drop() {
	if e != nil && e.digest != nil {
		e.digest.drop()
		e.digest = nil
	}
}

// find returns the document with a digest, whatever its name.
func (s *shelf) find(d digest.Digest) ([]byte, bool) {
	if b, ok := s.docs[blobName(d)]; ok {
		return b, true
	}
	b, ok := s.docs[s.others[d]]
	return b, ok
}

// learn notes what a manifest on the shelf leads to. One that is damaged, or
// is none, leads nowhere.
func (s *shelf) learn(d digest.Digest) {
	b, ok := s.docs[blobName(d)]
	if !ok {
		return
	}
	if m, err := oci.Parse(oci.Raw{Bytes: b}); err == nil {
		s.expect(m)
	}
}

// expect notes what m leads to.
func (s *shelf) expect(m *oci.Manifest) {
	for _, d := range m.Manifests {
		if !s.manifests[d.Digest] && len(s.manifests) < maxPromises {
			s.manifests[d.Digest] = true
			if _, here := s.docs[blobName(d.Digest)]; !here {
				s.awaited++
			}
			s.learn(d.Digest)
		}
	}
	for _, d := range m.Blobs() {
		if len(s.promised) < maxPromises {
			s.promised[d.Digest] = d.MediaType
		}
	}
}
