package reference

import (
	"path"
	"strings"
)

// Scopes returns the scopes under which a policy looks d up, most specific
// first (containers-policy.json(5), docker): the whole reference, the
// repository, each parent of it down to the domain, and then wildcards for the
// parents of the host without its port. The empty scope, which every transport
// has, is not in the list. The zero Docker has no scopes.
func (d Docker) Scopes() []string {
	if d.IsZero() {
		return nil
	}
	name := d.Name()
	scopes := make([]string, 0, 2+strings.Count(name, "/")+strings.Count(d.Domain, "."))
	if d.Tag != "" || d.Digest != "" {
		scopes = append(scopes, d.String())
	}
	scopes = appendParents(scopes, name)
	host, _, _ := strings.Cut(d.Domain, ":")
	for {
		_, parent, ok := strings.Cut(host, ".")
		if !ok {
			return scopes
		}
		scopes = append(scopes, "*."+parent)
		host = parent
	}
}

// PathScopes returns the scopes under which a policy looks up an image in a
// file or directory, most specific first (containers-policy.json(5), dir and
// oci): the path and each of its parents but "/". The path is absolute and the
// caller has resolved its symbolic links; it is cleaned as text only. A
// relative path has no scopes.
func PathScopes(abs string) []string {
	if !path.IsAbs(abs) {
		return nil
	}
	abs = path.Clean(abs)
	if abs == "/" {
		return nil
	}
	return appendParents(make([]string, 0, strings.Count(abs, "/")), abs)
}

// appendParents appends s and what is left of it at each slash, from the last
// one, as long as something is left.
func appendParents(scopes []string, s string) []string {
	for s != "" {
		scopes = append(scopes, s)
		s = s[:max(0, strings.LastIndexByte(s, '/'))]
	}
	return scopes
}
