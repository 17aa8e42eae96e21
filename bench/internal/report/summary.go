package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/imgtools/imgtools/bench/internal/tool"
)

// Summary prints ours beside the best peer and the bound, a line a table.
func Summary(w io.Writer, tables []Table) {
	if len(tables) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%-12s %-12s %-9s %8s %8s  %-17s %6s %8s %6s %6s  %s\n",
		"job", "shape", "profile", "ours s", "RSS MiB", "best peer s", "/peer", "bound s", "/bound", "/fsync", "requests")
	for _, t := range tables {
		fmt.Fprintf(w, "%-12s %-12s %-9s %s\n", t.Job, t.Shape, t.Profile, t.summary())
	}
	fmt.Fprintln(w, "\n/peer, /bound: our time by theirs, below 1 is faster; /fsync: by the bound that makes its files durable, as ours does")
}

func (t Table) summary() string {
	ours, ok := t.best(tool.Ours)
	wall, rss, requests := "-", "-", ""
	if ok {
		wall, rss = fmt.Sprintf("%.3f", ours.Wall.Median), fmt.Sprintf("%.1f", ours.RSS)
	}
	if ok && ours.Trace != nil {
		requests = fmt.Sprintf("%d, chain %d", ours.Trace.Requests, ours.Trace.Chain)
	}
	peer, bound := "-", "-"
	if p, ok := t.best(tool.Peer); ok {
		peer = fmt.Sprintf("%.3f %s", p.Wall.Median, p.Tool)
	}
	if b, ok := t.best(tool.Bound); ok {
		bound = fmt.Sprintf("%.3f", b.Wall.Median)
	}
	return fmt.Sprintf("%8s %8s  %-17s %6s %8s %6s %6s  %s", wall, rss, peer, t.ratio(ours, tool.Peer),
		bound, t.ratio(ours, tool.Bound), t.fsyncRatio(ours), requests)
}

func (t Table) fsyncRatio(ours Row) string {
	for _, r := range t.Rows {
		if r.Tool == "bound-fsync" && !r.Failed() && !ours.Failed() {
			return fmt.Sprintf("%.2f", ours.Wall.Median/r.Wall.Median)
		}
	}
	return ""
}

// Read reads a results file and groups its runs into tables, in the order in
// which they first appear. kinds says what each tool is. Of runs of the same
// tool and job on several days all count.
func Read(r io.Reader, kinds map[string]tool.Kind) ([]Table, error) {
	type key struct{ job, shape, profile, note string }
	type series struct {
		names []string
		recs  map[string][]Record
	}
	var order []key
	all := map[key]*series{}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var x Record
		if err := json.Unmarshal(in.Bytes(), &x); err != nil {
			return nil, err
		}
		k := key{x.Job, x.Shape, x.Profile, x.Note}
		s := all[k]
		if s == nil {
			s = &series{recs: map[string][]Record{}}
			all[k] = s
			order = append(order, k)
		}
		if s.recs[x.Tool] == nil {
			s.names = append(s.names, x.Tool)
		}
		s.recs[x.Tool] = append(s.recs[x.Tool], x)
	}
	var out []Table
	for _, k := range order {
		t := Table{Job: k.job, Shape: k.shape, Profile: k.profile, Note: k.note}
		for _, n := range all[k].names {
			t.Rows = append(t.Rows, NewRow(n, kinds[n], all[k].recs[n]))
		}
		out = append(out, t)
	}
	return out, in.Err()
}
