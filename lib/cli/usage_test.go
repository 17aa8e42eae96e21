package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUsage(t *testing.T) {
	var b bytes.Buffer
	tool, _ := sample()
	tool.Usage(&b)
	golden(t, "usage.golden", b.Bytes())
	commands := map[string]bool{}
	for _, e := range tool.Examples {
		for _, c := range strings.Split(e.Command, "\n") {
			commands["      "+c] = true
		}
	}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 80 && !commands[line] {
			t.Errorf("line of %d columns in --help; want at most 80: %s", n, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("line ends in a space: %q", line)
		}
	}
	if strings.Contains(b.String(), "secret") {
		t.Error("--help shows a hidden flag")
	}
}

// The smallest table must give whole texts too.
func TestUsageSmall(t *testing.T) {
	tool := &Tool{Name: "img-x", Short: "do x"}
	var b bytes.Buffer
	tool.Usage(&b)
	want := `img-x - do x

Usage: img-x [option ...]

Options:
  -h, --help              Show this help.
      --version           Show the version.
      --completion SHELL  Print a completion script for bash, zsh or fish.
`
	if b.String() != want {
		t.Errorf("Usage = %q; want %q", b.String(), want)
	}
	lint(t, tool)
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"a b c", 5, []string{"a b c"}},
		{"a b cd", 5, []string{"a b", "cd"}},
		{"longer than it", 5, []string{"longer", "than", "it"}},
		{"äöü äö", 6, []string{"äöü äö"}},
		{" a \n b ", 9, []string{"a b"}},
	} {
		if got := wrap(tc.text, tc.width); !slices.Equal(got, tc.want) {
			t.Errorf("wrap(%q, %d) = %q; want %q", tc.text, tc.width, got, tc.want)
		}
	}
}

func TestMan(t *testing.T) {
	tool, _ := sample()
	var b bytes.Buffer
	tool.Man(&b)
	golden(t, "man.golden", b.Bytes())
	lint(t, tool)
	lint(t, MultiTool("img", testEntries()))

	var opts bytes.Buffer
	tool.ManOptions(&opts)
	if !bytes.Contains(b.Bytes(), opts.Bytes()) || !strings.HasPrefix(opts.String(), ".Sh OPTIONS\n") {
		t.Errorf("ManOptions = %q; want the section of Man", opts.String())
	}
}

// What a reader sees is what the table says, whatever mdoc thinks of the words:
// macro names, quotes, backslashes, leading dots and dashes.
func TestManRendered(t *testing.T) {
	tool, _ := sample()
	var src bytes.Buffer
	tool.Man(&src)
	text := render(t, src.Bytes())
	for _, want := range []string{
		"img-sample – show what a table can say",
		"img-sample [option ...] SOURCE [DESTINATION|-]",
		"--additional-tag Ar",
		"-f, --format FORM",
		"--src-tls-verify[=BOOL]",
		"--src-creds USER[:PASSWORD]",
		"mentions --jobs and a back\\slash.",
		".Second paragraph, beginning like a request.",
		`ssh b img-sample - 'oci:\x'`,
		"img-sample a \\",
		"    .b",
		"Standard output could not be written.",
		"128+n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q:\n%s", want, text)
		}
	}
	for _, f := range tool.visible() {
		if !strings.Contains(text, "--"+f.Name) {
			t.Errorf("the page does not show --%s", f.Name)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("the page shows a hidden flag")
	}
}

// lint fails for each complaint that mandoc has about the tool's page.
func lint(t *testing.T, tool *Tool) {
	t.Helper()
	var b bytes.Buffer
	tool.Man(&b)
	lintPage(t, tool.Name, b.Bytes())
}

func lintPage(t *testing.T, name string, page []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".mdoc")
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("mandoc -T lint: %v\n%s", err, out)
	}
}

// render returns the page as it is read on a terminal, without emphasis.
func render(t *testing.T, page []byte) string {
	t.Helper()
	cmd := exec.Command("mandoc", "-T", "utf8", "-O", "width=78")
	cmd.Stdin = bytes.NewReader(page)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("mandoc: %v", err)
	}
	var b []rune
	for _, r := range string(out) {
		if r == '\b' {
			b = b[:len(b)-1]
			continue
		}
		b = append(b, r)
	}
	return string(b)
}

func TestCompletion(t *testing.T) {
	for _, shell := range shells() {
		tool, _ := sample()
		var b bytes.Buffer
		if err := tool.Completion(&b, shell); err != nil {
			t.Fatal(err)
		}
		golden(t, "completion."+shell+".golden", b.Bytes())
		b.Reset()
		if err := MultiTool("img", testEntries()).Completion(&b, shell); err != nil {
			t.Fatal(err)
		}
		golden(t, "completion-img."+shell+".golden", b.Bytes())
	}
	tool, _ := sample()
	if err := tool.Completion(new(bytes.Buffer), "tcsh"); err == nil {
		t.Error("Completion(tcsh) = nil; want an error")
	}
}

// Bash is on every machine that builds this; it says what it would offer.
func TestCompletionBash(t *testing.T) {
	var script bytes.Buffer
	tool, _ := sample()
	if err := tool.Completion(&script, "bash"); err != nil {
		t.Fatal(err)
	}
	multi := MultiTool("img", append(testEntries(), Entry{Name: "img-sample", Tool: func() *Tool { s, _ := sample(); return s }}))
	if err := multi.Completion(&script, "bash"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ function, words, want string }{
		{"_img-sample", "img-sample --di", "--digestfile"},
		{"_img-sample", "img-sample --src-", "--src-creds --src-tls-verify"},
		{"_img-sample", "img-sample --format ", "auto wide narrow"},
		{"_img-sample", "img-sample -f w", "wide"},
		{"_img-sample", "img-sample --format =", "auto wide narrow"},
		{"_img-sample", "img-sample --format = na", "narrow"},
		{"_img-sample", "img-sample --all = f", "false"},
		{"_img-sample", "img-sample --all do", "docker://"},
		{"_img-sample", "img-sample --digestfile x", ""},
		{"_img-sample", "img-sample --jobs ", ""},
		{"_img-sample", "img-sample --sec", ""},
		{"_img", "img s", "sample"},
		{"_img", "img --l", "--list"},
		{"_img", "img sample --format ", "auto wide narrow"},
		{"_img", "img img-sample o", "oci:"},
	} {
		words := strings.Split(tc.words, " ")
		for i, w := range words {
			words[i] = quote(w)
		}
		cmd := exec.Command("bash", "-c", fmt.Sprintf("%s\ncompopt() { :; }\nCOMP_WORDS=(%s) COMP_CWORD=%d\n%s\necho \"${COMPREPLY[*]}\"",
			script.String(), strings.Join(words, " "), len(words)-1, tc.function))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tc.want {
			t.Errorf("bash completes %q to %q, %v; want %q", tc.words, got, err, tc.want)
		}
	}
}
