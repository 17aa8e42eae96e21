package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/job"
	"github.com/imgtools/imgtools/bench/internal/service"
	"github.com/imgtools/imgtools/bench/internal/shape"
)

// spec is one table to make.
type spec struct {
	job, shape, profile string
	tools               string // comma-separated
	runs, warmup        int
	tmpfs               bool
}

const (
	everyone = "skopeo,crane,regctl,bound,img"
	overH2   = "skopeo,crane,regctl,bound,bound-h2,img"
	onDisk   = "skopeo,crane,regctl,bound,bound-fsync,img"
	unpacked = "skopeo,crane,regctl,bound,bound-fsync,bound-unpack,img"
	ranged   = "skopeo,crane,regctl,bound,bound-ranges,img"
)

// on makes specs of one job and profile for several shapes.
func on(name, profile string, runs int, tools string, shapes ...string) []spec {
	var out []spec
	for _, s := range shapes {
		out = append(out, spec{job: name, shape: s, profile: profile, tools: tools, runs: runs, warmup: min(1, runs/5)})
	}
	return out
}

func inMemory(specs []spec) []spec {
	for i := range specs {
		specs[i].tmpfs = true
	}
	return specs
}

// group is a named list of tables.
type group struct {
	name, about string
	specs       []spec
}

// groups in the order in which all runs them; quick is not part of all.
func groups() []group {
	return []group{
		{"copy", "registry to registry, loopback", slices.Concat(
			on("reg2reg", "lo", 9, everyone, "tiny"), on("reg2reg", "lo", 5, everyone, "many-layers"),
			on("reg2reg", "lo", 3, everyone, "mid", "big", "onelayer"), on("reg2reg", "lo28", 3, everyone, "big"),
			on("multi", "lo", 5, everyone, "multiarch"))},
		{"same", "what is there already, loopback", slices.Concat(
			on("mount", "lo", 7, everyone, "tiny", "many-layers"), on("mount", "lo", 3, everyone, "big"),
			on("noop", "lo", 7, everyone, "tiny", "many-layers", "big"))},
		{"local", "layouts and folders", slices.Concat(
			on("reg2oci", "lo", 3, onDisk, "big"), inMemory(on("reg2oci", "lo", 3, everyone, "big", "onelayer")),
			on("reg2oci", "lo", 5, onDisk, "many-layers"), on("reg2dir", "lo", 3, onDisk, "big"),
			on("oci2reg", "lo", 3, everyone, "big"), on("oci2reg", "lo", 5, everyone, "many-layers"),
			on("oci2oci", "lo", 3, onDisk, "big"), on("noop-oci", "lo", 5, everyone, "big"))},
		{"archive", "docker-archives and pipes", slices.Concat(
			on("reg2archive", "lo", 3, unpacked, "mid", "big"),
			on("archive2reg", "lo", 3, "skopeo,crane,regctl,bound,bound-gz1,img", "mid"),
			on("pipe", "lo", 3, everyone, "many-layers", "mid", "big", "onelayer"), on("pipe", "wan", 3, everyone, "many-layers"))},
		{"cold", "start-up and small questions", cold()},
		{"wan", "20 ms away, 1", slices.Concat(
			on("reg2reg", "wan", 5, overH2, "tiny"), on("reg2reg", "wan", 3, overH2, "many-layers", "mid"),
			on("multi", "wan", 3, overH2, "multiarch"), on("mount", "wan", 3, overH2, "many-layers"),
			on("noop", "wan", 5, overH2, "many-layers"), on("oci2reg", "wan", 3, everyone, "mid"))},
		{"wan2", "20 ms away, 2", slices.Concat(
			on("oci2reg", "wan", 3, everyone, "many-layers"), on("reg2oci", "wan", 3, everyone, "mid", "many-layers"),
			on("reg2reg", "wan", 3, everyone, "big"))},
		{"wanauth", "20 ms away, with a token server", slices.Concat(
			on("reg2reg", "wanauth", 5, everyone, "tiny"), on("mount", "wanauth", 3, everyone, "many-layers"),
			on("noop", "wanauth", 5, everyone, "many-layers"), on("reg2reg", "wanauth", 3, everyone, "many-layers"))},
		{"wanpc", "20 ms away, each connection limited", on("reg2oci", "wanpc", 3, ranged, "mid")},
		{"trace", "requests counted", traced()},
	}
}

