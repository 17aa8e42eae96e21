package transport

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// layoutArchiveName is oci-archive:FILE[:NAME].
type layoutArchiveName struct{ l reference.Layout }

func parseLayoutArchive(detail string) (Name, error) {
	l, err := reference.ParseLayoutArchive(detail)
	if err != nil {
		return nil, err
	}
	return layoutArchiveName{l}, checkParent(l.Path)
}

func (n layoutArchiveName) String() string           { return "oci-archive:" + n.l.String() }
func (n layoutArchiveName) Docker() reference.Docker { return reference.Docker{} }

func (n layoutArchiveName) Pinned(d digest.Digest) string {
	return "oci-archive:" + n.l.Path + ":" + n.l.Name + "@" + d.String()
}

func (n layoutArchiveName) Source(context.Context, *Access) (image.Source, error) {
	return archive.OpenFile(n.l.Path, archive.SelectLayout(n.l))
}

func (n layoutArchiveName) Destination(_ context.Context, a *Access) (image.Destination, error) {
	if err := n.l.CheckDestination(); err != nil {
		return nil, err
	}
	o := a.archive()
	o.Name = n.l.Name
	return archive.Create(n.l.Path, o)
}

func (layoutArchiveName) labels() {} // see Also

// archiveName is docker-archive:FILE[:REFERENCE].
type archiveName struct{ a reference.Archive }

func parseArchive(detail string) (Name, error) {
	a, err := reference.ParseArchive(detail)
	return archiveName{a}, err
}

func (n archiveName) String() string           { return "docker-archive:" + n.a.String() }
func (n archiveName) Docker() reference.Docker { return n.a.Ref }

func (n archiveName) Pinned(d digest.Digest) string {
	return "oci-archive:" + n.a.Path + ":@" + d.String() // what is written is a layout too
}

func (archiveName) labels() {}

func (n archiveName) Source(context.Context, *Access) (image.Source, error) {
	return archive.OpenFile(n.a.Path, archive.SelectDocker(n.a))
}

func (n archiveName) Destination(_ context.Context, a *Access) (image.Destination, error) {
	if err := n.a.CheckDestination(); err != nil {
		return nil, err
	}
	o := a.archive()
	o.View = archive.Docker
	if !n.a.Ref.IsZero() {
		o.Labels = append([]reference.Docker{n.a.Ref}, o.Labels...)
	}
	return archive.Create(n.a.Path, o)
}
