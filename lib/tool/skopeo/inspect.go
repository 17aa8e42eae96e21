package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	engine "github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/tool/inspect"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

type inspectCommand struct {
	*program
	access access
	common common
	set    *pflag.FlagSet
	way    *transport.Access

	raw, config, noTags bool
	format, algorithm   string
}

func newInspect(p *program) runner { return &inspectCommand{program: p} }

func (c *inspectCommand) flags(fs *pflag.FlagSet) {
	c.set = fs
	c.access.flags(fs)
	c.common.flags(fs)
	fs.BoolVar(&c.raw, "raw", false, "the bytes as they are stored")
	fs.BoolVar(&c.config, "config", false, "the image configuration")
	fs.StringVarP(&c.format, "format", "f", "", "Go template for the output")
	fs.BoolVarP(&c.noTags, "no-tags", "n", false, "leave the repository's tags out")
	fs.StringVar(&c.algorithm, "manifest-digest", "", "algorithm of the manifest's digest")
}

func (c *inspectCommand) run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("Exactly one argument expected")
	}
	if c.raw && c.format != "" {
		return errors.New("raw output does not support format option")
	}
	opening := func(err error) error {
		return fmt.Errorf("Error parsing image name %q: %w", args[0], err)
	}
	name, err := transport.Parse(args[0])
	if err != nil {
		return opening(err)
	}
	a, err := c.access.open(c.program, c.common)
	if err != nil {
		return err
	}
	c.way = a
	src, err := name.Source(ctx, a)
	if missing := missingDir(name, err); missing != nil {
		return fmt.Errorf("Error retrieving manifest for image: %w", missing)
	}
	if err != nil {
		return opening(cause(name, err))
	}
	defer src.Close()
	root, err := image.Root(ctx, src, name.Docker().Digest)
	if err != nil {
		return opening(cause(name, err))
	}
	if c.raw && !c.config {
		_, err := c.std.Out.Write(root.Raw.Bytes)
		return err
	}
	t, err := engine.Instance(ctx, src, root, c.global.platform())
	if err != nil {
		return fmt.Errorf("Error parsing manifest for image: %w", chosen(err))
	}
	if c.config {
		return c.showConfig(ctx, src, t)
	}
	return c.summary(ctx, name, src, root, t)
}

// chosen says of an index without an image for the platform what skopeo does.
func chosen(err error) error {
	if errors.Is(err, engine.ErrPlatform) {
		return &parseError{"choosing image instance: " + err.Error()}
	}
	return err
}

func (c *inspectCommand) showConfig(ctx context.Context, src image.Source, t *image.Tree) error {
	if t.Manifest.Config == nil {
		return nil
	}
	b, err := image.ReadBlob(ctx, src, *t.Manifest.Config, oci.MaxManifest)
	if err != nil {
		return fmt.Errorf("Error reading configuration blob: %w", err)
	}
	if c.raw {
		_, err := c.std.Out.Write(b)
		return err
	}
	if err := imageOnly(t); err != nil {
		return fmt.Errorf("Error reading OCI-formatted configuration data: %w", err)
	}
	cfg, err := oci.ParseConfig(b)
	if err != nil {
		return fmt.Errorf("Error reading OCI-formatted configuration data: %w", err)
	}
	return inspect.Write(c.std.Out, cfg.Image(), c.format)
}

// imageOnly is the refusal of what is no image.
func imageOnly(t *image.Tree) error {
	if t.Manifest.IsImage() {
		return nil
	}
	kind := t.Manifest.ArtifactType
	if kind == "" && t.Manifest.Config != nil {
		kind = t.Manifest.Config.MediaType
	}
	return fmt.Errorf("unsupported image-specific operation on artifact with type %q", kind)
}

func (c *inspectCommand) summary(ctx context.Context, name transport.Name, src image.Source, root, t *image.Tree) error {
	if err := imageOnly(t); err != nil {
		return err
	}
	s, err := inspect.Summarise(ctx, src, root, t)
	if err != nil {
		return err
	}
	if s.Digest, err = c.digest(root, t); err != nil {
		return fmt.Errorf("Error computing manifest digest: %w", err)
	}
	if d := name.Docker(); !d.IsZero() {
		s.Name = d.Name()
	}
	if d := name.Docker(); !d.IsZero() && !c.noTags {
		if s.RepoTags, err = c.tags(ctx, name, src); err != nil {
			return fmt.Errorf("Error determining repository tags: %w", err)
		}
	}
	return inspect.Write(c.std.Out, s.Basic, c.format)
}

// digest is the root's, by the algorithm asked for or else that of the
// config's digest.
func (c *inspectCommand) digest(root, t *image.Tree) (digest.Digest, error) {
	alg := digest.Canonical
	switch {
	case c.set.Changed("manifest-digest") && c.algorithm != "":
		alg = digest.Algorithm(c.algorithm)
	case !c.set.Changed("manifest-digest") && t.Manifest.Config != nil:
		alg = t.Manifest.Config.Digest.Algorithm()
	}
	if !alg.Available() {
		return "", fmt.Errorf("digest algorithm %q is not available", alg)
	}
	return root.Raw.DigestBy(alg), nil
}

// tags lists the repository's tags; a registry that does not allow that is
// passed over.
func (c *inspectCommand) tags(ctx context.Context, name transport.Name, src image.Source) (tags []string, err error) {
	if _, mirrored := src.(*registry.MirrorSource); mirrored {
		tags, err = tagsOf(ctx, name, c.way)
	} else {
		tags, err = image.Tags(ctx, src)
	}
	if errors.Is(err, image.ErrUnsupported) {
		return []string{}, nil
	}
	var r *registry.Error
	if errors.As(err, &r) && (r.Code == "DENIED" || r.Code == "UNKNOWN" && r.Message == "404 page not found") {
		c.log("warning", "Registry disallows tag list retrieval; skipping")
		return nil, nil
	}
	if tags == nil && err == nil {
		tags = []string{}
	}
	return tags, err
}

func inspectLong() string { return "Show what an image is, as JSON.\n\n" + supported() }
