package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// accept is what a manifest may be. Registries that convert manifests keep to
// the order.
const accept = oci.MediaTypeManifest + ", " + oci.MediaTypeIndex + ", " +
	oci.MediaTypeDockerManifest + ", " + oci.MediaTypeDockerList + ", " +
	oci.MediaTypeArtifact + ", " +
	oci.MediaTypeSchema1Signed + ", " + oci.MediaTypeSchema1 + ", */*"

// manifest reads the manifest called name, a tag or a digest. What has a
// digest is checked against it; what the registry says the digest is can make
// it wrong, but not right.
func (s *session) manifest(ctx context.Context, name string, want digest.Digest) (oci.Raw, error) {
	req := &request{method: http.MethodGet, path: s.path("manifests", name), header: http.Header{"Accept": {accept}}}
	var raw oci.Raw
	err := s.ask(ctx, req, func(resp *response) error {
		if resp.ContentLength > oci.MaxManifest {
			return fmt.Errorf("%w: %d bytes, more than %d", image.ErrTooLarge, resp.ContentLength, oci.MaxManifest)
		}
		b, err := blob.ReadLimited(resp.Body, oci.MaxManifest)
		if err != nil {
			return err
		}
		mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
		raw = oci.Raw{MediaType: strings.ToLower(strings.TrimSpace(mediaType)), Bytes: b}
		if want != "" && raw.DigestBy(want.Algorithm()) != want {
			return fmt.Errorf("%w: it is %s", image.ErrMismatch, raw.DigestBy(want.Algorithm()))
		}
		return checkDeclared(resp.Header, raw)
	})
	if err != nil {
		return oci.Raw{}, fmt.Errorf("reading manifest %s in %s: %w", name, s.ref.Name(), err)
	}
	return raw, nil
}

// declared returns the digest that an answer's header gives, "" if it is none.
func declared(h http.Header) digest.Digest {
	d := digest.Digest(h.Get("Docker-Content-Digest"))
	if oci.CheckDigest(d) != nil {
		return ""
	}
	return d
}

func checkDeclared(h http.Header, raw oci.Raw) error {
	if d := declared(h); d != "" && raw.DigestBy(d.Algorithm()) != d {
		return fmt.Errorf("%w: the registry says that it is %s, but it is %s", image.ErrMismatch, d, raw.DigestBy(d.Algorithm()))
	}
	return nil
}

// resolve returns the digest of the manifest called name, by HEAD if the
// registry is good at that.
func (s *session) resolve(ctx context.Context, name string) (digest.Digest, error) {
	req := &request{method: http.MethodHead, path: s.path("manifests", name), header: http.Header{"Accept": {accept}}}
	var d digest.Digest
	err := s.ask(ctx, req, func(resp *response) error {
		d = declared(resp.Header)
		return nil
	})
	var answer *Error
	if err != nil && !(errors.As(err, &answer) && noHead(answer.Status)) {
		return "", fmt.Errorf("reading manifest %s in %s: %w", name, s.ref.Name(), err)
	}
	if err == nil && d != "" {
		return d, nil
	}
	raw, err := s.manifest(ctx, name, "")
	if err != nil {
		return "", err
	}
	return raw.Digest(), nil
}

// noHead reports whether a status may mean that HEAD is not known.
func noHead(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
}

// putManifest writes a manifest under a name, a tag or its digest.
func (s *session) putManifest(ctx context.Context, name string, raw oci.Raw) error {
	req := &request{
		method: http.MethodPut,
		path:   s.path("manifests", name),
		header: http.Header{"Content-Type": {raw.MediaType}},
		memory: raw.Bytes,
	}
	err := s.ask(ctx, req, func(resp *response) error { return checkDeclared(resp.Header, raw) })
	if err != nil {
		return fmt.Errorf("uploading manifest %s to %s: %w", name, s.ref.Name(), err)
	}
	return nil
}
