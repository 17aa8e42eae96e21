package registry

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// lines returns what a registry was asked, with D for digests and U for
// uploads.
func lines(s *registrytest.Registry) []string {
	var list []string
	for _, q := range s.Requests() {
		parts := strings.Split(q.Path, "/")
		for i, p := range parts {
			if strings.HasPrefix(p, "sha256:") {
				parts[i] = "D"
			}
			if i > 0 && parts[i-1] == "uploads" && p != "" {
				parts[i] = "U"
			}
		}
		list = append(list, q.Method+" "+strings.Join(parts, "/"))
	}
	return list
}

// checkImage makes sure that all of an image is in a repository.
func checkImage(t *testing.T, s *registrytest.Registry, repo, tag string, m img) {
	t.Helper()
	got, _ := s.Manifest(repo, tag)
	if !bytes.Equal(got, m.raw.Bytes) {
		t.Errorf("manifest %s = %q; want %q", tag, got, m.raw.Bytes)
	}
	for d, b := range m.blobs {
		if got, _ := s.Blob(repo, d); !bytes.Equal(got, b) {
			t.Errorf("blob %s has %d bytes, and not the right %d", d, len(got), len(b))
		}
	}
	if n := s.Uploads(); n != 0 {
		t.Errorf("%d uploads are open; want 0", n)
	}
}

// The requests of a copy are what it costs on a distant registry: for each
// blob POST, GET and PUT, and for manifests nothing but themselves.
func TestCopyRequests(t *testing.T) {
	m := makeImage(1, 300<<10)
	from, to := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	m.store(from.Registry, "a", "v1")
	src := source(t, from.Addr+"/a:v1", quick())
	dst := destination(t, to.Addr+"/b:v2", quick())
	if err := copyImage(context.Background(), dst, src); err != nil {
		t.Fatal(err)
	}
	checkImage(t, to.Registry, "b", "v2", m)
	want := []string{"GET /v2/a/manifests/v1", "GET /v2/a/blobs/D", "GET /v2/a/blobs/D"}
	if got := lines(from.Registry); !slices.Equal(got, want) {
		t.Errorf("requests to the source: %q; want %q", got, want)
	}
	want = []string{
		"POST /v2/b/blobs/uploads/", "PUT /v2/b/blobs/uploads/U",
		"POST /v2/b/blobs/uploads/", "PUT /v2/b/blobs/uploads/U",
		"PUT /v2/b/manifests/v2",
	}
	if got := lines(to.Registry); !slices.Equal(got, want) {
		t.Errorf("requests to the destination: %q; want %q", got, want)
	}
}

// To find out that there is nothing to do takes one request a side, once the
// sides know how to authenticate.
func TestNothingToDo(t *testing.T) {
	m := makeImage(1, 100)
	o := registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: map[string]string{"ali": "sesame"}}}
	s := registrytest.Start(t, o)
	m.store(s.Registry, "a", "v1")
	m.store(s.Registry, "b", "v1")
	opts := quick()
	opts.Credential = func(context.Context, string) (Credential, error) {
		return Credential{Username: "ali", Password: "sesame"}, nil
	}
	src, dst := source(t, s.Addr+"/a:v1", opts), destination(t, s.Addr+"/b:v1", opts)
	dst.Expect(src)
	ctx := context.Background()
	root, err := image.Root(ctx, src, "")
	if err != nil {
		t.Fatal(err)
	}
	have, err := image.Resolve(ctx, dst)
	if err != nil || have != root.Desc.Digest {
		t.Fatalf("Resolve() = %q, %v; want %q", have, err, root.Desc.Digest)
	}
	// the attempt that learns of the token service, the token, the request
	want := []string{"GET /v2/a/manifests/v1", "GET /token", "GET /v2/a/manifests/v1", "HEAD /v2/b/manifests/v1", "GET /token", "HEAD /v2/b/manifests/v1"}
	if got := lines(s.Registry); !slices.Equal(got, want) {
		t.Errorf("requests: %q; want %q", got, want)
	}
}

// An image of another repository of the same registry moves by mounts alone,
// and no token is asked for twice.
func TestCopyWithinRegistry(t *testing.T) {
	m := makeImage(1, 100, 2<<20, 300)
	o := registrytest.Options{Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: map[string]string{"ali": "sesame"}}}
	s := registrytest.Start(t, o)
	m.store(s.Registry, "a/b", "v1")
	opts := quick()
	opts.Credential = func(context.Context, string) (Credential, error) {
		return Credential{Username: "ali", Password: "sesame"}, nil
	}
	src, dst := source(t, s.Addr+"/a/b:v1", opts), destination(t, s.Addr+"/c:v1", opts)
	if err := copyImage(context.Background(), dst, src); err != nil {
		t.Fatal(err)
	}
	checkImage(t, s.Registry, "c", "v1", m)
	if n := s.Count("GET", "/token"); n != 2 {
		t.Errorf("%d tokens were asked for; want 2, one a side", n)
	}
	if n := s.Count("", "/v2/*/*/blobs/sha256**"); n != 0 {
		t.Errorf("%d requests read blobs; want 0", n)
	}
	for _, q := range s.Requests() {
		if q.Path == "/token" && len(q.Query["scope"]) == 2 {
			return
		}
	}
	t.Errorf("no token was asked for with both scopes")
}

