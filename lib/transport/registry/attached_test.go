package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
	"github.com/imgtools/imgtools/test/harness"
)

// placeAt is a name in a registry, for the suite.
func placeAt(addr string, o Options) func(t *testing.T) imagetest.Place {
	n := 0
	return func(t *testing.T) imagetest.Place {
		n++
		name := fmt.Sprintf("%s/place/%d:v1", addr, n)
		return imagetest.Place{
			Create: func(t *testing.T) image.Destination { return open(t, name, o).Destination() },
			Open:   func(t *testing.T) (image.Source, error) { return source(t, name, o), nil },
		}
	}
}

// kinds are registries by what they do about referrers.
var kinds = []struct {
	name   string
	o      registrytest.Options
	faults []registrytest.Fault
}{
	{"no referrers API", registrytest.Options{}, nil},
	{"referrers API", registrytest.Options{Referrers: true}, nil},
	{"referrers API in pages", registrytest.Options{Referrers: true, PageSize: 1}, nil},
	{"referrers API, not said in answers", registrytest.Options{Referrers: true}, []registrytest.Fault{
		registrytest.On("PUT", "**", registrytest.Header("OCI-Subject", "")),
	}},
	{"a page for people where the API should be", registrytest.Options{}, []registrytest.Fault{
		registrytest.On("GET", "/v2/**/referrers/*", registrytest.Reply(200, "text/html", "<html>")),
	}},
	{"bearer, no referrers API", registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}}, nil},
}

func TestAttached(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := registrytest.Start(t, k.o)
			s.Inject(k.faults...)
			imagetest.TestAttached(t, placeAt(s.Addr, as(ali)))
		})
	}
}

func TestRealAttached(t *testing.T) {
	for _, version := range []string{"v3", "2.8", "olareg"} {
		t.Run(version, func(t *testing.T) {
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
			imagetest.TestAttached(t, placeAt(r.Addr, quick()))
		})
	}
}

// manifestRequests returns the requests about manifests, with names for
// digests and their tags.
func manifestRequests(s *registrytest.Registry, names map[string]string) []string {
	var list []string
	for _, q := range s.Requests() {
		_, what, ok := strings.Cut(q.Path, "/v2/a/")
		if !ok || strings.HasPrefix(what, "blobs/") {
			continue
		}
		for d, name := range names {
			what = strings.ReplaceAll(what, d, name)
			what = strings.ReplaceAll(what, oci.ReferrersTag(digestOf(d)), name+"-tag")
		}
		list = append(list, q.Method+" "+strings.TrimPrefix(what, "manifests/"))
	}
	return list
}

// signedNames are names for what is in imagetest.Signed, for reading: the
// index is R, its first image A, the SBOM S, and the bundles B and C.
func signedNames(t *testing.T, c *imagetest.Content) map[string]string {
	t.Helper()
	names := map[string]string{c.Root.Digest.String(): "R"}
	for d, raw := range c.Manifests {
		m, err := oci.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		switch m.Annotations["about"] {
		case "an SBOM":
			names[d.String()] = "S"
		case "a bundle":
			names[d.String()] = "B"
		case "a bundle about the SBOM":
			names[d.String()] = "C"
		}
	}
	root, err := oci.Parse(c.Manifests[c.Root.Digest])
	if err != nil {
		t.Fatal(err)
	}
	names[root.Manifests[0].Digest.String()] = "A"
	names[root.Manifests[1].Digest.String()] = "X"
	return names
}

