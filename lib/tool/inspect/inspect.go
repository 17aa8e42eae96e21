// Package inspect is img-inspect.
package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/cli"
	engine "github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
)

type command struct {
	access tool.AccessConfig
	common tool.CommonConfig

	raw, config, manifest, digest, layers, head, referrers bool

	blob      string
	tags      bool
	platforms []string
	format    string
	force     bool
}

// Tool returns the table of img-inspect.
func Tool() *cli.Tool {
	c := &command{common: tool.NewCommonConfig()}
	return &cli.Tool{
		Name:  "img-inspect",
		Args:  "REFERENCE",
		Short: "show what a container image is",
		Long: "Shows a summary of the image as JSON or, with an option, one of its parts. " +
			"REFERENCE is docker://NAME, oci:DIR[:TAG], dir:DIR, oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], docker-daemon:NAME:TAG, or - for a manifest or an image stream on standard input. " +
			"Of an index, the image for this machine's platform is described, if there is one.",
		Flags: c.flags(),
		Examples: []cli.Example{
			{Text: "Show a summary:", Command: "img-inspect docker://alpine"},
			{Text: "Get the exact bytes of the manifest:", Command: "img-inspect --raw docker://alpine >manifest.json"},
			{Text: "See the platforms of an index:", Command: "img-inspect --format '{{range .Platforms}}{{.Platform}} {{.Digest}}\\n{{end}}' docker://alpine"},
			{Text: "See what is attached to it, signatures and SBOMs:", Command: "img-inspect --referrers docker://registry.example.com/app:1.2"},
			{Text: "List what is in the first layer:", Command: "img-inspect --blob \"$(img-inspect --layers docker://alpine | head -n 1)\" docker://alpine | tar tz"},
		},
		Words:   tool.NameWords(),
		See:     []string{"img-copy(1)", "img-stream(5)", "img-registries(7)"},
		Explain: tool.Explain,
		Run:     c.run,
	}
}

func (c *command) flags() []cli.Flag {
	rows := []cli.Flag{
		{Name: "raw", Help: "The exact bytes of the manifest that REFERENCE names; with --config, those of the configuration.", Value: cli.Bool(&c.raw)},
		{Name: "config", Help: "The image configuration.", Value: cli.Bool(&c.config)},
		{Name: "manifest", Help: "The exact bytes of the manifest of one image, also if REFERENCE names an index.", Value: cli.Bool(&c.manifest)},
		{Name: "digest", Help: "The digest of the manifest that REFERENCE names.", Value: cli.Bool(&c.digest)},
		{Name: "layers", Help: "The digests of the layers, one a line.", Value: cli.Bool(&c.layers)},
		{Name: "blob", Arg: "DIGEST", Help: "The content of a blob, checked.", Value: cli.String(&c.blob)},
		{Name: "head", Help: "An image stream without layers.", Value: cli.Bool(&c.head)},
		{Name: "referrers", Help: "What is attached to the image and to its platforms' images, as a tree or, with --format, as JSON or as a template has it.", Value: cli.Bool(&c.referrers)},
		{Name: "tags", Help: "List all tags of the repository in RepoTags.", Value: cli.Bool(&c.tags)},
		{Name: "platform", Arg: "OS/ARCH[/VARIANT]", Help: "Of an index, the image for this platform.", Value: cli.Array(&c.platforms)},
		{Name: "format", Arg: "TEMPLATE", Help: "A Go template for the summary or the configuration, or json.", Value: cli.String(&c.format)},
		{Name: "force", Help: "Write bytes that are no text to a terminal.", Value: cli.Bool(&c.force)},
	}
	rows = append(rows, c.common.Flags()...)
	return append(rows, c.access.Flags()...)
}

func (c *command) check(args []string) error {
	if len(args) != 1 {
		return cli.Usagef("want one REFERENCE, got %d operands", len(args))
	}
	parts := c.parts()
	switch {
	case parts > 1:
		return cli.Usagef("only one of --raw, --config, --manifest, --digest, --layers, --head, --referrers and --blob can be shown")
	case c.format != "" && !c.formats(parts):
		return cli.Usagef("--format is for the summary, the configuration and --referrers")
	case c.tags && parts > 0:
		return cli.Usagef("--tags is for the summary")
	case len(c.platforms) > 1:
		return cli.Usagef("only one --platform can be shown")
	case len(c.platforms) > 0 && parts > 0 && !c.ofImage():
		return cli.Usagef("--platform is for what one image of an index has: the summary, --config, --manifest and --layers")
	}
	return nil
}

// formats reports whether --format is for what is asked for.
func (c *command) formats(parts int) bool {
	return !c.raw && (parts == 0 || c.config || c.referrers)
}

// ofImage reports whether a part is asked for that only an image has, and no
// index.
func (c *command) ofImage() bool { return c.config || c.manifest || c.layers }

// parts counts the options that ask for a part of the image. With --config,
// --raw is none.
func (c *command) parts() int {
	n := 0
	for _, b := range []bool{c.raw && !c.config, c.config, c.manifest, c.digest, c.layers, c.head, c.referrers, c.blob != ""} {
		if b {
			n++
		}
	}
	return n
}

