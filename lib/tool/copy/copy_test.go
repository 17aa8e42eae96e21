package copy

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/cli"
	engine "github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A run is what a user sees of one.
type run struct {
	code     int
	out, err string
}

func execute(t *testing.T, in []byte, args ...string) run {
	t.Helper()
	var out, errs bytes.Buffer
	std := &cli.IO{In: bytes.NewReader(in), Out: &out, Err: &errs}
	code := Tool().Execute(t.Context(), std, args)
	return run{code, out.String(), errs.String()}
}

// server is a registry that holds c as a/b:1.
func server(t *testing.T, c *imagetest.Content) *registrytest.Server {
	s := registrytest.Start(t, registrytest.Options{})
	s.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	return s
}

func check(t *testing.T, name string, c *imagetest.Content) {
	t.Helper()
	n, err := transport.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	src, err := n.Source(t.Context(), &transport.Access{})
	if err == nil {
		defer src.Close()
		err = imagetest.Check(t.Context(), src, c)
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// On standard output stands the pinned name and nothing else, and it can be
// read again.
func TestCopy(t *testing.T) {
	c := imagetest.Index()
	s := server(t, c)
	dir := t.TempDir()
	for _, dst := range []string{
		"docker://" + s.Addr + "/new:2", "oci:" + dir + "/layout:tag", "dir:" + dir + "/dir", "oci-archive:" + dir + "/x.tar:tag",
	} {
		file := filepath.Join(dir, "digest")
		r := execute(t, nil, "--digestfile", file, "docker://"+s.Addr+"/a/b:1", dst)
		if r.code != 0 || strings.Count(r.out, "\n") != 1 {
			t.Fatalf("to %s: exit %d, %q\n%s", dst, r.code, r.out, r.err)
		}
		check(t, strings.TrimSpace(r.out), c)
		if b, err := os.ReadFile(file); err != nil || string(b) != c.Root.Digest.String() {
			t.Errorf("the digest file holds %q, %v; want %s", b, err, c.Root.Digest)
		}
	}
}

// A stream goes out and comes in again, with nothing beside it.
func TestStream(t *testing.T) {
	c := imagetest.Index()
	s := server(t, c)
	r := execute(t, nil, "docker://"+s.Addr+"/a/b:1", "-")
	if r.code != 0 || r.err == "" {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	dst := "oci:" + t.TempDir() + "/new"
	if again := execute(t, []byte(r.out), "-q", "-", dst); again.code != 0 || again.err != "" {
		t.Fatalf("exit %d: %s", again.code, again.err)
	}
	check(t, dst, c)
	for n := range 3 {
		cut := []byte(r.out)[:len(r.out)*(n+1)/4]
		if got := execute(t, cut, "-q", "-", "oci:"+t.TempDir()+"/new"); got.code != cli.CodeMismatch || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, "source -: ") {
			t.Errorf("a stream cut after %d bytes: exit %d: %s", len(cut), got.code, got.err)
		}
	}
}

// What is wrong is said before anything is copied: with exit code 2 where the
// command line is what must change.
func TestRefused(t *testing.T) {
	s := server(t, imagetest.Image())
	dir := t.TempDir()
	src, dst := "docker://"+s.Addr+"/a/b:1", "docker://"+s.Addr+"/new:1"
	for _, tt := range []struct {
		code int
		args []string
		want string
	}{
		{cli.CodeUsage, []string{src}, "want SOURCE and DESTINATION"},
		{cli.CodeUsage, []string{"busybox", dst}, "source: Invalid image name"},
		{cli.CodeUsage, []string{src, "foo:x"}, "destination: Invalid image name"},
		{cli.CodeUsage, []string{"--jobs=0", src, dst}, "--jobs"},
		{cli.CodeUsage, []string{"--jobs=-1", src, dst}, "--jobs"},
		{cli.CodeUsage, []string{"--retry-times=-1", src, dst}, "--retry-times"},
		{cli.CodeUsage, []string{"--retry-delay=-1s", src, dst}, "--retry-delay"},
		{cli.CodeUsage, []string{"--sparse", src, dst}, "--sparse is for --platform"},
		{cli.CodeUsage, []string{"--platform=amd64", src, dst}, "OS/ARCH"},
		{cli.CodeUsage, []string{"--progress=loud", src, dst}, "progress"},
		{cli.CodeUsage, []string{"--additional-tag=x", src, dst}, "want NAME:TAG"},
		{cli.CodeUsage, []string{"--additional-tag=" + s.Addr + "/other:1", src, dst}, "not in the repository"},
		{cli.CodeUsage, []string{"--additional-tag=x:1", src, "dir:" + dir + "/new"}, "no place for the name"},
		{cli.CodeUsage, []string{"--src-creds=u:p", "--src-no-creds", src, dst}, "creds"},
		{cli.CodeFailed, []string{"--digestfile=" + dir + "/no/such", src, dst}, "digest file"},
		{cli.CodeFailed, []string{"--digestfile=" + dir, src, dst}, "is a directory"},
		{cli.CodeNotFound, []string{"docker://" + s.Addr + "/a/b:none", dst}, "source docker://" + s.Addr + "/a/b:none: "},
		{cli.CodeNotFound, []string{"--platform=linux/s390x", src, dst}, "linux/amd64 only"},
		{cli.CodeMismatch, []string{src, "docker://" + s.Addr + "/new@" + digest.FromString("x").String()}, "destination docker://"},
	} {
		r := execute(t, nil, tt.args...)
		if r.code != tt.code || !strings.Contains(r.err, tt.want) || r.out != "" {
			t.Errorf("img-copy %q: exit %d, %q, %s; want exit %d and %q", tt.args, r.code, r.out, r.err, tt.code, tt.want)
		}
	}
	if tags := s.Tags("new"); len(tags) != 0 {
		t.Errorf("something was copied all the same: %q", tags)
	}
}

func TestAdditionalTag(t *testing.T) {
	c := imagetest.Index()
	s := server(t, c)
	src, dir := "docker://"+s.Addr+"/a/b:1", t.TempDir()
	for name, tt := range map[string]struct{ dst, tags, again string }{
		"registry":       {"docker://" + s.Addr + "/new:1", s.Addr + "/new:2," + s.Addr + "/new:3", "docker://" + s.Addr + "/new:3"},
		"layout":         {"oci:" + dir + "/layout:1", "x:2", "oci:" + dir + "/layout:2"},
		"oci-archive":    {"oci-archive:" + dir + "/x.tar:1", "x:2", "oci-archive:" + dir + "/x.tar:2"},
		"docker-archive": {"docker-archive:" + dir + "/y.tar:a:1", "x:2", "docker-archive:" + dir + "/y.tar:x:2"},
	} {
		t.Run(name, func(t *testing.T) {
			c, src := c, src
			if name == "docker-archive" { // it holds one image
				c = imagetest.Image()
				src = "docker://" + server(t, c).Addr + "/a/b:1"
			}
			r := execute(t, nil, "-q", "--additional-tag", tt.tags, src, tt.dst)
			if r.code != 0 {
				t.Fatalf("exit %d: %s", r.code, r.err)
			}
			check(t, tt.dst, c)
			check(t, tt.again, c)
		})
	}
	// Nothing needs to move, and the names are to be there all the same.
	if r := execute(t, nil, "-q", "--additional-tag", s.Addr+"/new:4", src, "docker://"+s.Addr+"/new:1"); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	check(t, "docker://"+s.Addr+"/new:4", c)
}

// A dry run shows the plan and writes nowhere: to "-" no stream, to a place
// nothing, and it does not speak of a copy that has been made.
func TestDryRun(t *testing.T) {
	c := imagetest.Image()
	s := server(t, c)
	dir := t.TempDir()
	for _, dst := range []string{"-", "docker://" + s.Addr + "/new:1", "oci:" + dir + "/new", "oci-archive:" + dir + "/x.tar", "dir:" + dir + "/dir"} {
		r := execute(t, nil, "--dry-run", "--digestfile="+dir+"/digest", "docker://"+s.Addr+"/a/b:1", dst)
		if r.code != 0 || r.err != "" || strings.Count(r.out, "\n") != 5 || !strings.HasPrefix(r.out, "manifest\t"+c.Root.Digest.String()) {
			t.Errorf("to %s: exit %d, %q\n%s", dst, r.code, r.out, r.err)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 || len(s.Tags("new")) != 0 {
		t.Errorf("something was written: %v, %q", names, s.Tags("new"))
	}
	same := execute(t, nil, "-n", "docker://"+s.Addr+"/a/b:1", "docker://"+s.Addr+"/a/b:1")
	if !strings.HasPrefix(same.out, "note\tthe destination has it") {
		t.Errorf("a plan with nothing to do: %q", same.out)
	}
}

// A destination that is standard output by another name is one as well.
func TestStdoutByName(t *testing.T) {
	old := os.Stdout
	defer func() { os.Stdout = old }()
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	os.Stdout = f
	s := server(t, imagetest.Image())
	r := execute(t, nil, "-q", "docker://"+s.Addr+"/a/b:1", "oci-archive:"+path)
	if r.code != 0 || r.out != "" {
		t.Errorf("exit %d, %q beside the archive: %s", r.code, r.out, r.err)
	}
}

// An image that lies in its media types must not write lines of its own into a
// plan, nor commands to a terminal.
func TestShow(t *testing.T) {
	d := func(s, mediaType string) oci.Descriptor {
		return oci.Descriptor{MediaType: mediaType, Digest: digest.FromString(s), Size: int64(len(s))}
	}
	p := &engine.Plan{
		Tree:  &image.Tree{Desc: d("root", oci.MediaTypeManifest)},
		Notes: []string{"the index is\nrewritten"},
		Steps: []engine.Step{
			{Blob: d("config", oci.MediaTypeConfig)},
			{Blob: d("plain", oci.MediaTypeLayer), Compress: true},
			{Blob: d("foreign", oci.MediaTypeDockerForeign), Skip: true},
			{Blob: d("evil", "x/y\nblob\t\x1b[31mred")},
		},
	}
	var b bytes.Buffer
	if err := errors.Join(show(&b, p), show(&b, &engine.Plan{Later: true})); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/show.golden"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || b.String() != string(want) {
		t.Errorf("show writes\n%s\nwant\n%s (%v)", b.Bytes(), want, err)
	}
	if err := show(failing{}, p); !errors.Is(err, errFull) {
		t.Errorf("show to a full disk = %v; want %v", err, errFull)
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// A tool that is stopped says so with its exit code, and leaves no name.
func TestCancelled(t *testing.T) {
	s := server(t, imagetest.Image())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	std := &cli.IO{In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer)}
	code := Tool().Execute(ctx, std, []string{"-q", "docker://" + s.Addr + "/a/b:1", "docker://" + s.Addr + "/new:1"})
	if code == 0 || len(s.Tags("new")) != 0 || fmt.Sprint(std.Out) != "" {
		t.Errorf("exit %d, tags %q, output %q", code, s.Tags("new"), std.Out)
	}
}
