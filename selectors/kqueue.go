//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && simkqueue)

package selectors

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// KqueueSelector is a [Selector] on kqueue(2) of the BSDs and macOS. A waiting
// Select blocks a thread.
//
// kqueue tells hang-ups and errors only through the directions that were asked
// for: the hints are reported where they are known, but there is no
// [FeatureHangup]. What it refuses to watch is an error that wraps
// [errors.ErrUnsupported]: terminals on some systems and, on macOS, reading
// from named pipes, whose end it does not tell (golang/go#24164). Select takes
// them.
type KqueueSelector struct {
	core
	kqueue kqueue
}

// NewKqueueSelector returns a selector on a new kqueue. Options that concern
// epoll only have no effect.
func NewKqueueSelector(...Option) (*KqueueSelector, error) {
	return openKqueue(&KqueueSelector{}, "kqueue", native)
}

func openKqueue(s *KqueueSelector, name string, d dialect) (*KqueueSelector, error) {
	if err := s.kqueue.open(&s.core.table, d); err != nil {
		return nil, &Error{Op: "new", Backend: name, FD: -1, Err: err}
	}
	s.core.init(s, name, &s.kqueue, d.traits())
	return s, nil
}

// A dialect is what differs between the systems that have a kqueue.
type dialect struct {
	urgent  bool // there is a filter for urgent data
	receipt bool // there is EV_RECEIPT
	fifoEnd bool // a named pipe tells that its last writer has gone
}

func (d dialect) traits() traits {
	t := traits{features: FeatureEdgeTriggered | FeatureReadClosed | FeatureAnyFile, live: true}
	if d.urgent {
		t.features |= FeaturePriority
	}
	return t
}

// kqueue is the backend. The kernel has a registration for each direction of a
// descriptor, a filter, and forgets them when the number is closed. It hands
// back the number of the registration with every event; 0 is our own waker's.
type kqueue struct {
	dialect
	queue kernelQueue
	waker kqueueWaker
	table *table

	events []kevent
	found  int        // events of the last wait
	merged []fileNews // of the same, by descriptor

	changes, receipts []kevent
}

// fileNews is what all events of one descriptor come to.
type fileNews struct {
	e      *entry
	events Event
}

func (b *kqueue) open(t *table, d dialect) error {
	b.table, b.dialect = t, d
	if err := b.queue.open(); err != nil {
		return os.NewSyscallError("kqueue", err)
	}
	err := b.waker.open(&b.queue)
	if err != nil {
		b.queue.close()
	}
	return err
}

func (b *kqueue) close() error {
	b.waker.close()
	return os.NewSyscallError("close", b.queue.close())
}

func (b *kqueue) wake() error { return b.waker.wake() }

// A report of hints alone comes from a filter that was set with EV_CLEAR for
// that reason, so there is nothing to mute; see extend.
func (b *kqueue) mute(int, *entry) bool { return true }
func (b *kqueue) unmute(int, *entry)    {}

// prepare makes room for all filters of every registration: a list without
// room would end every wait at once.
func (b *kqueue) prepare(c *core) {
	if need := 3*c.table.len + 1; len(b.events) < need || len(b.events) > 4*need+64 {
		b.events = make([]kevent, need+need/4+14)
	}
}

func (b *kqueue) poll() (int, error) { return b.sleep(0) }

// sleep waits with nanoseconds. The core asks for a day at most; Darwin takes
// no more than 1e6 seconds.
func (b *kqueue) sleep(timeout time.Duration) (int, error) {
	var limit *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(timeout))
		limit = &ts
	}
	var err error
	b.found, err = b.queue.call(nil, b.events, limit)
	if err != nil {
		b.found = 0
		if err == unix.EINTR { // routine: the Go runtime preempts goroutines with signals
			return 0, nil
		}
		return 0, os.NewSyscallError("kevent", err)
	}
	return b.found, nil
}

func (b *kqueue) collect(c *core, dst []Ready) []Ready {
	b.merged = b.merged[:0]
	for i := range b.events[:b.found] {
		ev := &b.events[i]
		if ev.gen() == 0 {
			b.waker.drain()
			continue
		}
		e := c.table.find(ev.ident())
		if e == nil || e.gen != ev.gen() {
			continue // of a registration that has ended meanwhile
		}
		if e.slot < 0 {
			e.slot = int32(len(b.merged))
			b.merged = append(b.merged, fileNews{e: e})
		}
		b.merged[e.slot].events |= fromKevent(ev, e.mark&^setBits)
	}
	for _, m := range b.merged {
		e, events := m.e, m.events
		e.slot = -1
		if events&(EventReadClosed|writeEnded) == EventReadClosed|writeEnded {
			events |= EventHangup
		}
		dst = c.report(dst, e, events&^writeEnded)
		again := uint8(0)
		if events&EventReadClosed != 0 && e.events&EventRead == 0 {
			again = setRead
		}
		if events&EventPriority != 0 {
			again |= setUrgent
		}
		if again &= e.mark; again != 0 && e.events&(EdgeTriggered|OneShot) == 0 {
			b.begin(e.key.FD, again)
			b.extend(e.key.FD, again, e.events, e.gen)
			b.submit()
		}
	}
	return dst
}

// writeEnded marks a socket that can be written to no more. If it cannot be
// read either that is a hang-up.
const writeEnded Event = 1 << 31

// fromKevent reads one event. A socket tells of the two directions apart, and
// the pending error beside the end; of a pipe the end means that nobody has
// the other one.
func fromKevent(ev *kevent, kind uint8) (events Event) {
	end := EventHangup
	switch ev.filter() {
	case filterRead:
		events = EventRead
		if kind == kindSocket {
			end = EventReadClosed
		} else if kind == kindWriteEnd {
			end = EventError
		}
	case filterWrite:
		events = EventWrite
		if kind == kindSocket {
			end = writeEnded
		} else if kind == kindWriteEnd || kind == kindPipe {
			end = EventError
		}
	case filterUrgent:
		if ev.fflags()&noteOOB == 0 {
			return 0 // the end; others tell that
		}
		return EventPriority
	}
	if ev.flags()&evEOF != 0 {
		events |= end
		if ev.fflags() != 0 {
			events |= EventError
		}
	}
	return events
}

// The kernel drops the filters of a number that is closed, so nothing is left
// to report.
func (b *kqueue) repair(*core) error { return nil }