// What attached things cost: a look at each list, what is missing, and one
// update of each list that the registry does not keep itself; nothing of
// itself the second time. Subjects come before what refers to them, and the
// name of the image last.
func TestAttachedRequests(t *testing.T) {
	c := imagetest.Signed()
	names := signedNames(t, c)
	tests := []struct {
		name          string
		o             registrytest.Options
		first, second string // in order, but for what is done at the same time
	}{
		{
			"referrers API", registrytest.Options{Referrers: true},
			"PUT A, PUT X; PUT R; GET referrers/R; HEAD A-tag.sig; PUT B, PUT S, PUT A-tag.sig; GET referrers/S; PUT C; PUT v1",
			"PUT A, PUT X; PUT R; GET referrers/R; HEAD A-tag.sig; GET referrers/S; PUT v1",
		}, {
			"no referrers API", registrytest.Options{},
			"PUT A, PUT X; PUT R; GET referrers/R; GET R-tag; HEAD A-tag.sig; PUT B, PUT S, PUT A-tag.sig; PUT R-tag; GET R-tag; GET S-tag; PUT C; PUT S-tag; GET S-tag; PUT v1",
			"PUT A, PUT X; PUT R; GET referrers/R; GET R-tag; HEAD B, HEAD S, HEAD A-tag.sig; GET S-tag; HEAD C; PUT v1",
		},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, tt.o)
		for _, want := range []string{tt.first, tt.second} {
			s.Forget()
			if err := imagetest.SendAttached(context.Background(), destination(t, s.Addr+"/a:v1", quick()), c); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			got := manifestRequests(s.Registry, names)
			for group := range strings.SplitSeq(want, "; ") {
				all := strings.Split(group, ", ")
				n := min(len(all), len(got))
				now := slices.Sorted(slices.Values(got[:n]))
				if slices.Sort(all); !slices.Equal(now, all) {
					t.Errorf("%s: then %q; want %q", tt.name, now, all)
				}
				got = got[n:]
			}
			if len(got) > 0 {
				t.Errorf("%s: and then %q", tt.name, got)
			}
		}
	}
}

// A copy to a digest: the subject comes first here too, and once.
func TestAttachedByDigest(t *testing.T) {
	c := imagetest.Signed()
	s := registrytest.Start(t, registrytest.Options{})
	dst := destination(t, s.Addr+"/a@"+c.Root.Digest.String(), quick())
	if err := imagetest.SendAttached(context.Background(), dst, c); err != nil {
		t.Fatal(err)
	}
	if n := s.Count("PUT", "/v2/a/manifests/"+c.Root.Digest.String()); n != 1 {
		t.Errorf("the root was put %d times; want 1", n)
	}
	if list, err := dst.Referrers(context.Background(), c.Root.Digest); err != nil || len(list) != 2 {
		t.Errorf("Referrers = %v, %v; want 2", list, err)
	}
}

// What is in a list under a tag stays there, and what the list says of things
// that are gone is not believed.
func TestListIsKept(t *testing.T) {
	c := imagetest.Signed()
	names := signedNames(t, c)
	s := registrytest.Start(t, registrytest.Options{AllowMissing: true})
	ctx := context.Background()
	other := oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString("other"), Size: 7, Annotations: map[string]string{"a": "b"}}
	lost, found := digest.Digest(""), 0
	for d, name := range names {
		if name == "S" {
			lost = digest.Digest(d)
		}
	}
	old, err := oci.ReferrersIndex([]oci.Descriptor{other, c.Manifests[lost].Descriptor()})
	if err != nil {
		t.Fatal(err)
	}
	tag := oci.ReferrersTag(c.Root.Digest)
	s.Put("a", tag, old.Digest(), map[digest.Digest]oci.Raw{old.Digest(): old}, nil)
	dst := destination(t, s.Addr+"/a:v1", quick())
	if err := imagetest.SendAttached(ctx, dst, c); err != nil {
		t.Fatal(err)
	}
	list, err := dst.Referrers(ctx, c.Root.Digest)
	if err != nil || len(list) != 3 || list[0].Digest != other.Digest || list[0].Annotations["a"] != "b" {
		t.Errorf("the list is %v, %v", list, err)
	}
	for _, d := range list[1:] {
		if _, ok := s.Manifest("a", d.Digest.String()); ok {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 referrers are there", found)
	}
}

