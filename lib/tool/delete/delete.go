// Package delete is img-delete.
package delete

import (
	"context"
	"regexp"
	"strconv"
	"time"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/prune"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
)

type command struct {
	access tool.AccessConfig
	common tool.CommonConfig

	manifest, referrers bool
	ignoreMissing       bool
	dryRun              bool

	keep      number
	olderThan time.Duration
	match     *regexp.Regexp // nil: all

	now  func() time.Time
	open func(context.Context, transport.Name, *transport.Access) (image.Shelf, error)
}

// A number remembers whether it was given.
type number struct {
	given bool
	n     int
}

func (v *number) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return errNumber
	}
	*v = number{true, n}
	return nil
}

func (v *number) String() string { return "" }

// Tool returns the table of img-delete.
func Tool() *cli.Tool {
	return (&command{common: tool.NewCommonConfig(), now: time.Now, open: transport.Shelf}).tool()
}

func (c *command) tool() *cli.Tool {
	return &cli.Tool{
		Name:  "img-delete",
		Args:  "REFERENCE...",
		Short: "delete tags and images from registries and layouts",
		Long: "Deletes tags, and prints the name of each that is gone. " +
			"REFERENCE is docker://NAME:TAG or oci:DIR:TAG; with --manifest also docker://NAME@DIGEST or oci:DIR:@DIGEST; and - reads references from standard input, one a line. " +
			"The tag alone goes: what it stands for stays, and its other tags too. In a layout, blobs that nothing needs any more are removed. " +
			"Where a registry cannot delete a tag alone, nothing is deleted, and the other tags are listed that --manifest would delete. " +
			"With --manifest, what a tag stands for goes, whatever else needs it: an index in a registry that contains it is broken then.\n\n" +
			"With --keep or --older-than, REFERENCE is docker://NAME or oci:DIR, without a tag, and the rule decides which of its tags go: " +
			"with both, those that are neither among the newest nor young enough. " +
			"Each tag counts, latest too, and several of one image; --match says which do. " +
			"With --manifest, those manifests go as well that no tag needs which is kept: none that a kept tag stands for, that is in a kept index, that a kept artifact is about, or to which something is attached that stays. " +
			"In a registry, what is only ever used by its digest looks like what nobody needs. " +
			"An image is as old as its configuration says, an index as the newest of its images, an artifact as its annotation org.opencontainers.image.created. " +
			"What has no date, or one from before 1981, as reproducible builds write it, is kept. Tags made of a digest, as cosign has them, are no tags of images: the rule is not about them.\n\n" +
			"A tag that is moved while img-delete is at work may be lost, alone or with the manifest that it stands for; what a rule finds to have a new tag by then is left.",
		Flags: c.flags(),
		Examples: []cli.Example{
			{Text: "Delete a tag, and nothing else:", Command: "img-delete docker://registry.example.com/app:1.0"},
			{Text: "Delete an image with all its tags, signatures and SBOMs:", Command: "img-delete --manifest --referrers docker://registry.example.com/app:1.0"},
			{Text: "See what a rule would delete:", Command: "img-delete --dry-run --match '^pr-' --older-than 2w docker://registry.example.com/app"},
			{Text: "Keep the ten newest tags, and what they need:", Command: "img-delete --keep 10 --manifest docker://registry.example.com/app"},
			{Text: "Delete the tags that another program names:", Command: "img-list-tags --semver '<1.0' docker://a.example/app | sed 's,^,docker://a.example/app:,' | img-delete -"},
		},
		Words:   []string{"docker://", "oci:"},
		See:     []string{"img-list-tags(1)", "img-registries(7)"},
		Explain: explain,
		Run:     c.run,
	}
}

func (c *command) flags() []cli.Flag {
	rows := []cli.Flag{
		{Name: "manifest", Help: "Delete what the tags stand for, with all of its tags. With a rule: delete what no kept tag needs.", Value: cli.Bool(&c.manifest)},
		{Name: "referrers", Help: "With --manifest: delete also what is attached, in turn: signatures, SBOMs and other artifacts that say so, and tags made of the digest.", Value: cli.Bool(&c.referrers)},
		{Name: "keep", Arg: "N", Help: "Delete tags, but not the N newest.", Value: &c.keep},
		{Name: "older-than", Arg: "DURATION", Help: "Delete tags of images that are older: 30d, 2w, 36h.", Value: cli.Func(c.setAge)},
		{Name: "match", Arg: "RE", Help: "With --keep and --older-than: count and delete only tags in which the regular expression matches, anywhere unless it has ^ and $.", Value: cli.Func(c.setMatch)},
		{Name: "ignore-missing", Help: "It is no error if a tag or digest is not there.", Value: cli.Bool(&c.ignoreMissing)},
		{Name: "dry-run", Short: 'n', Help: "Show what would be deleted and what kept, with the reason, and delete nothing.", Value: cli.Bool(&c.dryRun)},
	}
	rows = append(rows, c.common.Flags()...)
	return append(rows, c.access.Flags()...)
}

func (c *command) setAge(s string) (err error) {
	c.olderThan, err = parseAge(s)
	return err
}

// setMatch reads a regular expression. None is a mistake, such as a variable of
// a shell that is not set: the rule would be about all tags.
func (c *command) setMatch(s string) (err error) {
	if s == "" {
		return errEmpty
	}
	c.match, err = regexp.Compile(s)
	return err
}

// ruled reports whether a rule says what goes.
func (c *command) ruled() bool { return c.keep.given || c.olderThan > 0 }

// check returns a usage error for options that do not go together.
func (c *command) check(args []string) error {
	switch {
	case len(args) == 0:
		return cli.Usagef("want at least one REFERENCE")
	case c.referrers && !c.manifest:
		return cli.Usagef("--referrers is for --manifest: what is attached to a manifest goes with it")
	case c.match != nil && !c.ruled():
		return cli.Usagef("--match says which tags a rule is about: give --keep or --older-than; --keep 0 keeps none of them")
	case c.keep.given && c.keep.n == 0 && c.olderThan == 0 && c.match == nil:
		return cli.Usagef("--keep 0 would delete every tag: say with --match which it is about")
	}
	return nil
}

// checkPlace returns a usage error if a reference has a tag and must not, or
// the other way round.
func (c *command) checkPlace(p *place) error {
	if c.ruled() {
		if len(p.targets) > 0 {
			return cli.Usagef("%s: --keep and --older-than are about all tags: give the name without tag or digest", p.of(p.targets[0]))
		}
		return nil
	}
	if p.whole {
		return cli.Usagef("%s: give a tag, or say with --keep or --older-than which tags are to go", p)
	}
	for _, t := range p.targets {
		if t.Name == "" && !c.manifest {
			return cli.Usagef("%s: a digest names a manifest, which goes with all of its tags: give --manifest", p.of(t))
		}
	}
	return nil
}

func (c *command) run(ctx context.Context, std *cli.IO, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	rule := prune.Rule{Keep: c.keep.n, OlderThan: c.olderThan, Now: c.now()}
	if c.match != nil {
		rule.Match = c.match.MatchString
	}
	refs, err := operands(args, std.In)
	if err != nil {
		return err
	}
	list, err := places(refs)
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := c.checkPlace(p); err != nil {
			return err
		}
	}
	ctx, cancel := c.common.Context(ctx, std)
	defer cancel()
	s := &sum{std: std}
	for _, p := range list {
		j := &job{command: c, std: std, place: p, sum: s}
		if err := j.do(ctx, rule); err != nil {
			s.fail(err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return s.err()
}
