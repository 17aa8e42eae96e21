package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// An AccessConfig is what the flags of one side say.
type AccessConfig struct {
	Prefix      string // of the flags: "src-", "dest-" or ""
	Side        string // in errors and events: image.SideSource, image.SideDestination or ""
	Explicit    auth.Explicit
	Token       string
	CertDir     string
	TLSVerify   cli.Tri
	AuthFile    string
	SharedBlobs string
	DaemonHost  string
}

// optional is a text flag that remembers whether it was given.
type optional struct{ p **string }

func (o optional) Set(s string) error { *o.p = &s; return nil }
func (o optional) String() string     { return "" }

// descriptor is a flag with the number of a file descriptor.
type descriptor struct{ p **int }

func (d descriptor) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return errors.New("want the number of an open file descriptor")
	}
	*d.p = &n
	return nil
}

func (d descriptor) String() string { return "" }

// Flags are the rows for one side's access.
func (a *AccessConfig) Flags() []cli.Flag {
	p, e := a.Prefix, &a.Explicit
	of := map[string]string{"src-": "the source", "dest-": "the destination", "": "the registry"}[p]
	rows := []cli.Flag{
		{Name: p + "creds", Arg: "USER[:PASSWORD]", Help: "Credentials for " + of + ".", Value: optional{&e.Creds}},
		{Name: p + "username", Arg: "USER", Help: "User name for " + of + ".", Value: optional{&e.Username}},
		{Name: p + "password", Arg: "PASSWORD", Help: "Password for " + of + ".", Value: optional{&e.Password}},
		{Name: p + "creds-fd", Arg: "N", Help: "Read the credentials for " + of + " from file descriptor N, as USER:PASSWORD, so that they stand in no command line.", Value: descriptor{&e.FD}},
		{Name: p + "creds-command", Arg: "COMMAND", Help: "Get the credentials for " + of + " from a program, which reads the registry's name on standard input.", Value: optional{&e.Command}},
		{Name: p + "no-creds", Help: "Reach " + of + " without credentials.", Value: cli.Bool(&e.NoCreds)},
		{Name: p + "registry-token", Arg: "TOKEN", Help: "Bearer token for " + of + ".", Value: cli.String(&a.Token)},
		{Name: p + "cert-dir", Arg: "DIR", Help: "Certificates and keys (*.crt, *.cert, *.key) for " + of + ".", Value: cli.String(&a.CertDir)},
		{Name: p + "tls-verify", Help: "Require HTTPS and check certificates of " + of + "; =false allows plain HTTP.", Value: cli.OptionalBool(&a.TLSVerify)},
		{Name: p + "daemon-host", Arg: "HOST", Help: "Docker daemon for docker-daemon: names, unix://PATH or tcp://HOST:PORT, in place of $DOCKER_HOST.", Value: cli.String(&a.DaemonHost)},
		{Name: p + "shared-blob-dir", Arg: "DIR", Help: "Directory of blobs that OCI layouts share.", Value: cli.String(&a.SharedBlobs)},
	}
	if p != "" {
		rows = append(rows, cli.Flag{Name: p + "authfile", Arg: "FILE", Help: "Credentials file for " + of + ".", Value: cli.String(&a.AuthFile)})
	}
	return rows
}

// A CommonConfig is what the flags that concern both sides say.
type CommonConfig struct {
	AuthFile   string
	RetryTimes int
	RetryDelay time.Duration
	Timeout    time.Duration
	Foreign    bool
	Debug      bool
	Files      FilesConfig
	Limits     LimitsConfig
}

// NewCommonConfig returns the defaults.
func NewCommonConfig() CommonConfig { return CommonConfig{RetryTimes: DefaultRetries} }

// DefaultRetries is how often a request that meets a passing fault is tried
// again.
const DefaultRetries = 2

