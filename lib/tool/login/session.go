package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/imgtools/imgtools/lib/auth"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
)

// maxPassword is how many bytes are read of a password on standard input.
const maxPassword = 64 << 10

// A Check asks a registry whether it takes a credential. It returns nil if so,
// and an error that wraps image.ErrUnauthorized if not.
type Check func(ctx context.Context, registry string, c auth.Credential) error

// An Ask asks the user for a line, which is not shown if it is secret.
type Ask func(ctx context.Context, prompt string, secret bool) (string, error)

// A Step is something that a Session tells.
type Step int

const (
	Trying    Step = iota // what is stored for a key
	Valid                 // what is stored for a registry
	Invalid               // what is stored
	Used                  // the place where a credential is now
	Succeeded             // the login
)

// A Session is the work of login and logout, without the table of options and
// without words: the native tools and the skopeo face tell what happens each in
// their own. No secret is told, nor in an error.
type Session struct {
	Store *auth.Store
	Check Check
	Ask   Ask
	Tell  func(step Step, text string) // text is a key, a registry or a place

	// Compat keeps what skopeo does and a native tool should not: an identity
	// token that is stored is in the way of any login, lines of a password on
	// standard input are joined, and stored credentials that could not be
	// checked count as invalid.
	Compat bool
}

// A Request is what somebody wants to log in as, and where. Empty means: not
// given.
type Request struct {
	Key      string // what the credential is stored for
	Registry string // which is asked whether it is valid: the host of Key
	Username string
	Password string
	Stdin    io.Reader // where the password is read from; nil: nowhere
}

var (
	// ErrToken means that an identity token is stored already.
	ErrToken = errors.New("currently logged in, auth file contains an Identity token")
	// ErrNoTerminal means that there is nobody to ask. It is a usage error.
	ErrNoTerminal = cli.Usagef("there is no terminal to ask on: give --username and --password-stdin")
)

// A NotLoggedIn says that no credential is stored for a key. It wraps
// image.ErrNotFound.
type NotLoggedIn struct {
	Key       string
	Elsewhere string // where a credential is that applies all the same, or ""
}

func (e *NotLoggedIn) Error() string { return "not logged into " + e.Key }
func (e *NotLoggedIn) Unwrap() error { return image.ErrNotFound }

// A Refused says that the registry does not take the credential. It wraps the
// error of Check.
type Refused struct {
	Key string
	Err error
}

func (e *Refused) Error() string {
	return fmt.Sprintf("logging into %q: invalid username/password", e.Key)
}
func (e *Refused) Unwrap() error { return e.Err }

// User returns the user name that is stored for a key, or "<token>" for an
// identity token without one.
func (s *Session) User(ctx context.Context, key string) (string, error) {
	c, err := s.Store.Find(ctx, key)
	switch {
	case err != nil:
		return "", err
	case c.Username != "":
		return c.Username, nil
	case c.IdentityToken != "" && !s.Compat:
		return "<token>", nil
	}
	return "", &NotLoggedIn{Key: key}
}

// Verify returns a usage error for options that do not go together.
func (r *Request) Verify() error {
	switch {
	case r.Stdin == nil:
		return nil
	case r.Username == "":
		return cli.Usagef("must provide --username with --password-stdin")
	case r.Password != "":
		return cli.Usagef("can't specify both --password-stdin and --password")
	}
	return nil
}

// Login stores a credential once the registry has taken it. Without user and
// password it tries what is stored before it asks for others. What is given by
// half is asked for; what is given whole is stored whatever was there before,
// be it broken.
func (s *Session) Login(ctx context.Context, r Request) error {
	stored, err := s.stored(ctx, r)
	if err == nil {
		err = r.Verify()
	}
	if err == nil && r.Stdin != nil {
		r.Password, err = s.readPassword(ctx, r.Stdin)
	}
	if err != nil {
		return err
	}
	var refused error
	if r.Username == "" && r.Password == "" && (stored.Password != "" || stored.IdentityToken != "") {
		if refused, err = s.try(ctx, r, stored); refused == nil {
			return err
		}
	}
	c, err := s.complete(ctx, r, stored.Username)
	if refused != nil && errors.Is(err, ErrNoTerminal) {
		return refused
	}
	if err != nil {
		return err
	}
	return s.finish(ctx, r, c)
}

