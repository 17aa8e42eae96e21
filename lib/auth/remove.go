package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Remove removes the credential of exactly that key, whatever spelling of it
// the file has; those of its parents and of its namespaces stay. The result
// tells where it was, in more than one place if Helpers are used.
//
// If there is none the error wraps ErrNotStored, and nothing has changed. The
// other errors are those of Put; what they do not concern is removed.
func (s *Store) Remove(ctx context.Context, key string) ([]Stored, error) {
	t, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	p, err := s.place()
	if err != nil {
		return nil, err
	}
	var removed []Stored
	var failed error
	for _, name := range s.places(p) {
		var some []Stored
		switch {
		case name == FilesHelper:
			some, err = s.removeFromFile(ctx, p, t)
		case !t.namespaced():
			some, err = s.forget(ctx, name, t.servers(t.host))
		}
		removed = append(removed, some...)
		if err != nil {
			failed = chain(failed, err)
		}
	}
	if failed == nil && len(removed) == 0 {
		failed = fmt.Errorf("%w for %s", ErrNotStored, strconv.Quote(key))
	}
	return removed, failed
}

// places are the helper programs to go to, and the file as FilesHelper.
func (s *Store) places(p place) []string {
	if p.docker || len(s.Helpers) == 0 {
		return []string{FilesHelper}
	}
	return s.Helpers
}

func (s *Store) removeFromFile(ctx context.Context, p place, t target) ([]Stored, error) {
	f, err := readTarget(p.path)
	if err != nil {
		return nil, err
	}
	r, err := f.route(p, t)
	if err != nil {
		return nil, err
	}
	var removed []Stored
	if r.helper != "" && !t.namespaced() {
		removed, err = s.forget(ctx, r.helper, t.servers(r.server))
		if err != nil {
			return removed, inFileError(f, err)
		}
	}
	same := func(key string) bool { return canonicalKey(key) == t.scopes[0] }
	if !slices.ContainsFunc(f.auths, func(m member) bool { return same(m.key) }) {
		return removed, nil
	}
	err = s.update(ctx, p.path, func(f *file) (*file, error) { return f.without(same) })
	if err != nil {
		return removed, err
	}
	for _, m := range f.auths {
		// The mark that a helper program has it is not one more credential.
		if same(m.key) && (r.helper == "" || f.holds(m)) {
			removed = append(removed, Stored{Key: m.key, File: p.path})
		}
	}
	return removed, nil
}

// holds reports whether an entry has a credential in it. What can not be read
// may be one.
func (f *file) holds(m member) bool {
	c, err := f.decode(match{member: m}, func(string) {})
	return err != nil || !c.IsZero()
}

// List returns what is stored, in the order of the file. What helper programs
// have is what they list; one that does not is a warning.
//
// Errors are those of Put.
func (s *Store) List(ctx context.Context) ([]Stored, error) {
	p, err := s.place()
	if err != nil {
		return nil, err
	}
	var all []Stored
	for _, name := range s.places(p) {
		var some []Stored
		if name == FilesHelper {
			some, err = s.listFile(ctx, p)
		} else {
			some, err = s.listHelper(ctx, name, func(string) bool { return true })
		}
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func (s *Store) listFile(ctx context.Context, p place) ([]Stored, error) {
	f, err := readTarget(p.path)
	if err != nil {
		return nil, err
	}
	var all []Stored
	store := ""
	if f.credsStore != nil {
		if store, err = f.text(*f.credsStore, "credsStore"); err != nil {
			return nil, err
		}
	}
	for _, m := range f.auths {
		switch {
		case f.holds(m):
			all = append(all, Stored{Key: m.key, File: p.path})
		case store != "" && !f.delegates(m.key):
			all = append(all, Stored{Key: m.key, Helper: store})
		}
	}
	for _, m := range f.credHelpers {
		name, err := f.text(m, "credHelpers")
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		some, err := s.listHelper(ctx, name, func(server string) bool { return canonicalKey(server) == canonicalKey(m.key) })
		if err != nil {
			return nil, inFileError(f, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// delegates reports whether credHelpers names what has the credential of a key.
func (f *file) delegates(key string) bool {
	return slices.ContainsFunc(f.credHelpers, func(m member) bool { return canonicalKey(m.key) == canonicalKey(key) })
}

// listHelper lists the servers that a helper program knows. Listing is the
// one thing that some can not do.
func (s *Store) listHelper(ctx context.Context, name string, want func(server string) bool) ([]Stored, error) {
	servers, err := s.list(ctx, name)
	if err != nil {
		if ctx.Err() == nil && checkHelperName(name) == nil {
			s.warn(err.Error())
			return nil, nil
		}
		return nil, err
	}
	var all []Stored
	for _, server := range slices.Sorted(maps.Keys(servers)) {
		if want(server) {
			all = append(all, Stored{Key: server, Helper: name})
		}
	}
	return all, nil
}

// RemoveAll removes all that List returns, and returns it. With nothing stored
// it does nothing. An error of one helper program does not keep the rest; all
// are in the error that is returned, which has those of Put.
func (s *Store) RemoveAll(ctx context.Context) ([]Stored, error) {
	all, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.place()
	if err != nil {
		return nil, err
	}
	var removed []Stored
	var failed error
	for _, one := range all {
		var err error
		if one.Helper != "" {
			err = s.erase(ctx, one.Helper, one.Key)
		}
		switch {
		case err == nil:
			removed = append(removed, one)
		case !errors.Is(err, ErrNotStored):
			failed = chain(failed, err)
		}
	}
	f, err := readTarget(p.path)
	if err != nil || !slices.Contains(s.places(p), FilesHelper) || len(f.auths) == 0 && len(f.credHelpers) == 0 {
		return removed, orNil(failed, err)
	}
	err = s.update(ctx, p.path, func(f *file) (*file, error) { return f.empty(s.DropHelpers) })
	if err != nil {
		removed = slices.DeleteFunc(removed, func(one Stored) bool { return one.Helper == "" })
	}
	return removed, orNil(failed, err)
}

func orNil(failed, err error) error {
	if err == nil {
		return failed
	}
	return chain(failed, err)
}

// forget erases what a helper program has for the servers, which are names of
// one registry. Listing tells what it has without unlocking anything, and how
// it spells that; where that is not possible it is erased unseen.
func (s *Store) forget(ctx context.Context, name string, servers []string) ([]Stored, error) {
	known, err := s.list(ctx, name)
	if err != nil && (ctx.Err() != nil || checkHelperName(name) != nil) {
		return nil, err
	}
	names := servers[:1]
	if err == nil {
		names = slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(name string) bool {
			return canonicalKey(name) != canonicalKey(servers[0])
		})
	}
	var removed []Stored
	for _, server := range names {
		switch err := s.erase(ctx, name, server); {
		case err == nil:
			removed = append(removed, Stored{Key: server, Helper: name})
		case !errors.Is(err, ErrNotStored):
			return removed, err
		}
	}
	return removed, nil
}
