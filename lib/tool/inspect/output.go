package inspect

import (
	"io"

	"github.com/imgtools/imgtools/lib/template"
)

// Write writes v as indented JSON or, with a format, as a Go template has it.
func Write(w io.Writer, v any, format string) error {
	if format == "" {
		format = "json"
	}
	return template.Execute(w, format, v)
}
