package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// A result is an answer that has been read to its end, or to where it broke.
type result struct {
	*http.Response
	body []byte
	err  error
}

// do sends one request and follows nothing. Headers are names and values.
func do(t *testing.T, method, url, body string, headers ...string) result {
	t.Helper()
	r := try(t, method, url, body, headers...)
	if r.err != nil {
		t.Fatalf("%s %s: %v", method, url, r.err)
	}
	return r
}

// try is do for requests that may fail.
func try(t *testing.T, method, url, body string, headers ...string) result {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	setHeaders(q.Header, headers)
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	resp, err := tr.RoundTrip(q)
	if err != nil {
		return result{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return result{resp, b, err}
}

func (r result) want(t *testing.T, status int) result {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s = %s; want %d\n%s", r.Request.Method, r.Request.URL, r.Status, status, r.body)
	}
	return r
}

// code returns the code of an answer that refuses.
func (r result) code(t *testing.T) string {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal(r.body, &e); err != nil || len(e.Errors) != 1 {
		t.Fatalf("error body is %q (%v); want one error", r.body, err)
	}
	return e.Errors[0].Code
}

// seed starts a registry that holds an image as a/b:1.
func seed(t *testing.T, o Options) (*Server, *imagetest.Content) {
	t.Helper()
	s, c := Start(t, o), imagetest.Image()
	s.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
	return s, c
}

func layerOf(c *imagetest.Content) (digest.Digest, []byte) {
	m, err := oci.Parse(c.Manifests[c.Root.Digest])
	if err != nil {
		panic(err)
	}
	d := m.Layers[0].Digest
	return d, c.Blobs[d]
}

func TestRoute(t *testing.T) {
	for _, test := range []struct {
		path string
		want route
		ok   bool
	}{
		{"/v2/", route{kind: kindPing}, true},
		{"/v2", route{kind: kindPing}, true},
		{"/token", route{kind: kindToken}, true},
		{"/v2/_catalog", route{kind: kindCatalog}, true},
		{"/v2/a/b/tags/list", route{kindTags, "a/b", ""}, true},
		{"/v2/a/blobs/uploads/", route{kindUploads, "a", ""}, true},
		{"/v2/a/blobs/uploads", route{kindUploads, "a", ""}, true},
		{"/v2/a/blobs/uploads/ID", route{kindUpload, "a", "ID"}, true},
		{"/v2/a/blobs/sha256:1", route{kindBlob, "a", "sha256:1"}, true},
		// A repository may be called as the parts of the API are.
		{"/v2/blobs/manifests/manifests/x", route{kindManifest, "blobs/manifests", "x"}, true},
		{"/v2/a/blobs/uploads/b/manifests/x", route{kindManifest, "a/blobs/uploads/b", "x"}, true},
		{"/v2/a/referrers/sha256:1", route{kindReferrers, "a", "sha256:1"}, true},
		{"/v1/a/tags/list", route{}, false},
		{"/v2/tags/list", route{}, false},
		{"/v2//tags/list", route{}, false},
		{"/v2/A/tags/list", route{}, false},
		{"/v2/a/../tags/list", route{}, false},
		{"/", route{}, false},
	} {
		got, ok := parseRoute(test.path)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("parseRoute(%q) = %v, %v; want %v, %v", test.path, got, ok, test.want, test.ok)
		}
	}
}

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "a/b-c/d.e/f_g/h__i/j---k": true, "0": true,
		"": false, "a/": false, "/a": false, "a//b": false, "a..b": false, "a_-b": false, "a-_b": false,
		"a___b": false, "-a": false, "a-": false, "A": false, "a b": false, strings.Repeat("a", 256): false,
	} {
		if got := validName(s); got != want {
			t.Errorf("validName(%q) = %v; want %v", s, got, want)
		}
	}
}

func TestPing(t *testing.T) {
	s := Start(t, Options{})
	r := do(t, "GET", "http://"+s.Addr+"/v2/", "").want(t, 200)
	if got := r.Header.Get("Docker-Distribution-Api-Version"); got != "registry/2.0" {
		t.Errorf("Docker-Distribution-Api-Version is %q; want registry/2.0", got)
	}
	if got := do(t, "GET", s.URL(Main)+"/v3/", "").want(t, 404).code(t); got != codeUnsupported {
		t.Errorf("an unknown path gives code %s; want %s", got, codeUnsupported)
	}
	do(t, "DELETE", s.URL(Main)+"/v2/", "").want(t, 405)
}

