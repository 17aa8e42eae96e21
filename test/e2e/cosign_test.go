package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// A signer signs with cosign, and without any service: the key is its own.
type signer struct{ home }

func newSigner(t *testing.T) signer {
	t.Helper()
	s := signer{newHome(t)}
	s.run(t, "cosign", "generate-key-pair", "--output-key-prefix", s.path("key"))
	return s
}

func (s signer) run(t *testing.T, args ...string) string {
	t.Helper()
	c := s.command("COSIGN_PASSWORD=", "TUF_ROOT="+s.path("tuf"))
	return c.Must(t, args[0], args[1:]...)
}

// An attachment is a way to attach something to an image, and to see that it is
// there.
type attachment struct {
	name    string
	attach  func(t *testing.T, s signer, r *harness.Registry, image string) // NAME@DIGEST
	check   func(t *testing.T, s signer, r *harness.Registry, image string)
	digests bool // it is kept under a tag made of the digest, and is no referrer
}

func offline(args ...string) []string {
	return append(args, "--yes", "--tlog-upload=false", "--use-signing-config=false")
}

func sign(flags ...string) func(*testing.T, signer, *harness.Registry, string) {
	return func(t *testing.T, s signer, _ *harness.Registry, image string) {
		t.Helper()
		args := append(offline("cosign", "sign", "--key", s.path("key.key")), flags...)
		s.run(t, append(args, image)...)
	}
}

func verified(t *testing.T, s signer, _ *harness.Registry, image string) {
	t.Helper()
	s.run(t, "cosign", "verify", "--key", s.path("key.pub"), "--insecure-ignore-tlog", image)
}

const sbom = `{"spdxVersion":"SPDX-2.3","name":"sample"}` + "\n"

// sbomType is the kind of thing that an SBOM is attached as.
const sbomType = "application/spdx+json"

func attachSBOM(t *testing.T, s signer, r *harness.Registry, image string) {
	t.Helper()
	c := s.command()
	c.Stdin = strings.NewReader(sbom)
	args := regctl(r, "artifact", "put", "--artifact-type", sbomType, "--file-media-type", sbomType, "--subject", image)
	c.Must(t, args[0], args[1:]...)
}

func hasSBOM(t *testing.T, _ signer, r *harness.Registry, image string) {
	t.Helper()
	args := regctl(r, "artifact", "get", "--subject", image, "--filter-artifact-type", sbomType)
	if got := harness.Must(t, args[0], args[1:]...); got != sbom {
		t.Errorf("the SBOM of %s is %q; want %q", image, got, sbom)
	}
}

func attest(t *testing.T, s signer, _ *harness.Registry, image string) {
	t.Helper()
	predicate := s.write(t, "predicate.json", `{"built":"here"}`)
	args := []string{"cosign", "attest", "--yes", "--use-signing-config=false", "--tlog-upload=false", "--key", s.path("key.key"), "--predicate", predicate, "--type", "custom", image}
	s.run(t, args...)
}

func attested(t *testing.T, s signer, _ *harness.Registry, image string) {
	t.Helper()
	s.run(t, "cosign", "verify-attestation", "--key", s.path("key.pub"), "--insecure-ignore-tlog", "--type", "custom", image)
}

var attachments = []attachment{
	{"bundle", sign(), verified, false},
	{"legacy", sign("--new-bundle-format=false"), verified, true},
	{"sbom", attachSBOM, hasSBOM, false},
	{"attestation", attest, attested, false},
}

// signed is a registry with images, each KIND/SHAPE:1 with an attachment of that
// kind: to see that it is there nothing else may be.
func signed(t *testing.T, version string, s signer) (world, []string) {
	t.Helper()
	w := world{harness.Image(t, sample.Tiny(), sample.Platforms()), harness.StartRegistry(t, harness.RegistryOptions{Version: version})}
	var repos []string
	for i, a := range attachments {
		for tag, root := range w.Roots {
			if tag != "tiny" && i > 0 {
				continue
			}
			repo := a.name + "/" + tag
			w.Seed(t, w.Layout, tag, repo+":1")
			image := fmt.Sprintf("%s/%s@%s", w.Addr, repo, root.Digest)
			a.attach(t, s, w.Registry, image)
			a.check(t, s, w.Registry, image)
			repos = append(repos, repo)
		}
	}
	return w, repos
}

