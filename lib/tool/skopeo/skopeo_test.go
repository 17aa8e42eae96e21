package skopeo

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// A result is what a script sees of a run.
type result struct {
	code     int
	out, err string
}

func run(t *testing.T, args ...string) result {
	t.Helper()
	return with(t, "", args...)
}

// with runs with a standard input.
func with(t *testing.T, in string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := Run(t.Context(), &cli.IO{In: strings.NewReader(in), Out: &out, Err: &errs}, args)
	return result{code, out.String(), errs.String()}
}

// fatal returns the message of the one line that a failure logs.
func (r result) fatal(t *testing.T) string {
	t.Helper()
	_, msg, ok := strings.Cut(r.err, " level=fatal msg=")
	if !ok || strings.Count(r.err, "level=fatal") != 1 || !strings.HasSuffix(msg, "\n") || strings.Count(msg, "\n") != 1 {
		t.Errorf("not one fatal line: %q", r.err)
		return ""
	}
	msg = strings.TrimSuffix(msg, "\n")
	if strings.HasPrefix(msg, `"`) {
		if err := json.Unmarshal([]byte(msg), &msg); err != nil {
			t.Errorf("%s: %v", msg, err)
		}
	}
	return msg
}

// alone keeps what this machine and its user are configured to do out of a
// test. It returns the home directory.
func alone(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	conf := write(t, filepath.Join(home, "registries.conf"), "")
	for name, value := range map[string]string{
		"HOME": home, "XDG_RUNTIME_DIR": home, "XDG_CONFIG_HOME": home, "DOCKER_CONFIG": "",
		"REGISTRY_AUTH_FILE": "", "CONTAINERS_REGISTRIES_CONF": conf, "CONTAINERS_REGISTRIES_CONF_OVERRIDE": "",
	} {
		t.Setenv(name, value)
	}
	return home
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// place is a registry with an image as a/b:1, an index as a/b:list and an
// artifact as a/b:thing, a policy that accepts, and a directory.
func place(t *testing.T) (repo, policy, dir string) {
	t.Helper()
	alone(t)
	s := registrytest.Start(t, registrytest.Options{})
	for tag, c := range map[string]*imagetest.Content{"1": imagetest.Image(), "list": imagetest.Index(), "thing": imagetest.Artifact()} {
		s.Put("a/b", tag, c.Root.Digest, c.Manifests, c.Blobs)
	}
	dir = t.TempDir()
	policy = filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return "docker://" + s.Addr + "/a/b", policy, dir
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

// The texts are skopeo's: scripts match on them, and on the exit codes, of
// which 2 is for what a registry or layout does not have.
func TestFailures(t *testing.T) {
	repo, policy, dir := place(t)
	t.Setenv("HOME", dir)
	host := strings.TrimPrefix(repo, "docker://")
	archive := dir + "/oci.tar"
	for _, to := range []string{"oci:" + dir + "/layout:x", "oci-archive:" + archive + ":x"} {
		if r := run(t, "--policy", policy, "copy", "-q", repo+":1", to); r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	cp := func(args ...string) []string { return append([]string{"--policy", policy, "copy", "-q"}, args...) }
	dst := "dir:" + dir + "/new"
	for _, tt := range []struct {
		args []string
		code int
		want string // begins the message
	}{
		{nil, 1, "Missing command 'skopeo COMMAND'\nTry 'skopeo --help' for more information"},
		{[]string{"foo"}, 1, "Unrecognized command `skopeo foo`\nTry 'skopeo --help' for more information"},
		{[]string{"inspec"}, 1, "Unrecognized command `skopeo inspec`\n\nDid you mean this?\n\tinspect\n"},
		{[]string{"--nope"}, 1, "unknown flag: --nope"},
		{[]string{"copy", "--nope"}, 1, "unknown flag: --nope"},

		{cp("x"), 1, "Exactly two arguments expected"},
		{[]string{"--policy", dir + "/none", "copy", "foo", "bar"}, 1, "Error loading trust policy: "},
		{[]string{"--policy", bad, "copy", "foo", "bar"}, 1, "Error loading trust policy: "},
		{[]string{"--insecure-policy", "--require-signed", "copy", "foo", "bar"}, 1, "Error loading trust policy: --insecure-policy and --require-signed are mutually exclusive"},
		{cp("foo", "bar"), 1, `Invalid source name foo: Invalid image name "foo", expected colon-separated transport:reference`},
		{cp("foo:x", "bar"), 1, `Invalid source name foo:x: Invalid image name "foo:x", unknown transport "foo"`},
		{cp("--src-creds=", repo+":1", "bar"), 1, "Invalid destination name bar: "},
		{cp("--src-creds=", "--dest-creds=:p", repo+":1", dst), 1, "credentials can't be empty"},
		{cp("--dest-creds=:p", "--additional-tag=UP", repo+":1", dst), 1, "username can't be empty"},
		{cp("--src-creds=a", "--src-no-creds", repo+":1", dst), 1, "creds and no-creds cannot be specified at the same time"},
		{cp("--src-username=a", repo+":1", dst), 1, "password must be specified when username is specified"},
		{cp("--additional-tag=UP", "--multi-arch=x", repo+":1", dst), 1, "error parsing additional-tag 'UP': "},
		{cp("--additional-tag=a@sha256:"+strings.Repeat("a", 64), repo+":1", dst), 1, "additional-tag 'a@sha256:"},
		{cp("--multi-arch=x", "--format=y", repo+":1", dst), 1, `unknown multi-arch option "x". Choose one of the supported options: 'system', 'all', or 'index-only'`},
		{cp("--all", "--multi-arch=all", repo+":1", dst), 1, "Cannot use --all and --multi-arch flags together"},
		{cp("--format=y", repo+":1", dst), 1, `unknown format "y". Choose one of the supported formats: 'oci', 'v2s1', or 'v2s2'`},
		{cp(repo+":none", dst), 2, "initializing source " + repo + ":none: reading manifest none in " + host + ": manifest unknown"},
		{cp("oci:"+dir+"/layout:none", dst), 2, "initializing source oci:"},
		{cp("oci:"+dir+"/layout:@7", dst), 1, "initializing source oci:"},
		{cp("oci-archive:"+archive+":none", dst), 2, "initializing source oci-archive:"},
		{cp("oci-archive:"+archive+":@7", dst), 1, "initializing source oci-archive:"},
		{cp("oci:"+dir+"/none:x", dst), 1, "initializing source oci:"},
		{cp("dir:"+dir+"/none", dst), 1, "determining manifest MIME type for dir:" + dir + "/none: open " + dir + "/none/manifest.json: no such file or directory"},
		{append([]string{"--override-arch=mips"}, cp(repo+":list", dst)...), 1, "choosing an image from manifest list " + repo + `:list: no image found in image index for architecture "mips", variant "", OS "linux"`},
		{cp("--all", repo+":list", "docker-archive:"+dir+"/x.tar:a:1"), 1, `copying multiple images: destination transport "docker-archive" does not support copying multiple images as a group`},
		{cp(repo+":1", "oci-archive:"+dir+"/no/x.tar:1"), 1, "Invalid destination name oci-archive:" + dir + "/no/x.tar:1: lstat " + dir + "/no: no such file or directory"},
		{cp("--digestfile="+dir+"/no/such", repo+":1", dst), 1, "Failed to write digest to file "},

		{[]string{"inspect"}, 1, "Exactly one argument expected"},
		{[]string{"inspect", "--raw", "--format=x", "foo"}, 1, "raw output does not support format option"},
		{[]string{"inspect", "foo"}, 1, `Error parsing image name "foo": Invalid image name "foo", expected colon-separated transport:reference`},
		{[]string{"inspect", repo + ":none"}, 2, `Error parsing image name "` + repo + `:none": reading manifest none in ` + host + ": manifest unknown"},
		{[]string{"inspect", "oci:" + dir + "/layout:none"}, 2, "Error parsing image name "},
		{[]string{"inspect", "dir:" + dir + "/none"}, 1, "Error retrieving manifest for image: open " + dir + "/none/manifest.json: no such file or directory"},
		{[]string{"inspect", repo + ":thing"}, 1, `unsupported image-specific operation on artifact with type "application/vnd.example.thing"`},
		{[]string{"--override-arch=mips", "inspect", repo + ":list"}, 1, "Error parsing manifest for image: choosing image instance: no image found"},
		{[]string{"inspect", "--manifest-digest=md5", repo + ":1"}, 1, `Error computing manifest digest: digest algorithm "md5" is not available`},

		{[]string{"manifest-digest"}, 1, "Usage: skopeo manifest-digest manifest"},
		{[]string{"manifest-digest", dir}, 1, "Error reading manifest from " + dir + ": read " + dir + ": is a directory"},
		{[]string{"manifest-digest", dir + "/none"}, 1, "Error reading manifest from " + dir + "/none: open " + dir + "/none: no such file or directory"},
	} {
		r := run(t, tt.args...)
		if msg := r.fatal(t); r.code != tt.code || !strings.HasPrefix(msg, tt.want) {
			t.Errorf("skopeo %q: exit %d, %q; want exit %d and %q", tt.args, r.code, msg, tt.code, tt.want)
		}
		if r.out != "" {
			t.Errorf("skopeo %q: %q on standard output", tt.args, r.out)
		}
	}
}

// copy prints its help before it says that operands are wrong; inspect does not.
func TestWrongCount(t *testing.T) {
	r := run(t, "--insecure-policy", "copy", "x")
	if usage, _, ok := strings.Cut(r.err, "time="); !ok || !strings.Contains(usage, "skopeo copy [command options] SOURCE-IMAGE DESTINATION-IMAGE") {
		t.Errorf("copy: %s", r.err)
	}
	if r := run(t, "inspect"); strings.Contains(r.err, "Usage:") {
		t.Errorf("inspect: %s", r.err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"copy", "--help"}, {"help", "copy"}, {"inspect", "-h"}, {"manifest-digest", "-h"}, {"delete", "-h"}, {"list-tags", "-h"}, {"login", "-h"}, {"logout", "-h"}} {
		r := run(t, args...)
		if r.code != 0 || r.err != "" || !strings.Contains(r.out, "Usage:") {
			t.Errorf("skopeo %q: exit %d, %q, %s", args, r.code, r.out, r.err)
		}
		hidden := []string{"--screds", "--registries-conf"}
		if !slices.Contains([]string{"inspect", "delete", "list-tags", "login", "logout"}, args[0]) {
			hidden = append(hidden, "--tls-verify")
		}
		for _, name := range hidden {
			if strings.Contains(r.out, name) {
				t.Errorf("skopeo %q shows the hidden option %s: %s", args, name, r.out)
			}
		}
	}
	if r := run(t, "--version"); r.code != 0 || !strings.HasPrefix(r.out, "skopeo version ") {
		t.Errorf("skopeo --version: exit %d, %q", r.code, r.out)
	}
}

// The lines of progress go to standard output, as skopeo's do, in its order.
func TestCopyProgress(t *testing.T) {
	repo, policy, dir := place(t)
	c := imagetest.Image()
	root, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = root.Parse()
	}
	if err != nil {
		t.Fatal(err)
	}
	want := "Getting image source signatures\n"
	for _, d := range root.Manifest.Layers {
		want += "Copying blob " + d.Digest.String() + "\n"
	}
	want += "Copying config " + root.Manifest.Config.Digest.String() + "\nWriting manifest to image destination\n"
	file := filepath.Join(dir, "digest")
	dst := "oci:" + dir + "/layout:x"
	r := run(t, "copy", "--policy", policy, "--digestfile", file, repo+":1", dst)
	if r.code != 0 || r.out != want || r.err != "" {
		t.Errorf("copy: exit %d, %q, %s; want %q", r.code, r.out, r.err, want)
	}
	check(t, dst, c)
	if b, err := os.ReadFile(file); err != nil || string(b) != c.Root.Digest.String() {
		t.Errorf("the digest file holds %q, %v", b, err)
	}
	r = run(t, "copy", "--policy", policy, "--remove-signatures", repo+":1", "dir:"+dir+"/dir")
	if r.code != 0 || strings.Contains(r.out, "signatures") {
		t.Errorf("--remove-signatures: exit %d, %q, %s", r.code, r.out, r.err)
	}
	if r := run(t, "copy", "-q", "--policy", policy, repo+":1", "dir:"+dir+"/quiet"); r.code != 0 || r.out != "" {
		t.Errorf("--quiet: exit %d, %q, %s", r.code, r.out, r.err)
	}
}

// Without an option one image is taken out of a list; with --all the list goes
// whole, and with index-only alone.
func TestCopyLists(t *testing.T) {
	repo, policy, dir := place(t)
	list := imagetest.Index()
	r := run(t, "--policy", policy, "copy", "--all", repo+":list", "oci:"+dir+"/all:x")
	if r.code != 0 || !strings.HasPrefix(r.out, "Getting image list signatures\nCopying 6 images generated from 6 images in list\nCopying image ") ||
		!strings.HasSuffix(r.out, "Writing manifest list to image destination\nStoring list signatures\n") || !strings.Contains(r.out, " (6/6)\n") {
		t.Errorf("--all: exit %d, %q, %s", r.code, r.out, r.err)
	}
	check(t, "oci:"+dir+"/all:x", list)
	for _, arch := range []string{"amd64", "arm64", "s390x"} {
		dst := "dir:" + dir + "/" + arch
		r := run(t, "--policy", policy, "--override-arch", arch, "copy", "-q", repo+":list", dst)
		if r.code != 0 || r.err != "" {
			t.Errorf("%s: exit %d, %s", arch, r.code, r.err)
		}
		if r := run(t, "inspect", "--format={{.Architecture}}", dst); r.out != arch+"\n" {
			t.Errorf("%s: the image is for %q: %s", arch, r.out, r.err)
		}
	}
	r = run(t, "--policy", policy, "copy", "-q", "--multi-arch=index-only", repo+":list", "dir:"+dir+"/only")
	b, err := os.ReadFile(filepath.Join(dir, "only", "manifest.json"))
	if r.code != 0 || err != nil || !bytes.Equal(b, list.Manifests[list.Root.Digest].Bytes) {
		t.Errorf("index-only: exit %d, %s, %v", r.code, r.err, err)
	}
}

// A policy that rejects is asked, for copy; inspect never asks.
func TestPolicy(t *testing.T) {
	repo, policy, dir := place(t)
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"reject"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "--policy", policy, "copy", repo+":1", "dir:"+dir+"/new")
	if msg := r.fatal(t); r.code != 1 || !strings.HasPrefix(msg, "Source image rejected: ") || r.out != "" {
		t.Errorf("copy: exit %d, %q, %q", r.code, r.out, msg)
	}
	if r := run(t, "--policy", policy, "inspect", repo+":1"); r.code != 0 {
		t.Errorf("inspect: exit %d, %s", r.code, r.err)
	}
	if r := run(t, "--insecure-policy", "copy", repo+":1", "dir:"+dir+"/new"); r.code != 0 {
		t.Errorf("--insecure-policy: exit %d, %s", r.code, r.err)
	}
}

// The keys of the summary, in their order: programs read them by name, people
// by place.
func TestInspect(t *testing.T) {
	repo, _, _ := place(t)
	c := imagetest.Image()
	r := run(t, "inspect", repo+":1")
	if r.code != 0 || r.err != "" {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	at := 0
	for _, key := range []string{"Name", "Digest", "RepoTags", "Created", "DockerVersion", "Labels", "Architecture", "Os", "Layers", "LayersData", "Env"} {
		i := strings.Index(r.out, "\n    \""+key+"\": ")
		if i < at {
			t.Errorf("key %s stands at %d, behind %d, in %s", key, i, at, r.out)
		}
		at = i
	}
	var s struct {
		Name, Digest string
		RepoTags     []string
	}
	if err := json.Unmarshal([]byte(r.out), &s); err != nil || s.Name != strings.TrimPrefix(repo, "docker://") || s.Digest != c.Root.Digest.String() || len(s.RepoTags) != 3 {
		t.Errorf("inspect: %+v, %v", s, err)
	}
	raw := c.Manifests[c.Root.Digest].Bytes
	root, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = root.Parse()
	}
	if err != nil {
		t.Fatal(err)
	}
	list := imagetest.Index()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--raw", repo + ":1"}, string(raw)},
		{[]string{"--raw", repo + ":list"}, string(list.Manifests[list.Root.Digest].Bytes)},
		{[]string{"--raw", "--config", repo + ":1"}, string(c.Blobs[root.Manifest.Config.Digest])},
		{[]string{"--format={{.Digest}}", repo + ":list"}, list.Root.Digest.String() + "\n"},
		{[]string{"--no-tags", "-f", "{{.RepoTags}}", repo + ":1"}, "[]\n"},
		{[]string{"--config", "--format={{.Config.Env}}", repo + ":1"}, "[A=b]\n"},
		{[]string{"--format={{.Digest}}", "--manifest-digest=sha512", repo + ":1"}, root.Raw.DigestBy("sha512").String() + "\n"},
	} {
		if r := run(t, append([]string{"inspect"}, tt.args...)...); r.code != 0 || r.out != tt.want {
			t.Errorf("inspect %q: exit %d, %q, %s; want %q", tt.args, r.code, r.out, r.err, tt.want)
		}
	}
}

