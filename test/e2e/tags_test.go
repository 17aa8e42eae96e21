package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
)

// tags returns what a registry has in a repository, sorted.
func tagsOf(t *testing.T, r *harness.Registry, repo string) []string {
	t.Helper()
	args := regctl(r, "tag", "ls", r.Addr+"/"+repo)
	list := strings.Fields(harness.Must(t, args[0], args[1:]...))
	slices.Sort(list)
	return list
}

// Tags are listed one on a line, as scripts read them, of all places that have
// some; as JSON they are skopeo's.
func TestListTags(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v3", "2.8", "olareg"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			l := harness.Image(t, sample.Tiny())
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
			want := strings.Fields("1.10.0 1.2.0 1.9.0 2.0.0-rc.1 latest v1.0.0")
			for _, tag := range want {
				r.Seed(t, l, "tiny", "a/b:"+tag)
			}
			list := func(args ...string) string { return harness.Must(t, "img-list-tags", append(args, r.Ref("a/b"))...) }
			got := strings.Fields(list())
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("lists %q; want %q", got, want)
			}
			for _, x := range []struct{ args, want string }{
				{"--sort=name", "1.10.0 1.2.0 1.9.0 2.0.0-rc.1 latest v1.0.0"},
				{"--match=^1\\. --sort=name", "1.10.0 1.2.0 1.9.0"},
				{"--match=^1\\. --sort=version", "1.2.0 1.9.0 1.10.0"},
				{"--semver=>=1.2.0,<2 --sort=version", "1.2.0 1.9.0 1.10.0"},
				{"--sort=name --limit=2", "1.10.0 1.2.0"},
			} {
				if got := strings.Fields(list(strings.Fields(x.args)...)); strings.Join(got, " ") != x.want {
					t.Errorf("%s: %q; want %q", x.args, got, x.want)
				}
			}
			if got := list("--digests", "--match=latest"); !strings.Contains(got, l.Roots["tiny"].Digest.String()) || !strings.Contains(got, "latest") {
				t.Errorf("--digests: %q; want the digest", got)
			}
			theirs := harness.Must(t, "skopeo", "list-tags", "--tls-verify=false", r.Ref("a/b"))
			if got := list("--json"); got != theirs {
				t.Errorf("JSON:\n%s\nwant skopeo's:\n%s", got, theirs)
			}
			if version != "olareg" { // for which every repository is there, and empty
				fails(t, notFound, "img-list-tags", r.Ref("no/such"))
			}
		})
	}
}

// A catalogue is for those who have to look after a registry.
func TestCatalog(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v3", "2.8"} {
		l := harness.Image(t, sample.Tiny())
		r := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
		var want []string
		for i := range 5 {
			want = append(want, fmt.Sprintf("a/b%d", i))
			r.Seed(t, l, "tiny", want[i]+":1")
		}
		got := strings.Fields(harness.Must(t, "img-list-tags", "--catalog", r.Addr))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the catalogue is %q; want %q", version, got, want)
		}
	}
}

// Layouts and archives have names as well.
func TestListTagsOfFiles(t *testing.T) {
	t.Parallel()
	l, dir := harness.Image(t, sample.Tiny(), sample.Docker()), harness.Dir(t)
	if got := harness.Must(t, "img-list-tags", "--sort=name", "oci:"+l.Dir); got != "docker\ntiny\n" {
		t.Errorf("oci: %q", got)
	}
	archives := map[string]string{"oci-archive": "a b", "docker-archive": "docker.io/x/y:a docker.io/x/y:b"}
	for transport, want := range archives {
		file := filepath.Join(dir, transport)
		for name := range strings.FieldsSeq(want) {
			copyImage(t, l.Ref("tiny"), transport+":"+file+":"+name)
		}
		if got := harness.Must(t, "img-list-tags", "--sort=name", transport+":"+file); strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("%s: %q; want %q", transport, got, want)
		}
	}
	theirs := harness.Must(t, "skopeo", "list-tags", "docker-archive:"+dir+"/docker-archive")
	if got := harness.Must(t, "img-list-tags", "--json", "docker-archive:"+dir+"/docker-archive"); got != theirs {
		t.Errorf("JSON:\n%s\nwant skopeo's:\n%s", got, theirs)
	}
}

