package conf

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/imgtools/imgtools/lib/reference"
)

// A Lookaside says where the signatures of an image are, beside the registry.
type Lookaside struct {
	Read  string // URL to read below: file, http or https
	Write string // URL to write below
	// Attachments means that there are also signatures in the registry
	// itself, attached to the image, and that more may be put there.
	Attachments bool
}

// Lookasides is what the files of a registries.d directory say
// (containers-registries.d(5)). It does not change, and its methods may be
// called at the same time. Nil says nothing.
type Lookasides struct {
	scopes  map[string]section
	initial string // URL of those without any
}

// A section is what one scope says. What it leaves out is empty.
type section struct {
	read, write setting
	attachments *bool
	path        string // of the file
	line        int
}

// A setting is a URL, and where it comes from.
type setting struct {
	url, path string
	line      int
}

// defaultScope stands for default-docker. No scope of an image is empty.
const defaultScope = ""

// Lookasides reads the files *.yaml of the directory, or without one those of
// ~/.config/containers/registries.d, if that exists, and else of
// /etc/containers/registries.d. A directory that is not there says nothing.
// Errors about content, such as a scope that two files have, are an *Error;
// others are those of the file system.
func (f Finder) Lookasides(dir string) (*Lookasides, error) {
	if dir == "" {
		dir = f.homeFile(".config/containers/registries.d")
		if !isDir(dir) {
			dir = f.system("etc/containers/registries.d")
		}
	}
	l := &Lookasides{scopes: map[string]section{}, initial: f.initialLookaside()}
	names, err := listDir(dir, ".yaml")
	if err != nil {
		return nil, fmt.Errorf("reading registries.d: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading registries.d: %w", err)
		}
		if err := l.add(path, data, f.debug); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// initialLookaside returns the URL of the directory that is used when no file
// names another, "" for a user without a home.
func (f Finder) initialLookaside() string {
	dir := "/var/lib/containers/sigstore"
	if f.user() != "0" {
		dir = f.homeFile(".local/share/containers/sigstore")
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return "file://" + dir
}

// Find returns what holds for ref. Each field comes from the most specific
// scope that says it: a scope that sets one leaves the others to those above
// it. In a scope, to write goes where lookaside-staging says, or else lookaside. The
// error, an *Error, is about a URL that is none to use.
func (l *Lookasides) Find(ref reference.Docker) (Lookaside, error) {
	if l == nil {
		return Lookaside{}, nil
	}
	var read, write setting
	var attachments *bool
	for _, scope := range append(ref.Scopes(), defaultScope) {
		s := l.scopes[scope]
		if read.url == "" {
			read = s.read
		}
		if write.url == "" {
			write = s.write
		}
		if attachments == nil {
			attachments = s.attachments
		}
	}
	for _, s := range []*setting{&read, &write} {
		if s.url == "" {
			s.url = l.initial
		} else if !usable(s.url) {
			return Lookaside{}, &Error{s.path, s.line, "not a URL with file, http or https, and a path or host"}
		}
	}
	return Lookaside{read.url, write.url, attachments != nil && *attachments}, nil
}

func usable(url string) bool {
	for _, scheme := range []string{"http://", "https://"} {
		if host, ok := strings.CutPrefix(url, scheme); ok {
			return strings.Trim(host, "/") != ""
		}
	}
	return strings.HasPrefix(url, "file:///")
}

// add reads one more file.
func (l *Lookasides) add(path string, data []byte, debug func(string, ...any)) error {
	f := yamlFile(path)
	members, err := f.parse(data)
	if err != nil {
		return err
	}
	for _, m := range members {
		switch {
		case m.key == "default-docker" && isNull(target(m.value)):
			// All that it could say is in comments: it is not there.
		case m.key == "default-docker":
			err = l.section(f, m, defaultScope, m.key, debug)
		case m.key == "docker":
			err = l.sections(f, m, debug)
		default:
			debug("configuration file %q, line %d: unknown key %q", path, m.line, cut(m.key))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Lookasides) sections(f yamlFile, docker member, debug func(string, ...any)) error {
	scopes, err := f.mapping(docker.value, docker.key)
	if err != nil {
		return err
	}
	for _, m := range scopes {
		if m.key == defaultScope {
			return f.wrong(m.line, "a scope is empty")
		}
		if err := l.section(f, m, m.key, fmt.Sprintf("scope %q", cut(m.key)), debug); err != nil {
			return err
		}
	}
	return nil
}

// section reads what one scope says. name is that of the scope in errors.
func (l *Lookasides) section(f yamlFile, m member, scope, name string, debug func(string, ...any)) error {
	if other, ok := l.scopes[scope]; ok {
		return f.wrong(m.line, "%s is defined in %q, line %d, too", name, other.path, other.line)
	}
	members, err := f.mapping(m.value, name)
	if err != nil {
		return err
	}
	s := section{path: string(f), line: m.line}
	urls := map[string]setting{}
	for _, m := range members {
		switch m.key {
		case "lookaside", "lookaside-staging", "sigstore", "sigstore-staging":
			var url string
			if url, err = f.text(m); url != "" {
				urls[m.key] = setting{url, s.path, m.line}
			}
		case "use-sigstore-attachments":
			s.attachments, err = f.flag(m)
		default:
			debug("configuration file %q, line %d: unknown key %q", s.path, m.line, cut(m.key))
		}
		if err != nil {
			return err
		}
	}
	first := func(keys ...string) setting {
		for _, key := range keys {
			if s, ok := urls[key]; ok {
				return s
			}
		}
		return setting{}
	}
	s.read = first("lookaside", "sigstore") // The latter is what it once was called.
	s.write = first("lookaside-staging", "sigstore-staging", "lookaside", "sigstore")
	l.scopes[scope] = s
	return nil
}
