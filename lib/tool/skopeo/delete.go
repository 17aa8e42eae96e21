package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

type deleteCommand struct {
	*program
	access access
	common common
}

func newDelete(p *program) runner { return &deleteCommand{program: p} }

func (c *deleteCommand) flags(fs *pflag.FlagSet) {
	c.access.flags(fs)
	c.common.flags(fs)
}

// run keeps skopeo's order of checks.
func (c *deleteCommand) run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("Usage: delete imageReference")
	}
	kind, _, _ := strings.Cut(args[0], ":")
	foreign := slices.Contains(others, kind)
	name, err := transport.Parse(args[0])
	if err != nil && !foreign {
		return &parseError{fmt.Sprintf("Invalid source name %s: %v", args[0], err)}
	}
	a, err := c.access.open(c.program, c.common)
	if err != nil {
		return err
	}
	switch {
	case kind == "docker":
		return c.manifest(ctx, name, a)
	case kind == "oci":
		return c.entry(ctx, name, a)
	case kind == "oci-archive":
		kind = "oci" // so skopeo calls it here
	}
	return fmt.Errorf("Deleting images not implemented for %s: images", kind)
}

// manifest deletes what a name in a registry stands for. As all that has this
// manifest for its own loses it, the user is told.
func (c *deleteCommand) manifest(ctx context.Context, name transport.Name, a *transport.Access) error {
	ref := name.Docker()
	if ref.Unknown {
		return fmt.Errorf("deleting images from docker: reference %q without a tag or digest is not supported", ref.String())
	}
	shelf, err := transport.Shelf(ctx, name, a)
	if err != nil {
		return err
	}
	defer shelf.Close()
	d, err := meant(ctx, shelf, ref)
	if err != nil {
		return deleting(ref, err)
	}
	if ref.Tag != "" {
		c.log("warning", fmt.Sprintf("Deleting the manifest %s: every tag of %s that stands for it is deleted, not only %s", d, ref.Name(), ref.Tag))
	}
	if err := shelf.Delete(ctx, []image.Deletion{{Digest: d}}); err != nil {
		return deleting(ref, err)
	}
	return nil
}

// meant returns the digest of the manifest that ref stands for.
func meant(ctx context.Context, shelf image.Shelf, ref reference.Docker) (digest.Digest, error) {
	if ref.Digest != "" {
		_, err := shelf.Manifest(ctx, ref.Digest)
		return ref.Digest, err
	}
	found, err := image.Find(ctx, shelf, ref.Tag)
	return found.Digest, err
}

// deleting puts a registry's answer into skopeo's words. That there is no such
// image is no error of a registry to it, and so no exit code 2.
func deleting(ref reference.Docker, err error) error {
	if errors.Is(err, image.ErrNotFound) {
		return fmt.Errorf("Unable to delete %s. Image may not exist or is not stored with a v2 Schema in a v2 registry", ref)
	}
	var r *registry.Error
	switch {
	case errors.As(err, &r):
		return fmt.Errorf("deleting %s: %w", ref, r)
	case errors.Is(err, image.ErrUnsupported):
		return fmt.Errorf("deleting %s: %w", ref, err)
	}
	return err
}

// entry deletes a name in a layout, or an image that has none.
func (c *deleteCommand) entry(ctx context.Context, name transport.Name, a *transport.Access) error {
	_, detail, _ := strings.Cut(name.String(), ":")
	l, err := reference.ParseLayout(detail)
	if err != nil {
		return err
	}
	shelf, err := transport.Shelf(ctx, name, a)
	if err != nil {
		return cause(name, err)
	}
	defer shelf.Close()
	d := image.Deletion{Name: l.Name}
	found, err := image.Find(ctx, shelf, l.Name)
	d.Digest = found.Digest
	if errors.Is(err, image.ErrNotFound) { // a position, a digest, a name with a digest, or the only image
		d.Name = l.Name[:max(0, strings.LastIndexByte(l.Name, '@'))]
		d.Digest, err = rootOf(ctx, name, a)
	}
	if err == nil && l.Index >= 0 {
		err = nameless(ctx, shelf, name, d.Digest)
	}
	if err != nil {
		return cause(name, err)
	}
	return shelf.Delete(ctx, []image.Deletion{d})
}

// rootOf returns the digest of the image that a name stands for.
func rootOf(ctx context.Context, name transport.Name, a *transport.Access) (digest.Digest, error) {
	src, err := name.Source(ctx, a)
	if err != nil {
		return "", err
	}
	defer src.Close() // or a deletion would wait for it
	root, err := image.Root(ctx, src, "")
	if err != nil {
		return "", err
	}
	return root.Desc.Digest, nil
}

// nameless fails if the image at a position has a name: by its digest it would
// lose that too.
func nameless(ctx context.Context, shelf image.Shelf, at transport.Name, d digest.Digest) error {
	names, err := image.Tags(ctx, shelf)
	if err != nil {
		return err
	}
	for _, n := range names {
		if found, err := image.Find(ctx, shelf, n); err == nil && found.Digest == d {
			return fmt.Errorf("%s is called %s: delete it by that name", at, n)
		}
	}
	return nil
}

func deleteLong() string {
	return "Delete an image. In a registry its manifest goes, and with it every tag that stands\nfor the same; in a layout its name, and what nothing else needs.\n\n" +
		"An image is named docker://NAME or oci:DIRECTORY[:NAME]."
}
