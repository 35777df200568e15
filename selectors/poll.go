package selectors

import "time"

// PollSelector is a [Selector] on poll(2), on Windows on WSAPoll, which knows
// sockets only. Every wait hands the kernel the whole list of descriptors, and
// the kernel asks each: the cost grows with the number of descriptors, ready or
// not. A waiting Select blocks a thread.
type PollSelector struct {
	core
	poll poll
}

// NewPollSelector returns a selector on poll(2) or WSAPoll, where there is one;
// elsewhere it is [errors.ErrUnsupported]. Options that concern epoll only have
// no effect.
//
// Before Windows 10 version 2004 WSAPoll does not tell of connects that failed.
// There it is not one of [Backends]; take select.
func NewPollSelector(opts ...Option) (*PollSelector, error) {
	s := &PollSelector{}
	if err := s.poll.open(&s.core.table); err != nil {
		return nil, &Error{Op: "new", Backend: "poll", FD: -1, Err: err}
	}
	s.core.init(s, "poll", &s.poll, pollTraits)
	return s, nil
}

var pollTraits = traits{features: FeaturePriority | FeatureInvalid | pollFeatures, scans: true}

// poll is the backend. The kernel works on a copy of the list, so that the
// list may change while a wait goes on. The first entry is the waker; an
// entry's slot is its place in the list.
type poll struct {
	waker
	table *table
	fds   []pollFD
	copy  []pollFD
	found int
	first int // where the last batch began; the next one begins behind it
}

func (b *poll) open(t *table) error {
	if err := b.waker.open(); err != nil {
		return err
	}
	b.table = t
	b.fds = []pollFD{{Fd: pollNumber(b.waker.fd()), Events: pollIn}}
	return nil
}

func toPoll(events Event) (mask uint32) {
	if events&EventRead != 0 {
		mask |= pollIn
		if events&Exclusive == 0 {
			mask |= pollRdHup // comes with POLLIN, so the hint is for free
		}
	}
	if events&EventWrite != 0 {
		mask |= pollOut
	}
	if events&EventPriority != 0 {
		mask |= pollPri
	}
	if events&EventReadClosed != 0 {
		mask |= pollRdHup
	}
	return mask
}

// fromPoll reads a mask as Linux's own select(2) does (POLLIN_SET and
// POLLOUT_SET in fs/select.c): a hang-up is readable, an error is both.
func fromPoll(mask uint32) Event {
	if mask == pollIn {
		return EventRead
	}
	return fromPollAny(mask)
}

func fromPollAny(mask uint32) (events Event) {
	if mask&(pollIn|pollHup|pollErr) != 0 {
		events = EventRead
	}
	if mask&(pollOut|pollErr) != 0 {
		events |= EventWrite
	}
	if mask&^(pollIn|pollOut) == 0 { // nearly always
		return events
	}
	if mask&pollPri != 0 {
		events |= EventPriority
	}
	if mask&pollRdHup != 0 {
		events |= EventReadClosed
	}
	if mask&pollHup != 0 {
		events |= hangup(mask)
	}
	if mask&pollErr != 0 {
		events |= EventError
	}
	if mask&pollNval != 0 {
		events = EventError | EventInvalid
	}
	return events
}

func (b *poll) add(fd int, e *entry, _ bool) error {
	if err := identify(fd, e); err != nil {
		return err
	}
	b.put(fd, e, e.events)
	return nil
}

func (b *poll) modify(fd int, e *entry, events Event, _ uint32) error {
	if err := identify(fd, e); err != nil && err != errExists {
		return err
	}
	b.put(fd, e, events)
	return nil
}

func (b *poll) put(fd int, e *entry, events Event) {
	if e.slot < 0 {
		e.slot = int32(len(b.fds))
		b.fds = append(b.fds, pollFD{Fd: pollNumber(fd)})
	}
	b.fds[e.slot].Events = pollMask(toPoll(events))
}

// remove keeps the list dense: a list longer than RLIMIT_NOFILE is EINVAL.
func (b *poll) remove(fd int, e *entry) {
	if e.slot < 0 {
		return
	}
	last := b.fds[len(b.fds)-1]
	b.fds = b.fds[:len(b.fds)-1]
	if last.Fd != pollNumber(fd) {
		b.fds[e.slot] = last
		b.table.find(int(last.Fd)).slot = e.slot
	}
	e.slot = -1
}

func (b *poll) mute(fd int, e *entry) bool {
	b.remove(fd, e)
	return false
}

func (b *poll) unmute(fd int, e *entry) { b.put(fd, e, e.events) }

func (b *poll) prepare(c *core) {
	if cap(b.fds) > 4*len(b.fds)+64 {
		b.fds = append([]pollFD(nil), b.fds...)
		b.copy = nil
	}
	b.copy = append(b.copy[:0], b.fds...)
}

func (b *poll) poll() (int, error) { return b.sleep(0) }

func (b *poll) sleep(timeout time.Duration) (n int, err error) {
	b.found, err = ppoll(b.copy, timeout)
	if b.found > 0 && b.copy[0].Revents != 0 {
		b.found--
		b.drain()
	}
	return b.found, err
}

func (b *poll) collect(c *core, dst []Ready) []Ready {
	n := len(b.copy)
	i, left := b.first, b.found
	b.first = 0
	for range n {
		if i++; i >= n {
			i = 1
		}
		p := &b.copy[i]
		if p.Revents == 0 {
			continue
		}
		if b.first == 0 {
			b.first = i
		}
		if e := c.table.find(int(p.Fd)); e != nil && c.older(e) {
			dst = c.report(dst, e, fromPoll(uint32(uint16(p.Revents))))
		}
		if left--; left == 0 {
			break
		}
	}
	return dst
}

// No registration outlives a call, so there are no ghosts.
func (b *poll) repair(*core) error { return nil }
