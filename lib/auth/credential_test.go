package auth

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// The secret must not show whatever a careless caller prints a Credential
// with: logs and errors are written by people who did not think of it.
func TestCredentialNeverShowsSecret(t *testing.T) {
	const secret = "hunter2"
	values := []Credential{
		{Username: "alice", Password: secret},
		{Username: "", Password: secret},
		{IdentityToken: secret},
		{Username: "alice", IdentityToken: secret},
	}
	for _, c := range values {
		printed := c.String() + c.GoString()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10.3s"} {
			printed += fmt.Sprintf(verb, c) + fmt.Sprintf(verb, &c) + fmt.Sprintf(verb, []Credential{c}) +
				fmt.Sprintf(verb, struct{ C Credential }{c})
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		printed += string(text)
		if strings.Contains(printed, secret) || strings.Contains(printed, fmt.Sprintf("%x", secret)) {
			t.Errorf("printing a credential shows the secret: %s", printed)
		}
	}
}

func TestCredentialString(t *testing.T) {
	tests := []struct {
		c    Credential
		want string
	}{
		{Credential{}, "anonymous"},
		{Credential{Username: "alice", Password: "x"}, `user "alice"`},
		{Credential{Username: "a\x1b[31m", Password: "x"}, `user "a\x1b[31m"`}, // no terminal escapes
		{Credential{Password: "x"}, `user ""`},
		{Credential{IdentityToken: "x"}, "identity token"},
		{Credential{Username: "alice", IdentityToken: "x"}, `identity token of "alice"`},
	}
	for _, tt := range tests {
		if got := tt.c.String(); got != tt.want {
			t.Errorf("String() = %q; want %q", got, tt.want)
		}
	}
}

func TestParseCreds(t *testing.T) {
	tests := []struct {
		in   string
		want Credential
		err  string
	}{
		{"alice:secret", Credential{Username: "alice", Password: "secret"}, ""},
		{"alice:a:b:", Credential{Username: "alice", Password: "a:b:"}, ""},
		{"alice:", Credential{Username: "alice"}, ""},
		{"alice", Credential{Username: "alice"}, ""},
		{" alice : s ", Credential{Username: " alice ", Password: " s "}, ""}, // nothing is trimmed
		{"", Credential{}, "credentials can't be empty"},
		{":secret", Credential{}, "username can't be empty"},
		{":", Credential{}, "username can't be empty"},
	}
	for _, tt := range tests {
		got, err := ParseCreds(tt.in)
		if got != tt.want || message(err) != tt.err {
			t.Errorf("ParseCreds(%q) = %v, %q; want %v, %q", tt.in, got, message(err), tt.want, tt.err)
		}
	}
}

func TestExplicit(t *testing.T) {
	s := func(s string) *string { return &s }
	tests := []struct {
		name  string
		in    Explicit
		want  Credential
		given bool
		err   string
	}{
		{"nothing", Explicit{}, Credential{}, false, ""},
		{"creds", Explicit{Creds: s("a:b")}, Credential{Username: "a", Password: "b"}, true, ""},
		{"pair", Explicit{Username: s("a"), Password: s("b:c")}, Credential{Username: "a", Password: "b:c"}, true, ""},
		{"empty pair", Explicit{Username: s(""), Password: s("")}, Credential{}, true, ""},
		{"no-creds stops the search", Explicit{NoCreds: true}, Credential{}, true, ""},
		{"given but empty", Explicit{Creds: s("")}, Credential{}, false, "credentials can't be empty"},
		{"creds, no-creds", Explicit{Creds: s("a"), NoCreds: true}, Credential{}, false,
			"creds and no-creds cannot be specified at the same time"},
		{"username, no-creds", Explicit{Username: s("a"), NoCreds: true}, Credential{}, false,
			"username and no-creds cannot be specified at the same time"},
		{"creds, username", Explicit{Creds: s("a"), Username: s("a")}, Credential{}, false,
			"creds and username cannot be specified at the same time"},
		{"creds, password", Explicit{Creds: s("a"), Password: s("a")}, Credential{}, false,
			"username must be specified when password is specified"},
		{"username alone", Explicit{Username: s("a")}, Credential{}, false,
			"password must be specified when username is specified"},
		{"password alone", Explicit{Password: s("a")}, Credential{}, false,
			"username must be specified when password is specified"},
	}
	for _, tt := range tests {
		got, given, err := tt.in.Credential()
		if got != tt.want || given != tt.given || message(err) != tt.err {
			t.Errorf("%s: Credential() = %v, %v, %q; want %v, %v, %q",
				tt.name, got, given, message(err), tt.want, tt.given, tt.err)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
