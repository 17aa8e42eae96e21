package conf

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/lib/reference"
)

// Registries reads the user's registries.conf and its drop-ins
// (containers-registries.conf(5), containers-registries.conf.d(5)).
//
// The main file is the one named; without a name $CONTAINERS_REGISTRIES_CONF,
// after which no drop-ins are read; without both the first that exists of
// $XDG_CONFIG_HOME/containers (~/.config/containers), /etc/containers and
// /usr/share/containers. Drop-ins are the files *.conf in registries.conf.d of
// these three, and of the latter two also in registries.rootful.conf.d or, for
// users, in registries.rootless.conf.d and its directory of the user's ID. Of
// several drop-ins of one name the first in that list counts, where a place for
// fewer users goes before one for more. They are read in the order of their
// names, and last of all is $CONTAINERS_REGISTRIES_CONF_OVERRIDE.
//
// In a later file a [[registry]] table replaces the one of the same prefix, and
// another key the same key. The file that was named, and those of variables,
// must exist. Errors about content are an *Error; others are those of the file
// system.
func (f Finder) Registries(named string) (*Registries, error) {
	r := &Registries{}
	main, dropIns := named, true
	if main == "" {
		main = f.env("CONTAINERS_REGISTRIES_CONF")
		dropIns = main == ""
	}
	if main == "" {
		main = f.mainFile()
	}
	files := []string{}
	if main != "" {
		files = append(files, main)
	}
	if dropIns {
		more, err := f.dropIns()
		if err != nil {
			return nil, fmt.Errorf("reading drop-ins of registries.conf: %w", err)
		}
		files = append(files, more...)
	}
	if override := f.env("CONTAINERS_REGISTRIES_CONF_OVERRIDE"); override != "" {
		files = append(files, override)
	}
	for _, path := range files {
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading registries.conf: %w", err)
		}
		one, err := parseRegistries(path, data, f.debug)
		if err != nil {
			return nil, err
		}
		r.merge(one)
	}
	return r, nil
}

// merge lets a later file replace what it says anew.
func (r *Registries) merge(later *Registries) {
	index := make(map[string]int, len(r.entries))
	for i, e := range r.entries {
		index[e.prefix] = i
	}
	for _, e := range later.entries {
		if i, ok := index[e.prefix]; ok {
			r.entries[i] = e
		} else {
			r.entries = append(r.entries, e)
		}
	}
	if later.helpers != nil {
		r.helpers = later.helpers
	}
}

// configHome returns the directory of the user's files, or "".
func (f Finder) configHome() string {
	if dir := f.env("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "containers")
	}
	return f.homeFile(".config", "containers")
}

// homes returns the directories of configuration files, the user's first.
func (f Finder) homes() []string {
	homes := []string{f.system("etc/containers"), f.system("usr/share/containers")}
	if dir := f.configHome(); dir != "" {
		homes = slices.Insert(homes, 0, dir)
	}
	return homes
}

// mainFile returns the first that exists, or is there and cannot be looked at.
func (f Finder) mainFile() string {
	for _, dir := range f.homes() {
		path := filepath.Join(dir, "registries.conf")
		if _, err := os.Stat(path); !missing(err) {
			return path
		}
	}
	return ""
}

