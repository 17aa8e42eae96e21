package registry

import (
	"sync"
	"time"
)

// A Limiter lets so much through each second, for all who share it: requests,
// or bytes. What is let through is paid for afterwards, so that whoever comes
// first, or after a pause, does not wait. Nil is no limit.
type Limiter struct {
	rate float64 // a second

	mu   sync.Mutex
	free time.Time // when all that was let through is paid for
}

// NewLimiter returns a Limiter of that many a second, nil for 0 or less. Who
// is to be limited together, be it two sides of a copy or many repositories,
// gets the same one.
func NewLimiter(perSecond float64) *Limiter {
	if !(perSecond > 0) {
		return nil
	}
	return &Limiter{rate: perSecond}
}

// longest is how long one piece may keep others waiting, whatever the rate.
const longest = time.Hour

// wait waits until n more may pass. It reports false if done is closed before.
func (l *Limiter) wait(done <-chan struct{}, n int) bool {
	if l == nil || n <= 0 {
		return true
	}
	pause := l.book(n)
	if pause <= 0 {
		return true
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

// book takes the next place in the row, and returns how long it is until then.
func (l *Limiter) book(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	turn := later(now, l.free)
	cost := min(float64(n)/l.rate*float64(time.Second), float64(longest))
	l.free = turn.Add(time.Duration(cost))
	return turn.Sub(now)
}

// Sizes of what one body sends or reads at a time under a limit, in bytes: an
// eighth of a second's worth, so that it goes on steadily.
const (
	leastPiece = 512
	mostPiece  = 64 << 10
)

// some returns as much of p as may be sent or read at a time.
func (l *Limiter) some(p []byte) []byte {
	if l == nil {
		return p
	}
	n := int(max(leastPiece, min(l.rate/8, mostPiece)))
	return p[:min(len(p), n)]
}
