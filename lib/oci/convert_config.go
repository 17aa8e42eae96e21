package oci

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/image-spec/specs-go/v1"
)

// ociConfig returns a Docker configuration with the fields that the
// image-spec's config.md has, and says which others there were.
func ociConfig(config []byte) (_ []byte, lost []string, err error) {
	was, err := scan(config)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	inner, _ := was.get("config")
	for _, err := range []error{checkCase(was, topKeys), checkCase(inner, innerKeys)} {
		if err != nil {
			return nil, nil, fmt.Errorf("configuration: %w", err)
		}
	}
	var img v1.Image
	if err := json.Unmarshal(config, &img); err != nil {
		return nil, nil, fmt.Errorf("configuration: %w: %v", ErrInvalid, err)
	}
	b, err := json.Marshal(img)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w: %v", ErrInvalid, err)
	}
	if len(b) > MaxManifest {
		return nil, nil, fmt.Errorf("%w: the configuration would have more than %d bytes", ErrConvert, MaxManifest)
	}
	lost = lostKeys(was, config, topKeys, "")
	return b, append(lost, lostKeys(inner, config, innerKeys, "config.")...), nil
}

// The keys that v1.Image has, and those of its config.
var (
	topKeys = []string{"created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history"}

	innerKeys = []string{
		"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped",
	}
)

// lostKeys names the keys of n that are not kept, unless what they hold is
// nothing.
func lostKeys(n node, text []byte, kept []string, prefix string) []string {
	var lost []string
	for _, m := range n.members {
		if !slices.Contains(kept, m.key) && !isNothing(m.val, text) {
			lost = append(lost, "the configuration's "+prefix+m.key)
		}
	}
	return lost
}

func isNothing(n node, text []byte) bool {
	switch n.kind {
	case '{':
		return len(n.members) == 0
	case '[':
		return len(n.items) == 0
	}
	return slices.Contains([]string{`""`, "null", "false", "0"}, string(text[n.start:n.end]))
}
