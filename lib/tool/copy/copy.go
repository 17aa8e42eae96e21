// Package copy is img-copy.
package copy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/cli"
	engine "github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
)

type command struct {
	src, dst tool.AccessConfig
	common   tool.CommonConfig

	platforms  []string
	sparse     bool
	with       image.With
	jobs       int
	dryRun     bool
	digestFile string
	additional []string
	replace    bool
	force      bool
	quiet      bool
	progress   string
}

// Tool returns the table of img-copy.
func Tool() *cli.Tool {
	c := &command{
		src:    tool.AccessConfig{Prefix: "src-", Side: image.SideSource},
		dst:    tool.AccessConfig{Prefix: "dest-", Side: image.SideDestination},
		common: tool.NewCommonConfig(),
		jobs:   engine.DefaultJobs,
	}
	return &cli.Tool{
		Name:  "img-copy",
		Args:  "SOURCE DESTINATION",
		Short: "copy a container image from one place to another",
		Long: "Copies exactly what SOURCE names to DESTINATION, byte for byte: an index with the images of all its platforms. " +
			"Each is docker://NAME, oci:DIR[:TAG], dir:DIR, oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], docker-daemon:NAME:TAG, or - for an image stream on standard input or output.\n\n" +
			"On standard output appears the pinned name of the copy, or the stream, and nothing else.",
		Flags:    c.flags(),
		Examples: examples(),
		Words:    tool.NameWords(),
		See:      []string{"img-inspect(1)", "img-events(5)", "img-stream(5)", "img-registries(7)", "img-transport(7)"},
		Explain:  tool.Explain,
		Run:      c.run,
	}
}

func (c *command) flags() []cli.Flag {
	rows := []cli.Flag{
		{Name: "platform", Arg: "OS/ARCH[/VARIANT]", Help: "Take only these platforms out of an index, which is rewritten to name no others. May be given several times.", Value: cli.List(&c.platforms)},
		{Name: "sparse", Help: "With --platform: keep the index as it is, though it names what is not copied.", Value: cli.Bool(&c.sparse)},
		tool.WithFlag(&c.with),
		{Name: "jobs", Short: 'j', Arg: "N", Help: fmt.Sprintf("Move N blobs at a time; %d without the option.", engine.DefaultJobs), Value: cli.Int(&c.jobs)},
		{Name: "dry-run", Short: 'n', Help: "Show what would be copied, on standard output, and copy nothing.", Value: cli.Bool(&c.dryRun)},
		{Name: "digestfile", Arg: "FILE", Help: "Write the digest of the copy's manifest to FILE.", Value: cli.String(&c.digestFile)},
		{Name: "additional-tag", Arg: "NAME:TAG", Help: "Give the copy this name as well. May be given several times.", Value: cli.List(&c.additional)},
		{Name: "replace", Help: "Let an archive hold the copy only. Otherwise it keeps the images that it holds.", Value: cli.Bool(&c.replace)},
		{Name: "foreign-layers", Help: "Fetch layers that are to be had from URLs only, from there.", Value: cli.Bool(&c.common.Foreign)},
		{Name: "force", Short: 'f', Help: "Write a stream to a terminal.", Value: cli.Bool(&c.force)},
		{Name: "quiet", Short: 'q', Help: "Show no progress.", Value: cli.Bool(&c.quiet)},
		cli.ProgressFlag(&c.progress),
	}
	rows = append(rows, c.common.Flags()...)
	rows = append(rows, c.src.Flags()...)
	return append(rows, c.dst.Flags()...)
}

func examples() []cli.Example {
	return []cli.Example{
		{Text: "Copy an image with all its platforms to another registry:", Command: "img-copy docker://quay.io/x/app:1.2 docker://registry.example.com/app:1.2"},
		{Text: "Take two platforms into an OCI layout:", Command: "img-copy --platform linux/amd64,linux/arm64 docker://alpine oci:images:alpine"},
		{Text: "Copy over ssh, without a file in between:", Command: "img-copy docker://a.example/x - | ssh host img-copy - docker://b.example/x"},
		{Text: "Take its signatures and SBOMs along:", Command: "img-copy --with=all docker://a.example/app:1 docker://b.example/app:1"},
		{Text: "Load an image into Docker:", Command: "img-copy --platform linux/amd64 docker://alpine - | docker load"},
	}
}

func (c *command) run(ctx context.Context, std *cli.IO, args []string) error {
	job, err := c.parse(std, args)
	if err != nil {
		return err
	}
	ctx, cancel := c.common.Context(ctx, std)
	defer cancel()
	mode := c.progress
	if c.quiet {
		mode = "none"
	}
	r, err := cli.NewRenderer(mode, std, "img-copy")
	if err != nil {
		return err
	}
	defer r.Close()
	res, err := job.do(ctx, std, r)
	if err != nil || c.dryRun {
		return err
	}
	r.Event(cli.Event{Kind: cli.KindEnd, Ref: job.dst.String(), Digest: res.Root.Digest.String(), Text: summary(res)})
	r.Close()
	return job.finish(std, res)
}

func summary(r engine.Result) string {
	if r.Same {
		return "nothing to do: the destination has it"
	}
	return fmt.Sprintf("%d blobs with %d bytes copied, %d were there", r.Moved, r.Bytes, r.Present)
}

