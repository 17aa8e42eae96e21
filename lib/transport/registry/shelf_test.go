package registry

import (
	"context"
	"errors"
	"fmt"
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

// What a deletion means is deleted, and nothing else; what is gone is no error;
// what the registry does not do is said.
func TestDelete(t *testing.T) {
	m := makeImage(1, 10)
	d := m.desc.Digest
	other := makeImage(2, 10)
	deleted := func(ref string, do ...registrytest.Action) registrytest.Fault {
		return registrytest.On("DELETE", "/v2/a/manifests/"+ref, do...)
	}
	tag, byDigest := image.Deletion{Name: "v1", Digest: d}, image.Deletion{Digest: d}
	canTags, cannot := registrytest.Options{TagDelete: true}, registrytest.Options{}
	tests := []struct {
		name  string
		o     registrytest.Options
		fault *registrytest.Fault
		what  image.Deletion
		is    error
		tags  string // that are left
		n     int    // requests
	}{
		{"a tag", canTags, nil, tag, nil, "v2 w1", 1},
		{"a tag that is not there", canTags, nil, image.Deletion{Name: "v0"}, nil, "v1 v2 w1", 2},
		{"a manifest", canTags, nil, byDigest, nil, "w1", 1},
		{"a manifest that is not there", canTags, nil, image.Deletion{Digest: digest.FromString("x")}, nil, "v1 v2 w1", 2},
		{"tags cannot be deleted", cannot, nil, tag, image.ErrUnsupported, "v1 v2 w1", 2},
		{"a tag that is not there, where tags cannot be deleted", cannot, nil, image.Deletion{Name: "v0"}, nil, "v1 v2 w1", 2},
		{"a manifest where tags cannot be deleted", cannot, nil, byDigest, nil, "w1", 1},
		{"400", canTags, fault(deleted("v1", registrytest.Refuse(400, "DIGEST_INVALID", "invalid digest"))), tag, image.ErrUnsupported, "v1 v2 w1", 2},
		{"501", canTags, fault(deleted("v1", registrytest.Refuse(501, "", ""))), tag, image.ErrUnsupported, "v1 v2 w1", 2},
		// Some say of a tag that it is not there when they mean that there is no such request.
		{"404 for what is there", canTags, fault(deleted("v1", registrytest.Refuse(404, "MANIFEST_UNKNOWN", ""))), tag, image.ErrUnsupported, "v1 v2 w1", 2},
		{"no such endpoint", canTags, fault(deleted(d.String(), registrytest.Refuse(404, "", ""))), byDigest, image.ErrUnsupported, "v1 v2 w1", 2},
		{"manifests cannot be deleted", canTags, fault(deleted(d.String(), registrytest.Refuse(405, "UNSUPPORTED", ""))), byDigest, image.ErrUnsupported, "v1 v2 w1", 2},
		{"denied", canTags, fault(deleted("v1", registrytest.Refuse(403, "DENIED", ""))), tag, image.ErrDenied, "v1 v2 w1", 1},
		{"busy for a moment", canTags, fault(deleted("v1", registrytest.Refuse(503, "", "")).Times(1)), tag, nil, "v2 w1", 2},
		{"busy", canTags, fault(deleted("v1", registrytest.Refuse(503, "", ""))), tag, image.ErrNetwork, "v1 v2 w1", 3},
		// It was deleted by the request whose answer was lost.
		{"the answer is lost", canTags, fault(deleted("v1", registrytest.LoseAnswer()).Times(1)), tag, nil, "v2 w1", 3},
		{"no tag", canTags, nil, image.Deletion{Name: "../x"}, reference.ErrFormat, "v1 v2 w1", 0},
		{"a digest is no tag", canTags, nil, image.Deletion{Name: d.String()}, reference.ErrFormat, "v1 v2 w1", 0},
		{"no digest", canTags, nil, image.Deletion{Digest: "v1"}, oci.ErrInvalid, "v1 v2 w1", 0},
		{"nothing", canTags, nil, image.Deletion{}, oci.ErrInvalid, "v1 v2 w1", 0},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, tt.o)
		m.store(s.Registry, "a", "v1")
		m.store(s.Registry, "a", "v2")
		other.store(s.Registry, "a", "w1")
		if tt.fault != nil {
			s.Inject(*tt.fault)
		}
		var told events
		o := quick()
		o.Notify = told.notify
		shelf := open(t, s.Addr+"/a:v9", o).Shelf()
		err := shelf.Delete(context.Background(), []image.Deletion{tt.what})
		if !isError(err, tt.is) || errors.Is(err, image.ErrMismatch) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.is)
		}
		if got := strings.Join(s.Tags("a"), " "); got != tt.tags {
			t.Errorf("%s: the tags %q are left; want %q", tt.name, got, tt.tags)
		}
		if n := len(s.Requests()); n != tt.n {
			t.Errorf("%s: %d requests; want %d", tt.name, n, tt.n)
		}
		list := told.of(image.EventDelete)
		if len(list) != 1 || list[0].Text != tt.what.String() || !isError(list[0].Err, tt.is) {
			t.Errorf("%s: told %v", tt.name, list)
		}
	}
}

