package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// day is when the play of these tests begins.
var day = time.Date(2026, 11, 23, 18, 53, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return day.Add(time.Duration(seconds * float64(time.Second)))
}

const (
	blobA = "sha256:aaaaaaaaaaaa1111111111111111111111111111111111111111111111111111"
	blobB = "sha256:bbbbbbbbbbbb2222222222222222222222222222222222222222222222222222"
	blobC = "sha256:cccccccccccc3333333333333333333333333333333333333333333333333333"
	blobD = "sha512:dddddddddddd4444444444444444444444444444444444444444444444444444"
)

// play is a copy with everything that may happen in one.
func play() []Event {
	evil := "503 \x1b[31mService\nUnavailable"
	return []Event{
		{Time: at(0), Kind: KindPlan, Ref: "docker://b.example/x:1", Size: 123456789, Text: "4 blobs"},
		{Time: at(0), Kind: KindPlan, Digest: blobD, Size: 0},
		{Time: at(0.1), Kind: KindHave, Digest: blobC, Size: 3456789, MediaType: "application/x"},
		{Time: at(0.2), Kind: KindHave, Digest: blobD, Size: 20000000},
		{Time: at(0.3), Kind: KindCopy, Digest: blobA, Size: 100000000, Platform: "linux/arm64", Side: "source"},
		{Time: at(0.3), Kind: KindCopy, Digest: blobB},
		{Time: at(0.35), Kind: KindProgress, Digest: blobA, Size: 100000000, Done: 32768},
		{Time: at(0.4), Kind: KindProgress, Digest: blobA, Size: 100000000, Done: 65536},
		{Time: at(1.3), Kind: KindProgress, Digest: blobA, Size: 100000000, Done: 10000000},
		{Time: at(2), Kind: KindDone, Digest: blobB, Size: 1000},
		{Time: at(8), Kind: KindProgress, Digest: blobA, Size: 100000000, Done: 40000000},
		{Time: at(13), Kind: KindProgress, Digest: blobA, Size: 100000000, Done: 70000000},
		{Time: at(14), Kind: KindRetry, Digest: blobA, Side: "source", Attempt: 1, Attempts: 3, Wait: 1500 * time.Millisecond, Text: evil},
		{Time: at(14), Kind: KindRetry, Ref: "docker://b.example/x:1", Attempt: 2, Wait: time.Minute, Text: "reset"},
		{Time: at(16), Kind: KindWarning, Text: "index\nrewritten\x07"},
		{Time: at(16.5), Kind: KindSpool, Digest: blobA, Size: 100000000},
		{Time: at(20), Kind: KindDone, Digest: blobA, Size: 100000000, Platform: "linux/arm64"},
		{Time: at(20.1), Kind: KindCommit, Ref: "docker://b.example/x:1", Digest: blobC},
		{Time: at(20.2), Kind: "future\x1b", Text: "what a later version may say"},
		{Time: at(20.3), Kind: KindEnd, Ref: "docker://b.example/x:1"},
	}
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	p := newPlain(&b, "img-copy")
	for _, e := range play() {
		p.event(e)
	}
	p.tick(at(100)) // after the end there is no life to show
	p.close(at(100))
	golden(t, "plain.golden", b.Bytes())
	if strings.ContainsAny(b.String(), "\x1b\x07\r") {
		t.Errorf("control characters in %q", b.String())
	}
}

