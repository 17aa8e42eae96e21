package transport

import (
	"context"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/layout"
)

// layoutName is oci:DIR[:NAME].
type layoutName struct{ l reference.Layout }

func parseLayout(detail string) (Name, error) {
	l, err := reference.ParseLayout(detail)
	if err != nil {
		return nil, err
	}
	return layoutName{l}, checkParent(l.Path)
}

func (n layoutName) String() string           { return "oci:" + n.l.String() }
func (n layoutName) Docker() reference.Docker { return reference.Docker{} }

func (n layoutName) Pinned(d digest.Digest) string {
	return "oci:" + n.l.Path + ":" + n.l.Name + "@" + d.String()
}

func (n layoutName) Source(_ context.Context, a *Access) (image.Source, error) {
	return opened(layout.OpenOCI(n.l, layout.Options{SharedBlobs: a.SharedBlobs}))
}

func (n layoutName) Destination(_ context.Context, a *Access) (image.Destination, error) {
	if err := n.l.CheckDestination(); err != nil {
		return nil, err
	}
	return created(layout.CreateOCI(n.l, layout.Options{SharedBlobs: a.SharedBlobs}))
}

func (n layoutName) shelf(_ context.Context, a *Access) (image.Shelf, error) {
	s, err := layout.OpenShelf(n.l, layout.Options{SharedBlobs: a.SharedBlobs, Notify: a.Registry.Notify})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (n layoutName) also(ref reference.Docker) (Name, error) {
	return layoutName{reference.Layout{Path: n.l.Path, Name: ref.Tag, Index: -1}}, nil
}

// dirName is dir:DIR.
type dirName struct{ path string }

func parseDir(detail string) (Name, error) { return dirName{detail}, checkParent(detail) }

func (n dirName) String() string                { return "dir:" + n.path }
func (n dirName) Docker() reference.Docker      { return reference.Docker{} }
func (n dirName) Pinned(d digest.Digest) string { return n.String() + "@" + d.String() }

func (n dirName) Source(context.Context, *Access) (image.Source, error) {
	return opened(layout.OpenDir(n.path))
}

func (n dirName) Destination(context.Context, *Access) (image.Destination, error) {
	return created(layout.CreateDir(n.path))
}

// checkParent fails if the directory that path is in does not exist.
func checkParent(path string) error {
	_, err := os.Lstat(filepath.Dir(filepath.Clean(path)))
	return err
}

// opened and created keep a nil pointer from becoming an interface that is
// not nil.
func opened[S image.Source](s S, err error) (image.Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func created[D image.Destination](d D, err error) (image.Destination, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}
