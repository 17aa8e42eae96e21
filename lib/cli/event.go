package cli

import (
	"io"
	"os"
	"time"
)

// Kinds of events. Their meaning is promised in img-events(5).
const (
	KindPlan     = "plan"     // Size bytes will be looked at; with Digest: for this blob
	KindHave     = "have"     // the blob need not move: the destination has it
	KindCopy     = "copy"     // a blob begins to move
	KindProgress = "progress" // Done of Size bytes of the blob have moved
	KindDone     = "done"     // the blob is there, whole and checked
	KindRetry    = "retry"    // something failed, Text; it is tried again after Wait
	KindSpool    = "spool"    // the blob is kept on the local disk first
	KindWarning  = "warning"  // Text is something the user should know
	KindCommit   = "commit"   // the manifests are written, then the name
	KindDelete   = "delete"   // Text, a name or a digest, is gone, or why it is not
	KindQuota    = "quota"    // Text says how many requests a registry still grants
	KindEnd      = "end"      // all is done
)

// An Event is one step of the work. Which fields have a meaning depends on the
// kind; a zero field says nothing. Text in it may come from anywhere: renderers
// clean it.
type Event struct {
	Time      time.Time     // zero: now
	Kind      string        // Kind*
	Side      string        // "source" or "destination"
	Ref       string        // the image
	Digest    string        // the blob
	MediaType string        // of the blob
	Text      string        // for people
	Size      int64         // bytes in all; not above 0: not known
	Done      int64         // bytes until now
	Attempt   int           // which retry this is, from 1
	Attempts  int           // how many retries there are at most
	Wait      time.Duration // before the retry
	Platform  string        // of the image that the blob is for: "linux/arm64"
}

// A Renderer shows events. Event and Close may be called by several goroutines.
// They never fail because of the place where the events are shown, and wait for
// it only for a moment: when it does not take more, events get lost.
type Renderer interface {
	Event(Event)
	// Close shows what is left and gives standard error back. It is idempotent.
	Close() error
}

// Progress modes: how events are shown.
const (
	progressAuto  = "auto"
	progressBars  = "bars"
	progressPlain = "plain"
	progressJSON  = "json"
	progressNone  = "none"
)

// ProgressFlag returns the row of --progress, which sets *mode; "" becomes "auto".
func ProgressFlag(mode *string) Flag {
	if *mode == "" {
		*mode = progressAuto
	}
	return Flag{
		Name: "progress", Arg: "MODE",
		Help: "How to show progress on standard error: bars, plain (lines), json (lines, see img-events(5))," +
			" none, or auto: bars on a terminal and plain elsewhere.",
		Value: Enum(mode, progressAuto, progressBars, progressPlain, progressJSON, progressNone),
	}
}

// NewRenderer returns a renderer on std.Err. The mode is
//
//	bars   one line for each blob on its way and one for all, redrawn in place
//	plain  a line when a blob starts and ends, and one every ten seconds
//	json   one JSON object a line, see img-events(5)
//	none   nothing but warnings
//	auto   bars if std.Err is a terminal that can do more than print, else plain
//
// and anything else is a usage error. The name is the program's, for warnings.
// The caller must Close the renderer before it writes to standard output, which
// may be the same terminal; [Tool.Execute] does it for one that was left open.
func NewRenderer(mode string, std *IO, name string) (Renderer, error) {
	if mode == progressAuto || mode == "" {
		mode = progressPlain
		if term := os.Getenv("TERM"); term != "" && term != "dumb" && std.ErrIsTerminal() {
			mode = progressBars
		}
	}
	w := &quiet{w: std.Err}
	switch mode {
	case progressBars:
		size := func() (int, int) { return terminalSize(std.Err) }
		return newFeed(std, newBars(w, name, size), frameInterval), nil
	case progressPlain:
		return newFeed(std, newPlain(w, name), time.Second), nil
	case progressJSON:
		return newFeed(std, newJSONLines(w), 0), nil
	case progressNone:
		return warnings{std}, nil
	}
	return nil, Usagef("unknown progress mode %q: want auto, bars, plain, json or none", mode)
}

// warnings is the renderer of mode none.
type warnings struct{ std *IO }

func (r warnings) Event(e Event) {
	if e.Kind == KindWarning {
		r.std.talk("warning: " + oneLine(e.Text))
	}
}

func (r warnings) Close() error { return nil }

// quiet is a writer that, after the first error, takes everything and drops it.
type quiet struct {
	w    io.Writer
	dead bool
}

func (q *quiet) Write(p []byte) (int, error) {
	if !q.dead {
		_, err := q.w.Write(p)
		q.dead = err != nil
	}
	return len(p), nil
}
