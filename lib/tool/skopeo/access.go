package skopeo

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
)

// access are the options of one side.
type access struct {
	prefix, side string
	noImages     bool // the command is about none, but about a repository
	set          *pflag.FlagSet

	creds, username, password string
	noCreds                   bool
	token, certDir, blobs     string
	daemonHost                string
	authFile                  string
	tlsVerify                 cli.Tri
}

func (a *access) flags(fs *pflag.FlagSet) {
	a.set = fs
	p := a.prefix
	fs.StringVar(&a.creds, p+"creds", "", "log in to the registry as `USERNAME[:PASSWORD]`")
	fs.StringVar(&a.username, p+"username", "", "user name for the registry")
	fs.StringVar(&a.password, p+"password", "", "password for the registry")
	fs.BoolVar(&a.noCreds, p+"no-creds", false, "show the registry no credentials")
	fs.StringVar(&a.token, p+"registry-token", "", "bearer token for the registry")
	fs.StringVar(&a.certDir, p+"cert-dir", "", "`PATH` of a directory with certificates and keys (*.crt, *.cert, *.key)")
	if !a.noImages {
		fs.StringVar(&a.blobs, p+"shared-blob-dir", "", "`DIRECTORY` of blobs that OCI layouts share")
	}
	fs.StringVar(&a.daemonHost, p+"daemon-host", "", "docker daemon to use, at `HOST`, for docker-daemon: names")
	addTri(fs, &a.tlsVerify, p+"tls-verify", "insist on HTTPS with a certificate that can be checked")
	if p != "" {
		fs.StringVar(&a.authFile, p+"authfile", "", "file with credentials, in place of the usual ones")
		short := p[:1] + "creds"
		fs.StringVar(&a.creds, short, "", "log in to the registry as `USERNAME[:PASSWORD]`")
		_ = fs.MarkHidden(short) // it exists
	}
}

// given returns the option's value if it was given.
func (a *access) given(name string, v *string) *string {
	if a.set.Changed(a.prefix+name) || name == "creds" && a.prefix != "" && a.set.Changed(a.prefix[:1]+name) {
		return v
	}
	return nil
}

// open checks the options and makes an access of them.
func (a *access) open(p *program, c common) (*transport.Access, error) {
	e := auth.Explicit{Creds: a.given("creds", &a.creds), Username: a.given("username", &a.username), Password: a.given("password", &a.password), NoCreds: a.noCreds}
	if _, _, err := e.Credential(); err != nil {
		return nil, err
	}
	cfg := tool.AccessConfig{
		Prefix: a.prefix, Side: a.side, Explicit: e, Token: a.token, CertDir: a.certDir,
		TLSVerify: a.tlsVerify, AuthFile: a.authFile, SharedBlobs: a.blobs, DaemonHost: a.daemonHost,
	}
	return p.reach(cfg, c)
}

// reach makes an access of options that have been checked, and the global ones.
func (p *program) reach(cfg tool.AccessConfig, c common) (*transport.Access, error) {
	if !cfg.TLSVerify.Given {
		cfg.TLSVerify = p.global.tlsVerify
	}
	both := tool.CommonConfig{
		AuthFile: c.authFile, RetryTimes: max(c.retryTimes, tool.DefaultRetries), RetryDelay: c.retryDelay, Debug: p.global.debug,
		Files: tool.FilesConfig{Registries: p.global.registriesConf, Lookasides: p.global.registriesDir, TLS: p.global.tlsDetails},
	}
	out, err := cfg.Access(p.std, &both, p.notify)
	if err != nil {
		return nil, err
	}
	out.Registry.UserAgent = p.global.agent()
	out.Env = nil // skopeo does not look at DOCKER_HOST
	return out, nil
}

// common are the options that concern all sides.
type common struct {
	authFile   string
	retryTimes int
	retryDelay time.Duration
}

func (c *common) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.authFile, "authfile", os.Getenv("REGISTRY_AUTH_FILE"), "file with credentials, in place of the usual ones")
	fs.IntVar(&c.retryTimes, "retry-times", 0, "how often to try again")
	fs.DurationVar(&c.retryDelay, "retry-delay", 0, "wait before trying again; without it, longer each time")
}

// supported is the part of the help texts about image names.
func supported() string {
	return "An image is named TRANSPORT:DETAILS, where the transport is one of\n" + strings.Join(transport.Names(), ", ")
}
