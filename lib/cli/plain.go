package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// heartbeat is how long plain lines may be silent.
const heartbeat = 10 * time.Second

// plain shows a line for each step, the kind first, and a line of progress when
// nothing else was to say for ten seconds, so that a log shows life.
type plain struct {
	w    io.Writer
	name string
	m    meter
	last time.Time // of the last line
	beat speedMark // when the last line of progress was shown
}

// speedMark is how much had moved at a time.
type speedMark struct {
	at    time.Time
	moved int64
}

func newPlain(w io.Writer, name string) *plain { return &plain{w: w, name: name} }

func (p *plain) event(e Event) {
	p.begin(e.Time)
	if line := eventLine(&p.m, p.name, &e); line != "" {
		p.last = e.Time
		p.note(line)
		return
	}
	p.tick(e.Time)
}

// begin starts the clock with the first thing that happens.
func (p *plain) begin(now time.Time) {
	if p.last.IsZero() {
		p.last, p.beat.at = now, now
	}
}

func (p *plain) note(line string) { io.WriteString(p.w, line+"\n") }

func (p *plain) tick(now time.Time) {
	p.begin(now)
	if p.m.ended || now.Sub(p.last) < heartbeat {
		return
	}
	p.last = now
	done, total := p.m.sofar()
	if total == 0 {
		p.note(kindLine(KindProgress, "waiting"))
		return
	}
	moved, span := p.m.moving(), now.Sub(p.beat.at)
	rate := float64(max(moved-p.beat.moved, 0)) / span.Seconds()
	p.beat = speedMark{now, moved}
	p.note(kindLine(KindProgress, fmt.Sprintf("%s of %s, %s, %d on the way",
		sizeText(done), sizeText(total), rateText(rate), len(p.m.jobs))))
}

func (p *plain) close(time.Time) {}

// eventLine adds the event to the meter and returns the line that stays of it in
// a log, or "".
func eventLine(m *meter, name string, e *Event) string {
	j := m.apply(e)
	switch e.Kind {
	case KindProgress:
		return ""
	case KindPlan:
		if e.Digest != "" {
			return ""
		}
		return kindLine(e.Kind, join(oneLine(e.Ref), knownSize(e.Size), oneLine(e.Text)))
	case KindCopy, KindSpool:
		return kindLine(e.Kind, join(blobName(e.Digest), knownSize(e.Size), oneLine(e.Platform), oneLine(e.Text)))
	case KindDone:
		return kindLine(e.Kind, doneText(e, j))
	case KindRetry:
		return kindLine(e.Kind, retryText(e))
	case KindWarning:
		return name + ": warning: " + oneLine(e.Text)
	case KindEnd:
		return kindLine(e.Kind, join(oneLine(e.Ref), m.summary(e.Time, oneLine(e.Text))))
	}
	return kindLine(oneLine(e.Kind), join(oneLine(e.Ref), blobText(e), oneLine(e.Text)))
}

// kindLine puts the kind in a column of its own.
func kindLine(kind, rest string) string {
	return strings.TrimRight(fmt.Sprintf("%-8s %s", kind, rest), " ")
}

// blobText returns digest, size and platform, as far as they are known.
func blobText(e *Event) string {
	return join(shortDigest(e.Digest), knownSize(e.Size), oneLine(e.Platform))
}

func doneText(e *Event, j *job) string {
	text := join(j.name, sizeText(j.size), oneLine(e.Platform))
	span := e.Time.Sub(j.began)
	if span <= 0 {
		return text
	}
	text += " in " + spanText(span)
	if span >= time.Second {
		text += ", " + rateText(float64(j.size)/span.Seconds())
	}
	return text
}

func retryText(e *Event) string {
	text := fmt.Sprintf("%d", e.Attempt)
	if e.Attempts > 0 {
		text += fmt.Sprintf("/%d", e.Attempts)
	}
	text += " in " + spanText(e.Wait)
	about := shortDigest(e.Digest)
	if about == "" {
		about = oneLine(e.Ref)
	}
	for _, s := range []string{oneLine(e.Side), about, oneLine(e.Text)} {
		text += before(": ", s)
	}
	return text
}

func knownSize(n int64) string {
	if n <= 0 {
		return ""
	}
	return sizeText(n)
}

// before returns s with the prefix, or "" for "".
func before(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// join puts a space between those parts that are not empty.
func join(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		if p != "" && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p)
	}
	return b.String()
}
