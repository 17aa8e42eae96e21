package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Scripts written for skopeo rely on each of these forms.
func TestParse(t *testing.T) {
	type want struct {
		ops []string
		set func(*sampleOptions)
	}
	set := func(f func(*sampleOptions), ops ...string) want { return want{ops, f} }
	for _, tc := range []struct {
		args string
		want want
	}{
		{"", set(nil)},
		{"a b", set(nil, "a", "b")},
		{"a --all b", set(func(o *sampleOptions) { o.all = true }, "a", "b")},
		{"-a a -q b", set(func(o *sampleOptions) { o.all, o.quiet = true, true }, "a", "b")},
		{"-aq x", set(func(o *sampleOptions) { o.all, o.quiet = true, true }, "x")},
		{"-aqj3 x", set(func(o *sampleOptions) { o.all, o.quiet, o.jobs = true, true, 3 }, "x")},
		{"-aj 3 x", set(func(o *sampleOptions) { o.all, o.jobs = true, 3 }, "x")},
		{"-j=3", set(func(o *sampleOptions) { o.jobs = 3 })},
		{"--jobs 3", set(func(o *sampleOptions) { o.jobs = 3 })},
		{"--jobs=3", set(func(o *sampleOptions) { o.jobs = 3 })},
		{"--jobs=0x10", set(func(o *sampleOptions) { o.jobs = 16 })},
		{"--jobs -3", set(func(o *sampleOptions) { o.jobs = -3 })},
		{"--jobs 1 --jobs 2", set(func(o *sampleOptions) { o.jobs = 2 })},
		{"--src-creds=a=b", set(func(o *sampleOptions) { o.creds = "a=b" })},
		{"--src-creds=", set(nil)},
		{"--src-creds --all", set(func(o *sampleOptions) { o.creds = "--all" })},
		{"-- --all -q", set(nil, "--all", "-q")},
		{"a -- -q", set(nil, "a", "-q")},
		{"a -- --", set(nil, "a", "--")},
		{"- -a -", set(func(o *sampleOptions) { o.all = true }, "-", "-")},
		{"--timeout 1m30s", set(func(o *sampleOptions) { o.timeout = 90 * time.Second })},
		{"--format wide", set(func(o *sampleOptions) { o.form = "wide" })},
		{"-p a,b -p c", set(func(o *sampleOptions) { o.platforms = []string{"a", "b", "c"} })},
		{"--platform=", set(func(o *sampleOptions) { o.platforms = nil })},
		{"--additional-tag a,b --additional-tag c", set(func(o *sampleOptions) { o.tags = []string{"a,b", "c"} })},
		{"--secret", set(func(o *sampleOptions) { o.secret = true })},
		{"--help=false", set(nil)},
	} {
		tool, got := sample()
		_, opts := sample()
		if tc.want.set != nil {
			tc.want.set(opts)
		}
		ops, err := tool.Parse(strings.Fields(tc.args))
		if err != nil {
			t.Errorf("Parse(%q) = %v; want no error", tc.args, err)
			continue
		}
		if !slices.Equal(ops, tc.want.ops) {
			t.Errorf("Parse(%q) = operands %q; want %q", tc.args, ops, tc.want.ops)
		}
		if d := cmp.Diff(opts, got, cmp.AllowUnexported(sampleOptions{})); d != "" {
			t.Errorf("Parse(%q) set (-want +got):\n%s", tc.args, d)
		}
	}
}

func TestParseBool(t *testing.T) {
	forms := map[string]bool{"": true}
	for _, s := range []string{"1", "t", "T", "true", "TRUE", "True"} {
		forms["="+s] = true
	}
	for _, s := range []string{"0", "f", "F", "false", "FALSE", "False"} {
		forms["="+s] = false
	}
	for form, want := range forms {
		for _, before := range []bool{false, true} {
			tool, o := sample()
			o.all = before
			if _, err := tool.Parse([]string{"--all" + form, "--src-tls-verify" + form}); err != nil {
				t.Errorf("Parse(--all%s) = %v; want no error", form, err)
			}
			if o.all != want {
				t.Errorf("Parse(--all%s) set %v; want %v", form, o.all, want)
			}
			// Not given, given as false and given as true are three things.
			if tri := (Tri{Given: true, Value: want}); o.tls != tri {
				t.Errorf("Parse(--src-tls-verify%s) set %v; want %v", form, o.tls, tri)
			}
		}
	}
	// The letter takes "=" too; a word behind a switch is an operand.
	tool, o := sample()
	o.all = true
	ops, err := tool.Parse([]string{"-a=false", "--quiet", "false"})
	if err != nil || o.all || !o.quiet || !slices.Equal(ops, []string{"false"}) {
		t.Errorf("Parse(-a=false --quiet false) = %q, %v with all=%v quiet=%v; want [false], nil, false, true", ops, err, o.all, o.quiet)
	}
}