// checkSigned has the tools that attached something look for it.
func checkSigned(t *testing.T, w world, s signer, r *harness.Registry, repo, as string) {
	t.Helper()
	kind, tag, _ := strings.Cut(repo, "/")
	holds(t, r, as+":1", w.Roots[tag].Digest.String())
	i := slices.IndexFunc(attachments, func(a attachment) bool { return a.name == kind })
	attachments[i].check(t, s, r, fmt.Sprintf("%s/%s@%s", r.Addr, as, w.Roots[tag].Digest))
	attachments[i].check(t, s, r, fmt.Sprintf("%s/%s:1", r.Addr, as))
	if !attachments[i].digests {
		if list := referrers(t, r, as, w.Roots[tag].Digest); len(list) != 1 {
			t.Errorf("%s/%s: regctl lists the referrers %v; want one", r.Addr, as, list)
		}
	}
}

// referrers returns what a peer lists as referrers.
func referrers(t *testing.T, r *harness.Registry, repo string, d digest.Digest) (list []v1.Descriptor) {
	t.Helper()
	args := regctl(r, "artifact", "list", "--format={{json .Descriptors}}", fmt.Sprintf("%s/%s@%s", r.Addr, repo, d))
	if err := json.Unmarshal([]byte(harness.Must(t, args[0], args[1:]...)), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// Who verifies at the destination must find there what was attached at the
// source, however the one and the other keep it, and whatever lies between.
func TestWithAll(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for _, version := range []string{"v3", "2.8", "olareg"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w, repos := signed(t, version, s)
			for _, to := range []string{"v3", "2.8", "olareg"} {
				t.Run(to, func(t *testing.T) {
					t.Parallel()
					r := harness.StartRegistry(t, harness.RegistryOptions{Version: to})
					dir := harness.Dir(t)
					for i, repo := range repos {
						from := w.Registry.Ref(repo + ":1")
						copyImage(t, from, r.Ref("direct/"+repo+":1"), "--with=all")
						checkSigned(t, w, s, r, repo, "direct/"+repo)
						if to != version {
							continue // what is between does not know of the other end
						}
						layout := fmt.Sprintf("oci:%s/layout%d:x", dir, i)
						copyImage(t, from, layout, "--with=all")
						copyImage(t, layout, r.Ref("layout/"+repo+":1"), "--with=all")
						checkSigned(t, w, s, r, repo, "layout/"+repo)

						mustPipe(t, stage{"img-copy", "--with=all", from, "-"}, stage{"img-copy", "--with=all", "-", r.Ref("stream/" + repo + ":1")})
						checkSigned(t, w, s, r, repo, "stream/"+repo)
					}
				})
			}
		})
	}
}

// What is attached in several ways is all taken along, once; without --with
// nothing is, and each kind can be taken alone.
func TestWithKinds(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	w := newWorld(t, sample.Tiny())
	root := w.Roots["tiny"].Digest
	image := fmt.Sprintf("%s/tiny@%s", w.Addr, root)
	for _, a := range attachments {
		a.attach(t, s, w.Registry, image)
	}
	fallback := "sha256-" + root.Encoded()
	for flag, want := range map[string][]string{
		"":                             {"1"},
		"--with=referrers":             {"1", fallback},
		"--with=digest-tags":           {"1", fallback + ".sig"},
		"--with=referrers,digest-tags": {"1", fallback, fallback + ".sig"},
		"--with=all":                   {"1", fallback, fallback + ".sig"},
	} {
		to := harness.StartRegistry(t, harness.RegistryOptions{})
		var flags []string
		if flag != "" {
			flags = []string{flag}
		}
		for range 2 { // once more changes nothing
			copyImage(t, w.at("tiny"), to.Ref("to:1"), flags...)
			got := strings.Fields(harness.Must(t, "crane", "ls", to.Addr+"/to"))
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("with %q the destination has %q; want %q", flag, got, want)
			}
			n := 0
			if slices.Contains(want, fallback) {
				n = 3
			}
			if list := referrers(t, to, "to", root); len(list) != n {
				t.Errorf("with %q the destination has the referrers %v; want %d", flag, list, n)
			}
		}
	}
	for _, bad := range []string{"--with=", "--with=some", "--with=all,some"} {
		fails(t, wrongUse, "img-copy", bad, w.at("tiny"), "oci:"+harness.Dir(t)+"/l:x")
	}
}

