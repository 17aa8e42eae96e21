package registry

import (
	"context"
	"testing"

	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// The requests of a copy are what it costs on a distant registry: for each
// blob POST, GET and PUT, and nothing else but the manifests.
func TestCopyRequests(t *testing.T) {
	m := makeImage(1, 10, 300<<10, 100)
	from, to := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	m.store(from.Registry, "a", "v1")
	src := source(t, from.Addr+"/a:v1", quick())
	dst := destination(t, to.Addr+"/b:v2", quick())
	if err := copyImage(context.Background(), dst, src); err != nil {
		t.Fatal(err)
	}
	got, ok := to.Manifest("b", "v2")
	if !ok || string(got) != string(m.raw.Bytes) {
		t.Errorf("the manifest at the destination is %q; want %q", got, m.raw.Bytes)
	}
	for d, b := range m.blobs {
		if got, _ := to.Blob("b", d); string(got) != string(b) {
			t.Errorf("blob %s differs", d)
		}
	}
	for _, q := range from.Requests() {
		t.Log(q.Method, q.Path, q.Status)
	}
	for _, q := range to.Requests() {
		t.Log(q.Method, q.Path, q.Query, q.Status)
	}
}
