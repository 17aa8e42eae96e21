package cli

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A drawer shows events. One goroutine calls it. It has no clock: time is what
// events and ticks say, so a test can play a day in a moment.
type drawer interface {
	event(Event)
	note(line string)   // a line of talk
	tick(now time.Time) // time goes by
	close(now time.Time)
}

const (
	feedLength   = 512                    // items that may wait
	feedPatience = 100 * time.Millisecond // for room, for one item; Close waits ten times that
)

// feed stands between the work and the drawer: the work puts events in and goes
// on, one goroutine draws them. A terminal that is stopped or a pipe that nobody
// reads holds up the drawing, not the copy.
type feed struct {
	std      *IO
	draw     drawer
	items    chan item
	stop     chan struct{} // closed by Close
	gone     chan struct{} // closed when the goroutine ended
	once     sync.Once
	patience time.Duration
	stalled  atomic.Bool  // the last item that waited for room waited in vain
	lost     atomic.Int64 // items dropped, progress not counted
}

// An item is an event or a line of talk.
type item struct {
	ev   Event
	line string
	talk bool
}

// newFeed starts the drawing, with ticks that far apart (0: none), and makes the
// feed the place for std's talk.
func newFeed(std *IO, d drawer, every time.Duration) *feed {
	f := &feed{
		std:      std,
		draw:     d,
		items:    make(chan item, feedLength),
		stop:     make(chan struct{}),
		gone:     make(chan struct{}),
		patience: feedPatience,
	}
	std.active.Store(f)
	go f.run(every)
	return f
}

func (f *feed) run(every time.Duration) {
	defer close(f.gone)
	var ticks <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		ticks = t.C
	}
	for {
		select {
		case it := <-f.items:
			f.take(it)
		case now := <-ticks:
			f.draw.tick(now)
		case <-f.stop:
			f.drain()
			return
		}
	}
}

// drain draws what is left.
func (f *feed) drain() {
	for {
		select {
		case it := <-f.items:
			f.take(it)
			continue
		default:
		}
		if n := f.lost.Load(); n > 0 {
			f.draw.note(fmt.Sprintf("%d lines could not be shown in time", n))
		}
		f.draw.close(time.Now())
		return
	}
}

func (f *feed) take(it item) {
	if it.talk {
		f.draw.note(it.line)
	} else {
		f.draw.event(it.ev)
	}
	f.stalled.Store(false)
}

// Event queues the event. Progress is dropped if there is no room.
func (f *feed) Event(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	f.send(item{ev: e}, e.Kind == KindProgress)
}

func (f *feed) note(line string) { f.send(item{line: line, talk: true}, false) }

func (f *feed) send(it item, droppable bool) {
	select {
	case <-f.stop:
		return
	default:
	}
	select {
	case f.items <- it:
		return
	default:
	}
	if droppable {
		return
	}
	if f.stalled.Load() {
		f.lost.Add(1)
		return
	}
	t := time.NewTimer(f.patience)
	defer t.Stop()
	select {
	case f.items <- it:
	case <-f.stop:
	case <-t.C:
		f.stalled.Store(true)
		f.lost.Add(1)
	}
}

// Close implements [Renderer]. It always returns nil.
func (f *feed) Close() error {
	f.once.Do(func() {
		close(f.stop)
		t := time.NewTimer(10 * f.patience)
		defer t.Stop()
		select {
		case <-f.gone:
		case <-t.C:
		}
		f.std.active.CompareAndSwap(f, nil)
	})
	return nil
}

// closeRenderer closes the renderer that the tool left open.
func (std *IO) closeRenderer() {
	if f := std.active.Load(); f != nil {
		f.Close()
	}
}
