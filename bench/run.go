package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/imgtools/imgtools/bench/internal/job"
	"github.com/imgtools/imgtools/bench/internal/measure"
	"github.com/imgtools/imgtools/bench/internal/report"
	"github.com/imgtools/imgtools/bench/internal/tool"
	"github.com/imgtools/imgtools/bench/internal/trace"
)

// entry is one tool at one job.
type entry struct {
	tool.Tool
	cmd    tool.Command
	recs   []report.Record
	broken bool // it failed: no more runs
}

// step is one run to come.
type step struct{ entry, run int }

// steps orders the runs: the tools take turns, so that a slow minute of the
// machine hits all of them, unless each must follow itself. Runs below 0 are
// warm-ups.
func steps(entries int, x spec, again bool) []step {
	var out []step
	for run := -x.warmup; run < x.runs; run++ {
		for i := range entries {
			out = append(out, step{i, run})
		}
	}
	if !again {
		return out
	}
	var sorted []step
	for i := range entries {
		for _, s := range out {
			if s.entry == i {
				sorted = append(sorted, s)
			}
		}
	}
	return sorted
}

// measure makes one table.
func (b *session) measure(ctx context.Context, x spec) error {
	e, err := b.env(ctx, x)
	if err != nil {
		return err
	}
	entries, err := b.pick(x, e)
	if err != nil {
		return err
	}
	for _, s := range steps(len(entries), x, e.Job.Again) {
		en := &entries[s.entry]
		if en.broken {
			continue
		}
		if err := b.step(ctx, x, e, en, s.run); err != nil {
			return err
		}
	}
	t := report.Table{Job: x.job, Shape: x.shape, Profile: x.profile, Note: b.noteOf(x)}
	for _, en := range entries {
		t.Rows = append(t.Rows, report.NewRow(en.Name, en.Kind, en.recs))
	}
	t.Write(os.Stdout)
	b.tables = append(b.tables, t)
	return nil
}

func (b *session) noteOf(x spec) string {
	if x.tmpfs {
		return strings.TrimSpace("tmpfs " + b.note)
	}
	return b.note
}

// step is one run: state, measurement, proof, record.
func (b *session) step(ctx context.Context, x spec, e job.Env, en *entry, run int) error {
	if e.Job.Again && run == -x.warmup {
		if err := e.ClearAll(); err != nil {
			return err
		}
		if _, err := b.once(ctx, e, en); err != nil {
			return err
		}
	}
	var r report.Record
	var err error
	for try := 0; ; try++ {
		if r, err = b.once(ctx, e, en); err != nil {
			return err
		}
		if try >= b.retries || !disturbed(r) {
			break
		}
	}
	r.Job, r.Shape, r.Profile, r.Run, r.Note = x.job, x.shape, x.profile, run, b.noteOf(x)
	if run == x.runs-1 && r.Error == "" {
		e.Exact = en.Kind != tool.Peer
		b.prove(ctx, e, &r)
	}
	en.broken = r.Error != ""
	if run < 0 && !en.broken {
		return nil
	}
	en.recs = append(en.recs, r)
	return r.Append(b.results)
}

// disturbed reports whether others used the machine so much that the run says
// little. Runs through the recording proxy are not about time.
func disturbed(r report.Record) bool {
	return r.Foreign > 0.5 && r.Wall > 0.3 && r.Trace == nil
}

func (b *session) stdout() string { return b.dir("run/stdout") }

// once prepares and runs a command and gathers what is known of the run. A
// failing command is an Error of the record; an error means that the bench
// itself cannot go on.
func (b *session) once(ctx context.Context, e job.Env, en *entry) (report.Record, error) {
	r := report.Record{Tool: en.Name, Time: time.Now().UTC().Format(time.RFC3339)}
	if err := e.Prepare(); err != nil {
		return r, err
	}
	if e.Net.Trace != nil {
		e.Net.Trace.Take()
	}
	syscall.Sync() // what earlier runs wrote must not be written during this one
	measure.WaitQuiet(b.quiet)
	if e.Net.Line != nil {
		e.Net.Line.Take()
	}
	busy, service := measure.Busy(), b.lab.CPU()
	u, err := b.runner.Run(ctx, en.cmd.Stages, or(en.cmd.Stdout, b.stdout()))
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	if err != nil {
		r.Error = err.Error()
		return r, nil
	}
	r.Usage = u
	own := (b.lab.CPU() - service).Seconds()
	r.Service = own
	r.Foreign = max(0, (measure.Busy()-busy).Seconds()-own-u.CPU()) / max(u.Wall, 0.05)
	if e.Net.Trace != nil {
		s := trace.Summarise(e.Net.Trace.Take())
		r.Trace = &s
	}
	if e.Net.Line != nil {
		c := e.Net.Line.Take()
		r.Line = &c
	}
	if u.Exit != 0 {
		r.Error = fmt.Sprintf("exit %d: %s", u.Exit, tail(b.runner.Stderr))
	}
	return r, nil
}

// prove checks the result of the last run.
func (b *session) prove(ctx context.Context, e job.Env, r *report.Record) {
	out, err := os.ReadFile(b.stdout())
	if err == nil {
		r.Check, err = e.Check(ctx, out)
	}
	if err != nil {
		r.Error = "wrong result: " + err.Error()
	}
}

// tail is the end of a file of messages, in one line.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	s := strings.Join(strings.Fields(string(b)), " ")
	return s[max(0, len(s)-300):]
}
