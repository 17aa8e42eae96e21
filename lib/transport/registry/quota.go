package registry

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/imgtools/imgtools/lib/image"
)

// A quota is what a registry says of how many more requests it grants.
type quota struct {
	limit     int64         // in a window; -1: it does not say
	remaining int64         // of those
	window    time.Duration // 0: it does not say
	reset     time.Duration // until there are all again; below 0: it does not say
}

// quotaHeaders are the names under which registries tell: Docker Hub and
// GitLab, and those who did so before there was a draft of a standard.
var quotaHeaders = []string{"Ratelimit", "X-Ratelimit"}

// epoch is from where on a number of seconds is a date, and not a wait.
const epoch = 1 << 30

// parseQuota reads RateLimit-Limit, -Remaining and -Reset, with or without
// "X-", or the one header RateLimit of later drafts (IETF
// draft-ietf-httpapi-ratelimit-headers). What is not as it should be is none.
func parseQuota(h http.Header, now time.Time) (quota, bool) {
	for _, name := range quotaHeaders {
		if left := h.Get(name + "-Remaining"); left != "" {
			return parseQuotaParts(h.Get(name+"-Limit"), left, h.Get(name+"-Reset"), clock(h, now))
		}
	}
	if s := h.Get("Ratelimit"); s != "" {
		parts := map[string]string{}
		for field := range strings.SplitSeq(s, ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(field), "=")
			if _, twice := parts[name]; !ok || twice {
				return quota{}, false
			}
			parts[name] = value
		}
		return parseQuotaParts(parts["limit"], parts["remaining"], parts["reset"], clock(h, now))
	}
	return quota{}, false
}

// clock is what time it is for the server, if it says so.
func clock(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		return date
	}
	return now
}

func parseQuotaParts(limit, remaining, reset string, now time.Time) (quota, bool) {
	q := quota{limit: -1, reset: -1}
	first, _, _ := strings.Cut(remaining, ",")
	var ok bool
	if q.remaining, q.window, ok = parseQuotaItem(first); !ok {
		return quota{}, false
	}
	if limit != "" {
		var window time.Duration
		first, _, _ := strings.Cut(limit, ",")
		if q.limit, window, ok = parseQuotaItem(first); !ok || q.remaining > q.limit {
			return quota{}, false
		}
		q.window = max(q.window, window)
	}
	if reset != "" {
		n, ok := number(strings.TrimSpace(reset))
		if !ok {
			return quota{}, false
		}
		if n >= epoch {
			n = max(0, n-now.Unix())
		}
		q.reset = seconds(n)
	}
	return q, true
}

// parseQuotaItem reads "N" or "N;w=SECONDS".
func parseQuotaItem(s string) (n int64, window time.Duration, ok bool) {
	text, param, more := strings.Cut(strings.TrimSpace(s), ";")
	if n, ok = number(text); !ok || !more {
		return n, 0, ok
	}
	text, ok = strings.CutPrefix(strings.TrimSpace(param), "w=")
	w, ok2 := number(text)
	return n, seconds(w), ok && ok2
}

// seconds returns n seconds, a hundred years at most.
func seconds(n int64) time.Duration {
	return time.Duration(min(n, 100*365*24*3600)) * time.Second
}

func (q quota) String() string {
	s := fmt.Sprintf("%d more requests", q.remaining)
	if q.limit < 0 {
		return s
	}
	s += fmt.Sprintf(" (of %d", q.limit)
	if q.window > 0 {
		s += " in " + q.window.String()
	}
	return s + ")"
}

// A quotaWatch tells what a registry grants: when it first says so, and when
// little is left. When nothing is, requests wait as for a Retry-After.
type quotaWatch struct {
	domain string
	retry  *retrier

	mu   sync.Mutex
	told int // times
}

// see looks at the head of an answer.
func (w *quotaWatch) see(h http.Header) {
	q, ok := parseQuota(h, time.Now())
	if !ok {
		return
	}
	if w.worthTelling(q) {
		w.retry.notify.Send(image.Event{Kind: image.EventQuota, Side: w.retry.side, Text: fmt.Sprintf("registry %s grants %v", w.domain, q)})
	}
	if q.remaining > 0 || q.reset <= 0 {
		return
	}
	if longer, _ := w.retry.extend(q.reset); longer { // or the next answer tells what comes of it
		w.retry.notify.Send(image.Event{Kind: image.EventQuota, Side: w.retry.side, Wait: q.reset, Text: fmt.Sprintf("registry %s grants no request for %v", w.domain, q.reset)})
	}
}

// worthTelling reports whether a quota is the first, or the first low one.
func (w *quotaWatch) worthTelling(q quota) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	low := q.limit >= 0 && q.remaining < (q.limit+9)/10
	switch {
	case low && w.told < 2:
		w.told = 2
	case w.told == 0:
		w.told = 1
	default:
		return false
	}
	return true
}
