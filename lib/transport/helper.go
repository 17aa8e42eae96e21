package transport

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/helper"
)

// helperName is NAME:DETAIL for a transport that is a program, img-transport-NAME.
type helperName struct{ transport, detail string }

// parseHelper returns a name of a transport that none of the table is. ok is
// false if there is no program for it either.
func parseHelper(transport, detail string) (n Name, ok bool, err error) {
	_, err = helper.Find(transport, helper.Options{})
	if errors.Is(err, helper.ErrProgram) {
		return nil, false, nil
	}
	return helperName{transport, detail}, true, err
}

func (n helperName) String() string           { return n.transport + ":" + n.detail }
func (n helperName) Docker() reference.Docker { return reference.Docker{} }
func (helperName) labels()                    {} // see Also

// Pinned is the name itself: what its detail means is the program's matter.
func (n helperName) Pinned(digest.Digest) string { return n.String() }

func (n helperName) Source(_ context.Context, a *Access) (image.Source, error) {
	p, err := n.program(a)
	if err != nil {
		return nil, err
	}
	return p.Source(n.detail), nil
}

func (n helperName) Destination(_ context.Context, a *Access) (image.Destination, error) {
	p, err := n.program(a)
	if err != nil {
		return nil, err
	}
	return p.Destination(n.detail), nil
}

func (n helperName) program(a *Access) (*helper.Program, error) {
	return helper.Find(n.transport, helper.Options{Stderr: a.Stderr, Stream: a.archive()})
}
