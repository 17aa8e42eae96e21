package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
	"github.com/imgtools/imgtools/test/harness"
)

// A login is checked with the registry, or with its token service, and leaves
// nothing behind; the requests ask for nothing in particular.
func TestCheck(t *testing.T) {
	wrong := Credential{Username: "ali", Password: "simsalabim"}
	identity := Credential{IdentityToken: "refresh-me"}
	basic := registrytest.Auth{Scheme: registrytest.Basic, Users: users}
	bearer := registrytest.Auth{Scheme: registrytest.Bearer, Users: users, Identity: map[string]string{"refresh-me": "ali"}}
	ping := func(do registrytest.Action) *registrytest.Fault { return fault(registrytest.On("GET", "/v2/", do)) }
	tests := []struct {
		name  string
		auth  registrytest.Auth
		fault *registrytest.Fault
		cred  Credential
		is    error
		text  string
		want  string
	}{
		{"open", registrytest.Auth{}, nil, wrong, nil, "", "/v2/"},
		{"basic", basic, nil, ali, nil, "", "/v2/ /v2/"},
		{"basic, wrong", basic, nil, wrong, image.ErrUnauthorized, "invalid username/password: authentication required", "/v2/ /v2/"},
		{"basic, anonymous", basic, nil, Credential{}, image.ErrUnauthorized, "invalid username/password: authentication required", "/v2/ /v2/"},
		{"bearer", bearer, nil, ali, nil, "", "/v2/ /token /v2/"},
		{"bearer, wrong", bearer, nil, wrong, image.ErrUnauthorized, "invalid username/password: unauthorized: incorrect username or password", "/v2/ /token"},
		{"identity token", bearer, nil, identity, nil, "", "/v2/ /token /v2/"},
		{"identity token, wrong", bearer, nil, Credential{IdentityToken: "x1234"}, image.ErrUnauthorized, "invalid username/password: unauthorized: incorrect username or password", "/v2/ /token"},
		{"no registry", registrytest.Auth{}, ping(registrytest.Reply(404, "text/html", "<html>")), ali, image.ErrNotFound, `pinging registry REG: StatusCode: 404, "<html>"`, "/v2/"},
		{"denied", registrytest.Auth{}, ping(registrytest.Refuse(403, "DENIED", "not you")), ali, image.ErrDenied, "pinging registry REG: denied: not you", "/v2/"},
		{"broken", registrytest.Auth{}, ping(registrytest.Cut()), ali, image.ErrNetwork, "pinging registry REG: ", "/v2/ /v2/ /v2/ /v2/"},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{Auth: tt.auth})
		if tt.fault != nil {
			s.Inject(*tt.fault)
		}
		o := quick()
		asked := ""
		o.Credential = func(_ context.Context, of string) (Credential, error) { asked = of; return tt.cred, nil }
		err := Check(context.Background(), s.Addr, o)
		if !isError(err, tt.is) || err != nil && !strings.HasPrefix(strings.ReplaceAll(err.Error(), s.Addr, "REG"), tt.text) {
			t.Errorf("%s: %v; want %v, %q", tt.name, err, tt.is, tt.text)
		}
		if want := map[bool]string{true: s.Addr}[tt.auth.Scheme != registrytest.Open]; asked != want {
			t.Errorf("%s: asked for the credential of %q; want %q", tt.name, asked, want)
		}
		var got []string
		for _, q := range s.Requests() {
			if got = append(got, q.Path); q.Carries("scope") {
				t.Errorf("%s: a scope was asked for", tt.name)
			}
			if _, ok := q.Query["scope"]; ok {
				t.Errorf("%s: a scope was asked for", tt.name)
			}
		}
		if tt.name != "broken" && strings.Join(got, " ") != tt.want {
			t.Errorf("%s: requests %q; want %q", tt.name, got, tt.want)
		}
	}
}

// A host is a host, and nothing of a URL.
func TestHosts(t *testing.T) {
	for host, want := range map[string]string{
		"docker.io": "registry-1.docker.io", "quay.io": "quay.io", "myregistry": "myregistry", "h:5000": "h:5000",
		"": "", "a/b": "", "user@h": "", "h:port": "", "https://h": "", "h?x": "", "h#x": "", "h:1:2": "", "[::1]:5000": "", " ": "", "a b": "", "h\n": "",
	} {
		r, err := atHost(host, quick())
		switch {
		case want == "" && !errors.Is(err, reference.ErrFormat):
			t.Errorf("atHost(%q): %v; want ErrFormat", host, err)
		case want != "" && (err != nil || r.remote.name != want):
			t.Errorf("atHost(%q): %v; want %q", host, err, want)
		}
	}
	for name, f := range map[string]func() error{
		"Check":   func() error { return Check(context.Background(), "a/b", quick()) },
		"Catalog": func() error { _, err := Catalog(context.Background(), "a/b", quick()); return err },
	} {
		if err := f(); !errors.Is(err, reference.ErrFormat) {
			t.Errorf("%s(a/b): %v; want ErrFormat", name, err)
		}
	}
}