func TestBlob(t *testing.T) {
	s, c := seed(t, Options{})
	d, content := layerOf(c)
	url := s.URL(Main) + "/v2/a/b/blobs/" + d.String()

	r := do(t, "GET", url, "").want(t, 200)
	if !bytes.Equal(r.body, content) || r.Header.Get("Docker-Content-Digest") != d.String() {
		t.Errorf("GET gives %d bytes called %q; want the %d bytes of %s", len(r.body), r.Header.Get("Docker-Content-Digest"), len(content), d)
	}
	r = do(t, "HEAD", url, "").want(t, 200)
	if r.ContentLength != int64(len(content)) {
		t.Errorf("HEAD gives length %d; want %d", r.ContentLength, len(content))
	}
	r = do(t, "GET", url, "", "Range", "bytes=10-").want(t, 206)
	if want := fmt.Sprintf("bytes 10-%d/%d", len(content)-1, len(content)); !bytes.Equal(r.body, content[10:]) || r.Header.Get("Content-Range") != want {
		t.Errorf("Range gives %d bytes, Content-Range %q; want %d, %q", len(r.body), r.Header.Get("Content-Range"), len(content)-10, want)
	}
	do(t, "GET", url, "", "Range", "bytes=10-", "If-Range", `"other"`).want(t, 200)
	do(t, "GET", url, "", "Range", "bytes=10-", "If-Range", r.Header.Get("Etag")).want(t, 206)
	do(t, "GET", url, "", "Range", "bytes=999999-").want(t, 416)

	other := s.URL(Main) + "/v2/a/b/blobs/" + digest.FromString("other").String()
	if got := do(t, "GET", other, "").want(t, 404).code(t); got != codeBlobUnknown {
		t.Errorf("unknown blob gives code %s; want %s", got, codeBlobUnknown)
	}
	if got := do(t, "GET", s.URL(Main)+"/v2/a/b/blobs/sha256:12", "").want(t, 400).code(t); got != codeDigestInvalid {
		t.Errorf("digest that is none gives code %s; want %s", got, codeDigestInvalid)
	}
	do(t, "GET", s.URL(Main)+"/v2/other/blobs/"+d.String(), "").want(t, 404)
	do(t, "DELETE", url, "").want(t, 202)
	do(t, "DELETE", url, "").want(t, 404)
	do(t, "GET", url, "").want(t, 404)
}

func TestNoRangeNoHead(t *testing.T) {
	s, c := seed(t, Options{NoRange: true, NoHead: true})
	d, content := layerOf(c)
	url := s.URL(Main) + "/v2/a/b/blobs/" + d.String()
	if r := do(t, "GET", url, "", "Range", "bytes=10-").want(t, 200); !bytes.Equal(r.body, content) {
		t.Errorf("a registry without Range gives %d bytes; want all %d", len(r.body), len(content))
	}
	do(t, "HEAD", url, "").want(t, 405)
	do(t, "HEAD", s.URL(Main)+"/v2/a/b/manifests/1", "").want(t, 405)
}

// begin begins an upload and returns its Location.
func begin(t *testing.T, s *Server, repo string) string {
	t.Helper()
	r := do(t, "POST", s.URL(Main)+"/v2/"+repo+"/blobs/uploads/", "").want(t, 202)
	if got := r.Header.Get("Range"); got != "0-0" {
		t.Errorf("a new upload has Range %q; want 0-0", got)
	}
	return r.Header.Get("Location")
}

func withDigest(location string, d digest.Digest) string {
	return location + "&digest=" + url.QueryEscape(d.String())
}

