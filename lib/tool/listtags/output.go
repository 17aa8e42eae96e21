package listtags

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/tool"
)

// parallel is how many tags are looked up at a time.
const parallel = 8

// A list is what is printed of a place with tags.
type list struct {
	Repository string `json:",omitempty"`
	Tags       []string
	Digests    map[string]digest.Digest `json:",omitempty"` // by tag
}

// A catalog is what is printed of a registry.
type catalog struct {
	Registry     string
	Repositories []string
}

// find looks up what the tags stand for, and drops those that stand for
// nothing: the error is a *lostError if there were any.
func (l *list) find(ctx context.Context, std *cli.IO, src image.Source) error {
	found := make([]digest.Digest, len(l.Tags))
	eg, own := errgroup.WithContext(ctx)
	eg.SetLimit(parallel)
	if _, ok := src.(image.Sequence); ok {
		eg.SetLimit(1)
	}
	for i, tag := range l.Tags {
		if own.Err() != nil {
			break
		}
		eg.Go(func() error {
			d, err := image.Find(own, src, tag)
			if err != nil && !errors.Is(err, image.ErrNotFound) {
				return fmt.Errorf("look up %s: %w", tag, err)
			}
			found[i] = d.Digest
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	l.Digests = map[string]digest.Digest{}
	var tags []string
	for i, tag := range l.Tags {
		if found[i] == "" {
			std.Warnf("%s stands for nothing", tag)
			continue
		}
		l.Digests[tag], tags = found[i], append(tags, tag)
	}
	if lost := len(l.Tags) - len(tags); lost > 0 {
		l.Tags = append([]string{}, tags...)
		return &lostError{lost}
	}
	return nil
}

// lines are the tags, with digests if these have been looked up. A tag may
// come from a stranger: it stays on its line.
func (l *list) lines() []string {
	var lines []string
	for _, tag := range l.Tags {
		line := cli.Clean(tag)
		if l.Digests != nil {
			line += "\t" + l.Digests[tag].String()
		}
		lines = append(lines, line)
	}
	return lines
}

func writeLines(w io.Writer, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

func writeJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// failed says of an error where it came: at what the user named, and not at the
// tag latest of that.
func failed(op, ref string, err error) error {
	var e *image.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, cli.ErrUsage) {
		return err
	}
	return &image.Error{Op: op, Reference: ref, Err: err}
}

// A lostError is that there are tags which stand for nothing.
type lostError struct{ n int }

func (e *lostError) Error() string {
	return fmt.Sprintf("%d tags stand for nothing and are not listed", e.n)
}

// explain is tool.Explain, and knows the errors of this package.
func explain(err error) (code int, hint string) {
	code, hint = tool.Explain(err)
	var lost *lostError
	if errors.As(err, &lost) {
		code = cli.CodePartial
	}
	return code, hint
}
