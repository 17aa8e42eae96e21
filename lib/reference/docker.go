package reference

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

const (
	defaultDomain = "docker.io"
	legacyDomain  = "index.docker.io"
	officialPath  = "library/"
	defaultTag    = "latest"
	maxName       = 255 // bytes of domain and path
	unknownDigest = "@@unknown-digest@@"
)

// Docker is a normalised docker reference: the domain is always there, and a
// name of Docker Hub has its "library/". Docker values can be compared with ==.
// The zero value is no reference.
type Docker struct {
	Domain string // host, perhaps with a port
	Path   string // repository, without the domain
	Tag    string // "" for none
	Digest digest.Digest
	// Unknown is a destination whose manifest gets no tag and is stored
	// under the digest that it turns out to have. Then Tag and Digest are
	// empty. Only ParseDockerTransport sets it.
	Unknown bool
}

// ParseDocker reads a docker reference as users write it and normalises it:
// busybox becomes docker.io/library/busybox. No tag is added. A first
// component is the domain only if it has a dot or a colon or is "localhost".
//
// Errors are ErrFormat and, more narrowly, ErrUppercase, ErrNameTooLong or
// ErrDigest (with go-digest's error for the reason).
func ParseDocker(s string) (Docker, error) {
	if isImageID(s) {
		return Docker{}, fail("invalid repository name: "+s+" is an image ID", ErrFormat)
	}
	domain, rest := splitDomain(s)
	if name, _, _ := strings.Cut(rest, ":"); strings.ToLower(name) != name {
		return Docker{}, ErrUppercase
	}
	if domain == defaultDomain && !strings.Contains(rest, "/") {
		rest = officialPath + rest
	}
	rest, sum, hasDigest := strings.Cut(rest, "@")
	path, tag, hasTag := strings.Cut(rest, ":")
	if !validDomain(domain) || !validPath(path) || hasTag && !ValidTag(tag) || hasDigest && !validDigest(sum) {
		return Docker{}, ErrFormat
	}
	if len(domain)+len("/")+len(path) > maxName {
		return Docker{}, ErrNameTooLong
	}
	if hasDigest {
		if err := checkDigest(sum); err != nil {
			return Docker{}, fail(err.Error(), ErrFormat, ErrDigest, err)
		}
	}
	return Docker{Domain: domain, Path: path, Tag: tag, Digest: digest.Digest(sum)}, nil
}

// splitDomain cuts the domain off, or gives the default one.
func splitDomain(s string) (domain, rest string) {
	first, rest, ok := strings.Cut(s, "/")
	switch {
	case !ok || !isDomain(first):
		return defaultDomain, s
	case first == legacyDomain:
		return defaultDomain, rest
	}
	return first, rest
}

// isDomain reports whether the first of several components is a domain.
func isDomain(first string) bool {
	return first == "localhost" || strings.ContainsAny(first, ".:")
}

// ParseDockerTransport reads the detail of docker:, such as "//busybox". A name
// with neither tag nor digest gets the tag latest; one with both is an
// ErrTagAndDigest. "//NAME@@unknown-digest@@" gives Unknown. Other errors are
// those of ParseDocker.
func ParseDockerTransport(detail string) (Docker, error) {
	s, ok := strings.CutPrefix(detail, "//")
	if !ok {
		return Docker{}, fail("docker: image reference "+printable(detail)+" does not start with //", ErrFormat)
	}
	s, unknown := strings.CutSuffix(s, unknownDigest)
	d, err := ParseDocker(s)
	switch {
	case err != nil:
		return Docker{}, err
	case unknown && d.Tag+string(d.Digest) != "":
		return Docker{}, fail("docker: a name with "+unknownDigest+" has no tag or digest: "+d.String(), ErrFormat)
	case d.Tag != "" && d.Digest != "":
		return Docker{}, ErrTagAndDigest
	}
	d.Unknown = unknown
	return d.WithDefaultTag(), nil
}

// IsZero reports whether d is no reference at all.
func (d Docker) IsZero() bool { return d == Docker{} }

// Name returns domain and path: docker.io/library/busybox.
func (d Docker) Name() string {
	if d.Domain == "" {
		return d.Path
	}
	return d.Domain + "/" + d.Path
}

// String returns the canonical form, with what there is of tag and digest:
// docker.io/library/busybox:latest. ParseDocker reads it back, unless Unknown.
func (d Docker) String() string { return d.Name() + d.suffix() }

// Familiar returns the short form that users write: busybox:latest. It reads
// back as the same reference; where a short form would not, because the path
// on Docker Hub looks like a domain or an image ID, it is the canonical form.
func (d Docker) Familiar() string {
	suffix := d.suffix()
	if d.Domain != defaultDomain {
		return d.Name() + suffix
	}
	short, ok := strings.CutPrefix(d.Path, officialPath)
	if !ok || strings.Contains(short, "/") {
		short = d.Path
	}
	first, _, several := strings.Cut(short, "/")
	if several && isDomain(first) || suffix == "" && isImageID(short) {
		return d.Name() + suffix
	}
	return short + suffix
}

// Detail returns d as the detail of docker:, which ParseDockerTransport reads.
func (d Docker) Detail() string { return "//" + d.Familiar() }

func (d Docker) suffix() string {
	switch {
	case d.Unknown:
		return unknownDigest
	case d.Tag != "" && d.Digest != "":
		return ":" + d.Tag + "@" + string(d.Digest)
	case d.Tag != "":
		return ":" + d.Tag
	case d.Digest != "":
		return "@" + string(d.Digest)
	}
	return ""
}

// WithDefaultTag returns d with the tag latest if it has neither tag nor
// digest, and d otherwise. It is idempotent.
func (d Docker) WithDefaultTag() Docker {
	if d.Tag == "" && d.Digest == "" && !d.Unknown {
		d.Tag = defaultTag
	}
	return d
}
