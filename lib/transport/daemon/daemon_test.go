package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/copy"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/test/harness"
)

func place(d *standIn, n Name) imagetest.Place {
	return imagetest.Place{
		Create: func(t *testing.T) image.Destination { return create(t, d, n) },
		Open:   func(t *testing.T) (image.Source, error) { return Open(t.Context(), n, d.options()) },
	}
}

func create(t *testing.T, d *standIn, n Name) image.Destination {
	t.Helper()
	dst, err := Create(t.Context(), n, d.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dst.Close() })
	return dst
}

func TestPlace(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", stored), func(t *testing.T) {
			imagetest.TestPlace(t, func(t *testing.T) imagetest.Place { return place(newStandIn(t, stored), name(t, "a.example/b:c")) })
		})
	}
}

// send puts an image into the stand-in and returns the ID that it has there.
func send(t *testing.T, d *standIn, c *imagetest.Content, n string) digest.Digest {
	t.Helper()
	dst := create(t, d, name(t, n))
	if err := imagetest.Send(t.Context(), dst, c); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
	return d.get(n).id
}

// One load gives all the names.
func TestLabels(t *testing.T) {
	d, c := newStandIn(t, true), imagetest.Image()
	o := d.options()
	for _, n := range []string{"also:1", "a.example/b:2"} {
		o.Labels = append(o.Labels, name(t, n).Ref)
	}
	dst, err := Create(t.Context(), name(t, "a:b"), o)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := imagetest.Send(t.Context(), dst, c); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a:b", "also:1", "a.example/b:2"} {
		if d.get(n).id != c.Root.Digest {
			t.Errorf("%s is %q; want %s", n, d.get(n).id, c.Root.Digest)
		}
	}
}

// A daemon holds images and nothing else: what is none must not be half sent.
func TestArtifact(t *testing.T) {
	d := newStandIn(t, false)
	for _, c := range []*imagetest.Content{imagetest.Artifact(), imagetest.Index()} {
		dst := create(t, d, name(t, "a:b"))
		if err := imagetest.Send(t.Context(), dst, c); !errors.Is(err, image.ErrUnsupported) {
			t.Errorf("send: %v; want ErrUnsupported", err)
		}
		dst.Close()
	}
	if d.get("a:b").id != "" {
		t.Errorf("something has been loaded")
	}
}

// The engine may change the layers of an image that no registry knows. So it
// must learn which daemons have made up the manifest that they save.
func TestIDs(t *testing.T) {
	c := imagetest.Image()
	for _, stored := range []bool{false, true} {
		d := newStandIn(t, stored)
		id := send(t, d, c, "a.example/b:c")
		src, err := Open(t.Context(), name(t, id.String()), d.options())
		if err != nil {
			t.Fatal(err)
		}
		if err := imagetest.Check(t.Context(), src, c); err != nil {
			t.Errorf("by ID: %v", err)
		}
		if image.Made(src) == stored {
			t.Errorf("Made = %v; the daemon keeps manifests: %v", image.Made(src), stored)
		}
		src.Close()

		// Another image under the ID: no daemon's word is taken for it.
		send(t, d, imagetest.Plain([]byte("other")), "o:1")
		d.set("a.example/b:c", held{id, d.get("o:1").tar})
		src, err = Open(t.Context(), name(t, id.String()), d.options())
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		if _, err := src.Manifest(t.Context(), ""); !errors.Is(err, image.ErrMismatch) {
			t.Errorf("another image under the ID: %v; want ErrMismatch", err)
		}
	}
}

// A digest names a manifest. What has another one is not given out, and the
// message says how else to come by the image.
func TestDigest(t *testing.T) {
	d, c := newStandIn(t, true), imagetest.Image()
	send(t, d, c, "b:c")
	for _, want := range []digest.Digest{c.Root.Digest, digest.FromString("other")} {
		n := "b@" + want.String()
		d.set(n, d.get("b:c"))
		src, err := Open(t.Context(), name(t, n), d.options())
		if err != nil {
			t.Fatal(err)
		}
		err = imagetest.Check(t.Context(), src, c)
		src.Close()
		if want == c.Root.Digest && err != nil {
			t.Errorf("by digest: %v", err)
		}
		if want != c.Root.Digest && (err == nil || !strings.Contains(err.Error(), "docker-daemon:sha256:")) {
			t.Errorf("by another digest: %v", err)
		}
	}
}

