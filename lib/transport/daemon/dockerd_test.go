package daemon

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/test/harness"
)

// parts are the configuration of an image, by its digest, and what its layers
// are when unpacked: what a daemon that unpacks images has to give back.
func parts(t *testing.T, src image.Source) (config digest.Digest, diffIDs []digest.Digest) {
	t.Helper()
	root, err := image.Root(t.Context(), src, "")
	if err == nil {
		err = root.Parse()
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.Config(t.Context(), src, root.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	return root.Manifest.Config.Digest, c.DiffIDs()
}

// transfer is a copy as the tools make it.
func transfer(t *testing.T, dst image.Destination, src image.Source) error {
	t.Helper()
	_, err := copy.Copy(t.Context(), dst, src, copy.Options{Gate: copy.AdmitAll})
	return errors.Join(err, dst.Close())
}

// The law of the contract is held by the stand-in. That a real daemon takes
// what we send, gives it back, and drops what is cut off, only it can show.
func TestDockerd(t *testing.T) {
	e := harness.Dockerd(t)
	o := Options{Env: func(key string) string { return map[string]string{"DOCKER_HOST": "unix://" + e.Socket}[key] }}
	open := func(n string) (image.Source, error) { return Open(t.Context(), name(t, n), o) }
	create := func(n string) image.Destination {
		dst, err := Create(t.Context(), name(t, n), o)
		if err != nil {
			t.Fatal(err)
		}
		return dst
	}
	if _, err := open("none:1"); !errors.Is(err, image.ErrNotFound) || !strings.Contains(err.Error(), "No such image: none:1") {
		t.Errorf("an image that is not there: %v", err)
	}
	cutOff(t, create("cut:1"), imagetest.Image())

	layer, _ := imagetest.Layer("f", bytes.Repeat([]byte("0123456789abcdef"), 1<<18))
	images := map[string]*imagetest.Content{
		"oci:1": imagetest.Image(), "a.example:5000/docker/v2:x": imagetest.Docker(), "plain:1": imagetest.Plain(layer, layer),
	}
	for n, c := range images {
		if err := transfer(t, create(n), c.Source()); err != nil {
			t.Errorf("%s: %v", n, err)
			continue
		}
		config, diffIDs := parts(t, c.Source())
		if id := strings.TrimSpace(e.Must(t, nil, "image", "inspect", "-f", "{{.Id}}", n)); id != config.String() {
			t.Errorf("%s: docker has %s; want %s", n, id, config)
		}
		for _, from := range []string{n, config.String()} {
			src, err := open(from)
			if err != nil {
				t.Errorf("%s: %v", from, err)
				continue
			}
			back := imagetest.NewMemory(image.Wants{})
			if err := transfer(t, back, src); err != nil {
				t.Errorf("%s read back: %v", from, err)
				continue
			}
			if !image.Made(src) {
				t.Errorf("%s: this daemon keeps no manifests, and the source does not say so", from)
			}
			src.Close()
			if got, ids := parts(t, back.Source()); got != config || !slices.Equal(ids, diffIDs) {
				t.Errorf("%s read back: configuration %s, layers %s; want %s, %s", from, got, ids, config, diffIDs)
			}
		}
	}
	cutOff(t, create("oci:1"), imagetest.Docker())
	reload(t, o, images["oci:1"])
	list := strings.Fields(e.Must(t, nil, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"))
	slices.Sort(list)
	if want := []string{"a.example:5000/docker/v2:x", "oci:1", "plain:1"}; !slices.Equal(list, want) {
		t.Errorf("docker has %q; want %q", list, want)
	}
}

// reload sends an image that is damaged in a way that only the daemon sees; it
// must say so, and the name stand for what it stood for.
func reload(t *testing.T, o Options, old *imagetest.Content) {
	t.Helper()
	bad := imagetest.Plain([]byte("no tar at all, and yet it has the right digest"))
	dst, err := Create(t.Context(), name(t, "oci:1"), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer(t, dst, bad.Source()); !errors.Is(err, image.ErrUnsupported) || !strings.Contains(err.Error(), "docker engine reported: ") {
		t.Errorf("a layer that is no tar: %v; want what the daemon says", err)
	}
	src, err := Open(t.Context(), name(t, "oci:1"), o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	config, _ := parts(t, old.Source())
	raw, err := drained(t, src)
	if err != nil || !isID(config, raw) {
		t.Errorf("after loads that failed oci:1 is %s, %v", raw.Bytes, err)
	}
}

// drained returns the manifest behind the layers.
func drained(t *testing.T, src image.Sequence) (oci.Raw, error) {
	t.Helper()
	back := imagetest.NewMemory(image.Wants{})
	if err := transfer(t, back, src); err != nil {
		return oci.Raw{}, err
	}
	return back.Source().Manifest(t.Context(), "")
}