// A log must show life when no event comes at all, but not more than needed.
func TestPlainHeartbeat(t *testing.T) {
	var b bytes.Buffer
	p := newPlain(&b, "img-copy")
	p.tick(at(0)) // before the first event: still a sign after ten seconds
	for s := 1; s <= 25; s++ {
		p.tick(at(float64(s)))
	}
	p.event(Event{Time: at(26), Kind: KindCopy, Digest: blobA, Size: 1000000})
	for s := 27; s <= 66; s++ {
		if s < 50 { // then it stalls
			p.event(Event{Time: at(float64(s)), Kind: KindProgress, Digest: blobA, Size: 1000000, Done: int64(s-26) * 1000})
		}
		p.tick(at(float64(s)))
	}
	want := `progress waiting
progress waiting
copy     sha256:aaaaaaaaaaaa 1.00 MB
progress 10.0 kB of 1.00 MB, 278 B/s, 1 on the way
progress 20.0 kB of 1.00 MB, 1.00 kB/s, 1 on the way
progress 23.0 kB of 1.00 MB, 300 B/s, 1 on the way
progress 23.0 kB of 1.00 MB, 0 B/s, 1 on the way
`
	if b.String() != want {
		t.Errorf("heartbeat:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestJSONLines(t *testing.T) {
	var b bytes.Buffer
	r := newJSONLines(&b)
	for _, e := range play() {
		r.event(e)
	}
	r.note("img-copy: debug: not an event")
	r.tick(at(100))
	r.close(at(100))
	golden(t, "json.golden", b.Bytes())
	progress := 0
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var rec record
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&rec); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if rec.Kind == KindProgress {
			progress++
		}
		if _, err := time.Parse(time.RFC3339, rec.Time); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if progress != 4 { // of five: two came within a quarter of a second
		t.Errorf("%d progress records; want 4", progress)
	}
}

// One blob's progress must not take away another's, and a blob may come again.
func TestJSONThrottle(t *testing.T) {
	var b bytes.Buffer
	r := newJSONLines(&b)
	for _, e := range []Event{
		{Time: at(0), Kind: KindProgress, Digest: blobA, Done: 1},
		{Time: at(0.1), Kind: KindProgress, Digest: blobB, Done: 2},
		{Time: at(0.2), Kind: KindProgress, Digest: blobA, Done: 3}, // too soon
		{Time: at(0.25), Kind: KindProgress, Digest: blobA, Done: 4},
		{Time: at(0.26), Kind: KindDone, Digest: blobA},
		{Time: at(0.27), Kind: KindProgress, Digest: blobA, Done: 5},
	} {
		r.event(e)
	}
	var got []int64
	for line := range strings.Lines(b.String()) {
		var rec record
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			t.Fatal(err)
		}
		got = append(got, rec.Done)
	}
	if want := []int64{1, 2, 4, 0, 5}; !slices.Equal(got, want) {
		t.Errorf("done fields %d; want %d", got, want)
	}
}

// The page is the promise: no field and no kind without it.
func TestEventsPage(t *testing.T) {
	page, err := os.ReadFile("../../man/img-events.5")
	if err != nil {
		t.Fatal(err)
	}
	lintPage(t, "img-events", page)
	items := func(macro string) []string {
		var names []string
		for _, m := range regexp.MustCompile(`(?m)^\.It `+macro+` (\S+)$`).FindAllSubmatch(page, -1) {
			names = append(names, string(m[1]))
		}
		slices.Sort(names)
		return names
	}
	var fields []string
	rec := reflect.TypeFor[record]()
	for i := range rec.NumField() {
		name, opt, _ := strings.Cut(rec.Field(i).Tag.Get("json"), ",")
		fields = append(fields, name)
		if always := name == "time" || name == "kind"; (opt == "omitempty") == always {
			t.Errorf("field %s: option %q", name, opt)
		}
		// And each is a field of the event, under the same name.
		ev := reflect.TypeFor[Event]().Field(i)
		if !strings.EqualFold(ev.Name, name) {
			t.Errorf("field %d is %s in Event and %s in JSON", i, ev.Name, name)
		}
	}
	slices.Sort(fields)
	if got := items("Va"); !slices.Equal(got, fields) {
		t.Errorf("fields in the page %q; want %q", got, fields)
	}
	if n := reflect.TypeFor[Event]().NumField(); n != len(fields) {
		t.Errorf("Event has %d fields, JSON %d", n, len(fields))
	}
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, m := range regexp.MustCompile(`(?m)^\tKind\w+ += "(\w+)"`).FindAllSubmatch(source, -1) {
		kinds = append(kinds, string(m[1]))
	}
	slices.Sort(kinds)
	if got := items("Cm"); !slices.Equal(got, kinds) || len(kinds) < 10 {
		t.Errorf("kinds in the page %q; want %q", got, kinds)
	}
}

