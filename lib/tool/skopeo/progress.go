package skopeo

import (
	"fmt"
	"time"

	engine "github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport"
)

// notify is told of what takes time; skopeo logs retries and warnings.
func (p *program) notify(e image.Event) {
	switch e.Kind {
	case image.EventRetry:
		p.log("warning", fmt.Sprintf("Failed, retrying in %s ... (%d/%d). Error: %s", e.Wait.Round(time.Second), e.Attempt, e.Attempts, e.Text))
	case image.EventWarning:
		p.log("warning", e.Text)
	}
}

// A teller writes skopeo's lines of progress on standard output, unless that
// is where the image goes.
type teller struct {
	j     *copyJob
	quiet bool
}

// say writes what stands before the copy.
func (j *copyJob) say(p *engine.Plan) teller {
	t := teller{j, j.quiet || transport.IsStdout(j.dst)}
	if p.Tree == nil || p.Tree.Manifest == nil {
		t.line("Getting image source signatures")
		return t
	}
	if !p.Tree.Manifest.IsIndex() {
		t.image(p.Tree)
		return t
	}
	t.line("Getting image list signatures")
	var kids []*image.Tree
	for _, k := range p.Tree.Kids {
		if k != nil {
			kids = append(kids, k)
		}
	}
	t.line("Copying %d images generated from %d images in list", len(kids), len(p.Tree.Kids))
	for i, k := range kids {
		t.line("Copying image %s (%d/%d)", k.Desc.Digest, i+1, len(kids))
		t.image(k)
	}
	return t
}

// image writes the lines of one image.
func (t teller) image(k *image.Tree) {
	if !t.j.removeSignatures {
		t.line("Getting image source signatures")
	}
	if k.Manifest != nil {
		for _, d := range k.Manifest.Layers {
			t.line("Copying blob %s", d.Digest)
		}
		if k.Manifest.Config != nil {
			t.line("Copying config %s", k.Manifest.Config.Digest)
		}
	}
	t.line("Writing manifest to image destination")
}

// end writes what stands behind the copy.
func (t teller) end(p *engine.Plan) {
	if p.Tree != nil && oci.IsIndexType(p.Tree.Desc.MediaType) {
		t.line("Writing manifest list to image destination")
		t.line("Storing list signatures")
	}
}

func (t teller) line(format string, args ...any) {
	if !t.quiet {
		fmt.Fprintf(t.j.std.Out, format+"\n", args...)
	}
}
