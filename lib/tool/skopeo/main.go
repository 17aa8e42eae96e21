// Package skopeo is the face that img shows when it is called skopeo: the
// subcommands, options, texts, order of checks and exit codes of that program,
// over our own library. See img-skopeo(7).
//
// Everything here is translation. What a script may depend on is kept; it is
// written with pflag directly, because usage and error texts are pflag's.
package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/cli"
)

// Main runs skopeo with args, which begin behind the program's name, and
// returns the exit code: 0, 1, or 2 for an image that is not there.
func Main(args []string) int {
	return cli.Live("skopeo", func(ctx context.Context, std *cli.IO) int {
		return Run(ctx, std, args)
	})
}

// Run is Main without the process around it.
func Run(ctx context.Context, std *cli.IO, args []string) int {
	p := &program{std: std}
	err := p.run(ctx, args)
	if err == nil {
		return cli.CodeOK
	}
	p.log("fatal", err.Error())
	if isNotFound(err) {
		return 2
	}
	return 1
}

// A program is one run.
type program struct {
	std    *cli.IO
	global globals
}

// A subcommand is one row of the table.
type subcommand struct {
	name     string
	use      string
	short    string
	long     string
	examples string
	make     func(*program) runner
}

// A runner is a subcommand with its options.
type runner interface {
	flags(*pflag.FlagSet)
	run(context.Context, []string) error
}

func subcommands() []subcommand {
	return []subcommand{
		{"copy", "skopeo copy [command options] SOURCE-IMAGE DESTINATION-IMAGE", "copy an image from one place to another", copyLong(),
			"skopeo copy docker://quay.io/x/app:1 docker://registry.example.com/app:1", newCopy},
		{"delete", "skopeo delete [command options] IMAGE-NAME", "delete an image", deleteLong(),
			"skopeo delete docker://registry.example.com/app:1", newDelete},
		{"inspect", "skopeo inspect [command options] IMAGE-NAME", "show what an image is", inspectLong(),
			"skopeo inspect docker://quay.io/x/app:1\nskopeo inspect --config docker://alpine\nskopeo inspect --format '{{.Digest}}' docker://alpine", newInspect},
		{"list-tags", "skopeo list-tags [command options] REPOSITORY", "list the tags of a repository", listLong(),
			"skopeo list-tags docker://registry.example.com/app\nskopeo list-tags docker-archive:app.tar", newList},
		{"login", "skopeo login [command options] REGISTRY", "store credentials for a registry", loginLong(),
			"skopeo login quay.io\nskopeo login --username alice --password-stdin registry.example.com < password", newLogin},
		{"logout", "skopeo logout [command options] REGISTRY", "remove the credentials for a registry", logoutLong(),
			"skopeo logout quay.io\nskopeo logout --all", newLogout},
		{"manifest-digest", "skopeo manifest-digest MANIFEST-FILE", "print the digest of a manifest file", "print the digest of a manifest file",
			"skopeo manifest-digest manifest.json", newDigest},
	}
}

func (p *program) run(ctx context.Context, args []string) error {
	root := p.rootFlags()
	before, name, rest := split(args, root)
	sub := slices.IndexFunc(subcommands(), func(s subcommand) bool { return s.name == name })
	switch {
	case name == "help" && len(rest) > 0:
		return p.run(ctx, []string{rest[0], "--help"})
	case sub < 0:
		return p.runRoot(root, name, args)
	}
	s := subcommands()[sub]
	r := s.make(p)
	fs := pflag.NewFlagSet(s.name, pflag.ContinueOnError)
	fs.Usage = func() {}
	r.flags(fs)
	fs.BoolP("help", "h", false, "help for "+s.name)
	own := fs.FlagUsages()
	fs.AddFlagSet(root)
	if err := fs.Parse(slices.Concat(before, rest)); err != nil {
		return err
	}
	if help, _ := fs.GetBool("help"); help {
		p.usage(p.std.Out, s, own)
		return nil
	}
	p.start()
	p.deprecated(before, root)
	ctx, cancel := p.global.context(ctx)
	defer cancel()
	err := r.run(ctx, fs.Args())
	var count *countError
	if errors.As(err, &count) {
		p.usage(p.std.Err, s, own)
	}
	return err
}

// split finds the subcommand: the first word that is no option nor the
// argument of a global one.
func split(args []string, root *pflag.FlagSet) (before []string, name string, rest []string) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if !strings.HasPrefix(a, "-") || a == "-" {
			return args[:i], a, args[i+1:]
		}
		f := root.Lookup(strings.TrimLeft(a, "-"))
		if f != nil && f.NoOptDefVal == "" {
			i++ // its argument
		}
	}
	return args, "", nil
}

// runRoot is skopeo without a subcommand, or with one that it does not have.
func (p *program) runRoot(root *pflag.FlagSet, name string, args []string) error {
	root.BoolP("help", "h", false, "help for skopeo")
	root.BoolP("version", "v", false, "print the version")
	if err := root.Parse(args); err != nil {
		return err
	}
	if v, _ := root.GetBool("version"); v {
		_, err := fmt.Fprintf(p.std.Out, "skopeo version %s\n", cli.Version)
		return err
	}
	if h, _ := root.GetBool("help"); h || name == "help" {
		p.rootUsage(root)
		return nil
	}
	if name == "" {
		return errors.New("Missing command 'skopeo COMMAND'\nTry 'skopeo --help' for more information")
	}
	return fmt.Errorf("Unrecognized command `skopeo %s`%s\nTry 'skopeo --help' for more information", name, suggestions(name))
}

// suggestions lists the subcommands that name may have been meant for.
func suggestions(name string) string {
	var s strings.Builder
	for _, c := range subcommands() {
		if strings.HasPrefix(c.name, name) || cli.Distance(c.name, name) <= 2 {
			s.WriteString("\t" + c.name + "\n")
		}
	}
	if s.Len() == 0 {
		return ""
	}
	return "\n\nDid you mean this?\n" + s.String()
}

func (p *program) usage(w io.Writer, s subcommand, flags string) {
	fmt.Fprintf(w, "%s\n\nUsage:\n%s\n\nExamples:\n%s\n\nFlags:\n%s\n", s.long, s.use, s.examples, flags)
}

func (p *program) rootUsage(root *pflag.FlagSet) {
	w := p.std.Out
	fmt.Fprint(w, "Work with container images and their registries, as skopeo does. This is imgtools: see img-skopeo(7).\n\nUsage:\n  skopeo [flags]\n  skopeo [command]\n\nAvailable Commands:\n")
	for _, s := range subcommands() {
		fmt.Fprintf(w, "  %-16s %s\n", s.name, s.short)
	}
	fmt.Fprintf(w, "\nFlags:\n%s\nUse \"skopeo [command] --help\" for more information about a command.\n", root.FlagUsages())
}
