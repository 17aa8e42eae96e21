package auth

import (
	"cmp"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// The server URL under which docker keeps the credential for Docker Hub.
const hubURL = "https://index.docker.io/v1/"

const hub = "docker.io"

// A target is the repository that a credential is looked for.
type target struct {
	host   string   // as the caller spelled it, with the port
	scopes []string // canonical: the repository, its parents, the host
	given  []string // the same in the caller's spelling
}

// parseTarget takes "host[:port]" or "host[:port]/path...", without a tag.
func parseTarget(repository string) (target, error) {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f }
	host, path, _ := strings.Cut(repository, "/")
	if host == "" || strings.ContainsFunc(repository, bad) {
		return target{}, errors.New("looking up credentials: invalid repository " + strconv.Quote(repository))
	}
	t := target{host: host}
	for path != "" {
		t.given = append(t.given, host+"/"+path)
		t.scopes = append(t.scopes, canonicalHost(host)+"/"+path)
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
	t.given = append(t.given, host)
	t.scopes = append(t.scopes, canonicalHost(host))
	return t, nil
}

// canonicalHost gives the names of Docker Hub as one. All other hosts are
// themselves: "h", "h:443" and "H" are three.
func canonicalHost(host string) string {
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		return hub
	}
	return host
}

// canonicalKey gives the scope that a key of an auth file stands for. A key
// may be a URL; the API's own path in one ("/v1/") is no namespace.
func canonicalKey(key string) string {
	rest, isURL := strings.CutPrefix(key, "https://")
	if !isURL {
		rest, isURL = strings.CutPrefix(key, "http://")
	}
	host, path, _ := strings.Cut(strings.TrimRight(rest, "/"), "/")
	first, _, _ := strings.Cut(path, "/")
	if path == "" || isURL && (first == "v1" || first == "v2") {
		return canonicalHost(host)
	}
	return canonicalHost(host) + "/" + path
}

// A match is a member whose key stands for one of a target's scopes.
type match struct {
	member
	scope string // the target's spelling of it, safe to show
	rank  int    // the lower the better
}

// matches returns the members that apply to the target, the best first: the
// longest path, then the caller's spelling, then the order of the file.
func (t target) matches(members []member) []match {
	var found []match
	for _, m := range members {
		level := slices.Index(t.scopes, canonicalKey(m.key))
		if level < 0 {
			continue
		}
		one := match{member: m, scope: t.given[level], rank: 2 * level}
		if m.key != one.scope {
			one.rank++
		}
		found = append(found, one)
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.rank, b.rank) })
	return found
}

// ofHost returns the target without its path: helper programs know servers.
func (t target) ofHost() target {
	last := len(t.scopes) - 1
	return target{host: t.host, scopes: t.scopes[last:], given: t.given[last:]}
}

// servers returns the server URLs to ask a helper program for: the key of the
// file, if there is one, or what docker asks for, which is the host except for
// Docker Hub.
func (t target) servers(key string) []string {
	isHub := t.scopes[len(t.scopes)-1] == hub
	switch {
	case isHub && key != "" && key != hubURL:
		return []string{key, hubURL}
	case key != "":
		return []string{key}
	case isHub:
		return []string{hubURL}
	}
	return []string{t.host}
}

// decode returns the credential that an entry of the auths table holds; the
// zero value for an empty one. A decoded "auth" without a colon is passed over
// with a warning, as the containers tools and docker do.
func (f *file) decode(m match, warn func(string)) (Credential, error) {
	where := "the entry of " + strconv.Quote(m.scope)
	if isNull(m.value) {
		return Credential{}, nil
	}
	fields, err := f.object(m.member, where)
	if err != nil {
		return Credential{}, err
	}
	var c Credential
	var encoded member
	for _, field := range fields {
		switch key := strings.ToLower(field.key); key {
		case "auth":
			encoded = field
		case "username":
			c.Username, err = f.text(field, key+" in "+where)
		case "password":
			c.Password, err = f.text(field, key+" in "+where)
		case "identitytoken":
			c.IdentityToken, err = f.text(field, key+" in "+where)
		}
		if err != nil {
			return Credential{}, err
		}
	}
	if encoded.value == nil {
		return c, nil
	}
	return f.decodeAuth(c, encoded, where, warn)
}

// decodeAuth puts what "auth" says, base64 of USER:PASSWORD, into c. It goes
// before the keys username and password.
func (f *file) decodeAuth(c Credential, m member, where string, warn func(string)) (Credential, error) {
	s, err := f.text(m, "auth in "+where)
	if err != nil || s == "" {
		return c, err
	}
	plain, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return Credential{}, f.wrong(m.at, "auth in "+where+" is not base64")
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok {
		warn("auth file " + strconv.Quote(f.path) + ": auth in " + where + " has no colon between user and password, ignored")
		return c, nil
	}
	c.Username, c.Password = user, strings.Trim(password, "\x00")
	return c, nil
}
