// Package auth finds what a registry is to be shown, and keeps it: in the auth
// files of the containers tools, in docker's config.json and in credential
// helper programs.
//
// A Finder answers one question, "which credential belongs to this repository";
// a Store is what login and logout change. Neither knows how a credential is
// sent: the package imports no network, and of the library only lib/disk. A
// credential is matched by exact host and port and by whole path elements,
// never by a prefix of text.
//
// Nothing that this package says, in an error or in a warning, holds a secret
// or a piece of a file's content. Messages tell the file, the place in it and
// what is wrong there.
package auth

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Credential is what a registry is shown. The zero value is anonymous.
//
// Printing a Credential, with any verb, shows the user name and no secret. fmt
// can not ask an unexported field of another struct how to print it: a struct
// that keeps a Credential in one must not be printed with %v.
type Credential struct {
	Username string
	Password string
	// IdentityToken is a refresh token, exchanged for an access token at the
	// registry's token service. It goes before the password.
	IdentityToken string
}

// IsZero reports whether the credential is the anonymous one.
func (c Credential) IsZero() bool { return c == Credential{} }

// String names the user and the kind of the secret, never the secret.
func (c Credential) String() string {
	switch {
	case c.IsZero():
		return "anonymous"
	case c.IdentityToken != "" && c.Username == "":
		return "identity token"
	case c.IdentityToken != "":
		return "identity token of " + strconv.Quote(c.Username)
	}
	return "user " + strconv.Quote(c.Username)
}

// GoString is String, so that %#v shows no secret either.
func (c Credential) GoString() string { return c.String() }

// Format writes String for every verb and flag.
func (c Credential) Format(s fmt.State, _ rune) { fmt.Fprint(s, c.String()) }

// MarshalText is String, so that encoders and structured logs show no secret.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ParseCreds parses USER[:PASSWORD], the value of --creds. The first colon
// splits; without one the password is empty.
func ParseCreds(s string) (Credential, error) {
	if s == "" {
		return Credential{}, errors.New("credentials can't be empty")
	}
	user, password, _ := strings.Cut(s, ":")
	if user == "" {
		return Credential{}, errors.New("username can't be empty")
	}
	return Credential{Username: user, Password: password}, nil
}

// Explicit holds what a command line says about one side's credential. A nil
// pointer is an option that was not given.
type Explicit struct {
	Creds    *string // --creds
	Username *string // --username
	Password *string // --password
	NoCreds  bool    // --no-creds
	FD       *int    // --creds-fd
	Command  *string // --creds-command
}

// Credential returns the credential of the command line. With given false
// nothing was said, and a Finder has to be asked; with given true the answer
// is final, also when it is the anonymous credential of --no-creds. What is to
// be had from FD or Command is not fetched here, and given is false: see
// Lookup.
func (e Explicit) Credential() (c Credential, given bool, err error) {
	switch err := e.exclusions(); {
	case err != nil:
		return Credential{}, false, err
	case e.Username != nil && e.Password == nil:
		return Credential{}, false, errors.New("password must be specified when username is specified")
	case e.Username == nil && e.Password != nil:
		return Credential{}, false, errors.New("username must be specified when password is specified")
	case e.Creds != nil:
		c, err := ParseCreds(*e.Creds)
		return c, err == nil, err
	case e.Username != nil:
		return Credential{Username: *e.Username, Password: *e.Password}, true, nil
	}
	return Credential{}, e.NoCreds, nil
}

// exclusions returns an error if two sources of a credential are given.
func (e Explicit) exclusions() error {
	given := map[string]bool{
		"creds": e.Creds != nil, "username": e.Username != nil, "no-creds": e.NoCreds,
		"creds-fd": e.FD != nil, "creds-command": e.Command != nil,
	}
	for _, pair := range [][2]string{
		{"creds", "no-creds"}, {"username", "no-creds"}, {"creds", "username"},
		{"creds", "creds-fd"}, {"creds", "creds-command"},
		{"username", "creds-fd"}, {"username", "creds-command"},
		{"creds-fd", "creds-command"}, {"creds-fd", "no-creds"}, {"creds-command", "no-creds"},
	} {
		if given[pair[0]] && given[pair[1]] {
			return fmt.Errorf("%s and %s cannot be specified at the same time", pair[0], pair[1])
		}
	}
	return nil
}
