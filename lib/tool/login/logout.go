package login

import (
	"context"
	"fmt"
	"os"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/tool"
)

type logoutCommand struct {
	files
	common tool.CommonConfig
	all    bool
}

// Logout returns the table of img-logout.
func Logout() *cli.Tool {
	c := &logoutCommand{}
	return &cli.Tool{
		Name:  "img-logout",
		Args:  "REGISTRY[/NAMESPACE] | --all",
		Short: "remove the user name and password for a registry",
		Long: "Removes what img-login, or another of the containers tools, has stored for REGISTRY or for one NAMESPACE in it, and tells where that was: in the same file, or the credential helper program that it names. " +
			"What is stored for other registries and namespaces stays, and so does whatever else is in the file.",
		Flags: append(append([]cli.Flag{
			{Name: "all", Short: 'a', Help: "Remove the credentials of all registries.", Value: cli.Bool(&c.all)},
		}, c.files.flags()...),
			c.common.Files.RegistriesFlag(),
			cli.Flag{Name: "timeout", Arg: "DURATION", Help: "Give up after DURATION.", Value: cli.Duration(&c.common.Timeout)},
		),
		Examples: []cli.Example{
			{Text: "Log out:", Command: "img-logout quay.io"},
			{Text: "Remove all credentials from docker's file:", Command: "img-logout --all --compat-auth-file ~/.docker/config.json"},
		},
		See:     []string{"img-login(1)", "img-registries(7)"},
		Explain: explain,
		Run:     c.run,
	}
}

func (c *logoutCommand) run(ctx context.Context, std *cli.IO, args []string) error {
	key, err := c.key(args)
	if err != nil {
		return err
	}
	ctx, cancel := c.common.Context(ctx, std)
	defer cancel()
	// A file that was named by mistake would look like nobody logged in.
	for _, file := range []string{c.authFile, c.compatFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("credential file is not accessible: %w", err)
		}
	}
	way, err := (&tool.AccessConfig{}).Access(std, &c.common, nil)
	if err != nil {
		return err
	}
	store, err := c.store(std, way)
	if err != nil {
		return err
	}
	s := &Session{Store: store}
	var removed []auth.Stored
	if c.all {
		removed, err = s.Store.RemoveAll(ctx)
	} else {
		removed, err = s.Logout(ctx, key)
	}
	for _, r := range removed {
		fmt.Fprintf(std.Err, "Removed login credentials for %s from %s\n", cli.Clean(r.Key), cli.Clean(r.String()))
	}
	if c.all && err == nil && len(removed) == 0 {
		fmt.Fprintln(std.Err, "No login credentials are stored")
	}
	return err
}

// key checks the command line and returns what to log out of.
func (c *logoutCommand) key(args []string) (string, error) {
	switch {
	case c.all && len(args) > 0:
		return "", cli.Usagef("--all takes no arguments")
	case !c.all && len(args) != 1:
		return "", cli.Usagef("want one REGISTRY, got %d operands", len(args))
	}
	if err := c.files.check(); err != nil || c.all {
		return "", err
	}
	key, _, err := Target(args[0], false)
	return key, err
}