// Other writers of the same list: where the registry knows conditions nothing
// is lost, and where it does not, what was overwritten is written again.
func TestListIsContested(t *testing.T) {
	c := imagetest.Signed()
	tag := oci.ReferrersTag(c.Root.Digest)
	theirs := oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString("theirs"), Size: 7}
	index := func(list ...oci.Descriptor) oci.Raw {
		raw, err := oci.ReferrersIndex(list)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	overwrite := func(s *registrytest.Server, before bool) registrytest.Action {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				put := func() {
					raw := index(theirs)
					s.Put("a", tag, raw.Digest(), map[digest.Digest]oci.Raw{raw.Digest(): raw}, nil)
				}
				if before {
					put()
				}
				next.ServeHTTP(w, q)
				if !before {
					put()
				}
			})
		}
	}
	noCondition := registrytest.Action(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Header.Del("If-Match")
			next.ServeHTTP(w, q)
		})
	})
	put := func(do ...registrytest.Action) registrytest.Fault {
		return registrytest.On("PUT", "/v2/a/manifests/"+tag, do...)
	}
	tests := []struct {
		name   string
		faults func(s *registrytest.Server) []registrytest.Fault
		is     error
		puts   int
		theirs bool
	}{
		{"alone", func(*registrytest.Server) []registrytest.Fault { return nil }, nil, 1, false},
		{"overwritten once", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{put(overwrite(s, false)).Times(1), put(noCondition)}
		}, nil, 2, true},
		{"overwritten for ever", func(s *registrytest.Server) []registrytest.Fault {
			return []registrytest.Fault{put(noCondition), put(overwrite(s, false))}
		}, image.ErrIncomplete, 3, true},
		{"somebody was faster", func(s *registrytest.Server) []registrytest.Fault {
			// the list is there already, so that there is a condition
			old := index(oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString("old"), Size: 1})
			s.Put("a", tag, old.Digest(), map[digest.Digest]oci.Raw{old.Digest(): old}, nil)
			return []registrytest.Fault{put(overwrite(s, true)).Times(1)}
		}, nil, 2, true},
		{"a registry that refuses its own tag", func(s *registrytest.Server) []registrytest.Fault {
			old := index(theirs)
			s.Put("a", tag, old.Digest(), map[digest.Digest]oci.Raw{old.Digest(): old}, nil)
			return []registrytest.Fault{registrytest.On("GET", "/v2/a/manifests/"+tag, registrytest.Header("Etag", `"made-up"`))}
		}, nil, 2, true},
		{"a weak tag is no condition", func(s *registrytest.Server) []registrytest.Fault {
			old := index(theirs)
			s.Put("a", tag, old.Digest(), map[digest.Digest]oci.Raw{old.Digest(): old}, nil)
			return []registrytest.Fault{registrytest.On("GET", "/v2/a/manifests/"+tag, registrytest.Header("Etag", `W/"x"`))}
		}, nil, 1, true},
		{"something else under the tag", func(s *registrytest.Server) []registrytest.Fault {
			m := makeImage(1, 10)
			m.store(s.Registry, "a", tag)
			return nil
		}, oci.ErrInvalid, 0, false},
		{"the answer is lost", func(s *registrytest.Server) []registrytest.Fault {
			old := index(theirs)
			s.Put("a", tag, old.Digest(), map[digest.Digest]oci.Raw{old.Digest(): old}, nil)
			return []registrytest.Fault{put(registrytest.LoseAnswer()).Times(1)}
		}, nil, 2, true},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{AllowMissing: true})
		s.Inject(tt.faults(s)...)
		dst := destination(t, s.Addr+"/a:v1", quick())
		err := imagetest.SendAttached(context.Background(), dst, c)
		if !isError(err, tt.is) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		if n := s.Count("PUT", "/v2/a/manifests/"+tag); n != tt.puts {
			t.Errorf("%s: the list was put %d times; want %d", tt.name, n, tt.puts)
		}
		if _, ok := s.Manifest("a", "v1"); ok != (tt.is == nil) {
			t.Errorf("%s: the name is there: %v", tt.name, ok)
		}
		if err != nil {
			continue
		}
		list, err := dst.Referrers(context.Background(), c.Root.Digest)
		ours := slices.DeleteFunc(slices.Clone(list), func(d oci.Descriptor) bool { return d.ArtifactType == "" })
		if err != nil || len(ours) != 2 || slices.ContainsFunc(list, func(d oci.Descriptor) bool { return d.Digest == theirs.Digest }) != tt.theirs {
			t.Errorf("%s: the list is %v, %v", tt.name, list, err)
		}
	}
}

