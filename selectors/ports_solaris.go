package selectors

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// EventPortSelector is a [Selector] on the event ports of Solaris and illumos,
// port_create(3C). A waiting Select blocks a thread.
type EventPortSelector struct {
	core
	port eventPort
}

// NewEventPortSelector returns a selector on a new event port. It holds three
// descriptors of its own. Every wait allocates, because unix.EventPort does.
// Options that concern epoll only have no effect.
func NewEventPortSelector(opts ...Option) (*EventPortSelector, error) {
	s := &EventPortSelector{}
	if err := s.port.open(); err != nil {
		return nil, &Error{Op: "new", Backend: "eventport", FD: -1, Err: err}
	}
	s.core.init(s, "eventport", &s.port, eventPortTraits)
	return s, nil
}

var eventPortTraits = traits{
	features: FeaturePriority | FeatureHangup | FeatureAnyFile,
	oneShot:  true,
	live:     true,
}

// eventPort is the backend. The kernel ends an association when it reports it
// (port_associate(3C)); what is to be told again as long as it lasts has to be
// associated again, after the report and before the next wait, and is then
// reported at once if it is still ready. It also ends one when the descriptor
// is closed, whatever duplicates there are: there are no ghosts.
//
// unix.EventPort keeps a table of associations of its own and has no call to
// send to a port, so what wakes is a pipe.
type eventPort struct {
	*unix.EventPort
	waker
	events []unix.PortEvent
	found  int
	spent  []spent // reported, and not associated any more
}

// maxPortEvents is how many events one call is asked for; more than illumos'
// PORT_MAX_LIST (sys/port_impl.h), which is 8192, are EINVAL.
const maxPortEvents = 1024

// spent names a registration that the kernel has ended.
type spent struct {
	fd  int
	gen uint32
}

func (b *eventPort) open() error {
	if err := b.waker.open(); err != nil {
		return err
	}
	port, err := unix.NewEventPort() // closed on exec
	if err != nil {
		b.waker.close()
		return os.NewSyscallError("port_create", err)
	}
	b.EventPort, b.events = port, make([]unix.PortEvent, 1)
	if err = b.associate(b.waker.fd(), unix.POLLIN, 0); err != nil {
		b.close()
	}
	return err
}

func (b *eventPort) close() error {
	err := b.EventPort.Close()
	b.waker.close()
	return os.NewSyscallError("close", err)
}

// associate watches a descriptor until it is reported once. It takes the place
// of an association that there may be: EventPort refuses a second one, and goes
// by its own table, in which a descriptor stays when it is closed.
func (b *eventPort) associate(fd int, mask uint32, gen uint32) error {
	err := b.AssociateFd(uintptr(fd), int(mask), gen)
	if _, system := err.(unix.Errno); err != nil && !system {
		b.DissociateFd(uintptr(fd))
		err = b.AssociateFd(uintptr(fd), int(mask), gen)
	}
	if err == unix.EBADFD { // port_associate(3C): not a valid file descriptor
		err = unix.EBADF
	}
	return err
}

func (b *eventPort) add(fd int, e *entry, _ bool) error {
	if err := identify(fd, e); err != nil {
		return err
	}
	return b.watch(fd, e.events, e.gen)
}

func (b *eventPort) modify(fd int, e *entry, events Event, gen uint32) error {
	was := e.id
	if err := identify(fd, e); err != nil && err != errExists {
		return err
	}
	err := b.watch(fd, events, gen)
	switch {
	case err == errAlwaysReady:
		b.remove(fd, e)
	case err != nil:
		e.id = was
		if e.state&(silent|muted) == 0 {
			b.watch(fd, e.events, e.gen) // as it was
		}
	}
	return err
}

// watch leaves files that are always ready to the core, as other systems' do.
func (b *eventPort) watch(fd int, events Event, gen uint32) error {
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
		return errAlwaysReady
	}
	return b.associate(fd, toPoll(events), gen)
}

// remove may find that the kernel has ended the association before.
func (b *eventPort) remove(fd int, e *entry) { b.DissociateFd(uintptr(fd)) }

// mute leaves the descriptor out: poll(2)'s hang-ups and errors are reported of
// every association, whether they were asked for or not.
func (b *eventPort) mute(fd int, e *entry) bool {
	b.remove(fd, e)
	return false
}

func (b *eventPort) unmute(fd int, e *entry) { b.associate(fd, toPoll(e.events), e.gen) }

// prepare associates again what was reported and goes on to be watched.
func (b *eventPort) prepare(c *core) {
	if need := c.table.len + 1; len(b.events) < need || len(b.events) > 4*need+64 {
		b.events = make([]unix.PortEvent, need+need/4+15)
	}
	for _, s := range b.spent {
		if e := c.table.find(s.fd); e != nil && e.gen == s.gen && e.state&(silent|muted|emulated) == 0 {
			b.associate(s.fd, toPoll(e.events), e.gen) // fails if it was closed
		}
	}
	b.spent = b.spent[:0]
}

func (b *eventPort) poll() (int, error) { return b.sleep(0) }

func (b *eventPort) sleep(timeout time.Duration) (n int, err error) {
	var limit *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(timeout))
		limit = &ts
	}
	atOnce := new(unix.Timespec)
	for b.found = 0; b.found < len(b.events); limit = atOnce {
		// The kernel bounds what one call may ask for.
		room := b.events[b.found:min(b.found+maxPortEvents, len(b.events))]
		n, err = b.Get(room, 1, limit)
		b.found += n
		if err == nil && n == len(room) {
			continue
		}
		// At the end of its time port_getn(3C) may have events all the same; the
		// Go runtime's netpoll_solaris.go says so and relies on the count.
		if err == nil || err == unix.ETIME || err == unix.EINTR || b.found > 0 {
			break
		}
		return 0, os.NewSyscallError("port_getn", err)
	}
	n = b.found
	for i := range b.events[:b.found] {
		if b.events[i].Fd == uintptr(b.waker.fd()) {
			n--
			b.drain()
			if err := b.associate(b.waker.fd(), unix.POLLIN, 0); err != nil {
				return n, os.NewSyscallError("port_associate", err)
			}
		}
	}
	return n, nil
}

func (b *eventPort) collect(c *core, dst []Ready) []Ready {
	for i := range b.events[:b.found] {
		ev := &b.events[i]
		gen := ev.Cookie.(uint32)
		e := c.table.find(int(ev.Fd))
		if e == nil || e.gen != gen {
			continue // reported before it was taken out or changed
		}
		b.spent = append(b.spent, spent{int(ev.Fd), gen})
		c.touch()
		dst = c.report(dst, e, fromPoll(uint32(ev.Events)))
	}
	return dst
}

// No registration outlives its descriptor, so there are no ghosts.
func (b *eventPort) repair(*core) error { return nil }
