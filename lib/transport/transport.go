// Package transport is the table of transports: what a name such as
// docker://a/b:c or oci:dir:tag means, and how to open it for reading and
// writing.
//
// It is where the transports meet; they do not know each other. Credentials
// come in here too, as a function, so that no transport reads auth files.
package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/conf"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/archive"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// ErrTransport is wrapped by the error about a name whose transport is not
// known.
var ErrTransport = errors.New("unknown transport")

// A Name is one image name, parsed and not yet opened.
type Name interface {
	// String is the name as messages show it, TRANSPORT:DETAIL.
	String() string

	// Source opens the image for reading. It may do without any request
	// or access of its own; errors then come with the first manifest.
	Source(context.Context, *Access) (image.Source, error)

	// Destination opens the name for writing.
	Destination(context.Context, *Access) (image.Destination, error)

	// Docker returns the docker reference that the name is or holds, the
	// zero value if it has none.
	Docker() reference.Docker

	// Pinned is the name for exactly the image with that digest, which can
	// be read again under it.
	Pinned(digest.Digest) string
}

// An Access is how one side is reached. The zero value reads and writes
// without credentials.
type Access struct {
	Registry registry.Options
	// Registries is what registries.conf says, CertDir where the certificates
	// for a host are, and Stored the credential for a registry that the
	// command line says nothing of. They are called when there is need; nil
	// is nothing.
	Registries func() (*conf.Registries, error)
	CertDir    func(host string) string
	Stored     func(ctx context.Context, repository string) (registry.Credential, error)

	DaemonHost string              // of a docker daemon; "": what Env says, or the usual socket
	Env        func(string) string // looks up what the environment says of a docker daemon; nil: nothing

	SharedBlobs string // where an OCI layout's blobs lie, if not below it

	Stdin  io.Reader // what "-" reads
	Stdout io.Writer // what "-" writes
	Stderr io.Writer // gets what programs of transports say; nil: nobody

	// Labels are what a stream or archive calls the image it holds, if the
	// name itself does not say.
	Labels []reference.Docker
	// Replace makes an archive hold the new image only. Otherwise it keeps
	// those that it holds.
	Replace bool
}

// names is the table. Each parses the detail behind the colon.
var names = map[string]func(detail string) (Name, error){
	"docker":         parseRegistry,
	"oci":            parseLayout,
	"dir":            parseDir,
	"oci-archive":    parseLayoutArchive,
	"docker-archive": parseArchive,
	"docker-daemon":  parseDaemon,
	"-":              parseStream,
}

// Names returns the names of the transports, sorted.
func Names() []string {
	var s []string
	for n := range names {
		if n != "-" {
			s = append(s, n)
		}
	}
	slices.Sort(s)
	return s
}

// Parse reads an image name. A transport that is not known here may be a program,
// see img-transport(7). Errors wrap ErrTransport or those of
// lib/reference.
func Parse(s string) (Name, error) {
	r, err := reference.Parse(s)
	if err != nil {
		return nil, err
	}
	parse, ok := names[r.Transport]
	if !ok {
		if n, ok, err := parseHelper(r.Transport, r.Detail); ok {
			return n, err
		}
		return nil, &nameError{fmt.Sprintf("Invalid image name %q, unknown transport %q", s, r.Transport)}
	}
	return parse(r.Detail)
}

// A nameError has a text that scripts match on.
type nameError struct{ text string }

func (e *nameError) Error() string        { return e.text }
func (e *nameError) Is(target error) bool { return target == ErrTransport }

// archive makes the options of an archive.
func (a *Access) archive() archive.Options {
	o := archive.Options{Labels: a.Labels}
	if a.Replace {
		o.Existing = archive.Replace
	}
	return o
}

// Head writes the head of an image stream to a.Stdout: the manifests of t and
// its configurations, read from src, without the layers.
func Head(ctx context.Context, src image.Source, t *image.Tree, a *Access) error {
	o := a.archive()
	o.HeadOnly = true
	w := archive.NewWriter(a.Stdout, o)
	defer w.Close()
	if err := w.Begin(ctx, t); err != nil {
		return err
	}
	seen := map[digest.Digest]bool{}
	for k := range t.Walk() {
		if k.Manifest == nil || k.Manifest.Config == nil || seen[k.Manifest.Config.Digest] {
			continue
		}
		d := *k.Manifest.Config
		seen[d.Digest] = true
		b, err := image.ReadBlob(ctx, src, d, oci.MaxManifest)
		if err != nil {
			return err
		}
		if _, err := w.Put(ctx, &blob.Blob{Desc: d, Reader: bytes.NewReader(b)}); err != nil {
			return err
		}
	}
	return w.Commit(ctx, t)
}

// Also returns the names by which the image written to n is to be known as
// well. An archive or stream has none: it takes them from Access.Labels. The
// error wraps image.ErrUnsupported if n's place cannot give the image a name.
func Also(n Name, refs []reference.Docker) ([]Name, error) {
	if _, labelled := n.(interface{ labels() }); labelled {
		return nil, nil
	}
	var more []Name
	for _, ref := range refs {
		place, ok := n.(interface {
			also(reference.Docker) (Name, error)
		})
		if !ok {
			return nil, fmt.Errorf("%w: %s has no place for the name %s", image.ErrUnsupported, n, ref.Familiar())
		}
		m, err := place.also(ref)
		if err != nil {
			return nil, err
		}
		more = append(more, m)
	}
	return more, nil
}

// Tag gives the image t, which has been written, further names: those that
// Also returned.
func Tag(ctx context.Context, names []Name, a *Access, t *image.Tree) error {
	for _, n := range names {
		if err := commit(ctx, n, a, t); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}

// commit writes the root of t under another name; all below it is there.
func commit(ctx context.Context, n Name, a *Access, t *image.Tree) (err error) {
	dst, err := n.Destination(ctx, a)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := dst.Close(); err == nil {
			err = cerr
		}
	}()
	root := *t
	root.Kids, root.Attached = make([]*image.Tree, len(t.Kids)), nil
	return dst.Commit(ctx, &root)
}

// Scopes returns the transport's name and where a policy looks for n, most
// specific first, without the transport's own scope "".
func Scopes(n Name) (transport string, scopes []string) {
	switch n := n.(type) {
	case registryName:
		return "docker", n.ref.Scopes()
	case layoutName:
		return "oci", pathScopes(n.l.Path)
	case dirName:
		return "dir", pathScopes(n.path)
	case layoutArchiveName:
		return "oci-archive", pathScopes(n.l.Path)
	case archiveName:
		return "docker-archive", nil
	case helperName:
		return n.transport, nil
	case daemonName:
		if n.n.Ref.IsZero() {
			return "docker-daemon", nil
		}
		return "docker-daemon", n.n.Ref.Scopes()
	}
	return "-", nil
}

func pathScopes(path string) []string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	return reference.PathScopes(abs)
}