// What a registry may say belongs to a subject.
func TestReferrers(t *testing.T) {
	subject := digest.FromString("subject")
	one := describe(oci.MediaTypeManifest, []byte("one"))
	two := describe(oci.MediaTypeManifest, []byte("two"))
	page := func(link string, list ...oci.Descriptor) registrytest.Action {
		b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": list})
		if err != nil {
			t.Fatal(err)
		}
		return registrytest.Reply(200, oci.MediaTypeIndex, string(b), "Link", link)
	}
	api, tag := "/v2/a/referrers/"+subject.String(), "/v2/a/manifests/"+oci.ReferrersTag(subject)
	bad := oci.Descriptor{Digest: "sha256:../../x", Size: 1}
	missing := registrytest.Refuse(404, "", "404 page not found")
	tests := []struct {
		name     string
		api, tag registrytest.Action
		want     []oci.Descriptor
		is       error
		requests string
	}{
		{"none", page(""), nil, nil, nil, "api api"},
		{"null", registrytest.Reply(200, oci.MediaTypeIndex, `{"schemaVersion":2,"manifests":null}`), nil, nil, nil, "api api"},
		{"two", page("", one, two, one), nil, []oci.Descriptor{one, two}, nil, "api api"},
		{"the type has parameters", registrytest.Reply(200, oci.MediaTypeIndex+"; charset=utf-8", `{"manifests":[]}`), nil, nil, nil, "api api"},
		{"no API", missing, page("", one), []oci.Descriptor{one}, nil, "api tag tag"},
		{"no API, no tag", missing, nil, nil, nil, "api tag tag"},
		{"400", registrytest.Refuse(400, "", ""), page("", one), []oci.Descriptor{one}, nil, "api tag tag"},
		{"405", registrytest.Refuse(405, "UNSUPPORTED", ""), page("", one), []oci.Descriptor{one}, nil, "api tag tag"},
		{"a page for people", registrytest.Reply(200, "text/html", "<html>"), page("", one), []oci.Descriptor{one}, nil, "api tag tag"},
		{"JSON of another kind", registrytest.Reply(200, "application/json", `{"manifests":[]}`), page("", one), []oci.Descriptor{one}, nil, "api tag tag"},
		// That one subject, or the repository, is not there says nothing of the API.
		{"no such subject", registrytest.Refuse(404, "MANIFEST_UNKNOWN", ""), nil, nil, nil, "api tag api tag"},
		{"no such repository", registrytest.Refuse(404, "NAME_UNKNOWN", ""), nil, nil, nil, "api tag api tag"},
		{"denied", registrytest.Refuse(403, "DENIED", ""), nil, nil, image.ErrDenied, "api api"},
		{"no digest", page("", bad), nil, nil, oci.ErrInvalid, "api api"},
		{"no size", page("", oci.Descriptor{Digest: one.Digest, Size: -1}), nil, nil, oci.ErrInvalid, "api api"},
		{"another list", page(`</v2/a/tags/list?last=x>; rel="next"`), nil, nil, image.ErrRejected, "api api"},
		{"a circle", page(`<?last=x>; rel="next"`, one), nil, nil, errAny, "api api api api"},
		{"endless", registrytest.Endless(oci.MediaTypeIndex, "{"), nil, nil, image.ErrTooLarge, "api api"},
		{"the tag is an image", missing, registrytest.Reply(200, oci.MediaTypeManifest, `{"schemaVersion":2}`), nil, oci.ErrInvalid, "api tag tag"},
		{"the tag has no digest", missing, page("", bad), nil, oci.ErrInvalid, "api tag tag"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(registrytest.On("GET", api, tt.api))
		if tt.tag != nil {
			s.Inject(registrytest.On("GET", tag, tt.tag))
		}
		r := open(t, s.Addr+"/a:v1", quick())
		for _, from := range []image.Referrer{r.Source(), r.Destination()} {
			got, err := from.Referrers(context.Background(), subject)
			if tt.is == errAny && err != nil {
				continue
			}
			if !isError(err, tt.is) || !slices.EqualFunc(got, tt.want, func(a, b oci.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }) {
				t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, err, tt.want, tt.is)
			}
		}
		var requests []string
		for _, q := range s.Requests() {
			requests = append(requests, map[string]string{api: "api", tag: "tag"}[q.Path])
		}
		if got := strings.Join(requests, " "); got != tt.requests {
			t.Errorf("%s: requests %q; want %q", tt.name, got, tt.requests)
		}
	}
	s := registrytest.Start(t, registrytest.Options{})
	if _, err := source(t, s.Addr+"/a:v1", quick()).Referrers(context.Background(), "sha256:../x"); !errors.Is(err, oci.ErrInvalid) || len(s.Requests()) > 0 {
		t.Errorf("no digest: %v after %d requests", err, len(s.Requests()))
	}
}

