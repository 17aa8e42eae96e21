package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// sniffSize is how much of a member is looked at to tell what it is.
const sniffSize = blockSize

// looksLikeDocument reports whether content with this beginning may be JSON.
func looksLikeDocument(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	return len(head) > 0 && head[0] == '{'
}

// looksLikeLayer reports whether a member, which no document has named yet,
// may be a layer of a docker archive: by its name, or by its content.
func looksLikeLayer(name string, head []byte) bool {
	for _, end := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	if blob.Sniff(head) != blob.Plain {
		return true
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next() // which may want more than the head
	return len(head) >= blockSize && !errors.Is(err, tar.ErrHeader)
}

// An unpacked computes the digest of what a layer is when unpacked, while the
// layer as it is stored is written to it.
type unpacked struct {
	h    hash.Hash
	pipe *io.PipeWriter // of a compressed layer
	done chan error
}

func newUnpacked(compression string) *unpacked {
	u := &unpacked{h: digest.SHA256.Hash()}
	if compression == blob.Plain {
		return u
	}
	r, w := io.Pipe()
	u.pipe, u.done = w, make(chan error, 1)
	go func() {
		err := u.unpack(r)
		r.CloseWithError(errUnpacked)
		u.done <- err
	}()
	return u
}

// errUnpacked says that no more is needed to unpack a layer.
var errUnpacked = errors.New("layer has been unpacked")

func (u *unpacked) unpack(r io.Reader) error {
	rc, _, err := blob.Decompress(r)
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = blob.Copy(u.h, rc)
	return err
}

// Write never fails: what is wrong, sum tells.
func (u *unpacked) Write(p []byte) (int, error) {
	if u.pipe == nil {
		return u.h.Write(p)
	}
	u.pipe.Write(p)
	return len(p), nil
}

// sum returns the digest, when all has been written.
func (u *unpacked) sum() (digest.Digest, error) {
	if u.pipe != nil {
		u.pipe.Close()
		if err := <-u.done; err != nil {
			return "", err
		}
	}
	return digest.NewDigest(digest.SHA256, u.h), nil
}

// drop ends what was begun.
func (u *unpacked) drop() {
	if u.pipe != nil {
		u.pipe.CloseWithError(errUnpacked)
	}
}

// wrongLayer is the error about a layer that unpacked is not what its image's
// configuration says.
func wrongLayer(name string, got, want digest.Digest) error {
	return fmt.Errorf("layer %.200q: %w: unpacked it is %s, and the configuration has %s", name, image.ErrMismatch, got, want)
}

// A storedLayer is a layer of a docker archive.
type storedLayer struct {
	desc   oci.Descriptor // as it is stored, or as it lies at the destination now
	diffID digest.Digest  // "" if it is not known
	err    error          // why it cannot be used
}
