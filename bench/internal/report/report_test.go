package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/bench/internal/measure"
	"github.com/imgtools/imgtools/bench/internal/tool"
)

func TestReduce(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want Stats
	}{
		{nil, Stats{}},
		{[]float64{3}, Stats{3, 3, 3}},
		{[]float64{5, 1, 3}, Stats{3, 1, 5}},
		{[]float64{4, 1, 3, 2}, Stats{2.5, 1, 4}},
	} {
		if got := Reduce(c.in); got != c.want {
			t.Errorf("Reduce(%v) = %v; want %v", c.in, got, c.want)
		}
	}
}

func runs(name, err string, walls ...float64) []Record {
	var out []Record
	for i, w := range walls {
		out = append(out, Record{Job: "reg2reg", Shape: "tiny", Profile: "lo", Tool: name, Run: i, Error: err,
			Usage: measure.Usage{Wall: w, User: w / 2, RSS: 2048}})
	}
	return out
}

var kinds = map[string]tool.Kind{"skopeo": tool.Peer, "crane": tool.Peer, "bound": tool.Bound, "bound-fsync": tool.Variant, "img": tool.Ours}

// What was measured and what is read back from the file must give the same
// summary: it is printed from either.
func TestSummaryOfFile(t *testing.T) {
	var file bytes.Buffer
	for _, recs := range [][]Record{
		runs("skopeo", "", 3, 4, 5), runs("crane", "wrong digest", 0.1, 0.1, 0.1), runs("bound", "", 1, 1, 1),
		runs("bound-fsync", "", 2, 2), runs("img", "", 1.5, 2, 9),
	} {
		for _, r := range recs {
			if err := r.Append(&file); err != nil {
				t.Fatal(err)
			}
		}
	}
	tables, err := Read(&file, kinds)
	if err != nil || len(tables) != 1 {
		t.Fatalf("Read = %d tables, %v; want 1", len(tables), err)
	}
	// crane was fastest but wrong, so skopeo is the best peer.
	got := strings.Join(strings.Fields(tables[0].summary()), " ")
	const want = "2.000 2.0 4.000 skopeo 0.50 1.000 2.00 1.00"
	if got != want {
		t.Errorf("summary = %q; want %q", got, want)
	}
	var out bytes.Buffer
	tables[0].Write(&out)
	Summary(&out, tables)
	for _, want := range []string{"reg2reg tiny lo", "FAILED: wrong digest", "(1.500..9.000)", "best peer"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
}

// Before our binary exists there is nothing of ours; the table must say so.
func TestSummaryWithoutOurs(t *testing.T) {
	tb := Table{Rows: []Row{NewRow("skopeo", tool.Peer, runs("skopeo", "", 4)), NewRow("bound", tool.Bound, runs("bound", "", 2))}}
	got := strings.Join(strings.Fields(tb.summary()), " ")
	if want := "- - 4.000 skopeo 2.000"; got != want {
		t.Errorf("summary = %q; want %q", got, want)
	}
}

func TestReadBroken(t *testing.T) {
	if _, err := Read(strings.NewReader("{not json}\n"), kinds); err == nil {
		t.Error("Read of a broken file = nil; want an error")
	}
}
