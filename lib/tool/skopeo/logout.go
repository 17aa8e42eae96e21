package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/tool/login"
	"github.com/imgtools/imgtools/lib/transport"
)

type logoutCommand struct {
	account
	all bool
}

func newLogout(p *program) runner { return &logoutCommand{account: account{program: p}} }

func (c *logoutCommand) flags(fs *pflag.FlagSet) {
	c.account.flags(fs)
	fs.BoolVarP(&c.all, "all", "a", false, "remove the credentials of all registries")
}

// run keeps skopeo's order of checks.
func (c *logoutCommand) run(ctx context.Context, args []string) error {
	for _, file := range []string{c.authFile, c.compatFile} {
		if err := accessible(file); err != nil {
			return fmt.Errorf("credential file is not accessible: %w", err)
		}
	}
	way, err := c.open()
	if err != nil {
		return err
	}
	switch {
	case c.all && len(args) > 0:
		return errors.New("--all takes no arguments")
	case c.all:
		return c.everything(ctx, way)
	case len(args) == 0:
		return errors.New("please provide a registry to log out from")
	case len(args) > 1:
		return errors.New("logout accepts only one registry to log out from")
	}
	key, host, err := login.Target(args[0], true)
	if err != nil {
		return err
	}
	s, err := c.session(way)
	if err != nil {
		return err
	}
	_, err = s.Store.Remove(ctx, key)
	switch {
	case err == nil:
		_, err = fmt.Fprintf(c.std.Out, "Removed login credentials for %s\n", key)
		return err
	case !errors.Is(err, auth.ErrNotStored):
		return fmt.Errorf("logging out of %q: %w", key, err)
	}
	return c.elsewhere(ctx, s, key, host)
}

func (c *logoutCommand) everything(ctx context.Context, way *transport.Access) error {
	s, err := c.session(way)
	if err != nil {
		return err
	}
	if _, err := s.Store.RemoveAll(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.std.Out, "Removed login credentials for all registries")
	return err
}

// elsewhere is what to say where nothing was removed: that somebody else's
// program has credentials that are good, or that there are none.
func (c *logoutCommand) elsewhere(ctx context.Context, s *login.Session, key, host string) error {
	found, err := s.Store.Find(ctx, key)
	if err != nil {
		return fmt.Errorf("get credentials: %w", err)
	}
	if found.Username == "" || found.Password == "" || s.Check(ctx, host, found) != nil {
		return &login.NotLoggedIn{Key: key}
	}
	_, err = fmt.Fprintf(c.std.Out, "Not logged into %s with current tool. Existing credentials were established via docker login. Please use docker logout instead.\n", key)
	return err
}

// accessible fails if a file that was named is not there.
func accessible(file string) error {
	if file == "" {
		return nil
	}
	_, err := os.Stat(file)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return &fs.PathError{Op: "faccessat", Path: file, Err: failed.Err}
	}
	return err
}

func logoutLong() string {
	return "Remove the user name and password that are stored for a registry, HOST[:PORT], or for\na namespace in it, HOST[:PORT]/NAMESPACE."
}
