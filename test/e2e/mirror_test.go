package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
)

// A mirrored registry is one that a user names, far, with a mirror in
// registries.conf, and what each of them was asked by our tools.
type mirrored struct {
	harness.Layout
	home
	far, near *harness.Way
	conf      string // where the user has it
}

// mirror starts a registry with a/b:1 (an index) and a/b:2, and a pull-through
// cache of it, and configures that as its mirror. The hook is in the way to the
// mirror. The rest of the configuration may say FAR and NEAR.
func mirror(t *testing.T, hook harness.Hook, conf string) mirrored {
	t.Helper()
	l := harness.Image(t, sample.Platforms(), sample.Tiny())
	far := harness.StartRegistry(t, harness.RegistryOptions{})
	far.Seed(t, l, "platforms", "a/b:1")
	far.Seed(t, l, "tiny", "a/b:2")
	near := harness.StartRegistry(t, harness.RegistryOptions{Mirror: far})
	m := mirrored{l, newHome(t), far.Through(t, nil), near.Through(t, hook), ""}
	m.configure(t, conf)
	return m
}

// asMirror is a configuration of one mirror.
const asMirror = `
[[registry]]
location = "FAR"
insecure = true
[[registry.mirror]]
location = "NEAR"
insecure = true
`

func (m *mirrored) configure(t *testing.T, conf string) {
	t.Helper()
	m.conf = m.write(t, ".config/containers/registries.conf", strings.NewReplacer("FAR", m.far.Addr, "NEAR", m.near.Addr).Replace(conf))
}

// commands are ways to use a registry to read.
func (m mirrored) commands(t *testing.T) map[string]stage {
	t.Helper()
	return map[string]stage{
		"copy":    {"img-copy", "-q", m.far.Ref("a/b:1"), "oci:" + harness.Dir(t) + "/l:x"},
		"inspect": {"img-inspect", m.far.Ref("a/b:2")},
		"digest":  {"img-inspect", "--digest", m.far.Ref("a/b@" + m.Roots["tiny"].Digest.String())},
		"tags":    {"img-list-tags", m.far.Ref("a/b")},
		"skopeo":  {"skopeo", "inspect", "--no-tags", m.far.Ref("a/b:2")}, // as they have it
	}
}

// everything runs all commands, which must do what they do without a mirror.
func (m mirrored) everything(t *testing.T) {
	t.Helper()
	for name, args := range m.commands(t) {
		r := m.command().Run(t, args[0], args[1:]...)
		if r.Code != 0 {
			t.Errorf("%s: exit %d\n%s", name, r.Code, r.Stderr)
			continue
		}
		switch {
		case name == "copy":
			mustWhole(t, args[3], m.Roots["platforms"].Digest)
		case name == "tags" && r.Stdout != "1\n2\n" && r.Stdout != "2\n1\n":
			t.Errorf("tags %q; want 1 and 2", r.Stdout)
		case name == "inspect" && !strings.Contains(r.Stdout, m.Roots["tiny"].Digest.String()):
			t.Errorf("inspect: %s; want the image", r.Stdout)
		}
	}
}

// A mirror that works takes all the load of the registry, that of listing tags
// too.
func TestMirrorIsUsed(t *testing.T) {
	t.Parallel()
	m := mirror(t, nil, asMirror)
	m.everything(t)
	if got := m.far.Requests(""); len(got) != 0 {
		t.Errorf("the registry itself was asked %q; want the mirror asked alone", got)
	}
	for _, part := range []string{"/manifests/1", "/blobs/", "/tags/list"} {
		if len(m.near.Requests(part)) == 0 {
			t.Errorf("the mirror was never asked for %s", part)
		}
	}
}

// Whatever is wrong with a mirror, the registry is there, and must be asked
// instead; nobody should notice but by the time it takes.
func TestMirrorFails(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]harness.Hook{
		"hangs up": func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
		"is broken": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusInternalServerError)
		},
		"is overloaded": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"wants a login":  locksOut(http.StatusUnauthorized),
		"lets nobody in": locksOut(http.StatusForbidden),
		"has nothing":    func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNotFound) },
		"is no registry": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { fmt.Fprint(w, "<html>welcome</html>") },
		"lacks manifests": func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
			if strings.Contains(q.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			pass.ServeHTTP(w, q)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mirror(t, hook, asMirror)
			c := m.command()
			for what, args := range m.commands(t) {
				if what == "skopeo" || what == "tags" && name == "lacks manifests" {
					continue
				}
				if args[0] == "img-copy" || args[0] == "img-inspect" {
					args = append(stage{args[0], "--retry-times=1", "--retry-delay=1ms"}, args[1:]...)
				}
				r := c.Run(t, args[0], args[1:]...)
				if r.Code != 0 {
					t.Errorf("%s: exit %d\n%s", what, r.Code, r.Stderr)
				}
				if what == "copy" && r.Code == 0 {
					mustWhole(t, args[len(args)-1], m.Roots["platforms"].Digest)
				}
			}
		})
	}
	t.Run("is not there", func(t *testing.T) {
		t.Parallel()
		m := mirror(t, nil, asMirror)
		m.configure(t, strings.Replace(asMirror, "NEAR", "127.0.0.1:1", 1))
		m.everything(t)
	})
}

