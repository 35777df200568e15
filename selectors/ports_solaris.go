package selectors

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
	"goselectors/selectors/internal/wake"
)

// EventPortSelector is a [Selector] on the event ports of Solaris and illumos,
// port_create(3C). A waiting Select blocks a thread.
type EventPortSelector struct {
	core
	port eventPort
}

// NewEventPortSelector returns a selector on a new event port. It holds three
// descriptors of its own. Every wait allocates, because unix.EventPort does.
// Options for epoll have no effect.
func NewEventPortSelector(opts ...Option) (*EventPortSelector, error) {
	s := &EventPortSelector{}
	if err := s.port.open(); err != nil {
		return nil, &Error{Op: "new", Backend: "eventport", FD: -1, Err: err}
	}
	s.core.init(s, "eventport", &s.port, eventPortTraits)
	return s, nil
}

var eventPortTraits = traits{
	features:      FeaturePriority | FeatureHangup | FeatureAnyFile,
	kernelOneShot: true,
	updatesLive:   true,
}

var nativeBackends = []Backend{
	{"eventport", eventPortTraits.features, func(o ...Option) (Selector, error) { return orNil(NewEventPortSelector(o...)) }},
}

// eventPort is the backend. The kernel ends an association when it reports it
// (port_associate(3C)). To report a state as long as it lasts, the descriptor is
// associated again after the report and before the next wait; if it is still
// ready it is then reported at once. The kernel also ends an association when the
// descriptor is closed, even if it has duplicates: there are no orphans.
//
// unix.EventPort keeps a table of associations of its own and has no call to
// send to a port, so the waker is a pipe.
type eventPort struct {
	noOrphans
	*unix.EventPort
	waker    wake.Waker
	events   []unix.PortEvent
	found    int
	reported []registration // that the kernel has ended by reporting them
	cleanup  runtime.Cleanup
}

// maxPortEvents bounds the number of events that one call is asked for. More than
// illumos' PORT_MAX_LIST (sys/port_impl.h), which is 8192, is EINVAL.
const maxPortEvents = 1024

type registration struct {
	fd         int
	generation uint32
}

func (b *eventPort) open() error {
	if err := b.waker.Open(); err != nil {
		return err
	}
	port, err := unix.NewEventPort() // closed on exec
	if err != nil {
		b.waker.Close()
		return os.NewSyscallError("port_create", err)
	}
	b.EventPort, b.events = port, make([]unix.PortEvent, 1)
	b.cleanup = runtime.AddCleanup(b, func(port *unix.EventPort) { port.Close() }, port)
	if err = b.associate(b.waker.FD(), unix.POLLIN, 0); err != nil {
		b.close()
	}
	return err
}

func (b *eventPort) wake() error { return b.waker.Wake() }

func (b *eventPort) close() error {
	b.cleanup.Stop()
	err := b.EventPort.Close()
	b.waker.Close()
	return os.NewSyscallError("close", err)
}

// associate watches a descriptor until it is reported once. It replaces an
// existing association: EventPort refuses a second one, and goes by its own
// table, in which a descriptor stays when it is closed.
func (b *eventPort) associate(fd int, mask uint32, generation uint32) error {
	err := b.AssociateFd(uintptr(fd), int(mask), generation)
	if _, system := err.(unix.Errno); err != nil && !system {
		b.DissociateFd(uintptr(fd))
		err = b.AssociateFd(uintptr(fd), int(mask), generation)
	}
	if err == unix.EBADFD { // port_associate(3C): not a valid file descriptor
		err = unix.EBADF
	}
	return err
}

// owns does not know the port's own number: unix.EventPort keeps it to itself.
func (b *eventPort) owns(fd int) bool { return fd == b.waker.FD() }

func (b *eventPort) add(fd int, e *entry, _ bool) error {
	if err := identify(fd, e); err != nil {
		return err
	}
	return b.watch(fd, e.events, e.generation)
}

func (b *eventPort) modify(fd int, e *entry, events Event, generation uint32) error {
	fileID := e.fileID
	if err := reidentify(fd, e); err != nil {
		return err
	}
	err := b.watch(fd, events, generation)
	switch {
	case err == errAlwaysReady:
		b.remove(fd, e)
	case err != nil:
		e.fileID = fileID
		if e.state&(disabled|muted) == 0 {
			b.watch(fd, e.events, e.generation) // the old interest
		}
	}
	return err
}

// watch leaves files that are always ready to the core, as other backends do.
func (b *eventPort) watch(fd int, events Event, generation uint32) error {
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
		return errAlwaysReady
	}
	return b.associate(fd, toPoll(events), generation)
}

// remove ignores the error: the kernel may have ended the association already.
func (b *eventPort) remove(fd int, e *entry) { b.DissociateFd(uintptr(fd)) }

// mute ends the association: hang-ups and errors are reported for every
// association, even if it does not ask for them.
func (b *eventPort) mute(fd int, e *entry) bool {
	b.remove(fd, e)
	return false
}

func (b *eventPort) unmute(fd int, e *entry) { b.associate(fd, toPoll(e.events), e.generation) }

// prepare associates again what was reported and is still to be watched.
func (b *eventPort) prepare(c *core) {
	if need := c.table.len + 1; len(b.events) < need || len(b.events) > 4*need+64 {
		b.events = make([]unix.PortEvent, need+need/4+15)
	}
	for _, r := range b.reported {
		if e := c.table.find(r.fd); e != nil && e.generation == r.generation && e.state&(disabled|muted|alwaysReady) == 0 {
			b.associate(r.fd, toPoll(e.events), e.generation) // fails if it was closed
		}
	}
	b.reported = b.reported[:0]
}

func (b *eventPort) poll() (int, error) { return b.sleep(0) }

func (b *eventPort) sleep(timeout time.Duration) (n int, err error) {
	var limit *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(timeout))
		limit = &ts
	}
	noWait := new(unix.Timespec)
	for b.found = 0; b.found < len(b.events); limit = noWait {
		// The kernel bounds the number of events in one call.
		room := b.events[b.found:min(b.found+maxPortEvents, len(b.events))]
		n, err = b.Get(room, 1, limit)
		b.found += n
		if err == nil && n == len(room) {
			continue
		}
		// port_getn(3C) may return events together with ETIME; the Go runtime's
		// netpoll_solaris.go says so and relies on the count.
		if err == nil || err == unix.ETIME || err == unix.EINTR || b.found > 0 {
			break
		}
		return 0, os.NewSyscallError("port_getn", err)
	}
	n = b.found
	for i := range b.events[:b.found] {
		if b.events[i].Fd == uintptr(b.waker.FD()) {
			n--
			b.waker.Drain()
			if err := b.associate(b.waker.FD(), unix.POLLIN, 0); err != nil {
				return n, os.NewSyscallError("port_associate", err)
			}
		}
	}
	return n, nil
}

func (b *eventPort) collect(c *core, dst []Ready) []Ready {
	for i := range b.events[:b.found] {
		ev := &b.events[i]
		generation := ev.Cookie.(uint32)
		e := c.table.find(int(ev.Fd))
		if e == nil || e.generation != generation {
			continue // stale: the registration has ended or was changed
		}
		b.reported = append(b.reported, registration{int(ev.Fd), generation})
		c.markDirty()
		dst = c.report(dst, e, fromPoll(uint32(ev.Events)))
	}
	return dst
}
