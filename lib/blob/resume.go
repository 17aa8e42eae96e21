package blob

import (
	"hash"
	"io"
	"sync"

	"github.com/imgtools/imgtools/lib/oci"
)

const checkpointEvery = 4 << 20 // bytes

// checkpoints remember the state of a hash now and then, so that content can
// be read again from the middle and still be verified as a whole.
type checkpoints struct {
	reopen func(int64) (io.ReadCloser, error)

	mu    sync.Mutex
	marks []mark
}

type mark struct {
	at    int64
	state hash.Hash
}

// note keeps the state of h after n bytes, unless the last one is near. It
// may be called on nil.
func (c *checkpoints) note(n int64, h hash.Hash) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := len(c.marks); k > 0 && n-c.marks[k-1].at < checkpointEvery || n < checkpointEvery {
		return
	}
	if state, ok := clone(h); ok {
		c.marks = append(c.marks, mark{n, state})
	}
}

// before returns the last state at or before offset, ready to go on from.
func (c *checkpoints) before(offset int64, d oci.Descriptor) mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.marks) - 1; i >= 0; i-- {
		if m := c.marks[i]; m.at <= offset {
			if state, ok := clone(m.state); ok {
				c.marks = c.marks[:i+1]
				return mark{m.at, state}
			}
		}
	}
	c.marks = nil
	return mark{0, d.Digest.Algorithm().Hash()}
}

// verified returns a Reopen whose reader checks the content d from its first
// byte on, though it reads only from the last checkpoint.
func (c *checkpoints) verified(d oci.Descriptor) func(int64) (io.ReadCloser, error) {
	return func(offset int64) (io.ReadCloser, error) {
		m := c.before(offset, d)
		rc, err := c.reopen(m.at)
		if err != nil {
			return nil, err
		}
		v := &verifier{r: rc, h: m.state, n: m.at, want: d, marks: c}
		if _, err := io.CopyN(io.Discard, v, offset-m.at); err != nil {
			rc.Close()
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{v, rc}, nil
	}
}

func clone(h hash.Hash) (hash.Hash, bool) {
	c, ok := h.(hash.Cloner)
	if !ok {
		return nil, false
	}
	state, err := c.Clone()
	return state, err == nil
}