// A list that breaks off after its first page is broken. To take that for a
// registry without the API would lose all that it lists, without a word.
func TestReferrersBreakOff(t *testing.T) {
	subject := digest.FromString("subject")
	one, err := oci.ReferrersIndex([]oci.Descriptor{describe(oci.MediaTypeManifest, []byte("one"))})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		next registrytest.Action
		is   error
	}{
		"not there":         {registrytest.Refuse(404, "", "404 page not found"), image.ErrNotFound},
		"not understood":    {registrytest.Refuse(400, "", ""), image.ErrUnsupported},
		"a page for people": {registrytest.Reply(200, "text/html", "<html>"), oci.ErrInvalid},
	} {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(
			registrytest.On("GET", "/v2/a/referrers/*", registrytest.Reply(200, oci.MediaTypeIndex, string(one.Bytes), "Link", `<?last=x>; rel="next"`)).Times(1),
			registrytest.On("GET", "/v2/a/referrers/*", tt.next),
		)
		src := source(t, s.Addr+"/a:v1", quick())
		if list, err := src.Referrers(context.Background(), subject); !errors.Is(err, tt.is) {
			t.Errorf("%s: %v, %v; want %v", name, list, err, tt.is)
		}
		if src.unlisted.Load() {
			t.Errorf("%s: the registry is taken for one without the API", name)
		}
	}
}

// The name of something attached comes from the source, a stream for instance.
// One that is no tag would be the path of something else, in another
// repository, for which the credential may be good too.
func TestAttachedNames(t *testing.T) {
	for _, suffix := range []string{".sig/../../../b/manifests/latest", ".sig/x", ".sig?x", "-" + strings.Repeat("x", 128)} {
		c := imagetest.Signed()
		for name, d := range c.Names {
			delete(c.Names, name)
			c.Names[strings.TrimSuffix(name, ".sig")+suffix] = d
		}
		s := registrytest.Start(t, registrytest.Options{Referrers: true})
		err := imagetest.SendAttached(context.Background(), destination(t, s.Addr+"/a:v1", quick()), c)
		if !errors.Is(err, reference.ErrFormat) {
			t.Errorf("%q: %v; want ErrFormat", suffix, err)
		}
		for _, q := range s.Requests() {
			if strings.Contains(q.Path, ".sig") || strings.Contains(q.Path, "xx") {
				t.Errorf("%q: %s %s", suffix, q.Method, q.Path)
			}
		}
		if _, ok := s.Manifest("a", "v1"); ok {
			t.Errorf("%q: the image has its name", suffix)
		}
	}
}

