package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/tool/login"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// account are the options that login and logout have in common.
type account struct {
	*program
	authFile, compatFile string
	certDir              string
	tlsVerify            cli.Tri
}

func (a *account) flags(fs *pflag.FlagSet) {
	fs.StringVar(&a.authFile, "authfile", "", "file with credentials, in place of $REGISTRY_AUTH_FILE and the usual one")
	fs.StringVar(&a.compatFile, "compat-auth-file", "", "file with credentials, in docker's format")
	addTri(fs, &a.tlsVerify, "tls-verify", "insist on HTTPS with a certificate that can be checked")
}

// open checks the options and returns the way to the registry.
func (a *account) open() (*transport.Access, error) {
	if a.authFile != "" && a.compatFile != "" {
		return nil, auth.ErrTwoFiles
	}
	return a.reach(tool.AccessConfig{CertDir: a.certDir, TLSVerify: a.tlsVerify}, common{})
}

// session makes what does the work.
func (a *account) session(way *transport.Access) (*login.Session, error) {
	registries, err := way.Registries()
	if err != nil {
		return nil, err
	}
	warn := func(s string) { a.log("warning", s) }
	return &login.Session{
		Compat: true,
		Ask:    a.ask,
		Store: &auth.Store{
			Finder: auth.Finder{File: a.authFile, Helpers: registries.CredentialHelpers(), Stderr: a.std.Err, Warn: warn},
			Docker: a.compatFile, DropHelpers: true,
		},
		Check: func(ctx context.Context, host string, c auth.Credential) error {
			with := *way
			with.Registry.Credential = func(context.Context, string) (registry.Credential, error) { return registry.Credential(c), nil }
			return transport.Check(ctx, host, &with)
		},
	}, nil
}

type loginCommand struct {
	account
	username, password               string
	passwordStdin, getLogin, verbose bool
}

func newLogin(p *program) runner { return &loginCommand{account: account{program: p}} }

func (c *loginCommand) flags(fs *pflag.FlagSet) {
	c.account.flags(fs)
	fs.StringVar(&c.certDir, "cert-dir", "", "`PATH` of a directory with certificates and keys (*.crt, *.cert, *.key)")
	fs.StringVarP(&c.username, "username", "u", "", "user name")
	fs.StringVarP(&c.password, "password", "p", "", "password, which other users of the machine can then see")
	fs.BoolVar(&c.passwordStdin, "password-stdin", false, "read the password from standard input")
	fs.BoolVar(&c.getLogin, "get-login", false, "print the user name that is stored, and do nothing else")
	fs.BoolVarP(&c.verbose, "verbose", "v", false, "tell where the credentials are stored")
}

// run keeps skopeo's order of checks.
func (c *loginCommand) run(ctx context.Context, args []string) error {
	way, err := c.open()
	if err != nil {
		return err
	}
	switch len(args) {
	case 0:
		return errors.New("please provide a registry to log in to")
	case 1:
	default:
		return errors.New("login accepts only one registry to log in to")
	}
	r := login.Request{Username: c.username, Password: c.password}
	if r.Key, r.Registry, err = login.Target(args[0], true); err != nil {
		return err
	}
	s, err := c.session(way)
	if err != nil {
		return fmt.Errorf("get credentials: %w", err)
	}
	if c.getLogin {
		user, err := s.User(ctx, r.Key)
		if err != nil {
			return c.failed(err)
		}
		_, err = fmt.Fprintln(c.std.Out, cli.Clean(user))
		return err
	}
	if _, _, err := login.Target(args[0], false); err != nil {
		c.log("warning", fmt.Sprintf("The path of %s does not count: the credentials are for all of %s", args[0], r.Key))
	}
	if c.passwordStdin {
		r.Stdin = c.std.In
	}
	s.Tell = c.tell
	return c.failed(s.Login(ctx, r))
}

// failed puts what lib/auth says about files into skopeo's words.
func (c *loginCommand) failed(err error) error {
	if errors.Is(err, auth.ErrMalformed) {
		return fmt.Errorf("get credentials: %w", err)
	}
	if errors.Is(err, auth.ErrNamespaced) {
		if text, ok := strings.CutPrefix(err.Error(), auth.ErrNamespaced.Error()+": credentials "); ok {
			return errors.New("Credentials " + text)
		}
	}
	return err
}

// tell says on standard output what happens, as skopeo does.
func (c *loginCommand) tell(step login.Step, text string) {
	text = cli.Clean(text)
	switch step {
	case login.Trying:
		fmt.Fprintf(c.std.Out, "Authenticating with existing credentials for %s\n", text)
	case login.Valid:
		fmt.Fprintf(c.std.Out, "Existing credentials are valid. Already logged in to %s\n", text)
	case login.Invalid:
		fmt.Fprintln(c.std.Out, "Existing credentials are invalid, please enter valid username and password")
	case login.Used:
		if c.verbose {
			fmt.Fprintf(c.std.Out, "Used:  %s\n", strings.TrimPrefix(text, "auth file "))
		}
	case login.Succeeded:
		fmt.Fprintln(c.std.Out, "Login Succeeded!")
	}
}

func loginLong() string {
	return "Store a user name and password for a registry, HOST[:PORT], or for a namespace in it,\nHOST[:PORT]/NAMESPACE, once the registry has taken them."
}
