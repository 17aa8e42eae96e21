package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// streamName is "-": standard input or output.
type streamName struct{}

func parseStream(string) (Name, error) { return streamName{}, nil }

func (streamName) String() string              { return "-" }
func (streamName) Docker() reference.Docker    { return reference.Docker{} }
func (streamName) Pinned(digest.Digest) string { return "-" }
func (streamName) labels()                     {} // see Also

// Source reads what standard input holds: an image stream or, if it begins as
// JSON does, a manifest and nothing else.
func (streamName) Source(ctx context.Context, a *Access) (image.Source, error) {
	in := bufio.NewReader(interruptible(ctx, a.Stdin))
	head, err := in.Peek(1)
	if err != nil {
		if err == io.EOF {
			err = fmt.Errorf("%w: there is nothing on standard input", image.ErrIncomplete)
		}
		return nil, err
	}
	if strings.ContainsAny(string(head), "{ \t\r\n") {
		b, err := blob.ReadLimited(in, oci.MaxManifest)
		return document{b}, err
	}
	return archive.NewReader(in, archive.Selection{}), nil
}

// interruptible returns a reader that fails when ctx runs out of time, even
// while r waits for whoever writes.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	if _, ok := ctx.Deadline(); !ok {
		return r
	}
	pr, pw := io.Pipe()
	context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := blob.Copy(pw, r)
		pw.CloseWithError(err)
	}()
	return pr
}

func (streamName) Destination(_ context.Context, a *Access) (image.Destination, error) {
	return archive.NewWriter(a.Stdout, a.archive()), nil
}

// A document is the source of a manifest alone.
type document struct{ manifest []byte }

func (d document) Manifest(_ context.Context, want digest.Digest) (oci.Raw, error) {
	raw := oci.Raw{Bytes: d.manifest}
	if want != "" && raw.DigestBy(want.Algorithm()) != want {
		return oci.Raw{}, d.missing(want)
	}
	return raw, nil
}

func (d document) Blob(_ context.Context, b oci.Descriptor) (io.ReadCloser, error) {
	return nil, d.missing(b.Digest)
}

func (document) missing(d digest.Digest) error { return &missingError{d} }

// A missingError is about what a manifest alone does not hold: it is not
// there, and this kind of source never has it.
type missingError struct{ d digest.Digest }

func (e *missingError) Error() string {
	return fmt.Sprintf("standard input holds a manifest only, and not %s", e.d)
}

func (e *missingError) Is(target error) bool {
	return target == image.ErrUnsupported || target == image.ErrNotFound
}

func (document) Close() error { return nil }

// IsStdout reports whether an image written to n goes to standard output. It is
// asked before anything is written: a file may lie under the name afterwards.
func IsStdout(n Name) bool {
	var path string
	switch n := n.(type) {
	case streamName:
		return true
	case archiveName:
		path = n.a.Path
	case layoutArchiveName:
		path = n.l.Path
	}
	if path == "" {
		return false
	}
	a, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stdout.Stat()
	return err == nil && os.SameFile(a, b)
}
