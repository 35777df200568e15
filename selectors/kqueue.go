//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && simkqueue)

package selectors

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/kqueue"
	"goselectors/selectors/internal/wake"
)

// KqueueSelector is a [Selector] on kqueue(2) of the BSDs and macOS. A waiting
// Select blocks a thread.
//
// kqueue reports hang-ups and errors only with the directions of the interest:
// the hints are reported where they are known, but there is no [FeatureHangup].
// Register of a file that it cannot watch is an error that wraps
// [errors.ErrUnsupported]: terminals on some systems and, on macOS, reading
// from named pipes, whose end it does not report (golang/go#24164). Select takes
// them.
type KqueueSelector struct {
	core
	kq kqueueBackend
}

// NewKqueueSelector returns a selector on a new kqueue. Options for epoll have no
// effect.
func NewKqueueSelector(...Option) (*KqueueSelector, error) {
	return newKqueueSelector(kqueue.Native)
}

func newKqueueSelector(d kqueue.Dialect) (*KqueueSelector, error) {
	s := &KqueueSelector{}
	if err := s.kq.open(&s.core.table, d); err != nil {
		return nil, &Error{Op: "new", Backend: d.Name, FD: -1, Err: err}
	}
	s.core.init(s, d.Name, &s.kq, kqueueTraits(d))
	return s, nil
}

func kqueueTraits(d kqueue.Dialect) traits {
	t := traits{features: FeatureEdgeTriggered | FeatureReadClosed | FeatureAnyFile, updatesLive: true, hintsAreEdges: true}
	if d.UrgentFilter {
		t.features |= FeaturePriority
	}
	return t
}

// kqueueBackend is the backend. The kernel has a registration for each direction
// of a descriptor, a filter, and forgets them when the number is closed. With
// each event it hands back the tag: the generation of the registration; 0 is the
// waker's.
type kqueueBackend struct {
	noOrphans
	dialect kqueue.Dialect
	queue   kqueue.Queue
	waker   wake.Kqueue
	table   *table

	events []kqueue.Event
	found  int        // events of the last wait
	merged []fdEvents // the same, by descriptor

	changes, receipts []kqueue.Event
}

// fdEvents holds all events of one descriptor.
type fdEvents struct {
	e      *entry
	events Event
}

func (b *kqueueBackend) open(t *table, d kqueue.Dialect) error {
	b.table, b.dialect = t, d
	if err := b.queue.Open(d); err != nil {
		return os.NewSyscallError("kqueue", err)
	}
	err := b.waker.Open(&b.queue, d.UserEvents)
	if err != nil {
		b.queue.Close()
	}
	return err
}

func (b *kqueueBackend) close() error {
	b.waker.Close()
	return os.NewSyscallError("close", b.queue.Close())
}

func (b *kqueueBackend) owns(fd int) bool { return b.queue.Owns(fd) || b.waker.Owns(fd) }

func (b *kqueueBackend) wake() error { return b.waker.Wake() }

// mute is not called: a report of hints alone comes from a filter that was set
// with EV_CLEAR for that reason; see appendAdds.
func (b *kqueueBackend) mute(int, *entry) bool { return true }
func (b *kqueueBackend) unmute(int, *entry)    {}

// prepare makes room for the events of all filters of every registration.
// Without any room, every wait would end at once.
func (b *kqueueBackend) prepare(c *core) {
	if need := 3*c.table.len + 1; len(b.events) < need || len(b.events) > 4*need+64 {
		b.events = make([]kqueue.Event, need+need/4+14)
	}
}

func (b *kqueueBackend) poll() (int, error) { return b.sleep(0) }

// sleep has nanoseconds. Darwin takes no more than 1e6 seconds, and the core asks
// for a day at most.
func (b *kqueueBackend) sleep(timeout time.Duration) (int, error) {
	var limit *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(timeout))
		limit = &ts
	}
	var err error
	b.found, err = b.queue.Call(nil, b.events, limit)
	if err != nil {
		b.found = 0
		if err == unix.EINTR { // routine: the Go runtime preempts goroutines with signals
			return 0, nil
		}
		return 0, os.NewSyscallError("kevent", err)
	}
	return b.found, nil
}

func (b *kqueueBackend) collect(c *core, dst []Ready) []Ready {
	b.merged = b.merged[:0]
	for i := range b.events[:b.found] {
		ev := &b.events[i]
		if ev.Tag() == 0 {
			b.waker.Drain()
			continue
		}
		e := c.table.find(ev.Ident())
		if e == nil || e.generation != ev.Tag() {
			continue // stale: the registration has ended or was changed
		}
		if e.slot < 0 {
			e.slot = int32(len(b.merged))
			b.merged = append(b.merged, fdEvents{e: e})
		}
		b.merged[e.slot].events |= fromKevent(ev, e.filters&^setBits)
	}
	for _, m := range b.merged {
		e, events := m.e, m.events
		e.slot = -1
		if events&(EventReadClosed|writeEOF) == EventReadClosed|writeEOF {
			events |= EventHangup
		}
		dst = c.report(dst, e, events&^writeEOF)
		rearm := uint8(0)
		if events&EventReadClosed != 0 && e.events&EventRead == 0 {
			rearm = setRead
		}
		if events&EventPriority != 0 {
			rearm |= setUrgent
		}
		if rearm &= e.filters; rearm != 0 && e.events&(EdgeTriggered|OneShot) == 0 {
			b.startDeletes(e.key.FD, rearm)
			b.appendAdds(e.key.FD, rearm, e.events, e.generation)
			b.submit()
		}
	}
	return dst
}

// writeEOF marks a socket whose writing half is closed. If its reading half is
// closed too, that is a hang-up.
const writeEOF Event = 1 << 31

// fromKevent reads one event. A socket reports the end of each direction, and
// with it the pending error. The end of a pipe means that its other end is
// closed.
func fromKevent(ev *kqueue.Event, kind uint8) (events Event) {
	end := EventHangup
	switch ev.Filter() {
	case kqueue.FilterRead:
		events = EventRead
		if kind == kindSocket {
			end = EventReadClosed
		} else if kind == kindWriteEnd {
			end = EventError
		}
	case kqueue.FilterWrite:
		events = EventWrite
		if kind == kindSocket {
			end = writeEOF
		} else if kind == kindWriteEnd || kind == kindPipe {
			end = EventError
		}
	case kqueue.FilterUrgent:
		if ev.Fflags()&kqueue.NoteOOB == 0 {
			return 0 // the end, which the other filters report
		}
		return EventPriority
	}
	if ev.Flags()&kqueue.EOF != 0 {
		events |= end
		if ev.Fflags() != 0 {
			events |= EventError
		}
	}
	return events
}