// Whoever takes a tag away means that tag. Where a registry can only take away
// what it stands for, with all its other tags, nothing happens before the user
// has seen them and has said so.
func TestDeleteTag(t *testing.T) {
	t.Parallel()
	for version, can := range map[string]bool{"v3": true, "olareg": true, "2.8": false} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			l := harness.Image(t, sample.Tiny(), sample.Platforms())
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, Delete: true})
			for _, name := range []string{"1", "1.0", "stable"} {
				r.Seed(t, l, "tiny", "a/b:"+name)
			}
			r.Seed(t, l, "platforms", "a/b:other")
			way := r.Through(t, nil)

			harness.Must(t, "img-delete", "--dry-run", way.Ref("a/b:1"))
			if got := way.Requests("DELETE "); len(got) != 0 {
				t.Fatalf("--dry-run: %q", got)
			}
			fails(t, notFound, "img-delete", way.Ref("a/b:none"))
			harness.Must(t, "img-delete", "--ignore-missing", way.Ref("a/b:none"))
			got := harness.Run(t, nil, "img-delete", way.Ref("a/b:1"))
			left := []string{"1", "1.0", "other", "stable"}
			if can {
				left = left[1:]
				if got.Code != 0 {
					t.Errorf("exit %d\n%s", got.Code, got.Stderr)
				}
			} else {
				failed(t, got, got.Code, "img-delete")
				for _, word := range []string{"--manifest", "1.0", "stable"} {
					if got.Code == 0 || !strings.Contains(got.Stderr, word) {
						t.Errorf("%+v; want it refused, with %q in what it says", got, word)
					}
				}
			}
			if tags := tagsOf(t, r, "a/b"); !slices.Equal(tags, left) {
				t.Errorf("left are %q; want %q", tags, left)
			}
			holds(t, r, "a/b:stable", l.Roots["tiny"].Digest.String())
			holds(t, r, "a/b:other", l.Roots["platforms"].Digest.String())

			harness.Must(t, "img-delete", "--manifest", way.Ref("a/b:stable"))
			if d, _ := r.Manifest(t, "a/b", l.Roots["tiny"].Digest.String()); d != "" {
				t.Errorf("the manifest is still there")
			}
			holds(t, r, "a/b:1.0", "")
			holds(t, r, "a/b:other", l.Roots["platforms"].Digest.String())
		})
	}
}

// Many are deleted with one command, their names on standard input; one that
// cannot be is told, and the others go.
func TestDeleteNamesFromInput(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	r := harness.StartRegistry(t, harness.RegistryOptions{Delete: true})
	for i := range 10 {
		r.Seed(t, l, "tiny", fmt.Sprintf("a/b:%d", i))
	}
	var names strings.Builder
	for i := range 5 {
		fmt.Fprintln(&names, r.Ref(fmt.Sprintf("a/b:%d", i)))
	}
	if got := harness.Run(t, strings.NewReader(names.String()), "img-delete", "-"); got.Code != 0 {
		t.Errorf("%+v; want all deleted", got)
	}
	if got := harness.Run(t, strings.NewReader(r.Ref("a/b:none")+"\n"+r.Ref("a/b:5")+"\n"), "img-delete", "-"); got.Code == 0 {
		t.Errorf("%+v; want it said that one was not there", got)
	}
	if got, want := tagsOf(t, r, "a/b"), []string{"6", "7", "8", "9"}; !slices.Equal(got, want) {
		t.Errorf("left are %q; want %q", got, want)
	}
}

// Who may not delete is told so, and a registry that does not allow it at all is
// no mystery.
func TestDeleteForbidden(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v3", "2.8"} {
		l := harness.Image(t, sample.Tiny())
		r := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
		r.Seed(t, l, "tiny", "a/b:1")
		for _, flags := range [][]string{nil, {"--manifest"}} {
			got := harness.Run(t, nil, "img-delete", append(flags, r.Ref("a/b:1"))...)
			if failed(t, got, got.Code, "img-delete"); got.Code == 0 {
				t.Errorf("%s %q: done", version, flags)
			}
		}
		holds(t, r, "a/b:1", l.Roots["tiny"].Digest.String())
	}
	s, w := tokened(t, "v3", harness.TokenOptions{Anonymous: true}, sample.Tiny())
	fails(t, unauthorised, "img-delete", w.at("tiny"))
	n := len(s.Asked())
	harness.Must(t, "img-list-tags", "--creds="+w.User+":"+w.Password, w.Registry.Ref("tiny"))
	if got := heard(s, n); !slices.Equal(got, []string{"repository:tiny:pull"}) {
		t.Errorf("to list tags it asked for %q; want to pull", got)
	}
	n = len(s.Asked())
	harness.Must(t, "img-delete", "--creds="+w.User+":"+w.Password, w.at("tiny"))
	if got := heard(s, n); slices.Contains(got, "repository:tiny:push") || slices.Contains(got, "repository:tiny:*") || !slices.Contains(got, "repository:tiny:delete") {
		t.Errorf("to delete it asked for %q; want to delete", got)
	}
}

