package registrytest

import (
	"net/http"
	"strings"
	"sync"
)

// An Action makes something go wrong: it stands before the registry, or
// before the next Action, and may answer itself, or change what goes in or
// what comes out.
type Action func(next http.Handler) http.Handler

// A Fault is what goes wrong with some requests. On makes one.
type Fault struct {
	method, pattern, origin string
	skip, times             int // times 0: always
	actions                 []Action
}

// On returns a fault that hits every request with that method, "" for any,
// whose path matches the pattern. In it "*" stands for any characters but
// "/", and "**" for any. Of several actions the first sees the request first
// and the answer last.
func On(method, pattern string, do ...Action) Fault {
	return Fault{method: method, pattern: pattern, actions: do}
}

// At returns the fault for requests that arrive at that origin only.
func (f Fault) At(origin string) Fault { f.origin = origin; return f }

// After returns the fault without the first n requests that it would hit.
func (f Fault) After(n int) Fault { f.skip = n; return f }

// Times returns the fault for n requests, all after which are well again.
func (f Fault) Times(n int) Fault { f.times = n; return f }

// Nth returns the fault for one request, the first being 1.
func (f Fault) Nth(n int) Fault { return f.After(n - 1).Times(1) }

// Inject adds faults to those that there are. A request that several of them
// match is hit by all, the one injected first seeing it first; each counts
// for itself.
func (r *Registry) Inject(list ...Fault) {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	for _, f := range list {
		r.faults.list = append(r.faults.list, &f)
	}
}

// Heal takes all faults away.
func (r *Registry) Heal() {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	r.faults.list = nil
}

// faults are those that wait for their requests.
type faults struct {
	mu   sync.Mutex
	list []*Fault
}

// of returns the actions for a request, and counts it.
func (l *faults) of(origin string, q *http.Request) []Action {
	l.mu.Lock()
	defer l.mu.Unlock()
	var do []Action
	for _, f := range l.list {
		if f.hits(origin, q) {
			do = append(do, f.actions...)
		}
	}
	return do
}

// hits reports whether a request is one of the fault's, and counts it.
func (f *Fault) hits(origin string, q *http.Request) bool {
	switch {
	case f.method != "" && f.method != q.Method, f.origin != "" && f.origin != origin, !match(f.pattern, q.URL.Path), f.times < 0:
		return false
	case f.skip > 0:
		f.skip--
		return false
	case f.times == 1:
		f.times = -1 // used up
	case f.times > 1:
		f.times--
	}
	return true
}

// match reports whether all of s is as the pattern says; see On.
func match(pattern, s string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star || !strings.HasPrefix(s, head) {
		return pattern == s
	}
	s = s[len(head):]
	tail, any := strings.CutPrefix(tail, "*")
	for i := 0; ; i++ {
		if match(tail, s[i:]) {
			return true
		}
		if i == len(s) || s[i] == '/' && !any {
			return false
		}
	}
}
