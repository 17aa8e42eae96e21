package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// blobAt opens a blob from offset bytes into it. What breaks off is resumed.
func (s *session) blobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := oci.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	if offset < 0 || d.Size >= 0 && offset > d.Size {
		return nil, fmt.Errorf("%s: no byte %d in it", d.Digest, offset)
	}
	dl := &download{s: s, d: d, off: offset, end: max(d.Size, -1)}
	dl.sources = []*request{{method: http.MethodGet, path: s.path("blobs", d.Digest.String())}}
	if s.o.ForeignURLs && len(d.URLs) > 0 {
		var err error
		if dl.sources, err = foreign(d.URLs); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Digest, err)
		}
	}
	dl.ctx, dl.cancel = context.WithCancel(ctx)
	if offset == d.Size {
		return dl, nil // Read knows that it is at the end
	}
	open := func() (io.ReadCloser, error) { return dl, s.retry.do(ctx, dl.connect) }
	if size := s.pieceSize(d.Size - offset); size > 0 {
		open = func() (io.ReadCloser, error) { return s.inPieces(dl, size) }
	}
	rc, err := open()
	if err != nil {
		err = dl.wrap(err)
		dl.cancel()
		return nil, err
	}
	return rc, nil
}

// maxURLs is how many of a foreign layer's URLs are tried.
const maxURLs = 8

// foreign returns requests for the URLs of a foreign layer. They come from a
// document, so they are shown nothing (CVE-2020-15157).
func foreign(urls []string) ([]*request, error) {
	var list []*request
	for _, text := range urls[:min(len(urls), maxURLs)] {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			continue
		}
		u.User, u.Fragment, u.RawFragment = nil, "", ""
		list = append(list, &request{method: http.MethodGet, url: u, stranger: true})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: none of its URLs is http or https", image.ErrUnsupported)
	}
	return list, nil
}

// hasBlob reports whether the repository has a blob, of the right size.
func (s *session) hasBlob(ctx context.Context, d oci.Descriptor) (bool, error) {
	if err := oci.CheckDigest(d.Digest); err != nil {
		return false, err
	}
	there := false
	err := s.retry.do(ctx, func() error {
		resp, err := s.once(ctx, &request{method: http.MethodHead, path: s.path("blobs", d.Digest.String())})
		if err != nil {
			return err
		}
		switch {
		case resp.StatusCode == http.StatusOK:
			there = resp.ContentLength < 0 || d.Size < 0 || resp.ContentLength == d.Size
		case resp.left && resp.StatusCode/100 == 4: // a URL signed for GET says nothing
		case resp.StatusCode != http.StatusNotFound:
			return s.fail(resp)
		}
		resp.discard()
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("checking whether a blob %s exists in %s: %w", d.Digest, s.ref.Name(), err)
	}
	return there, nil
}