func locksOut(code int) harness.Hook {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if code == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		}
		w.WriteHeader(code)
	}
}

// A mirror that has other bytes than it says is found out. The copy gets the
// right ones from the registry, or there is none.
func TestMirrorIsWrong(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]string{"blobs": "/blobs/", "manifests": "/manifests/sha256:"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mirror(t, func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
				if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, wrong) {
					pass.ServeHTTP(w, q)
					return
				}
				good := httptest.NewRecorder()
				pass.ServeHTTP(good, q)
				corrupt(w, good.Result(), good.Body.Bytes())
			}, asMirror)
			to := "oci:" + harness.Dir(t) + "/l:x"
			r := m.command().Run(t, "img-copy", "-q", "--retry-delay=1ms", m.far.Ref("a/b:1"), to)
			checkFault(t, fault{codes: []int{0, mismatch}}, r, to, m.Roots["platforms"].Digest)
		})
	}
	// What a tag stands for is the mirror's word, but a digest is a promise.
	t.Run("tags", func(t *testing.T) {
		t.Parallel()
		var other digest.Digest
		m := mirror(t, func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
			if strings.Contains(q.URL.Path, "/manifests/") {
				q.URL.Path = "/v2/a/b/manifests/" + other.String()
			}
			pass.ServeHTTP(w, q)
		}, asMirror)
		other = m.Roots["tiny"].Digest
		to := "oci:" + harness.Dir(t) + "/l:x"
		r := m.command().Run(t, "img-copy", "-q", "--retry-delay=1ms", m.far.Ref("a/b@"+m.Roots["platforms"].Digest.String()), to)
		checkFault(t, fault{codes: []int{0, mismatch}}, r, to, m.Roots["platforms"].Digest)
	})
}

// A mirror that accepts a connection and then says nothing, or says a little
// and stops, must not hold up work for ever.
func TestMirrorIsSlow(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{"at once": "", "blobs": "/blobs/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{})
			m := mirror(t, func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
				if !strings.Contains(q.URL.Path, part) {
					pass.ServeHTTP(w, q)
					return
				}
				select {
				case <-q.Context().Done():
				case <-done:
				}
			}, asMirror)
			t.Cleanup(func() { close(done) })
			to := "oci:" + harness.Dir(t) + "/l:x"
			r := m.command().Run(t, "img-copy", "-q", "--stall-timeout=2s", "--retry-times=1", "--retry-delay=1ms", m.far.Ref("a/b:1"), to)
			checkFault(t, fault{codes: []int{0, network}}, r, to, m.Roots["platforms"].Digest)
			if name == "at once" && r.Code != 0 {
				t.Errorf("exit %d; want the registry asked instead", r.Code)
			}
		})
	}
}

// The password of a registry is for that registry. Its mirror is another one.
func TestMirrorGetsNoCredentials(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	far := harness.StartRegistry(t, harness.RegistryOptions{Htpasswd: true})
	far.Seed(t, l, "tiny", "a/b:1")
	var leaked, challenge atomic.Value
	near := far.Through(t, func(w http.ResponseWriter, q *http.Request, _ http.Handler) {
		if a := q.Header.Get("Authorization"); a != "" && a != "Basic Og==" { // an empty name and password
			leaked.Store(a)
		}
		w.Header().Set("WWW-Authenticate", challenge.Load().(string))
		w.WriteHeader(http.StatusUnauthorized)
	})
	m := mirrored{l, newHome(t), far.Through(t, nil), near, ""}
	m.configure(t, asMirror)
	auth := m.write(t, "auth.json", "")
	authFile(t, &harness.Registry{Addr: m.far.Addr, User: far.User, Password: far.Password}, auth, goodAuth)
	for _, flag := range []string{"--src-creds=" + far.User + ":" + far.Password, "--src-authfile=" + auth, "--src-registry-token=open-sesame"} {
		for _, scheme := range []string{`Basic realm="mirror"`, `Bearer realm="http://` + near.Addr + `/token",service="mirror"`} {
			challenge.Store(scheme)
			r := m.command().Run(t, "img-copy", "-q", flag, m.far.Ref("a/b:1"), "oci:"+harness.Dir(t)+"/l:x")
			if r.Code != 0 && !strings.Contains(flag, "token") { // which the registry does not take
				t.Errorf("%s: exit %d\n%s", flag, r.Code, r.Stderr)
			}
			if a := leaked.Swap(""); a != nil && a != "" {
				t.Errorf("%s: the mirror, which wants %s, got %q", flag, scheme, a)
			}
		}
	}
}

