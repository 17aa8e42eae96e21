package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/measure"
	"github.com/imgtools/imgtools/bench/internal/tool"
	"github.com/imgtools/imgtools/bench/internal/trace"
	"github.com/imgtools/imgtools/bench/internal/wan"
)

// Record is one run: one line of the results file.
type Record struct {
	Job     string `json:"job"`
	Shape   string `json:"shape"`
	Profile string `json:"profile"`
	Tool    string `json:"tool"`
	Run     int    `json:"run"`
	Note    string `json:"note,omitempty"`
	measure.Usage
	Service float64        `json:"service_cpu"` // seconds of registries and proxies
	Foreign float64        `json:"foreign"`     // processors that others used meanwhile
	Trace   *trace.Summary `json:"trace,omitempty"`
	Line    *wan.Counts    `json:"line,omitempty"`
	Check   string         `json:"check,omitempty"`
	Error   string         `json:"error,omitempty"`
	Time    string         `json:"time"`
}

// Append writes r as a line of JSON.
func (r Record) Append(w io.Writer) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Row is all runs of one tool at one job.
type Row struct {
	Tool    string
	Kind    tool.Kind
	Wall    Stats
	CPU     float64 // median, seconds
	RSS     float64 // median, MiB
	Disk    float64 // median, MiB
	Service float64 // median, seconds
	Foreign float64 // median, processors
	Trace   *trace.Summary
	Line    *wan.Counts
	Check   string
	Errors  []string
}

// Failed reports whether the row must not be compared with.
func (r Row) Failed() bool { return len(r.Errors) > 0 || r.Wall.Median == 0 }

// NewRow reduces the runs of one tool.
func NewRow(name string, kind tool.Kind, recs []Record) Row {
	r := Row{Tool: name, Kind: kind}
	of := func(f func(Record) float64) Stats {
		v := make([]float64, 0, len(recs))
		for _, x := range recs {
			v = append(v, f(x))
		}
		return Reduce(v)
	}
	r.Wall = of(func(x Record) float64 { return x.Wall })
	r.CPU = of(func(x Record) float64 { return x.CPU() }).Median
	r.RSS = of(func(x Record) float64 { return float64(x.RSS) / 1024 }).Median
	r.Disk = of(func(x Record) float64 { return float64(x.Disk) / (1 << 20) }).Median
	r.Service = of(func(x Record) float64 { return x.Service }).Median
	r.Foreign = of(func(x Record) float64 { return x.Foreign }).Median
	for _, x := range recs {
		if x.Error != "" {
			r.Errors = append(r.Errors, x.Error)
		}
	}
	if n := len(recs); n > 0 {
		r.Trace, r.Line, r.Check = recs[n-1].Trace, recs[n-1].Line, recs[n-1].Check
	}
	return r
}

// Table is all rows of one job, shape and profile.
type Table struct {
	Job, Shape, Profile, Note string
	Rows                      []Row
}

// best returns the fastest row of a kind that did not fail.
func (t Table) best(kind tool.Kind) (Row, bool) {
	var rows []Row
	for _, r := range t.Rows {
		if r.Kind == kind && !r.Failed() {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return Row{}, false
	}
	return slices.MinFunc(rows, func(a, b Row) int {
		if a.Wall.Median < b.Wall.Median {
			return -1
		}
		return 1
	}), true
}

// ratio of r to the best of a kind, "" if there is none.
func (t Table) ratio(r Row, kind tool.Kind) string {
	b, ok := t.best(kind)
	if !ok || r.Failed() {
		return ""
	}
	return fmt.Sprintf("%.2f", r.Wall.Median/b.Wall.Median)
}

// Write prints the table.
func (t Table) Write(w io.Writer) {
	fmt.Fprintf(w, "\n%s %s %s %s\n", t.Job, t.Shape, t.Profile, t.Note)
	fmt.Fprintf(w, "  %-13s %9s  %-17s %8s %8s %8s %7s %7s %6s %6s\n",
		"tool", "wall s", "(min..max)", "cpu s", "RSS MiB", "disk MiB", "srv cpu", "others", "/peer", "/bound")
	for _, r := range t.Rows {
		if r.Wall.Median == 0 {
			fmt.Fprintf(w, "  %-13s FAILED: %s\n", r.Tool, strings.Join(r.Errors, "; "))
			continue
		}
		span := fmt.Sprintf("(%.3f..%.3f)", r.Wall.Min, r.Wall.Max)
		fmt.Fprintf(w, "  %-13s %9.3f  %-17s %8.3f %8.1f %8.1f %7.2f %7.2f %6s %6s%s\n", r.Tool, r.Wall.Median, span,
			r.CPU, r.RSS, r.Disk, r.Service, r.Foreign, t.ratio(r, tool.Peer), t.ratio(r, tool.Bound), r.trailer())
	}
}

func (r Row) trailer() string {
	var out []string
	if r.Check != "" {
		out = append(out, r.Check)
	}
	if r.Trace != nil {
		out = append(out, r.Trace.String())
	}
	if r.Line != nil {
		out = append(out, fmt.Sprintf("%d conns, %.1f MiB up, %.1f down", r.Line.Conns, float64(r.Line.Up)/(1<<20), float64(r.Line.Down)/(1<<20)))
	}
	if len(r.Errors) > 0 {
		out = append(out, "FAILED: "+r.Errors[0])
	}
	if len(out) == 0 {
		return ""
	}
	return "  " + strings.Join(out, "; ")
}
