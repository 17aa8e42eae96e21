package transport

import (
	"context"
	"fmt"

	"github.com/imgtools/imgtools/lib/image"
)

// A shelver is a Name in a place with many images, of which some can be
// deleted.
type shelver interface {
	shelf(context.Context, *Access) (image.Shelf, error)
}

// Shelf opens the place that n is in, the repository or the layout, to list
// and to delete. Errors wrap image.ErrUnsupported if n is in no such place.
func Shelf(ctx context.Context, n Name, a *Access) (image.Shelf, error) {
	if s, ok := n.(shelver); ok {
		return s.shelf(ctx, a)
	}
	return nil, fmt.Errorf("%w: nothing can be deleted in %s", image.ErrUnsupported, n)
}
