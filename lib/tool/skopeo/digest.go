package skopeo

//lint:file-ignore ST1005 the texts are those that scripts match on

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/imgtools/imgtools/lib/tool/manifestdigest"
)

type digestCommand struct{ *program }

func newDigest(p *program) runner { return digestCommand{p} }

func (digestCommand) flags(*pflag.FlagSet) {}

func (c digestCommand) run(_ context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("Usage: skopeo manifest-digest manifest")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("Error reading manifest from %s: %w", args[0], err)
	}
	defer f.Close()
	d, err := manifestdigest.Digest(f)
	if err != nil {
		return fmt.Errorf("Error reading manifest from %s: %w", args[0], err)
	}
	_, err = fmt.Fprintln(c.std.Out, d)
	return err
}
