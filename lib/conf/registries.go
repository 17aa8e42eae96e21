package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/lib/reference"
)

// ErrBlocked is wrapped by the error for a name that may not be used.
var ErrBlocked = errors.New("registry is blocked")

// Registries is what registries.conf and its drop-ins say about registries
// (containers-registries.conf(5), version 2). It does not change, and its
// methods may be called at the same time. Nil says nothing: every name is used
// as it is.
type Registries struct {
	entries []*entry
	helpers []string
}

// An Endpoint is one place that an image may be at.
type Endpoint struct {
	Ref      reference.Docker
	Insecure bool // plain HTTP and unverified TLS are allowed
	Mirror   bool // not the place that the name stands for
}

// An entry is one [[registry]] table.
type entry struct {
	prefix, location string // location is empty if nothing is rewritten
	insecure         bool
	blocked          bool
	digestOnly       bool // mirror-by-digest-only
	mirrors          []mirror
	path             string // of the file
	line             int
}

// A mirror is one [[registry.mirror]] table.
type mirror struct {
	location string
	insecure bool
	pull     string // pull-from-mirror: "all", "digest-only" or "tag-only"
	line     int
}

// A blockedError names the entry that blocks.
type blockedError struct{ *entry }

func (e blockedError) Error() string {
	return fmt.Sprintf("registry %s is blocked in %s, line %d", short(e.prefix), short(e.path), e.line)
}

func (e blockedError) Unwrap() error { return ErrBlocked }

// Pull returns where to read ref from, in the order to try: the mirrors that
// serve such references, then the place itself, rewritten if there is a
// location for it. A reference with neither tag nor digest, as for a list of
// tags, goes where tags go.
//
// What is blocked is left out. With blocked set, an entry still has its
// mirrors: that is how an image is kept from its origin. If nothing is left
// the error wraps ErrBlocked. If a rewritten name is none, it is an *Error.
func (r *Registries) Pull(ref reference.Docker) ([]Endpoint, error) {
	e, n := r.find(ref)
	if e == nil {
		return []Endpoint{{Ref: ref}}, nil
	}
	var endpoints []Endpoint
	var blocked error
	add := func(location string, line int, to Endpoint) error {
		var err error
		if to.Ref, err = e.rewrite(ref, n, location, line); err != nil {
			return err
		}
		switch at, _ := r.find(to.Ref); {
		case !to.Mirror && e.blocked:
			blocked = blockedError{e}
		case at != nil && at.blocked:
			blocked = blockedError{at}
		default:
			endpoints = append(endpoints, to)
		}
		return nil
	}
	for _, m := range e.mirrors {
		if !e.serves(m, ref) {
			continue
		}
		if err := add(m.location, m.line, Endpoint{Insecure: m.insecure, Mirror: true}); err != nil {
			return nil, err
		}
	}
	if err := add(e.location, e.line, Endpoint{Insecure: e.insecure}); err != nil {
		return nil, err
	}
	if len(endpoints) == 0 {
		return nil, blocked
	}
	return endpoints, nil
}

// Push returns where to write ref, or to delete it, or whatever else is for no
// mirror: the name as it is. Locations and mirrors are for reading. The error
// wraps ErrBlocked.
func (r *Registries) Push(ref reference.Docker) (Endpoint, error) {
	e, _ := r.find(ref)
	switch {
	case e == nil:
		return Endpoint{Ref: ref}, nil
	case e.blocked:
		return Endpoint{}, blockedError{e}
	}
	return Endpoint{Ref: ref, Insecure: e.insecure}, nil
}

// CredentialHelpers returns the helper programs to ask for credentials, in
// order; "containers-auth.json", which is the default, stands for the auth
// files. The caller may change the slice.
func (r *Registries) CredentialHelpers() []string {
	if r == nil || len(r.helpers) == 0 {
		return []string{"containers-auth.json"}
	}
	return slices.Clone(r.helpers)
}

// find returns the entry for ref, nil if there is none, and how much of ref's
// canonical form its prefix stands for. The longest prefix is the one; of two
// that are as long, the one without a wildcard.
func (r *Registries) find(ref reference.Docker) (*entry, int) {
	if r == nil {
		return nil, 0
	}
	ref.Unknown = false
	name := ref.String()
	var best *entry
	matched := 0
	for _, e := range r.entries {
		n := e.match(name)
		if n == 0 || best != nil && (len(e.prefix) < len(best.prefix) ||
			len(e.prefix) == len(best.prefix) && e.wildcard()) {
			continue
		}
		best, matched = e, n
	}
	return best, matched
}

func (e *entry) wildcard() bool { return strings.HasPrefix(e.prefix, "*.") }

// match returns how much of name the prefix stands for, 0 if it does not
// match. A prefix ends where a separator follows; that of a port is one, so
// that example.com is also example.com:5000.
func (e *entry) match(name string) int {
	n := len(e.prefix)
	if e.wildcard() {
		n = strings.IndexAny(name, ":/@")
		if n < 0 || !strings.HasSuffix(name[:n], e.prefix[1:]) {
			return 0
		}
		return n
	}
	if strings.HasPrefix(name, e.prefix) && (n == len(name) || strings.IndexByte(":/@", name[n]) >= 0) {
		return n
	}
	return 0
}

// serves reports whether a mirror is for such a reference.
func (e *entry) serves(m mirror, ref reference.Docker) bool {
	if ref.Digest == "" {
		return !e.digestOnly && m.pull != "digest-only"
	}
	return m.pull != "tag-only"
}

// rewrite returns ref with the first n bytes of its canonical form replaced by
// the location, or as it is if that is empty. line is where the location is.
func (e *entry) rewrite(ref reference.Docker, n int, location string, line int) (reference.Docker, error) {
	if location == "" {
		return ref, nil
	}
	unknown := ref.Unknown
	ref.Unknown = false
	name := location + ref.String()[n:]
	to, err := reference.ParseDocker(name)
	if err == nil && to.String() != name {
		err = errors.New("repository name must be canonical")
	}
	if err != nil {
		return reference.Docker{}, &Error{e.path, line, fmt.Sprintf("rewriting reference %s to %q: %v", ref, cut(name), err)}
	}
	to.Unknown = unknown
	return to, nil
}
