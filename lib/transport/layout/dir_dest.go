package layout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A DirDestination replaces the image in a directory of dir:. It is an
// image.Destination.
//
// The new image is prepared in a folder of its own inside the directory, the
// stage, which is locked (flock) while its writer lives. Commit moves it out:
// first what the old image does not know or has too, then manifest.json, in
// one step, and then it removes what the old image had for itself. Whoever is
// stopped before that step leaves the old image as it was; the next writer
// takes the stage over, with all that is whole in it.
//
// Of several writers at once, the last one to Commit wins. Files that dir: has
// no name for are never touched.
type DirDestination struct {
	path  string
	step  disk.Step
	known known

	mu    sync.Mutex
	dir   *disk.Dir // the directory
	name  string    // of the stage in it
	lock  *os.File  // on the stage
	stage *disk.Dir
	made  bool // the directory was not there before
	kept  bool // the stage must not be removed without a Commit
}

// CreateDir prepares to write to the directory at path. Nothing is made before
// there is something to write; the directory above must exist. A directory
// with anything in it is refused, unless its version file says that it is one
// of dir:, or a stage that it is becoming one. Errors: fs.ErrNotExist,
// image.ErrUnsupported for a version above 1.2.
func CreateDir(path string) (*DirDestination, error) { return createDir(path, nil) }

func createDir(path string, s disk.Step) (*DirDestination, error) {
	if path == "" {
		path = "."
	}
	if _, err := disk.Parent(path); err != nil {
		return nil, err
	}
	d := &DirDestination{path: path, step: s}
	dir, err := disk.Open(path, s)
	if errors.Is(err, fs.ErrNotExist) {
		d.made = true
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		dir.Close()
		return nil, err
	}
	d.dir = dir
	return d, nil
}

var errForeign = fail("not a containers image directory, don't want to overwrite important data", image.ErrUnsupported)

// checkDir refuses what is not one of dir:, not the beginning of one, and not
// empty.
func checkDir(d *disk.Dir) error {
	ok, err := readVersion(d)
	if err == nil && !ok {
		var names []string
		names, err = d.Names(".")
		if err != nil || len(names) == 0 || slices.ContainsFunc(names, isStage) {
			return err
		}
		// Another writer may have finished since we looked: its version is
		// there before its stage goes.
		ok, err = readVersion(d)
	}
	if err == nil && !ok || errors.Is(err, oci.ErrInvalid) {
		return errForeign
	}
	return err
}

func isStage(name string) bool { return strings.HasPrefix(name, stagePrefix) }

// Wants implements image.Destination: anything is taken.
func (d *DirDestination) Wants() image.Wants { return image.Wants{} }

// Has implements image.Destination. A file with the right name, of the old
// image or of a try that failed, is read to see whether it is what the name
// says, and becomes part of the new image by a hard link.
func (d *DirDestination) Has(ctx context.Context, desc oci.Descriptor) (bool, error) {
	if err := oci.CheckDigest(desc.Digest); err != nil {
		return false, err
	}
	if d.known.has(desc) {
		return true, nil
	}
	if d.absent() {
		return false, nil
	}
	if err := d.open(); err != nil {
		return false, err
	}
	name := dirName(desc.Digest)
	ok, err := holds(ctx, d.stage, name, desc)
	if err == nil && !ok {
		ok, err = d.adopt(ctx, name, desc)
	}
	if ok && err == nil {
		d.known.add(desc)
	}
	return ok, err
}

func (d *DirDestination) absent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dir == nil
}

// adopt links a blob of the old image into the stage. It is read under its
// new name, so that what is found good is what is used.
func (d *DirDestination) adopt(ctx context.Context, name string, desc oci.Descriptor) (bool, error) {
	if info, err := d.dir.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	link := tempPrefix + rand.Text()
	if err := d.dir.Link(name, d.name+"/"+link); err != nil {
		return false, nil // not every file system has links
	}
	ok, err := holds(ctx, d.stage, link, desc)
	if ok && err == nil {
		err = d.stage.Rename(link, name)
	}
	if !ok || err != nil {
		d.stage.Remove(link)
		return false, err
	}
	return true, nil
}

