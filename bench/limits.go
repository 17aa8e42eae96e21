package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/imgtools/imgtools/bench/internal/limits"
	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/shape"
)

// machineLimits prints what this machine can do with the bytes of one layer.
func machineLimits(ctx context.Context, p paths) error {
	dir := filepath.Join(p.work, "images", "mid")
	if err := errors.Join(os.MkdirAll(filepath.Dir(dir), 0o755), os.MkdirAll(filepath.Join(p.work, "store"), 0o755)); err != nil {
		return err
	}
	if err := shape.Generate("mid", dir); err != nil {
		return err
	}
	tags, err := oci.Tags(dir)
	if err != nil {
		return err
	}
	_, m, err := oci.ReadManifest(dir, tags["v1"].Digest)
	if err != nil {
		return err
	}
	return limits.Print(ctx, os.Stdout, oci.BlobPath(dir, m.Layers[0].Digest), p.work, filepath.Join(p.work, "store"))
}
