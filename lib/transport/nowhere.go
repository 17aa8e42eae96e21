package transport

import (
	"context"
	"fmt"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Nowhere is a destination that wants what n would, and to which nothing is
// written: for a plan that is only shown. A registry is asked what its name
// stands for now.
func Nowhere(ctx context.Context, n Name, a *Access) (image.Destination, error) {
	if _, ok := n.(registryName); ok {
		return n.Destination(ctx, a)
	}
	switch n.(type) {
	case archiveName, daemonName:
		return nowhere{image.Wants{Single: true}}, nil
	}
	return nowhere{}, nil
}

type nowhere struct{ wants image.Wants }

func (n nowhere) Wants() image.Wants { return n.wants }

func (nowhere) Has(context.Context, oci.Descriptor) (bool, error) { return false, nil }

func (nowhere) Put(context.Context, *blob.Blob) (oci.Descriptor, error) {
	return oci.Descriptor{}, errNowhere
}

func (nowhere) Commit(context.Context, *image.Tree) error { return errNowhere }

func (nowhere) Close() error { return nil }

var errNowhere = fmt.Errorf("%w: this is a dry run", image.ErrUnsupported)
