package prune

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

func digestList(list ...oci.Descriptor) []digest.Digest {
	var ds []digest.Digest
	for _, d := range list {
		ds = append(ds, d.Digest)
	}
	return ds
}

// config is the digest of an image's configuration.
func config(t *testing.T, s *imagetest.Shelf, d oci.Descriptor) digest.Digest {
	t.Helper()
	m, err := oci.Parse(s.Manifests[d.Digest])
	if err != nil {
		t.Fatal(err)
	}
	return m.Config.Digest
}
