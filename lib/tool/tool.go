// Package tool holds what the tools share: the groups of flags that give
// access to one side of a copy, the exit code and the hint of an error, and
// the way from the engine's events to what is shown.
package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/conf"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/template"
	"github.com/imgtools/imgtools/lib/transport"
)

// causes maps the errors of the library to exit codes; the first that fits
// decides.
var causes = []struct {
	err  error
	code int
}{
	{cli.ErrUsage, cli.CodeUsage},
	{cli.ErrOutput, cli.CodeOutput},
	{errSettings, cli.CodeFailed},
	{image.ErrRejected, cli.CodeRejected},
	{conf.ErrBlocked, cli.CodeRejected},
	{image.ErrMismatch, cli.CodeMismatch},
	{image.ErrIncomplete, cli.CodeMismatch},
	{image.ErrUnauthorized, cli.CodeUnauthorized},
	{image.ErrDenied, cli.CodeUnauthorized},
	{image.ErrNotFound, cli.CodeNotFound},
	{image.ErrNetwork, cli.CodeNetwork},
	{fs.ErrNotExist, cli.CodeNotFound},
	{context.DeadlineExceeded, cli.CodeNetwork},
	{reference.ErrFormat, cli.CodeUsage},
	{transport.ErrTransport, cli.CodeUsage},
	{template.ErrTemplate, cli.CodeUsage},
}

// Explain returns the exit code for an error of any tool, and what to type
// next where that is known.
func Explain(err error) (code int, hint string) {
	code = cli.CodeFailed
	for _, c := range causes {
		if errors.Is(err, c.err) {
			code = c.code
			break
		}
	}
	return code, hintFor(err)
}

func hintFor(err error) string {
	var e *image.Error
	switch {
	case errors.Is(err, image.ErrUnauthorized) && errors.As(err, &e):
		return loginHint(e)
	case errors.Is(err, oci.ErrSchema1):
		return "the image has Docker's schema 1, which registries no longer take; img-inspect --raw shows it"
	case errors.Is(err, transport.ErrTransport), errors.Is(err, reference.ErrNoTransport):
		return "a name begins with docker://, oci:, dir:, oci-archive:, docker-archive: or docker-daemon:, or is - for a stream"
	}
	return ""
}

// loginHint says how to be known to the registry that wants to know.
func loginHint(e *image.Error) string {
	prefix := map[string]string{image.SideSource: "src-", image.SideDestination: "dest-"}[e.Side]
	host := "REGISTRY"
	if n, err := transport.Parse(e.Reference); err == nil && n.Docker().Domain != "" {
		host = n.Docker().Domain
	}
	return fmt.Sprintf("log in with: img-login %s; or give --%screds", host, prefix)
}

// Notify returns the image.Notify that shows the engine's events with r. ref is
// the name that the work is for.
func Notify(r cli.Renderer, ref string) image.Notify {
	return func(e image.Event) {
		out := cli.Event{
			Kind: string(e.Kind), Side: e.Side, Digest: e.Blob.Digest.String(), MediaType: e.Blob.MediaType,
			Size: e.Blob.Size, Done: e.Done, Attempt: e.Attempt, Attempts: e.Attempts, Wait: e.Wait, Text: e.Text,
		}
		switch e.Kind {
		case image.EventPlan: // of the whole, not of a blob
			out = cli.Event{Kind: cli.KindPlan, Ref: ref, Size: e.Bytes, Text: fmt.Sprintf("%d blobs", e.Blobs)}
		case image.EventCommit:
			out.Ref = ref
		case image.EventDelete:
			if e.Err != nil {
				out.Text += ": " + e.Err.Error()
			}
		}
		r.Event(out)
	}
}

// At says of an error at which side and name it came, unless it says so
// itself or is a usage error.
func At(side string, n transport.Name, op string, err error) error {
	var e *image.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, cli.ErrUsage) {
		return err
	}
	return &image.Error{Op: op, Side: side, Reference: n.String(), Err: err}
}

// ParsePlatforms reads the values of --platform. Errors are usage errors.
func ParsePlatforms(texts []string) ([]oci.Platform, error) {
	var ps []oci.Platform
	for _, s := range texts {
		p, err := oci.ParsePlatform(s)
		if err != nil {
			return nil, cli.Usagef("%q: want OS/ARCH[/VARIANT]", s)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// NameWords are what an image name may begin with, for completion.
func NameWords() []string {
	var words []string
	for _, n := range transport.Names() {
		if n == "docker" {
			n = "docker://"
		} else {
			n += ":"
		}
		words = append(words, n)
	}
	return words
}
