package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// progressInterval is the least time between two progress records of one blob.
const progressInterval = 250 * time.Millisecond

// timeFormat is RFC 3339 with milliseconds, in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// jsonLines shows each event as one JSON object on a line of its own, as
// img-events(5) promises. Lines of talk stay what they are.
type jsonLines struct {
	w    io.Writer
	last map[string]time.Time // of each blob's last progress record
}

// record is an Event as img-events(5) describes it.
type record struct {
	Time      string  `json:"time"`
	Kind      string  `json:"kind"`
	Side      string  `json:"side,omitempty"`
	Ref       string  `json:"ref,omitempty"`
	Digest    string  `json:"digest,omitempty"`
	MediaType string  `json:"mediaType,omitempty"`
	Text      string  `json:"text,omitempty"`
	Size      int64   `json:"size,omitempty"`
	Done      int64   `json:"done,omitempty"`
	Attempt   int     `json:"attempt,omitempty"`
	Attempts  int     `json:"attempts,omitempty"`
	Wait      float64 `json:"wait,omitempty"` // seconds
	Platform  string  `json:"platform,omitempty"`
}

func newJSONLines(w io.Writer) *jsonLines {
	return &jsonLines{w: w, last: map[string]time.Time{}}
}

func (r *jsonLines) event(e Event) {
	switch e.Kind {
	case KindProgress:
		if last, ok := r.last[e.Digest]; ok && e.Time.Sub(last) < progressInterval {
			return
		}
		r.last[e.Digest] = e.Time
	case KindDone:
		delete(r.last, e.Digest)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(recordOf(&e)); err == nil {
		r.w.Write(b.Bytes())
	}
}

func recordOf(e *Event) record {
	return record{
		Time:      e.Time.UTC().Format(timeFormat),
		Kind:      oneLine(e.Kind),
		Side:      oneLine(e.Side),
		Ref:       oneLine(e.Ref),
		Digest:    oneLine(e.Digest),
		MediaType: oneLine(e.MediaType),
		Text:      oneLine(e.Text),
		Size:      max(e.Size, 0),
		Done:      max(e.Done, 0),
		Attempt:   e.Attempt,
		Attempts:  e.Attempts,
		Wait:      e.Wait.Seconds(),
		Platform:  oneLine(e.Platform),
	}
}

func (r *jsonLines) note(line string) { io.WriteString(r.w, line+"\n") }
func (r *jsonLines) tick(time.Time)   {}
func (r *jsonLines) close(time.Time)  {}
