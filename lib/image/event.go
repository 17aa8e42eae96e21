package image

import (
	"time"

	"github.com/imgtools/imgtools/lib/oci"
)

// An Event is something that a user may wait for. Which fields are set
// depends on Kind.
type Event struct {
	Kind     Kind
	Blob     oci.Descriptor // what it is about
	Side     string         // of a retry or warning
	Done     int64          // progress: bytes so far
	Blobs    int            // plan: how many
	Bytes    int64          // plan: how many in all
	Attempt  int            // retry: which one, from 1
	Attempts int            // retry: of how many
	Wait     time.Duration  // retry: before it
	Text     string         // of a retry, warning or commit; delete: what
	Err      error          // delete: why it could not be
}

// A Kind says what an Event tells.
type Kind string

// The kinds of events.
const (
	EventPlan     Kind = "plan"     // what will move is known
	EventHave     Kind = "have"     // a blob need not move: it is there
	EventCopy     Kind = "copy"     // a blob begins to move
	EventProgress Kind = "progress" // bytes of a blob have moved
	EventDone     Kind = "done"     // a blob is there
	EventRetry    Kind = "retry"    // a request failed and will be tried again
	EventSpool    Kind = "spool"    // a blob goes through a file of ours
	EventWarning  Kind = "warning"
	EventCommit   Kind = "commit" // manifests and name are written
	EventDelete   Kind = "delete" // a name or manifest is gone
	EventQuota    Kind = "quota"  // how many more requests a registry grants
)

// A Notify is told of events. It may be called from several goroutines, and
// must not block for long. Nil is silence.
type Notify func(Event)

// Send calls n, if there is one.
func (n Notify) Send(e Event) {
	if n != nil {
		n(e)
	}
}
