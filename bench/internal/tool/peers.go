package tool

import (
	"strings"

	"github.com/imgtools/imgtools/bench/internal/job"
)

// verify is the flag that allows plain HTTP on one side of a copy.
func verify(side, endpoint string, e job.Env) []string {
	if e.Net.TLS || !strings.HasPrefix(endpoint, docker) {
		return nil
	}
	return []string{"--" + side + "tls-verify=false"}
}

// copyLine is COMMAND FLAGS FROM TO in the way of skopeo.
func copyLine(command []string, from, to string, e job.Env) []string {
	argv := append([]string(nil), command...)
	argv = append(argv, verify("src-", from, e)...)
	argv = append(argv, verify("dest-", to, e)...)
	return append(argv, from, to)
}

// throughFile is the pipe of a tool that can read none: one command after the
// other, with a file between them.
func throughFile(first, second []string) Command {
	return one("/bin/sh", "-c", quote(first)+" && "+quote(second))
}

// quote joins words for a shell.
func quote(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	return strings.Join(out, " ")
}

func skopeo(path string, e job.Env) Command {
	src := docker + e.Source()
	look := func(args ...string) Command {
		argv := append([]string{path, "inspect"}, verify("", src, e)...)
		return one(append(append(argv, args...), src)...)
	}
	command := []string{path, "copy", "-q"}
	switch e.Job.Name {
	case "inspect":
		return look("--no-tags")
	case "digest":
		return look("--no-tags", "--format", "{{.Digest}}")
	case "manifest":
		return look("--raw")
	case "version", "help":
		return one(path, "--"+e.Job.Name)
	case "multi":
		command = append(command, "--all")
	case "pipe":
		file := e.Path("x.tar")
		return throughFile(copyLine(command, src, archive+file+":lab/x:v1", e), copyLine(command, archive+file, docker+e.Dest(), e))
	}
	from, to := endpoints(e)
	if from == "" {
		return Command{}
	}
	return one(copyLine(command, from, to, e)...)
}

func crane(path string, e job.Env) Command {
	switch e.Job.Name {
	case "reg2reg", "multi", "noop", "mount":
		return one(path, "copy", e.Source(), e.Dest())
	case "reg2oci", "noop-oci":
		return one(path, "pull", "--format=oci", e.Source(), e.Path("oci"))
	case "oci2reg":
		return one(path, "push", e.Layout, e.Dest())
	case "reg2archive": // keeps layers compressed
		return one(path, "pull", "--format=tarball", e.Source(), e.Path("x.tar"))
	case "archive2reg":
		return one(path, "push", e.Archive, e.Dest())
	case "pipe":
		file := e.Path("x.tar")
		return throughFile([]string{path, "pull", "--format=tarball", e.Source(), file}, []string{path, "push", file, e.Dest()})
	case "inspect":
		return one(path, "config", e.Source())
	case "digest", "manifest":
		return one(path, e.Job.Name, e.Source())
	case "version":
		return one(path, "version")
	case "help":
		return one(path, "--help")
	}
	return Command{}
}

func regctl(path string, e job.Env) Command {
	const ocidir = "ocidir://"
	copyImage := func(from, to string) Command { return one(path, "image", "copy", from, to) }
	switch e.Job.Name {
	case "reg2reg", "multi", "noop", "mount":
		return copyImage(e.Source(), e.Dest())
	case "reg2oci", "noop-oci":
		return copyImage(e.Source(), ocidir+e.Tagged(e.Path("oci")))
	case "oci2reg":
		return copyImage(ocidir+e.Tagged(e.Layout), e.Dest())
	case "oci2oci":
		return copyImage(ocidir+e.Tagged(e.Layout), ocidir+e.Tagged(e.Path("oci")))
	case "reg2archive": // keeps layers compressed
		return Command{Stages: [][]string{{path, "image", "export", e.Source()}}, Stdout: e.Path("x.tar")}
	case "archive2reg":
		return one(path, "image", "import", e.Dest(), e.Archive)
	case "pipe":
		file := e.Path("x.tar")
		return throughFile([]string{path, "image", "export", e.Source(), file}, []string{path, "image", "import", e.Dest(), file})
	case "inspect", "digest":
		return one(path, "image", e.Job.Name, e.Source())
	case "manifest":
		return one(path, "manifest", "get", "--format", "raw-body", e.Source())
	case "version":
		return one(path, "version")
	case "help":
		return one(path, "--help")
	}
	return Command{}
}
