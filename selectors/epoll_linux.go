package selectors

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/park"
	"goselectors/selectors/internal/sys"
)

// EpollSelector is a [Selector] on Linux's epoll(7). A waiting Select parks its
// goroutine or blocks a thread, whichever is cheaper: docs/waiting.md has the
// details.
type EpollSelector struct {
	core
	epoll epoll
}

// NewEpollSelector returns a selector on a new epoll set. It holds three
// descriptors of its own, and one more, a timer, after the first wait that needs
// it. With [WithBlockingWait] it holds two.
func NewEpollSelector(opts ...Option) (*EpollSelector, error) {
	s := &EpollSelector{}
	if err := s.epoll.open(&s.core, newOptions(opts)); err != nil {
		return nil, &Error{Op: "new", Backend: "epoll", FD: -1, Err: err}
	}
	t := epollTraits
	if s.epoll.waiter.Strategy() == park.Blocking {
		t.features &^= FeatureParked
	}
	s.core.init(s, "epoll", &s.epoll, t)
	return s, nil
}

var epollTraits = traits{
	features:      FeatureEdgeTriggered | FeatureOneShot | FeatureExclusive | FeaturePriority | FeatureReadClosed | FeatureHangup | FeatureAnyFile | FeatureParked,
	kernelOneShot: true,
	updatesLive:   true,
	muteRepeats:   true,
	pollIsCheap:   true,
}

var nativeBackends = []Backend{
	{"epoll", epollTraits.features, func(o ...Option) (Selector, error) { return orNil(NewEpollSelector(o...)) }},
}

// epoll is the backend. With each event the kernel hands back the descriptor and
// the generation of the registration. The kernel must not be given a Go pointer:
// it would keep it after the garbage collector has freed the memory.
//
// An orphan is a registration that cannot be deleted any more: its descriptor was
// closed while a duplicate keeps the file open, and the kernel's key is the pair
// of file and number (epoll(7), Questions and answers, 6). It keeps reporting
// events. repair gets rid of orphans.
type epoll struct {
	core   *core
	fd     int
	events []unix.EpollEvent
	found  int // events of the last wait
	waiter park.Waiter

	unclassified []int32 // descriptors of new registrations: see classifyNew
	cleanup      runtime.Cleanup

	mayHaveOrphans bool // a deletion failed, or a number was found to have another file
	foundOrphan    bool // mute failed: an event with a valid generation comes from an orphan

	refused []int // descriptors whose registration the kernel refused to change for the moment: see noteRefused
}

// ownToken stands for the descriptor in events of the Waiter's own files.
const ownToken int32 = -1

func (b *epoll) open(c *core, o options) (err error) {
	b.core = c
	if b.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err = b.waiter.Open(b.fd, epollSet{b}, o.wait, &c.wakes); err != nil {
		unix.Close(b.fd)
		return err
	}
	b.cleanup = sys.CloseWithOwner(b, b.fd)
	return nil
}

func (b *epoll) close() error {
	b.waiter.Close()
	b.cleanup.Stop()
	return os.NewSyscallError("close", unix.Close(b.fd))
}

// toEpoll adds the modes to poll's mask: the events have the same values
// (linux/eventpoll.h).
func toEpoll(events Event) uint32 {
	mask := toPoll(events)
	if events&EdgeTriggered != 0 {
		mask |= unix.EPOLLET
	}
	if events&OneShot != 0 {
		mask |= unix.EPOLLONESHOT
	}
	if events&Exclusive != 0 {
		mask |= unix.EPOLLEXCLUSIVE
	}
	return mask
}

func epollCtl(set, op, fd int, mask, generation uint32) error {
	return unix.EpollCtl(set, op, fd, &unix.EpollEvent{Events: mask, Fd: int32(fd), Pad: int32(generation)})
}

// ctl changes the set for the users' files. If a key's descriptor was closed, one of
// the backend's own may have its number now, which is in the set too.
func (b *epoll) ctl(op, fd int, mask, generation uint32) error {
	if b.owns(fd) {
		return unix.EBADF
	}
	return epollCtl(b.fd, op, fd, mask, generation)
}

func (b *epoll) owns(fd int) bool { return fd == b.fd || b.waiter.Owns(fd) }

func (b *epoll) add(fd int, e *entry, replaces bool) error {
	if replaces {
		if missing, err := b.wasRefused(fd, e); err != nil {
			return err
		} else if missing {
			return errExists
		}
	}
	b.beforeWatch(fd, e, e.events)
	err := b.watch(fd, e, e.events, e.generation)
	switch {
	case err == nil && replaces:
		b.mayHaveOrphans = true
	case err == unix.EEXIST && e.fileID != 0:
		id, idErr := sys.FileID(fd)
		switch {
		case idErr != nil:
			err = idErr
		case id != e.fileID:
			// Not the file of the current registration: an orphan of this
			// number, whose file has the number again.
			err = b.setMask(fd, e, toEpoll(e.events), e.generation)
		}
	}
	err = b.ctlOutcome(fd, e, err)
	b.afterWatch(fd, e, e.events, err)
	return err
}

