// Package login is img-login and img-logout: the tables of both, and the work
// of both as a Session, which the skopeo face uses too.
//
// What a credential is stored in is lib/auth's matter; how a registry is asked
// whether it takes one, that of a function that comes in. The package moves no
// images.
package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// files are the options about where credentials are kept.
type files struct{ authFile, compatFile string }

func (f *files) flags() []cli.Flag {
	return []cli.Flag{
		{Name: "authfile", Arg: "FILE", Help: "The file of credentials, in place of $REGISTRY_AUTH_FILE and the usual one.", Value: cli.String(&f.authFile)},
		{Name: "compat-auth-file", Arg: "FILE", Help: "The file of credentials, written as docker does.", Value: cli.String(&f.compatFile)},
	}
}

func (f *files) check() error {
	if f.authFile != "" && f.compatFile != "" {
		return cli.Usagef("%v", auth.ErrTwoFiles)
	}
	return nil
}

// store returns what the options, and registries.conf, name.
func (f *files) store(std *cli.IO, way *transport.Access) (*auth.Store, error) {
	r, err := way.Registries()
	if err != nil {
		return nil, err
	}
	warn := func(s string) { std.Warnf("%s", s) }
	return &auth.Store{
		Finder: auth.Finder{File: f.authFile, Helpers: r.CredentialHelpers(), Stderr: std.Err, Warn: warn},
		Docker: f.compatFile,
	}, nil
}

type loginCommand struct {
	files
	access tool.AccessConfig
	common tool.CommonConfig
	check  checker

	username, password string

	passwordStdin, getLogin, verbose bool
}

// Login returns the table of img-login.
func Login() *cli.Tool { return login(transport.Check, terminal) }

// A checker asks the registry host whether it takes the credential of a. It
// is a Check before the options are known.
type checker func(ctx context.Context, host string, a *transport.Access) error

func login(check checker, terminal Ask) *cli.Tool {
	c := &loginCommand{common: tool.NewCommonConfig(), check: check}
	return &cli.Tool{
		Name:  "img-login",
		Args:  "REGISTRY[/NAMESPACE]",
		Short: "store a user name and password for a registry",
		Long: "Stores the credentials of REGISTRY, or of one NAMESPACE in it, once the registry has accepted them. What is not given by options is asked for at the terminal. " +
			"Without --username and --password, those that are stored already are tried first.\n\n" +
			"They are kept where the containers tools look for them: in the file of --authfile or --compat-auth-file, of $REGISTRY_AUTH_FILE, of $DOCKER_CONFIG, or in $XDG_RUNTIME_DIR/containers/auth.json, which the next boot takes away; " +
			"or in the credential helper program that such a file, or registries.conf, names. The file is changed safely while others use it, is readable for its owner only, and keeps whatever else is in it.",
		Flags: c.flags(),
		Examples: []cli.Example{
			{Text: "Log in, being asked for user name and password:", Command: "img-login quay.io"},
			{Text: "Log in from a script:", Command: "pass show quay.io | img-login --username alice --password-stdin quay.io"},
			{Text: "See who is logged in:", Command: "img-login --get-login quay.io"},
			{Text: "Store credentials for docker too:", Command: "img-login --compat-auth-file ~/.docker/config.json docker.io"},
		},
		See:     []string{"img-logout(1)", "img-registries(7)"},
		Explain: explain,
		Run: func(ctx context.Context, std *cli.IO, args []string) error {
			return c.run(ctx, std, terminal, args)
		},
	}
}

func (c *loginCommand) flags() []cli.Flag {
	rows := []cli.Flag{
		{Name: "username", Short: 'u', Arg: "USER", Help: "The user name.", Value: cli.String(&c.username)},
		{Name: "password", Short: 'p', Arg: "PASSWORD", Help: "The password. Other users of this machine can see it while the program runs: --password-stdin is better.", Value: cli.String(&c.password)},
		{Name: "password-stdin", Help: "Read the password from standard input. One line end behind it does not count.", Value: cli.Bool(&c.passwordStdin)},
		{Name: "get-login", Help: "Write the user name that is stored to standard output, and do nothing else.", Value: cli.Bool(&c.getLogin)},
		{Name: "verbose", Short: 'v', Help: "Tell where the credentials are stored.", Value: cli.Bool(&c.verbose)},
	}
	rows = append(rows, c.files.flags()...)
	rows = append(rows,
		cli.Flag{Name: "cert-dir", Arg: "DIR", Help: "Certificates and keys (*.crt, *.cert, *.key) for the registry.", Value: cli.String(&c.access.CertDir)},
		cli.Flag{Name: "tls-verify", Help: "Require HTTPS and check certificates of the registry; =false allows plain HTTP.", Value: cli.OptionalBool(&c.access.TLSVerify)},
		cli.Flag{Name: "timeout", Arg: "DURATION", Help: "Give up after DURATION.", Value: cli.Duration(&c.common.Timeout)},
		cli.Flag{Name: "debug", Help: "Tell each request on standard error.", Value: cli.Bool(&c.common.Debug)},
	)
	return append(rows, c.common.Files.Flags()...)
}

