package transport

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/archive"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// registryName is docker://REFERENCE.
type registryName struct{ ref reference.Docker }

func parseRegistry(detail string) (Name, error) {
	ref, err := reference.ParseDockerTransport(detail)
	return registryName{ref}, err
}

func (n registryName) String() string           { return "docker:" + n.ref.Detail() }
func (n registryName) Docker() reference.Docker { return n.ref }

func (n registryName) Pinned(d digest.Digest) string {
	pinned := n.ref
	pinned.Tag, pinned.Digest, pinned.Unknown = "", d, false
	return "docker:" + pinned.Detail()
}

func (n registryName) Source(_ context.Context, a *Access) (image.Source, error) {
	if n.ref.Unknown {
		return nil, fmt.Errorf("%w: reading images from docker: reference %q without a tag or digest is not supported", image.ErrUnsupported, n.ref.String())
	}
	r, err := registry.New(n.ref, a.Registry)
	if err != nil {
		return nil, err
	}
	return r.Source(), nil
}

func (n registryName) Destination(_ context.Context, a *Access) (image.Destination, error) {
	r, err := registry.New(n.ref, a.Registry)
	if err != nil {
		return nil, err
	}
	return r.Destination(), nil
}

func (n registryName) also(ref reference.Docker) (Name, error) {
	if ref.Name() != n.ref.Name() {
		return nil, fmt.Errorf("%w: the additional name %s is not in the repository %s", image.ErrUnsupported, ref.Familiar(), n.ref.Name())
	}
	return registryName{ref}, nil
}

// Pair tells dst that its blobs will come from src, before the first request:
// two repositories of one registry share them, and an image keeps its names
// from one archive or stream to the next.
func Pair(dst image.Destination, src image.Source) {
	if d, ok := dst.(*registry.Destination); ok {
		d.Expect(src)
		return
	}
	archive.Expect(dst, src)
}