func TestUpload(t *testing.T) {
	const content = "0123456789"
	d := digest.FromString(content)
	for name, upload := range map[string]func(t *testing.T, s *Server) result{
		"post": func(t *testing.T, s *Server) result {
			return do(t, "POST", s.URL(Main)+"/v2/a/blobs/uploads/?digest="+d.String(), content)
		},
		"post, put": func(t *testing.T, s *Server) result {
			return do(t, "PUT", withDigest(begin(t, s, "a"), d), content)
		},
		"post, patch, put": func(t *testing.T, s *Server) result {
			r := do(t, "PATCH", begin(t, s, "a"), content).want(t, 202)
			if got := r.Header.Get("Range"); got != "0-9" {
				t.Errorf("after all bytes Range is %q; want 0-9", got)
			}
			return do(t, "PUT", withDigest(r.Header.Get("Location"), d), "")
		},
		"chunks": func(t *testing.T, s *Server) result {
			r := do(t, "PATCH", begin(t, s, "a"), content[:4], "Content-Range", "0-3").want(t, 202)
			r = do(t, "PATCH", r.Header.Get("Location"), content[4:8], "Content-Range", "4-7").want(t, 202)
			return do(t, "PUT", withDigest(r.Header.Get("Location"), d), content[8:], "Content-Range", "8-9")
		},
		"sha512": func(t *testing.T, s *Server) result {
			do(t, "PUT", withDigest(begin(t, s, "a"), digest.SHA512.FromString(content)), content).want(t, 201)
			return do(t, "PUT", withDigest(begin(t, s, "a"), d), content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, Options{})
			r := upload(t, s).want(t, 201)
			if want := s.URL(Main) + "/v2/a/blobs/" + d.String(); r.Header.Get("Location") != want {
				t.Errorf("Location is %q; want %q", r.Header.Get("Location"), want)
			}
			if got, ok := s.Blob("a", d); !ok || string(got) != content {
				t.Errorf("Blob = %q, %v; want %q", got, ok, content)
			}
			if n := s.Uploads(); n != 0 {
				t.Errorf("%d uploads are left; want none", n)
			}
		})
	}
}

// A chunk in the wrong place is refused with what to go on from.
func TestUploadOutOfOrder(t *testing.T) {
	s := Start(t, Options{})
	first := begin(t, s, "a")
	second := do(t, "PATCH", first, "0123", "Content-Range", "0-3").want(t, 202).Header.Get("Location")
	for name, r := range map[string]result{
		"gap":          do(t, "PATCH", second, "89", "Content-Range", "8-9"),
		"again":        do(t, "PATCH", second, "0123", "Content-Range", "0-3"),
		"old location": do(t, "PATCH", first, "4567", "Content-Range", "4-7"),
	} {
		if r.want(t, 416); r.Header.Get("Range") != "0-3" || r.Header.Get("Location") == "" {
			t.Errorf("%s: Range %q, Location %q; want 0-3 and a Location", name, r.Header.Get("Range"), r.Header.Get("Location"))
		}
	}
	now := do(t, "GET", second, "").want(t, 204)
	if got := now.Header.Get("Range"); got != "0-3" {
		t.Errorf("status has Range %q; want 0-3", got)
	}
	do(t, "PATCH", now.Header.Get("Location"), "4567", "Content-Range", "4-6").want(t, 400)
	do(t, "PATCH", now.Header.Get("Location"), "4567", "Content-Range", "bytes 4-7/8").want(t, 400)
	do(t, "PATCH", now.Header.Get("Location"), "4567", "Content-Range", "4-7").want(t, 202)
}

func TestUploadRefused(t *testing.T) {
	s := Start(t, Options{})
	wrong := digest.FromString("other")
	if got := do(t, "PUT", withDigest(begin(t, s, "a"), wrong), "content").want(t, 400).code(t); got != codeDigestInvalid {
		t.Errorf("wrong content gives code %s; want %s", got, codeDigestInvalid)
	}
	if _, ok := s.Blob("a", wrong); ok {
		t.Errorf("wrong content is stored")
	}
	do(t, "PUT", begin(t, s, "a"), "content").want(t, 400)

	at := begin(t, s, "a")
	bare, _, _ := strings.Cut(at, "?")
	do(t, "PATCH", bare, "x").want(t, 400) // state in the query, which the client dropped
	do(t, "PATCH", strings.Replace(at, "/v2/a/", "/v2/b/", 1), "x").want(t, 404)
	do(t, "DELETE", at, "").want(t, 204)
	if got := do(t, "GET", at, "").want(t, 404).code(t); got != codeBlobUploadUnknown {
		t.Errorf("cancelled upload gives code %s; want %s", got, codeBlobUploadUnknown)
	}
	if s.used != 0 {
		t.Errorf("%d bytes are in use; want none", s.used)
	}
}

