// Package copy is the engine: it copies one image from a source to a
// destination in three steps. Prepare makes a plan, which is data and moves
// nothing; Run moves each blob once and commits.
//
// The engine knows no transport, no network and no terminal: what it meets
// are the interfaces of lib/image, and what it has to say are events.
package copy

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Options say how to copy. Gate must be set; the zero values of the others
// copy everything, exactly as it is.
type Options struct {
	// Gate admits the image by its manifest's exact bytes, before anything
	// in them is read. Without one nothing is copied.
	Gate Gate

	// Platforms takes only these out of an index, which is then rewritten
	// to name no others, or kept as it is if Sparse is set. Sparse without
	// Platforms takes the index alone.
	Platforms []oci.Platform
	Sparse    bool

	// Instance, if set, copies the image for that platform in place of an
	// index.
	Instance *oci.Platform

	With image.With // what to copy of that which is attached to the image

	Pin     digest.Digest // the digest that the source's manifest must have; "": any
	Target  digest.Digest // the digest that what is written must have; "": any
	Foreign bool          // copy layers that are to be had from URLs only

	Jobs   int // blobs that move at a time; 0: DefaultJobs
	Notify image.Notify

	// How the two sides are called in errors.
	Source, Destination string
}

// DefaultJobs is how many blobs move at a time.
const DefaultJobs = 12

// A Gate decides whether an image may be copied. It sees the bytes of the
// manifest before they are parsed; an error refuses.
type Gate func(ctx context.Context, manifest oci.Raw) error

// AdmitAll is the Gate that lets everything through.
func AdmitAll(context.Context, oci.Raw) error { return nil }

// A Result is what a copy came to.
type Result struct {
	Root    oci.Descriptor // of the manifest that the destination's name now stands for
	Source  digest.Digest  // of the manifest that the source's name stood for
	Same    bool           // the destination had it: nothing was written
	Notes   []string       // what differs from the source, in a line each
	Moved   int            // blobs that were written
	Bytes   int64          // in the blobs that were written
	Present int            // blobs that were there
}

// Copy copies the image in src to dst: Prepare, then Run.
//
// Errors are of type *image.Error and wrap the sentinels of lib/image. When
// there is one, dst's name stands for what it stood for before.
func Copy(ctx context.Context, dst image.Destination, src image.Source, o Options) (Result, error) {
	p, err := Prepare(ctx, dst, src, o)
	if err != nil {
		return Result{}, err
	}
	return p.Run(ctx)
}

func (o *Options) jobs() int {
	if o.Jobs > 0 {
		return o.Jobs
	}
	return DefaultJobs
}

// atSource and atDestination say where an error came from, unless it says so
// itself.
func (o *Options) atSource(op string, err error) error {
	return at(image.SideSource, o.Source, op, err)
}

func (o *Options) atDestination(op string, err error) error {
	return at(image.SideDestination, o.Destination, op, err)
}

func at(side, reference, op string, err error) error {
	var e *image.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &image.Error{Op: op, Side: side, Reference: reference, Err: err}
}

var errNoGate = fmt.Errorf("%w: no policy to decide by", image.ErrRejected)