// What is far away is asked for once, and a user who waits for a registry that
// is busy hears why, as with copy.
func TestInspectAsks(t *testing.T) {
	c, s := imagetest.Index(), registrytest.Start(t, registrytest.Options{})
	s.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	s.Inject(registrytest.On("GET", "/v2/a/b/manifests/1", registrytest.Busy(503, "0")).Times(1))
	r := run(t, "inspect", "--no-tags", "--tls-verify=false", "docker://"+s.Addr+"/a/b:1")
	if r.code != 0 || strings.Count(r.err, "level=warning") != 1 || !strings.Contains(r.err, "Failed, retrying in ") {
		t.Errorf("inspect of a busy registry: exit %d, %q; want 0 and a warning", r.code, r.err)
	}
	seen := map[string]bool{}
	for _, q := range s.Requests() {
		if what := q.Method + " " + q.Path; q.Status == 200 && seen[what] {
			t.Errorf("a second %s", what)
		} else if q.Status == 200 {
			seen[what] = true
		}
	}
}

func TestManifestDigest(t *testing.T) {
	c := imagetest.Docker()
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(path, c.Manifests[c.Root.Digest].Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "manifest-digest", path); r.code != 0 || r.out != c.Root.Digest.String()+"\n" {
		t.Errorf("exit %d, %q, %s", r.code, r.out, r.err)
	}
}

// Where the image goes to standard output nothing else may; a name for it is as
// good as "-".
func TestStdout(t *testing.T) {
	repo, policy, dir := place(t)
	old := os.Stdout
	defer func() { os.Stdout = old }()
	path := filepath.Join(dir, "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	os.Stdout = f
	if r := run(t, "--policy", policy, "copy", repo+":1", "oci-archive:"+path); r.code != 0 || r.out != "" {
		t.Errorf("exit %d, %q beside the archive: %s", r.code, r.out, r.err)
	}
}
