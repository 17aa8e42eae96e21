// Package tool says how each tool is called for each job. To add a tool, write
// one function beside those of this package and name it in New.
package tool

import (
	"os"

	"github.com/imgtools/imgtools/bench/internal/job"
)

// Kinds of tools: what a result is compared with.
type Kind int

// The kinds.
const (
	Peer    Kind = iota // somebody else's
	Ours                // what is measured
	Bound               // the bound
	Variant             // the bound, otherwise: shown, not compared with
)

// Command is what runs: one command line or several joined by pipes, the last
// one's output going to Stdout, or nowhere of interest if that is "".
type Command struct {
	Stages [][]string
	Stdout string
}

// Tool is one tool of the bench.
type Tool struct {
	Name    string
	Kind    Kind
	Path    string
	command func(path string, e job.Env) Command
}

// Command returns how the tool does the job of e; false if it cannot.
func (t Tool) Command(e job.Env) (Command, bool) {
	c := t.command(t.Path, e)
	return c, len(c.Stages) > 0
}

// Available reports whether the program is there.
func (t Tool) Available() bool {
	st, err := os.Stat(t.Path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// Paths says where the programs are.
type Paths struct{ Skopeo, Crane, Regctl, Bound, Img string }

// New lists the tools, in the order of the tables.
func New(p Paths) []Tool {
	variant := func(flags ...string) func(string, job.Env) Command {
		return func(path string, e job.Env) Command { return bound(path, e, flags...) }
	}
	return []Tool{
		{"skopeo", Peer, p.Skopeo, skopeo},
		{"crane", Peer, p.Crane, crane},
		{"regctl", Peer, p.Regctl, regctl},
		{"bound", Bound, p.Bound, variant()},
		{"bound-fsync", Variant, p.Bound, variant("-fsync")},
		{"bound-h2", Variant, p.Bound, variant("-h2")},
		{"bound-ranges", Variant, p.Bound, variant("-ranges")},
		{"bound-gz1", Variant, p.Bound, variant("-level=1")},
		{"bound-unpack", Variant, p.Bound, variant("-unpack")},
		{"img", Ours, p.Img, img},
	}
}

func one(argv ...string) Command { return Command{Stages: [][]string{argv}} }

const (
	docker  = "docker://"
	ociDir  = "oci:"
	archive = "docker-archive:"
)

// endpoints are source and destination of a copy as skopeo, the bound and our
// own tool name them; "" if the job is no copy.
func endpoints(e job.Env) (from, to string) {
	from, to = docker+e.Source(), docker+e.Dest()
	switch e.Job.Name {
	case "reg2reg", "multi", "noop", "mount":
	case "oci2reg":
		from = ociDir + e.Tagged(e.Layout)
	case "archive2reg":
		from = archive + e.Archive
	case "oci2oci":
		from, to = ociDir+e.Tagged(e.Layout), ociDir+e.Tagged(e.Path("oci"))
	case "reg2oci", "noop-oci":
		to = ociDir + e.Tagged(e.Path("oci"))
	case "reg2dir":
		to = "dir:" + e.Path("dir")
	case "reg2archive":
		to = archive + e.Path("x.tar") + ":lab/x:v1"
	default:
		return "", ""
	}
	return from, to
}