// What is attached to an image goes with it when that is asked for, and nobody
// else's.
func TestDeleteWithReferrers(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for _, version := range []string{"v3", "olareg"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			l := harness.Image(t, sample.Tiny(), sample.Docker())
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, Delete: true})
			for _, tag := range []string{"tiny", "docker"} {
				r.Seed(t, l, tag, "a/b:"+tag)
				for _, a := range attachments {
					a.attach(t, s, r, fmt.Sprintf("%s/a/b@%s", r.Addr, l.Roots[tag].Digest))
				}
			}
			harness.Must(t, "img-delete", "--manifest", "--referrers", r.Ref("a/b:tiny"))
			left := tagsOf(t, r, "a/b")
			if gone := l.Roots["tiny"].Digest.Encoded(); strings.Contains(strings.Join(left, " "), gone) || slices.Contains(left, "tiny") {
				t.Errorf("left are %q; want nothing of %s", left, gone)
			}
			for _, a := range attachments {
				a.check(t, s, r, fmt.Sprintf("%s/a/b@%s", r.Addr, l.Roots["docker"].Digest))
			}
		})
	}
}

// A nightly build for years makes thousands of tags. One command lists them,
// and one keeps the newest and deletes the rest: exactly those, with a request
// each, and few more.
func TestRetention(t *testing.T) {
	t.Parallel()
	const images, nightly, total, keep = 14, 700, 5000, 400
	var shapes []sample.Shape
	now := time.Now()
	for i := range images {
		shapes = append(shapes, sample.Dated(fmt.Sprintf("day%d", i), now.AddDate(0, 0, -i)))
	}
	l := harness.Image(t, shapes...)
	r := harness.StartRegistry(t, harness.RegistryOptions{Delete: true})
	for tag := range l.Roots {
		r.Seed(t, l, tag, "a/b:"+tag)
	}
	tags := map[string]digest.Digest{}
	want := slices.Collect(maps.Keys(l.Roots)) // of what stays
	for i := range nightly {
		tag := fmt.Sprintf("nightly-%d", i)
		day := i / (nightly / images) // the older the higher
		tags[tag] = l.Roots[fmt.Sprintf("day%d", day)].Digest
		if i < keep {
			want = append(want, tag)
		}
	}
	for i := nightly; i < total-images; i++ {
		tag := fmt.Sprintf("release-%d", i)
		tags[tag] = l.Roots[fmt.Sprintf("day%d", i%images)].Digest
		want = append(want, tag)
	}
	r.Tag(t, "a/b", tags)
	slices.Sort(want)

	way := r.Through(t, nil)
	if got := strings.Fields(harness.Must(t, "img-list-tags", way.Ref("a/b"))); len(got) != total {
		t.Errorf("%d tags are listed; want %d", len(got), total)
	}
	if got := way.Requests("/tags/list"); len(got) > 60 {
		t.Errorf("the list took %d requests; want 60 at most", len(got))
	}
	n := len(way.Requests(""))
	harness.Must(t, "img-delete", "--match=^nightly-", fmt.Sprintf("--keep=%d", keep), way.Ref("a/b"))
	if got := tagsOf(t, r, "a/b"); !slices.Equal(got, want) {
		t.Errorf("%d tags are left; want the %d right ones", len(got), len(want))
	}
	if got := way.Requests("DELETE "); len(got) != nightly-keep {
		t.Errorf("%d requests to delete; want %d", len(got), nightly-keep)
	}
	if got, most := len(way.Requests(""))-n, nightly+(nightly-keep)+2*images+60+10; got > most {
		t.Errorf("%d requests; want %d at most", got, most)
	}
	for tag, root := range l.Roots {
		holds(t, r, "a/b:"+tag, root.Digest.String())
	}
	harness.Must(t, "img-delete", "--match=^nightly-", fmt.Sprintf("--keep=%d", keep), way.Ref("a/b"))
	if got := way.Requests("DELETE "); len(got) != nightly-keep {
		t.Errorf("a second time: %d requests to delete; want none", len(got)-(nightly-keep))
	}
	harness.Must(t, "img-delete", "--match=^nightly-", "--older-than=84h", way.Ref("a/b")) // of 0 to 3 days 200 stay
	if got := len(way.Requests("DELETE ")) - (nightly - keep); got != keep-200 {
		t.Errorf("%d tags older than 84 hours were deleted; want %d", got, keep-200)
	}
}

