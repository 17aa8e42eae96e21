package tool

import (
	"context"
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

func (f *FilesConfig) flags() []cli.Flag {
	return []cli.Flag{
		{Name: "registries-conf", Arg: "FILE", Help: "Settings of registries and mirrors, in place of those of this machine and user.", Value: cli.String(&f.Registries)},
		{Name: "tls-details", Arg: "FILE", Help: "Versions, cipher suites and groups of TLS to use, as YAML.", Value: cli.String(&f.TLS)},
	}
}

// files are the configuration files of one run. They are read when they are
// needed, each once.
type files struct {
	finder     conf.Finder
	registries func() (*conf.Registries, error)
}

func (f *FilesConfig) open(std *cli.IO) files {
	finder := conf.Finder{Debug: func(s string) { std.Debugf("%s", s) }}
	return files{finder, sync.OnceValues(func() (*conf.Registries, error) { return finder.Registries(f.Registries) })}
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
	n := registry.Network{Idle: c.Limits.Stall, Rate: c.Limits.rate(), Bandwidth: c.Limits.bandwidth(), Ranges: c.Limits.Ranges}
	if c.Files.TLS == "" {
		return n, nil
	}
	t, err := conf.LoadTLS(c.Files.TLS)
	n.TLS = registry.TLS{MinVersion: t.MinVersion, CipherSuites: t.CipherSuites, Curves: t.NamedGroups}
	return n, err
}
