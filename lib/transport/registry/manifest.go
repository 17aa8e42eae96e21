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
	"github.com/imgtools/imgtools/lib/reference"
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
	raw, _, err := s.getManifest(ctx, name, want)
	return raw, err
}

// getManifest is manifest with the answer's header.
func (s *session) getManifest(ctx context.Context, name string, want digest.Digest) (raw oci.Raw, header http.Header, err error) {
	req := &request{method: http.MethodGet, path: s.path("manifests", name), header: http.Header{"Accept": {accept}}}
	err = s.ask(ctx, req, func(resp *response) error {
		if resp.ContentLength > oci.MaxManifest {
			return fmt.Errorf("%w: %d bytes, more than %d", image.ErrTooLarge, resp.ContentLength, oci.MaxManifest)
		}
		b, err := blob.ReadLimited(resp.Body, oci.MaxManifest)
		if err != nil {
			return err
		}
		header = resp.Header
		raw = oci.Raw{MediaType: mediaType(header), Bytes: b}
		if want != "" && raw.DigestBy(want.Algorithm()) != want {
			return fmt.Errorf("%w: it is %s", image.ErrMismatch, raw.DigestBy(want.Algorithm()))
		}
		return checkDeclared(resp.Header, raw)
	})
	if err != nil {
		return oci.Raw{}, nil, fmt.Errorf("reading manifest %s in %s: %w", name, s.ref.Name(), err)
	}
	return raw, header, nil
}

// mediaType returns the type of an answer's content, without parameters.
func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
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

// Find returns what a name in the repository, a tag or a digest, stands for:
// the digest, media type and size of its manifest. Errors wrap
// image.ErrNotFound if it stands for nothing, ErrUnauthorized, ErrDenied or
// ErrNetwork, and reference.ErrFormat for what is no name.
func (s *session) Find(ctx context.Context, name string) (oci.Descriptor, error) {
	if !reference.ValidTag(name) && oci.CheckDigest(digest.Digest(name)) != nil {
		return oci.Descriptor{}, fmt.Errorf("%.300q is neither a tag nor a digest: %w", name, reference.ErrFormat)
	}
	return s.find(ctx, name)
}

// find asks by HEAD if the registry is good at that, and reads the manifest if
// it is not.
func (s *session) find(ctx context.Context, name string) (oci.Descriptor, error) {
	req := &request{method: http.MethodHead, path: s.path("manifests", name), header: http.Header{"Accept": {accept}}}
	var d oci.Descriptor
	err := s.ask(ctx, req, func(resp *response) error {
		d = oci.Descriptor{MediaType: mediaType(resp.Header), Digest: declared(resp.Header), Size: resp.ContentLength}
		return nil
	})
	var answer *Error
	if err != nil && !(errors.As(err, &answer) && noHead(answer.Status)) {
		return oci.Descriptor{}, fmt.Errorf("reading manifest %s in %s: %w", name, s.ref.Name(), err)
	}
	want := digest.Digest(name)
	if oci.CheckDigest(want) != nil {
		want = ""
	}
	if err == nil && d.Digest != "" && d.Size > 0 && (want == "" || want == d.Digest) {
		return d, nil
	}
	raw, err := s.manifest(ctx, name, want)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d = raw.Descriptor()
	if want != "" {
		d.Digest = want
	}
	return d, nil
}

// noHead reports whether a status may mean that HEAD is not known.
func noHead(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
}

// putManifest writes a manifest under a name, a tag or its digest. match, if
// not "", is the tag (RFC 9110, entity tag) of what the name has to stand for
// until then. The digest that comes back is of the subject under which the
// registry will list the manifest, "" if it does not.
func (s *session) putManifest(ctx context.Context, name string, raw oci.Raw, match string) (subject digest.Digest, err error) {
	req := &request{
		method: http.MethodPut,
		path:   s.path("manifests", name),
		header: http.Header{"Content-Type": {raw.MediaType}},
		memory: raw.Bytes,
	}
	if match != "" {
		req.header.Set("If-Match", match)
	}
	err = s.ask(ctx, req, func(resp *response) error {
		subject = digest.Digest(resp.Header.Get("Oci-Subject"))
		return checkDeclared(resp.Header, raw)
	})
	if err != nil {
		return "", fmt.Errorf("uploading manifest %s to %s: %w", name, s.ref.Name(), err)
	}
	return subject, nil
}
