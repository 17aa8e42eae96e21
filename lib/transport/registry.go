package transport

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/conf"
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
	regs, err := a.registries()
	if err != nil {
		return nil, err
	}
	endpoints, err := regs.Pull(n.ref)
	if err != nil {
		return nil, err
	}
	var list []*registry.Repository
	for _, e := range endpoints {
		r, err := registry.New(e.Ref, a.options(n.ref.Domain, e))
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	if len(list) == 1 {
		return list[0].Source(), nil
	}
	return registry.Mirrored(list...), nil
}

func (n registryName) Destination(_ context.Context, a *Access) (image.Destination, error) {
	r, err := n.itself(a)
	if err != nil {
		return nil, err
	}
	return r.Destination(), nil
}

func (n registryName) shelf(_ context.Context, a *Access) (image.Shelf, error) {
	r, err := n.itself(a)
	if err != nil {
		return nil, err
	}
	return r.Shelf(), nil
}

// itself is the repository that is written to: no mirror of it.
func (n registryName) itself(a *Access) (*registry.Repository, error) {
	e, err := a.push(n.ref)
	if err != nil {
		return nil, err
	}
	return registry.New(e.Ref, a.options(n.ref.Domain, e))
}

// registries returns what registries.conf says.
func (a *Access) registries() (*conf.Registries, error) {
	if a.Registries == nil {
		return nil, nil
	}
	return a.Registries()
}

func (a *Access) push(ref reference.Docker) (conf.Endpoint, error) {
	regs, err := a.registries()
	if err != nil {
		return conf.Endpoint{}, err
	}
	return regs.Push(ref)
}

// options say how to reach an endpoint of what is at the host named. What the
// command line gives for that host, credentials and certificates, is for no
// other one: a mirror elsewhere has its own in the files, or none.
func (a *Access) options(named string, e conf.Endpoint) registry.Options {
	o := a.Registry
	if e.Ref.Domain != named {
		o.Credential, o.Token, o.CertDir = a.Stored, "", ""
	}
	if o.CertDir == "" && a.CertDir != nil {
		o.CertDir = a.CertDir(e.Ref.Domain)
	}
	if o.TLSVerify == registry.Unset && e.Insecure {
		o.TLSVerify = registry.Never
	}
	return o
}

// Check reports whether the registry at host takes the credential that a has
// for it. Errors wrap image.ErrUnauthorized if it does not, conf.ErrBlocked,
// and those of the network.
func Check(ctx context.Context, host string, a *Access) error {
	o, err := a.host(host)
	if err != nil {
		return err
	}
	return registry.Check(ctx, host, o)
}

// Catalog lists the repositories of the registry at host, if that tells.
func Catalog(ctx context.Context, host string, a *Access) ([]string, error) {
	o, err := a.host(host)
	if err != nil {
		return nil, err
	}
	return registry.Catalog(ctx, host, o)
}

func (a *Access) host(host string) (registry.Options, error) {
	e, err := a.push(reference.Docker{Domain: host})
	return a.options(host, e), err
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
	if d, ok := dst.(interface{ Expect(image.Source) }); ok { // a registry's, or a program's
		d.Expect(src)
		return
	}
	archive.Expect(dst, src)
}
