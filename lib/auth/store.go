package auth

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/imgtools/imgtools/lib/disk"
)

var (
	// ErrNotStored means that there is no credential of that key where a
	// Store keeps them.
	ErrNotStored = errors.New("no credential is stored")
	// ErrNamespaced means that a namespace was to have a credential of its
	// own where only whole registries have one: in docker's format, and in
	// helper programs.
	ErrNamespaced = errors.New("namespaced key is not supported")
	// ErrTwoFiles means that an auth file was named in either format.
	ErrTwoFiles = errors.New("options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously")
	// ErrCredential means that a credential can not be stored as it is.
	ErrCredential = errors.New("credential can not be stored")
)

// A Store keeps credentials where login and logout change them: in one auth
// file, or in a credential helper program that the file, or Helpers, names.
// The file is, in this order, File (--authfile), Docker (--compat-auth-file),
// $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json, and
// $XDG_RUNTIME_DIR/containers/auth.json or, without that variable,
// /run/containers/UID/auth.json.
//
// A key is "host[:port][/namespace...]". Docker, and $DOCKER_CONFIG, mean
// docker's format: there a key is a whole registry, Docker Hub goes by the URL
// that docker has for it, and Helpers are not used. Whatever else is in a file
// stays in it, byte for byte.
//
// Store's methods may be called at the same time, by several processes too.
type Store struct {
	Finder
	// Docker is an auth file in docker's format, config.json.
	Docker string
	// DropHelpers makes RemoveAll remove what the file says about helper
	// programs too, as skopeo does, and not only what they hold.
	DropHelpers bool

	step disk.Step
}

// Stored tells where a credential is kept: in File or by Helper.
type Stored struct {
	Key    string // the registry or namespace; for Helper, what that knows it as
	File   string
	Helper string // the name behind docker-credential-
}

// String is "auth file PATH" or "credential helper: NAME".
func (s Stored) String() string {
	if s.Helper != "" {
		return "credential helper: " + s.Helper
	}
	return "auth file " + s.File
}

// A place is the file that a Store changes.
type place struct {
	path   string
	docker bool // in docker's format
	named  bool // by an option or a variable: then no other file is read
}

func (s *Store) place() (place, error) {
	switch file, config := s.env("REGISTRY_AUTH_FILE"), s.env("DOCKER_CONFIG"); {
	case s.File != "" && s.Docker != "":
		return place{}, ErrTwoFiles
	case s.File != "":
		return place{path: s.File, named: true}, nil
	case s.Docker != "":
		return place{path: s.Docker, docker: true, named: true}, nil
	case file != "":
		return place{path: file, named: true}, nil
	case config != "":
		return place{path: filepath.Join(config, "config.json"), docker: true, named: true}, nil
	}
	f := s.Finder
	var warning string
	f.Warn = func(s string) { warning = s }
	dir := f.runtimeDir()
	if dir == "" {
		return place{}, errors.New(warning)
	}
	return place{path: filepath.Join(dir, "auth.json")}, nil
}

// Path returns the name of the auth file that the Store changes, whether or
// not it is there. Errors are ErrTwoFiles, and one about an
// $XDG_RUNTIME_DIR that does not exist.
func (s *Store) Path() (string, error) {
	p, err := s.place()
	return p.path, err
}

// Find is Finder.Find; in the Store's file alone if an option or a variable
// has named it.
func (s *Store) Find(ctx context.Context, repository string) (Credential, error) {
	c, _, err := s.Locate(ctx, repository)
	return c, err
}

// Locate is Find and tells where the credential is.
func (s *Store) Locate(ctx context.Context, repository string) (Credential, Stored, error) {
	p, err := s.place()
	if errors.Is(err, ErrTwoFiles) { // without a run-time directory there are other files
		return Credential{}, Stored{}, err
	}
	f := s.Finder
	if p.named {
		f.File = p.path
	}
	if p.docker {
		f.Helpers = nil
	}
	return f.Locate(ctx, repository)
}

// Put stores a credential under the key, in the place of the one that is
// there. It is idempotent. The result tells where it is now.
//
// A helper program gets it if credHelpers in the file has one for the
// registry; else, if the file has credsStore and the key is a whole registry,
// the program of that. With Helpers the first one that takes it has it, and
// FilesHelper stands for the file; what the others say is a warning.
//
// Errors wrap ErrNamespaced, ErrCredential, ErrTwoFiles, ErrMalformed,
// ErrHelper, ErrHelperName, the error of the file system, or that of ctx.
func (s *Store) Put(ctx context.Context, key string, c Credential) (Stored, error) {
	t, err := parseKey(key)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return Stored{}, err
	}
	p, err := s.place()
	switch {
	case err != nil:
		return Stored{}, err
	case p.docker && t.namespaced():
		return Stored{}, fmt.Errorf("%w: credentials cannot be recorded in Docker-compatible format with namespaced key %q", ErrNamespaced, key)
	case p.docker || len(s.Helpers) == 0:
		return s.putInFile(ctx, p, t, c)
	}
	var failed error
	for _, name := range s.Helpers {
		var at Stored
		if name == FilesHelper {
			at, err = s.putInFile(ctx, p, t, c)
		} else {
			at, err = s.putInHelper(ctx, name, t, t.host, c)
		}
		if err == nil {
			if failed != nil {
				s.warn(failed.Error())
			}
			return at, nil
		}
		if failed = chain(failed, err); ctx.Err() != nil {
			break
		}
	}
	return Stored{}, failed
}

