//go:build !unix

package cli

import (
	"context"
	"io"
	"os"
)

// newInput returns file: here a read that waits cannot be called back.
func newInput(_ context.Context, file *os.File) io.Reader { return file }

// unwrap returns the file behind a writer that Live made.
func unwrap(v any) any {
	if o, ok := v.(*output); ok {
		return o.w
	}
	return v
}
