package image_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// indexOf makes an index of entries the root of c.
func indexOf(t *testing.T, c *imagetest.Content, entries ...oci.Descriptor) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": entries})
	if err != nil {
		t.Fatal(err)
	}
	raw := oci.Raw{MediaType: oci.MediaTypeIndex, Bytes: b}
	c.Root = raw.Descriptor()
	c.Manifests[c.Root.Digest] = raw
}

// A manifest that an index names twice is fetched once. What the second entry
// says of it is checked all the same.
func TestGrowChecksEveryEntry(t *testing.T) {
	good := imagetest.Image().Root
	longer, other := good, good
	longer.Size++
	other.MediaType = oci.MediaTypeIndex
	for name, tt := range map[string]struct {
		second oci.Descriptor
		want   error
	}{
		"the same":     {good, nil},
		"another size": {longer, image.ErrMismatch},
		"another type": {other, oci.ErrInvalid},
	} {
		c := imagetest.Image()
		indexOf(t, c, good, tt.second)
		root, err := image.Root(t.Context(), c.Source(), "")
		if err == nil {
			err = root.Grow(t.Context(), c.Source(), nil)
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: Grow = %v; want %v", name, err, tt.want)
		}
	}
}

// An index within an index of which no platform was taken must not be left
// behind with nothing in it: some registries refuse that.
func TestPruneDropsEmpty(t *testing.T) {
	c := imagetest.Nested() // amd64, and an index of arm64
	root, err := image.Root(t.Context(), c.Source(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Grow(t.Context(), c.Source(), func(m *oci.Manifest) (func(int) bool, error) {
		return func(i int) bool {
			p := m.Manifests[i].Platform
			return p == nil || p.Architecture == "amd64"
		}, nil
	}); err != nil {
		t.Fatal(err)
	}
	pruned, err := root.Prune()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(pruned.Manifest.Manifests); n != 1 || len(pruned.Kids) != 1 || pruned.Kids[0].Manifest.IsIndex() {
		t.Errorf("pruned index:\n%s", pruned.Raw.Bytes)
	}
	if again, err := pruned.Prune(); again != pruned || err != nil {
		t.Errorf("Prune of a whole tree made another one: %v", err)
	}
}
