package copy

import (
	"context"
	"io"
)

// maxAhead is how many blobs are opened before their turn, so that a
// destination that takes them one by one does not wait for each to begin.
const maxAhead = 6

type opened struct {
	rc  io.ReadCloser
	err error
}

// inOrder moves blobs one after the other.
func (m *mover) inOrder(ctx context.Context, steps []Step) error {
	ctx, cancel := context.WithCancel(ctx)
	queue := m.openAhead(ctx, steps)
	defer func() {
		cancel()
		for c := range queue { // those that nobody will read
			if o := <-c; o.err == nil {
				o.rc.Close()
			}
		}
	}()
	for _, s := range steps {
		ok, err := m.there(ctx, s)
		if err != nil {
			return err
		}
		if ok {
			if !s.Skip {
				m.drop(<-queue)
			}
			continue
		}
		c, open := <-queue
		if !open {
			return context.Cause(ctx)
		}
		o := <-c
		if o.err != nil {
			return o.err
		}
		err = m.put(ctx, s, m.blob(ctx, s.Blob, o.rc))
		o.rc.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *mover) drop(c chan opened) {
	if c == nil {
		return
	}
	if o := <-c; o.err == nil {
		o.rc.Close()
	}
}

// openAhead opens the blobs of steps in order, some of them before they are
// taken from the queue. The queue is closed at the end, or when ctx ends.
func (m *mover) openAhead(ctx context.Context, steps []Step) chan chan opened {
	queue := make(chan chan opened, min(maxAhead, m.o.jobs()-1)) // and one is being moved
	go func() {
		defer close(queue)
		for _, s := range steps {
			if s.Skip {
				continue
			}
			c := make(chan opened, 1)
			select {
			case queue <- c:
			case <-ctx.Done():
				return
			}
			go func() {
				rc, err := m.open(ctx, s.Blob)
				c <- opened{rc, err}
			}()
		}
	}()
	return queue
}
