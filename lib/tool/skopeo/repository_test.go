package skopeo

import (
	"archive/tar"
	"bytes"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// dockerTar writes an archive whose manifest.json is that; names are all that
// is asked of it.
func dockerTar(t *testing.T, path, manifest string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "manifest.json", Mode: 0o644, Size: int64(len(manifest))}); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(manifest))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, path, b.String())
}

// The output is skopeo's, byte for byte: it is parsed, and it is compared.
func TestListTags(t *testing.T) {
	repo, _, dir := place(t)
	host := strings.TrimPrefix(repo, "docker://")
	several := dockerTar(t, dir+"/several.tar", `[{"Config":"a.json","RepoTags":["docker.io/library/a:1","b:2"]},{"Config":"b.json"},{"Config":"c.json","RepoTags":["x.example/c<d>:3"]}]`)
	none := dockerTar(t, dir+"/none.tar", `[]`)
	const archived = "{\n    \"Tags\": [\n        \"docker.io/library/a:1\",\n        \"b:2\",\n        \"@1\",\n        \"x.example/c\\u003cd\\u003e:3\"\n    ]\n}\n"
	for _, tt := range []struct{ name, want string }{
		{repo, "{\n    \"Repository\": \"" + host + "\",\n    \"Tags\": [\n        \"1\",\n        \"list\",\n        \"thing\"\n    ]\n}\n"},
		{"docker-archive:" + several, archived},
		{"docker-archive:" + several + ":b:2", archived}, // whatever else the name says
		{"docker-archive:" + several + ":@7", archived},
		{"docker-archive:" + none, "{\n    \"Tags\": null\n}\n"},
	} {
		if r := run(t, "list-tags", "--tls-verify=false", tt.name); r.code != 0 || r.out != tt.want || r.err != "" {
			t.Errorf("list-tags %s: exit %d, %q, %s; want %q", tt.name, r.code, r.out, r.err, tt.want)
		}
	}
}

// A repository without a tag has an empty list, which programs go through, and
// not null.
func TestListTagsEmpty(t *testing.T) {
	alone(t)
	s := registrytest.Start(t, registrytest.Options{})
	s.Inject(registrytest.On("GET", "/v2/a/b/tags/list", registrytest.Reply(http.StatusOK, "application/json", `{"name":"a/b","tags":null}`)))
	want := "{\n    \"Repository\": \"" + s.Addr + "/a/b\",\n    \"Tags\": []\n}\n"
	if r := run(t, "list-tags", "--tls-verify=false", "docker://"+s.Addr+"/a/b"); r.code != 0 || r.out != want {
		t.Errorf("exit %d, %q, %s; want %q", r.code, r.out, r.err, want)
	}
}