func fault(f registrytest.Fault) *registrytest.Fault { return &f }

// What cannot be deleted does not keep the rest from it, and the error is of
// all of those, on one line.
func TestDeleteMany(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TagDelete: true})
	m := makeImage(1, 10)
	var list []image.Deletion
	for i := range 300 {
		tag := fmt.Sprintf("v%03d", i)
		m.store(s.Registry, "a", tag)
		list = append(list, image.Deletion{Name: tag})
	}
	s.Inject(
		registrytest.On("DELETE", "/v2/a/manifests/v00*", registrytest.Refuse(403, "DENIED", "")),
		registrytest.On("DELETE", "/v2/a/manifests/v010", registrytest.Refuse(405, "UNSUPPORTED", "")),
	)
	var told events
	o := quick()
	o.Notify = told.notify
	err := open(t, s.Addr+"/a:v1", o).Shelf().Delete(context.Background(), list)
	if !errors.Is(err, image.ErrDenied) || !errors.Is(err, image.ErrUnsupported) || strings.Contains(err.Error(), "\n") || !strings.HasSuffix(err.Error(), "; and 8 more") || len(err.Error()) > 500 {
		t.Errorf("error %q", err)
	}
	if got := s.Tags("a"); len(got) != 11 {
		t.Errorf("%d tags are left; want 11", len(got))
	}
	if n := s.Count("DELETE", "**"); n != 300 || len(told.of(image.EventDelete)) != 300 {
		t.Errorf("%d requests, %d events; want 300", n, len(told.of(image.EventDelete)))
	}
}

// Tokens are asked for that let one delete, and once.
func TestDeleteAuthorised(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{TagDelete: true, Auth: registrytest.Auth{Scheme: registrytest.Bearer, Users: users}})
	m.store(s.Registry, "a", "v1")
	shelf := open(t, s.Addr+"/a:v1", as(ali)).Shelf()
	ctx := context.Background()
	if tags, err := shelf.Tags(ctx); err != nil || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("Tags = %q, %v", tags, err)
	}
	if d, err := shelf.Find(ctx, "v1"); err != nil || d.Digest != m.desc.Digest {
		t.Errorf("Find = %v, %v", d, err)
	}
	if _, err := shelf.Manifest(ctx, ""); !errors.Is(err, image.ErrUnsupported) {
		t.Errorf(`Manifest("") = %v; want ErrUnsupported`, err)
	}
	if raw, err := shelf.Manifest(ctx, m.desc.Digest); err != nil || raw.Digest() != m.desc.Digest {
		t.Errorf("Manifest = %v, %v", raw, err)
	}
	if b, err := readBlob(shelf, m.config); err != nil || len(b) != int(m.config.Size) {
		t.Errorf("Blob = %d bytes, %v", len(b), err)
	}
	if err := shelf.Delete(ctx, []image.Deletion{{Digest: m.desc.Digest}}); err != nil {
		t.Error(err)
	}
	if n := s.Count("", "/token"); n != 1 {
		t.Errorf("asked %d times for a token; want once", n)
	}
	if err := shelf.Close(); err != nil {
		t.Error(err)
	}
	anonymous := open(t, s.Addr+"/a:v1", quick()).Shelf()
	if err := anonymous.Delete(ctx, []image.Deletion{{Name: "v1"}}); !errors.Is(err, image.ErrUnauthorized) {
		t.Errorf("anonymous: %v; want ErrUnauthorized", err)
	}
}

// Real registries: version 2.8 deletes no tags, and must not delete a manifest
// when it is asked to.
func TestRealDelete(t *testing.T) {
	for _, tt := range []struct {
		version      string
		delete, tags bool
	}{{"v3", true, true}, {"v3", false, false}, {"2.8", true, false}, {"2.8", false, false}, {"olareg", true, true}} {
		t.Run(fmt.Sprintf("%s, delete %v", tt.version, tt.delete), func(t *testing.T) {
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: tt.version, Delete: tt.delete})
			ctx := context.Background()
			m := makeImage(1, 10)
			for _, tag := range []string{"v1", "v2"} {
				dst := destination(t, r.Addr+"/a/b:"+tag, quick())
				for _, d := range m.all() {
					if _, err := dst.Put(ctx, verified(t, d, m.blobs[d.Digest], true)); err != nil {
						t.Fatal(err)
					}
				}
				if err := dst.Commit(ctx, m.tree(t)); err != nil {
					t.Fatal(err)
				}
			}
			shelf := open(t, r.Addr+"/a/b:v1", quick()).Shelf()
			var tagError, manifestError error
			if !tt.tags {
				tagError = image.ErrUnsupported
			}
			if !tt.delete {
				manifestError = image.ErrUnsupported
			}
			left := func() string {
				var there []string
				for _, name := range []string{"v1", "v2", m.desc.Digest.String()} {
					if _, err := shelf.Find(ctx, name); err == nil {
						there = append(there, name[:2])
					} else if !errors.Is(err, image.ErrNotFound) {
						t.Errorf("Find(%s): %v", name, err)
					}
				}
				return strings.Join(there, " ")
			}
			for range 2 { // the second time it is gone already
				if err := shelf.Delete(ctx, []image.Deletion{{Name: "v1", Digest: m.desc.Digest}}); !isError(err, tagError) {
					t.Errorf("deleting v1: %v; want %v", err, tagError)
				}
				if want := map[bool]string{true: "v2 sh", false: "v1 v2 sh"}[tt.tags]; left() != want {
					t.Errorf("%q is left; want %q", left(), want)
				}
			}
			for range 2 {
				if err := shelf.Delete(ctx, []image.Deletion{{Digest: m.desc.Digest}}); !isError(err, manifestError) {
					t.Errorf("deleting %s: %v; want %v", m.desc.Digest, err, manifestError)
				}
			}
			if got := left(); tt.delete && got != "" {
				t.Errorf("%q is left; want nothing", got)
			}
		})
	}
}

