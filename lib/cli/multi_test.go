package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func testEntries() []Entry {
	tool := func(name string) Entry {
		return Entry{Name: name, Tool: func() *Tool {
			return &Tool{
				Name: name, Args: "ARG ...", Short: "do the " + name,
				Run: func(_ context.Context, std *IO, args []string) error {
					_, err := std.Out.Write([]byte(name + " " + strings.Join(args, " ") + "\n"))
					return err
				},
			}
		}}
	}
	return []Entry{
		tool("img-copy"), tool("img-inspect"),
		{Name: "skopeo", Short: "the other face", Main: func(args []string) int {
			return Live("skopeo", func(_ context.Context, std *IO) int {
				std.Out.Write([]byte("skopeo " + strings.Join(args, " ") + "\n"))
				return CodeOK
			})
		}},
	}
}

func TestPick(t *testing.T) {
	for _, tc := range []struct{ args, name, rest string }{
		{"/usr/bin/img-copy a b", "img-copy", "a b"},
		{"img-copy", "img-copy", ""},
		{"img-copy inspect x", "img-copy", "inspect x"}, // the name it is called by goes first
		{"img copy a", "img-copy", "a"},
		{"img img-copy a", "img-copy", "a"},
		{"./img copy --help", "img-copy", "--help"},
		{"/x/skopeo copy a", "skopeo", "copy a"},
		{"img skopeo copy a", "skopeo", "copy a"},
		{"img-linux-amd64 copy a", "img-copy", "a"}, // a downloaded file keeps working
		{"renamed inspect a", "img-inspect", "a"},
		{"img --list", "", "--list"},
		{"img nope a", "", "nope a"},
		{"img", "", ""},
		{"", "", ""},
	} {
		e, rest := pick("img", strings.Fields(tc.args), testEntries())
		name := ""
		if e != nil {
			name = e.Name
		}
		if name != tc.name || strings.Join(rest, " ") != tc.rest {
			t.Errorf("pick(%q) = %q, %q; want %q, %q", tc.args, name, rest, tc.name, tc.rest)
		}
	}
}

// Only the table that is wanted is built: that is what keeps the start cheap.
func TestPickBuildsNothing(t *testing.T) {
	entries := []Entry{{Name: "img-copy", Tool: func() *Tool {
		t.Error("the table was built")
		return &Tool{}
	}}}
	pick("img", []string{"img-copy", "x"}, entries)
	pick("img", []string{"img", "--list"}, entries)
	std, out, _ := testIO()
	if code := MultiTool("img", entries).Execute(t.Context(), std, []string{"--list"}); code != CodeOK || out.String() != "img-copy\n" {
		t.Errorf("img --list = %d, %q; want 0, img-copy", code, out)
	}
}

func TestMultiTool(t *testing.T) {
	for _, tc := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"--list", 0, "img-copy\nimg-inspect\nskopeo\n", ""},
		{"--version", 0, versionLine("img"), ""},
		{"", CodeUsage, "", "img: no tool named\nusage: img [option ...] TOOL [argument ...]\nimg: hint: img --help lists the options\n"},
		{"cpoy a b", CodeUsage, "", "img: no tool named \"cpoy\"\nusage: img [option ...] TOOL [argument ...]\nimg: hint: did you mean img copy?\n"},
		{"zzzzzzzzz", CodeUsage, "", "img: no tool named \"zzzzzzzzz\"\nusage: img [option ...] TOOL [argument ...]\nimg: hint: img --list names the tools\n"},
		{"--install", CodeUsage, "", "img: --install wants one directory\nusage: img [option ...] TOOL [argument ...]\nimg: hint: img --help lists the options\n"},
		{"--install /nonexistent/dir", CodeFailed, "", "img: lstat /nonexistent: no such file or directory\n"},
	} {
		std, out, errs := testIO()
		code := MultiTool("img", testEntries()).Execute(t.Context(), std, strings.Fields(tc.args))
		if code != tc.code || out.String() != tc.out || errs.String() != tc.errs {
			t.Errorf("img %s = %d, %q, %q; want %d, %q, %q", tc.args, code, out, errs, tc.code, tc.out, tc.errs)
		}
	}
	var b bytes.Buffer
	MultiTool("img", testEntries()).Usage(&b)
	golden(t, "usage-img.golden", b.Bytes())
}