// Real registries, with a password and with tokens.
func TestRealCheck(t *testing.T) {
	realRegistries(t, harness.RegistryOptions{TLS: true, Htpasswd: true}, func(t *testing.T, r *harness.Registry, opts Options, _ bool) {
		if err := Check(context.Background(), r.Addr, opts); err != nil {
			t.Error(err)
		}
		bad := as(Credential{Username: r.User, Password: "wrong"})
		bad.CertDir = r.CertDir
		if err := Check(context.Background(), r.Addr, bad); !errors.Is(err, image.ErrUnauthorized) || !strings.HasPrefix(err.Error(), "invalid username/password: ") {
			t.Errorf("a wrong password: %v; want ErrUnauthorized", err)
		}
		if got, err := Catalog(context.Background(), r.Addr, opts); err != nil || len(got) > 0 {
			t.Errorf("Catalog = %q, %v; want none", got, err)
		}
	})
}

// The repositories of a registry, in pages, with a token for the list.
func TestCatalog(t *testing.T) {
	m := makeImage(1, 10)
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("team-%02d/app", i))
	}
	for _, scheme := range []registrytest.AuthScheme{registrytest.Open, registrytest.Basic, registrytest.Bearer} {
		for _, page := range []int{0, 10} {
			s := registrytest.Start(t, registrytest.Options{PageSize: page, Auth: registrytest.Auth{Scheme: scheme, Users: users}})
			for _, name := range all {
				m.store(s.Registry, name, "v1")
			}
			if got, err := Catalog(context.Background(), s.Addr, as(ali)); err != nil || !slices.Equal(got, all) {
				t.Errorf("pages of %d: %q, %v; want %q", page, got, err, all)
			}
			if n := s.Count("", "/token"); n > 1 {
				t.Errorf("asked %d times for a token; want once", n)
			}
		}
	}
}

func TestCatalogPages(t *testing.T) {
	page := func(body, link string) registrytest.Action {
		return registrytest.Reply(200, "application/json", body, "Link", link)
	}
	tests := []struct {
		name string
		do   registrytest.Action
		want string
		is   error
	}{
		{"none", page(`{"repositories":null}`, ""), "", nil},
		{"not JSON", page(`<html>`, ""), "", oci.ErrInvalid},
		{"no name", page(`{"repositories":["a/../b"]}`, ""), "", oci.ErrInvalid},
		{"a control character", page(`{"repositories":["a\u001b[31m"]}`, ""), "", oci.ErrInvalid},
		{"a name with a tag", page(`{"repositories":["a:v1"]}`, ""), "", oci.ErrInvalid},
		{"names with and without slashes", page(`{"repositories":["a","library/b","c/d"]}`, ""), "a library/b c/d", nil},
		{"a link to the tags of one", page(`{"repositories":["a"]}`, `</v2/a/tags/list>; rel="next"`), "", image.ErrRejected},
		{"a circle", page(`{"repositories":["a"]}`, `</v2/_catalog?n=1000>; rel="next"`), "", errAny},
		{"endless", registrytest.Endless("application/json", `{"repositories":["a"`), "", image.ErrTooLarge},
		{"no such list", registrytest.Refuse(404, "", ""), "", image.ErrNotFound},
		{"unsupported", registrytest.Refuse(405, "UNSUPPORTED", ""), "", image.ErrUnsupported},
		{"denied", registrytest.Refuse(http.StatusForbidden, "DENIED", ""), "", image.ErrDenied},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		s.Inject(registrytest.On("GET", "/v2/_catalog", tt.do))
		got, err := Catalog(context.Background(), s.Addr, quick())
		if tt.is == errAny && err != nil {
			continue
		}
		if !isError(err, tt.is) || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.is)
		}
	}
}

// Other names of the repository, by HEAD where that says everything.
func TestFind(t *testing.T) {
	m := makeImage(1, 10)
	d := m.desc.Digest.String()
	head := func(do registrytest.Action) *registrytest.Fault {
		return fault(registrytest.On("HEAD", "/v2/a/manifests/*", do))
	}
	tests := []struct {
		name  string
		ref   string
		fault *registrytest.Fault
		is    error
		want  string
	}{
		{"tag", "v1", nil, nil, "HEAD"},
		{"digest", d, nil, nil, "HEAD"},
		{"sha512", m.raw.DigestBy("sha512").String(), nil, image.ErrNotFound, "HEAD"},
		{"none", "v0", nil, image.ErrNotFound, "HEAD"},
		{"no digest in the header", "v1", head(registrytest.Header("Docker-Content-Digest", "")), nil, "HEAD GET"},
		{"no length", "v1", head(registrytest.HTTP10()), nil, "HEAD GET"},
		{"a length of nothing", "v1", head(registrytest.Header("Content-Length", "0")), nil, "HEAD GET"},
		{"another digest than the one asked for", d, head(registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))), nil, "HEAD GET"},
		{"405", "v1", head(registrytest.Refuse(405, "", "")), nil, "HEAD GET"},
		{"denied", "v1", head(registrytest.Reply(403, "", "")), image.ErrDenied, "HEAD"},
		{"no name", "../v1", nil, reference.ErrFormat, ""},
		{"empty", "", nil, reference.ErrFormat, ""},
	}
	for _, tt := range tests {
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a", "v1")
		if tt.fault != nil {
			s.Inject(*tt.fault)
		}
		r := open(t, s.Addr+"/a:none", quick())
		for _, n := range []image.Namer{r.Source(), r.Destination(), r.Shelf()} {
			s.Forget()
			got, err := n.Find(context.Background(), tt.ref)
			if !isError(err, tt.is) || err == nil && (got.Digest != m.desc.Digest || got.Size != m.desc.Size || got.MediaType != m.desc.MediaType) {
				t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, err, m.desc, tt.is)
			}
			if got := methods(s.Registry); got != tt.want {
				t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
			}
		}
	}
}