// Real registries with tokens: each verb asks for what it needs, and a registry
// for what it wants beside that.
func TestRealTokens(t *testing.T) {
	for _, version := range []string{"v3", "2.8"} {
		t.Run(version, func(t *testing.T) {
			tokens := harness.StartTokens(t, harness.TokenOptions{})
			r := harness.StartRegistry(t, harness.RegistryOptions{Version: version, Tokens: tokens, Delete: true})
			o := as(Credential{Username: r.User, Password: r.Password})
			ctx := context.Background()
			if err := Check(ctx, r.Addr, o); err != nil {
				t.Errorf("Check: %v", err)
			}
			imagetest.TestAttached(t, placeAt(r.Addr, o))
			if got, err := Catalog(ctx, r.Addr, o); err != nil || !slices.Equal(got, []string{"place/1"}) {
				t.Errorf("Catalog = %q, %v", got, err)
			}
			shelf := open(t, r.Addr+"/place/1:v1", o).Shelf()
			d, err := shelf.Find(ctx, "v1")
			if err != nil {
				t.Fatal(err)
			}
			if err := shelf.Delete(ctx, []image.Deletion{{Digest: d.Digest}}); err != nil {
				t.Errorf("Delete: %v", err)
			}
			if _, err := shelf.Find(ctx, "v1"); !errors.Is(err, image.ErrNotFound) {
				t.Errorf("after Delete: %v; want ErrNotFound", err)
			}
			wrong := as(Credential{Username: r.User, Password: "wrong"})
			if err := Check(ctx, r.Addr, wrong); !errors.Is(err, image.ErrUnauthorized) || !strings.HasPrefix(err.Error(), "invalid username/password: ") {
				t.Errorf("Check with a wrong password: %v", err)
			}
		})
	}
}

// Where clients keep the lists of referrers, what is deleted is taken out of
// them: or whoever follows a list would find nothing.
func TestDeleteUnlists(t *testing.T) {
	c := imagetest.Signed()
	names := signedNames(t, c)
	by := map[string]digest.Digest{}
	for d, name := range names {
		by[name] = digestOf(d)
	}
	noPush := func(user, _, action string) bool { return action != "push" || user == "bob" }
	bearer := registrytest.Auth{Scheme: registrytest.Bearer, Users: map[string]string{"ali": "sesame", "bob": "sesame"}, Allow: noPush}
	tests := []struct {
		name  string
		o     registrytest.Options
		what  string // to delete
		list  string // of the root, then
		puts  bool   // a list was written, or should have been
		warns int
	}{
		{"a referrer", registrytest.Options{}, "B", "S", true, 0},
		{"all referrers", registrytest.Options{}, "B S C", "", true, 0},
		{"what has no subject", registrytest.Options{}, "X", "B S", false, 0},
		{"the registry lists", registrytest.Options{Referrers: true}, "B", "S", false, 0},
		{"not allowed to write", registrytest.Options{Auth: bearer}, "B", "B S", true, 1},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, tt.o)
		ctx := context.Background()
		if err := imagetest.SendAttached(ctx, destination(t, s.Addr+"/a:v1", as(Credential{Username: "bob", Password: "sesame"})), c); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var told events
		o := as(ali)
		o.Notify = told.notify
		shelf := open(t, s.Addr+"/a:v1", o).Shelf()
		if _, err := shelf.Referrers(ctx, c.Root.Digest); err != nil {
			t.Fatal(err)
		}
		s.Forget()
		var list []image.Deletion
		for name := range strings.FieldsSeq(tt.what) {
			list = append(list, image.Deletion{Digest: by[name]})
		}
		if err := shelf.Delete(ctx, list); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if n := s.Count("PUT", "**"); (n > 0) != tt.puts {
			t.Errorf("%s: %d PUTs; want some: %v", tt.name, n, tt.puts)
		}
		left, err := shelf.Referrers(ctx, c.Root.Digest)
		var got []string
		for _, d := range left {
			got = append(got, names[d.Digest.String()])
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); err != nil || s != tt.list {
			t.Errorf("%s: the list is %q, %v; want %q", tt.name, s, err, tt.list)
		}
		if n := len(told.of(image.EventWarning)); n != tt.warns {
			t.Errorf("%s: %d warnings; want %d", tt.name, n, tt.warns)
		}
	}
}