// watch adds a descriptor to the kernel's set. The kernel limits how many paths of
// nested epoll sets a file may have: 100 for paths as long as these
// (fs/eventpoll.c, path_limits). So the registration of a file with the
// hundred-and-first selector, or of its hundred-and-first duplicate with one, is
// EINVAL. It also limits the depth of nesting: an epoll set that has sets inside
// may be ELOOP (EP_MAX_NESTS). If the set is not in a gate, it is not nested: then
// there is no limit of paths, and the depth is two less.
func (b *epoll) watch(fd int, e *entry, events Event, generation uint32) error {
	err := b.ctl(unix.EPOLL_CTL_ADD, fd, toEpoll(events), generation)
	if err != unix.EINVAL && err != unix.ELOOP || !b.waiter.CanPark() || e.nesting&nestingForbidden != 0 {
		return err
	}
	b.forbidNesting(e)
	if err = b.ctl(unix.EPOLL_CTL_ADD, fd, toEpoll(events), generation); err == nil {
		e.nesting |= pathLimited
	}
	return err
}

// ctlOutcome translates the error of an epoll_ctl that adds or modifies. EPERM
// means a file that cannot be watched: regular files, directories, /dev/null.
func (b *epoll) ctlOutcome(fd int, e *entry, err error) error {
	switch err {
	case unix.EEXIST:
		return errExists
	case unix.EPERM:
		if cannotBeAlwaysReady(fd) {
			return err // a seccomp filter forbids the call
		}
		if err = storeFile(fd, e); err == nil {
			err = errAlwaysReady
		}
	case nil:
		b.noteFile(fd, e)
	}
	return err
}

// cannotBeAlwaysReady reports whether a descriptor is of a kind that the kernel always
// watches.
func cannotBeAlwaysReady(fd int) bool {
	var st unix.Stat_t
	if sys.Fstat(fd, &st) != nil {
		return false
	}
	kind := st.Mode & unix.S_IFMT
	return kind == unix.S_IFIFO || kind == unix.S_IFSOCK
}

// noteFile stores which file a descriptor is, after a successful change. It costs a
// system call, so it is done only when there may be orphans.
func (b *epoll) noteFile(fd int, e *entry) {
	b.dropRefused(fd)
	e.fileID = 0
	if b.mayHaveOrphans {
		e.fileID, _ = sys.FileID(fd)
	}
}

func (b *epoll) modify(fd int, e *entry, events Event, generation uint32) error {
	e.classify(fd)
	b.beforeWatch(fd, e, events)
	var err error
	if e.nesting&fileTakesNews != 0 {
		err = b.modifyNews(fd, e, events, generation)
	} else {
		err = b.setMask(fd, e, toEpoll(events), generation)
	}
	if err == nil {
		b.noteFile(fd, e)
		b.afterWatch(fd, e, events, nil)
		return nil
	}
	if err == unix.ENOENT { // the number now belongs to another file
		b.mayHaveOrphans = true
		e.nesting &^= fileSafe | fileUnsafe | fileTakesNews | pathLimited | missedNews
		e.state &^= edgeWatched
		b.beforeWatch(fd, e, events)
		err = b.watch(fd, e, events, generation)
	}
	if err = b.ctlOutcome(fd, e, err); err == errExists {
		err = errAlwaysReady
	}
	b.afterWatch(fd, e, events, err)
	return err
}

// setMask gives a registration another mask. On error it restores the old one, at
// once or later.
func (b *epoll) setMask(fd int, e *entry, mask, generation uint32) error {
	if e.events&Exclusive == 0 && mask&unix.EPOLLEXCLUSIVE == 0 {
		if err := b.ctl(unix.EPOLL_CTL_MOD, fd, mask, generation); err != unix.EINVAL {
			return err
		}
		// Register has found an orphan of this number, an exclusive one.
	}
	// epoll_ctl(2): EPOLL_CTL_MOD is EINVAL if the old or the new mask has
	// EPOLLEXCLUSIVE.
	if err := b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0); err != nil {
		return err
	}
	err := b.ctl(unix.EPOLL_CTL_ADD, fd, mask, generation)
	if err != nil {
		if old := b.core.table.find(fd); old != nil && b.ctl(unix.EPOLL_CTL_ADD, fd, maskOf(old), old.generation) != nil {
			b.noteRefused(fd, old)
		}
	}
	return err
}

