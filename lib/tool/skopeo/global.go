package skopeo

import (
	"context"
	"slices"
	"strings"
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
	registriesConf string
	registriesDir  string
	tlsDetails     string
}

func (p *program) rootFlags() *pflag.FlagSet {
	g := &p.global
	fs := pflag.NewFlagSet("skopeo", pflag.ContinueOnError)
	fs.Usage = func() {}
	fs.BoolVar(&g.debug, "debug", false, "tell each request")
	fs.StringVar(&g.policy, "policy", "", "trust policy file")
	fs.BoolVar(&g.insecurePolicy, "insecure-policy", false, "accept images without a policy")
	fs.BoolVar(&g.requireSigned, "require-signed", false, "accept no image that is not signed")
	fs.StringVar(&g.arch, "override-arch", "", "take images for `ARCH`, not for this machine's architecture")
	fs.StringVar(&g.os, "override-os", "", "take images for `OS`, not for the one running here")
	fs.StringVar(&g.variant, "override-variant", "", "take images for `VARIANT`, not for this machine's")
	fs.DurationVar(&g.timeout, "command-timeout", 0, "give up after this time")
	fs.StringVar(&g.tmpdir, "tmpdir", "", "accepted, and not needed: there are no temporary files")
	fs.StringVar(&g.agentPrefix, "user-agent-prefix", "", "text before our own in the User-Agent header")
	fs.StringVar(&g.registriesDir, "registries.d", "", "take the configuration of signature storage from the files in `DIR`")
	fs.StringVar(&g.registriesConf, "registries-conf", "", "file that says how registries are reached")
	_ = fs.MarkHidden("registries-conf")
	fs.StringVar(&g.tlsDetails, "tls-details", "", "`PATH` of a file with details of TLS")
	addTri(fs, &g.tlsVerify, "tls-verify", "insist on HTTPS with a certificate that can be checked")
	_ = fs.MarkHidden("tls-verify") // it exists
	return fs
}

func (g *globals) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if g.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, g.timeout)
}

// deprecated warns of --tls-verify for all sides. Of the commands whose own it
// is not, copy takes it too.
func (p *program) deprecated(before []string, root *pflag.FlagSet) {
	const name = "--tls-verify"
	switch {
	case slices.ContainsFunc(before, func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") }):
		p.log("warning", "'"+name+"' is deprecated, please set this on the specific subcommand")
	case root.Changed(name[2:]):
		p.log("warning", "'"+name+"' is deprecated, instead use: --src-tls-verify, --dest-tls-verify")
	}
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
