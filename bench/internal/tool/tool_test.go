package tool

import (
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/bench/internal/job"
	"github.com/imgtools/imgtools/bench/internal/service"
)

func line(t *testing.T, tools []Tool, tool, name string, tls bool) string {
	t.Helper()
	j, ok := job.Find(name)
	if !ok {
		t.Fatalf("no job %q", name)
	}
	e := job.Env{Job: j, Shape: "tiny", Net: service.Net{A: "a:1", B: "b:2", TLS: tls}, Layout: "/l", Archive: "/x.tar", Out: "/out"}
	i := slices.IndexFunc(tools, func(x Tool) bool { return x.Name == tool })
	if i < 0 {
		t.Fatalf("no tool %q", tool)
	}
	c, ok := tools[i].Command(e)
	if !ok {
		return ""
	}
	var stages []string
	for _, s := range c.Stages {
		stages = append(stages, strings.Join(s, " "))
	}
	out := strings.Join(stages, " | ")
	if c.Stdout != "" {
		out += " > " + c.Stdout
	}
	return out
}

// The command lines are the definition of what is compared, so they are held
// word for word where a slip would compare different work.
func TestCommands(t *testing.T) {
	tools := New(Paths{"skopeo", "crane", "regctl", "bound", "img"})
	for _, c := range []struct {
		tool, job string
		tls       bool
		want      string
	}{
		{"skopeo", "reg2reg", false, "skopeo copy -q --src-tls-verify=false --dest-tls-verify=false docker://a:1/src/tiny:v1 docker://b:2/dst/tiny:v1"},
		{"skopeo", "multi", true, "skopeo copy -q --all docker://a:1/src/tiny:v1 docker://b:2/dst/tiny:v1"},
		{"skopeo", "inspect", false, "skopeo inspect --tls-verify=false --no-tags docker://a:1/src/tiny:v1"},
		{"skopeo", "pipe", true, "/bin/sh -c 'skopeo' 'copy' '-q' 'docker://a:1/src/tiny:v1' 'docker-archive:/out/x.tar:lab/x:v1' && 'skopeo' 'copy' '-q' 'docker-archive:/out/x.tar' 'docker://b:2/dst/tiny:v1'"},
		{"crane", "mount", true, "crane copy a:1/src/tiny:v1 a:1/dst/tiny:v1"},
		{"crane", "oci2oci", true, ""},
		{"crane", "reg2dir", true, ""},
		{"regctl", "reg2archive", true, "regctl image export a:1/src/tiny:v1 > /out/x.tar"},
		{"regctl", "oci2oci", true, "regctl image copy ocidir:///l:v1 ocidir:///out/oci:v1"},
		{"bound", "reg2archive", false, "bound -http copy docker://a:1/src/tiny:v1 docker-archive:/out/x.tar"},
		{"bound-fsync", "reg2oci", true, "bound -fsync copy docker://a:1/src/tiny:v1 oci:/out/oci:v1"},
		{"img", "oci2reg", false, "img copy --quiet --dest-tls-verify=false oci:/l:v1 docker://b:2/dst/tiny:v1"},
		{"img", "reg2archive", true, "img copy --quiet docker://a:1/src/tiny:v1 docker-archive:/out/x.tar:lab/x:v1"},
		{"img", "pipe", false, "img copy --quiet --src-tls-verify=false docker://a:1/src/tiny:v1 - | img copy --quiet --dest-tls-verify=false - docker://b:2/dst/tiny:v1"},
		{"img", "digest", true, "img inspect --digest docker://a:1/src/tiny:v1"},
	} {
		if got := line(t, tools, c.tool, c.job, c.tls); got != c.want {
			t.Errorf("%s %s: %q; want %q", c.tool, c.job, got, c.want)
		}
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote([]string{"a b", "it's"}), `'a b' 'it'\''s'`; got != want {
		t.Errorf("quote = %s; want %s", got, want)
	}
}

// Ours and the bound must do every job, or a table has no ratio.
func TestEveryJobHasOursAndBound(t *testing.T) {
	tools := New(Paths{"skopeo", "crane", "regctl", "bound", "img"})
	for _, j := range job.Jobs {
		for _, tool := range []string{"img", "bound", "skopeo"} {
			if line(t, tools, tool, j.Name, true) == "" {
				t.Errorf("%s has no command for %s", tool, j.Name)
			}
		}
	}
}