// What a destination had attached already stays, and what is attached to an
// image of one platform comes with the index.
func TestWithAddsToWhatIsThere(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for _, version := range []string{"v3", "olareg"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sample.Platforms())
			to := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
			root := w.Roots["platforms"]
			to.Seed(t, w.Layout, "platforms", "to:1")
			attachSBOM(t, s, to, fmt.Sprintf("%s/to@%s", to.Addr, root.Digest))
			sign()(t, s, w.Registry, fmt.Sprintf("%s/platforms@%s", w.Addr, root.Digest))
			child := childOf(t, w.Layout, root)
			sign()(t, s, w.Registry, fmt.Sprintf("%s/platforms@%s", w.Addr, child))

			copyImage(t, w.at("platforms"), to.Ref("to:1"), "--with=all")
			verified(t, s, to, fmt.Sprintf("%s/to@%s", to.Addr, root.Digest))
			verified(t, s, to, fmt.Sprintf("%s/to@%s", to.Addr, child))
			hasSBOM(t, s, to, fmt.Sprintf("%s/to@%s", to.Addr, root.Digest))
			if list := referrers(t, to, "to", root.Digest); len(list) != 2 {
				t.Errorf("referrers %v; want the SBOM that was there and the signature", list)
			}
		})
	}
}

// childOf returns the digest of the first manifest in an index.
func childOf(t *testing.T, l harness.Layout, root v1.Descriptor) digest.Digest {
	t.Helper()
	var index v1.Index
	if err := json.Unmarshal(slurp(t, l.Blob(root.Digest)), &index); err != nil || len(index.Manifests) == 0 {
		t.Fatalf("no index (%v)", err)
	}
	return index.Manifests[0].Digest
}

