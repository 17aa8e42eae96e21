package copy

import (
	"fmt"
	"io"
	"slices"

	"github.com/imgtools/imgtools/lib/cli"
	engine "github.com/imgtools/imgtools/lib/copy"
)

// show writes a plan, in lines of words parted by tabs: what it is, digest,
// size in bytes, media type and, for a blob, what happens to it. Media types and
// notes hold what a stranger wrote: it stays within its word.
func show(w io.Writer, p *engine.Plan) error {
	if p.Later {
		_, err := fmt.Fprintln(w, "stream\tits manifest comes last: all of it would be read")
		return err
	}
	notes := p.Notes
	if p.Same {
		notes = append(slices.Clone(notes), "the destination has it: nothing would be copied")
	}
	for _, n := range notes {
		if _, err := fmt.Fprintf(w, "note\t%s\n", cli.Clean(n)); err != nil {
			return err
		}
	}
	for t := range p.Tree.Walk() {
		if _, err := fmt.Fprintf(w, "manifest\t%s\t%d\t%s\n", t.Desc.Digest, t.Desc.Size, cli.Clean(t.Desc.MediaType)); err != nil {
			return err
		}
	}
	for _, s := range p.Steps {
		if _, err := fmt.Fprintf(w, "blob\t%s\t%d\t%s\t%s\n", s.Blob.Digest, s.Blob.Size, cli.Clean(s.Blob.MediaType), action(s)); err != nil {
			return err
		}
	}
	return nil
}

func action(s engine.Step) string {
	switch {
	case s.Skip:
		return "leave"
	case s.Compress:
		return "compress"
	}
	return "copy"
}
