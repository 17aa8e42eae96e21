package delete

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/tool"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

var now = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

func ago(days int) string { return now.AddDate(0, 0, -days).Format(time.RFC3339) }

// five is a shelf with tags 1.1 (10 days old) to 1.5 (50 days old), of which
// 1.5 is signed, and latest, which is 1.1.
func five() *imagetest.Shelf {
	s := imagetest.NewShelf()
	for i := 1; i <= 5; i++ {
		s.Tag(s.Image(ago(10*i), fmt.Sprint(i)), fmt.Sprintf("1.%d", i))
	}
	s.Tag(s.Names["1.1"], "latest")
	five := s.Names["1.5"]
	s.Artifact("a signature", &five)
	s.Tag(s.Artifact("another", nil), oci.ReferrersTag(five.Digest)+".sig")
	return s
}

// A result is what a user sees.
type result struct {
	code      int
	out, errs string
}

// run runs img-delete on shelves, by the name of the repository.
func run(t *testing.T, shelves map[string]*imagetest.Shelf, in string, args ...string) result {
	t.Helper()
	return runIn(t, t.Context(), shelves, in, args...)
}

func runIn(t *testing.T, ctx context.Context, shelves map[string]*imagetest.Shelf, in string, args ...string) result {
	t.Helper()
	c := &command{common: tool.NewCommonConfig(), now: func() time.Time { return now }}
	c.open = func(_ context.Context, n transport.Name, a *transport.Access) (image.Shelf, error) {
		s := shelves[n.Docker().Path]
		if s == nil {
			return nil, fmt.Errorf("%w: no such repository", image.ErrNotFound)
		}
		s.Notify = a.Registry.Notify
		return s, nil
	}
	var o, e bytes.Buffer
	code := c.tool().Execute(ctx, &cli.IO{In: strings.NewReader(in), Out: &o, Err: &e}, args)
	return result{code, o.String(), e.String()}
}

const repo = "docker://r.example/app"

func TestNames(t *testing.T) {
	for what, tt := range map[string]struct {
		args []string
		in   string
		code int
		out  string
		errs string // in the messages
		left string
	}{
		"one":             {[]string{repo + ":1.2"}, "", 0, repo + ":1.2\n", "", "1.1 1.3 1.4 1.5 latest"},
		"two":             {[]string{repo + ":1.2", repo + ":1.1"}, "", 0, repo + ":1.2\n" + repo + ":1.1\n", "", "1.3 1.4 1.5 latest"},
		"standard input":  {[]string{"-"}, repo + ":1.2\n\n  " + repo + ":1.3 \n", 0, repo + ":1.2\n" + repo + ":1.3\n", "", "1.1 1.4 1.5 latest"},
		"nothing there":   {[]string{"-"}, "", 0, "", "", "1.1 1.2 1.3 1.4 1.5 latest"},
		"missing":         {[]string{repo + ":9"}, "", cli.CodeNotFound, "", repo + ":9: delete: not found", "1.1 1.2 1.3 1.4 1.5 latest"},
		"several errors":  {[]string{repo + ":9", "docker://r.example/other:1", repo + ":1.2"}, "", cli.CodePartial, repo + ":1.2\n", "not all went well: 2 errors", "1.1 1.3 1.4 1.5 latest"},
		"some missing":    {[]string{repo + ":9", repo + ":1.2", repo + ":8"}, "", cli.CodePartial, repo + ":1.2\n", repo + ": delete: 8 9: not found\n", "1.1 1.3 1.4 1.5 latest"},
		"missing, and so": {[]string{"--ignore-missing", repo + ":9", repo + ":1.2"}, "", 0, repo + ":1.2\n", "", "1.1 1.3 1.4 1.5 latest"},
		"manifest":        {[]string{"--manifest", repo + ":1.1"}, "", 0, repo + "@M1.1\n", "", "1.2 1.3 1.4 1.5"},
		"digest":          {[]string{"--manifest", repo + "@M1.1"}, "", 0, repo + "@M1.1\n", "", "1.2 1.3 1.4 1.5"},
		"referrers":       {[]string{"--manifest", "--referrers", repo + ":1.5"}, "", 0, repo + ":M1.5.sig\n" + repo + "@M?\n" + repo + "@M?\n" + repo + "@M1.5\n", "", "1.1 1.2 1.3 1.4 latest"},
		"dry run":         {[]string{"-n", "--manifest", repo + ":1.1"}, "", 0, "delete\t" + repo + ":1.1\tM1.1\t-\tis a name of M1.1\ndelete\t" + repo + ":latest\tM1.1\t-\tis a name of M1.1\ndelete\t" + repo + "@M1.1\tM1.1\t-\tasked for\n", "", "1.1 1.2 1.3 1.4 1.5 latest"},
		"dry, missing":    {[]string{"-n", repo + ":9"}, "", cli.CodeNotFound, "keep\t" + repo + ":9\t-\t-\tthere is no such manifest\n", "not found", "1.1 1.2 1.3 1.4 1.5 latest"},
		"no repository":   {[]string{"docker://r.example/other:1"}, "", cli.CodeNotFound, "", "docker://r.example/other: delete: not found: no such repository", "1.1 1.2 1.3 1.4 1.5 latest"},
		"two places":      {[]string{"docker://r.example/other:1", repo + ":1.2"}, "", cli.CodePartial, repo + ":1.2\n", "no such repository", "1.1 1.3 1.4 1.5 latest"},
	} {
		s := five()
		names := map[string]string{}
		for n, d := range s.Names {
			if n != "latest" && !oci.IsAttachedTag(n) {
				names[d.Digest.String()] = "M" + n
				names[oci.ReferrersTag(d.Digest)] = "M" + n
			}
		}
		for d := range s.Manifests {
			if names[d.String()] == "" {
				names[d.String()] = "M?"
			}
		}
		args := slices.Clone(tt.args)
		for i := range args {
			args[i] = strings.Replace(args[i], "@M1.1", "@"+s.Names["1.1"].Digest.String(), 1)
		}
		r := run(t, map[string]*imagetest.Shelf{"app": s}, tt.in, args...)
		for d, n := range names {
			r.out = strings.ReplaceAll(r.out, d, n)
		}
		if r.code != tt.code || r.out != tt.out || !strings.Contains(r.errs, tt.errs) || tt.errs == "" && r.errs != "" {
			t.Errorf("%s: exit %d\n%s%s\nwant %d\n%s%s", what, r.code, r.out, r.errs, tt.code, tt.out, tt.errs)
		}
		if got := left(s); got != tt.left {
			t.Errorf("%s: left are %s; want %s", what, got, tt.left)
		}
	}
}

