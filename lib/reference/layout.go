package reference

import (
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Layout is the detail of oci: and oci-archive: names.
type Layout struct {
	Path  string // of the directory or tar; for oci: "" is the current directory
	Name  string // reference name in the index, "" for none
	Index int    // position in the index from 0, -1 for none; a source only
}

// ParseLayout reads the detail of oci:, PATH[:NAME], PATH[:@INDEX] or
// PATH[:@DIGEST], which is a manifest by its digest, whatever it is called; its
// Name is then "@DIGEST". The first colon ends the path. A bad index is an
// ErrIndex, anything else wrong an ErrFormat.
func ParseLayout(detail string) (Layout, error) {
	path, name, _ := strings.Cut(detail, ":")
	number, ok := strings.CutPrefix(name, "@")
	if !ok {
		return namedLayout(path, name)
	}
	if CheckDigest(digest.Digest(number)) == nil {
		return Layout{Path: path, Name: name, Index: -1}, nil
	}
	index, err := parseIndex(number)
	if err != nil {
		return Layout{}, err
	}
	return Layout{Path: path, Index: index}, nil
}

// ParseLayoutArchive reads the detail of oci-archive:, with the grammar of
// oci:. The path must not be empty.
func ParseLayoutArchive(detail string) (Layout, error) {
	return needPath(ParseLayout(detail))
}

// ParseLayoutArchiveStrict is ParseLayoutArchive without PATH:@INDEX, which
// skopeo does not read for archives.
func ParseLayoutArchiveStrict(detail string) (Layout, error) {
	path, name, _ := strings.Cut(detail, ":")
	return needPath(namedLayout(path, name))
}

func namedLayout(path, name string) (Layout, error) {
	if name != "" && !ValidRefName(name) {
		return Layout{}, fail("Invalid image "+printable(name), ErrFormat)
	}
	return Layout{Path: path, Name: name, Index: -1}, nil
}

func needPath(l Layout, err error) (Layout, error) {
	if err == nil && l.Path == "" {
		return Layout{}, fail("oci-archive: name without a path", ErrFormat)
	}
	return l, err
}

// String returns the detail as ParseLayout reads it.
func (l Layout) String() string {
	switch {
	case l.Index >= 0:
		return l.Path + ":@" + strconv.Itoa(l.Index)
	case l.Name != "":
		return l.Path + ":" + l.Name
	}
	return l.Path
}

// CheckDestination returns an ErrIndex if l names an image by its position, and
// an ErrFormat if by its digest alone: these are for sources only.
func (l Layout) CheckDestination() error {
	if strings.HasPrefix(l.Name, "@") {
		return fail("Destination reference must not be a digest alone: "+l.Name, ErrFormat)
	}
	return checkDestination(l.Index)
}

// Archive is the detail of docker-archive: names.
type Archive struct {
	Path  string
	Ref   Docker // with a tag; zero for none
	Index int    // position in manifest.json from 0, -1 for none; a source only
}

// ParseArchive reads the detail of docker-archive:, PATH[:NAME[:TAG]] or
// PATH[:@INDEX]. The first colon ends the path, which must not be empty; the
// tag is latest if there is none; a digest is refused. A bad index is an
// ErrIndex; other errors are those of ParseDocker.
func ParseArchive(detail string) (Archive, error) {
	path, name, named := strings.Cut(detail, ":")
	if path == "" {
		return Archive{}, fail("docker-archive: name without a path", ErrFormat)
	}
	if !named {
		return Archive{Path: path, Index: -1}, nil
	}
	if number, ok := strings.CutPrefix(name, "@"); ok {
		index, err := parseIndex(number)
		if err != nil {
			return Archive{}, err
		}
		return Archive{Path: path, Index: index}, nil
	}
	d, err := ParseDocker(name)
	switch {
	case err != nil:
		return Archive{}, fail("docker-archive parsing reference: "+err.Error(), err)
	case d.Digest != "" && d.Tag == "":
		return Archive{}, fail("reference does not include a tag: "+d.String(), ErrFormat)
	case d.Digest != "":
		return Archive{}, fail("docker-archive: names in an archive have no digest: "+d.String(), ErrFormat)
	}
	return Archive{Path: path, Ref: d.WithDefaultTag(), Index: -1}, nil
}

// String returns the detail as ParseArchive reads it, its name canonical.
func (a Archive) String() string {
	switch {
	case a.Index >= 0:
		return a.Path + ":@" + strconv.Itoa(a.Index)
	case !a.Ref.IsZero():
		return a.Path + ":" + a.Ref.String()
	}
	return a.Path
}

// CheckDestination returns an ErrIndex if a names an image by its position,
// which is for sources only.
func (a Archive) CheckDestination() error { return checkDestination(a.Index) }

func checkDestination(index int) error {
	if index < 0 {
		return nil
	}
	return fail("Destination reference must not contain a manifest index @"+strconv.Itoa(index), ErrIndex, ErrFormat)
}

// parseIndex reads the number of an @N.
func parseIndex(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fail("Invalid source index @"+printable(s)+": not an integer: "+err.Error(), ErrIndex, ErrFormat, err)
	}
	if n < 0 {
		return 0, fail("Invalid source index @"+strconv.Itoa(n)+": must not be negative", ErrIndex, ErrFormat)
	}
	return n, nil
}
