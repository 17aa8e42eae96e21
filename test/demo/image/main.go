// Image writes an OCI layout with the samples that the demo copies.
package main

import (
	"fmt"
	"os"

	"github.com/imgtools/imgtools/test/sample"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: image DIR")
		os.Exit(2)
	}
	if _, err := sample.Write(os.Args[1], sample.Tiny(), sample.Platforms(), sample.Artifact()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
