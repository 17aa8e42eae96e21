package listtags

import (
	"regexp"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/oci"
)

// A selection says which names are listed, and in which order.
type selection struct {
	all     bool   // those too that belong to a digest
	match   string // regular expression
	semver  string // constraint
	sort    string // order: as the place has them, byName or byVersion
	reverse bool
	limit   int
}

// Values of --sort.
const (
	byName    = "name"
	byVersion = "version"
)

// apply selects from names, which it changes. The error is a usage error.
func (s *selection) apply(names []string) ([]string, error) {
	keep, err := s.filter()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !keep(n) })
	switch s.sort {
	case byName:
		slices.Sort(names)
	case byVersion:
		sortVersions(names)
	}
	if s.reverse {
		slices.Reverse(names)
	}
	if s.limit > 0 && len(names) > s.limit {
		names = names[:s.limit]
	}
	return names, nil
}

// filter returns what says whether a name is listed.
func (s *selection) filter() (func(string) bool, error) {
	re, err := regexp.Compile(s.match)
	if err != nil {
		return nil, cli.Usagef("--match: %v", err)
	}
	var c constraint
	if s.semver != "" {
		if c, err = parseConstraint(s.semver); err != nil {
			return nil, cli.Usagef("--semver %v", err)
		}
	}
	return func(name string) bool {
		if !s.all && oci.IsAttachedTag(name) || !re.MatchString(name) {
			return false
		}
		if c == nil {
			return true
		}
		v, ok := parseVersion(name)
		return ok && c.allows(v)
	}, nil
}

// sortVersions sorts names by version, those first that are none.
func sortVersions(names []string) {
	versions := make(map[string]version, len(names))
	for _, n := range names {
		if v, ok := parseVersion(n); ok {
			versions[n] = v
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		v, isV := versions[a]
		w, isW := versions[b]
		switch {
		case isV && isW:
			if n := v.compare(w); n != 0 {
				return n
			}
		case isV:
			return 1
		case isW:
			return -1
		}
		return strings.Compare(a, b)
	})
}