func (s *Store) putInHelper(ctx context.Context, name string, t target, server string, c Credential) (Stored, error) {
	if t.namespaced() {
		return Stored{}, fmt.Errorf("%w for credential helper %s", ErrNamespaced, name)
	}
	if err := s.tell(ctx, name, server, c); err != nil {
		return Stored{}, err
	}
	return Stored{Key: server, Helper: name}, nil
}

func (s *Store) putInFile(ctx context.Context, p place, t target, c Credential) (Stored, error) {
	s.warnFormat(p)
	f, err := readTarget(p.path)
	if err != nil {
		return Stored{}, err
	}
	r, err := f.route(p, t)
	if err != nil {
		return Stored{}, err
	}
	at := Stored{Key: r.key, File: p.path}
	if r.helper != "" {
		at, err = s.putInHelper(ctx, r.helper, t, r.server, c)
		if err != nil {
			return Stored{}, inFileError(f, err)
		}
		c = Credential{} // which is not to stay behind in the file
	}
	if _, found := f.entry(r.key); r.helper != "" && !found && !r.mark {
		return at, nil
	}
	err = s.update(ctx, p.path, func(f *file) (*file, error) { return f.store(t, r.key, c) })
	if err != nil {
		return Stored{}, err
	}
	return at, nil
}

// warnFormat warns of containers' format in docker's own file.
func (s *Store) warnFormat(p place) {
	if dir := s.home(); !p.docker && dir != "" && p.path == filepath.Join(dir, ".docker", "config.json") {
		s.warn("saving credentials to ~/.docker/config.json, but not using Docker-compatible file format")
	}
}

// store makes c what is found for the target, under that key.
func (f *file) store(t target, key string, c Credential) (*file, error) {
	out, err := f.with(key, c)
	if err == nil && key != t.given[0] {
		// Another spelling of the key would be found first.
		out, err = out.without(func(k string) bool { return k != key && canonicalKey(k) == t.scopes[0] })
	}
	if err != nil {
		return nil, err
	}
	m, _ := out.entry(key)
	if got, err := out.decode(match{member: m, scope: key}, func(string) {}); err != nil || got != c {
		return nil, fmt.Errorf("auth file %q: %w: it would not be read as it is written", f.path, ErrCredential)
	}
	return out, nil
}

// A route is where in a file, or beside it, the credential of a target goes.
type route struct {
	key    string // of the entry in auths
	helper string // the program that has it instead, or ""
	server string // what that knows it as
	mark   bool   // an empty entry tells that the program has it
}

func (f *file) route(p place, t target) (route, error) {
	isHub := t.scopes[0] == hub
	r := route{key: t.given[0], mark: p.docker}
	if p.docker && isHub {
		r.key = hubURL
	}
	if helpers := t.ofHost().matches(f.credHelpers); len(helpers) > 0 {
		name, err := f.text(helpers[0].member, "credHelpers of "+strconv.Quote(helpers[0].scope))
		r.helper, r.server = name, helpers[0].key
		return r, err
	}
	if f.credsStore == nil || t.namespaced() {
		return r, nil
	}
	name, err := f.text(*f.credsStore, "credsStore")
	if err != nil || name == "" {
		return r, err
	}
	if isHub {
		r.key = hubURL
	}
	return route{r.key, name, r.key, true}, nil
}

// readTarget is readFile of what a write to the path would change.
func readTarget(path string) (*file, error) {
	real, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("writing auth file: %w", err)
	}
	return readFile(real)
}

// parseKey reads what a credential is to be stored under.
func parseKey(key string) (target, error) {
	t, err := parseTarget(key)
	if err == nil && (strings.Contains(key, "//") || strings.HasSuffix(key, "/") || strings.Contains(key, "@") || !utf8.ValidString(key)) {
		err = errors.New("storing credentials: invalid key " + strconv.Quote(key))
	}
	return t, err
}

func (t target) namespaced() bool { return len(t.scopes) > 1 }

// check refuses what other programs, and this one, would read differently from
// how it was written.
func (c Credential) check() error {
	switch {
	case c.IsZero():
		return fmt.Errorf("%w: there is nothing in it", ErrCredential)
	case strings.Contains(c.Username, ":"):
		return fmt.Errorf("%w: the user name has a colon", ErrCredential)
	case slices.ContainsFunc([]string{c.Username, c.Password, c.IdentityToken}, func(s string) bool { return strings.Contains(s, "\x00") }):
		return fmt.Errorf("%w: there is a NUL byte in it", ErrCredential)
	case strings.ToValidUTF8(c.IdentityToken, "") != c.IdentityToken:
		return fmt.Errorf("%w: the identity token is not UTF-8", ErrCredential)
	}
	return nil
}

// chain joins errors in one line, unlike errors.Join.
func chain(first, next error) error {
	if first == nil {
		return next
	}
	return fmt.Errorf("%w; %w", first, next)
}
