package conf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/lib/reference"
)

// checkPlace: every error about content says where, in one short line.
func checkPlace(t *testing.T, data []byte, err error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	// A parser may stop behind the end, and YAML knows more line ends.
	lines := 2 + strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029")
	if !ok || e.Path != "/f" || e.Line < 1 || e.Line > lines || e.Problem == "" {
		t.Fatalf("%v of %d lines", err, lines)
	}
	if s := err.Error(); len(s) > 1024 || strings.ContainsAny(s, "\n\x1b\x00") {
		t.Fatalf("error has %d bytes: %q", len(s), s)
	}
}

func discard(string, ...any) {}

func FuzzRegistries(f *testing.F) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "example.com/foo/image:latest")
	}
	for _, s := range []string{
		"registry = [{location='a', mirror=[{location='b'}]}]", "[[registry]]\nprefix='*.a'\nlocation='a'", "[aliases]\n'a\\b'=\"c.d/e\"",
		"a='''\n'''''\nb=\"\\\"\" # x", "[registries.search]\nregistries=['a']", "[a.\"b\"]\n\"c.d\".e={f.g=[{}]}", "\ufeffa=1979-05-27 07:32:00",
		"unqualified-search-registries=['a:1']\nshort-name-mode='x'", "[[registry.mirror]]", "[registry]\n[[registry]]", "a.b=1\n[a]\nb.c=1",
	} {
		f.Add([]byte(s), "a.b/c@"+someDigest)
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if len(data) > maxFile {
			return
		}
		r, err := parseRegistries("/f", data, discard)
		if err != nil {
			checkPlace(t, data, err)
			return
		}
		for _, e := range r.entries {
			if e.line < 1 || e.prefix == "" {
				t.Errorf("entry %+v", e)
			}
		}
		d, err := reference.ParseDocker(name)
		if err != nil {
			return
		}
		endpoints, err := r.Pull(d)
		if err != nil && !errors.Is(err, ErrBlocked) {
			checkPlace(t, data, err)
		}
		if (len(endpoints) == 0) == (err == nil) {
			t.Errorf("Pull(%s) = %v, %v", d, endpoints, err)
		}
		// What is read elsewhere still is that image.
		for _, e := range endpoints {
			if again, err := reference.ParseDocker(e.Ref.String()); err != nil || again != e.Ref {
				t.Errorf("Pull(%s) gives %v, which reads as %v, %v", d, e.Ref, again, err)
			}
			if d.Digest != "" && e.Ref.Digest != d.Digest && !strings.Contains(string(data), "@") {
				t.Errorf("Pull(%s) gives %v", d, e.Ref)
			}
		}
		if e, err := r.Push(d); err == nil && e.Ref != d {
			t.Errorf("Push(%s) gives %v", d, e.Ref)
		}
	})
}

func FuzzTLS(f *testing.F) {
	for _, s := range []string{
		"", "minVersion: '1.2'\ncipherSuites: [TLS_AES_128_GCM_SHA256]\nnamedGroups:\n- x25519\n", "a: &a [*a]", "? {}", "<<: {}", "--- \n...\n--- a",
		"minVersion: !!binary MS4y", "minVersion: *x", "%YAML 1.1\n---\nminVersion: |\n  1.2\n", "{\"minVersion\":\"1.3\"}", "a: !!float 'x'", "- - -",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parseTLS("/f", data); err != nil {
			checkPlace(t, data, err)
		}
	})
}

func FuzzLookasides(f *testing.F) {
	for _, s := range []string{
		"", "default-docker:\n  lookaside: file:///x\ndocker:\n  a.b/c:\n    use-sigstore-attachments: yes\n", "docker: &d {a: *d}", "docker: {a: &x {}, b: *x}",
		"docker:\n  a: {lookaside: 'https://', sigstore-staging: ~}", "default-docker: []", "docker: {? [] : 1}",
	} {
		f.Add([]byte(s), "a.b/c:d")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		l := &Lookasides{scopes: map[string]section{}, initial: "file:///initial"}
		if err := l.add("/f", data, discard); err != nil {
			checkPlace(t, data, err)
			return
		}
		d, err := reference.ParseDocker(name)
		if err != nil {
			return
		}
		got, err := l.Find(d)
		if err != nil {
			checkPlace(t, data, err)
		} else if !usable(got.Read) || !usable(got.Write) {
			t.Errorf("Find(%s) = %+v", d, got)
		}
	})
}
