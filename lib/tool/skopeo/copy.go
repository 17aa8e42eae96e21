package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	engine "github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/policy"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport"
)

type copyCommand struct {
	*program
	src, dst access
	common   common

	all, quiet, preserve, removeSignatures bool

	multiArch  string
	additional []string
	digestFile string
	format     string
	parallel   int
}

func newCopy(p *program) runner {
	return &copyCommand{program: p, src: access{prefix: "src-", side: image.SideSource}, dst: access{prefix: "dest-", side: image.SideDestination}}
}

func (c *copyCommand) flags(fs *pflag.FlagSet) {
	c.src.flags(fs)
	c.dst.flags(fs)
	c.common.flags(fs)
	fs.BoolVarP(&c.all, "all", "a", false, "take every image that a list names")
	fs.StringVar(&c.multiArch, "multi-arch", "", "what to take of a list: system, all or index-only")
	fs.BoolVarP(&c.quiet, "quiet", "q", false, "print no progress")
	fs.StringSliceVar(&c.additional, "additional-tag", nil, "further names for the copy, in a docker-archive")
	fs.StringVar(&c.digestFile, "digestfile", "", "file that gets the digest of the copy")
	fs.StringVarP(&c.format, "format", "f", "", "MANIFEST TYPE of the copy: oci or v2s2; without it, that of the source")
	fs.BoolVar(&c.preserve, "preserve-digests", false, "fail rather than change a digest; nothing here does")
	fs.BoolVar(&c.removeSignatures, "remove-signatures", false, "leave the source's signatures behind")
	fs.IntVar(&c.parallel, "image-parallel-copies", 0, "how many layers move at a time")
}

// A copyJob is a copy whose options have been checked.
type copyJob struct {
	*copyCommand
	src, dst       transport.Name
	policy         *policy.Policy
	from, to       *transport.Access
	additionalTags []reference.Docker
}

// run keeps skopeo's order of checks.
func (c *copyCommand) run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return &countError{"Exactly two arguments expected"}
	}
	j := &copyJob{copyCommand: c}
	var err error
	if j.policy, err = c.loadPolicy(); err != nil {
		return fmt.Errorf("Error loading trust policy: %w", err)
	}
	if j.src, err = transport.Parse(args[0]); err != nil {
		return &parseError{fmt.Sprintf("Invalid source name %s: %v", args[0], err)}
	}
	if j.dst, err = transport.Parse(args[1]); err != nil {
		return &parseError{fmt.Sprintf("Invalid destination name %s: %v", args[1], err)}
	}
	if err := j.open(); err != nil {
		return err
	}
	if err := j.checkModes(); err != nil {
		return err
	}
	res, err := j.do(ctx)
	if err != nil {
		return err
	}
	if c.digestFile != "" {
		if err := os.WriteFile(c.digestFile, []byte(res.Root.Digest), 0o644); err != nil {
			return fmt.Errorf("Failed to write digest to file %q: %w", c.digestFile, err)
		}
	}
	return nil
}

// loadPolicy reads the policy; nil accepts everything.
func (c *copyCommand) loadPolicy() (*policy.Policy, error) {
	if c.global.insecurePolicy {
		if c.global.requireSigned {
			return nil, errors.New("--insecure-policy and --require-signed are mutually exclusive")
		}
		return nil, nil
	}
	path, err := policy.Find(c.global.policy, os.Getenv)
	if err != nil {
		return nil, err
	}
	return policy.Load(path)
}

func (j *copyJob) open() error {
	var err error
	if j.from, err = j.copyCommand.src.open(j.program, j.common); err != nil {
		return err
	}
	if j.to, err = j.copyCommand.dst.open(j.program, j.common); err != nil {
		return err
	}
	for _, s := range j.additional {
		n, err := reference.ParseDocker(s)
		if err != nil {
			return fmt.Errorf("error parsing additional-tag '%s': %w", s, err)
		}
		if n.Tag == "" {
			return fmt.Errorf("additional-tag '%s' must be a tagged reference", s)
		}
		j.additionalTags = append(j.additionalTags, n)
	}
	j.to.Labels, j.to.Replace = j.additionalTags, true
	return nil
}