// Without an end the list is an error in the end.
func TestManyReferrers(t *testing.T) {
	subject := digest.FromString("subject")
	s := registrytest.Start(t, registrytest.Options{})
	page, k := 0, 0
	s.Inject(registrytest.On("GET", "/v2/a/referrers/*", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			page++
			var list []oci.Descriptor
			for range 5000 {
				k++
				list = append(list, oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString(fmt.Sprint(k)), Size: 1})
			}
			w.Header().Set("Content-Type", oci.MediaTypeIndex)
			w.Header().Set("Link", fmt.Sprintf(`<?page=%d>; rel="next"`, page))
			json.NewEncoder(w).Encode(map[string]any{"manifests": list})
		})
	}))
	_, err := source(t, s.Addr+"/a:v1", quick()).Referrers(context.Background(), subject)
	if !errors.Is(err, image.ErrTooLarge) || page > 5 {
		t.Errorf("%v after %d pages; want ErrTooLarge", err, page)
	}
}

// Where a registry takes no index of what is not there, a list goes on without
// what was deleted meanwhile.
func TestListOfGoneThings(t *testing.T) {
	c := imagetest.Signed()
	s := registrytest.Start(t, registrytest.Options{})
	m := makeImage(1, 10)
	m.store(s.Registry, "a", "old")
	gone := oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString("gone"), Size: 7}
	old, err := oci.ReferrersIndex([]oci.Descriptor{gone, m.desc})
	if err != nil {
		t.Fatal(err)
	}
	s.Put("a", oci.ReferrersTag(c.Root.Digest), old.Digest(), map[digest.Digest]oci.Raw{old.Digest(): old}, nil)
	dst := destination(t, s.Addr+"/a:v1", quick())
	if err := imagetest.SendAttached(context.Background(), dst, c); err != nil {
		t.Fatal(err)
	}
	list, err := dst.Referrers(context.Background(), c.Root.Digest)
	if err != nil || len(list) != 3 || list[0].Digest != m.desc.Digest {
		t.Errorf("the list is %v, %v; want what is there, and 2 more", list, err)
	}
}

// Whatever a registry lists, what comes through can be asked for.
func FuzzLists(f *testing.F) {
	d := digest.FromString("x").String()
	f.Add(oci.MediaTypeIndex, `{"manifests":[{"digest":"`+d+`","size":1},{"digest":"`+d+`","size":1}]}`)
	f.Add("", `{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"sha256:../x"}]}`)
	f.Add("", `{"repositories":["a","library/b","../c"]}`)
	f.Add("", `{"tags":["v1","`+d+`","\u001b"]}`)
	f.Fuzz(func(t *testing.T, mediaType, s string) {
		list, err := parseReferrers(mediaType, []byte(s))
		r := referrers{}
		if err == nil && r.add(list) == nil {
			seen := map[digest.Digest]bool{}
			for _, e := range r.list {
				if oci.CheckDescriptor(e) != nil || seen[e.Digest] {
					t.Errorf("parseReferrers(%q) lists %v", s, e)
				}
				seen[e.Digest] = true
			}
		}
		names, _ := parseCatalog([]byte(s))
		for _, name := range names {
			if checkReference(reference.Docker{Domain: "h.example", Path: name}) != nil {
				t.Errorf("parseCatalog(%q) lists %q", s, name)
			}
		}
		tags, _ := parseTags([]byte(s))
		for _, tag := range tags {
			if !reference.ValidTag(tag) {
				t.Errorf("parseTags(%q) lists %q", s, tag)
			}
		}
	})
}