// A layout gives back the room of what is deleted, keeps what others need, and
// can be written to at the same time.
func TestDeleteFromLayout(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny(), sample.Platforms(), sample.Many(20), sample.Docker())
	dir := harness.Dir(t)
	layout := "oci:" + dir + "/l"
	for tag := range l.Roots {
		copyImage(t, l.Ref(tag), layout+":"+tag)
	}
	copyImage(t, l.Ref("tiny"), layout+":same")
	harness.Must(t, "img-delete", layout+":tiny")
	mustWhole(t, layout+":same", l.Roots["tiny"].Digest)
	before := len(tree(t, dir))
	harness.Must(t, "img-delete", layout+":many")
	if left := len(tree(t, dir)); before-left != 22 {
		t.Errorf("%d files were removed; want the manifest, the configuration and the layers of many", before-left)
	}
	fails(t, notFound, "img-delete", layout+":many")
	var rs []*running
	for i := range 10 {
		rs = append(rs, program{}.start(t, "img-copy", "-q", l.Ref("many"), fmt.Sprintf("%s:many-%d", layout, i)))
		if i < 5 {
			rs = append(rs, program{}.start(t, "img-delete", "--ignore-missing", fmt.Sprintf("%s:%s", layout, []string{"same", "docker", "none"}[i%3])))
		}
	}
	for i, r := range rs {
		if got := r.wait(t); got.Code != 0 {
			t.Errorf("program %d: exit %d\n%s", i, got.Code, got.Stderr)
		}
	}
	for i := range 10 {
		mustWhole(t, fmt.Sprintf("%s:many-%d", layout, i), l.Roots["many"].Digest)
	}
	mustWhole(t, layout+":platforms", l.Roots["platforms"].Digest)
	onlyContent(t, filepath.Join(dir, "l"))
	var index struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal(slurp(t, filepath.Join(dir, "l", "index.json")), &index); err != nil || len(index.Manifests) != 11 {
		t.Errorf("index.json has %d entries (%v); want 11", len(index.Manifests), err)
	}
}

// A rule that takes manifests away leaves those alone that something needs which
// stays: another tag, an index, or what is attached to them.
func TestRetentionKeepsWhatIsNeeded(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	l := harness.Image(t, sample.Platforms(), sample.Tiny(), sample.Docker(), sample.Zstd())
	r := harness.StartRegistry(t, harness.RegistryOptions{Delete: true})
	r.Seed(t, l, "platforms", "a/b:keep")
	r.Seed(t, l, "tiny", "a/b:stay")
	r.Seed(t, l, "docker", "a/b:old-alone")
	r.Seed(t, l, "zstd", "a/b:old-signed")
	child := childOf(t, l, l.Roots["platforms"])
	r.Tag(t, "a/b", map[string]digest.Digest{"old-child": child, "old-same": l.Roots["tiny"].Digest})
	sign()(t, s, r, fmt.Sprintf("%s/a/b@%s", r.Addr, l.Roots["zstd"].Digest))
	attachSBOM(t, s, r, fmt.Sprintf("%s/a/b@%s", r.Addr, child))

	rule := []string{"--manifest", "--keep=0", "--match=^old-", r.Ref("a/b")}
	harness.Must(t, "img-delete", rule...)
	fallback := "sha256-" + l.Roots["zstd"].Digest.Encoded()
	want := []string{"keep", "sha256-" + child.Encoded(), fallback, "stay"}
	slices.Sort(want)
	if got := tagsOf(t, r, "a/b"); !slices.Equal(got, want) {
		t.Errorf("left are %q; want %q", got, want)
	}
	for tag, stays := range map[string]bool{"platforms": true, "tiny": true, "docker": false, "zstd": true} {
		if got, _ := r.Manifest(t, "a/b", l.Roots[tag].Digest.String()); (got != "") != stays {
			t.Errorf("%s is there: %v; want %v", tag, got != "", stays)
		}
	}
	to := "oci:" + harness.Dir(t) + "/l:x"
	copyImage(t, r.Ref("a/b:keep"), to, "--with=all")
	mustWhole(t, to, l.Roots["platforms"].Digest)
	hasSBOM(t, s, r, fmt.Sprintf("%s/a/b@%s", r.Addr, child))
	verified(t, s, r, fmt.Sprintf("%s/a/b@%s", r.Addr, l.Roots["zstd"].Digest))
}
