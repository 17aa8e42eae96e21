package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/oci"
)

// ErrNotFound says that the registry does not know the manifest.
var ErrNotFound = errors.New("not found")

// accept names every manifest type that the bench may meet.
const accept = oci.TypeManifest + ", " + oci.TypeIndex +
	", application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"

func (c *Client) path(kind, ref string) string { return "/v2/" + c.Repo + "/" + kind + "/" + ref }

// Manifest returns the bytes of a manifest and their media type.
func (c *Client) Manifest(ctx context.Context, ref string) ([]byte, string, error) {
	resp, err := c.do(ctx, request{method: http.MethodGet, target: c.path("manifests", ref), header: http.Header{"Accept": {accept}}})
	if err != nil {
		return nil, "", err
	}
	if err := expect(resp, http.StatusOK); err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return b, resp.Header.Get("Content-Type"), err
}

// ManifestDigest asks for a manifest's digest only; ErrNotFound if there is none.
func (c *Client) ManifestDigest(ctx context.Context, ref string) (string, error) {
	resp, err := c.do(ctx, request{method: http.MethodHead, target: c.path("manifests", ref), header: http.Header{"Accept": {accept}}})
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return "", ErrNotFound
	}
	return resp.Header.Get("Docker-Content-Digest"), expect(resp, http.StatusOK)
}

// PutManifest stores a manifest under a tag or its digest.
func (c *Client) PutManifest(ctx context.Context, ref, mediaType string, b []byte) error {
	resp, err := c.do(ctx, request{http.MethodPut, c.path("manifests", ref), sized(b), http.Header{"Content-Type": {mediaType}}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return expect(resp, http.StatusCreated)
}

func sized(b []byte) body {
	return func() (io.Reader, int64) { return bytes.NewReader(b), int64(len(b)) }
}

// HasBlob reports whether the repository has the blob.
func (c *Client) HasBlob(ctx context.Context, digest string) (bool, error) {
	resp, err := c.do(ctx, request{method: http.MethodHead, target: c.path("blobs", digest)})
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// Blob opens a blob; the caller closes it.
func (c *Client) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, request{method: http.MethodGet, target: c.path("blobs", digest)})
	if err != nil {
		return nil, err
	}
	return resp.Body, expect(resp, http.StatusOK)
}

// Range reads the bytes from lo up to hi of a blob.
func (c *Client) Range(ctx context.Context, digest string, lo, hi int64) ([]byte, error) {
	h := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", lo, hi-1)}}
	resp, err := c.do(ctx, request{method: http.MethodGet, target: c.path("blobs", digest), header: h})
	if err != nil {
		return nil, err
	}
	if err := expect(resp, http.StatusPartialContent); err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b := make([]byte, hi-lo)
	_, err = io.ReadFull(resp.Body, b)
	return b, err
}

// StartUpload opens an upload session and returns its location. With from set
// it asks to mount digest from that repository: one request then says either
// "it is there" (done) or gives the session.
func (c *Client) StartUpload(ctx context.Context, digest, from string) (location string, done bool, err error) {
	p := c.path("blobs", "uploads/")
	if from != "" {
		p += "?" + url.Values{"mount": {digest}, "from": {from}}.Encode()
	}
	none := func() (io.Reader, int64) { return http.NoBody, 0 }
	resp, err := c.do(ctx, request{http.MethodPost, p, none, nil})
	if err != nil {
		return "", false, err
	}
	if err := expect(resp, http.StatusCreated, http.StatusAccepted); err != nil {
		return "", false, err
	}
	drain(resp)
	return resp.Header.Get("Location"), resp.StatusCode == http.StatusCreated, nil
}

// PutUpload sends n bytes to a session and closes it as digest.
func (c *Client) PutUpload(ctx context.Context, location, digest string, r io.Reader, n int64) error {
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	location += sep + url.Values{"digest": {digest}}.Encode()
	resp, err := c.do(ctx, request{http.MethodPut, location, func() (io.Reader, int64) { return r, n }, octets()})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return expect(resp, http.StatusCreated)
}

// PatchUpload streams a body of unknown length to a session and returns the
// location that closes it.
func (c *Client) PatchUpload(ctx context.Context, location string, r io.Reader) (string, error) {
	resp, err := c.do(ctx, request{http.MethodPatch, location, func() (io.Reader, int64) { return r, -1 }, octets()})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Header.Get("Location"), expect(resp, http.StatusAccepted)
}

func octets() http.Header { return http.Header{"Content-Type": {"application/octet-stream"}} }

// PutBlob stores blob d, whose bytes open gives, unless the registry has it.
func (c *Client) PutBlob(ctx context.Context, d oci.Descriptor, open func() (io.ReadCloser, error)) error {
	location, done, err := c.StartUpload(ctx, d.Digest, c.Repo)
	if err != nil || done {
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	return c.PutUpload(ctx, location, d.Digest, r, d.Size)
}