// stored returns what is stored, if the request does not say who it is. That
// there is no place to store anything is found out before anybody is asked.
func (s *Session) stored(ctx context.Context, r Request) (auth.Credential, error) {
	if _, err := s.Store.Path(); err != nil {
		return auth.Credential{}, err
	}
	if !s.Compat && r.Username != "" {
		return auth.Credential{}, nil
	}
	c, err := s.Store.Find(ctx, r.Key)
	if err == nil && s.Compat && c.IdentityToken != "" {
		err = ErrToken
	}
	return c, err
}

// finish checks a credential and stores it.
func (s *Session) finish(ctx context.Context, r Request, c auth.Credential) error {
	if err := s.check(ctx, r, c); err != nil {
		return err
	}
	at, err := s.Store.Put(ctx, r.Key, c)
	if err != nil {
		return err
	}
	s.Tell(Used, at.String())
	s.Tell(Succeeded, r.Registry)
	return nil
}

// try checks what is stored. With refused set another credential is needed.
func (s *Session) try(ctx context.Context, r Request, stored auth.Credential) (refused, err error) {
	s.Tell(Trying, r.Key)
	err = s.check(ctx, r, stored)
	if err == nil {
		s.Tell(Valid, r.Registry)
		return nil, nil
	}
	if ctx.Err() == nil && (s.Compat || errors.Is(err, image.ErrUnauthorized)) {
		s.Tell(Invalid, r.Key)
		return err, nil
	}
	return nil, err
}

func (s *Session) check(ctx context.Context, r Request, c auth.Credential) error {
	err := s.Check(ctx, r.Registry, c)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, image.ErrUnauthorized):
		return &Refused{r.Key, err}
	}
	return fmt.Errorf("authenticating creds for %q: %w", r.Key, err)
}

// complete asks for what is not given.
func (s *Session) complete(ctx context.Context, r Request, stored string) (auth.Credential, error) {
	c := auth.Credential{Username: r.Username, Password: r.Password}
	if c.Username == "" {
		prompt := "Username: "
		if stored != "" {
			prompt = "Username (" + cli.Clean(stored) + "): "
		}
		answer, err := s.Ask(ctx, prompt, false)
		if err != nil {
			return c, fmt.Errorf("getting username and password: reading username: %w", err)
		}
		if c.Username = answer; strings.TrimSpace(answer) == "" {
			c.Username = stored
		}
	}
	if c.Username = strings.TrimSpace(c.Username); c.Username == "" && !s.Compat {
		return c, cli.Usagef("the user name is empty")
	}
	if c.Password == "" && (r.Stdin == nil || s.Compat) {
		answer, err := s.Ask(ctx, "Password: ", true)
		if err != nil {
			return c, fmt.Errorf("getting username and password: reading password: %w", err)
		}
		c.Password = answer
	}
	if c.Password == "" && !s.Compat {
		return c, cli.Usagef("the password is empty")
	}
	return c, nil
}

// await returns what read does, or the error of ctx. A read of a pipe or of a
// terminal can not be called back: it is left to itself.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		got T
		err error
	}
	done := make(chan result, 1)
	go func() {
		got, err := read()
		done <- result{got, err}
	}()
	select {
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	case r := <-done:
		return r.got, r.err
	}
}

// readPassword reads a password to the end of r. One line end does not count;
// another would be a mistake that no registry could point out.
func (s *Session) readPassword(ctx context.Context, r io.Reader) (string, error) {
	b, err := await(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxPassword+1)) })
	switch {
	case err != nil:
		return "", fmt.Errorf("reading password: %w", err)
	case len(b) > maxPassword:
		return "", cli.Usagef("the password on standard input is longer than %d bytes", maxPassword)
	case s.Compat:
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), nil), []byte("\n"), nil)
		return string(b), nil
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if bytes.ContainsAny(b, "\r\n") {
		return "", cli.Usagef("the password on standard input has more than one line")
	}
	return string(b), nil
}

// Logout removes what is stored for a key and returns where that was. If
// there is nothing the error is a *NotLoggedIn.
func (s *Session) Logout(ctx context.Context, key string) ([]auth.Stored, error) {
	removed, err := s.Store.Remove(ctx, key)
	if !errors.Is(err, auth.ErrNotStored) {
		return removed, err
	}
	missing := &NotLoggedIn{Key: key}
	if c, at, err := s.Store.Locate(ctx, key); err == nil && !c.IsZero() {
		missing.Elsewhere = at.String()
	}
	return nil, missing
}
