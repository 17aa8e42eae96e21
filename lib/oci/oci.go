// Package oci holds the nouns of container images: descriptors, manifests as
// they came byte for byte, indexes, platforms and image configurations.
//
// It does no input or output; of ours it imports only lib/reference, for the gate
// that digests pass. Whatever it parses
// comes from strangers: a document is refused unless its meaning is the same
// to every reader.
package oci

import (
	"errors"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of manifests. See the image-spec's media-types.md and the
// Docker image manifest specifications, version 2 schemas 1 and 2.
const (
	MediaTypeManifest         = v1.MediaTypeImageManifest
	MediaTypeIndex            = v1.MediaTypeImageIndex
	MediaTypeArtifact         = "application/vnd.oci.artifact.manifest.v1+json"
	MediaTypeDockerManifest   = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList       = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeSchema1          = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeSchema1Signed    = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	MediaTypeConfig           = v1.MediaTypeImageConfig
	MediaTypeDockerConfig     = "application/vnd.docker.container.image.v1+json"
	MediaTypeLayer            = v1.MediaTypeImageLayer
	MediaTypeLayerGzip        = v1.MediaTypeImageLayerGzip
	MediaTypeLayerZstd        = v1.MediaTypeImageLayerZstd
	MediaTypeDockerLayer      = "application/vnd.docker.image.rootfs.diff.tar"
	MediaTypeDockerLayerGzip  = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	MediaTypeDockerLayerZstd  = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	MediaTypeDockerForeign    = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	MediaTypeDockerForeignGz  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	MediaTypeOctetStream      = "application/octet-stream"
	AnnotationRefName         = v1.AnnotationRefName
	annotationAttestationKind = "vnd.docker.reference.type"
	annotationAttestationOf   = "vnd.docker.reference.digest"
)

// Limits on what is read into memory or followed, whoever sent it.
const (
	MaxManifest = 4 << 20 // bytes of one manifest, index or configuration
	MaxEntries  = 20000   // layers of a manifest, entries of an index
	MaxDepth    = 8       // indexes within indexes
)

// ErrInvalid is wrapped by every error about a document that is not what the
// specifications allow, or that two readers could understand differently.
var ErrInvalid = errors.New("invalid document")

// A Descriptor says what some content is. See the image-spec's descriptor.md.
// While content is on its way, Digest may be "" and Size -1: not known yet.
type Descriptor = v1.Descriptor

// A Platform is what an image runs on. See the image-spec's image-index.md.
type Platform = v1.Platform

// Raw is a manifest or index as it came, byte for byte. MediaType is what the
// place it came from called it, "" if it did not say.
type Raw struct {
	MediaType string
	Bytes     []byte
}

// Digest returns the digest that registries know r by: that of the bytes or,
// for a signed schema 1 manifest, of the payload without the signatures.
func (r Raw) Digest() digest.Digest { return r.DigestBy(digest.SHA256) }

// DigestBy is Digest with another algorithm than sha256, which must be
// available.
func (r Raw) DigestBy(alg digest.Algorithm) digest.Digest {
	return alg.FromBytes(payload(r.Bytes))
}

// Descriptor returns the sha256 descriptor of r.
func (r Raw) Descriptor() Descriptor {
	return Descriptor{MediaType: r.MediaType, Digest: r.Digest(), Size: int64(len(r.Bytes))}
}

// IsIndexType reports whether a media type is that of an OCI index or a
// Docker manifest list.
func IsIndexType(mediaType string) bool {
	return mediaType == MediaTypeIndex || mediaType == MediaTypeDockerList
}

// IsManifestType reports whether a media type is one that Parse knows: an
// image manifest, an artifact manifest, an index or a list.
func IsManifestType(mediaType string) bool {
	switch mediaType {
	case MediaTypeManifest, MediaTypeArtifact, MediaTypeDockerManifest, MediaTypeSchema1, MediaTypeSchema1Signed:
		return true
	}
	return IsIndexType(mediaType)
}

// IsConfigType reports whether a media type is that of an image configuration.
func IsConfigType(mediaType string) bool {
	return mediaType == MediaTypeConfig || mediaType == MediaTypeDockerConfig
}

// IsForeign reports whether d is a layer that is not to be distributed by
// registries: its content is to be had from its URLs.
func IsForeign(d Descriptor) bool {
	return len(d.URLs) > 0
}