// What is attached can be looked at: as a tree for people, as JSON for others.
func TestInspectReferrers(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for _, version := range []string{"v3", "olareg"} {
		w := world{harness.Image(t, sample.Tiny()), harness.StartRegistry(t, harness.RegistryOptions{Version: version})}
		w.Seed(t, w.Layout, "tiny", "tiny:1")
		image := fmt.Sprintf("%s/tiny@%s", w.Addr, w.Roots["tiny"].Digest)
		for _, a := range attachments {
			a.attach(t, s, w.Registry, image)
		}
		dir := harness.Dir(t)
		copyImage(t, w.at("tiny"), "oci:"+dir+"/l:x", "--with=all")
		if err := os.WriteFile(dir+"/stream", []byte(harness.Must(t, "img-copy", "--with=all", w.at("tiny"), "-")), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, ref := range []string{w.at("tiny"), "oci:" + dir + "/l:x", "oci-archive:" + dir + "/stream"} {
			text := harness.Must(t, "img-inspect", "--referrers", ref)
			for _, d := range referrers(t, w.Registry, "tiny", w.Roots["tiny"].Digest) {
				if !strings.Contains(text, d.Digest.String()) && !strings.Contains(text, d.Digest.Encoded()[:12]) {
					t.Errorf("img-inspect --referrers %s does not show %s:\n%s", ref, d.Digest, text)
				}
			}
			if !strings.Contains(text, sbomType) || !strings.Contains(text, ".sig") {
				t.Errorf("img-inspect --referrers %s shows no SBOM or no .sig:\n%s", ref, text)
			}
		}
	}
}

// What a destination loses without a word is found out, and named: a copy that
// cannot be verified is no copy with everything.
func TestWithIsChecked(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	w := newWorld(t, sample.Tiny())
	root := w.Roots["tiny"].Digest
	for _, a := range attachments {
		a.attach(t, s, w.Registry, fmt.Sprintf("%s/tiny@%s", w.Addr, root))
	}
	fallback := "sha256-" + root.Encoded()
	for name, lost := range map[string]string{"referrers": "/manifests/" + fallback, "tag": "/manifests/" + fallback + ".sig"} {
		r := harness.StartRegistry(t, harness.RegistryOptions{})
		way := r.Through(t, func(rw http.ResponseWriter, q *http.Request, pass http.Handler) {
			if q.Method != http.MethodPut || !strings.HasSuffix(q.URL.Path, lost) {
				pass.ServeHTTP(rw, q)
				return
			}
			io.Copy(io.Discard, q.Body)
			rw.WriteHeader(http.StatusCreated)
		})
		got := harness.Run(t, nil, "img-copy", "-q", "--with=all", w.at("tiny"), way.Ref("to:1"))
		if got.Code == 0 {
			t.Errorf("the %s got lost: done", name)
		}
		what := map[string]string{"referrers": root.String(), "tag": fallback + ".sig"}[name]
		if !strings.Contains(got.Stderr, what) {
			t.Errorf("the %s got lost: %q; want %s in it", name, got.Stderr, what)
		}
	}
}

// A stream with all that is attached is still the image for who knows of no
// attachments.
func TestWithStreamForOthers(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	w := newWorld(t, sample.Tiny())
	root := w.Roots["tiny"].Digest
	for _, a := range attachments {
		a.attach(t, s, w.Registry, fmt.Sprintf("%s/tiny@%s", w.Addr, root))
	}
	id := configOf(t, w.Layout, "tiny")
	source, name := []string{"--with=all", w.at("tiny")}, w.Addr+"/tiny:1"
	t.Run("docker", func(t *testing.T) {
		t.Parallel()
		e := harness.Dockerd(t)
		feed(t, e, source, "load")
		if got := e.Must(t, nil, "image", "inspect", "--format={{.Id}}", name); got != id.String()+"\n" {
			t.Errorf("docker loaded %s; want %s", got, id)
		}
	})
	t.Run("podman", func(t *testing.T) {
		t.Parallel()
		e := harness.Podman(t)
		feed(t, e, source, "load")
		if got := e.Must(t, nil, "image", "inspect", "--format={{.Id}}", name); got != id.Encoded()+"\n" {
			t.Errorf("podman loaded %s; want %s", got, id)
		}
	})
	t.Run("containerd", func(t *testing.T) {
		t.Parallel()
		e := harness.Containerd(t)
		feed(t, e, source, "images", "import", "--no-unpack", "-") // ctr would unpack signatures too
		if line := lineWith(e.Must(t, nil, "images", "list"), name+" "); !strings.Contains(line, root.String()) {
			t.Errorf("containerd imported %q; want %s", line, root)
		}
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		dir := harness.Dir(t)
		copyImage(t, w.at("tiny"), "oci:"+dir+"/l:x", "--with=all")
		copyImage(t, w.at("tiny"), "oci-archive:"+dir+"/a.tar:x", "--with=all")
		for i, from := range []string{"oci:" + dir + "/l:x", "oci-archive:" + dir + "/a.tar:x"} {
			harness.Must(t, "skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", from, w.Registry.Ref(fmt.Sprintf("skopeo:%d", i)))
			holds(t, w.Registry, fmt.Sprintf("skopeo:%d", i), root.String())
		}
		args := regctl(w.Registry, "image", "copy", "--referrers", "--digest-tags", "ocidir://"+dir+"/l:x", w.Addr+"/regctl:1")
		harness.Must(t, args[0], args[1:]...)
		for _, a := range attachments { // a peer takes along what we laid there
			a.check(t, s, w.Registry, fmt.Sprintf("%s/regctl@%s", w.Addr, root))
		}
		// And we take along what a peer laid there.
		args = regctl(w.Registry, "image", "copy", "--referrers", "--digest-tags", name, "ocidir://"+dir+"/theirs:x")
		harness.Must(t, args[0], args[1:]...)
		copyImage(t, "oci:"+dir+"/theirs:x", w.Registry.Ref("theirs:1"), "--with=all")
		for _, a := range attachments {
			a.check(t, s, w.Registry, fmt.Sprintf("%s/theirs@%s", w.Addr, root))
		}
	})
}
