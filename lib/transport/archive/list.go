package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Listed is one name in an archive, or an image without one.
type Listed struct {
	Name     string         // as it stands in the archive, "" for none
	Position int            // of its image, as Selection has it
	Root     oci.Descriptor // the manifest; zero in the Docker view
}

// List returns the names of all images in the file path, in its order, by the
// given view. A file that cannot be read in place is read to its end. Errors
// are those of OpenFile, and of a Source's Manifest.
func List(ctx context.Context, path string, v View) ([]Listed, error) {
	src, err := OpenFile(path, Selection{View: v})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	var all []Listed
	switch s := src.(type) {
	case *file:
		all, err = s.cat.list(v)
	case *Reader:
		for err == nil {
			_, err = s.Next(ctx)
		}
		if err == io.EOF {
			all, err = s.cat.list(v)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

func (c *catalogue) list(v View) ([]Listed, error) {
	if v != Docker {
		ix, err := c.readIndex()
		if err == nil {
			return listOCI(ix, v), nil
		}
		if v == OCI || !errors.Is(err, image.ErrNotFound) {
			return nil, err
		}
	}
	images, err := c.readDocker()
	if err != nil {
		return nil, err
	}
	var all []Listed
	for i, d := range images {
		if len(d.RepoTags) == 0 {
			all = append(all, Listed{Position: i + 1})
		}
		for _, tag := range d.RepoTags {
			all = append(all, Listed{Name: tag, Position: i + 1})
		}
	}
	return all, nil
}

func listOCI(ix *oci.Manifest, v View) []Listed {
	var all []Listed
	for i, d := range ix.Manifests {
		name := nameOf(d)
		if v == OCI {
			name = d.Annotations[oci.AnnotationRefName]
		}
		all = append(all, Listed{name, i + 1, d})
	}
	return all
}
