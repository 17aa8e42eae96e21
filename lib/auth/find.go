package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// FilesHelper is the name that stands for the auth files in Finder.Helpers, as
// in the credential-helpers list of containers-registries.conf(5).
const FilesHelper = "containers-auth.json"

// A Finder finds credentials in the auth files and the helper programs of this
// user. The zero value uses the default search order. A Finder keeps nothing
// between two calls, and its methods may be called at the same time.
type Finder struct {
	// File is the only auth file to look into (--authfile). Empty:
	// $REGISTRY_AUTH_FILE, and without it the files of the search order.
	File string
	// Helpers are asked in order, the auth files under the name FilesHelper.
	// Empty: the auth files only.
	Helpers []string
	// HelperTimeout limits one run of a helper program. 0: one minute.
	HelperTimeout time.Duration
	// Stderr takes what helper programs write to theirs: prompts, their own
	// warnings. Nil: os.Stderr.
	Stderr io.Writer
	// Env looks up an environment variable. Nil: os.Getenv. The helper
	// programs themselves are found and run with the process's environment.
	Env func(string) string
	// Warn takes warnings of one line each, the same one again if the next
	// call finds the same. Nil: they are dropped.
	Warn func(string)
}

// Find returns the credential for a repository, "host[:port][/path...]",
// without a tag. No credential is the zero value and a nil error.
//
// The files of the search order are, as in containers-auth.json(5):
// $XDG_RUNTIME_DIR/containers/auth.json (without the variable
// /run/containers/UID/auth.json), $XDG_CONFIG_HOME/containers/auth.json
// (~/.config), $DOCKER_CONFIG/config.json (~/.docker) and ~/.dockercfg. The
// first file with an answer ends the search; later files are not read. Within
// a file the helper that credHelpers names for the host decides; else the most
// specific key of auths that is not empty; else the program of credsStore.
//
// Errors wrap ErrMalformed, ErrHelper, ErrHelperName, the error of the file
// system, or that of ctx.
func (f *Finder) Find(ctx context.Context, repository string) (Credential, error) {
	c, _, err := f.Locate(ctx, repository)
	return c, err
}

// Locate is Find and tells where the credential comes from: the auth file that
// has it or names the helper program that has it, or the program of Helpers.
func (f *Finder) Locate(ctx context.Context, repository string) (Credential, Stored, error) {
	t, err := parseTarget(repository)
	if err != nil {
		return Credential{}, Stored{}, err
	}
	if len(f.Helpers) == 0 {
		return f.inFiles(ctx, t)
	}
	var failed error
	for _, name := range f.Helpers {
		var c Credential
		at := Stored{Key: t.host, Helper: name}
		if name == FilesHelper {
			c, at, err = f.inFiles(ctx, t)
		} else {
			c, err = f.ask(ctx, name, t.servers(t.host))
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return Credential{}, Stored{}, err
		case err != nil:
			failed = chain(failed, err)
		case !c.IsZero():
			return c, at, nil
		}
	}
	return Credential{}, Stored{}, failed
}

func (f *Finder) inFiles(ctx context.Context, t target) (Credential, Stored, error) {
	for _, path := range f.paths() {
		file, err := readFile(path)
		if err != nil {
			return Credential{}, Stored{}, err
		}
		c, err := f.inFile(ctx, file, t)
		if err != nil || !c.IsZero() {
			return c, Stored{Key: t.given[0], File: path}, err
		}
	}
	return Credential{}, Stored{}, nil
}

func (f *Finder) inFile(ctx context.Context, file *file, t target) (Credential, error) {
	store := file.credsStore
	if helpers := t.ofHost().matches(file.credHelpers); len(helpers) > 0 {
		helper := helpers[0]
		name, err := file.text(helper.member, "credHelpers of "+strconv.Quote(helper.scope))
		if err != nil {
			return Credential{}, err
		}
		if name != "" {
			c, err := f.ask(ctx, name, t.servers(helper.key))
			return c, inFileError(file, err)
		}
		store = nil // An empty name is docker's way to say: the file itself.
	}
	entries := t.matches(file.auths)
	for _, entry := range entries {
		c, err := file.decode(entry, f.warn)
		if err != nil || !c.IsZero() {
			return c, err
		}
	}
	if store == nil {
		return Credential{}, nil
	}
	return f.inStore(ctx, file, *store, t)
}

// inStore asks the program that credsStore names. Docker asks it for every
// registry, with an empty entry in auths for those it has stored itself. A
// store that does not work is a warning: config.json is carried to places
// where its store does not exist, and public images need none.
func (f *Finder) inStore(ctx context.Context, file *file, store member, t target) (Credential, error) {
	name, err := file.text(store, "credsStore")
	if err != nil || name == "" {
		return Credential{}, err
	}
	key := ""
	if entries := t.ofHost().matches(file.auths); len(entries) > 0 {
		key = entries[0].key
	}
	c, err := f.ask(ctx, name, t.servers(key))
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrHelperName) {
		f.warn(inFileError(file, err).Error())
		return Credential{}, nil
	}
	return c, inFileError(file, err)
}

// inFileError says which file named the helper program that failed.
func inFileError(file *file, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("auth file %q: %w", file.path, err)
}

// paths returns the auth files to look into, in order.
func (f *Finder) paths() []string {
	if f.File != "" {
		return []string{f.File}
	}
	if file := f.env("REGISTRY_AUTH_FILE"); file != "" {
		return []string{file}
	}
	var paths []string
	add := func(dir string, names ...string) {
		if dir != "" {
			paths = append(paths, filepath.Join(append([]string{dir}, names...)...))
		}
	}
	home := f.home()
	add(f.runtimeDir(), "auth.json")
	if config := f.env("XDG_CONFIG_HOME"); config != "" {
		add(config, "containers", "auth.json")
	} else {
		add(home, ".config", "containers", "auth.json")
	}
	if docker := f.env("DOCKER_CONFIG"); docker != "" {
		add(docker, "config.json")
	} else {
		add(home, ".docker", "config.json")
	}
	add(home, ".dockercfg")
	return paths
}

// runtimeDir returns the directory of the auth file that a reboot takes away,
// or "" when there is none.
func (f *Finder) runtimeDir() string {
	dir := f.env("XDG_RUNTIME_DIR")
	if dir == "" {
		return filepath.Join("/run/containers", strconv.Itoa(os.Geteuid()))
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		f.warn(fmt.Sprintf("$XDG_RUNTIME_DIR is %q, which does not exist: create it or unset the variable", dir))
		return ""
	}
	return filepath.Join(dir, "containers")
}

func (f *Finder) home() string {
	if home := f.env("HOME"); home != "" {
		return home
	}
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return ""
	}
	return u.HomeDir
}

func (f *Finder) env(name string) string {
	if f.Env != nil {
		return f.Env(name)
	}
	return os.Getenv(name)
}

func (f *Finder) warn(text string) {
	if f.Warn != nil {
		f.Warn(text)
	}
}