func TestVersions(t *testing.T) {
	for version, ok := range map[string]bool{
		"": true, "1.24": true, "1.41": true, "1.99": true, "2.0": true,
		"1.23": false, "0.99": false, "1": false, "1.41.0": false, "1.x": false, "1.41/../..": false, "v1.41": false, "1.041": false, "1.99999999": false,
	} {
		d := newStandIn(t, false)
		d.version = version
		_, err := Open(t.Context(), name(t, "a:b"), d.options())
		if want := map[bool]error{true: image.ErrNotFound, false: image.ErrUnsupported}[ok]; !errors.Is(err, want) {
			t.Errorf("version %q: %v; want %v", version, err, want)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	socket := filepath.Join(harness.Dir(t), "none.sock")
	o := Options{Env: func(key string) string { return map[string]string{"DOCKER_HOST": "unix://" + socket}[key] }}
	_, err := Open(t.Context(), name(t, "a:b"), o)
	_, cerr := Create(t.Context(), name(t, "a:b"), o)
	for _, err := range []error{err, cerr} {
		if !errors.Is(err, image.ErrNetwork) || !strings.Contains(err.Error(), socket) || strings.Contains(err.Error(), "localhost") {
			t.Errorf("%v; want an ErrNetwork that names %s", err, socket)
		}
	}
}

// An answer that is an error is the daemon's word, and one of ours.
func TestRefusals(t *testing.T) {
	for status, want := range map[int]error{
		400: image.ErrUnsupported, 401: image.ErrUnauthorized, 403: image.ErrDenied, 404: image.ErrNotFound,
		413: image.ErrTooLarge, 500: image.ErrUnsupported, 503: image.ErrNetwork, 302: image.ErrUnsupported,
	} {
		for _, action := range []string{"_ping", "json", "get"} {
			d := newStandIn(t, false)
			d.set("a:b", held{id: digest.FromString("x")})
			d.spoil[action] = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://localhost/_ping") // which is not followed
				refuseWith(w, status, "no\x1b[2J\nway")
			}
			_, err := Open(t.Context(), name(t, "a:b"), d.options())
			if !errors.Is(err, want) || !strings.Contains(err.Error(), `docker engine reported: "no [2J way"`) {
				t.Errorf("%s answers %d: %v; want %v", action, status, err, want)
			}
		}
	}
}

// What a daemon says when it loads an image decides, and not that it answered.
func TestLoadFails(t *testing.T) {
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			io.WriteString(w, text)
		}
	}
	for _, tt := range []struct {
		what string
		f    http.HandlerFunc
		want error
		text string
	}{
		{"an error in the stream", answer(200, `{"stream":"x"}`+"\r\n"+`{"errorDetail":{"message":"no space"},"error":"no space left"}`+"\r\n"), image.ErrUnsupported, `docker engine reported: "no space left"`},
		{"the detail only, and no end of line", answer(200, `{"errorDetail":{"message":"no space"}}`), image.ErrUnsupported, "no space"},
		{"two in a line", answer(200, `{"stream":"x"}{"error":"bad"}`), image.ErrUnsupported, "bad"},
		{"a refusal", answer(500, `{"message":"broken"}`), image.ErrUnsupported, "broken"},
		{"no JSON", answer(200, "<html>"), oci.ErrInvalid, "while it loads"},
		{"an endless line", answer(200, strings.Repeat(" ", maxLine+1)), image.ErrTooLarge, ""},
		{"nothing loaded", answer(200, `{"stream":"done"}`), image.ErrIncomplete, "No such image: a:b"},
		{"broken off", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, `{"stream":`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, image.ErrNetwork, "cut off"},
		{"refused before the end", func(w http.ResponseWriter, r *http.Request) { refuseWith(w, 403, "not you") }, image.ErrDenied, "not you"},
	} {
		d := newStandIn(t, false)
		d.spoil["load"] = tt.f
		dst := create(t, d, name(t, "a:b"))
		err := imagetest.Send(t.Context(), dst, imagetest.Image())
		if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: %v; want %v, %q", tt.what, err, tt.want, tt.text)
		}
		dst.Close()
	}
}

// A load that nobody tagged, or that another one overtook, is no success.
func TestLoadedIsAnother(t *testing.T) {
	d := newStandIn(t, false)
	d.set("a:b", held{id: digest.FromString("old")})
	d.spoil["load"] = func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }
	if err := imagetest.Send(t.Context(), create(t, d, name(t, "a:b")), imagetest.Image()); !errors.Is(err, image.ErrMismatch) {
		t.Errorf("send: %v; want ErrMismatch", err)
	}
}

// What is told of an image is a stranger's word.
func TestOddAnswers(t *testing.T) {
	for text, want := range map[string]error{
		`{"Id":"sha256:../../x"}`: oci.ErrInvalid, `{}`: oci.ErrInvalid, `[`: oci.ErrInvalid,
		`{"Id":"` + strings.Repeat("x", maxAnswer) + `"}`: image.ErrTooLarge,
	} {
		d := newStandIn(t, false)
		d.spoil["json"] = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
		if _, err := Open(t.Context(), name(t, "a:b"), d.options()); !errors.Is(err, want) {
			t.Errorf("%.50s: %v; want %v", text, err, want)
		}
	}
}