func TestMount(t *testing.T) {
	for _, no := range []bool{false, true} {
		s, c := seed(t, Options{NoMount: no})
		d, content := layerOf(c)
		r := do(t, "POST", s.URL(Main)+"/v2/c/blobs/uploads/?mount="+d.String()+"&from=a/b", "")
		if no {
			r.want(t, 202)
			continue
		}
		r.want(t, 201)
		if got, _ := s.Blob("c", d); !bytes.Equal(got, content) {
			t.Errorf("mounted blob has %d bytes; want %d", len(got), len(content))
		}
		do(t, "POST", s.URL(Main)+"/v2/c/blobs/uploads/?mount="+d.String()+"&from=other", "").want(t, 202)
		do(t, "POST", s.URL(Main)+"/v2/c/blobs/uploads/?mount=sha256:1&from=a/b", "").want(t, 400)
	}
}

func TestRelativeLocation(t *testing.T) {
	s := Start(t, Options{RelativeLocation: true})
	if at := begin(t, s, "a"); !strings.HasPrefix(at, "/v2/a/blobs/uploads/") {
		t.Errorf("Location is %q; want a path", at)
	}
}

func TestManifest(t *testing.T) {
	s, c := seed(t, Options{})
	raw := c.Manifests[c.Root.Digest]
	at := s.URL(Main) + "/v2/a/b/manifests/"

	for _, ref := range []string{"1", c.Root.Digest.String()} {
		r := do(t, "GET", at+ref, "", "Accept", "text/html, "+raw.MediaType+";q=0.5").want(t, 200)
		if !bytes.Equal(r.body, raw.Bytes) || r.Header.Get("Content-Type") != raw.MediaType {
			t.Errorf("GET %s gives %d bytes of %q; want the %d of %q", ref, len(r.body), r.Header.Get("Content-Type"), len(raw.Bytes), raw.MediaType)
		}
		r = do(t, "HEAD", at+ref, "").want(t, 200)
		if r.Header.Get("Docker-Content-Digest") != c.Root.Digest.String() || r.ContentLength != c.Root.Size {
			t.Errorf("HEAD %s gives %s of %d bytes; want %s of %d", ref, r.Header.Get("Docker-Content-Digest"), r.ContentLength, c.Root.Digest, c.Root.Size)
		}
	}
	do(t, "GET", at+"1", "", "If-None-Match", `"`+c.Root.Digest.String()+`"`).want(t, 304)
	do(t, "GET", at+"1", "", "Accept", oci.MediaTypeIndex).want(t, 404)
	do(t, "GET", at+"1", "", "Accept", "*/*").want(t, 200)
	if got := do(t, "GET", at+"2", "").want(t, 404).code(t); got != codeManifestUnknown {
		t.Errorf("unknown tag gives code %s; want %s", got, codeManifestUnknown)
	}

	r := do(t, "PUT", at+"2", string(raw.Bytes), "Content-Type", raw.MediaType).want(t, 201)
	if got := r.Header.Get("Docker-Content-Digest"); got != c.Root.Digest.String() {
		t.Errorf("PUT gives digest %q; want %s", got, c.Root.Digest)
	}
	other := raw.DigestBy(digest.SHA512)
	do(t, "PUT", at+other.String(), string(raw.Bytes), "Content-Type", raw.MediaType).want(t, 201)
	if got, ok := s.Manifest("a/b", other.String()); !ok || !bytes.Equal(got, raw.Bytes) {
		t.Errorf("Manifest(%s) has %d bytes, %v; want %d", other, len(got), ok, len(raw.Bytes))
	}
	if got, want := s.Tags("a/b"), []string{"1", "2"}; !slices.Equal(got, want) {
		t.Errorf("Tags = %q; want %q", got, want)
	}
}

