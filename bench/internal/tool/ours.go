package tool

import (
	"strings"

	"github.com/imgtools/imgtools/bench/internal/job"
)

// img is our multi-call binary.
func img(path string, e job.Env) Command {
	src := docker + e.Source()
	look := func(args ...string) Command {
		argv := append([]string{path, "inspect"}, verify("", src, e)...)
		return one(append(append(argv, args...), src)...)
	}
	command := []string{path, "copy", "--quiet"}
	switch e.Job.Name {
	case "inspect":
		return look()
	case "digest":
		return look("--digest")
	case "manifest":
		return look("--raw")
	case "version", "help":
		return one(path, "--"+e.Job.Name)
	case "pipe":
		return Command{Stages: [][]string{
			copyLine(command, src, "-", e),
			copyLine(command, "-", docker+e.Dest(), e),
		}}
	}
	from, to := endpoints(e)
	if from == "" {
		return Command{}
	}
	return one(copyLine(command, from, to, e)...)
}

// bound is the bench's own bound; flags make a variant of it.
func bound(path string, e job.Env, flags ...string) Command {
	argv := append([]string{path}, flags...)
	if !e.Net.TLS {
		argv = append(argv, "-http")
	}
	line := func(args ...string) []string { return append(argv[:len(argv):len(argv)], args...) }
	switch e.Job.Name {
	case "inspect", "digest", "manifest":
		return one(line(e.Job.Name, e.Source())...)
	case "version", "help":
		return one(path)
	case "reg2dir": // the same bytes in other names
		return one(line("copy", docker+e.Source(), ociDir+e.Tagged(e.Path("oci")))...)
	case "pipe":
		return Command{Stages: [][]string{line("copy", docker+e.Source(), "-"), line("copy", "-", docker+e.Dest())}}
	}
	from, to := endpoints(e)
	if from == "" {
		return Command{}
	}
	return one(line("copy", from, strings.TrimSuffix(to, ":lab/x:v1"))...)
}