func TestNewRenderer(t *testing.T) {
	tty := openTerminal(t)
	for _, tc := range []struct {
		mode, term string
		err        io.Writer
		want       string
	}{
		{"auto", "xterm", tty, "*cli.bars"},
		{"", "xterm", tty, "*cli.bars"},
		{"auto", "dumb", tty, "*cli.plain"},
		{"auto", "", tty, "*cli.plain"},
		{"auto", "xterm", io.Discard, "*cli.plain"},
		{"bars", "dumb", io.Discard, "*cli.bars"},
		{"plain", "xterm", tty, "*cli.plain"},
		{"json", "xterm", tty, "*cli.jsonLines"},
		{"none", "xterm", tty, "cli.warnings"},
	} {
		t.Setenv("TERM", tc.term)
		std := &IO{Err: tc.err}
		r, err := NewRenderer(tc.mode, std, "img-x")
		if err != nil {
			t.Errorf("NewRenderer(%q) = %v", tc.mode, err)
			continue
		}
		got := fmt.Sprintf("%T", r)
		if f, ok := r.(*feed); ok {
			got = fmt.Sprintf("%T", f.draw)
		}
		if got != tc.want {
			t.Errorf("NewRenderer(%q) with TERM=%s = %s; want %s", tc.mode, tc.term, got, tc.want)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Errorf("Close = %v; want nil", err)
			}
		}
		r.Event(Event{Kind: KindEnd}) // too late, but no harm
	}
	if _, err := NewRenderer("loud", &IO{Err: io.Discard}, "img-x"); !errors.Is(err, ErrUsage) {
		t.Errorf("NewRenderer(loud) = %v; want an ErrUsage", err)
	}
}

func TestProgressFlag(t *testing.T) {
	mode := ""
	tool := &Tool{Name: "img-x", Short: "do x", Flags: []Flag{ProgressFlag(&mode)}}
	if _, err := tool.Parse(nil); err != nil || mode != "auto" {
		t.Errorf("mode %q, %v; want auto", mode, err)
	}
	if _, err := tool.Parse([]string{"--progress=json"}); err != nil || mode != "json" {
		t.Errorf("mode %q, %v; want json", mode, err)
	}
	if _, err := tool.Parse([]string{"--progress=x"}); !errors.Is(err, ErrUsage) {
		t.Errorf("--progress=x = %v; want an ErrUsage", err)
	}
}

// Events may come from several goroutines, and after Close.
func TestFeedConcurrent(t *testing.T) {
	for _, mode := range []string{"bars", "plain", "json", "none"} {
		std, _, errs := testIO()
		std = std.named("img-x")
		r, err := NewRenderer(mode, std, "img-x")
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := r.(*feed); ok {
			f.patience = time.Minute // nothing may be lost here, however slow the machine
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 50 {
					digest := fmt.Sprintf("sha256:%012d", i*1000+n)
					r.Event(Event{Kind: KindCopy, Digest: digest, Size: 10})
					r.Event(Event{Kind: KindProgress, Digest: digest, Size: 10, Done: 5})
					r.Event(Event{Kind: KindDone, Digest: digest, Size: 10})
					std.Warnf("of %d", i)
				}
			})
		}
		wg.Wait()
		r.Close()
		mark := map[string]string{"bars": "done ", "plain": "done ", "json": `"kind":"done"`, "none": "warning"}[mode]
		if got := strings.Count(errs.String(), mark); got != 400 {
			t.Errorf("mode %s shows %d blobs done; want 400", mode, got)
		}
	}
}

// stuck is a terminal that was stopped: a write begins and does not end.
type stuck struct{ free chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.free
	return len(p), nil
}

// The copy goes on when nobody reads standard error. (If it did not, this test
// would not end.)
func TestFeedStuck(t *testing.T) {
	w := stuck{make(chan struct{})}
	std := &IO{Err: w}
	f := newFeed(std, newPlain(w, "img-x"), time.Millisecond)
	f.patience = time.Millisecond
	for range 10 * feedLength {
		f.Event(Event{Kind: KindProgress, Digest: blobA})
		f.Event(Event{Kind: KindDone, Digest: blobA})
		std.Warnf("not shown")
	}
	if err := f.Close(); err != nil {
		t.Errorf("Close = %v; want nil", err)
	}
	if f.lost.Load() == 0 {
		t.Error("nothing was lost")
	}
	close(w.free)
	<-f.gone
}

// What was lost is not kept secret.
func TestFeedSaysLost(t *testing.T) {
	std, _, errs := testIO()
	f := newFeed(std, newPlain(errs, "img-x"), 0)
	f.lost.Add(3)
	f.Close()
	if want := "3 lines could not be shown in time\n"; errs.String() != want {
		t.Errorf("Close shows %q; want %q", errs, want)
	}
}

// A closed standard error ends the drawing, not the work.
func TestFeedBrokenErr(t *testing.T) {
	w := &counting{}
	std := &IO{Err: w}
	r, err := NewRenderer("plain", std, "img-x")
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		r.Event(Event{Kind: KindDone, Digest: blobA})
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close = %v; want nil", err)
	}
	if w.n != 1 {
		t.Errorf("%d writes; want none after the first error", w.n)
	}
}