// left are the tags of images.
func left(s *imagetest.Shelf) string {
	var tags []string
	for n := range s.Names {
		if !oci.IsAttachedTag(n) {
			tags = append(tags, n)
		}
	}
	slices.Sort(tags)
	return strings.Join(tags, " ")
}

func TestRules(t *testing.T) {
	for what, tt := range map[string]struct {
		args      string
		code      int
		gone      string // tags
		manifests int    // that are left, of 7
		errs      string
	}{
		"keep":                   {"--keep 3", 0, "1.3 1.4 1.5", 7, ""},
		"older":                  {"--older-than 30d", 0, "1.4 1.5", 7, ""},
		"older, weeks":           {"--older-than 4w3d", 0, "1.4 1.5", 7, ""},
		"both":                   {"--older-than 15d --keep 4", 0, "1.4 1.5", 7, ""},
		"match":                  {"--keep 0 --match [23]$", 0, "1.2 1.3", 7, ""},
		"manifests":              {"--older-than 30d --manifest", 0, "1.4 1.5", 6, "kept, because something is attached that stays: see --referrers: sha256:"},
		"manifests, referrers":   {"--older-than 30d --manifest --referrers", 0, "1.4 1.5", 3, ""},
		"latest keeps manifests": {"--keep 0 --match ^1 --manifest", 0, "1.1 1.2 1.3 1.4 1.5", 4, ""},
	} {
		s := five()
		before := strings.Fields(left(s))
		r := run(t, map[string]*imagetest.Shelf{"app": s}, "", append(strings.Fields(tt.args), repo)...)
		var gone []string
		for _, n := range before {
			if _, there := s.Names[n]; !there {
				gone = append(gone, n)
			}
		}
		if r.code != tt.code || strings.Join(gone, " ") != tt.gone || len(s.Manifests) != tt.manifests || !strings.Contains(r.errs, tt.errs) {
			t.Errorf("%s: exit %d, gone %v, %d manifests left, %s; want %+v", what, r.code, gone, len(s.Manifests), r.errs, tt)
		}
		for line := range strings.Lines(r.out) {
			if !strings.HasPrefix(line, repo) {
				t.Errorf("%s: %q is no name", what, line)
			}
		}
		if lines := strings.Count(r.out, "\n"); lines != len(s.Gone) {
			t.Errorf("%s: %d lines for %d deletions", what, lines, len(s.Gone))
		}
	}
}