// An image of which the daemon saves a part only must not pass for a whole one.
func TestSaveBreaksOff(t *testing.T) {
	d, c := newStandIn(t, true), imagetest.Image()
	send(t, d, c, "a:b")
	whole := d.get("a:b").tar
	for what, tt := range map[string]struct {
		f    http.HandlerFunc
		want error
	}{
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			w.Write(whole[:len(whole)-2048])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, image.ErrNetwork},
		"ended": {func(w http.ResponseWriter, r *http.Request) { w.Write(whole[:len(whole)-1024]) }, image.ErrIncomplete},
		"an error after it": {func(w http.ResponseWriter, r *http.Request) {
			w.Write(whole[:len(whole)/2])
			io.WriteString(w, `{"error":"x"}`)
		}, image.ErrIncomplete},
	} {
		d.spoil["get"] = tt.f
		src, err := Open(t.Context(), name(t, "a:b"), d.options())
		if err != nil {
			t.Fatal(err)
		}
		_, err = copy.Copy(t.Context(), imagetest.NewMemory(image.Wants{}), src, copy.Options{Gate: copy.AdmitAll})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", what, err, tt.want)
		}
		src.Close()
	}
}

// A daemon that says nothing any more does not keep us for ever, wherever that
// happens; nor when whoever waits gives up before.
func TestSilence(t *testing.T) {
	c := imagetest.Image()
	for _, action := range []string{"get", "load"} {
		for _, begun := range []bool{false, true} {
			d := newStandIn(t, true)
			send(t, d, c, "a:b")
			over := make(chan struct{})
			t.Cleanup(func() { close(over) })
			d.spoil[action] = func(w http.ResponseWriter, r *http.Request) {
				if begun {
					io.WriteString(w, "{}\n")
					w.(http.Flusher).Flush()
				}
				select {
				case <-over:
				case <-r.Context().Done():
				}
			}
			try := func(ctx context.Context, idle time.Duration) error {
				o := d.options()
				o.Idle = idle
				if action == "load" {
					dst, err := Create(t.Context(), name(t, "a:b"), o)
					if err != nil {
						return err
					}
					defer dst.Close()
					return imagetest.Send(ctx, dst, c)
				}
				src, err := Open(ctx, name(t, "a:b"), o)
				if err != nil {
					return err
				}
				defer src.Close()
				return imagetest.Check(ctx, src, c)
			}
			if err := try(t.Context(), 50*time.Millisecond); !errors.Is(err, image.ErrNetwork) || !strings.Contains(err.Error(), "no data for 50ms") {
				t.Errorf("%s, begun=%v: %v; want an ErrNetwork", action, begun, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := try(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, begun=%v: %v; want the end of the context", action, begun, err)
			}
			cancel()
		}
	}
}

// While a slow registry keeps the daemon waiting, the daemon is not to blame.
func TestWatchRests(t *testing.T) {
	_, cancel := context.WithCancelCause(t.Context())
	w := newWatch(cancel, time.Hour)
	w.ours(true)
	w.alive()
	if w.timer.Stop() {
		t.Errorf("the watch runs while it is our turn")
	}
	w.ours(false)
	if !w.timer.Stop() {
		t.Errorf("the watch does not run while it is the daemon's turn")
	}
	w.alive()
	if !w.timer.Stop() {
		t.Errorf("the watch does not run after the daemon spoke")
	}
}

// cutOff sends a part of an image to dst, and drops it.
func cutOff(t *testing.T, dst image.Destination, c *imagetest.Content) {
	t.Helper()
	root := treeOf(t, c)
	err := image.Begin(t.Context(), dst, root)
	for d := range root.Blobs() {
		if err == nil {
			_, err = dst.Put(t.Context(), &blob.Blob{Desc: d, Reader: bytes.NewReader(c.Blobs[d.Digest])})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil { // all but the end mark has been given to it
		t.Fatal(err)
	}
}

// A load that is given up breaks off, so that the daemon sees it; it does not
// just end.
func TestCut(t *testing.T) {
	d, c := newStandIn(t, false), imagetest.Image()
	arrived := make(chan error, 1)
	d.spoil["load"] = func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		arrived <- err
	}
	dst := create(t, d, name(t, "a:b"))
	if err := image.Begin(t.Context(), dst, treeOf(t, c)); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 1<<20) // so much that some of it must have gone
	if _, err := dst.Put(t.Context(), &blob.Blob{Desc: oci.Descriptor{Digest: digest.FromBytes(big), Size: int64(len(big))}, Reader: bytes.NewReader(big)}); err != nil {
		t.Fatal(err)
	}
	dst.Close()
	if err := <-arrived; err == nil {
		t.Errorf("the daemon saw the end of a load that was given up")
	}
}

func treeOf(t *testing.T, c *imagetest.Content) *image.Tree {
	t.Helper()
	root, err := image.Root(t.Context(), c.Source(), "")
	if err == nil {
		err = root.Grow(t.Context(), c.Source(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte("{\"stream\":\"x\"}\r\n{\"error\":\"y\"}\r\n"))
	f.Add([]byte(`{"errorDetail":{"message":"x"}}{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := progress(bytes.NewReader(b))
		var told *Error
		if err != nil && !errors.As(err, &told) && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, image.ErrTooLarge) {
			t.Errorf("progress(%q): %v", b, err)
		}
		if told != nil && (told.Message != clean(told.Message) || len(told.Message) > maxMessage) {
			t.Errorf("progress(%q) lets %q through", b, told.Message)
		}
	})
}
