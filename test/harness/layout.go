package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout is an OCI image layout on disk.
type Layout struct {
	Dir   string
	Roots map[string]v1.Descriptor // by tag
}

// Image writes a layout of the shapes, each tagged with its name.
func Image(t T, shapes ...sample.Shape) Layout {
	t.Helper()
	l := Layout{Dir(t), map[string]v1.Descriptor{}}
	roots, err := sample.Write(l.Dir, shapes...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for i, s := range shapes {
		l.Roots[s.Name] = roots[i]
	}
	return l
}

// Ref returns the reference of a tag in the layout.
func (l Layout) Ref(tag string) string { return "oci:" + l.Dir + ":" + tag }

// Blob returns the path of a blob.
func (l Layout) Blob(d digest.Digest) string {
	return filepath.Join(l.Dir, "blobs", d.Algorithm().String(), d.Encoded())
}

// Seed uploads what a tag of the layout names, whatever it is, byte for byte,
// as name ("a/b:tag"). It uses no tool, so that no tool's habits get into it.
func (r *Registry) Seed(t T, l Layout, tag, name string) {
	t.Helper()
	root, ok := l.Roots[tag]
	repo, to, named := strings.Cut(name, ":")
	if !ok || !named {
		t.Fatalf("seed: no %q in the layout, or no tag in %q", tag, name)
	}
	if err := r.seed(l, root, repo, to); err != nil {
		t.Fatalf("seed %s: %v", name, err)
	}
}

func (r *Registry) seed(l Layout, d v1.Descriptor, repo, ref string) error {
	b, err := os.ReadFile(l.Blob(d.Digest))
	if err != nil {
		return err
	}
	var m struct {
		Manifests []v1.Descriptor
		Config    *v1.Descriptor
		Layers    []v1.Descriptor
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for _, child := range m.Manifests {
		if err := r.seed(l, child, repo, child.Digest.String()); err != nil {
			return err
		}
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, blob := range m.Layers {
		if err := r.putBlob(l, blob, repo); err != nil {
			return err
		}
	}
	resp, err := r.do(http.MethodPut, r.url("/v2/"+repo+"/manifests/"+ref), d.MediaType, bytes.NewReader(b))
	return created(resp, err)
}

func (r *Registry) putBlob(l Layout, d v1.Descriptor, repo string) error {
	f, err := os.Open(l.Blob(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	resp, err := r.do(http.MethodPost, r.url("/v2/"+repo+"/blobs/uploads/"), "", nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return fmt.Errorf("upload: %s: %w", resp.Status, err)
	}
	query := to.Query()
	query.Set("digest", d.Digest.String())
	to.RawQuery = query.Encode()
	resp, err = r.do(http.MethodPut, to.String(), "application/octet-stream", f)
	return created(resp, err)
}

func created(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s %s: %s: %s", resp.Request.Method, resp.Request.URL, resp.Status, b)
	}
	return nil
}

// Manifest returns what the registry has under a tag or digest of a repository,
// and its digest; "" and nil if it has nothing.
func (r *Registry) Manifest(t T, repo, ref string) (digest.Digest, []byte) {
	t.Helper()
	resp, err := r.do(http.MethodGet, r.url("/v2/"+repo+"/manifests/"+ref), "", nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		t.Fatalf("%v", err)
	case resp.StatusCode == http.StatusNotFound:
		return "", nil
	case resp.StatusCode != http.StatusOK:
		t.Fatalf("manifest %s of %s: %s", ref, repo, resp.Status)
	}
	return digest.FromBytes(b), b
}

// do sends a request as the registry's user. A file as body has its size told.
func (r *Registry) do(method, url, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	if f, ok := body.(*os.File); ok {
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		req.ContentLength = st.Size()
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, accept := range []string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, sample.DockerManifest, sample.DockerList} {
		req.Header.Add("Accept", accept)
	}
	switch {
	case r.tokens != nil:
		token, err := r.tokens.mint(allOf(req.URL.Path), time.Hour)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	case r.User != "":
		req.SetBasicAuth(r.User, r.Password)
	}
	return r.client.Do(req)
}

// allOf returns the scopes of all that can be done to the repository of a path.
func allOf(path string) []string {
	repo := strings.TrimPrefix(path, "/v2/")
	for _, mid := range []string{"/manifests/", "/blobs/", "/tags/"} {
		repo, _, _ = strings.Cut(repo, mid)
	}
	if repo == "" {
		return nil
	}
	return scopes([]string{"repository:" + repo + ":pull,push,delete"})
}
