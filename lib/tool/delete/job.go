package delete

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/prune"
	"github.com/imgtools/imgtools/lib/tool"
)

// A job is the work in one place.
type job struct {
	*command
	std   *cli.IO
	place *place
	sum   *sum

	shelf image.Shelf
	log   prune.Log
}

// do plans and, unless that is all that was asked for, deletes.
func (j *job) do(ctx context.Context, r prune.Rule) error {
	n, err := j.notify()
	if err != nil {
		return err
	}
	a, err := j.access.Access(j.std, &j.common, n)
	if err != nil {
		return err
	}
	if j.shelf, err = j.open(ctx, j.place.name, a); err != nil {
		return j.at(err)
	}
	defer j.shelf.Close()
	o := prune.Options{Manifests: j.manifest, Referrers: j.referrers}
	var p *prune.Plan
	if j.ruled() {
		p, err = prune.Prepare(ctx, j.shelf, r, o)
	} else {
		p, err = prune.PrepareNamed(ctx, j.shelf, j.place.targets, o)
	}
	if err != nil {
		return j.at(err)
	}
	if !j.ruled() && !j.ignoreMissing {
		j.missing(p)
	}
	if j.dryRun {
		return j.show(ctx, p)
	}
	if j.ruled() {
		j.explainKept(p)
	}
	return j.delete(ctx, p)
}

// notify returns what the shelf is to tell of its work.
func (j *job) notify() (image.Notify, error) {
	r, err := cli.NewRenderer("none", j.std, "img-delete")
	if err != nil {
		return nil, err
	}
	show := tool.Notify(r, j.place.String())
	return func(e image.Event) {
		if e.Kind == image.EventDelete {
			j.log.Notify(e)
			return
		}
		show(e)
	}, nil
}

// at says of an error in which place it came.
func (j *job) at(err error) error { return at(j.place.String(), err) }

func at(name string, err error) error {
	var e *image.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, cli.ErrUsage) {
		return err
	}
	return &image.Error{Op: "delete", Reference: name, Err: err}
}

// missing counts what was named and is not there.
func (j *job) missing(p *prune.Plan) {
	var list []prune.Failure
	for _, it := range p.Kept {
		if it.Reason == prune.Missing {
			list = append(list, prune.Failure{Item: it, Err: image.ErrNotFound})
		}
	}
	j.failures(list)
}

func (j *job) delete(ctx context.Context, p *prune.Plan) error {
	before := j.sum.done
	err := p.Run(ctx, &j.log, func(it prune.Item) {
		j.sum.done++
		fmt.Fprintln(j.std.Out, j.place.of(it.Deletion)) // std remembers its error
	})
	var e *prune.Error
	if !errors.As(err, &e) {
		return j.at(err)
	}
	if errors.Is(err, image.ErrUnsupported) && !j.manifest && j.sum.done == before {
		return j.refuse(ctx, e)
	}
	j.failures(e.Failed)
	for _, err := range e.Beside {
		j.sum.fail(j.at(err))
	}
	return nil
}

// failures counts what failed, and all that failed for one reason once: of 500
// tags that nobody may delete, one line is enough.
func (j *job) failures(list []prune.Failure) {
	alike := map[string][]string{} // what failed, by reason
	var first []prune.Failure
	for _, f := range list {
		why := f.Err.Error()
		if alike[why] == nil {
			first = append(first, f)
		}
		alike[why] = append(alike[why], f.String())
	}
	for _, f := range first {
		if names := alike[f.Err.Error()]; len(names) > 1 {
			j.sum.fail(j.at(fmt.Errorf("%s: %w", few(names, ""), f.Err)))
		} else {
			j.sum.fail(at(j.place.of(f.Deletion), f.Err))
		}
	}
}

// refuse says what --manifest would delete where a tag alone cannot be.
func (j *job) refuse(ctx context.Context, e *prune.Error) error {
	err := &refusedError{j.at(e.Failed[0].Err), "--manifest deletes the manifest with all of its tags"}
	if j.ruled() {
		err.hint = "--manifest deletes manifests of which no tag is kept, with all of their tags"
		return err
	}
	var names, going []prune.Item
	for _, f := range e.Failed {
		names = append(names, f.Item)
		going = append(going, f.Item, prune.Item{Deletion: image.Deletion{Digest: f.Digest}})
	}
	siblings, serr := prune.Siblings(ctx, j.shelf, going)
	if serr != nil {
		j.std.Warnf("which other tags --manifest would delete is not known: %v", serr)
		return err
	}
	others := map[digest.Digest][]string{}
	for _, it := range siblings {
		others[it.Digest] = append(others[it.Digest], it.Name)
	}
	said := map[digest.Digest]bool{}
	for _, it := range names {
		if said[it.Digest] {
			continue
		}
		said[it.Digest] = true
		manifest := j.place.of(image.Deletion{Digest: it.Digest})
		if list := others[it.Digest]; len(list) > 0 {
			j.std.Warnf("--manifest would delete %s, and with it these other tags: %s", manifest, strings.Join(list, " "))
		} else {
			j.std.Warnf("--manifest would delete %s, which has no other tag", manifest)
		}
	}
	return err
}

// show writes the plan, in lines of words parted by tabs: what happens, to what,
// its digest, when the image was made, and why.
func (j *job) show(ctx context.Context, p *prune.Plan) error {
	going := p.Going()
	if j.manifest && !j.ruled() && len(going) > 0 { // a rule has looked at all names
		others, err := prune.Siblings(ctx, j.shelf, going)
		if err != nil {
			return j.at(err)
		}
		going = append(others, going...)
	}
	line := func(verb string, it prune.Item) error {
		created, d := "-", "-"
		if !it.Created.IsZero() {
			created = it.Created.UTC().Format(time.RFC3339)
		}
		if it.Digest != "" {
			d = it.Digest.String()
		}
		_, err := fmt.Fprintf(j.std.Out, "%s\t%s\t%s\t%s\t%s\n", verb, j.place.of(it.Deletion), d, created, cli.Clean(it.Why()))
		return err
	}
	for _, part := range []struct {
		verb  string
		items []prune.Item
	}{{"delete", going}, {"keep", p.Kept}} {
		for _, it := range part.items {
			if part.verb == "delete" {
				j.sum.done++
			}
			if err := line(part.verb, it); err != nil {
				return err
			}
		}
	}
	return nil
}

// explainKept says what a rule did not decide as one might expect.
func (j *job) explainKept(p *prune.Plan) {
	about := map[prune.Reason][]string{}
	for _, it := range p.Kept {
		about[it.Reason] = append(about[it.Reason], it.String())
	}
	for _, text := range []struct {
		why  prune.Reason
		text string
	}{
		{prune.Undated, "kept, because nobody knows how old it is"},
		{prune.Missing, "kept, though what it stands for is not there"},
		{prune.Attached, "kept, because something is attached that stays: see --referrers"},
		{prune.Unreadable, "kept, because it, or something that may need it, cannot be read"},
	} {
		if list := about[text.why]; len(list) > 0 {
			j.std.Warnf("%s: %s", text.text, few(list, ", which --dry-run lists"))
		}
	}
}

// few lists some of many, with a word about the others.
func few(list []string, others string) string {
	const most = 10
	slices.Sort(list)
	s := strings.Join(list[:min(len(list), most)], " ")
	if n := len(list) - most; n > 0 {
		s += fmt.Sprintf(" and %d more%s", n, others)
	}
	return cli.Clean(s)
}
