package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
)

// crashEnv names the file that this test program, started anew, writes to.
const crashEnv = "IMG_TEST_ARCHIVE"

// writeForever puts images under the name "new", one after the other, and says
// a byte before each piece of work.
func writeForever(path string) {
	kinds := []*imagetest.Content{imagetest.Image(), imagetest.Index(), imagetest.Docker()}
	for i := 0; ; i++ {
		if err := writeAloud(path, kinds[i%len(kinds)]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
	}
}

func writeAloud(path string, c *imagetest.Content) error {
	say := func() { os.Stdout.Write([]byte{'.'}) }
	ctx := context.Background()
	say()
	dst, err := Create(path, Options{Name: "new"})
	if err != nil {
		return err
	}
	defer dst.Close()
	tree, err := grow(ctx, c.Source())
	if err != nil {
		return err
	}
	say()
	if err := image.Begin(ctx, dst, tree); err != nil {
		return err
	}
	for d := range tree.Blobs() {
		say()
		b, err := blob.Verify(&blob.Blob{Desc: d, Reader: bytes.NewReader(c.Blobs[d.Digest])})
		if err != nil {
			return err
		}
		if _, err := dst.Put(ctx, b); err != nil {
			return err
		}
	}
	say()
	return dst.Commit(ctx, tree)
}

// A writer that is killed leaves the old archive whole, or the new one. What
// it leaves beside it the next writer removes.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	old := imagetest.Nested()
	writeTo(t, path, old, Options{Name: "old"})
	writeTo(t, path, imagetest.Image(), Options{Name: "new"})
	kinds := []string{imagetest.Image().Root.Digest.String(), imagetest.Index().Root.Digest.String(), imagetest.Docker().Root.Digest.String()}
	litter := 0
	for i := range 100 {
		kill(t, path, 1+rand.IntN(40))
		got := namesIn(t, path)
		if len(got) != 2 || got["old"] != old.Root.Digest || !slices.Contains(kinds, got["new"].String()) {
			t.Fatalf("killed %d times: names are %v", i+1, got)
		}
		for name := range got {
			src, err := OpenFile(path, Selection{View: OCI, Name: name})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := take(t.Context(), src); err != nil {
				t.Fatalf("killed %d times: %s: %v", i+1, name, err)
			}
			src.Close()
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		if litter = max(litter, len(entries)-1); litter > 2 {
			t.Fatalf("killed %d times: there are %d files left over", i+1, len(entries)-1)
		}
	}
	if litter == 0 {
		t.Errorf("no writer was killed while it wrote")
	}
	writeTo(t, path, old, Options{Name: "new"})
	noLitter(t, path)
}

// kill starts a writer and kills it when it has said n bytes.
func kill(t *testing.T, path string, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, n)); err != nil {
		t.Errorf("the writer ended: %v\n%s", err, &stderr)
	}
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	cmd.Wait() // killed on purpose
}

// A change that fails, and a disk on which from some moment on all changes
// fail, are errors; the old archive stays, or the new one is there, and the
// next writer removes what was left beside it.
func TestFailAtEachStep(t *testing.T) {
	dir := t.TempDir()
	template := filepath.Join(dir, "a.tar")
	writeTo(t, template, imagetest.Nested(), Options{Name: "old"})
	before, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	writeTo(t, template, imagetest.Image(), Options{Name: "new"})
	after, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	for _, forever := range []bool{false, true} {
		for n, done := 1, false; !done; n++ {
			path := filepath.Join(t.TempDir(), "a.tar")
			if err := os.WriteFile(path, before, 0o644); err != nil {
				t.Fatal(err)
			}
			at, failing := 0, ""
			err := writeBy(t.Context(), path, func(op, name string) error {
				if at++; at == n || forever && at > n {
					failing += op + " "
					return syscall.ENOSPC
				}
				return nil
			})
			done = at < n
			if done != (err == nil) || err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("step %d fails (%s): %v", n, failing, err)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, after) && (done || !bytes.Equal(got, before)) {
				t.Errorf("step %d fails (%s): there are %d bytes, %v; want the old archive or the new one", n, failing, len(got), err)
			}
			writeTo(t, path, imagetest.Image(), Options{Name: "new"})
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, after) {
				t.Errorf("step %d fails (%s): the next writer makes %d bytes, %v; want %d", n, failing, len(got), err, len(after))
			}
			noLitter(t, path)
			if done && n < 10 {
				t.Errorf("there were only %d steps to fail", n-1)
			}
		}
	}
}

func writeBy(ctx context.Context, path string, s disk.Step) error {
	dst, err := newTarget(path, Options{Name: "new"}, s)
	if err != nil {
		return err
	}
	defer dst.Close()
	return imagetest.Send(ctx, dst, imagetest.Image())
}
