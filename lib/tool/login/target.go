package login

import (
	"fmt"
	"strings"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/reference"
)

// Target reads the operand of login and logout, host[:port][/namespace...]: the
// key that a credential is stored under, and the registry that it is for. A URL
// stands for its host. With a path other than that of the API it is a usage
// error, because it may be meant for a namespace; compat drops it.
//
// Errors are usage errors, or wrap reference.ErrFormat.
func Target(arg string, compat bool) (key, registry string, err error) {
	rest, isURL := strings.CutPrefix(arg, "https://")
	if !isURL {
		rest, isURL = strings.CutPrefix(arg, "http://")
	}
	host, path, namespaced := strings.Cut(rest, "/")
	switch {
	case strings.Contains(host, "@"): // not shown: there may be a password before it
		return "", "", cli.Usagef("want a registry without a user name before it")
	case isURL && !compat && !isAPI(path):
		return "", "", cli.Usagef("%q is a URL with a path: leave out the %q to log in to a namespace", arg, strings.TrimSuffix(arg, rest))
	case isURL:
		rest, path, namespaced = host, "", false
	case namespaced && path == "":
		path = "/"
	}
	if !namespaced {
		path = "x"
	}
	probe := host
	if !strings.Contains(host, ":") {
		probe += ":1" // a word before a slash alone would be a path at Docker Hub
	}
	ref, err := reference.ParseDocker(probe + "/" + path)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("parse reference from %q: %w", arg, err)
	case ref.Tag != "" || ref.Digest != "":
		return "", "", cli.Usagef("reference %q contains tag or digest", arg)
	}
	return rest, host, nil
}

// isAPI reports whether the path of a URL is what some put behind the host of a
// registry.
func isAPI(path string) bool {
	path = strings.TrimSuffix(path, "/")
	return path == "" || path == "v1" || path == "v2"
}
