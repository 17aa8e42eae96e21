package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/archive"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

type listCommand struct {
	*program
	access access
	common common
}

func newList(p *program) runner {
	return &listCommand{program: p, access: access{noImages: true}}
}

func (c *listCommand) flags(fs *pflag.FlagSet) {
	c.access.flags(fs)
	c.common.flags(fs)
}

// A tagList is what is printed: the tags of a repository, or the names in an
// archive.
type tagList struct {
	Repository string `json:",omitempty"`
	Tags       []string
}

// run keeps skopeo's order of checks.
func (c *listCommand) run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return &countError{"Exactly one non-option argument expected"}
	}
	a, err := c.access.open(c.program, c.common)
	if err != nil {
		return err
	}
	kind, detail, ok := strings.Cut(args[0], ":")
	if !ok || !knows(kind) {
		return fmt.Errorf("Invalid %q: does not specify a transport", args[0])
	}
	var list tagList
	switch kind {
	case "docker":
		list, err = inRepository(ctx, args[0], a)
	case "docker-archive":
		list.Tags, err = inArchive(ctx, detail)
	default:
		err = fmt.Errorf("Unsupported transport '%s' for tag listing. Only supported: docker, docker-archive", kind)
	}
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(list, "", "    ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.std.Out, "%s\n", b)
	return err
}

// others are transports that skopeo knows and this program does not.
var others = []string{"atomic", "containers-storage", "docker-daemon", "ostree", "sif", "tarball"}

// knows reports whether skopeo has a transport of that name.
func knows(kind string) bool {
	return slices.Contains(others, kind) || slices.Contains(transport.Names(), kind)
}

// inRepository asks a registry for a list.
func inRepository(ctx context.Context, arg string, a *transport.Access) (list tagList, err error) {
	text, ok := strings.CutPrefix(arg, "docker://")
	if !ok {
		return list, fmt.Errorf("docker: image reference %s does not start with docker://", arg)
	}
	ref, err := reference.ParseDocker(text)
	if err != nil {
		return list, err
	}
	if ref.Tag != "" || ref.Digest != "" {
		return list, errors.New("No tag or digest allowed in reference")
	}
	name, err := transport.Parse(arg)
	if err != nil {
		return list, err
	}
	tags, err := tagsOf(ctx, name, a)
	var r *registry.Error
	if errors.As(err, &r) {
		err = fmt.Errorf("fetching tags list: %w", r)
	}
	if err != nil {
		return list, fmt.Errorf("Error listing repository tags: %w", err)
	}
	if tags == nil {
		tags = []string{}
	}
	return tagList{ref.Name(), tags}, nil
}

// tagsOf asks a registry itself, and none of its mirrors, as skopeo does: they
// may lack what is new.
func tagsOf(ctx context.Context, name transport.Name, a *transport.Access) ([]string, error) {
	registries, err := a.Registries()
	if err != nil {
		return nil, err
	}
	e, err := registries.Push(name.Docker())
	if err != nil {
		return nil, err
	}
	alone := *a
	alone.Registries = nil
	if e.Insecure && a.Registry.TLSVerify == registry.Unset {
		alone.Registry.TLSVerify = registry.Never
	}
	src, err := name.Source(ctx, &alone)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return image.Tags(ctx, src)
}

// inArchive returns the names in a docker archive as they stand there, and @N
// for an image without any.
func inArchive(ctx context.Context, detail string) ([]string, error) {
	at, err := reference.ParseArchive(detail)
	if err != nil {
		return nil, err
	}
	all, err := archive.List(ctx, at.Path, archive.Docker)
	var failed *fs.PathError
	if errors.As(err, &failed) && failed.Op == "open" {
		err = fmt.Errorf("opening file %q: %w", at.Path, err)
	}
	var tags []string
	for _, l := range all {
		if l.Name == "" {
			l.Name = fmt.Sprintf("@%d", l.Position-1)
		}
		tags = append(tags, l.Name)
	}
	return tags, err
}

func listLong() string {
	return "List the tags of a repository, docker://REPOSITORY, or the names in a file,\ndocker-archive:FILE, as JSON."
}