func TestManifestRefused(t *testing.T) {
	s, c := seed(t, Options{})
	raw := c.Manifests[c.Root.Digest]
	index := imagetest.Index()
	for _, test := range []struct {
		name, repo, ref, mediaType, body string
		status                           int
		code                             string
	}{
		{"no blobs", "empty", "1", raw.MediaType, string(raw.Bytes), 400, codeManifestBlobUnknown},
		{"no manifests", "empty", "1", oci.MediaTypeIndex, string(index.Manifests[index.Root.Digest].Bytes), 400, codeManifestBlobUnknown},
		{"other digest", "a/b", digest.FromString("other").String(), raw.MediaType, string(raw.Bytes), 400, codeDigestInvalid},
		{"no reference", "a/b", ".bad", raw.MediaType, string(raw.Bytes), 400, codeDigestInvalid},
		{"other type", "a/b", "1", oci.MediaTypeIndex, string(raw.Bytes), 400, codeManifestInvalid},
		{"no type", "a/b", "1", "", string(raw.Bytes), 400, codeManifestInvalid},
		{"no JSON", "a/b", "1", raw.MediaType, "{", 400, codeManifestInvalid},
		{"too large", "a/b", "1", raw.MediaType, strings.Repeat(" ", oci.MaxManifest+1), 413, codeSizeInvalid},
	} {
		var headers []string
		if test.mediaType != "" {
			headers = []string{"Content-Type", test.mediaType}
		}
		r := do(t, "PUT", s.URL(Main)+"/v2/"+test.repo+"/manifests/"+test.ref, test.body, headers...)
		if got := r.want(t, test.status).code(t); got != test.code {
			t.Errorf("%s: code %s; want %s", test.name, got, test.code)
		}
	}
	lax := Start(t, Options{AllowMissing: true})
	do(t, "PUT", lax.URL(Main)+"/v2/a/manifests/1", string(raw.Bytes), "Content-Type", raw.MediaType).want(t, 201)
}

// A manifest that is deleted takes all its tags with it; a tag that is
// deleted leaves the others.
func TestDelete(t *testing.T) {
	s, c := seed(t, Options{})
	at := s.URL(Main) + "/v2/a/b/manifests/"
	do(t, "DELETE", at+"1", "").want(t, 405)
	do(t, "DELETE", at+"sha256:1", "").want(t, 400)
	do(t, "DELETE", at+c.Root.Digest.String(), "").want(t, 202)
	do(t, "DELETE", at+c.Root.Digest.String(), "").want(t, 404)
	if tags := s.Tags("a/b"); len(tags) != 0 {
		t.Errorf("after the manifest is deleted there are tags %q", tags)
	}

	s, c = seed(t, Options{TagDelete: true})
	at = s.URL(Main) + "/v2/a/b/manifests/"
	s.Put("a/b", "2", c.Root.Digest, nil, nil)
	do(t, "DELETE", at+"1", "").want(t, 202)
	do(t, "DELETE", at+"1", "").want(t, 404)
	do(t, "GET", at+"2", "").want(t, 200)
}

func TestTags(t *testing.T) {
	s, c := seed(t, Options{PageSize: 3})
	for _, tag := range []string{"2", "3", "4", "5"} {
		s.Put("a/b", tag, c.Root.Digest, nil, nil)
	}
	var got [][]string
	next := "/v2/a/b/tags/list"
	for next != "" {
		r := do(t, "GET", s.URL(Main)+next, "").want(t, 200)
		var page struct{ Tags []string }
		if err := json.Unmarshal(r.body, &page); err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Tags)
		next, _, _ = strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"), ">")
	}
	if want := "[[1 2 3] [4 5]]"; fmt.Sprint(got) != want {
		t.Errorf("pages are %v; want %s", got, want)
	}
	for query, want := range map[string]string{
		"n=2": `["1","2"]`, "last=3": `["4","5"]`, "n=1&last=25": `["3"]`, "n=0": `[]`, "last=9": `[]`,
	} {
		if r := do(t, "GET", s.URL(Main)+"/v2/a/b/tags/list?"+query, ""); !strings.Contains(string(r.body), want) {
			t.Errorf("tags with %s are %s; want %s", query, r.body, want)
		}
	}
	do(t, "GET", s.URL(Main)+"/v2/a/b/tags/list?n=x", "").want(t, 400)
	if got := do(t, "GET", s.URL(Main)+"/v2/other/tags/list", "").want(t, 404).code(t); got != codeNameUnknown {
		t.Errorf("unknown repository gives code %s; want %s", got, codeNameUnknown)
	}
	s.Put("c", "", "", nil, nil)
	if r := do(t, "GET", s.URL(Main)+"/v2/_catalog", ""); string(r.body) != `{"repositories":["a/b","c"]}` {
		t.Errorf("catalog is %s", r.body)
	}
}