// index returns an index of images, and its tree.
func index(t *testing.T, below ...*image.Tree) *image.Tree {
	t.Helper()
	var list []string
	for _, k := range below {
		list = append(list, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, k.Desc.MediaType, k.Desc.Digest, k.Desc.Size))
	}
	raw := oci.Raw{MediaType: oci.MediaTypeIndex, Bytes: []byte(`{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","manifests":[` + strings.Join(list, ",") + `]}`)}
	tree := &image.Tree{Desc: raw.Descriptor(), Raw: raw, Kids: below}
	if err := tree.Parse(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// A registry refuses a manifest that names what it does not have, so what is
// below goes first; and nothing goes twice.
func TestCommitOrder(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	one, two := makeImage(1, 10), makeImage(2, 20)
	for _, m := range []img{one, two} {
		s.Put("r", "", "", nil, m.blobs)
	}
	inner := index(t, one.tree(t), two.tree(t))
	root := index(t, inner, one.tree(t), two.tree(t))
	dst := destination(t, s.Addr+"/r:v1", quick())
	if err := dst.Commit(context.Background(), root); err != nil {
		t.Fatal(err)
	}
	want := []string{"PUT /v2/r/manifests/D", "PUT /v2/r/manifests/D", "PUT /v2/r/manifests/D", "PUT /v2/r/manifests/v1"}
	if got := lines(s.Registry); !slices.Equal(got, want) {
		t.Errorf("requests: %q; want %q", got, want)
	}
	if got, _ := s.Manifest("r", "v1"); !bytes.Equal(got, root.Raw.Bytes) {
		t.Errorf("the tag has %q; want %q", got, root.Raw.Bytes)
	}
}

// What a destination is named by is a promise: the wrong tree is refused
// before anything is sent, and one without a name gets its own digest.
func TestCommitName(t *testing.T) {
	m := makeImage(1, 10)
	other := digest.FromString("other")
	tests := []struct {
		name string
		want error
		path string
	}{
		{"r:v1", nil, "/v2/r/manifests/v1"},
		{"r@" + m.desc.Digest.String(), nil, "/v2/r/manifests/" + m.desc.Digest.String()},
		{"r@" + digest.SHA512.FromBytes(m.raw.Bytes).String(), nil, "/v2/r/manifests/" + digest.SHA512.FromBytes(m.raw.Bytes).String()},
		{"r@@unknown-digest@@", nil, "/v2/r/manifests/" + m.desc.Digest.String()},
		{"r@" + other.String(), image.ErrMismatch, ""},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		s.Put("r", "", "", nil, m.blobs)
		dst := destination(t, s.Addr+"/"+tt.name, quick())
		ctx, tree := context.Background(), m.tree(t)
		if err := dst.Begin(ctx, tree); !isError(err, tt.want) {
			t.Errorf("%s: Begin = %v; want %v", tt.name, err, tt.want)
		}
		if err := dst.Commit(ctx, tree); !isError(err, tt.want) {
			t.Errorf("%s: Commit = %v; want %v", tt.name, err, tt.want)
		}
		switch list := s.Requests(); {
		case tt.path == "" && len(list) > 0:
			t.Errorf("%s: something was sent: %q", tt.name, lines(s.Registry))
		case tt.path != "" && (len(list) != 1 || list[0].Path != tt.path):
			t.Errorf("%s: requests %q; want PUT %s", tt.name, lines(s.Registry), tt.path)
		}
	}
}

// Registries answer a PUT in several ways; only one that names another digest,
// or refuses, is a failure.
func TestCommitAnswers(t *testing.T) {
	m := makeImage(1, 10)
	tests := []struct {
		name string
		do   registrytest.Action
		want error
		text string
	}{
		{"no digest", registrytest.Header("Docker-Content-Digest", ""), nil, ""},
		{"200", registrytest.Edit(func(a *registrytest.Answer) { a.Status = 200 }), nil, ""},
		{"204", registrytest.Edit(func(a *registrytest.Answer) { a.Status = 204; a.Body = nil }), nil, ""},
		{"another digest", registrytest.Header("Docker-Content-Digest", digest.FromString("x").String()), image.ErrMismatch, "says that it is"},
		{"missing blob", registrytest.Refuse(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"), image.ErrIncomplete, "uploading manifest v1 to REG/r: blob unknown to registry"},
		{"denied", registrytest.Refuse(403, "DENIED", "requested access to the resource is denied"), image.ErrDenied, "requested access"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		s.Put("r", "", "", nil, m.blobs)
		s.Inject(registrytest.On("PUT", "/v2/r/manifests/*", tt.do))
		err := destination(t, s.Addr+"/r:v1", quick()).Commit(context.Background(), m.tree(t))
		if !isError(err, tt.want) {
			t.Errorf("%s: Commit = %v; want %v", tt.name, err, tt.want)
		}
		if err != nil && !strings.Contains(strings.ReplaceAll(err.Error(), s.Addr, "REG"), tt.text) {
			t.Errorf("%s: Commit = %q; want %q in it", tt.name, err, tt.text)
		}
	}
}