// dropIns returns the drop-ins in the order to read them.
func (f Finder) dropIns() ([]string, error) {
	paths := map[string]string{} // by name
	var names []string
	for _, dir := range f.dropInDirs() {
		found, err := listDir(dir, ".conf")
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			switch {
			case paths[name] != "":
			case err != nil || !info.Mode().IsRegular():
				f.debug("configuration file %q: not a regular file, passed over", path)
			default:
				paths[name] = path
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = paths[name]
	}
	return names, nil
}

// dropInDirs returns the directories of drop-ins, the one that goes before all
// others first.
func (f Finder) dropInDirs() []string {
	var dirs []string
	for _, home := range f.homes() {
		at := func(elem ...string) { dirs = append(dirs, filepath.Join(home, filepath.Join(elem...))) }
		switch uid := f.user(); {
		case home == f.configHome():
		case uid == "0":
			at("registries.rootful.conf.d")
		default:
			at("registries.rootless.conf.d", uid)
			at("registries.rootless.conf.d")
		}
		at("registries.conf.d")
	}
	return dirs
}

// parseRegistries reads one file.
func parseRegistries(path string, data []byte, debug func(string, ...any)) (*Registries, error) {
	top := parseTOML(path, data, debug)
	checkVersion(top)
	r := &Registries{entries: parseEntries(top), helpers: top.texts("credential-helpers")}
	checkShortNames(top)
	if helper := top.text("additional-layer-store-auth-helper"); helper != "" {
		debug("configuration file %q, line %d: additional-layer-store-auth-helper is not run", path, top.line("additional-layer-store-auth-helper"))
	}
	if top.doc.err != nil {
		return nil, top.doc.err
	}
	top.done()
	return r, nil
}

// checkVersion fails for the tables of version 1 that say anything.
func checkVersion(top *table) {
	if !top.has("registries") {
		return
	}
	old := top.table("registries")
	for _, kind := range []string{"search", "insecure", "block"} {
		if len(old.table(kind).texts("registries")) > 0 {
			top.doc.fail(old.line(kind), "registries.conf must be in v2 format but is in v1")
		}
	}
}

// parseEntries reads all [[registry]] tables. Of two with the same prefix the
// first counts.
func parseEntries(top *table) []*entry {
	var entries []*entry
	prefixes := map[string]bool{}
	places := map[string]*entry{} // by location
	for _, t := range top.tables("registry") {
		e := parseEntry(t)
		if top.doc.err != nil {
			return nil
		}
		place := e.location
		if place == "" {
			place = e.prefix
		}
		if first := places[place]; first == nil {
			places[place] = e
		} else if first.insecure != e.insecure {
			top.doc.fail(t.line("insecure"), "registry '%s' is defined multiple times with conflicting 'insecure' setting", short(place))
		} else if first.blocked != e.blocked {
			top.doc.fail(t.line("blocked"), "registry '%s' is defined multiple times with conflicting 'blocked' setting", short(place))
		}
		if prefixes[e.prefix] {
			top.doc.debug("configuration file %q, line %d: prefix %q was there before, passed over", e.path, e.line, cut(e.prefix))
			continue
		}
		prefixes[e.prefix] = true
		entries = append(entries, e)
	}
	return entries
}

func parseEntry(t *table) *entry {
	e := &entry{
		location:   t.location("location"),
		prefix:     t.location("prefix"),
		insecure:   t.flag("insecure"),
		blocked:    t.flag("blocked"),
		digestOnly: t.flag("mirror-by-digest-only"),
		path:       t.doc.path,
		line:       t.line(""),
	}
	switch {
	case e.prefix == "" && e.location == "":
		t.doc.fail(e.line, "invalid condition: both location and prefix are unset")
	case e.prefix == "":
		e.prefix = e.location
	case e.location == "" && !e.wildcard():
		t.doc.fail(e.line, "invalid condition: location is unset and prefix is not in the format: *.example.com")
	}
	if e.wildcard() && strings.ContainsAny(e.prefix, "/:@") {
		t.doc.fail(t.line("prefix"), "prefix %q with a wildcard is not in the format: *.example.com", cut(e.prefix))
	}
	if t.text("pull-from-mirror") != "" {
		t.doc.fail(t.line("pull-from-mirror"), "pull-from-mirror must not be set for a non-mirror registry %q", cut(e.prefix))
	}
	for _, m := range t.tables("mirror") {
		e.mirrors = append(e.mirrors, parseMirror(e, m))
	}
	t.done()
	return e
}

func parseMirror(e *entry, t *table) mirror {
	m := mirror{location: t.location("location"), insecure: t.flag("insecure"), pull: t.text("pull-from-mirror"), line: t.line("location")}
	if m.location == "" {
		t.doc.fail(m.line, "invalid condition: mirror location is unset")
	}
	switch m.pull {
	case "":
	case "all", "digest-only", "tag-only":
		if e.digestOnly {
			t.doc.fail(t.line("pull-from-mirror"), "cannot set mirror usage mirror-by-digest-only for the registry (%q) and pull-from-mirror for per-mirror (%q) at the same time", cut(e.prefix), cut(m.location))
		}
	default:
		t.doc.fail(t.line("pull-from-mirror"), "unsupported pull-from-mirror value %q for mirror %q", cut(m.pull), cut(m.location))
	}
	t.done()
	return m
}

// location returns the value of a key that is the beginning of image names.
func (t *table) location(key string) string {
	s := t.text(key)
	if strings.Contains(s, "://") {
		t.doc.fail(t.line(key), "invalid location '%s': URI schemes are not supported", short(s))
	}
	return strings.TrimRight(s, "/")
}

// checkShortNames checks what is said about names without a registry. Nothing
// comes of it: every name here is read as "docker://" is, which leaves none
// without a registry. But a file is right or wrong for all tools alike.
func checkShortNames(top *table) {
	const search, mode, aliases = "unqualified-search-registries", "short-name-mode", "aliases"
	for _, s := range top.texts(search) {
		if strings.Contains(s, "://") {
			top.doc.fail(top.line(search), "invalid location '%s': URI schemes are not supported", short(s))
		}
		if s = strings.TrimRight(s, "/"); !isHost(s) {
			top.doc.fail(top.line(search), "Invalid unqualified-search-registries entry %q", cut(s))
		}
	}
	switch m := top.text(mode); m {
	case "", "disabled", "enforcing", "permissive":
	default:
		top.doc.fail(top.line(mode), "invalid short-name mode: %q", cut(m))
	}
	t := top.table(aliases)
	for _, name := range slices.Sorted(maps.Keys(t.keys)) {
		line := top.doc.lines.at(t.name + sep + name)
		value, ok := t.keys[name].(string)
		if !ok {
			top.doc.fail(line, "alias %q must be a string", cut(name))
		}
		if !isName(name, false) {
			top.doc.fail(line, "alias %q is not a name without registry, tag and digest", cut(name))
		}
		if value != "" && !isName(value, true) {
			top.doc.fail(line, "alias %q stands for %q, which is not a name with registry and without tag and digest", cut(name), cut(value))
		}
	}
}

// isHost reports whether s is a host, perhaps with a port.
func isHost(s string) bool {
	if !strings.Contains(s, ":") {
		s += ":0" // A host without a dot is one only with a port.
	}
	d, err := reference.ParseDocker(s + "/x")
	return err == nil && d.Domain == s
}

// isName reports whether s is a repository and names its registry, or not.
func isName(s string, registry bool) bool {
	d, err := reference.ParseDocker(s)
	first, _, several := strings.Cut(s, "/")
	named := several && (first == "localhost" || strings.ContainsAny(first, ".:"))
	return err == nil && d.Tag == "" && d.Digest == "" && named == registry
}
