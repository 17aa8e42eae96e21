// Package manifestdigest is img-manifest-digest.
package manifestdigest

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/tool"
)

// Tool returns the table of img-manifest-digest.
func Tool() *cli.Tool {
	return &cli.Tool{
		Name:  "img-manifest-digest",
		Args:  "[FILE]",
		Short: "compute the digest of a manifest",
		Long: "Prints the digest that registries know the manifest in FILE by, or that on standard input. " +
			"It is the sha256 of its bytes but for a signed manifest of Docker's schema 1, whose signatures do not count.",
		Examples: []cli.Example{{Text: "Compute the digest that a tag stands for:", Command: "img-inspect --raw docker://alpine | img-manifest-digest"}},
		Explain:  tool.Explain,
		Run:      run,
	}
}

func run(_ context.Context, std *cli.IO, args []string) error {
	in := std.In
	switch {
	case len(args) > 1:
		return cli.Usagef("want one FILE, got %d operands", len(args))
	case len(args) == 1 && args[0] != "-":
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	d, err := Digest(in)
	switch {
	case err != nil:
		return fmt.Errorf("manifest: %w", err)
	case d == digest.FromBytes(nil).String(): // a program before us in the pipe has failed
		return fmt.Errorf("manifest: %w: there is not a byte of it", image.ErrIncomplete)
	}
	_, err = fmt.Fprintln(std.Out, d)
	return err
}

// Digest reads a manifest from r and returns its digest. Its error wraps
// blob.ErrTooLarge if there are more bytes than a manifest may have.
func Digest(r io.Reader) (string, error) {
	b, err := blob.ReadLimited(r, oci.MaxManifest)
	if err != nil {
		return "", err
	}
	return oci.Raw{Bytes: b}.Digest().String(), nil
}
