package registry

import (
	"slices"
	"strings"
)

// A scope is what a token allows: actions on one resource (the distribution
// project's token scope documentation).
type scope struct {
	resource string // "repository:library/busybox"
	actions  []string
}

// Limits on the scopes that a registry makes us ask for.
const (
	maxScopes  = 16
	maxActions = 16
	maxScope   = 512 // bytes
)

func repositoryScope(path string, actions ...string) scope {
	return scope{"repository:" + path, actions}
}

func (s scope) String() string { return s.resource + ":" + strings.Join(s.actions, ",") }

// parseScopes reads the scope parameter of a challenge. A resource may hold
// colons; its actions follow the last one.
func parseScopes(text string) []scope {
	var list []scope
	for word := range strings.FieldsSeq(text) {
		i := strings.LastIndexByte(word, ':')
		if i <= 0 || len(word) > maxScope || len(list) == maxScopes {
			continue
		}
		list = append(list, scope{word[:i], strings.Split(word[i+1:], ",")})
	}
	return list
}

// A scopeSet is what a token is asked for: each resource once, in the order
// they came. It is never changed, but for growing a copy.
type scopeSet []scope

// with returns the set with more in it, and whether that was new.
func (set scopeSet) with(more ...scope) (scopeSet, bool) {
	out, grown := slices.Clone(set), false
	for _, s := range more {
		i := slices.IndexFunc(out, func(o scope) bool { return o.resource == s.resource })
		if i < 0 {
			if len(out) < maxScopes {
				out, grown = append(out, s), true
			}
			continue
		}
		for _, a := range s.actions {
			if have := out[i].actions; a != "" && len(have) < maxActions && !slices.Contains(have, a) && !slices.Contains(have, "*") {
				out[i].actions, grown = append(slices.Clone(have), a), true
			}
		}
	}
	return out, grown
}

func (set scopeSet) strings() []string {
	list := make([]string, len(set))
	for i, s := range set {
		list[i] = s.String()
	}
	return list
}