func TestRepositoryFailures(t *testing.T) {
	repo, policy, dir := place(t)
	t.Chdir(dir)
	host := strings.TrimPrefix(repo, "docker://")
	if r := run(t, "--policy", policy, "copy", "-q", repo+":1", "oci:layout:x"); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	digest := "@sha256:" + strings.Repeat("a", 64)
	gone := func(name string) string {
		return "Unable to delete " + host + name + ". Image may not exist or is not stored with a v2 Schema in a v2 registry"
	}
	for _, tt := range []struct {
		args []string
		code int
		want string // begins the message
	}{
		{[]string{"list-tags"}, 1, "Exactly one non-option argument expected"},
		{[]string{"list-tags", "a", "b"}, 1, "Exactly one non-option argument expected"},
		{[]string{"list-tags", "--creds=", "foo"}, 1, "credentials can't be empty"},
		{[]string{"list-tags", "--shared-blob-dir=x", repo}, 1, "unknown flag: --shared-blob-dir"},
		{[]string{"list-tags", "foo"}, 1, `Invalid "foo": does not specify a transport`},
		{[]string{"list-tags", "foo:x"}, 1, `Invalid "foo:x": does not specify a transport`},
		{[]string{"list-tags", "-"}, 1, `Invalid "-": does not specify a transport`},
		{[]string{"list-tags", "oci:layout"}, 1, "Unsupported transport 'oci' for tag listing. Only supported: docker, docker-archive"},
		{[]string{"list-tags", "docker-daemon:x"}, 1, "Unsupported transport 'docker-daemon' for tag listing. Only supported: docker, docker-archive"},
		{[]string{"list-tags", "docker:x"}, 1, "docker: image reference docker:x does not start with docker://"},
		{[]string{"list-tags", "docker://a:b"}, 1, "No tag or digest allowed in reference"},
		{[]string{"list-tags", "docker://a" + digest}, 1, "No tag or digest allowed in reference"},
		{[]string{"list-tags", "docker://UP"}, 1, "invalid reference format: repository name must be lowercase"},
		{[]string{"list-tags", "docker://a@@unknown-digest@@"}, 1, "invalid reference format"},
		{[]string{"list-tags", "docker-archive:none.tar"}, 1, `opening file "none.tar": open none.tar: no such file or directory`},
		{[]string{"list-tags", "docker-archive:none.tar:UP"}, 1, "docker-archive parsing reference: invalid reference format: repository name must be lowercase"},
		{[]string{"list-tags", "docker://" + host + "/no"}, 1, "Error listing repository tags: fetching tags list: repository name not known to registry"},

		{[]string{"delete"}, 1, "Usage: delete imageReference"},
		{[]string{"delete", "a", "b"}, 1, "Usage: delete imageReference"},
		{[]string{"delete", "--creds=", "foo"}, 1, `Invalid source name foo: Invalid image name "foo", expected colon-separated transport:reference`},
		{[]string{"delete", "foo:x"}, 1, `Invalid source name foo:x: Invalid image name "foo:x", unknown transport "foo"`},
		{[]string{"delete", "--creds=", repo + ":1"}, 1, "credentials can't be empty"},
		{[]string{"delete", "dir:x"}, 1, "Deleting images not implemented for dir: images"},
		{[]string{"delete", "docker-archive:x:a"}, 1, "Deleting images not implemented for docker-archive: images"},
		{[]string{"delete", "oci-archive:x"}, 1, "Deleting images not implemented for oci: images"},
		{[]string{"delete", "docker-daemon:a:b"}, 1, "Deleting images not implemented for docker-daemon: images"},
		{[]string{"delete", "tarball:x"}, 1, "Deleting images not implemented for tarball: images"},
		{[]string{"delete", repo + "@@unknown-digest@@"}, 1, "deleting images from docker: reference "},
		{[]string{"delete", repo + ":1" + digest}, 1, "Invalid source name " + repo + ":1" + digest + ": Docker references with both a tag and digest are currently not supported"},
		{[]string{"delete", repo + ":none"}, 1, gone(":none")},
		{[]string{"delete", repo + digest}, 1, gone(digest)},
		{[]string{"delete", "docker://" + host + "/no"}, 1, gone("/no:latest")},
		{[]string{"delete", "oci:layout:none"}, 2, `no descriptor found for reference "none"`},
		{[]string{"delete", "oci:layout:@0"}, 1, "oci:layout:@0 is called x: delete it by that name"},
		{[]string{"delete", "oci:layout:@7"}, 1, "index 7 is too large, only 1 entries available"},
		{[]string{"delete", "oci:no:x"}, 1, "open no"},
		{[]string{"delete", "oci:no/such:x"}, 1, "Invalid source name oci:no/such:x: lstat "},
	} {
		r := run(t, tt.args...)
		if msg := r.fatal(t); r.code != tt.code || !strings.HasPrefix(msg, tt.want) {
			t.Errorf("skopeo %q: exit %d, %q; want exit %d and %q", tt.args, r.code, msg, tt.code, tt.want)
		}
		if r.out != "" {
			t.Errorf("skopeo %q: %q on standard output", tt.args, r.out)
		}
	}
	if r := run(t, "list-tags"); !strings.Contains(r.err, "Usage:\nskopeo list-tags ") {
		t.Errorf("list-tags prints no help: %s", r.err)
	}
	if r := run(t, "delete"); strings.Contains(r.err, "Usage:\n") {
		t.Errorf("delete prints its help: %s", r.err)
	}
}

// All tags of a manifest go with it, which is what scripts rely on and users
// do not expect: they are told, without more requests than skopeo has. Who
// names a digest knows.
func TestDelete(t *testing.T) {
	alone(t)
	s := registrytest.Start(t, registrytest.Options{TagDelete: true})
	c, other := imagetest.Image(), imagetest.Index()
	repo := "docker://" + s.Addr + "/a/b"
	fill := func() {
		for _, tag := range []string{"1", "2"} {
			s.Put("a/b", tag, c.Root.Digest, c.Manifests, c.Blobs)
		}
		s.Put("a/b", "list", other.Root.Digest, other.Manifests, other.Blobs)
		s.Forget()
	}
	for _, tt := range []struct {
		name  string
		warns bool
	}{
		{repo + ":1", true},
		{repo + "@" + c.Root.Digest.String(), false},
	} {
		fill()
		r := run(t, "delete", "--tls-verify=false", tt.name)
		if r.code != 0 || r.out != "" || strings.Contains(r.err, "level=warning msg=\"Deleting the manifest "+c.Root.Digest.String()+": every tag of ") != tt.warns || strings.Count(r.err, "\n") > 1 {
			t.Errorf("delete %s: exit %d, %q, %s; want a warning: %t", tt.name, r.code, r.out, r.err, tt.warns)
		}
		if tags := s.Tags("a/b"); !slices.Equal(tags, []string{"list"}) {
			t.Errorf("delete %s: there are still %q; want list", tt.name, tags)
		}
		if n := len(s.Requests()); n > 3 {
			t.Errorf("delete %s took %d requests", tt.name, n)
		}
	}
}

