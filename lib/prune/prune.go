// Package prune decides which names and manifests of a place go, and deletes
// them. Prepare and PrepareNamed make a plan, which is data and deletes
// nothing; Run does what it says.
//
// It is built so that nothing is deleted which something that stays needs: the
// images of an index, the subject of an artifact, what is attached to an
// image. Like the engine of copies it knows no transport, no network and no
// terminal, only the interfaces of lib/image; of ours it imports lib/image and
// lib/oci.
package prune

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
)

// parallel is how many requests there are at a time.
const parallel = 8

// Options say what is deleted beside names. The zero value deletes names only.
type Options struct {
	Manifests bool // manifests too, of a rule those that nothing kept needs
	Referrers bool // with Manifests: and what is attached to them, in turn
}

// A Rule says which names of a place are kept. It is about the images that
// have names: names that belong to a digest (oci.IsAttachedTag) follow what
// they belong to.
type Rule struct {
	// Match says which names the rule is about; nil: about all. The others
	// are kept.
	Match func(name string) bool

	Keep      int           // this many of the names it is about are kept, the newest ones
	OlderThan time.Duration // and those whose image is not older than this; 0: none for its age
	Now       time.Time     // when that is
}

// ages reports whether the rule needs to know how old images are.
func (r Rule) ages() bool { return r.Keep > 0 || r.OlderThan > 0 }

// A Reason is why something is kept or goes.
type Reason int

// The reasons to keep a name or manifest.
const (
	Unmatched  Reason = iota // the rule is not about it
	Newest                   // it is one of the newest
	Young                    // it is not old enough
	Undated                  // nobody knows how old it is
	Missing                  // the name stands for nothing that is there
	Needed                   // something that is kept needs it
	Attached                 // something that is attached to it stays
	Unreadable               // it, or something that may need it, cannot be read

	Asked    // goes: it was named
	Matched  // goes: the rule keeps it for no reason
	Old      // goes: it is older than the rule allows
	Surplus  // goes: there are enough newer ones
	Unneeded // goes: nothing that is kept needs it
	Belongs  // goes: it is attached to something that goes
	Sibling  // goes: it is another name of a manifest that goes
)

var reasons = [...]string{
	Unmatched: "the rule is not about it", Newest: "among the newest", Young: "not old enough", Undated: "its age is not known",
	Missing: "there is no such manifest", Needed: "needed by", Attached: "attached to it, and stays:", Unreadable: "cannot be read:",
	Asked: "asked for", Matched: "matches", Old: "too old", Surplus: "there are enough newer ones", Unneeded: "nothing kept needs it",
	Belongs: "belongs to", Sibling: "is a name of",
}

// An Item is a name or a manifest, and what becomes of it.
type Item struct {
	image.Deletion           // of a name the Digest too, if it is known
	Created        time.Time // when the image was made; zero if that was not asked, or is not known
	Reason         Reason
	By             string // of some reasons: which other name or manifest
}

// Why is the reason in words.
func (i Item) Why() string {
	if i.By == "" {
		return reasons[i.Reason]
	}
	return reasons[i.Reason] + " " + i.By
}

// A Plan is what will be deleted.
type Plan struct {
	// Steps are what goes: first names, those that belong to a digest after
	// the others, and then manifests, each before what it points at. What
	// is in one step goes in no order.
	Steps [][]Item

	// Kept are the names that stay, and those manifests that would go but
	// for the reason given.
	Kept []Item

	shelf  image.Shelf
	known  map[string]bool                   // of a rule: the names that there were
	points map[digest.Digest][]digest.Digest // from a manifest that goes to others that do
	clings map[digest.Digest][]digest.Digest // to what is attached to it, and goes
}

// Going returns the items of all steps.
func (p *Plan) Going() []Item {
	var list []Item
	for _, s := range p.Steps {
		list = append(list, s...)
	}
	return list
}

// An Error is returned by Run when not all went well.
type Error struct {
	Failed []Failure // what could not be deleted
	Beside []error   // what went wrong although all that was asked for is gone
}

// A Failure is an item that is still there.
type Failure struct {
	Item
	Err error
}

func (e *Error) Error() string {
	errs := e.Unwrap()
	s := errs[0].Error()
	if len(e.Failed) > 0 {
		s = e.Failed[0].String() + ": " + s
	}
	if n := len(errs) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Unwrap returns all that went wrong.
func (e *Error) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed)+len(e.Beside))
	for _, f := range e.Failed {
		errs = append(errs, f.Err)
	}
	return append(errs, e.Beside...)
}
