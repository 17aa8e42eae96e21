// Image writes an OCI layout with the samples that the demo copies.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/layout"
	"github.com/imgtools/imgtools/test/sample"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: image DIR")
		os.Exit(2)
	}
	_, err := sample.Write(os.Args[1], sample.Tiny(), sample.Platforms(), sample.Artifact())
	if err == nil {
		err = signed(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// signed adds an image to which signatures and an SBOM are attached.
func signed(dir string) error {
	dst, err := layout.CreateOCI(reference.Layout{Path: dir, Name: "signed", Index: -1}, layout.Options{})
	if err != nil {
		return err
	}
	defer dst.Close()
	return imagetest.SendAttached(context.Background(), dst, imagetest.Signed())
}
