package tool

import (
	"context"
	"errors"
	"sync"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/conf"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// A FilesConfig names configuration files in place of those that are found.
type FilesConfig struct {
	Registries string // registries.conf
	Lookasides string // the directory registries.d
	TLS        string // TLS details
}

// Flags are the rows for what opens connections to registries.
func (f *FilesConfig) Flags() []cli.Flag {
	return []cli.Flag{
		f.RegistriesFlag(),
		{Name: "tls-details", Arg: "FILE", Help: "Versions, cipher suites and groups of TLS to use, as YAML.", Value: cli.String(&f.TLS)},
	}
}

// RegistriesFlag is the one row of Flags for what opens none.
func (f *FilesConfig) RegistriesFlag() cli.Flag {
	return cli.Flag{Name: "registries-conf", Arg: "FILE", Help: "Settings of registries and mirrors, in place of those of this machine and user.", Value: cli.String(&f.Registries)}
}

// files are the configuration files of one run. They are read when they are
// needed, each once.
type files struct {
	finder     conf.Finder
	registries func() (*conf.Registries, error)
}

func (f *FilesConfig) open(std *cli.IO) files {
	finder := conf.Finder{Debug: func(s string) { std.Debugf("%s", s) }}
	return files{finder, sync.OnceValues(func() (*conf.Registries, error) {
		r, err := finder.Registries(f.Registries)
		return r, settings(err)
	})}
}

// A settingsError is about a file of settings: that one is not there does not
// mean that an image is not.
type settingsError struct{ error }

var errSettings = errors.New("settings")

func (e settingsError) Unwrap() error        { return e.error }
func (e settingsError) Is(target error) bool { return target == errSettings }

func settings(err error) error {
	if err == nil {
		return nil
	}
	return settingsError{err}
}

// credentials looks in the auth file of that name, or in those that there are,
// and asks the helper programs that registries.conf names.
func (f files) credentials(std *cli.IO, authFile string) auth.Lookup {
	return func(ctx context.Context, repository string) (auth.Credential, error) {
		regs, err := f.registries()
		if err != nil {
			return auth.Credential{}, err
		}
		finder := auth.Finder{File: authFile, Helpers: regs.CredentialHelpers(), Stderr: std.Err, Warn: func(s string) { std.Warnf("%s", s) }}
		return finder.Find(ctx, repository)
	}
}

// network holds what the flags say of how requests go.
func (c *CommonConfig) network() (registry.Network, error) {
	n := registry.Network{Idle: c.Limits.Stall, Header: c.Limits.Stall, Rate: c.Limits.rate(), Bandwidth: c.Limits.bandwidth(), Ranges: c.Limits.Ranges}
	if c.Files.TLS == "" {
		return n, nil
	}
	t, err := conf.LoadTLS(c.Files.TLS)
	n.TLS = registry.TLS{MinVersion: t.MinVersion, CipherSuites: t.CipherSuites, Curves: t.NamedGroups}
	return n, settings(err)
}
