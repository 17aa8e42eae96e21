package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/bound"
	"github.com/imgtools/imgtools/bench/internal/job"
	"github.com/imgtools/imgtools/bench/internal/measure"
	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/registry"
	"github.com/imgtools/imgtools/bench/internal/report"
	"github.com/imgtools/imgtools/bench/internal/service"
	"github.com/imgtools/imgtools/bench/internal/shape"
	"github.com/imgtools/imgtools/bench/internal/tool"
)

// session is one run of the program: services, tools and what was measured.
type session struct {
	paths
	settings
	lab     *service.Lab
	runner  measure.Runner
	all     []tool.Tool
	caches  []string
	results *os.File
	seeded  map[string]bool
	plain   map[string]bool // addresses that regctl knows to be http
	missing map[string]bool
	tables  []report.Table
}

func newSession(p paths, s settings, private bool) (*session, error) {
	b := &session{paths: p, settings: s, all: p.tools(), seeded: map[string]bool{}, plain: map[string]bool{}, missing: map[string]bool{}}
	home := b.dir("home")
	// Everything that a tool may remember of an earlier run.
	b.caches = []string{filepath.Join(home, ".local"), b.dir("cache")}
	if private {
		b.caches = append(b.caches, "/var/lib/containers/cache")
	} else if err := os.RemoveAll(b.dir("store")); err != nil {
		return nil, err
	}
	for _, d := range []string{"home/.config/containers", "images", "archives", "out", "run", "runtime", "store/out", "tmp"} {
		if err := os.MkdirAll(b.dir(d), 0o755); err != nil {
			return nil, err
		}
	}
	policy := []byte(`{"default":[{"type":"insecureAcceptAnything"}]}` + "\n")
	if err := os.WriteFile(filepath.Join(home, ".config/containers/policy.json"), policy, 0o644); err != nil {
		return nil, err
	}
	var err error
	b.results, err = os.OpenFile(p.results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	b.lab, err = service.New(service.Config{Run: b.dir("run"), Store: b.dir("store"),
		Registry: p.peer("registry"), Registry28: p.system("docker-registry", "REGISTRY28")})
	if err != nil {
		return nil, err
	}
	b.runner = measure.Runner{RR: p.bin("rr"), Dir: b.dir("tmp"), Stderr: b.dir("run/stderr"), Timeout: s.timeout, Env: []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C", "HOME=" + home, "TMPDIR=" + b.dir("tmp"), "XDG_RUNTIME_DIR=" + b.dir("runtime"),
		"XDG_CACHE_HOME=" + b.dir("cache"), "SSL_CERT_FILE=" + b.lab.CA(), "REGCTL_CONFIG=" + b.dir("run/regctl.json")}}
	if err := os.WriteFile(b.stdout(), nil, 0o644); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(b.dir("run/regctl.json")); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *session) dir(name string) string { return filepath.Join(b.work, name) }

func (b *session) close() {
	b.lab.Close()
	b.results.Close()
}

// env makes ready what the tables of x have in common: services, image, seed.
func (b *session) env(ctx context.Context, x spec) (job.Env, error) {
	j, _ := job.Find(x.job)
	e := job.Env{Job: j, Shape: x.shape, Layout: b.dir("images/" + x.shape), Archive: b.dir("archives/" + x.shape + ".tar"), Out: b.dir("out"), Caches: b.caches}
	if x.tmpfs {
		e.Out = b.dir("store/out")
	}
	if err := shape.Generate(x.shape, e.Layout); err != nil {
		return e, err
	}
	tags, err := oci.Tags(e.Layout)
	if err != nil {
		return e, err
	}
	e.Root = tags[shape.Tag(x.shape)]
	if e.Net, err = b.lab.Profile(x.profile); err != nil {
		return e, err
	}
	if err := b.allowPlain(ctx, e.Net); err != nil {
		return e, err
	}
	if !b.seeded[x.shape] {
		b.seeded[x.shape] = true
		if err := seed(ctx, e.Net.PlainA+"/src/"+x.shape, e.Layout); err != nil {
			return e, err
		}
	}
	switch x.job {
	case "archive2reg":
		err = makeArchive(ctx, e)
	case "noop":
		if err = e.ClearAll(); err == nil {
			err = seed(ctx, e.Net.PlainB+"/dst/"+x.shape, e.Layout)
		}
	}
	return e, err
}

func seed(ctx context.Context, name, layout string) error {
	hc := &http.Client{Transport: registry.Transport(false)}
	defer hc.CloseIdleConnections()
	return registry.New(name, "pull,push", true, hc).Seed(ctx, layout)
}

// makeArchive writes the shape as a docker-archive, once.
func makeArchive(ctx context.Context, e job.Env) error {
	if _, err := os.Stat(e.Archive); err == nil {
		return nil
	}
	probe := bound.New(bound.Options{Jobs: 4, Unpack: true})
	if err := probe.Copy(ctx, "oci:"+e.Tagged(e.Layout), "docker-archive:"+e.Archive+".part"); err != nil {
		return err
	}
	return os.Rename(e.Archive+".part", e.Archive)
}

// allowPlain tells regctl which registries speak http: it has no flag for it.
func (b *session) allowPlain(ctx context.Context, n service.Net) error {
	if n.TLS {
		return nil
	}
	for _, addr := range []string{n.A, n.B} {
		if b.plain[addr] {
			continue
		}
		b.plain[addr] = true
		cmd := exec.CommandContext(ctx, b.peer("regctl"), "registry", "set", "--tls", "disabled", "--skip-check", addr)
		cmd.Env = b.runner.Env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("regctl registry set: %w: %s", err, out)
		}
	}
	return nil
}

// pick returns the tools of a spec that are there and can do its job.
func (b *session) pick(x spec, e job.Env) ([]entry, error) {
	var out []entry
	for _, name := range strings.Split(x.tools, ",") {
		i := slices.IndexFunc(b.all, func(t tool.Tool) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown tool %q", name)
		}
		t := b.all[i]
		c, ok := t.Command(e)
		if !ok {
			continue
		}
		if !t.Available() {
			b.miss(t)
			continue
		}
		if b.show {
			for _, s := range c.Stages {
				fmt.Fprintln(os.Stderr, "+", strings.Join(s, " "))
			}
		}
		out = append(out, entry{Tool: t, cmd: c})
	}
	if len(out) == 0 {
		return nil, errors.New("no tool can do it")
	}
	return out, nil
}

// miss says, once, that a tool is not there.
func (b *session) miss(t tool.Tool) {
	if !b.missing[t.Name] {
		b.missing[t.Name] = true
		fmt.Fprintf(os.Stderr, "bench: without %s: no program %s\n", t.Name, t.Path)
	}
}

// serve starts the profiles for use by hand and waits for a signal.
func (b *session) serve(ctx context.Context, profiles []string) error {
	for _, name := range profiles {
		e, err := b.env(ctx, spec{job: "reg2reg", shape: or(b.shapes, "tiny"), profile: name})
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s -> %s\n", name, e.Source(), e.Dest())
	}
	fmt.Println(strings.Join(b.runner.Env, " "))
	<-ctx.Done()
	return nil
}

func (b *session) summary() { report.Summary(os.Stdout, b.tables) }

// summary prints the tables of the results file.
func summary(p paths) error {
	f, err := os.Open(p.results)
	if err != nil {
		return err
	}
	defer f.Close()
	kinds := map[string]tool.Kind{}
	for _, t := range p.tools() {
		kinds[t.Name] = t.Kind
	}
	tables, err := report.Read(f, kinds)
	report.Summary(os.Stdout, tables)
	return err
}
