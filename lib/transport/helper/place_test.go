package helper

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/transport/archive"
)

// install puts programs, by the names of their transports, into a directory
// that is on PATH.
func install(t *testing.T, programs map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(dir, prefix+name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return dir
}

// script installs one program, x, which does this in sh. $1 and $2 are its
// arguments.
func script(t *testing.T, o Options, body string) *Program {
	t.Helper()
	install(t, map[string]string{"x": "#!/bin/sh\n" + body + "\n"})
	return find(t, "x", o)
}

func find(t *testing.T, name string, o Options) *Program {
	t.Helper()
	p, err := Find(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// streamOf returns c as an image stream.
func streamOf(t *testing.T, c *imagetest.Content) []byte {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b, archive.Options{})
	defer w.Close()
	if err := imagetest.Send(t.Context(), w, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// documented returns the program that the man page shows, as mandoc's readers
// see it.
func documented(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../man/img-transport.7")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(page), "\n#!/bin/sh\n")
	if ok {
		text, _, ok = strings.Cut(text, ".Ed\n")
	}
	if !ok {
		t.Fatal("img-transport(7) has no program")
	}
	return "#!/bin/sh\n" + strings.ReplaceAll(text, `\e`, `\`)
}

// What people copy from the man page has to do what a transport does, and what
// other tests run has to be that.
func TestDocumented(t *testing.T) {
	text := documented(t)
	file, err := os.ReadFile("testdata/img-transport-tarfile")
	if err != nil || string(file) != text {
		t.Errorf("testdata has another program than the man page: %v\n%s", err, file)
	}
	install(t, map[string]string{"tarfile": text})
	p := find(t, "tarfile", Options{Stderr: os.Stderr})
	imagetest.TestPlace(t, func(t *testing.T) imagetest.Place {
		path := filepath.Join(t.TempDir(), "a file.tar")
		return imagetest.Place{
			Create: func(*testing.T) image.Destination { return p.Destination(path) },
			Open:   func(*testing.T) (image.Source, error) { return p.Source(path), nil },
		}
	})
	for detail, want := range map[string]error{"/nowhere/at/all": image.ErrNotFound, t.TempDir(): image.ErrNotFound} {
		src := p.Source(detail)
		if _, err := src.Manifest(t.Context(), ""); !errors.Is(err, want) {
			t.Errorf("get %s: %v; want %v", detail, err, want)
		}
		src.Close()
	}
}

// A program that is told to end cleans up behind itself.
func TestDocumentedEnded(t *testing.T) {
	install(t, map[string]string{"tarfile": documented(t)})
	p := find(t, "tarfile", Options{})
	dir := t.TempDir()
	c, err := p.start(verbPut, filepath.Join(dir, "a file.tar"), true, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	c.stdin.Write(make([]byte, 512))
	for size := int64(0); size == 0; { // until cat itself is at work: sh, about to start it, loses the signal
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || c.ended() {
			t.Fatalf("the program does nothing: %v", err)
		}
		for _, name := range list {
			if info, err := os.Stat(name); err == nil {
				size = info.Size()
			}
		}
	}
	c.signal(syscall.SIGTERM)
	if err := c.wait(t.Context()); !errors.Is(err, ErrFailed) {
		t.Errorf("put, ended: %v; want %v", err, ErrFailed)
	}
	onlyFile(t, dir)
}

// onlyFile fails if a copy that did not come to its end has left something.
func onlyFile(t *testing.T, dir string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range list {
		if e.Name() != "a file.tar" {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// Whoever kills us without a word closes the stream without its end mark: the
// program alone has to see that. It is run here as it would be then.
func TestDocumentedCut(t *testing.T) {
	install(t, map[string]string{"tarfile": documented(t)})
	p := find(t, "tarfile", Options{})
	whole := streamOf(t, imagetest.Image())
	for _, n := range []int{0, 1, 512, len(whole) / 2, len(whole) - 513, len(whole) - 512, len(whole) - 1, len(whole)} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a file.tar")
		c, err := p.start(verbPut, path, true, false)
		if err != nil {
			t.Fatal(err)
		}
		c.stdin.Write(whole[:n])
		c.stdin.Close()
		err = c.wait(t.Context())
		c.end()
		if good := n == len(whole); good != (err == nil) {
			t.Errorf("put of %d bytes of %d: %v", n, len(whole), err)
		}
		if _, serr := os.Stat(path); (serr == nil) != (err == nil) {
			t.Errorf("put of %d bytes of %d: %v, and %v", n, len(whole), err, serr)
		}
		onlyFile(t, dir)
	}
}