// Put implements image.Destination. It does not hash what the blob's reader
// has verified already.
func (d *DirDestination) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	if _, err := algorithmOf(b.Desc.Digest); err != nil {
		return oci.Descriptor{}, err
	}
	if err := d.open(); err != nil {
		return oci.Descriptor{}, err
	}
	desc, err := put(ctx, d.stage, ".", b, dirName)
	if err == nil {
		d.known.add(desc)
		d.keep()
	}
	return desc, err
}

func (d *DirDestination) keep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = true
}

// Begin implements image.Beginner: it refuses what Commit would.
func (d *DirDestination) Begin(_ context.Context, t *image.Tree) error {
	for k := range t.Walk() {
		if len(k.Attached) > 0 {
			return fmt.Errorf("%w: a directory of dir: has no place for what is attached to an image", image.ErrUnsupported)
		}
	}
	return nil
}

// Commit implements image.Destination. Errors: image.ErrIncomplete if a blob
// of the tree is missing, image.ErrMismatch, image.ErrUnsupported if anything
// is attached to it.
func (d *DirDestination) Commit(ctx context.Context, t *image.Tree) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := d.Begin(ctx, t); err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	if err := complete(ctx, t, d.Has); err != nil {
		return err
	}
	p, err := newParts(t, d.known.has)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.documents)) {
		if err := putBytes(d.stage, name, p.documents[name]); err != nil {
			return err
		}
	}
	lock, err := d.dir.Lock(ctx, ".")
	if err != nil {
		return err
	}
	defer lock.Close()
	d.keep() // while there is no version, the stage says whose directory it is
	if err := d.swap(p); err != nil {
		return err
	}
	if err := d.clean(p); err != nil {
		return err
	}
	return d.endStage()
}

// parts are the files of an image.
type parts struct {
	names     map[string]bool   // all
	documents map[string][]byte // those that are not blobs, with their content
}

// newParts lists the files of t. Blobs that are not there, because they are to
// be had elsewhere, are left out.
func newParts(t *image.Tree, has func(oci.Descriptor) bool) (*parts, error) {
	all, err := manifests(t)
	if err != nil {
		return nil, err
	}
	p := &parts{map[string]bool{}, map[string][]byte{}}
	version := "1.1"
	note := func(d digest.Digest) string {
		if d.Algorithm() != digest.SHA256 {
			version = "1.2"
		}
		return dirName(d)
	}
	for _, m := range all[:len(all)-1] {
		p.documents[note(m.Desc.Digest)+manifestSuffix] = m.Raw.Bytes
	}
	for d := range t.Blobs() {
		if has(d) {
			p.names[note(d.Digest)] = true
		}
	}
	p.documents[manifestFile] = t.Raw.Bytes
	p.documents[versionFile] = []byte(versionPrefix + version + "\n")
	for name := range p.documents {
		p.names[name] = true
	}
	return p, nil
}

// swap moves the new image out of the stage. Until manifest.json has moved the
// old image is whole, and from then on the new one is.
func (d *DirDestination) swap(p *parts) error {
	if err := checkDir(d.dir); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.names)) {
		if name == manifestFile || name == versionFile {
			continue
		}
		err := d.dir.Rename(d.name+"/"+name, name)
		if errors.Is(err, fs.ErrNotExist) { // moved by a Commit that failed
			_, err = d.dir.Lstat(name)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{manifestFile, versionFile} {
		if err := d.dir.Sync("."); err != nil {
			return err
		}
		if err := d.dir.Rename(d.name+"/"+name, name); err != nil {
			return err
		}
	}
	return d.dir.Sync(".")
}

// clean removes what belonged to the old image and not to the new one.
func (d *DirDestination) clean(p *parts) error {
	names, err := d.dir.Names(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if p.names[name] || !isOurs(name) {
			continue
		}
		if info, err := d.dir.Lstat(name); err != nil || info.IsDir() {
			continue
		}
		if err := d.dir.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Close implements image.Destination. Without a Commit before it, blobs that
// were put stay in the stage, so that the next try need not fetch them again;
// if there are none, nothing stays.
func (d *DirDestination) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == nil {
		return nil
	}
	var err error
	if d.lock != nil && !d.kept {
		if err = d.removeStage(d.name); err == nil && d.made {
			err = disk.Unmake(d.path, d.step)
		}
	}
	if d.lock != nil {
		d.lock.Close()
		d.stage.Close()
	}
	d.dir.Close()
	d.dir = nil
	return err
}
