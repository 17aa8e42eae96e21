package daemon

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/reference"
)

// A Name is the detail of docker-daemon: names: a docker reference with a tag
// or a digest, or the ID of an image. It can be compared with ==.
type Name struct {
	Ref reference.Docker // zero if there is an ID
	ID  digest.Digest    // sha256, as docker images --no-trunc shows it
}

// ParseName reads NAME:TAG, NAME@DIGEST or sha256:HEX. Errors wrap
// reference.ErrFormat: for a name with neither tag nor digest, or with both
// (reference.ErrTagAndDigest), and for the name sha256, which would look like
// an ID.
func ParseName(detail string) (Name, error) {
	if d := digest.Digest(detail); reference.CheckDigest(d) == nil {
		if d.Algorithm() != digest.SHA256 {
			return Name{}, wrong("docker-daemon: an image ID is a sha256 digest, not " + detail)
		}
		return Name{ID: d}, nil
	}
	ref, err := reference.ParseDocker(detail)
	switch {
	case err != nil:
		return Name{}, err
	case ref.Name() == "docker.io/library/sha256":
		return Name{}, wrong("Invalid docker-daemon: reference " + detail + ": the name sha256 is reserved for image IDs, with all of their 64 digits")
	case ref.Tag == "" && ref.Digest == "":
		return Name{}, wrong("docker-daemon: reference " + ref.Familiar() + " has neither a tag nor a digest")
	case ref.Tag != "" && ref.Digest != "":
		return Name{}, reference.ErrTagAndDigest
	}
	return Name{Ref: ref}, nil
}

// String returns the detail as ParseName reads it, and as a daemon knows it.
func (n Name) String() string {
	if n.ID != "" {
		return n.ID.String()
	}
	return n.Ref.Familiar()
}

// CheckDestination returns an error that wraps reference.ErrFormat unless n is
// NAME:TAG: a daemon gives IDs and digests itself.
func (n Name) CheckDestination() error {
	if n.ID != "" || n.Ref.Tag == "" {
		return wrong(fmt.Sprintf("Invalid destination docker-daemon:%s: a destination must be a name:tag", n))
	}
	return nil
}

// A nameError has a text that scripts match on.
type nameError struct{ text string }

func wrong(text string) error { return &nameError{text} }

func (e *nameError) Error() string { return strings.ToValidUTF8(e.text, "") }
func (e *nameError) Unwrap() error { return reference.ErrFormat }
