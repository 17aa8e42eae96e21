package layout

import (
	"crypto/rand"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/oci"
)

// open makes the directory and the stage in it, or takes over one whose
// writer is gone.
func (d *DirDestination) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock != nil {
		return nil
	}
	if d.dir == nil {
		dir, err := disk.Make(d.path, d.step)
		if err != nil {
			return err
		}
		if err := checkDir(dir); err != nil {
			dir.Close()
			return err
		}
		d.dir = dir
	}
	if err := d.takeOver(); err != nil {
		return err
	}
	for d.lock == nil {
		name := stagePrefix + rand.Text()
		if err := d.dir.Mkdir(name); err != nil {
			return err
		}
		lock, err := d.dir.Claim(name)
		if err != nil {
			return err
		}
		d.lock, d.name = lock, name
	}
	stage, err := d.dir.Sub(d.name)
	if err != nil {
		d.lock.Close()
		d.lock = nil
		return err
	}
	d.stage = stage
	return nil
}

// takeOver makes the first stage ours whose writer is gone, and leaves only
// whole blobs in it. It removes further ones. What it cannot do it leaves.
func (d *DirDestination) takeOver() error {
	names, err := d.dir.Names(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if !isStage(name) {
			continue
		}
		if info, err := d.dir.Lstat(name); err != nil || !info.IsDir() {
			continue
		}
		lock, err := d.dir.TryLock(name)
		if lock == nil || err != nil {
			continue
		}
		if d.lock != nil {
			d.removeStage(name)
			lock.Close()
			continue
		}
		kept, err := d.empty(name, isBlobName)
		if err != nil {
			lock.Close()
			continue
		}
		d.lock, d.name, d.kept = lock, name, kept > 0
	}
	return nil
}

// empty removes the files of a stage but for those to keep, and counts these.
func (d *DirDestination) empty(stage string, keep func(string) bool) (int, error) {
	names, err := d.dir.Names(stage)
	kept := 0
	for _, name := range names {
		if keep(name) {
			kept++
			continue
		}
		if err := d.dir.Remove(stage + "/" + name); err != nil {
			return kept, err
		}
	}
	return kept, err
}

func (d *DirDestination) removeStage(name string) error {
	if _, err := d.empty(name, func(string) bool { return false }); err != nil {
		return err
	}
	return d.dir.Remove(name)
}

// endStage removes the stage after a Commit.
func (d *DirDestination) endStage() error {
	if err := d.removeStage(d.name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lock.Close()
	d.stage.Close()
	d.lock, d.made = nil, false
	return nil
}

// isOurs reports whether dir: gives that name to a file of an image.
func isOurs(name string) bool {
	if name == manifestFile || name == versionFile {
		return true
	}
	if base, n, ok := strings.Cut(name, "signature-"); ok && isNumber(n) {
		hex, dot := strings.CutSuffix(base, ".")
		return base == "" || dot && isBlobName(hex)
	}
	return isBlobName(strings.TrimSuffix(name, manifestSuffix))
}

// isBlobName reports whether dirName makes that name.
func isBlobName(name string) bool {
	alg, hex, ok := strings.Cut(name, "-")
	if !ok {
		alg, hex = string(digest.SHA256), name
	}
	d := digest.Digest(alg + ":" + hex)
	return oci.CheckDigest(d) == nil && dirName(d) == name
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
