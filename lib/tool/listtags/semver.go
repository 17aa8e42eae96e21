package listtags

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A version is a semantic version (semver.org, 2.0.0). Like most tags it may
// have a v before it, less than three numbers, and zeros before a number.
type version struct {
	num [3]uint64
	pre string // of a pre-release, "" for none
}

// parseVersion reads a whole tag as a version.
func parseVersion(s string) (version, bool) {
	v, parts, ok := parsePartial(s, false)
	return v, ok && parts > 0
}

// parsePartial reads a version of which the numbers may be missing from the
// right or, with wild, be x, X or *. It returns how many there are.
func parsePartial(s string, wild bool) (v version, parts int, ok bool) {
	s, meta, hasMeta := strings.Cut(strings.TrimPrefix(s, "v"), "+")
	s, pre, hasPre := strings.Cut(s, "-")
	if hasMeta && !identifiers(meta, false) || hasPre && !identifiers(pre, true) {
		return v, 0, false
	}
	v.pre = pre
	numbers := strings.Split(s, ".")
	if len(numbers) > len(v.num) {
		return v, 0, false
	}
	rest := false
	for i, n := range numbers {
		if wild && (n == "x" || n == "X" || n == "*") {
			rest = true
			continue
		}
		var err error
		if v.num[i], err = strconv.ParseUint(n, 10, 64); err != nil {
			return v, 0, false
		}
		if !rest {
			parts = i + 1
		} else {
			v.num[i] = 0 // 1.x.3: what is behind an x says nothing
		}
	}
	return v, parts, true
}

// identifiers reports whether s is dot-separated identifiers: of a pre-release
// numbers have no zero before them.
func identifiers(s string, pre bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return false
		}
		if pre && isNumber(id) && len(id) > 1 && id[0] == '0' {
			return false
		}
	}
	return true
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// compare orders versions by precedence.
func (v version) compare(w version) int {
	if n := compareNumbers(v.num, w.num); n != 0 {
		return n
	}
	switch {
	case v.pre == w.pre:
		return 0
	case v.pre == "":
		return 1
	case w.pre == "":
		return -1
	}
	a, b := strings.Split(v.pre, "."), strings.Split(w.pre, ".")
	for i := range min(len(a), len(b)) {
		if n := compareIdentifiers(a[i], b[i]); n != 0 {
			return n
		}
	}
	return len(a) - len(b)
}

func compareNumbers(a, b [3]uint64) int {
	for i := range a {
		if n := cmp.Compare(a[i], b[i]); n != 0 {
			return n
		}
	}
	return 0
}

// compareIdentifiers: numbers by value, and before words.
func compareIdentifiers(a, b string) int {
	x, y := isNumber(a), isNumber(b)
	switch {
	case x && y && len(a) != len(b):
		return len(a) - len(b)
	case x && !y:
		return -1
	case y && !x:
		return 1
	}
	return strings.Compare(a, b)
}

// A constraint says which versions are meant: those that fit all comparators
// of one of the groups.
type constraint [][]comparator

// A comparator is an operator and a version, of which only the first parts
// numbers are given.
type comparator struct {
	op    string
	v     version
	parts int
}

var errConstraint = errors.New(`want comparisons such as ">=1.2 <2", "~1.4", "^1" or "1.2 - 1.4", and || between alternatives`)

// operators, the longer ones first.
var operators = []string{"!=", ">=", "=>", "<=", "=<", "~>", ">", "<", "=", "~", "^"}

// sameOperator are other ways to write some.
var sameOperator = map[string]string{"=>": ">=", "=<": "<=", "~>": "~", "": "="}

// parseConstraint reads a constraint as npm, Cargo and Helm write it.
func parseConstraint(s string) (constraint, error) {
	var c constraint
	for part := range strings.SplitSeq(s, "||") {
		group, ok := parseGroup(part)
		if !ok {
			return nil, fmt.Errorf("%q: %w", s, errConstraint)
		}
		c = append(c, group)
	}
	return c, nil
}

// parseGroup reads comparators with spaces or commas between.
func parseGroup(s string) ([]comparator, bool) {
	var group []comparator
	words := strings.Fields(strings.ReplaceAll(s, ",", " "))
	for i := 0; i < len(words); i++ {
		w := words[i]
		op := ""
		for _, o := range operators {
			if strings.HasPrefix(w, o) {
				op = o
				break
			}
		}
		if w = w[len(op):]; w == "" { // ">= 1.2"
			if i++; op == "" || i == len(words) {
				return nil, false
			}
			w = words[i]
		}
		if i+2 < len(words) && words[i+1] == "-" {
			if op != "" {
				return nil, false
			}
			op = ">="
			to, parts, ok := parsePartial(words[i+2], true)
			if !ok {
				return nil, false
			}
			group = append(group, comparator{"<=", to, parts})
			i += 2
		}
		v, parts, ok := parsePartial(w, true)
		if !ok {
			return nil, false
		}
		if same, ok := sameOperator[op]; ok {
			op = same
		}
		group = append(group, comparator{op, v, parts})
	}
	return group, len(group) > 0
}

// allows reports whether a version is meant. A pre-release is only where a
// comparator of the group names one.
func (c constraint) allows(v version) bool {
	for _, group := range c {
		if fits(group, v) {
			return true
		}
	}
	return false
}

func fits(group []comparator, v version) bool {
	pre := false
	for _, c := range group {
		if !c.holds(v) {
			return false
		}
		pre = pre || c.v.pre != ""
	}
	return pre || v.pre == ""
}

func (c comparator) holds(v version) bool {
	n := v.compare(c.v)
	upTo := n <= 0 // v is not above c, of which perhaps not all numbers are given
	if c.parts < len(c.v.num) {
		upTo = c.below(v, c.parts)
	}
	switch c.op {
	case "=":
		return n >= 0 && upTo
	case "!=":
		return n < 0 || !upTo
	case ">":
		return !upTo
	case ">=":
		return n >= 0
	case "<":
		return n < 0
	case "<=":
		return upTo
	case "~":
		return n >= 0 && c.below(v, min(c.parts, 2))
	}
	first := 0 // of "^": the leftmost number that is not 0 stays the same
	for first < c.parts-1 && c.v.num[first] == 0 {
		first++
	}
	return n >= 0 && c.below(v, min(first+1, c.parts))
}

// below reports whether v has, in its first numbers, no more than c.
func (c comparator) below(v version, numbers int) bool {
	for i := range numbers {
		if v.num[i] != c.v.num[i] {
			return v.num[i] < c.v.num[i]
		}
	}
	return true
}
