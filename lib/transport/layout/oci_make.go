package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

const (
	layoutFile    = "oci-layout"
	layoutVersion = "1.0.0"
	maxLayout     = 64 << 10 // bytes of an oci-layout
)

// checkLayout refuses what is no layout that we know, and not the beginning
// of one.
func checkLayout(d *disk.Dir) error {
	ok, err := readLayoutFile(d)
	if ok || err != nil {
		return err
	}
	names, err := d.Names(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == blobsDir || name == indexFile || strings.HasPrefix(name, tempPrefix) {
			continue
		}
		// Another writer may have made it a layout since we looked.
		if ok, err := readLayoutFile(d); ok || err != nil {
			return err
		}
		return fail(fmt.Sprintf("%s is not an OCI layout, don't want to add one to other data (there is %q)", d.Name(), name), image.ErrUnsupported)
	}
	return nil
}

// readLayoutFile reports whether there is an oci-layout, and refuses one that
// we do not know.
func readLayoutFile(d *disk.Dir) (bool, error) {
	b, err := readFile(d, layoutFile, maxLayout)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, checkVersion(d.Name(), b)
}

func checkVersion(dir string, b []byte) error {
	var v struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("%s/%s: %w: %v", dir, layoutFile, oci.ErrInvalid, err)
	}
	if v.Version != layoutVersion {
		return fmt.Errorf("%s/%s: %w: version %q", dir, layoutFile, image.ErrUnsupported, v.Version)
	}
	return nil
}

// make makes what a layout consists of, but for index.json. oci-layout comes
// first: it tells a layout that is being made from other people's data.
func (d *OCIDestination) make() error {
	if d.root == nil {
		root, err := disk.Make(d.ref.Path, d.step)
		if err != nil {
			return err
		}
		if err := checkLayout(root); err != nil {
			root.Close()
			return err
		}
		d.root = root
	}
	if _, err := d.root.Lstat(layoutFile); errors.Is(err, fs.ErrNotExist) {
		if err := d.makeLayoutFile(); err != nil {
			return err
		}
	}
	return d.root.Mkdir(blobsDir)
}

// makeLayoutFile makes oci-layout whole at once, and never a second time:
// others may have locked the first.
func (d *OCIDestination) makeLayoutFile() error {
	t, err := d.root.Temp(".", tempPrefix)
	if err != nil {
		return err
	}
	defer t.Drop()
	if _, err := t.WriteAt([]byte(`{"imageLayoutVersion":"`+layoutVersion+`"}`), 0); err != nil {
		return err
	}
	if err := t.KeepNew(layoutFile); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
