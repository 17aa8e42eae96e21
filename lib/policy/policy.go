// Package policy reads containers-policy.json(5) and decides by it whether an
// image may be copied.
//
// Only the requirements that need no signature are decided here yet. Any
// other refuses the image: what cannot be checked is not accepted. The package
// opens the policy file and nothing else.
package policy

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

const maxFile = 1 << 20 // bytes of a policy file

// ErrNoFile says that no policy file was found at any of the places where one
// may be.
var ErrNoFile = errors.New("no policy.json file found")

// A Policy is a parsed policy file.
type Policy struct {
	Default    requirements                       `json:"default"`
	Transports map[string]map[string]requirements `json:"transports"`
}

type requirements []requirement

// A requirement keeps only its type: none that has more can be decided.
type requirement struct {
	kind string
}

// UnmarshalJSON reads the type and ignores the fields that belong to it.
func (r *requirement) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage // a struct would take "Type" for "type"
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	return json.Unmarshal(fields["type"], &r.kind)
}

// Find returns the path of the policy file: the one named, or else
// $CONTAINERS_POLICY_JSON, or else the first that exists of the user's and the
// system's. The error wraps ErrNoFile.
func Find(named string, env func(string) string) (string, error) {
	if named != "" {
		return named, nil
	}
	if p := env("CONTAINERS_POLICY_JSON"); p != "" {
		return p, nil
	}
	places := []string{"/etc/containers/policy.json", "/usr/share/containers/policy.json"}
	if dir := configHome(env); dir != "" {
		places = append([]string{filepath.Join(dir, "containers", "policy.json")}, places...)
	}
	for _, p := range places {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			return p, nil
		}
	}
	return "", fmt.Errorf("config file not found: %w; searched paths: %v", ErrNoFile, places)
}

func configHome(env func(string) string) string {
	if dir := env("XDG_CONFIG_HOME"); dir != "" {
		return dir
	}
	if home := env("HOME"); home != "" {
		return filepath.Join(home, ".config")
	}
	return ""
}

// Load reads the policy file at path.
func Load(path string) (*Policy, error) {
	b, err := disk.ReadFile(path, maxFile)
	if err != nil {
		return nil, err
	}
	p, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("invalid policy in %q: %w", path, err)
	}
	return p, nil
}

func parse(b []byte) (*Policy, error) {
	if err := oci.CheckJSON(b); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	for key := range fields {
		if key != "default" && key != "transports" {
			return nil, fmt.Errorf("Unknown key %q", key)
		}
	}
	var p Policy
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, err
	}
	if p.Default == nil {
		return nil, errors.New("Default policy is missing")
	}
	for _, scopes := range p.Transports {
		for _, reqs := range scopes {
			if err := reqs.check(); err != nil {
				return nil, err
			}
		}
	}
	return &p, p.Default.check()
}

func (rs requirements) check() error {
	if len(rs) == 0 {
		return errors.New("List of verification policy requirements must not be empty")
	}
	for _, r := range rs {
		switch r.kind {
		case "insecureAcceptAnything", "reject", "signedBy", "sigstoreSigned", "signedBaseLayer":
		default:
			return fmt.Errorf("Unknown policy requirement type %q", r.kind)
		}
	}
	return nil
}

// Decide returns nil if the image may be copied. scopes are where the policy
// looks for it, most specific first; name is what messages call it. The error
// wraps image.ErrRejected.
func (p *Policy) Decide(transport, name string, scopes []string) error {
	for _, r := range p.find(transport, scopes) {
		switch r.kind {
		case "insecureAcceptAnything":
		case "reject":
			return &rejection{fmt.Sprintf("Running image %s is rejected by policy.", name)}
		default:
			return &rejection{fmt.Sprintf("the policy for %s asks for %s, which cannot be checked here", name, r.kind)}
		}
	}
	return nil
}

func (p *Policy) find(transport string, scopes []string) requirements {
	known := p.Transports[transport]
	for _, s := range append(scopes, "") {
		if rs, ok := known[s]; ok {
			return rs
		}
	}
	return p.Default
}

// A rejection has a text that scripts match on.
type rejection struct{ text string }

func (r *rejection) Error() string        { return r.text }
func (r *rejection) Is(target error) bool { return target == image.ErrRejected }