// The real thing: a binary, links made by itself, called through them.
func TestMultiProcess(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	img := filepath.Join(dir, "img")
	if err := os.Symlink(exe, img); err != nil {
		t.Fatal(err)
	}
	run := func(arg0 string, args ...string) string {
		t.Helper()
		cmd := exec.Command(arg0, args...)
		cmd.Env = append(os.Environ(), "CLI_TEST_PROGRAM=multi", noSleep)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s %q: %v\n%s", arg0, args, err, out)
		}
		return string(out)
	}
	bin := t.TempDir()
	if out := run(img, "--install", "--skopeo", bin); out != "" {
		t.Errorf("img --install says %q; want nothing", out)
	}
	for name, want := range map[string]string{
		"img-copy":    "img-copy a b\n",
		"img-inspect": "img-inspect a b\n",
		"skopeo":      "skopeo a b\n",
	} {
		if out := run(filepath.Join(bin, name), "a", "b"); out != want {
			t.Errorf("%s a b says %q; want %q", name, out, want)
		}
	}
	if out, want := run(img, "copy", "x", "-"), "img-copy x -\n"; out != want {
		t.Errorf("img copy x - says %q; want %q", out, want)
	}
}

// program makes a file that stands for the binary and returns its path.
func fakeProgram(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "img")
	if err := os.WriteFile(path, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInstall(t *testing.T) {
	names := []string{"img-copy", "img-inspect"}
	t.Run("beside", func(t *testing.T) {
		dir := t.TempDir()
		exe := fakeProgram(t, dir)
		for range 2 { // again is no error
			if err := install(exe, "img", dir, names); err != nil {
				t.Fatal(err)
			}
		}
		wantLinks(t, dir, "img", names...)
	})
	t.Run("elsewhere", func(t *testing.T) {
		root := t.TempDir()
		exe := fakeProgram(t, filepath.Join(root, "opt/img/bin"))
		dir := filepath.Join(root, "home/bin")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		// Through a link to the directory: ".." must count from where it really is.
		if err := os.Symlink("home/bin", filepath.Join(root, "b")); err != nil {
			t.Fatal(err)
		}
		if err := install(exe, "img", filepath.Join(root, "b"), names); err != nil {
			t.Fatal(err)
		}
		wantLinks(t, dir, "../../opt/img/bin/img", names...)
		if !sameFile(filepath.Join(dir, "img-copy"), exe) {
			t.Error("the link does not lead to the program")
		}
	})
	t.Run("renewed", func(t *testing.T) {
		dir := t.TempDir()
		exe := fakeProgram(t, dir)
		if err := os.Symlink("/gone/img", filepath.Join(dir, "img-copy")); err != nil {
			t.Fatal(err)
		}
		if err := install(exe, "img", dir, names); err != nil {
			t.Fatal(err)
		}
		wantLinks(t, dir, "img", names...)
		if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	t.Run("hard link kept", func(t *testing.T) {
		dir := t.TempDir()
		exe := fakeProgram(t, dir)
		if err := os.Link(exe, filepath.Join(dir, "img-copy")); err != nil {
			t.Fatal(err)
		}
		if err := install(exe, "img", dir, names); err != nil {
			t.Fatal(err)
		}
		wantLinks(t, dir, "img", "img-inspect")
	})
}

// Nothing of the user's is overwritten, and a refusal leaves no half of the work.
func TestInstallRefuses(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"file":      func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"directory": func(p string) error { return os.Mkdir(p, 0o755) },
		"link":      func(p string) error { return os.Symlink("/usr/bin/other", p) },
	} {
		dir := t.TempDir()
		exe := fakeProgram(t, dir)
		path := filepath.Join(dir, "img-inspect")
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		err := install(exe, "img", dir, []string{"img-copy", "img-inspect"})
		if want := path + " exists and is not a link to img"; err == nil || err.Error() != want {
			t.Errorf("%s in the way: install = %v; want %s", what, err, want)
		}
		if _, err := os.Lstat(filepath.Join(dir, "img-copy")); err == nil {
			t.Errorf("%s in the way: another link was made", what)
		}
	}
	dir := t.TempDir()
	exe := fakeProgram(t, dir)
	if err := install(exe, "img", exe, []string{"img-copy"}); err == nil || err.Error() != exe+" is not a directory" {
		t.Errorf("install into a file = %v; want it refused", err)
	}
}

func TestMultiLinks(t *testing.T) {
	m := &multi{name: "img", entries: testEntries()}
	if got, want := m.links(), []string{"img-copy", "img-inspect"}; !slices.Equal(got, want) {
		t.Errorf("links = %q; want %q", got, want)
	}
	m.skopeo = true
	if got, want := m.links(), []string{"img-copy", "img-inspect", "skopeo"}; !slices.Equal(got, want) {
		t.Errorf("links with --skopeo = %q; want %q", got, want)
	}
}

func wantLinks(t *testing.T, dir, target string, names ...string) {
	t.Helper()
	for _, name := range names {
		got, err := os.Readlink(filepath.Join(dir, name))
		if err != nil || got != target {
			t.Errorf("link %s = %q, %v; want %q", name, got, err, target)
		}
	}
}
