package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Referrers lists the manifests of the repository whose subject is the one
// with that digest, each digest once (distribution-spec, listing referrers).
// Where the registry has no list of its own, it is the one under the tag that
// clients keep it in. Errors wrap oci.ErrInvalid for a digest or a list that is
// none, image.ErrTooLarge, ErrUnauthorized, ErrDenied or ErrNetwork.
func (s *session) Referrers(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	if err := oci.CheckDigest(subject); err != nil {
		return nil, err
	}
	r, err := s.referrers(ctx, subject)
	return r.list, err
}

// referrers are what belongs to one subject.
type referrers struct {
	list   []oci.Descriptor
	has    map[digest.Digest]bool // the digests in the list
	tagged bool                   // it is a list that clients keep under a tag
	etag   string                 // of that, if it is a strong one
}

// add takes in more of the list, each digest once.
func (r *referrers) add(more []oci.Descriptor) error {
	if r.has == nil {
		r.has = map[digest.Digest]bool{}
	}
	for _, d := range more {
		if err := oci.CheckDescriptor(d); err != nil {
			return fmt.Errorf("the registry's list of referrers: %w", err)
		}
		if !r.has[d.Digest] {
			r.has[d.Digest] = true
			r.list = append(r.list, d)
		}
	}
	if len(r.list) > oci.MaxEntries {
		return fmt.Errorf("%w: more than %d referrers", image.ErrTooLarge, oci.MaxEntries)
	}
	return nil
}

// referrers asks the registry or, once it is known that this has no referrers
// API, for the tag.
func (s *session) referrers(ctx context.Context, subject digest.Digest) (referrers, error) {
	if s.unlisted.Load() {
		return s.taggedReferrers(ctx, subject)
	}
	var r referrers
	begun := false // what the first page shows stands: a later one only breaks off
	err := s.pages(ctx, listing{
		path: s.path("referrers", subject.String()), kin: "/referrers/" + subject.String(),
		read: func(h http.Header, page []byte) (int, error) {
			list, err := parseReferrers(mediaType(h), page)
			if err == nil {
				begun = true
				err = r.add(list)
			}
			return len(page), err
		},
	})
	switch {
	case err == nil:
		return r, nil
	case !begun && lacksReferrers(err):
		var answer *Error
		if !errors.As(err, &answer) || answer.Code != "NAME_UNKNOWN" && answer.Code != "MANIFEST_UNKNOWN" {
			s.unlisted.Store(true)
		}
		return s.taggedReferrers(ctx, subject)
	}
	return referrers{}, fmt.Errorf("listing referrers of %s in %s: %w", subject, s.ref.Name(), err)
}

// errNoIndex is what the answer of a registry is that has something else, or
// a page for people, where the referrers API should be.
var errNoIndex = fmt.Errorf("%w: not an index", oci.ErrInvalid)

// lacksReferrers reports whether a registry answers as if it knew no referrers.
// It should not say so of a subject that it does not have, but some do.
func lacksReferrers(err error) bool {
	if errors.Is(err, errNoIndex) {
		return true
	}
	var answer *Error
	if !errors.As(err, &answer) || answer.token {
		return false
	}
	switch answer.Status {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return answer.Code == "UNSUPPORTED"
}

// taggedReferrers reads the list under the subject's tag (distribution-spec,
// referrers tag schema). It is empty if there is no such tag.
func (s *session) taggedReferrers(ctx context.Context, subject digest.Digest) (referrers, error) {
	r := referrers{tagged: true}
	raw, h, err := s.getManifest(ctx, oci.ReferrersTag(subject), "")
	if errors.Is(err, image.ErrNotFound) {
		return r, nil
	}
	var list []oci.Descriptor
	if err == nil {
		list, err = parseReferrers(raw.MediaType, raw.Bytes)
	}
	if err == nil {
		err = r.add(list)
	}
	if err != nil {
		return referrers{}, fmt.Errorf("listing referrers of %s: %w", subject, err)
	}
	r.etag = strong(h.Get("Etag"))
	return r, nil
}

// parseReferrers reads an index of referrers. That of a registry was made up
// for this answer, so it is not held to what Parse asks of documents.
func parseReferrers(mediaType string, b []byte) ([]oci.Descriptor, error) {
	var doc struct {
		MediaType string           `json:"mediaType"`
		Manifests []oci.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(b, &doc); err != nil || mediaType != oci.MediaTypeIndex && doc.MediaType != oci.MediaTypeIndex {
		return nil, errNoIndex
	}
	return doc.Manifests, nil
}

// strong returns an entity tag that stands for the same bytes each time, "" for
// one that does not (RFC 9110, section 8.8.1).
func strong(etag string) string {
	if strings.HasPrefix(etag, `"`) {
		return etag
	}
	return ""
}
