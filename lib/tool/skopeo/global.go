package skopeo

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/oci"
)

// globals are the options that stand before or after the subcommand.
type globals struct {
	debug          bool
	policy         string
	insecurePolicy bool
	requireSigned  bool
	arch           string
	os             string
	variant        string
	timeout        time.Duration
	tmpdir         string
	agentPrefix    string
	tlsVerify      cli.Tri
}

func (p *program) rootFlags() *pflag.FlagSet {
	g := &p.global
	fs := pflag.NewFlagSet("skopeo", pflag.ContinueOnError)
	fs.Usage = func() {}
	fs.BoolVar(&g.debug, "debug", false, "enable debug output")
	fs.StringVar(&g.policy, "policy", "", "Path to a trust policy file")
	fs.BoolVar(&g.insecurePolicy, "insecure-policy", false, "run the tool without any policy check")
	fs.BoolVar(&g.requireSigned, "require-signed", false, "require any pulled image to be signed")
	fs.StringVar(&g.arch, "override-arch", "", "use `ARCH` instead of the architecture of the machine for choosing images")
	fs.StringVar(&g.os, "override-os", "", "use `OS` instead of the running OS for choosing images")
	fs.StringVar(&g.variant, "override-variant", "", "use `VARIANT` instead of the running architecture variant for choosing images")
	fs.DurationVar(&g.timeout, "command-timeout", 0, "timeout for the command execution")
	fs.StringVar(&g.tmpdir, "tmpdir", "", "directory used to store temporary files")
	fs.StringVar(&g.agentPrefix, "user-agent-prefix", "", "prefix to add to the user agent string")
	addTri(fs, &g.tlsVerify, "tls-verify", "Require HTTPS and verify certificates when accessing the registry")
	_ = fs.MarkHidden("tls-verify") // it exists
	return fs
}

func (g *globals) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if g.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, g.timeout)
}

// platform is the one whose image is taken out of an index. Without
// --override-arch it is this machine's, with its variant.
func (g *globals) platform() oci.Platform {
	p := oci.Host()
	if g.arch != "" {
		p.Architecture, p.Variant = g.arch, ""
	}
	if g.os != "" {
		p.OS = g.os
	}
	if g.variant != "" {
		p.Variant = g.variant
	}
	return p
}

func (g *globals) agent() string {
	a := "skopeo/" + cli.Version
	if g.agentPrefix != "" {
		a = g.agentPrefix + " " + a
	}
	return a
}

// addTri adds a switch that remembers whether it was given.
func addTri(fs *pflag.FlagSet, t *cli.Tri, name, usage string) {
	f := fs.VarPF(triValue{cli.OptionalBool(t)}, name, "", usage)
	f.NoOptDefVal = "true"
}

type triValue struct{ cli.Value }

func (triValue) Type() string { return "" }
