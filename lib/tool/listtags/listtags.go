// Package listtags is img-list-tags.
package listtags

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
)

type command struct {
	access tool.AccessConfig
	common tool.CommonConfig

	json    bool
	digests bool
	catalog bool
	selection

	repositories func(ctx context.Context, host string, a *transport.Access) ([]string, error)
}

// Tool returns the table of img-list-tags.
func Tool() *cli.Tool {
	return (&command{common: tool.NewCommonConfig(), repositories: transport.Catalog}).tool()
}

func (c *command) tool() *cli.Tool {
	return &cli.Tool{
		Name:  "img-list-tags",
		Args:  "REFERENCE",
		Short: "list the tags of a repository, layout or archive",
		Long: "Prints the tags, one a line, in the order of the place, unless --sort gives another one. " +
			"REFERENCE is docker://NAME, oci:DIR, oci-archive:FILE or docker-archive:FILE, without a tag; with --catalog, it is a registry, HOST[:PORT]. " +
			"Tags made of a digest, under which signatures and the like are kept, are left out.",
		Flags: c.flags(),
		Examples: []cli.Example{
			{Text: "List the newest three versions of a major release:", Command: "img-list-tags --semver ^3 --sort version --reverse --limit 3 docker://alpine"},
			{Text: "See which tags stand for the same image:", Command: "img-list-tags --digests docker://alpine | sort -k 2"},
			{Text: "List all repositories of a registry:", Command: "img-list-tags --catalog registry.example.com"},
		},
		Words:   tool.NameWords(),
		See:     []string{"img-delete(1)", "img-registries(7)"},
		Explain: explain,
		Run:     c.run,
	}
}

func (c *command) flags() []cli.Flag {
	rows := []cli.Flag{
		{Name: "json", Help: "Print JSON as skopeo list-tags does, with --digests also an object Digests.", Value: cli.Bool(&c.json)},
		{Name: "digests", Help: "Print after each tag, behind a tab, the digest of the manifest that it stands for.", Value: cli.Bool(&c.digests)},
		{Name: "match", Arg: "RE", Help: "List only names in which the regular expression matches, anywhere unless it has ^ and $.", Value: cli.String(&c.match)},
		{Name: "semver", Arg: "CONSTRAINT", Help: "List only tags that are versions within CONSTRAINT, such as \">=1.2 <2\", ~1.4, ^1 or \"1.2 - 1.4\". A pre-release is listed if CONSTRAINT names one: >=1.2-0.", Value: cli.String(&c.semver)},
		{Name: "sort", Arg: "ORDER", Help: "Sort by name, byte for byte, or by version, where what is no version comes first.", Value: cli.Enum(&c.sort, byName, byVersion)},
		{Name: "reverse", Help: "Turn the order round.", Value: cli.Bool(&c.reverse)},
		{Name: "limit", Arg: "N", Help: "List the first N only, after sorting; 0 lists all.", Value: cli.Int(&c.limit)},
		{Name: "all", Help: "List tags made of a digest too.", Value: cli.Bool(&c.all)},
		{Name: "catalog", Help: "List the repositories of a registry.", Value: cli.Bool(&c.catalog)},
	}
	rows = append(rows, c.common.Flags()...)
	return append(rows, c.access.Flags()...)
}

func (c *command) check(args []string) error {
	switch {
	case len(args) != 1:
		return cli.Usagef("want one REFERENCE, got %d operands", len(args))
	case c.limit < 0:
		return cli.Usagef("--limit %d: want 0 or more", c.limit)
	case c.catalog && (c.digests || c.semver != "" || c.all):
		return cli.Usagef("--digests, --semver and --all are about tags, --catalog lists repositories")
	}
	if c.catalog {
		if strings.Contains(args[0], "/") {
			return cli.Usagef("--catalog %s: want a registry, HOST[:PORT]", args[0])
		}
		return nil
	}
	return checkReference(args[0])
}

// checkReference returns a usage error for a reference that has a tag.
func checkReference(s string) error {
	r, err := reference.Parse(s)
	if err != nil {
		return err
	}
	named := false
	switch r.Transport {
	case "docker":
		d, err := reference.ParseDocker(strings.TrimPrefix(r.Detail, "//"))
		named = err == nil && (d.Tag != "" || d.Digest != "")
	case "oci":
		l, err := reference.ParseLayout(r.Detail)
		named = err == nil && (l.Name != "" || l.Index >= 0)
	case "oci-archive":
		l, err := reference.ParseLayoutArchive(r.Detail)
		named = err == nil && (l.Name != "" || l.Index >= 0)
	case "docker-archive":
		a, err := reference.ParseArchive(r.Detail)
		named = err == nil && (!a.Ref.IsZero() || a.Index >= 0)
	}
	if named {
		return cli.Usagef("%s: No tag or digest allowed in reference", s)
	}
	return nil
}

func (c *command) run(ctx context.Context, std *cli.IO, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	if _, err := c.filter(); err != nil {
		return err
	}
	ctx, cancel := c.common.Context(ctx, std)
	defer cancel()
	r, err := cli.NewRenderer("none", std, "img-list-tags")
	if err != nil {
		return err
	}
	a, err := c.access.Access(std, &c.common, tool.Notify(r, args[0]))
	if err != nil {
		return err
	}
	if c.catalog {
		return c.listRepositories(ctx, std, args[0], a)
	}
	name, err := transport.Parse(args[0])
	if err != nil {
		return err
	}
	return failed("list tags", args[0], c.list(ctx, std, name, a))
}

// listRepositories lists the repositories of a registry.
func (c *command) listRepositories(ctx context.Context, std *cli.IO, host string, a *transport.Access) error {
	c.all = true // such names mean nothing for repositories
	names, err := c.repositories(ctx, host, a)
	if err == nil {
		names, err = c.apply(names)
	}
	if err != nil {
		return failed("list repositories", host, err)
	}
	if c.json {
		return writeJSON(std.Out, catalog{host, append([]string{}, names...)})
	}
	return writeLines(std.Out, names)
}

// list lists the tags beside name.
func (c *command) list(ctx context.Context, std *cli.IO, name transport.Name, a *transport.Access) error {
	src, err := name.Source(ctx, a)
	if err != nil {
		return err
	}
	defer src.Close()
	src = tool.Whole(src)
	names, err := image.Tags(ctx, src)
	if err == nil {
		names, err = c.apply(names)
	}
	if err != nil {
		return err
	}
	l := list{Repository: name.Docker().Name(), Tags: append([]string{}, names...)}
	if c.digests {
		err = l.find(ctx, std, src)
	}
	var lost *lostError
	if err != nil && !errors.As(err, &lost) {
		return err
	}
	if werr := c.write(std.Out, l); werr != nil {
		return werr
	}
	return err
}

func (c *command) write(w io.Writer, l list) error {
	if c.json {
		return writeJSON(w, l)
	}
	return writeLines(w, l.lines())
}