func (b *epoll) remove(fd int, e *entry) {
	b.permitNesting(e)
	if e.state&alwaysReady == 0 {
		// EBADF and ENOENT: the descriptor is closed or has another file. A
		// duplicate may keep the old one open.
		if b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0) != nil {
			b.mayHaveOrphans = true
		}
		b.dropRefused(fd)
	}
}

// mute makes a level-triggered registration edge-triggered. EPOLL_CTL_MOD puts a
// file that is ready on the ready list (fs/eventpoll.c, ep_modify), so the next wait
// reports it once more. If the set does not have the registration, the events come
// from an orphan.
func (b *epoll) mute(fd int, e *entry) bool {
	if e.state&edgeWatched != 0 {
		return true
	}
	switch err := b.setMask(fd, e, toEpoll(e.events)|unix.EPOLLET, e.generation); {
	case err == nil:
	case isOfOtherFile(fd, err):
		e.state &^= muted
		b.foundOrphan = true
	default:
		b.noteRefused(fd, e)
	}
	return true
}

// isOfOtherFile reports whether an error of EPOLL_CTL_MOD means that the descriptor
// is closed or belongs to another file now, maybe one that cannot be watched.
func isOfOtherFile(fd int, err error) bool {
	return err == unix.ENOENT || err == unix.EBADF || err == unix.EPERM && !cannotBeAlwaysReady(fd)
}

func (b *epoll) unmute(fd int, e *entry) {
	if e.state&edgeWatched != 0 {
		return
	}
	if err := b.setMask(fd, e, toEpoll(e.events), e.generation); err != nil && !isOfOtherFile(fd, err) {
		b.noteRefused(fd, e)
	}
}

// prepare makes room for an event of every registration and the two of the
// waiter, so that one call can report all that is ready.
func (b *epoll) prepare(c *core) {
	if need := c.table.len + 2; len(b.events) < need || len(b.events) > 4*need+64 {
		b.events = make([]unix.EpollEvent, need+need/4+14)
	}
}

func (b *epoll) collect(c *core, dst []Ready) []Ready {
	if b.found == len(b.events) && b.hasStaleEvents(c) {
		// The array is full, and stale events may have displaced others. If the
		// set can be replaced, poll again: no event has been reported yet, and the
		// new set reports all that are pending.
		c.noteOrphans(1)
		if c.tryRepair() {
			b.poll()
		} else {
			b.pollRest()
		}
	}
	for i := range b.events[:b.found] {
		ev := &b.events[i]
		e := c.table.find(int(ev.Fd))
		if e == nil || e.generation != uint32(ev.Pad) {
			if ev.Fd >= 0 {
				c.staleEvents++
			}
			continue
		}
		events := fromPoll(ev.Events)
		if ready := events & (e.events | hintBits); e.state == 0 && ready&e.events != 0 {
			dst = c.append(dst, Ready{e.key, ready}) // the common case of report, inlined
			continue
		}
		dst = c.report(dst, e, events)
	}
	if b.foundOrphan {
		b.foundOrphan = false
		c.staleEvents++
	}
	return dst
}

// poll announces the system call to Go's scheduler if it may take long: because
// the last one returned very many events, or because it asks files that are not
// known to answer at once.
func (b *epoll) poll() (int, error) {
	const many = 256
	n, err := sys.EpollPoll(b.fd, b.events, b.found >= many || b.waiter.HasForbidden())
	return b.harvested(n, err)
}

func (b *epoll) harvested(n int, err error) (int, error) {
	b.found = n
	if n > 0 {
		b.waiter.Disarm()
	}
	return n, err
}

func (b *epoll) sleep(timeout time.Duration) (int, error) { return b.waiter.Sleep(timeout) }

func (b *epoll) wake() error { return b.waiter.Wake() }

// epollSet is the backend as package park sees it.
type epollSet struct{ b *epoll }

func (s epollSet) Poll() (int, error) { return s.b.poll() }

func (s epollSet) Block(timeout time.Duration) (int, error) {
	return s.b.harvested(sys.EpollWait(s.b.fd, s.b.events, timeout))
}

func (s epollSet) HasUserEvents() bool {
	for i := range s.b.events[:s.b.found] {
		if s.b.events[i].Fd >= 0 {
			return true
		}
	}
	return false
}

func (s epollSet) Nest(f func() error) error {
	b := s.b
	b.core.mu.Lock()
	defer b.core.mu.Unlock()
	b.classifyNew()
	return f()
}

func (s epollSet) Watch(fd int) error { return watchOwn(s.b.fd, fd) }

// watchOwn adds a descriptor of the Waiter's to a set.
func watchOwn(set, fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: ownToken}))
}
