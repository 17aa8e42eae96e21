package oci

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// A Config is an image configuration, with the fields that Docker adds to the
// image-spec's config.md.
type Config struct {
	Created       *time.Time     `json:"created,omitempty"`
	Author        string         `json:"author,omitempty"`
	Architecture  string         `json:"architecture"`
	Variant       string         `json:"variant,omitempty"`
	OS            string         `json:"os"`
	Config        v1.ImageConfig `json:"config"`
	RootFS        v1.RootFS      `json:"rootfs"`
	History       []v1.History   `json:"history,omitempty"`
	DockerVersion string         `json:"docker_version,omitempty"`
}

// ParseConfig reads an image configuration. Errors wrap ErrInvalid.
func ParseConfig(b []byte) (*Config, error) {
	if _, err := scan(b); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var c Config
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("configuration: %w: %v", ErrInvalid, err)
	}
	return &c, nil
}

// Image is the configuration as the image-spec has it, without Docker's own
// fields, for whoever shows it.
func (c *Config) Image() v1.Image {
	return v1.Image{
		Created: c.Created, Author: c.Author,
		Platform: Platform{Architecture: c.Architecture, OS: c.OS, Variant: c.Variant},
		Config:   c.Config, RootFS: c.RootFS, History: c.History,
	}
}

// DiffIDs returns the digests of the layers as they are when unpacked.
func (c *Config) DiffIDs() []digest.Digest { return c.RootFS.DiffIDs }