func (c *command) run(ctx context.Context, std *cli.IO, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	name, err := transport.Parse(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := c.common.Context(ctx, std)
	defer cancel()
	r, err := cli.NewRenderer("none", std, "img-inspect")
	if err != nil {
		return err
	}
	a, err := c.access.Access(std, &c.common, tool.Notify(r, name.String()))
	if err != nil {
		return err
	}
	err = c.show(ctx, std, name, a)
	if err != nil {
		return tool.At("", name, "inspect", err)
	}
	return nil
}

// show opens the image and writes the part that was asked for.
func (c *command) show(ctx context.Context, std *cli.IO, name transport.Name, a *transport.Access) error {
	want, must := oci.Host(), false
	if ps, err := tool.ParsePlatforms(c.platforms); err != nil {
		return err
	} else if len(ps) == 1 {
		want, must = ps[0], true
	}
	src, err := name.Source(ctx, a)
	if err != nil {
		return err
	}
	defer src.Close()
	v := &view{ctx: ctx, std: std, name: name, src: tool.Whole(src), want: want, must: must}
	switch {
	case c.digest:
		return v.digest()
	case c.config:
		return v.config(c.raw, c.format)
	case c.raw:
		return v.manifest(false)
	case c.manifest:
		return v.manifest(true)
	case c.layers:
		return v.layers()
	case c.blob != "":
		return v.blob(digest.Digest(c.blob), c.force)
	case c.head:
		return v.head(a, c.force)
	case c.referrers:
		return v.referrers(c.format)
	}
	return v.summary(c.tags, c.format)
}

// A view is one image, and the one platform of it that is asked for.
type view struct {
	ctx  context.Context
	std  *cli.IO
	name transport.Name
	src  image.Source
	want oci.Platform
	must bool
}

func (v *view) root() (*image.Tree, error) { return image.Root(v.ctx, v.src, v.name.Docker().Digest) }

// instance returns the image that is asked for: the one in root for the
// platform or root itself, if that is an image.
func (v *view) instance(root *image.Tree) (*image.Tree, error) {
	t, err := engine.Instance(v.ctx, v.src, root, v.want)
	if err == nil && t == root && v.must {
		err = engine.RunsOn(v.ctx, v.src, t, v.want)
	}
	return t, err
}

// only is instance for what has no use for the root.
func (v *view) only() (*image.Tree, error) {
	root, err := v.root()
	if err != nil {
		return nil, err
	}
	return v.instance(root)
}

func (v *view) digest() error {
	root, err := v.root()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(v.std.Out, root.Desc.Digest)
	return err
}

func (v *view) manifest(instance bool) error {
	get := v.root
	if instance {
		get = v.only
	}
	t, err := get()
	if err != nil {
		return err
	}
	_, err = v.std.Out.Write(t.Raw.Bytes)
	return err
}

func (v *view) config(raw bool, format string) error {
	t, err := v.only()
	if err != nil {
		return err
	}
	if raw {
		if t.Manifest.Config == nil {
			return fmt.Errorf("%w: it has no configuration", image.ErrNotFound)
		}
		b, err := image.ReadBlob(v.ctx, v.src, *t.Manifest.Config, oci.MaxManifest)
		if err == nil {
			_, err = v.std.Out.Write(b)
		}
		return err
	}
	c, err := image.Config(v.ctx, v.src, t.Manifest)
	if err != nil {
		return err
	}
	return Write(v.std.Out, c.Image(), format)
}

func (v *view) layers() error {
	t, err := v.only()
	if err != nil {
		return err
	}
	for _, d := range t.Manifest.Layers {
		if _, err := fmt.Fprintln(v.std.Out, d.Digest); err != nil {
			return err
		}
	}
	return nil
}

// blob writes a blob as it comes, and fails at its end if it was not that.
func (v *view) blob(d digest.Digest, force bool) error {
	if err := oci.CheckDigest(d); err != nil {
		return cli.Usagef("--blob: %v", err)
	}
	if err := cli.RefuseTerminal(v.std.Out, force); err != nil {
		return err
	}
	desc := oci.Descriptor{Digest: d, Size: -1}
	rc, err := v.src.Blob(v.ctx, desc)
	if err != nil {
		return tool.At("", v.name, "read "+d.String(), err)
	}
	defer rc.Close()
	b, err := blob.Verify(&blob.Blob{Desc: desc, Reader: rc})
	if err != nil {
		return err
	}
	_, err = blob.Copy(v.std.Out, b)
	return err
}

// head writes an image stream without the layers.
func (v *view) head(a *transport.Access, force bool) error {
	if err := cli.RefuseTerminal(v.std.Out, force); err != nil {
		return err
	}
	t, err := v.root()
	if err != nil {
		return err
	}
	if err := t.Grow(v.ctx, v.src, nil); err != nil {
		return err
	}
	if d := v.name.Docker(); d.Tag != "" {
		a.Labels = []reference.Docker{d}
	}
	return transport.Head(v.ctx, v.src, t, a)
}

func (v *view) summary(tags bool, format string) error {
	root, err := v.root()
	if err != nil {
		return err
	}
	t, err := v.instance(root)
	if err != nil && (v.must || !errors.Is(err, image.ErrNotFound)) {
		return err // else the index alone is described
	}
	s, err := Summarise(v.ctx, v.src, root, t)
	if err != nil {
		return err
	}
	if d := v.name.Docker(); !d.IsZero() {
		s.Name = d.Name()
	}
	if tags {
		if s.RepoTags, err = image.Tags(v.ctx, v.src); err != nil {
			return fmt.Errorf("list tags: %w", err)
		}
	}
	return Write(v.std.Out, s, format)
}
