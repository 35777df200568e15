package selectors

import (
	"time"

	"goselectors/selectors/internal/sys"
	"goselectors/selectors/internal/wake"
)

// PollSelector is a [Selector] on poll(2); on Windows on WSAPoll, which takes
// sockets only. Every wait passes the whole list of descriptors to the kernel,
// which asks each of them: the cost grows with the number of descriptors, ready
// or not. A waiting Select blocks a thread.
type PollSelector struct {
	core
	poll poll
}

// NewPollSelector returns a selector on poll(2) or WSAPoll. Where there is
// neither, the error is [errors.ErrUnsupported]. Options for epoll have no effect.
//
// Before Windows 10 version 2004 WSAPoll does not report connects that failed.
// There poll is not one of [Backends]; use select.
func NewPollSelector(opts ...Option) (*PollSelector, error) {
	s := &PollSelector{}
	if err := s.poll.open(&s.core); err != nil {
		return nil, &Error{Op: "new", Backend: "poll", FD: -1, Err: err}
	}
	s.core.init(s, "poll", &s.poll, pollTraits)
	return s, nil
}

var pollTraits = traits{features: pollFeatures(), scansAll: true}

func pollFeatures() Feature {
	features := FeaturePriority | FeatureInvalid
	if sys.AnyFile {
		features |= FeatureAnyFile
	}
	if sys.HupIsReadClosed {
		return features | FeatureReadClosed
	}
	if sys.PollRdHup != 0 {
		features |= FeatureReadClosed
	}
	return features | FeatureHangup
}

// poll is the backend. The kernel works on a copy of the list, so that the list
// may change during a wait. The first element is the waker; an entry's slot is
// its index in the list.
type poll struct {
	noOrphans
	waker wake.Waker
	core  *core
	fds   []sys.PollFD
	asked []sys.PollFD // the copy
	found int          // elements of asked with events
	first int          // index where the last batch began; the next one begins behind it
}

func (b *poll) open(c *core) error {
	if err := b.waker.Open(); err != nil {
		return err
	}
	b.core = c
	b.fds = []sys.PollFD{sys.NewPollFD(b.waker.FD(), sys.PollIn)}
	return nil
}

func (b *poll) close() error { return b.waker.Close() }
func (b *poll) wake() error  { return b.waker.Wake() }

func (b *poll) owns(fd int) bool { return fd == b.waker.FD() }

func toPoll(events Event) (mask uint32) {
	if events&EventRead != 0 {
		mask |= sys.PollIn
		if events&Exclusive == 0 {
			mask |= sys.PollRdHup // comes with POLLIN, so the hint costs nothing
		}
	}
	if events&EventWrite != 0 {
		mask |= sys.PollOut
	}
	if events&EventPriority != 0 {
		mask |= sys.PollPri
	}
	if events&EventReadClosed != 0 {
		mask |= sys.PollRdHup
	}
	return mask
}

// fromPoll reads a mask as Linux's own select(2) does (POLLIN_SET and
// POLLOUT_SET in fs/select.c): a hang-up is readable, an error is both readable
// and writable.
func fromPoll(mask uint32) Event {
	if mask == sys.PollIn {
		return EventRead
	}
	return fromPollAny(mask)
}

func fromPollAny(mask uint32) (events Event) {
	if mask&(sys.PollIn|sys.PollHup|sys.PollErr) != 0 {
		events = EventRead
	}
	if mask&(sys.PollOut|sys.PollErr) != 0 {
		events |= EventWrite
	}
	if mask&^(sys.PollIn|sys.PollOut) == 0 { // nearly always
		return events
	}
	if mask&sys.PollPri != 0 {
		events |= EventPriority
	}
	if mask&sys.PollRdHup != 0 {
		events |= EventReadClosed
	}
	if mask&sys.PollHup != 0 {
		events |= fromPollHup(mask)
	}
	if mask&sys.PollErr != 0 {
		events |= EventError
	}
	if mask&sys.PollNval != 0 {
		events = EventError | EventInvalid
	}
	return events
}