// Flags are the rows for both sides.
func (c *CommonConfig) Flags() []cli.Flag {
	rows := []cli.Flag{
		{Name: "authfile", Arg: "FILE", Help: "Credentials file, in place of $REGISTRY_AUTH_FILE and the files of containers and docker.", Value: cli.String(&c.AuthFile)},
		{Name: "retry-times", Arg: "N", Help: fmt.Sprintf("Try a request that meets a passing fault N times more. Without the option %d times.", DefaultRetries), Value: cli.Int(&c.RetryTimes)},
		{Name: "retry-delay", Arg: "DURATION", Help: "Wait so long before the first retry, and twice as long before each next.", Value: cli.Duration(&c.RetryDelay)},
		{Name: "timeout", Arg: "DURATION", Help: "Give up after DURATION.", Value: cli.Duration(&c.Timeout)},
		{Name: "debug", Help: "Tell each request on standard error.", Value: cli.Bool(&c.Debug)},
	}
	rows = append(rows, c.Files.Flags()...)
	return append(rows, c.Limits.flags()...)
}

// Context begins the work that the flags are for: it ends with ctx, or when the
// timeout has passed.
func (c *CommonConfig) Context(ctx context.Context, std *cli.IO) (context.Context, context.CancelFunc) {
	if c.Debug {
		std.EnableDebug()
	}
	if c.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.Timeout)
}

func (c *CommonConfig) retry() registry.Retry {
	r := registry.Retry{Times: c.RetryTimes, Delay: c.RetryDelay}
	if r.Times == 0 {
		r.Times = -1 // none
	}
	return r
}

// check returns a usage error for a number that means nothing.
func (c *CommonConfig) check() error {
	switch {
	case c.RetryTimes < 0:
		return cli.Usagef("--retry-times %d: want 0 or more", c.RetryTimes)
	case c.RetryDelay < 0:
		return cli.Usagef("--retry-delay %s: want 0 or more", c.RetryDelay)
	case c.Timeout < 0:
		return cli.Usagef("--timeout %s: want 0 or more", c.Timeout)
	}
	return c.Limits.check()
}

// Access makes what a transport needs out of the flags. The error is a usage
// error, or one of a file that a flag names.
func (a *AccessConfig) Access(std *cli.IO, c *CommonConfig, n image.Notify) (*transport.Access, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	file := a.AuthFile
	if file == "" {
		file = c.AuthFile
	}
	files := c.Files.open(std)
	stored := files.credentials(std, file)
	lookup, err := a.Explicit.Lookup(stored)
	if err != nil {
		return nil, cli.Usagef("%v", err)
	}
	out := &transport.Access{
		SharedBlobs: a.SharedBlobs, Stdin: std.In, Stdout: std.Out, Stderr: std.Err, DaemonHost: a.DaemonHost, Env: os.Getenv,
		Registries: files.registries, CertDir: files.finder.CertDir, Stored: credential(stored),
	}
	out.Registry = registry.Options{
		Side: a.Side, TLSVerify: verify(a.TLSVerify), CertDir: a.CertDir, Token: a.Token,
		UserAgent: "imgtools/" + cli.Version, Notify: n, ForeignURLs: c.Foreign,
		Retry: c.retry(), ChunkSize: c.Limits.ChunkSize, Credential: credential(lookup),
		Trace: trace(std, c.Debug),
	}
	out.Registry.Network, err = c.network()
	return out, err
}

// credential is a lookup in the words of the registry client.
func credential(find auth.Lookup) func(context.Context, string) (registry.Credential, error) {
	return func(ctx context.Context, repository string) (registry.Credential, error) {
		c, err := find(ctx, repository)
		return registry.Credential(c), err
	}
}

// trace tells every request, for --debug.
func trace(std *cli.IO, debug bool) func(string, string, int, time.Duration) {
	if !debug {
		return nil
	}
	return func(method, url string, status int, took time.Duration) {
		std.Debugf("%s %s: %d in %s", method, url, status, took.Round(time.Millisecond))
	}
}

func verify(t cli.Tri) registry.TLSVerify {
	switch {
	case !t.Given:
		return registry.Unset
	case t.Value:
		return registry.Always
	}
	return registry.Never
}
