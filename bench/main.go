// Command bench measures our tools beside their peers and beside the bound:
//
//	go run . [flags] JOB... | GROUP... | all
//	go run . setup | list | limits | serve PROFILE... | summary
//
// README.md says what the words mean. It runs on Linux only; as root it works
// in a mount namespace of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// paths says where things are.
type paths struct {
	work    string // images, archives, logs, local results
	peers   string // programs by go install
	img     string // our multi-call binary
	results string // one line of JSON a run
}

// settings are the flags of a measurement.
type settings struct {
	shapes, profiles, tools, note string
	runs, warmup, retries         int
	timeout, quiet                time.Duration
	tmpfs, show                   bool
}

func main() {
	// Children end with the thread that started them, so this one must stay.
	runtime.LockOSThread()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var p paths
	var s settings
	flags(&p, &s)
	words := flag.Args()
	if len(words) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch words[0] {
	case "list":
		list(os.Stdout)
		return nil
	case "setup":
		return setup(ctx, p)
	case "summary":
		return summary(p)
	}
	private, err := enterNamespace(ctx, p.work)
	if err != nil || !private.child {
		return err
	}
	if words[0] == "limits" {
		return machineLimits(ctx, p)
	}
	return measureAll(ctx, p, s, words, private.mounts)
}

func flags(p *paths, s *settings) {
	flag.StringVar(&p.work, "work", filepath.Join(os.TempDir(), "imgtools-bench"), "`folder` for images, logs and results, kept between runs")
	flag.StringVar(&p.peers, "peers", or(os.Getenv("PEERS"), filepath.Join(cacheDir(), "imgtools-bench", "peers")), "`folder` of crane, regctl and registry")
	flag.StringVar(&p.img, "img", or(os.Getenv("IMG"), filepath.Join("..", "bin", "img")), "our `program`")
	flag.StringVar(&p.results, "results", "", "`file` that gets a line of JSON a run (WORK/results.jsonl)")
	flag.StringVar(&s.shapes, "shape", "", "`shapes`, comma-separated, for JOBs (tiny)")
	flag.StringVar(&s.profiles, "profile", "", "`profiles`, comma-separated, for JOBs (lo)")
	flag.StringVar(&s.tools, "tools", "", "`tools`, comma-separated (skopeo,crane,regctl,bound,img, or the group's)")
	flag.StringVar(&s.note, "note", "", "`text` kept with the results")
	flag.IntVar(&s.runs, "runs", 0, "runs of each tool (3, or the group's)")
	flag.IntVar(&s.warmup, "warmup", -1, "runs before, not counted (0, or the group's)")
	flag.IntVar(&s.retries, "retries", 0, "repeat a run this often when others use over half a processor")
	flag.DurationVar(&s.timeout, "timeout", 3*time.Minute, "of one run")
	flag.DurationVar(&s.quiet, "quiet", 0, "wait up to this long for an idle machine before a run")
	flag.BoolVar(&s.tmpfs, "tmpfs", false, "local results on tmpfs, for JOBs")
	flag.BoolVar(&s.show, "show", false, "print each command line once")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run . [flags] JOB... | GROUP... | all\n"+
			"       go run . setup | list | limits | serve PROFILE... | summary\n\nflags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	for _, f := range []*string{&p.work, &p.peers, &p.img} {
		if abs, err := filepath.Abs(*f); err == nil {
			*f = abs
		}
	}
	p.results = or(p.results, filepath.Join(p.work, "results.jsonl"))
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func cacheDir() string {
	d, err := os.UserCacheDir()
	if err != nil {
		return os.TempDir()
	}
	return d
}

// measureAll runs everything that words name.
func measureAll(ctx context.Context, p paths, s settings, words []string, private bool) error {
	lock, err := lockFolder(p.work)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := setup(ctx, p); err != nil {
		return err
	}
	b, err := newSession(p, s, private)
	if err != nil {
		return err
	}
	defer b.close()
	if words[0] == "serve" {
		return b.serve(ctx, words[1:])
	}
	specs, err := plan(words, s)
	if err != nil {
		return err
	}
	for _, x := range specs {
		if err := b.measure(ctx, x); err != nil {
			b.summary()
			return fmt.Errorf("%s %s %s: %w", x.job, x.shape, x.profile, err)
		}
	}
	b.summary()
	return nil
}

// lockFolder makes the work folder and holds it: two benches at once would
// measure each other.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another bench works in %s", dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
