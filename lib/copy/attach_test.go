package copy_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// What is attached goes along, at every level, and is asked for in the end.
func TestWith(t *testing.T) {
	for name, tt := range map[string]struct {
		with      image.With
		manifests int
	}{
		"none":      {image.With{}, 3},
		"referrers": {image.With{Referrers: true}, 6},
		"tags":      {image.With{Tags: true}, 4},
		"all":       {image.With{Referrers: true, Tags: true}, 7},
	} {
		c := imagetest.Signed()
		dst := imagetest.NewMemory(image.Wants{})
		_, err := copy.Copy(t.Context(), dst, c.Source(), copy.Options{Gate: copy.AdmitAll, With: tt.with})
		if err != nil || len(dst.Manifests) != tt.manifests {
			t.Errorf("%s: %v; %d manifests copied; want %d", name, err, len(dst.Manifests), tt.manifests)
		}
		if (len(dst.Names) == 1) != tt.with.Tags {
			t.Errorf("%s: names %v", name, dst.Names)
		}
	}
}

// forgetful keeps what is attached to itself: a registry that takes referrers
// and lists none.
type forgetful struct{ *imagetest.Memory }

func (forgetful) Referrers(context.Context, digest.Digest) ([]oci.Descriptor, error) { return nil, nil }

func TestWithChecksDestination(t *testing.T) {
	c := imagetest.Signed()
	_, err := copy.Copy(t.Context(), forgetful{imagetest.NewMemory(image.Wants{})}, c.Source(), copy.Options{Gate: copy.AdmitAll, With: image.With{Referrers: true}})
	if !errors.Is(err, image.ErrIncomplete) || strings.Count(err.Error(), " of sha256:") != 3 {
		t.Errorf("Copy = %v; want %v and what is missing", err, image.ErrIncomplete)
	}
}

// An index of which a part is copied is another one: what was attached to the
// whole would not be found there, and that is said.
func TestWithPart(t *testing.T) {
	c := imagetest.Signed()
	dst := imagetest.NewMemory(image.Wants{})
	res, err := copy.Copy(t.Context(), dst, c.Source(), copy.Options{
		Gate: copy.AdmitAll, With: image.With{Referrers: true, Tags: true}, Platforms: []oci.Platform{imagetest.AMD64},
	})
	if err != nil || len(dst.Names) != 1 || len(dst.Manifests) != 3 {
		t.Errorf("Copy = %v; %d manifests, names %v", err, len(dst.Manifests), dst.Names)
	}
	if notes := strings.Join(res.Notes, "\n"); !strings.Contains(notes, "2 things attached") {
		t.Errorf("notes: %s", notes)
	}
}

// A copy with all that is attached there is nothing to do for is not begun.
func TestWithSame(t *testing.T) {
	c := imagetest.Signed()
	dst := named{imagetest.NewMemory(image.Wants{})}
	o := copy.Options{Gate: copy.AdmitAll, With: image.With{Referrers: true, Tags: true}}
	for _, want := range []bool{false, true} {
		res, err := copy.Copy(t.Context(), dst, c.Source(), o)
		if err != nil || res.Same != want {
			t.Fatalf("Copy = %+v, %v; want Same %v", res, err, want)
		}
	}
	for name := range dst.Names {
		delete(dst.Names, name)
	}
	dst.Committed = false
	if res, err := copy.Copy(t.Context(), dst, c.Source(), o); err != nil || res.Same || len(dst.Names) != 1 {
		t.Errorf("Copy = %+v, %v; want the name again", res, err)
	}
}

type named struct{ *imagetest.Memory }

func (n named) Resolve(context.Context) (digest.Digest, error) { return n.Root.Digest, nil }