// A rule that finds no dates says what it leaves, and not a line each.
func TestUndated(t *testing.T) {
	s := imagetest.NewShelf()
	for i := range 12 {
		s.Tag(s.Image("", fmt.Sprint(i)), fmt.Sprintf("t%02d", i))
	}
	r := run(t, map[string]*imagetest.Shelf{"app": s}, "", "--older-than", "1d", repo)
	want := "img-delete: warning: kept, because nobody knows how old it is: t00 t01 t02 t03 t04 t05 t06 t07 t08 t09 and 2 more, which --dry-run lists\n"
	if r != (result{0, "", want}) {
		t.Errorf("%+v; want %s", r, want)
	}
	r = run(t, map[string]*imagetest.Shelf{"app": s}, "", "-n", "--older-than", "1d", repo)
	if r.code != 0 || strings.Count(r.out, "its age is not known\n") != 12 {
		t.Errorf("dry run: %+v", r)
	}
}

// Where a tag cannot be deleted by itself nothing is, and the other tags are
// listed.
func TestRefuses(t *testing.T) {
	s := five()
	s.Together = true
	s.Tag(s.Names["1.1"], "stable")
	r := run(t, map[string]*imagetest.Shelf{"app": s}, "", repo+":1.1", repo+":1.2")
	for _, want := range []string{
		"--manifest would delete " + repo + "@" + s.Names["1.1"].Digest.String() + ", and with it these other tags: latest stable\n",
		"--manifest would delete " + repo + "@" + s.Names["1.2"].Digest.String() + ", which has no other tag\n",
		"hint: --manifest deletes the manifest with all of its tags\n",
	} {
		if !strings.Contains(r.errs, want) {
			t.Errorf("%s\nwant %s", r.errs, want)
		}
	}
	if r.code != cli.CodeFailed || r.out != "" || len(s.Gone) > 0 {
		t.Errorf("exit %d, %q, gone %v", r.code, r.out, s.Gone)
	}
	// A rule deletes what no kept tag shares, if --manifest allows that.
	r = run(t, map[string]*imagetest.Shelf{"app": s}, "", "--keep=0", "--match=^1.[12]$", repo)
	if r.code != cli.CodeFailed || len(s.Gone) > 0 || !strings.Contains(r.errs, "hint: --manifest") {
		t.Errorf("rule: %+v, gone %v", r, s.Gone)
	}
	two := s.Names["1.2"].Digest.String()
	r = run(t, map[string]*imagetest.Shelf{"app": s}, "", "--keep=0", "--match=^1.[12]$", "--manifest", repo)
	if r.code != cli.CodePartial || r.out != repo+"@"+two+"\n"+repo+":1.2\n" && r.out != repo+":1.2\n"+repo+"@"+two+"\n" {
		t.Errorf("rule with --manifest: %+v", r)
	}
	if want := repo + ":1.1: delete: not supported here: names are not deleted by themselves"; !strings.Contains(r.errs, want) || left(s) != "1.1 1.3 1.4 1.5 latest stable" {
		t.Errorf("rule with --manifest: left are %s, %s\nwant %s", left(s), r.errs, want)
	}
}