func TestTri(t *testing.T) {
	for _, tc := range []struct {
		tri         Tri
		other, want bool
		text        string
	}{
		{Tri{}, true, true, ""},
		{Tri{}, false, false, ""},
		{Tri{Given: true}, true, false, "false"},
		{Tri{Given: true, Value: true}, false, true, "true"},
	} {
		if got := tc.tri.Or(tc.other); got != tc.want {
			t.Errorf("%+v.Or(%v) = %v; want %v", tc.tri, tc.other, got, tc.want)
		}
		if got := OptionalBool(&tc.tri).String(); got != tc.text {
			t.Errorf("OptionalBool(%+v).String() = %q; want %q", tc.tri, got, tc.text)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for args, want := range map[string]string{
		"--nope":                     "unknown flag: --nope",
		"-x":                         "unknown shorthand flag: 'x' in -x",
		"-aqx":                       "unknown shorthand flag: 'x' in -x",
		"--jobs":                     "flag needs an argument: --jobs",
		"-j":                         "flag needs an argument: 'j' in -j",
		"--jobs=many":                `invalid argument "many" for "-j, --jobs" flag: want a whole number`,
		"--jobs=1e3":                 `invalid argument "1e3" for "-j, --jobs" flag: want a whole number`,
		"--jobs=9999999999999999999": `invalid argument "9999999999999999999" for "-j, --jobs" flag: number too large`,
		"--all=maybe":                `invalid argument "maybe" for "-a, --all" flag: want true or false`,
		"--all=":                     `invalid argument "" for "-a, --all" flag: want true or false`,
		"--src-tls-verify=2":         `invalid argument "2" for "--src-tls-verify" flag: want true or false`,
		"--timeout=5":                `invalid argument "5" for "--timeout" flag: want a time span such as 30s or 5m`,
		"--format=x":                 `invalid argument "x" for "-f, --format" flag: want auto, wide or narrow`,
		"---all":                     "bad flag syntax: ---all",
		"--=x":                       "bad flag syntax: --=x",
		"--version":                  "unknown flag: --version",
		// pflag drops these without a word: they look like go test's.
		"-test.v":   "unknown shorthand flag: 't' in -test.v",
		"a -test.x": "unknown shorthand flag: 't' in -test.x",
	} {
		tool, _ := sample()
		_, err := tool.Parse(strings.Fields(args))
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v; want %q", args, err, want)
		}
		if !errors.Is(err, ErrUsage) {
			t.Errorf("Parse(%q): errors.Is(err, ErrUsage) = false; want true", args)
		}
	}
}

func TestParseHelp(t *testing.T) {
	for _, args := range []string{"--help", "-h", "a -ah", "--help=1", "--help --nope"} {
		tool, _ := sample()
		if _, err := tool.Parse(strings.Fields(args)); err != ErrHelp {
			t.Errorf("Parse(%q) = %v; want ErrHelp", args, err)
		}
	}
	// A table that has use for the letter h gets it.
	host := ""
	tool := &Tool{Name: "x", Flags: []Flag{{Name: "host", Short: 'h', Arg: "H", Value: String(&host)}}}
	if _, err := tool.Parse([]string{"-h", "me"}); err != nil || host != "me" {
		t.Errorf("Parse(-h me) = %v, host %q; want nil, me", err, host)
	}
	if _, err := tool.Parse([]string{"--help"}); err != ErrHelp {
		t.Errorf("Parse(--help) = %v; want ErrHelp", err)
	}
}

func TestFuncValue(t *testing.T) {
	var got []string
	tool := &Tool{Name: "x", Flags: []Flag{{Name: "f", Arg: "F", Value: Func(func(s string) error {
		got = append(got, s)
		if s == "bad" {
			return errors.New("want good")
		}
		return nil
	})}}}
	_, err := tool.Parse([]string{"--f=1", "--f=2", "--f=bad"})
	if want := `invalid argument "bad" for "--f" flag: want good`; err == nil || err.Error() != want {
		t.Errorf("Parse = %v; want %s", err, want)
	}
	if want := []string{"1", "2", "bad"}; !slices.Equal(got, want) {
		t.Errorf("Func was called with %q; want %q", got, want)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"src-creds", "dest-creds", "dest-compress", "all", "platform", "retry-times"}
	for word, want := range map[string]string{
		"platfrom":   "platform",
		"platforms":  "platform",
		"retry-time": "retry-times",
		"compress":   "dest-compress", // the flag of one side
		"creds":      "",              // of which side?
		"al":         "all",
		"x":          "",
		"":           "",
		"something":  "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest(%q) = %q; want %q", word, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "-a\x00x", "--jobs\x003", "-p\x00a,b\x00--", "--=", "-=", "--all=x", "-aqj=3", "-test.v"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		tool, _ := sample()
		ops, err := tool.Parse(args)
		if err != nil {
			if err != ErrHelp && !errors.Is(err, ErrUsage) {
				t.Errorf("Parse(%q) = %v; want an ErrUsage", args, err)
			}
			return
		}
		// Operands are arguments, in their order.
		rest := args
		for _, op := range ops {
			i := slices.Index(rest, op)
			if i < 0 {
				t.Fatalf("Parse(%q) = %q; want a part of the arguments", args, ops)
			}
			rest = rest[i+1:]
		}
	})
}

// BenchmarkParse is what a table adds to the start of each tool: one is built
// and parsed once in a process.
func BenchmarkParse(b *testing.B) {
	args := strings.Fields("--all --src-creds a:b -p linux/amd64 docker://a.example/x oci:y")
	b.ReportAllocs()
	for b.Loop() {
		tool, _ := sample()
		var extra [40]string // as many rows as img-copy has
		for i := range extra {
			tool.Flags = append(tool.Flags, Flag{Name: "extra-" + string(rune('a'+i%26)) + string(rune('a'+i/26)), Arg: "X", Value: String(&extra[i])})
		}
		if _, err := tool.Parse(args); err != nil {
			b.Fatal(err)
		}
	}
}
