package tool

import (
	"fmt"
	"strings"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
)

// WithFlag is the row of --with: what to take along of that which is attached
// to an image.
func WithFlag(w *image.With) cli.Flag {
	return cli.Flag{
		Name: "with", Arg: "KINDS",
		Help: "Take along what is attached, too: referrers (by the OCI API), digest-tags (cosign's .sig, .att and .sbom), or all. May be a list.",
		Value: cli.Func(func(s string) error {
			for _, kind := range strings.Split(s, ",") {
				switch kind {
				case "referrers":
					w.Referrers = true
				case "digest-tags":
					w.Tags = true
				case "all":
					*w = image.With{Referrers: true, Tags: true}
				default:
					return fmt.Errorf("want referrers, digest-tags or all, not %q", kind)
				}
			}
			return nil
		}),
	}
}
