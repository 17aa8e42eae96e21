package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
)

// A Log hears from a shelf what becomes of each deletion. Its Notify is to be
// told the shelf's events; without that, what a failed request deleted before
// it failed counts as failed.
type Log struct {
	mu   sync.Mutex
	hear func(what string, err error)
}

// Notify takes the events of a shelf. It is an image.Notify.
func (l *Log) Notify(e image.Event) {
	if e.Kind != image.EventDelete {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hear != nil {
		l.hear(e.Text, e.Err)
	}
}

// listen makes f hear what becomes of deletions; nil ends that.
func (l *Log) listen(f func(string, error)) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear = f
}

// Errors of what has not been tried.
var (
	errNeeded  = errors.New("left, because what points at it could not be deleted")
	errNamed   = errors.New("left, because a name that needs it could not be deleted")
	errStopped = errors.New("not tried")
)

// Run deletes what the plan says, one step after the other. A manifest is left
// when a name of it, or something that points at it, could not be deleted, or
// when it has got a new name since a rule's plan was made.
// Where a name cannot be deleted by itself, it goes with its manifest if that
// does, and is left otherwise. Where the first name takes a kept one with it,
// nothing more is deleted.
//
// done is told of each item that is gone, one at a time, as it becomes known.
// The error is an *Error with all that is not; it wraps image.ErrUnsupported
// if a name could not be deleted by itself. Run is called once.
func (p *Plan) Run(ctx context.Context, log *Log, done func(Item)) error {
	r := &runner{Plan: p, log: log, done: done, stuck: map[digest.Digest]error{}, gone: map[digest.Digest]bool{}}
	looked := false
	for _, step := range p.Steps {
		if step[0].Name != "" {
			r.names(ctx, step)
			continue
		}
		if !looked {
			r.again(ctx)
			looked = true
		}
		r.manifests(ctx, step)
	}
	for _, it := range r.together {
		if !r.gone[it.Digest] {
			r.fail(it, r.alone)
		}
	}
	if r.halt != nil && !slices.ContainsFunc(r.failed, func(f Failure) bool { return errors.Is(f.Err, r.halt) }) {
		r.beside = append(r.beside, r.halt) // it came with the last one
	}
	if len(r.failed)+len(r.beside) > 0 {
		return &Error{r.failed, r.beside}
	}
	return nil
}

type runner struct {
	*Plan
	log  *Log
	done func(Item)

	stuck    map[digest.Digest]error // manifests that are to be left
	gone     map[digest.Digest]bool  // manifests that were deleted
	together []Item                  // names that go with their manifests
	alone    error                   // why they do not go by themselves
	halt     error                   // why no more is deleted
	failed   []Failure
	beside   []error
}

func (r *runner) fail(it Item, err error) { r.failed = append(r.failed, Failure{it, err}) }

// names deletes names, but for those that belong to something that is to be
// left. The first goes alone, to see whether that can be done.
func (r *runner) names(ctx context.Context, all []Item) {
	var step []Item
	for _, it := range all {
		if err := r.stuck[digest.Digest(it.By)]; it.Reason == Belongs && err != nil {
			r.fail(it, err)
			r.stick(it)
			continue
		}
		step = append(step, it)
	}
	if len(step) == 0 {
		return
	}
	if len(r.together) > 0 {
		r.join(step)
		return
	}
	sibling := r.probe(step)
	first := r.delete(ctx, step[:1])
	if errors.Is(first[0], image.ErrUnsupported) {
		r.alone = first[0]
		r.join(step)
		return
	}
	if first[0] == nil && sibling != "" {
		r.halt = r.check(ctx, sibling, step[0].Name)
	}
	rest := r.delete(ctx, step[1:])
	for i, err := range append(first, rest...) {
		it := step[i]
		if err != nil {
			r.fail(it, err)
			r.stick(it)
		}
	}
}

