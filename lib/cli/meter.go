package cli

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// meter keeps the sums that plain lines and bars show.
type meter struct {
	planned int64 // bytes announced
	known   int64 // bytes of the blobs seen
	there   int64 // bytes of the blobs that are there
	moved   int64 // bytes of the blobs that were copied
	copied  int   // blobs copied
	kept    int   // blobs that did not have to be
	ended   bool  // nothing more comes
	began   time.Time
	jobs    []*job // on their way, oldest first
	speed   speed
}

// job is a blob on its way.
type job struct {
	key   string
	name  string // short digest
	size  int64
	done  int64
	began time.Time
	speed speed
}

// apply adds the event to the sums. For a blob that is done it returns its job.
func (m *meter) apply(e *Event) *job {
	if m.began.IsZero() {
		m.began = e.Time
	}
	size := max(e.Size, 0)
	switch e.Kind {
	case KindPlan:
		m.planned += size
	case KindHave:
		m.remove(e)
		m.known += size
		m.there += size
		m.kept++
	case KindCopy:
		m.job(e).done = max(e.Done, 0)
	case KindProgress:
		m.progress(e)
	case KindDone:
		return m.finish(e)
	case KindEnd:
		m.ended = true
	}
	m.speed.update(e.Time, m.moving())
	return nil
}

// progress updates the blob's job. Without one the event came too late: then it
// must not bring the blob back.
func (m *meter) progress(e *Event) {
	if m.find(e) == nil {
		return
	}
	j := m.job(e)
	j.done = max(e.Done, 0)
	j.speed.update(e.Time, j.done)
}

// finish moves a blob from the jobs to what is there.
func (m *meter) finish(e *Event) *job {
	j := m.find(e)
	if j == nil {
		// Of a blob without a name the digest is known only at its end.
		if j = m.find(&Event{}); j != nil {
			j.name = blobName(e.key())
		}
	}
	if j == nil {
		j = m.job(e)
	}
	size := max(e.Size, j.size)
	if size <= 0 {
		size = max(e.Done, j.done)
	}
	m.known += size - j.size
	j.size, j.done = size, size
	m.jobs = slices.DeleteFunc(m.jobs, func(o *job) bool { return o == j })
	m.there += size
	m.moved += size
	m.copied++
	return j
}

// find returns the blob's job or nil.
func (m *meter) find(e *Event) *job {
	for _, j := range m.jobs {
		if j.key == e.key() {
			return j
		}
	}
	return nil
}

// job returns the blob's job, a new one if there is none.
func (m *meter) job(e *Event) *job {
	j := m.find(e)
	if j == nil {
		j = &job{key: e.key(), name: blobName(e.key()), began: e.Time}
		j.speed.update(e.Time, 0)
		m.jobs = append(m.jobs, j)
	}
	if e.Size > j.size {
		m.known += e.Size - j.size
		j.size = e.Size
	}
	return j
}

// key says which blob the event is about.
func (e *Event) key() string {
	if e.Digest != "" {
		return e.Digest
	}
	return e.Ref
}

// remove forgets the job of a blob that need not move after all.
func (m *meter) remove(e *Event) {
	m.jobs = slices.DeleteFunc(m.jobs, func(j *job) bool {
		if j.key != e.key() {
			return false
		}
		m.known -= j.size
		return true
	})
}

// moving returns the bytes that went through the program.
func (m *meter) moving() int64 {
	n := m.moved
	for _, j := range m.jobs {
		n += j.done
	}
	return n
}

// sofar returns the bytes that are there or nearly, and all that there will be,
// as far as is known.
func (m *meter) sofar() (done, total int64) {
	done = m.there
	for _, j := range m.jobs {
		done += j.done
	}
	return done, max(m.planned, m.known, done)
}

// summary returns what the whole work came to, in the words of text if there
// are any.
func (m *meter) summary(now time.Time, text string) string {
	if text == "" {
		text = fmt.Sprintf("%d copied (%s), %d already there", m.copied, sizeText(m.moved), m.kept)
	}
	span := now.Sub(m.began)
	text += ", " + spanText(span)
	if m.moved > 0 && span >= time.Second {
		text += ", " + rateText(float64(m.moved)/span.Seconds())
	}
	return text
}

// speed is bytes a second over the last few seconds.
type speed struct {
	at   time.Time
	last int64
	rate float64 // 0: not known yet
}

func (s *speed) update(now time.Time, n int64) {
	if s.at.IsZero() || n < s.last { // the first time, or begun anew
		*s = speed{at: now, last: n}
		return
	}
	span := now.Sub(s.at)
	if span < time.Second {
		return
	}
	rate := float64(n-s.last) / span.Seconds()
	if s.rate > 0 {
		rate = 0.6*s.rate + 0.4*rate
	}
	*s = speed{at: now, last: n, rate: rate}
}

// blobName returns the short digest, or something to say in its place.
func blobName(digest string) string {
	if digest == "" {
		return "a blob"
	}
	return shortDigest(digest)
}

// shortDigest returns as much of a digest as people compare: "sha256:" and
// twelve digits.
func shortDigest(d string) string {
	d = Clean(d)
	alg, hex, ok := strings.Cut(d, ":")
	if !ok {
		return d
	}
	if r := []rune(hex); len(r) > 12 {
		hex = string(r[:12])
	}
	return alg + ":" + hex
}

// sizeText writes bytes with three digits in decimal units: "12.3 MB".
func sizeText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		v /= 1000
		switch {
		case v < 9.995:
			return fmt.Sprintf("%.2f %s", v, unit)
		case v < 99.95:
			return fmt.Sprintf("%.1f %s", v, unit)
		case v < 999.5:
			return fmt.Sprintf("%.0f %s", v, unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

func rateText(bytesPerSecond float64) string {
	return sizeText(int64(math.Round(bytesPerSecond))) + "/s"
}

// spanText writes a time span with as much of it as people want: "0.4s", "12s", "3m5s".
func spanText(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", max(d, 0).Seconds())
	}
	return d.Round(time.Second).String()
}