type counting struct{ n int }

func (c *counting) Write([]byte) (int, error) {
	c.n++
	return 0, errors.New("closed")
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 kB", 1234: "1.23 kB", 9994: "9.99 kB", 9996: "10.0 kB", 99960: "100 kB",
		999499: "999 kB", 999500: "1.00 MB", 12345678: "12.3 MB", 5e9: "5.00 GB", 1<<63 - 1: "9.22 EB",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("sizeText(%d) = %q; want %q", n, got, want)
		}
	}
}

func TestSpanText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 0: "0.0s", 340 * time.Millisecond: "0.3s", 9940 * time.Millisecond: "9.9s",
		12340 * time.Millisecond: "12s", 185 * time.Second: "3m5s",
	} {
		if got := spanText(d); got != want {
			t.Errorf("spanText(%v) = %q; want %q", d, got, want)
		}
	}
}

func TestShortDigest(t *testing.T) {
	for d, want := range map[string]string{
		blobA: "sha256:aaaaaaaaaaaa", "sha256:short": "sha256:short", "": "", "no colon": "no colon",
		"a\x1b:\nb": `a\x1b:\nb`, "x:äöüäöüäöüäöüäöü": "x:äöüäöüäöüäöü",
	} {
		if got := shortDigest(d); got != want {
			t.Errorf("shortDigest(%q) = %q; want %q", d, got, want)
		}
	}
}

// Sums must hold when blobs are begun anew, turn out to be there, or are bigger
// than was said.
func TestMeter(t *testing.T) {
	var m meter
	apply := func(e Event) { e.Time = at(0); m.apply(&e) }
	check := func(step string, done, total int64, jobs int) {
		t.Helper()
		if d, n := m.sofar(); d != done || n != total || len(m.jobs) != jobs {
			t.Errorf("%s: %d of %d, %d jobs; want %d of %d, %d jobs", step, d, n, len(m.jobs), done, total, jobs)
		}
	}
	apply(Event{Kind: KindCopy, Digest: blobA, Size: 100})
	check("begun", 0, 100, 1)
	apply(Event{Kind: KindProgress, Digest: blobA, Size: 100, Done: 60})
	check("moved", 60, 100, 1)
	apply(Event{Kind: KindCopy, Digest: blobA, Size: 100})
	check("begun anew", 0, 100, 1)
	apply(Event{Kind: KindHave, Digest: blobA, Size: 100})
	check("there after all", 100, 100, 0)
	apply(Event{Kind: KindPlan, Size: 1000})
	check("planned", 100, 1000, 0)
	apply(Event{Kind: KindProgress, Digest: blobA, Size: 100, Done: 99})
	check("progress came late", 100, 1000, 0)
	apply(Event{Kind: KindCopy, Digest: blobB, Size: -1})
	apply(Event{Kind: KindProgress, Digest: blobB, Size: -1, Done: 50})
	check("of unknown size", 150, 1000, 1)
	apply(Event{Kind: KindDone, Digest: blobB})
	check("its size is what moved", 150, 1000, 0)
	apply(Event{Kind: KindDone, Digest: blobC, Size: 2000})
	check("bigger than planned", 2150, 2150, 0)
	if got, want := m.summary(at(2), ""), "2 copied (2.05 kB), 1 already there, 2.0s, 1.02 kB/s"; got != want {
		t.Errorf("summary = %q; want %q", got, want)
	}
	if got, want := m.summary(at(0.5), "nothing to do"), "nothing to do, 0.5s"; got != want {
		t.Errorf("summary with a text = %q; want %q", got, want)
	}
}

// A stream may tell the digest of a blob only when it is over: the blob must not
// stay on the screen for ever under no name.
func TestNamelessBlob(t *testing.T) {
	var b bytes.Buffer
	p := newPlain(&b, "img-copy")
	for _, e := range []Event{
		{Time: at(0), Kind: KindCopy},
		{Time: at(1), Kind: KindProgress, Done: 1000},
		{Time: at(2), Kind: KindDone, Digest: blobA, Size: 2000},
	} {
		p.event(e)
	}
	want := "copy     a blob\ndone     sha256:aaaaaaaaaaaa 2.00 kB in 2.0s, 1.00 kB/s\n"
	if b.String() != want || len(p.m.jobs) != 0 {
		t.Errorf("%q with %d jobs left; want %q with none", b.String(), len(p.m.jobs), want)
	}
}
