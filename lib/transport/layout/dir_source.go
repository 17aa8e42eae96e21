package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A directory of dir: has these files, and a name for each blob and manifest
// that dirName makes.
const (
	manifestFile   = "manifest.json"
	manifestSuffix = ".manifest.json"
	versionFile    = "version"
	versionPrefix  = "Directory Transport Version: "
)

// dirName is the file of a blob, and with manifestSuffix that of a manifest
// below the first one.
func dirName(d digest.Digest) string {
	if d.Algorithm() == digest.SHA256 {
		return d.Encoded()
	}
	return string(d.Algorithm()) + "-" + d.Encoded()
}

// A DirSource is the image in a directory of dir:. It is an image.Source and
// Ranger.
type DirSource struct {
	dir *disk.Dir
	pin digest.Digest
}

// OpenDir opens the directory at path. If there is none, and path ends in
// @DIGEST, it is the one before that, whose manifest must have that digest.
// Errors: fs.ErrNotExist, image.ErrUnsupported if the directory says that it
// has a version above 1.2.
func OpenDir(path string) (*DirSource, error) {
	path, pin := unpin(path)
	dir, err := disk.Open(path, nil)
	if err != nil {
		return nil, err
	}
	if _, err := readVersion(dir); err != nil {
		dir.Close()
		return nil, err
	}
	return &DirSource{dir, pin}, nil
}

func unpin(path string) (string, digest.Digest) {
	if path == "" {
		return ".", ""
	}
	i := strings.LastIndexByte(path, '@')
	if i <= 0 || oci.CheckDigest(digest.Digest(path[i+1:])) != nil {
		return path, ""
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, ""
	}
	return path[:i], digest.Digest(path[i+1:])
}

// readVersion reports whether a directory has a version file, and refuses one
// that we do not know.
func readVersion(dir *disk.Dir) (bool, error) {
	b, err := readFile(dir, versionFile, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	v, ok := strings.CutPrefix(string(b), versionPrefix)
	var major, minor int
	if n, err := fmt.Sscanf(v, "%d.%d\n", &major, &minor); !ok || n != 2 || err != nil {
		return false, fmt.Errorf("%s: %w: not the version of an image directory", filepath.Join(dir.Name(), versionFile), oci.ErrInvalid)
	}
	if major > 1 || major == 1 && minor > 2 || major < 0 || minor < 0 {
		return false, fail(fmt.Sprintf("unsupported directory transport version %q at %q", strings.TrimSuffix(v, "\n"), dir.Name()), image.ErrUnsupported)
	}
	return true, nil
}

// Manifest implements image.Source. The media type is what the bytes look
// like. Errors: fs.ErrNotExist if there is no manifest.json, image.ErrNotFound
// for other manifests, image.ErrMismatch, image.ErrTooLarge.
func (s *DirSource) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	if ctx.Err() != nil {
		return oci.Raw{}, context.Cause(ctx)
	}
	if d == "" {
		return s.read(manifestFile, s.pin)
	}
	if err := oci.CheckDigest(d); err != nil {
		return oci.Raw{}, err
	}
	raw, err := s.read(dirName(d)+manifestSuffix, d)
	if !errors.Is(err, fs.ErrNotExist) {
		return raw, err
	}
	if raw, err := s.read(manifestFile, d); err == nil {
		return raw, nil
	}
	return oci.Raw{}, fmt.Errorf("%w: %w", image.ErrNotFound, err)
}

// read reads a manifest, which must have the digest want unless that is "".
func (s *DirSource) read(name string, want digest.Digest) (oci.Raw, error) {
	b, err := readFile(s.dir, name, oci.MaxManifest)
	if err != nil {
		return oci.Raw{}, err
	}
	raw := oci.Raw{Bytes: b}
	if want != "" {
		if got := raw.DigestBy(want.Algorithm()); got != want {
			return oci.Raw{}, fmt.Errorf("%s: %w: it is %s, not %s", filepath.Join(s.dir.Name(), name), image.ErrMismatch, got, want)
		}
	}
	raw.MediaType = guess(raw)
	return raw, nil
}

// guess returns the media type of a manifest from what is in it, "" if that
// does not tell.
func guess(raw oci.Raw) string {
	m, err := oci.Parse(raw)
	switch {
	case err == nil:
		return m.MediaType
	case errors.Is(err, oci.ErrSchema1):
		return oci.MediaTypeSchema1Signed
	}
	return ""
}

// Blob implements image.Source. The file is checked to have the size of d, if
// that is known. Errors: image.ErrNotFound, image.ErrMismatch, oci.ErrInvalid.
func (s *DirSource) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return s.BlobAt(ctx, d, 0)
}

// BlobAt implements image.Ranger; it is Blob from offset bytes on.
func (s *DirSource) BlobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := oci.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	f, err := openBlob(s.dir, dirName(d.Digest), d)
	if err != nil {
		return nil, err
	}
	return seek(f, offset)
}

// Close implements image.Source. Blobs that are open can be read on.
func (s *DirSource) Close() error { return s.dir.Close() }