func (c *loginCommand) run(ctx context.Context, std *cli.IO, terminal Ask, args []string) error {
	r, err := c.request(std, args)
	if err != nil {
		return err
	}
	ctx, cancel := c.common.Context(ctx, std)
	defer cancel()
	way, err := c.way(std, r.Registry)
	if err != nil {
		return err
	}
	store, err := c.store(std, way)
	if err != nil {
		return err
	}
	s := &Session{Store: store, Check: c.checkWith(way), Ask: terminal, Tell: c.teller(std)}
	if c.getLogin {
		user, err := s.User(ctx, r.Key)
		if err == nil {
			_, err = fmt.Fprintln(std.Out, cli.Clean(user))
		}
		return err
	}
	if c.password != "" {
		std.Warnf("other users of this machine can see what is given by --password; --password-stdin keeps it to yourself")
	}
	return s.Login(ctx, r)
}

// request checks the command line.
func (c *loginCommand) request(std *cli.IO, args []string) (Request, error) {
	if len(args) != 1 {
		return Request{}, cli.Usagef("want one REGISTRY, got %d operands", len(args))
	}
	r := Request{Username: c.username, Password: c.password}
	if c.passwordStdin {
		r.Stdin = std.In
	}
	var err error
	r.Key, r.Registry, err = Target(args[0], false)
	switch {
	case err != nil:
		return r, err
	case c.getLogin && (c.username != "" || c.password != "" || c.passwordStdin):
		return r, cli.Usagef("--get-login stores nothing: give no user name or password")
	case c.passwordStdin && std.InIsTerminal():
		return r, cli.Usagef("--password-stdin is for a pipe or a file; without it the password is asked for")
	}
	if err := c.files.check(); err != nil {
		return r, err
	}
	return r, r.Verify()
}

func (c *loginCommand) teller(std *cli.IO) func(Step, string) {
	return func(step Step, text string) {
		switch step {
		case Trying:
			fmt.Fprintf(std.Err, "Trying the credentials that are stored for %s.\n", text)
		case Valid:
			fmt.Fprintf(std.Err, "They are valid: already logged in to %s.\n", text)
		case Invalid:
			fmt.Fprintln(std.Err, "They are not valid any more.")
		case Used:
			if c.verbose {
				fmt.Fprintf(std.Err, "Stored in %s.\n", cli.Clean(text))
			}
		case Succeeded:
			fmt.Fprintln(std.Err, "Login Succeeded!")
		}
	}
}

// way returns the way to the registry that the options describe.
func (c *loginCommand) way(std *cli.IO, registry string) (*transport.Access, error) {
	r, err := cli.NewRenderer("none", std, "img-login")
	if err != nil {
		return nil, err
	}
	return c.access.Access(std, &c.common, tool.Notify(r, registry))
}

// checkWith returns the Check that goes that way.
func (c *loginCommand) checkWith(way *transport.Access) Check {
	return func(ctx context.Context, host string, cred auth.Credential) error {
		with := *way
		with.Registry.Credential = func(context.Context, string) (registry.Credential, error) {
			return registry.Credential(cred), nil
		}
		return c.check(ctx, host, &with)
	}
}

// explain is tool.Explain with the hints for these tools.
func explain(err error) (code int, hint string) {
	code, _ = tool.Explain(err)
	var missing *NotLoggedIn
	var path *fs.PathError
	switch {
	case errors.As(err, &missing) && missing.Elsewhere != "":
		hint = "credentials that apply to it are in " + missing.Elsewhere
	case errors.Is(err, auth.ErrNamespaced):
		code, hint = cli.CodeUsage, "name the registry alone, or another file with --authfile"
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &path) && os.Getenv("XDG_RUNTIME_DIR") == "":
		hint = "set $XDG_RUNTIME_DIR, or name a file with --authfile"
	case errors.Is(err, image.ErrUnauthorized):
		hint = ""
	}
	return code, hint
}