// Where nothing can be deleted the registry's words follow skopeo's.
func TestDeleteRefused(t *testing.T) {
	alone(t)
	s := registrytest.Start(t, registrytest.Options{})
	c := imagetest.Image()
	s.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	for _, tt := range []struct {
		action registrytest.Action
		want   string
	}{
		{registrytest.Refuse(http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported."), "The operation is unsupported."},
		{registrytest.Refuse(http.StatusForbidden, "DENIED", "requested access to the resource is denied"), "requested access to the resource is denied"},
	} {
		s.Inject(registrytest.On("DELETE", "/v2/a/b/manifests/*", tt.action).Times(1))
		r := run(t, "delete", "--tls-verify=false", "docker://"+s.Addr+"/a/b:1")
		if msg := r.fatal(t); r.code != 1 || !strings.HasPrefix(msg, "deleting "+s.Addr+"/a/b:1: ") || !strings.Contains(msg, tt.want) {
			t.Errorf("exit %d, %q; want 1 and %q", r.code, msg, tt.want)
		}
	}
}

// A name goes and what only it needed; what others need stays, and so does the
// empty layout.
func TestDeleteFromLayout(t *testing.T) {
	repo, policy, dir := place(t)
	layout := "oci:" + filepath.Join(dir, "layout")
	for _, tag := range []string{"1", "list"} {
		if r := run(t, "--policy", policy, "copy", "-q", "--all", repo+":"+tag, layout+":"+tag); r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
	}
	if r := run(t, "delete", layout+":1"); r.code != 0 || r.out != "" || r.err != "" {
		t.Errorf("delete: exit %d, %q, %s", r.code, r.out, r.err)
	}
	check(t, layout+":list", imagetest.Index())
	if r := run(t, "delete", layout+":1"); r.code != 2 {
		t.Errorf("delete again: exit %d, %s; want 2", r.code, r.err)
	}
	if r := run(t, "--policy", policy, "copy", "-q", repo+":1", layout); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	if r := run(t, "delete", layout+":@1"); r.code != 0 { // one without a name
		t.Errorf("delete by position: exit %d, %s", r.code, r.err)
	}
	check(t, layout+":list", imagetest.Index())
	pin := "@" + imagetest.Index().Root.Digest.String()
	if r := run(t, "delete", layout+":list@sha256:"+strings.Repeat("a", 64)); r.code != 1 {
		t.Errorf("delete with another digest: exit %d, %s", r.code, r.err)
	}
	if r := run(t, "delete", layout+":list"+pin); r.code != 0 {
		t.Errorf("delete with the digest: exit %d, %s", r.code, r.err)
	}
	if r := run(t, "--policy", policy, "copy", "-q", "--all", repo+":list", layout+":other"); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	if r := run(t, "delete", layout); r.code != 0 { // the only one
		t.Errorf("delete without a name: exit %d, %s", r.code, r.err)
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "layout", "blobs", "*", "*"))
	if err != nil || len(blobs) > 0 {
		t.Errorf("there is still %q, %v", blobs, err)
	}
	if r := run(t, "delete", layout); r.code != 1 || !strings.Contains(r.err, "more than one image in oci, choose an image") {
		t.Errorf("delete from an empty layout: exit %d, %s", r.code, r.err)
	}
}

// Files that say how registries are reached count for all commands. A registry
// that is blocked gets no request.
func TestGlobalFiles(t *testing.T) {
	repo, _, dir := place(t)
	host := strings.TrimPrefix(repo, "docker://")
	blocked := write(t, dir+"/blocked.conf", "[[registry]]\nlocation = \""+strings.TrimSuffix(host, "/a/b")+"\"\nblocked = true\n")
	bad := write(t, dir+"/bad.yaml", "minVersion: \"2.7\"\n")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--registries-conf", blocked, "list-tags", repo}, " is blocked in "},
		{[]string{"list-tags", repo, "--registries-conf", blocked}, " is blocked in "},
		{[]string{"--registries-conf", blocked, "delete", repo + ":1"}, " is blocked in "},
		{[]string{"--registries-conf", blocked, "inspect", repo + ":1"}, " is blocked in "},
		{[]string{"--registries-conf", dir + "/none", "list-tags", repo}, dir + "/none: no such file or directory"},
		{[]string{"--registries-conf", dir + "/none", "login", "--get-login", "a.example"}, "get credentials: "},
		{[]string{"--tls-details", dir + "/none", "list-tags", "foo"}, dir + "/none: no such file or directory"},
		{[]string{"--tls-details", bad, "delete", repo + ":1"}, `unrecognized TLS minimum version "2.7"`},
		{[]string{"--tls-details", bad, "login"}, `unrecognized TLS minimum version "2.7"`},
	} {
		r := run(t, tt.args...)
		if msg := r.fatal(t); r.code != 1 || !strings.Contains(msg, tt.want) {
			t.Errorf("skopeo %q: exit %d, %q; want 1 and %q", tt.args, r.code, msg, tt.want)
		}
	}
	if r := run(t, "--registries.d", dir, "list-tags", repo); r.code != 0 {
		t.Errorf("--registries.d: exit %d, %s", r.code, r.err)
	}
	if r := run(t, "--help"); strings.Contains(r.out, "registries-conf") || !strings.Contains(r.out, "registries.d") || !strings.Contains(r.out, "tls-details") {
		t.Errorf("--help: %s", r.out)
	}
}