// What failed for one reason is told in one line, and some success makes it partly done.
func TestFailures(t *testing.T) {
	for what, tt := range map[string]struct {
		fails string
		code  int
		lines int
	}{
		"all":  {"1.1 1.2 1.3", cli.CodeUnauthorized, 0},
		"some": {"1.1 1.2", cli.CodePartial, 1},
		"one":  {"1.2", cli.CodePartial, 2},
	} {
		s := five()
		s.Fail = func(op, what string) error {
			if op == "delete " && slices.Contains(strings.Fields(tt.fails), what) {
				return fmt.Errorf("%w: it is locked", image.ErrDenied)
			}
			return nil
		}
		r := run(t, map[string]*imagetest.Shelf{"app": s}, "", repo+":1.1", repo+":1.2", repo+":1.3")
		if r.code != tt.code || strings.Count(r.out, "\n") != tt.lines || !strings.Contains(r.errs, tt.fails+": ") || strings.Count(r.errs, "it is locked") != 1 {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := five()
	s.Fail = func(op, what string) error {
		if op == "delete " && what == "1.2" {
			cancel()
		}
		return nil
	}
	other := five()
	r := runIn(t, ctx, map[string]*imagetest.Shelf{"app": s, "app2": other}, "", repo+":1.1", repo+":1.2", repo+":1.3", repo+"2:1.1")
	if r.code != cli.CodePartial || r.out != repo+":1.1\n"+repo+":1.2\n" || left(s) != "1.3 1.4 1.5 latest" || len(other.Asked) > 0 {
		t.Errorf("%+v, left %s, in the next place %v", r, left(s), other.Asked)
	}
}

// Of 300 names that are left, as the user ended it all, one line tells.
func TestCancelledShort(t *testing.T) {
	s := imagetest.NewShelf()
	d := s.Image(ago(1), "x")
	for i := range 300 {
		s.Tag(d, fmt.Sprintf("pr-%d", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail = func(op, what string) error {
		if s.Count("delete") > 10 {
			cancel()
		}
		return nil
	}
	r := runIn(t, ctx, map[string]*imagetest.Shelf{"app": s}, "", "--keep=0", "--match=^pr-", repo)
	if n := strings.Count(r.errs, "\n"); r.code != cli.CodePartial || n != 1 || !strings.Contains(r.errs, " more: ") || !strings.Contains(r.errs, "canceled") {
		t.Errorf("exit %d, %d lines:\n%.1000s", r.code, n, r.errs)
	}
}

func TestUsage(t *testing.T) {
	sum := strings.Repeat("a", 64)
	for _, args := range [][]string{
		{}, {repo}, {repo + "@sha256:" + sum}, {"--referrers", repo + ":1"}, {"--match=x", repo + ":1"}, {"--keep=0", repo},
		{"--keep=-1", repo}, {"--keep=x", repo}, {"--older-than=0d", repo}, {"--older-than=soon", repo}, {"--keep=1", repo + ":1"},
		{"--keep=1", repo, repo + ":1"}, {"--keep=1", "--match=(", repo}, {"--keep=1", "--match=", repo}, {"-", "-"}, {"nothing"}, {"foo:bar"}, {"oci:x:@3"},
		{"docker://r.example/app@@unknown-digest@@"}, {"docker://UPPER"},
	} {
		s := five()
		r := run(t, map[string]*imagetest.Shelf{"app": s}, "", args...)
		if r.code != cli.CodeUsage || len(s.Asked) > 0 {
			t.Errorf("%q: %+v", args, r)
		}
	}
	r := run(t, nil, strings.Repeat("x", 1<<17), "-")
	if r.code != cli.CodeUsage {
		t.Errorf("a long line: %+v", r)
	}
	for _, name := range []string{"dir:/tmp", "oci-archive:/tmp/x", "docker-archive:/tmp/x"} {
		r := run(t, nil, "", name)
		if r.code != cli.CodeFailed || !strings.Contains(r.errs, "nothing can be deleted in") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestParseAge(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"30d": 30 * day, "2w": 14 * day, "1w2d": 9 * day, "36h": 36 * time.Hour, "1d12h30m": 36*time.Hour + 30*time.Minute, "0w1d": day,
		"106751d": 106751 * day, "1ns": 1,
		"": 0, "0": 0, "0d": 0, "d": 0, "2d1w": 0, "-1d": 0, "1d-1h": 0, "30": 0, "1.5d": 0, "106752d": 0, "99999999999999999999d": 0, "106751d24h": 0, "1w ": 0,
	} {
		got, err := parseAge(s)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("parseAge(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
}

func FuzzParseAge(f *testing.F) {
	for _, s := range []string{"30d", "1w2d3h4m5s", "-1d", "9223372036854775807ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseAge(s)
		if err == nil && d <= 0 {
			t.Errorf("parseAge(%q) = %v", s, d)
		}
	})
}

// A name that stdout shows can be given back to the tools.
func TestOf(t *testing.T) {
	sum := "sha256:" + strings.Repeat("a", 64)
	for _, s := range []string{"docker://alpine:3", "docker://r.example:5000/a/b:1", "docker://alpine@" + sum, "oci:dir:name", "oci:dir:@" + sum, "oci:/tmp:a.example/b:1"} {
		p, err := parse(s)
		if err != nil || len(p.targets) != 1 || p.of(p.targets[0]) != s {
			t.Errorf("parse(%q) = %+v, %v", s, p, err)
		}
	}
	p, err := parse("oci:dir:name@" + sum)
	if err != nil || p.targets[0].Name != "name" || p.targets[0].Digest.String() != sum {
		t.Errorf("a pinned name: %+v, %v", p, err)
	}
}

// The whole way, to a registry: 5,000 tags, of which a rule deletes 300, and
// every request is counted.
func TestRegistry(t *testing.T) {
	for _, tags := range []bool{true, false} {
		s := registrytest.Start(t, registrytest.Options{TagDelete: tags, Referrers: true, PageSize: 1000})
		shelf := imagetest.NewShelf()
		for i := range 50 {
			d := shelf.Image(time.Now().AddDate(0, 0, -i).Format(time.RFC3339), fmt.Sprint(i))
			s.Put("app", fmt.Sprintf("v%d.0", i), d.Digest, shelf.Manifests, shelf.Blobs)
			for j := 1; j < 100; j++ {
				s.Put("app", fmt.Sprintf("v%d.%d", i, j), d.Digest, nil, nil)
			}
		}
		var o, e bytes.Buffer
		code := Tool().Execute(t.Context(), &cli.IO{In: strings.NewReader(""), Out: &o, Err: &e},
			[]string{"--manifest", "--keep", "4700", "--tls-verify=false", "docker://" + s.Addr + "/app"})
		if code != 0 || strings.Count(o.String(), "\n") != 303 || len(s.Tags("app")) != 4700 {
			t.Fatalf("tag deletion %v: exit %d, %d lines, %d tags left\n%s", tags, code, strings.Count(o.String(), "\n"), len(s.Tags("app")), e.String())
		}
		for i := range 50 {
			_, there := s.Manifest("app", fmt.Sprintf("v%d.7", i))
			if there != (i < 47) {
				t.Errorf("tag deletion %v: v%d.7 is there: %v", tags, i, there)
			}
		}
		looked, deletes := 5000, 303
		if !tags { // one is tried, and is still there
			looked, deletes = 5001, 4
		}
		got := []int{s.Count("GET", "/v2/app/tags/list"), s.Count("HEAD", "/v2/app/manifests/*"), s.Count("GET", "/v2/app/manifests/*"), s.Count("GET", "/v2/app/blobs/*"), s.Count("GET", "/v2/app/referrers/*"), s.Count("DELETE", "/v2/app/manifests/*")}
		if want := []int{10, looked, 50, 50, 3, deletes}; !slices.Equal(got, want) {
			t.Errorf("tag deletion %v: requests %v; want %v", tags, got, want)
		}
	}
}

// The whole way, to a layout: what nothing needs any more leaves the disk.
func TestLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "images")
	add := func(name string, c *imagetest.Content) {
		n, err := transport.Parse("oci:" + dir + ":" + name)
		if err != nil {
			t.Fatal(err)
		}
		dst, err := n.Destination(t.Context(), &transport.Access{})
		if err == nil {
			err = errors.Join(imagetest.Send(t.Context(), dst, c), dst.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add("a", imagetest.Image())
	add("b", imagetest.Index())
	delete := func(args ...string) (int, string) {
		var o, e bytes.Buffer
		code := Tool().Execute(t.Context(), &cli.IO{In: strings.NewReader(""), Out: &o, Err: &e}, args)
		return code, o.String() + e.String()
	}
	if code, out := delete("oci:" + dir + ":a"); code != 0 || out != "oci:"+dir+":a\n" {
		t.Errorf("exit %d, %s", code, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "blobs", "sha256", imagetest.Image().Root.Digest.Encoded())); err == nil {
		t.Error("the manifest is still there")
	}
	if code, out := delete("oci:" + dir + ":a"); code != cli.CodeNotFound {
		t.Errorf("again: exit %d, %s", code, out)
	}
	pinned := "oci:" + dir + ":@" + imagetest.Index().Root.Digest.String()
	if code, out := delete("--manifest", "oci:"+dir+":b"); code != 0 || out != pinned+"\n" {
		t.Errorf("exit %d, %s; want %s", code, out, pinned)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