func cold() []spec {
	out := slices.Concat(on("version", "lo", 15, everyone, "tiny"), on("help", "lo", 15, everyone, "tiny"))
	for _, p := range []string{"lo", "tls", "auth", "wan", "wanauth"} {
		for _, j := range []string{"digest", "manifest", "inspect"} {
			out = append(out, on(j, p, 9, everyone, "tiny")...)
		}
	}
	return out
}

func traced() []spec {
	var out []spec
	for _, p := range []string{"trace", "traceauth"} {
		for _, j := range []string{"reg2reg", "mount", "noop", "reg2oci", "oci2reg"} {
			out = append(out, on(j, p, 1, everyone, "tiny", "many-layers")...)
		}
		out = append(out, on("multi", p, 1, everyone, "multiarch")...)
		out = append(out, on("inspect", p, 1, everyone, "tiny")...)
	}
	return out
}

// quick is the main jobs in a few runs: below five minutes.
func quick() group {
	return group{"quick", "the main jobs, few runs", slices.Concat(
		on("version", "lo", 5, everyone, "tiny"), on("inspect", "lo", 5, everyone, "tiny"),
		on("reg2reg", "lo", 3, everyone, "tiny", "many-layers", "mid"), on("multi", "lo", 3, everyone, "multiarch"),
		on("mount", "lo", 3, everyone, "many-layers"), on("noop", "lo", 3, everyone, "many-layers"),
		on("reg2oci", "lo", 3, onDisk, "many-layers", "mid"), on("oci2reg", "lo", 3, everyone, "many-layers"),
		on("oci2oci", "lo", 3, onDisk, "mid"), on("reg2archive", "lo", 2, onDisk, "mid"), on("archive2reg", "lo", 2, everyone, "mid"),
		on("pipe", "lo", 2, everyone, "many-layers", "mid"),
		on("reg2reg", "wan", 2, everyone, "many-layers"), on("multi", "wan", 2, everyone, "multiarch"),
		on("mount", "wan", 2, everyone, "many-layers"), on("noop", "wan", 2, everyone, "many-layers"),
		on("reg2reg", "trace", 1, everyone, "many-layers"), on("noop", "trace", 1, everyone, "many-layers"))}
}

// plan turns jobs and groups into specs, with what the flags say.
func plan(words []string, s settings) ([]spec, error) {
	var out []spec
	all := append(groups(), quick())
	for _, w := range words {
		i := slices.IndexFunc(all, func(g group) bool { return g.name == w })
		_, isJob := job.Find(w)
		switch {
		case w == "all":
			for _, g := range groups() {
				out = append(out, g.specs...)
			}
		case i >= 0:
			out = append(out, all[i].specs...)
		case isJob:
			out = append(out, jobSpecs(w, s)...)
		default:
			return nil, fmt.Errorf("%q is no job and no group; see go run . list", w)
		}
	}
	for i := range out {
		out[i] = out[i].with(s)
	}
	return out, nil
}

func jobSpecs(name string, s settings) []spec {
	var out []spec
	for _, p := range strings.Split(or(s.profiles, "lo"), ",") {
		for _, x := range strings.Split(or(s.shapes, "tiny"), ",") {
			out = append(out, spec{job: name, shape: x, profile: p, tools: everyone, runs: 3, tmpfs: s.tmpfs})
		}
	}
	return out
}

// with applies the flags that are set.
func (x spec) with(s settings) spec {
	x.tools = or(s.tools, x.tools)
	if s.runs > 0 {
		x.runs = s.runs
	}
	if s.warmup >= 0 {
		x.warmup = s.warmup
	}
	return x
}

// list prints every word that the command line knows.
func list(w io.Writer) {
	fmt.Fprintln(w, "jobs:")
	for _, j := range job.Jobs {
		fmt.Fprintf(w, "  %-12s %s\n", j.Name, j.About)
	}
	fmt.Fprintln(w, "groups (and how many tables):")
	for _, g := range append(groups(), quick()) {
		fmt.Fprintf(w, "  %-12s %s; %d\n", g.name, g.about, len(g.specs))
	}
	fmt.Fprintln(w, "profiles:")
	for _, p := range service.Profiles {
		fmt.Fprintf(w, "  %-12s %s\n", p.Name, p.About)
	}
	fmt.Fprintln(w, "shapes:\n  "+strings.Join(shape.Names, " "))
	fmt.Fprintln(w, "tools:")
	for _, t := range (paths{}).tools() {
		fmt.Fprintln(w, "  "+t.Name)
	}
}