// What the rules of registries.conf say counts for every tool.
func TestRegistriesConf(t *testing.T) {
	t.Parallel()
	m := mirror(t, nil, asMirror)
	layout := "oci:" + harness.Dir(t) + "/l:x"
	tag, pinned := m.far.Ref("a/b:2"), m.far.Ref("a/b@"+m.Roots["tiny"].Digest.String())
	for name, x := range map[string]struct {
		conf      string
		args      stage
		code      int
		far, near bool // that they are asked
	}{
		"blocked":       {"[[registry]]\nlocation = \"FAR\"\ninsecure = true\nblocked = true\n", stage{"img-inspect", tag}, refused, false, false},
		"blocked, copy": {"[[registry]]\nlocation = \"FAR/a\"\nblocked = true\n", stage{"img-copy", "-q", tag, layout}, refused, false, false},
		"blocked, push": {"[[registry]]\nlocation = \"FAR\"\nblocked = true\n", stage{"img-copy", "-q", m.Layout.Ref("tiny"), m.far.Ref("x:1")}, refused, false, false},
		"blocked, tags": {"[[registry]]\nlocation = \"FAR\"\nblocked = true\n", stage{"img-list-tags", m.far.Ref("a/b")}, refused, false, false},
		"blocked, other": {
			"[[registry]]\nlocation = \"FAR/other\"\nblocked = true\n", stage{"img-inspect", "--raw", tag}, 0, true, false,
		},
		"rewritten": {
			"[[registry]]\nprefix = \"registry.example/x\"\nlocation = \"FAR/a\"\ninsecure = true\n",
			stage{"img-inspect", "docker://registry.example/x/b:2"}, 0, true, false,
		},
		"rewritten, tags": {
			"[[registry]]\nprefix = \"registry.example/x\"\nlocation = \"FAR/a\"\ninsecure = true\n",
			stage{"img-list-tags", "docker://registry.example/x/b"}, 0, true, false,
		},
		"rewritten, any host": {
			"[[registry]]\nprefix = \"*.example\"\nlocation = \"FAR/a\"\ninsecure = true\n",
			stage{"img-inspect", "--raw", "docker://sub.registry.example/b:2"}, 0, true, false,
		},
		"mirror for digests, a tag": {
			strings.Replace(asMirror, "insecure = true\n", "insecure = true\nmirror-by-digest-only = true\n", 1), stage{"img-inspect", "--raw", tag}, 0, true, false,
		},
		"mirror for digests, a digest": {
			strings.Replace(asMirror, "insecure = true\n", "insecure = true\nmirror-by-digest-only = true\n", 1), stage{"img-inspect", "--raw", pinned}, 0, false, true,
		},
		"mirror for tags, a digest": {asMirror + "pull-from-mirror = \"tag-only\"\n", stage{"img-inspect", "--raw", pinned}, 0, true, false},
		"mirror for tags, a tag":    {asMirror + "pull-from-mirror = \"tag-only\"\n", stage{"img-inspect", "--raw", tag}, 0, false, true},
		"mirror, push":              {asMirror, stage{"img-copy", "-q", m.Layout.Ref("tiny"), m.far.Ref("x:1")}, 0, true, false},
		"not TOML":                  {"[[registry]\n", stage{"img-inspect", tag}, failure, false, false},
		"version 1":                 {"[registries.search]\nregistries = ['a.example']\n", stage{"img-inspect", tag}, failure, false, false},
		"no location":               {"[[registry]]\ninsecure = true\n", stage{"img-inspect", tag}, failure, false, false},
	} {
		m.configure(t, x.conf)
		far, near := len(m.far.Requests("")), len(m.near.Requests(""))
		r := m.command().Run(t, x.args[0], x.args[1:]...)
		if x.code == 0 && r.Code != 0 {
			t.Errorf("%s: exit %d\n%s", name, r.Code, r.Stderr)
		} else if x.code != 0 {
			line := failed(t, r, x.code, x.args[0])
			if x.code == failure && !strings.Contains(line, m.conf) {
				t.Errorf("%s: %q; want the file in it", name, line)
			}
		}
		if got := len(m.far.Requests("")) > far; got != x.far {
			t.Errorf("%s: the registry was asked: %v; want %v", name, got, x.far)
		}
		if got := len(m.near.Requests("")) > near; got != x.near {
			t.Errorf("%s: the mirror was asked: %v; want %v", name, got, x.near)
		}
	}
	// A variable names the one file that counts, and it has to be there.
	m.configure(t, "[[registry]]\nlocation = \"FAR\"\nblocked = true\n")
	other := m.write(t, "other.conf", "[[registry]]\nlocation = \""+m.far.Addr+"\"\ninsecure = true\n")
	m.command("CONTAINERS_REGISTRIES_CONF="+other).Must(t, "img-inspect", tag)
	r := m.command("CONTAINERS_REGISTRIES_CONF="+other+"x").Run(t, "img-inspect", tag)
	if line := failed(t, r, failure, "img-inspect"); !strings.Contains(line, other+"x") {
		t.Errorf("no such file: %q; want it named", line)
	}
	m.write(t, ".config/containers/registries.conf.d/10-open.conf", "[[registry]]\nlocation = \""+m.far.Addr+"\"\ninsecure = true\n")
	m.command().Must(t, "img-inspect", tag) // a later file says otherwise
}