// The old switch for all sides still works, and says what to write in its place.
func TestOldTLSVerify(t *testing.T) {
	repo, _, dir := place(t)
	const everywhere, sides = "'--tls-verify' is deprecated, please set this on the specific subcommand", "'--tls-verify' is deprecated, instead use: --src-tls-verify, --dest-tls-verify"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--tls-verify=false", "list-tags", repo}, everywhere},
		{[]string{"--tls-verify=false", "--insecure-policy", "copy", "-q", repo + ":1", "dir:" + dir + "/a"}, everywhere},
		{[]string{"--insecure-policy", "copy", "-q", "--tls-verify=false", repo + ":1", "dir:" + dir + "/b"}, sides},
		{[]string{"list-tags", "--tls-verify=false", repo}, ""},
	} {
		r := run(t, tt.args...)
		if r.code != 0 || tt.want == "" && r.err != "" || !strings.Contains(r.err, tt.want) {
			t.Errorf("skopeo %q: exit %d, %s; want %q", tt.args, r.code, r.err, tt.want)
		}
	}
}

// An image comes from a mirror, if that has it; what tags there are only the
// registry itself knows.
func TestTagsNotFromMirrors(t *testing.T) {
	home := alone(t)
	mirror, main := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	c := imagetest.Image()
	mirror.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	main.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	main.Put("a/b", "new", c.Root.Digest, c.Manifests, c.Blobs)
	conf := write(t, filepath.Join(home, "mirrors.conf"), "[[registry]]\nlocation = \""+main.Addr+"\"\ninsecure = true\n[[registry.mirror]]\nlocation = \""+mirror.Addr+"\"\ninsecure = true\n")
	want := "{\n    \"Repository\": \"" + main.Addr + "/a/b\",\n    \"Tags\": [\n        \"1\",\n        \"new\"\n    ]\n}\n"
	if r := run(t, "--registries-conf", conf, "list-tags", "docker://"+main.Addr+"/a/b"); r.code != 0 || r.out != want {
		t.Errorf("list-tags: exit %d, %q, %s; want %q", r.code, r.out, r.err, want)
	}
	if n := len(mirror.Requests()); n > 0 {
		t.Errorf("list-tags asked the mirror %d times", n)
	}
	main.Forget()
	r := run(t, "--registries-conf", conf, "inspect", "-f", "{{.Digest}} {{.RepoTags}}", "docker://"+main.Addr+"/a/b:1")
	if r.code != 0 || r.out != c.Root.Digest.String()+" [1 new]\n" {
		t.Errorf("inspect: exit %d, %q, %s", r.code, r.out, r.err)
	}
	if got := main.Count("GET", "/v2/a/b/manifests/*") + main.Count("GET", "/v2/a/b/blobs/*"); got > 0 {
		t.Errorf("inspect asked the registry for what the mirror has %d times", got)
	}
}