func TestReferrers(t *testing.T) {
	for _, has := range []bool{true, false} {
		s, c := seed(t, Options{Referrers: has})
		d, _ := layerOf(c)
		body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"x/y","config":{"digest":%q},"layers":[],"subject":{"digest":%q},"annotations":{"a":"b"}}`,
			oci.MediaTypeManifest, d, c.Root.Digest)
		r := do(t, "PUT", s.URL(Main)+"/v2/a/b/manifests/sig", body, "Content-Type", oci.MediaTypeManifest).want(t, 201)
		list := s.URL(Main) + "/v2/a/b/referrers/" + c.Root.Digest.String()
		if !has {
			if r.Header.Get("OCI-Subject") != "" {
				t.Errorf("a registry without referrers says OCI-Subject")
			}
			do(t, "GET", list, "").want(t, 404)
			continue
		}
		if got := r.Header.Get("OCI-Subject"); got != c.Root.Digest.String() {
			t.Errorf("OCI-Subject is %q; want %s", got, c.Root.Digest)
		}
		want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"a":"b"},"artifactType":"x/y"}]}`,
			oci.MediaTypeIndex, oci.MediaTypeManifest, digest.FromString(body), len(body))
		got := do(t, "GET", list, "").want(t, 200)
		if string(got.body) != want || got.Header.Get("Content-Type") != oci.MediaTypeIndex {
			t.Errorf("referrers are %s of type %q; want %s", got.body, got.Header.Get("Content-Type"), want)
		}
		got = do(t, "GET", list+"?artifactType=other", "").want(t, 200)
		if !strings.Contains(string(got.body), `"manifests":[]`) || got.Header.Get("OCI-Filters-Applied") != "artifactType" {
			t.Errorf("referrers of another type are %s, filters %q", got.body, got.Header.Get("OCI-Filters-Applied"))
		}
	}
}