// probe puts a name first that stands for the same as one that is kept, if
// there is any, and returns that one.
func (r *runner) probe(step []Item) (sibling string) {
	kept := map[digest.Digest]string{}
	for _, it := range r.Kept {
		if it.Name != "" && it.Digest != "" {
			kept[it.Digest] = it.Name
		}
	}
	for i, it := range step {
		if s := kept[it.Digest]; s != "" {
			step[0], step[i] = step[i], step[0]
			return s
		}
	}
	return ""
}

// check fails if a name that is to be kept went with the one that was deleted.
// Some registries answer that a tag is deleted and delete its manifest: one tag
// lost is enough.
func (r *runner) check(ctx context.Context, kept, deleted string) error {
	_, err := image.Find(ctx, r.shelf, kept)
	if errors.Is(err, image.ErrNotFound) {
		return fmt.Errorf("%w: with the name %s went %s, which stood for the same and was to be kept", image.ErrUnsupported, deleted, kept)
	}
	if err != nil {
		return fmt.Errorf("see whether %s is still there: %w", kept, err)
	}
	return nil
}

// stick leaves what a name that is still there stands for and belongs to, and
// with these what they point at and what is attached to them.
func (r *runner) stick(name Item) {
	list := []digest.Digest{name.Digest}
	if name.Reason == Belongs {
		list = append(list, digest.Digest(name.By))
	}
	r.leave(errNamed, list...)
}

// join makes names go with their manifests.
func (r *runner) join(step []Item) {
	r.together = append(r.together, step...)
	goes := map[digest.Digest]bool{}
	for _, it := range r.Going() {
		if it.Name == "" {
			goes[it.Digest] = true
		}
	}
	for _, it := range step {
		if !goes[it.Digest] {
			r.stick(it)
		}
	}
}

// manifests deletes the manifests of one step, but for those that are stuck.
func (r *runner) manifests(ctx context.Context, step []Item) {
	var list []Item
	for _, it := range step {
		if err := r.stuck[it.Digest]; err != nil {
			r.fail(it, err)
			r.hold(it.Digest)
			continue
		}
		list = append(list, it)
	}
	for i, err := range r.delete(ctx, list) {
		it := list[i]
		if err != nil {
			r.fail(it, err)
			r.hold(it.Digest)
			continue
		}
		r.bury(it)
	}
}

// hold leaves what a manifest that is still there points at.
func (r *runner) hold(d digest.Digest) {
	for _, to := range r.points[d] {
		if r.stuck[to] == nil {
			r.stuck[to] = errNeeded
		}
	}
}

// bury notes that a manifest is gone, and those names that went with it.
func (r *runner) bury(it Item) {
	r.gone[it.Digest] = true
	for _, name := range r.together {
		if name.Digest == it.Digest {
			r.done(name)
		}
	}
}

// delete deletes the items and returns what became of each. It tells done of
// those that are gone.
func (r *runner) delete(ctx context.Context, list []Item) []error {
	results := make([]error, len(list))
	if len(list) == 0 {
		return results
	}
	err := r.halt
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		for i := range results {
			results[i] = fmt.Errorf("%w: %w", errStopped, err)
		}
		return results
	}
	at := make(map[string]int, len(list))
	what := make([]image.Deletion, len(list))
	for i, it := range list {
		at[it.String()], what[i] = i, it.Deletion
	}
	known := make([]bool, len(list))
	settle := func(i int, err error) {
		if known[i] {
			return
		}
		if known[i], results[i] = true, err; err == nil {
			r.done(list[i])
		}
	}
	r.log.listen(func(text string, err error) {
		if i, ok := at[text]; ok {
			settle(i, err)
		}
	})
	err = r.shelf.Delete(ctx, what)
	r.log.listen(nil)
	for i := range list {
		settle(i, err)
	}
	if err != nil && !slices.ContainsFunc(results, func(err error) bool { return err != nil }) {
		r.beside = append(r.beside, err)
	}
	return results
}