// fromPollHup reads a mask with PollHup in it. On Windows that means that the
// peer has shut down its writing half, and with PollErr that the connection was
// aborted.
func fromPollHup(mask uint32) Event {
	if !sys.HupIsReadClosed {
		return EventHangup
	}
	if mask&sys.PollErr != 0 {
		return EventReadClosed | EventHangup
	}
	return EventReadClosed
}

func (b *poll) add(fd int, e *entry, _ bool) error {
	err := identify(fd, e)
	if err == nil {
		b.put(fd, e, e.events)
	}
	return err
}

func (b *poll) modify(fd int, e *entry, events Event, _ uint32) error {
	err := reidentify(fd, e)
	if err == nil {
		b.put(fd, e, events)
	}
	return err
}

func (b *poll) put(fd int, e *entry, events Event) {
	if e.slot < 0 {
		e.slot = int32(len(b.fds))
		b.fds = append(b.fds, sys.NewPollFD(fd, 0))
	}
	sys.SetEvents(&b.fds[e.slot], toPoll(events))
}

// remove keeps the list dense: poll(2) refuses a list that is longer than
// RLIMIT_NOFILE, with EINVAL.
func (b *poll) remove(fd int, e *entry) {
	if e.slot < 0 {
		return
	}
	last := b.fds[len(b.fds)-1]
	b.fds = b.fds[:len(b.fds)-1]
	if int(last.Fd) != fd {
		b.fds[e.slot] = last
		b.core.table.find(int(last.Fd)).slot = e.slot
	}
	e.slot = -1
}

// mute takes the descriptor out of the list: poll(2) reports hang-ups and errors
// of every descriptor in it.
func (b *poll) mute(fd int, e *entry) bool {
	b.remove(fd, e)
	return false
}

func (b *poll) unmute(fd int, e *entry) { b.put(fd, e, e.events) }

func (b *poll) prepare(c *core) {
	if cap(b.fds) > 4*len(b.fds)+64 {
		b.fds = append([]sys.PollFD(nil), b.fds...)
		b.asked = nil
	}
	b.asked = append(b.asked[:0], b.fds...)
}

func (b *poll) poll() (int, error) { return b.sleep(0) }

func (b *poll) sleep(timeout time.Duration) (n int, err error) {
	b.found, err = sys.Poll(b.asked, timeout)
	if err != nil {
		if limit := sys.PollLimit(); len(b.asked) > limit {
			b.found, err = b.sleepInPieces(limit, timeout)
		} else if !sys.IsShortage(err) { // the limit may have been raised since
			b.found, err = sys.Poll(b.asked, 0)
		}
	}
	if b.found > 0 && b.asked[0].Revents != 0 {
		b.found--
		b.waker.Drain()
	}
	return b.found, err
}

// sleepInPieces is sleep with a list that is longer than the limit, which may have
// been lowered. It asks for all in several calls, and waits for a short time, on the
// first piece, which has the waker.
func (b *poll) sleepInPieces(limit int, timeout time.Duration) (found int, err error) {
	if limit == 0 {
		return 0, sys.ErrRefused
	}
	b.core.counters.shortages.Add(1)
	for at := 0; at < len(b.asked) && err == nil; at += limit {
		var n int
		n, err = sys.Poll(b.asked[at:min(at+limit, len(b.asked))], 0)
		found += n
	}
	if found == 0 && timeout != 0 && err == nil {
		if timeout < 0 || timeout > pauseTime {
			timeout = pauseTime
		}
		found, err = sys.Poll(b.asked[:limit], timeout)
	}
	if err != nil {
		if sys.PollLimit() < limit { // lowered again
			err = sys.ErrRefused
		}
		return 0, err
	}
	return found, nil
}

func (b *poll) collect(c *core, dst []Ready) []Ready {
	n := len(b.asked)
	i, left := b.first, b.found
	b.first = 0
	for range n {
		if i++; i >= n {
			i = 1
		}
		p := &b.asked[i]
		if p.Revents == 0 {
			continue
		}
		if b.first == 0 {
			b.first = i
		}
		dst = c.reportCurrent(dst, int(p.Fd), fromPoll(uint32(uint16(p.Revents))))
		if left--; left == 0 {
			break
		}
	}
	return dst
}
