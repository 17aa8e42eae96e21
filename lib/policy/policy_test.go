package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
)

func TestDecide(t *testing.T) {
	p, err := parse([]byte(`{
		"default": [{"type":"reject"}],
		"transports": {
			"docker": {
				"": [{"type":"insecureAcceptAnything"}],
				"a.example": [{"type":"reject"}],
				"a.example/open": [{"type":"insecureAcceptAnything"}],
				"a.example/signed": [{"type":"insecureAcceptAnything"},{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]
			}
		}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		transport string
		scopes    []string
		ok        bool
	}{
		{"docker", []string{"b.example/x:1", "b.example/x", "b.example"}, true},
		{"docker", []string{"a.example/x:1", "a.example/x", "a.example"}, false},
		{"docker", []string{"a.example/open:1", "a.example/open", "a.example"}, true},
		{"docker", []string{"a.example/signed:1", "a.example/signed", "a.example"}, false}, // cannot be checked
		{"oci", []string{"/x"}, false},
	} {
		if err := p.Decide(tt.transport, "NAME", tt.scopes); (err == nil) != tt.ok || err != nil && !errors.Is(err, image.ErrRejected) {
			t.Errorf("Decide(%s, %q) = %v; want accepted %v", tt.transport, tt.scopes, err, tt.ok)
		}
	}
}

// A policy with a mistake in it must not be one that lets more through.
func TestParseRefuses(t *testing.T) {
	for _, s := range []string{
		``, `null`, `[]`, `{}`, `{"default":null}`, `{"default":[]}`, `{"default":[{}]}`, `{"default":[{"type":"yes"}]}`,
		`{"default":[{"type":"reject"}],"defualt":[]}`, `{"default":[{"type":"reject"}]} {}`,
		`{"default":[{"type":"reject"}],"transports":{"docker":{"":[]}}}`,
		`{"default":[{"type":"reject"}],"transports":{"docker":{"":null}}}`,
		`{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}`,
		`{"default":[{"type":"reject"}],"Default":[{"type":"insecureAcceptAnything"}]}`,
		`{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}`, `{"default":[{"Type":"insecureAcceptAnything"}]}`,
	} {
		if p, err := parse([]byte(s)); err == nil {
			t.Errorf("parse(%s) = %v", s, p)
		}
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	env := map[string]string{"HOME": home}
	get := func(k string) string { return env[k] }
	mine := filepath.Join(home, ".config", "containers", "policy.json")
	if err := os.MkdirAll(filepath.Dir(mine), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte(`{"default":[{"type":"reject"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err := Find("", get); p != mine || err != nil {
		t.Errorf("Find = %q, %v; want %q", p, err, mine)
	}
	env["CONTAINERS_POLICY_JSON"] = "/other"
	if p, err := Find("", get); p != "/other" || err != nil {
		t.Errorf("Find = %q, %v; want /other", p, err)
	}
	if p, err := Find("/named", get); p != "/named" || err != nil {
		t.Errorf("Find = %q, %v; want /named", p, err)
	}
	if _, err := Load("/no/such/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load = %v; want %v", err, fs.ErrNotExist)
	}
	if err := os.WriteFile(mine, []byte(strings.Repeat(" ", maxFile+1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(mine); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("Load of a large file: %v; want that it is larger than what is read", err)
	}
}