func (j *copyJob) checkModes() error {
	switch j.multiArch {
	case "", "system", "all", "index-only":
	default:
		return fmt.Errorf("unknown multi-arch option %q. Choose one of the supported options: 'system', 'all', or 'index-only'", j.multiArch)
	}
	if j.all && j.multiArch != "" {
		return errors.New("Cannot use --all and --multi-arch flags together")
	}
	if j.all {
		j.multiArch = "all"
	}
	switch j.format {
	case "", "oci", "v2s2":
	case "v2s1":
		return errors.New("writing schema 1 manifests is not possible")
	default:
		return fmt.Errorf("unknown format %q. Choose one of the supported formats: 'oci', 'v2s1', or 'v2s2'", j.format)
	}
	return nil
}

func (j *copyJob) options() engine.Options {
	o := engine.Options{
		Gate: j.gate, Jobs: j.parallel, Notify: j.notify, Pin: j.src.Docker().Digest, Target: j.dst.Docker().Digest,
		Source: j.src.String(), Destination: j.dst.String(),
	}
	switch j.multiArch {
	case "all":
	case "index-only":
		o.Sparse = true
	default:
		p := j.global.platform()
		o.Instance = &p
	}
	return o
}

func (j *copyJob) gate(context.Context, oci.Raw) error {
	if j.policy == nil {
		return nil
	}
	kind, scopes := transport.Scopes(j.src)
	if err := j.policy.Decide(kind, j.src.String(), scopes); err != nil {
		return fmt.Errorf("Source image rejected: %w", err)
	}
	return nil
}

func (j *copyJob) do(ctx context.Context) (res engine.Result, err error) {
	dst, err := j.dst.Destination(ctx, j.to)
	if err != nil {
		return res, fmt.Errorf("initializing destination %s: %w", show(j.dst), err)
	}
	defer func() {
		if cerr := dst.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("(dest: %s): %w", j.dst, cerr)
		}
	}()
	src, err := j.src.Source(ctx, j.from)
	if err != nil {
		return res, initializing(j.src, err)
	}
	defer src.Close()
	transport.Pair(dst, src)
	plan, err := engine.Prepare(ctx, dst, src, j.options())
	if err != nil {
		return res, j.explain(err)
	}
	if err := j.checkGroup(plan, dst.Wants()); err != nil {
		return res, err
	}
	if err := j.checkFormat(plan); err != nil {
		return res, err
	}
	plan.Notes = nil // skopeo takes one image of a list and says nothing
	say := j.say(plan)
	if res, err = plan.Run(ctx); err != nil {
		return res, j.explain(err)
	}
	say.end(plan)
	return res, nil
}

// checkGroup refuses a list that was asked for where only one image of it can
// go, which is what the plan then says.
func (j *copyJob) checkGroup(p *engine.Plan, w image.Wants) error {
	system := j.multiArch == "" || j.multiArch == "system"
	if system || !w.Single || p.Tree == nil || p.Tree.Desc.Digest == p.Source {
		return nil
	}
	kind, _, _ := strings.Cut(j.dst.String(), ":")
	return fmt.Errorf("copying multiple images: destination transport %q does not support copying multiple images as a group", kind)
}

// checkFormat refuses a type of manifest that only a conversion would give.
func (j *copyJob) checkFormat(p *engine.Plan) error {
	if j.format == "" || p.Tree == nil {
		return nil
	}
	for t := range p.Tree.Walk() {
		if t.Manifest == nil {
			continue
		}
		isDocker := t.Manifest.MediaType == oci.MediaTypeDockerManifest || t.Manifest.MediaType == oci.MediaTypeDockerList
		if isDocker != (j.format == "v2s2") {
			return fmt.Errorf("manifest %s has type %s: converting it to %s is not possible", t.Desc.Digest, t.Manifest.MediaType, j.format)
		}
	}
	return nil
}

// explain puts an error of the engine into skopeo's words.
func (j *copyJob) explain(err error) error {
	var e *image.Error
	if !errors.As(err, &e) || e.Op == "admit image" {
		return unwrapped(err)
	}
	switch {
	case errors.Is(err, engine.ErrPlatform):
		return &parseError{fmt.Sprintf("choosing an image from manifest list %s: %v", show(j.src), e.Err)}
	case e.Side == image.SideSource && e.Op == "read manifest":
		return initializing(j.src, err)
	case e.Side == image.SideSource:
		return fmt.Errorf("%s: %w", e.Op, cause(j.src, err))
	}
	return fmt.Errorf("writing to %s: %s: %w", show(j.dst), e.Op, e.Err)
}

func unwrapped(err error) error {
	var e *image.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func copyLong() string { return "Copy an image from one place to another.\n\n" + supported() }
