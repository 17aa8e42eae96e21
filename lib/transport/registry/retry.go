package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/imgtools/imgtools/lib/image"
)

// Retry says how a request is tried again, for what may pass: 408, 429, 500,
// 502, 503, 504, broken connections, silence, answers cut short. The zero
// value is three tries, one second and two seconds apart.
type Retry struct {
	Times  int           // tries after the first; 0 is 2, below 0 is none
	Delay  time.Duration // before the first of those, doubled for each further one; 0 is 1 s
	Budget time.Duration // all waits together that servers ask for, with Retry-After or a quota; 0 is 90 s
}

const (
	maxWait    = 60 * time.Second // for one Retry-After
	maxBackoff = 60 * time.Second
)

// A retrier tries again. A wait that a server asks for holds for all requests of the repository: they wait together, and that is counted once.
type retrier struct {
	Retry
	side   string
	notify image.Notify

	mu    sync.Mutex
	gate  time.Time     // nothing is sent before
	spent time.Duration // of Budget
}

func newRetrier(r Retry, side string, notify image.Notify) *retrier {
	switch {
	case r.Times == 0:
		r.Times = 2
	case r.Times < 0:
		r.Times = 0
	}
	if r.Delay <= 0 {
		r.Delay = time.Second
	}
	if r.Budget <= 0 {
		r.Budget = 90 * time.Second
	}
	return &retrier{Retry: r, side: side, notify: notify}
}

// do calls try until it succeeds, fails for good, or has failed too often.
func (r *retrier) do(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		if err := r.hold(ctx); err != nil {
			return err
		}
		err := try()
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, n, err); err != nil {
			return err
		}
	}
}

// pause waits after the n-th failure. If there is to be no other try, it
// returns the reason, which wraps err.
func (r *retrier) pause(ctx context.Context, n int, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if n > r.Times || !passing(err) || hurried(ctx) {
		return err
	}
	wait := r.backoff(n)
	var answer *Error
	if errors.As(err, &answer) && answer.retryAfter >= 0 {
		if _, why := r.extend(answer.retryAfter); why != nil {
			return fmt.Errorf("%w: %w", err, why)
		}
		wait = max(wait, answer.retryAfter) // who says "at once" gets no storm
	}
	r.tell(n, wait, err)
	return sleep(ctx, wait)
}

func (r *retrier) tell(n int, wait time.Duration, err error) {
	r.notify.Send(image.Event{Kind: image.EventRetry, Side: r.side, Attempt: n, Attempts: r.Times, Wait: wait, Text: err.Error()})
}

// passing reports whether an error is one that another try may mend.
func passing(err error) bool {
	var answer *Error
	var broken *netError
	switch {
	case errors.As(err, &broken):
		return broken.passing()
	case errors.As(err, &answer):
		return answer.passing()
	}
	return errors.Is(err, errShort)
}

// backoff is how long to wait after the n-th failure, give or take a quarter.
func (r *retrier) backoff(n int) time.Duration {
	d := min(r.Delay<<min(n-1, 10), max(r.Delay, maxBackoff))
	return d*3/4 + rand.N(d/2+1)
}

// extend makes all requests wait as long as the server asks for, and reports
// whether that is longer than they do already. If it is too long, they do not,
// and it returns why.
func (r *retrier) extend(d time.Duration) (longer bool, why error) {
	if d > maxWait {
		return false, fmt.Errorf("the server asks to wait %v, longer than %v", d, maxWait)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	more := now.Add(d).Sub(later(now, r.gate))
	if more > 0 {
		if r.spent+more > r.Budget {
			return false, fmt.Errorf("the server asks to wait %v more after %v, longer than %v in all", d, r.spent.Round(time.Second), r.Budget)
		}
		r.spent += more
		r.gate = now.Add(d)
	}
	return more > 0, nil
}

// hold waits until requests may be sent. Who is in a hurry waits no longer than
// for an answer: that is an error.
func (r *retrier) hold(ctx context.Context) error {
	for {
		r.mu.Lock()
		wait := time.Until(r.gate)
		r.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if hurried(ctx) && wait > hurryHeader {
			return fmt.Errorf("%w: the registry grants no request for %v", image.ErrNetwork, wait.Round(time.Second))
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sleep waits, or returns why ctx ended before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