// A list of referrers comes in pages too, and a link keeps what was asked for.
func TestReferrersPages(t *testing.T) {
	s, c := seed(t, Options{Referrers: true, PageSize: 2})
	d, _ := layerOf(c)
	for i := range 5 {
		body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"x/y","config":{"digest":%q},"layers":[],"subject":{"digest":%q},"annotations":{"n":"%d"}}`,
			oci.MediaTypeManifest, d, c.Root.Digest, i)
		do(t, "PUT", s.URL(Main)+"/v2/a/b/manifests/"+digest.FromString(body).String(), body, "Content-Type", oci.MediaTypeManifest).want(t, 201)
	}
	var sizes []int
	for next := "/v2/a/b/referrers/" + c.Root.Digest.String() + "?artifactType=x%2Fy"; next != ""; {
		got := do(t, "GET", s.URL(Main)+next, "").want(t, 200)
		sizes = append(sizes, strings.Count(string(got.body), `"artifactType":"x/y"`))
		link := got.Header.Get("Link")
		if link != "" && !strings.Contains(link, "artifactType=x%2Fy") {
			t.Errorf("Link is %s; want the artifactType in it", link)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	if !slices.Equal(sizes, []int{2, 2, 1}) {
		t.Errorf("pages of %d; want 2, 2, 1", sizes)
	}
}

// A manifest may be put on the condition that its name stands for what the
// client has seen (RFC 9110, If-Match).
func TestPutOnCondition(t *testing.T) {
	s, c := seed(t, Options{})
	raw := c.Manifests[c.Root.Digest]
	put := func(tag, match string) result {
		return do(t, "PUT", s.URL(Main)+"/v2/a/b/manifests/"+tag, string(raw.Bytes), "Content-Type", raw.MediaType, "If-Match", match)
	}
	put("1", `"`+c.Root.Digest.String()+`"`).want(t, 201)
	put("1", `"something else"`).want(t, 412)
	put("2", `"`+c.Root.Digest.String()+`"`).want(t, 412)
	if got := s.Tags("a/b"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("Tags = %q; want 1", got)
	}
}

// What is refused or breaks off leaves nothing behind: no bytes that nobody can
// delete, and no empty repository.
func TestNothingIsLeft(t *testing.T) {
	s := Start(t, Options{MaxBytes: 100})
	content := strings.Repeat("a", 60)
	whole := s.URL(Main) + "/v2/a/blobs/uploads/?digest=" + digest.FromString(content).String()
	s.Inject(On("POST", "**", CutRequest(60)).Times(1))
	if r := try(t, "POST", whole, content); r.err == nil {
		t.Fatalf("a request that was cut is answered %s", r.Status)
	}
	do(t, "POST", whole, content).want(t, 201)
	do(t, "PUT", s.URL(Main)+"/v2/b/manifests/1", `{"config":{"digest":"`+digest.FromString("x").String()+`"}}`, "Content-Type", "x/y").want(t, 400)
	do(t, "GET", s.URL(Main)+"/v2/b/tags/list", "").want(t, 404)
}

// What the registry holds is bounded, and what is deleted makes room.
func TestMaxBytes(t *testing.T) {
	s := Start(t, Options{MaxBytes: 100})
	push := func(content string) result {
		d := digest.FromString(content)
		return do(t, "PUT", withDigest(begin(t, s, "a"), d), content)
	}
	push(strings.Repeat("a", 60)).want(t, 201)
	push(strings.Repeat("a", 60)).want(t, 403) // no room for two at a time
	push(strings.Repeat("b", 40)).want(t, 201)
	if got := push("c").want(t, 403).code(t); got != codeDenied {
		t.Errorf("a full registry gives code %s; want %s", got, codeDenied)
	}
	do(t, "DELETE", s.URL(Main)+"/v2/a/blobs/"+digest.FromString(strings.Repeat("b", 40)).String(), "").want(t, 202)
	push("c").want(t, 201)
	if r := do(t, "PUT", s.URL(Main)+"/v2/a/manifests/1", "{ "+strings.Repeat(" ", 100)+"}", "Content-Type", "x/y"); r.StatusCode != 403 {
		t.Errorf("a manifest that does not fit gives %s; want 403", r.Status)
	}
}

func FuzzServe(f *testing.F) {
	for _, path := range []string{
		"/v2/", "/v2/a/b/manifests/1", "/v2/a/b/tags/list?n=1&last=x", "/v2/a/blobs/uploads/?mount=sha256:1&from=b",
		"/v2/a/b/blobs/sha256:1", "/token?scope=repository:a:pull", "/v2/a/referrers/x", "/v2/_catalog?n=-1",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			f.Add(method, path, "0-3", "body")
		}
	}
	c := imagetest.Image()
	f.Fuzz(func(t *testing.T, method, path, contentRange, body string) {
		s := New(Options{Referrers: true, TagDelete: true})
		s.Put("a/b", "1", c.Root.Digest, c.Manifests, c.Blobs)
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		q := &http.Request{Method: method, URL: u, Header: http.Header{"Content-Range": {contentRange}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		a := capture(s, recorder{http.Header{}}, q.WithContext(t.Context()))
		if a.Status < 200 || a.Status > 499 {
			t.Errorf("%s %s = %d; want an answer that is no accident", method, path, a.Status)
		}
	})
}

// A recorder is a writer of which only the header is of use.
type recorder struct{ header http.Header }

func (r recorder) Header() http.Header         { return r.header }
func (r recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r recorder) WriteHeader(int)             {}

func FuzzContentRange(f *testing.F) {
	f.Add("0-3")
	f.Add("9-3")
	f.Add("-1-3")
	f.Fuzz(func(t *testing.T, s string) {
		first, last, ok := parseContentRange(s)
		if ok && (first < 0 || last < first) {
			t.Errorf("parseContentRange(%q) = %d, %d; want no such range", s, first, last)
		}
	})
}