// A job is one copy, with its names parsed.
type job struct {
	*command
	src, dst   transport.Name
	platforms  []oci.Platform
	additional []reference.Docker
	also       []transport.Name  // additional, where each is written by itself
	stdout     bool              // the image goes to standard output
	to         *transport.Access // to dst and also
}

func (c *command) parse(std *cli.IO, args []string) (*job, error) {
	if len(args) != 2 {
		return nil, cli.Usagef("want SOURCE and DESTINATION, got %d operands", len(args))
	}
	j := &job{command: c}
	var err error
	if j.src, err = transport.Parse(args[0]); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if j.dst, err = transport.Parse(args[1]); err != nil {
		return nil, fmt.Errorf("destination: %w", err)
	}
	if j.stdout = transport.IsStdout(j.dst); j.stdout && !c.dryRun {
		if err := cli.RefuseTerminal(std.Out, c.force); err != nil {
			return nil, err
		}
	}
	if j.platforms, err = tool.ParsePlatforms(c.platforms); err != nil {
		return nil, err
	}
	switch {
	case c.jobs < 1:
		return nil, cli.Usagef("--jobs %d: want 1 or more", c.jobs)
	case c.sparse && len(j.platforms) == 0:
		return nil, cli.Usagef("--sparse is for --platform: without it nothing is left out of an index")
	}
	if err := j.parseAdditional(); err != nil {
		return nil, err
	}
	return j, checkDigestFile(c.digestFile)
}

// parseAdditional reads --additional-tag, and sees whether the destination can
// do it: a copy that could not be finished is not begun.
func (j *job) parseAdditional() error {
	for _, s := range j.command.additional {
		n, err := reference.ParseDocker(s)
		if err != nil || n.Tag == "" || n.Digest != "" {
			return cli.Usagef("--additional-tag %q: want NAME:TAG", s)
		}
		j.additional = append(j.additional, n)
	}
	var err error
	if j.also, err = transport.Also(j.dst, j.additional); err != nil {
		return cli.Usagef("--additional-tag: %v", err)
	}
	return nil
}

// checkDigestFile fails where the digest file cannot be written, before there
// is a copy to tell the digest of. Its errors wrap none: the exit code for what
// is not there is about images.
func checkDigestFile(path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("digest file: %v", err)
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return fmt.Errorf("digest file: open %s: %v", path, syscall.EISDIR)
	}
	return nil
}

// do opens both sides and copies, or shows the plan.
func (j *job) do(ctx context.Context, std *cli.IO, r cli.Renderer) (res engine.Result, err error) {
	n := tool.Notify(r, j.dst.String())
	src, err := j.openSource(ctx, std, n)
	if err != nil {
		return res, tool.At(image.SideSource, j.src, "open", err)
	}
	defer src.Close()
	dst, err := j.openDestination(ctx, std, n)
	if err != nil {
		return res, tool.At(image.SideDestination, j.dst, "open", err)
	}
	defer func() {
		if cerr := dst.Close(); err == nil && cerr != nil {
			err = tool.At(image.SideDestination, j.dst, "close", cerr)
		}
	}()
	transport.Pair(dst, src)
	p, err := engine.Prepare(ctx, dst, src, j.options(n))
	if err != nil {
		return res, err
	}
	if j.dryRun {
		r.Close()
		return res, show(std.Out, p)
	}
	if res, err = p.Run(ctx); err != nil {
		return res, err
	}
	return res, tool.At(image.SideDestination, j.dst, "tag", transport.Tag(ctx, j.also, j.to, p.Tree))
}

func (j *job) openSource(ctx context.Context, std *cli.IO, n image.Notify) (image.Source, error) {
	a, err := j.command.src.Access(std, &j.common, n)
	if err != nil {
		return nil, err
	}
	return j.src.Source(ctx, a)
}

func (j *job) openDestination(ctx context.Context, std *cli.IO, n image.Notify) (image.Destination, error) {
	a, err := j.command.dst.Access(std, &j.common, n)
	if err != nil {
		return nil, err
	}
	j.to = a
	a.Replace, a.Labels = j.replace, j.labels()
	if j.dryRun {
		return transport.Nowhere(ctx, j.dst, a)
	}
	return j.dst.Destination(ctx, a)
}

// labels are what an archive or stream calls the image, beside its own name:
// the additional names or, without any, what the source is called.
func (j *job) labels() []reference.Docker {
	d := j.src.Docker()
	if len(j.additional) > 0 || d.Tag == "" || !j.dst.Docker().IsZero() {
		return j.additional
	}
	return []reference.Docker{d}
}

func (j *job) options(n image.Notify) engine.Options {
	return engine.Options{
		Gate: engine.AdmitAll, Platforms: j.platforms, Sparse: j.sparse, With: j.with, Pin: pin(j.src), Target: pin(j.dst),
		Foreign: j.common.Foreign, Jobs: j.jobs, Notify: n, Source: j.src.String(), Destination: j.dst.String(),
	}
}

func pin(n transport.Name) digest.Digest { return n.Docker().Digest }

// finish says what came of it: on standard output, unless that is the image,
// and in the digest file.
func (j *job) finish(std *cli.IO, res engine.Result) error {
	if j.digestFile != "" {
		if err := os.WriteFile(j.digestFile, []byte(res.Root.Digest), 0o644); err != nil {
			return fmt.Errorf("digest file: %v", err)
		}
	}
	if j.stdout {
		return nil
	}
	_, err := fmt.Fprintln(std.Out, j.dst.Pinned(res.Root.Digest))
	return err
}
