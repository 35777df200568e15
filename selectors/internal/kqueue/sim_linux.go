//go:build simkqueue

package kqueue

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
)

// A kqueue for tests on Linux, as the manual pages kqueue(2) of FreeBSD, macOS
// and NetBSD describe it. Whether a file is ready, at its end or has an error is
// what Linux reports; how a program asks and is answered, and what is refused,
// follows kqueue. The simulation is made to detect wrong callers, not to be
// fast. sim_linux_test.go shows what it does.

const (
	FilterRead = -1 - iota
	FilterWrite
	FilterUrgent
	FilterUser
)

const (
	Add = 1 << iota
	Delete
	Enable
	Clear
	Receipt
	Error
	EOF
)

const (
	NoteOOB     = 2
	NoteTrigger = 1 << 24
)

// A flavour is a system whose kqueue is simulated.
type flavour struct {
	Dialect
	timeoutLimit bool       // a timeout of more than 1e6 seconds is EINVAL
	deviceErrno  unix.Errno // for devices that cannot be watched
	urgentEOF    bool       // the filter for urgent data reports the end as well
}

var flavours = []flavour{
	{Dialect{Name: "kqueue-freebsd", Receipts: true, FIFOEnd: true, UserEvents: true}, false, unix.ENODEV, false},
	{Dialect{Name: "kqueue-macos", UrgentFilter: true, Receipts: true, UserEvents: true}, true, unix.EINVAL, true},
	{Dialect{Name: "kqueue-netbsd", FIFOEnd: true}, false, unix.EOPNOTSUPP, false},
}

// Native stands for the dialect of this system. It is FreeBSD's.
var Native = Dialect{Name: "kqueue", Receipts: true, FIFOEnd: true, UserEvents: true}

// Simulated lists the dialects that can be simulated.
func Simulated() (all []Dialect) {
	for _, f := range flavours {
		all = append(all, f.Dialect)
	}
	return all
}

// An Event is one change or one event.
type Event struct {
	ident, filter, flags int
	fflags, tag          uint32
	data                 int64
}

// Set fills in the event.
func (e *Event) Set(ident, filter, flags int, fflags, tag uint32) {
	*e = Event{ident, filter, flags, fflags, tag, 0}
}

func (e *Event) Ident() int     { return e.ident }
func (e *Event) Filter() int    { return e.filter }
func (e *Event) Flags() int     { return e.flags }
func (e *Event) Fflags() uint32 { return e.fflags }
func (e *Event) Data() int64    { return e.data }
func (e *Event) Tag() uint32    { return e.tag }

// A Queue is a simulated kqueue. It is an epoll set for each filter, because a set
// takes a descriptor once. A knote, kqueue's word for a registration, is
// level-triggered in its set, or edge-triggered if it has EV_CLEAR.
type Queue struct {
	Fault     func(change *Event) unix.Errno // set by tests: refuses changes
	Interrupt bool                           // set by tests: the next call that makes changes ends with EINTR
	Calls     int                            // for tests: the number of calls

	flavour    flavour
	mu         sync.Mutex
	sets       [3]int // by filter
	recheckFD  int    // an eventfd that makes a waiting call look again
	knotes     map[knoteKey]*knote
	nextSerial int32
	firstSet   int    // where the last harvest began, for fairness
	triggered  *knote // the user event, until it is reported
	batch      []unix.EpollEvent
	cleanups   []runtime.Cleanup
}

type knoteKey struct{ ident, filter int }

type knote struct {
	Event
	serial int32
	plain  bool // a regular file: not in a set
	muted  bool // edge-triggered for now, because Linux reports what kqueue does not
}

// setOf returns the index of a filter's set.
func setOf(filter int) int { return FilterRead - filter }

// Open creates the queue that a dialect's system would have.
func (q *Queue) Open(d Dialect) (err error) {
	q.flavour = flavours[0]
	for _, f := range flavours {
		if f.Name == d.Name {
			q.flavour = f
		}
	}
	q.knotes = map[knoteKey]*knote{}
	for i := range q.sets {
		if q.sets[i], err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			closeAll(q.sets[:i])
			return err
		}
	}
	if q.recheckFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		closeAll(q.sets[:])
		return err
	}
	for _, fd := range append(q.sets[:], q.recheckFD) {
		q.cleanups = append(q.cleanups, sys.CloseWithOwner(q, fd))
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// Owns reports whether a number is that of a descriptor of the queue.
func (q *Queue) Owns(fd int) bool { return fd == q.recheckFD || slices.Contains(q.sets[:], fd) }

// Close closes the queue.
func (q *Queue) Close() error {
	for _, c := range q.cleanups {
		c.Stop()
	}
	closeAll(q.sets[:])
	return unix.Close(q.recheckFD)
}

// Call is kevent(2). The changes come first; if one has an error or a receipt,
// those are the answer. If there is no room for an error, it ends the call, and
// the remaining changes are not made.
func (q *Queue) Call(changes, events []Event, timeout *unix.Timespec) (n int, err error) {
	if timeout != nil && (timeout.Sec > 1e6 && q.flavour.timeoutLimit || timeout.Sec < 0 || timeout.Nsec < 0 || timeout.Nsec >= 1e9) {
		return 0, unix.EINVAL
	}
	if n, err := q.apply(changes, events); n > 0 || err != nil || len(events) == 0 {
		return n, err
	}
	return q.wait(events, timeout)
}

// apply makes the changes.
func (q *Queue) apply(changes, events []Event) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.Calls++
	for i := range changes {
		errno := q.change(&changes[i])
		if errno == 0 && (changes[i].flags&Receipt == 0 || !q.flavour.Receipts) {
			continue
		}
		if n == len(events) {
			if errno != 0 {
				return 0, errno
			}
			return n, nil
		}
		events[n] = changes[i]
		events[n].flags, events[n].data = Error, int64(errno)
		n++
	}
	if q.Interrupt && len(changes) > 0 { // FreeBSD has made the changes then
		q.Interrupt = false
		return 0, unix.EINTR
	}
	return n, nil
}

// wait waits for events.
func (q *Queue) wait(events []Event, timeout *unix.Timespec) (int, error) {
	var deadline time.Duration
	if timeout != nil {
		deadline = sys.Now() + time.Duration(timeout.Nano())
	}
	for {
		if n := q.harvest(events); n > 0 {
			return n, nil
		}
		var limit *unix.Timespec
		if timeout != nil {
			left := deadline - sys.Now()
			if left <= 0 {
				return 0, nil
			}
			ts := unix.NsecToTimespec(int64(left))
			limit = &ts
		}
		fds := [4]unix.PollFd{{Fd: int32(q.recheckFD), Events: unix.POLLIN}}
		for i, fd := range q.sets {
			fds[i+1] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		}
		if _, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), uintptr(len(fds)), uintptr(unsafe.Pointer(limit)), 0, 0, 0); errno != 0 {
			return 0, errno // EINTR
		}
	}
}

// change makes one change.
func (q *Queue) change(c *Event) unix.Errno {
	if q.Fault != nil {
		if errno := q.Fault(c); errno != 0 {
			return errno
		}
	}
	key := knoteKey{c.ident, c.filter}
	kn := q.knotes[key]
	switch c.filter {
	case FilterUser:
		if !q.flavour.UserEvents {
			return unix.EINVAL
		}
		if c.flags&Add != 0 && kn == nil {
			kn = &knote{Event: *c}
			q.knotes[key] = kn
		}
		if kn == nil {
			return unix.ENOENT
		}
		if c.fflags&NoteTrigger != 0 {
			q.triggered = kn
			q.signalRecheck()
		}
		return 0
	case FilterUrgent:
		if !q.flavour.UrgentFilter {
			return unix.EINVAL
		}
	case FilterRead, FilterWrite:
	default:
		return unix.EINVAL
	}
	if _, err := unix.FcntlInt(uintptr(c.ident), unix.F_GETFD, 0); err != nil {
		return unix.EBADF
	}
	if kn != nil && !q.alive(kn) {
		kn = nil // close(2) deleted it
		delete(q.knotes, key)
	}
	switch {
	case c.flags&Delete != 0 && kn != nil:
		delete(q.knotes, key)
		unix.EpollCtl(q.sets[setOf(c.filter)], unix.EPOLL_CTL_DEL, c.ident, nil)
		return 0
	case kn != nil: // takes new values but keeps the flags it was added with
		kn.tag = c.tag
		kn.muted = false
		if !kn.plain {
			q.ctl(unix.EPOLL_CTL_MOD, kn)
		}
		q.signalRecheck()
		return 0
	case c.flags&Add == 0:
		return unix.ENOENT
	}
	q.nextSerial++
	kn = &knote{Event: *c, serial: q.nextSerial}
	errno := q.attach(kn)
	if errno == 0 {
		q.knotes[key] = kn
		q.signalRecheck()
	}
	return errno
}

// signalRecheck makes a waiting call look again.
func (q *Queue) signalRecheck() {
	unix.Write(q.recheckFD, binary.NativeEndian.AppendUint64(nil, 1))
}

func (q *Queue) attach(kn *knote) unix.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(kn.ident, &st); err != nil {
		return unix.EBADF
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kn.filter == FilterUrgent && kind != unix.S_IFSOCK:
		return unix.EINVAL
	case kind == unix.S_IFIFO && kn.filter == FilterWrite:
		// Both ends of a pipe take the filter. It is refused if the other end
		// is closed.
		fds := []unix.PollFd{{Fd: int32(kn.ident)}}
		unix.Poll(fds, 0)
		if fds[0].Revents != 0 {
			return unix.EPIPE
		}
	}
	err := q.ctl(unix.EPOLL_CTL_ADD, kn)
	switch {
	case err == unix.EEXIST: // close(2) deletes it in kqueue, but not in Linux
		err = q.ctl(unix.EPOLL_CTL_MOD, kn)
	case err == unix.EPERM && st.Mode&unix.S_IFMT == unix.S_IFREG:
		kn.plain = true
		return 0
	case err == unix.EPERM:
		return q.flavour.deviceErrno
	}
	if err != nil {
		return err.(unix.Errno)
	}
	return 0
}

func (q *Queue) ctl(op int, kn *knote) error {
	mask := [...]uint32{unix.EPOLLIN | unix.EPOLLRDHUP, unix.EPOLLOUT, unix.EPOLLPRI}[setOf(kn.filter)]
	if kn.filter == FilterUrgent && q.flavour.urgentEOF {
		mask |= unix.EPOLLRDHUP
	}
	if kn.flags&Clear != 0 || kn.muted {
		mask |= unix.EPOLLET
	}
	return unix.EpollCtl(q.sets[setOf(kn.filter)], op, kn.ident, &unix.EpollEvent{Events: mask, Fd: int32(kn.ident), Pad: kn.serial})
}

// alive reports whether a knote's number still has the file it was added for.
func (q *Queue) alive(kn *knote) bool {
	switch err := unix.EpollCtl(q.sets[setOf(kn.filter)], unix.EPOLL_CTL_ADD, kn.ident, &unix.EpollEvent{}); err {
	case nil:
		unix.EpollCtl(q.sets[setOf(kn.filter)], unix.EPOLL_CTL_DEL, kn.ident, nil)
		return false
	case unix.EPERM:
		return kn.plain
	default:
		return err == unix.EEXIST
	}
}

// harvest takes events out of the sets.
func (q *Queue) harvest(events []Event) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var count [8]byte
	unix.Read(q.recheckFD, count[:])
	if q.triggered != nil {
		events[0] = q.triggered.Event
		q.triggered = nil // EV_CLEAR
		n++
	}
	for _, kn := range q.knotes {
		if kn.plain && n < len(events) && q.alive(kn) {
			if left := unread(kn.ident); left != 0 || kn.filter == FilterWrite {
				events[n] = kn.Event
				events[n].flags, events[n].data = 0, left
				n++
			}
		}
	}
	q.firstSet++
	for i := range q.sets {
		filter := FilterRead - (i+q.firstSet)%len(q.sets)
		hasStale := false
		if n == len(events) {
			return n
		}
		q.batch = slices.Grow(q.batch[:0], len(events)-n)[:len(events)-n]
		found, _ := unix.EpollWait(q.sets[setOf(filter)], q.batch, 0)
		for _, ev := range q.batch[:max(found, 0)] {
			kn := q.knotes[knoteKey{int(ev.Fd), filter}]
			if kn == nil || kn.serial != ev.Pad || !q.alive(kn) {
				hasStale = true
				continue
			}
			if event, ok := q.translate(kn, ev.Events); ok {
				events[n] = event
				n++
			}
		}
		if hasStale {
			q.rebuild(filter)
		}
	}
	return n
}

// unread returns the number of bytes between a regular file's offset and its end.
func unread(fd int) int64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	at, _ := unix.Seek(fd, 0, unix.SEEK_CUR)
	return st.Size - at
}

// translate makes a kqueue event of an epoll event. It is not ready if kqueue
// would not report it.
func (q *Queue) translate(kn *knote, mask uint32) (ev Event, ready bool) {
	var st unix.Stat_t
	unix.Fstat(kn.ident, &st)
	socket := st.Mode&unix.S_IFMT == unix.S_IFSOCK
	var end bool
	switch kn.filter {
	case FilterRead:
		ready = mask&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0
		end = socket && mask&unix.EPOLLRDHUP != 0 || !socket && mask&(unix.EPOLLHUP|unix.EPOLLERR) != 0
	case FilterWrite:
		ready = mask&(unix.EPOLLOUT|unix.EPOLLERR) != 0
		end = mask&unix.EPOLLHUP != 0 || !socket && mask&unix.EPOLLERR != 0
	case FilterUrgent:
		end = mask&unix.EPOLLRDHUP != 0
		ready = end || mask&unix.EPOLLPRI != 0
	}
	if muted := !ready && kn.flags&Clear == 0; muted != kn.muted {
		// epoll reports hang-ups and errors even if not asked to. Switch to
		// edge-triggered then, so that it does not report them again and again.
		kn.muted = muted
		q.ctl(unix.EPOLL_CTL_MOD, kn)
	}
	ev = kn.Event
	ev.flags, ev.fflags = kn.flags&Clear, 0
	if mask&unix.EPOLLPRI != 0 && kn.filter == FilterUrgent {
		ev.fflags = NoteOOB
	}
	if end {
		ev.flags |= EOF
		if socket && mask&unix.EPOLLERR != 0 {
			ev.fflags |= uint32(unix.ECONNRESET) // or another error; reading it would clear it
		}
	}
	return ev, ready
}

// rebuild makes a set anew to get rid of registrations that close(2) left in it
// because a duplicate keeps the file open. A knote with EV_CLEAR that is ready is
// thereby reported once more.
func (q *Queue) rebuild(filter int) {
	newSet, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(newSet)
	var alive []*knote
	for key, kn := range q.knotes {
		switch {
		case key.filter != filter || kn.plain:
		case q.alive(kn):
			alive = append(alive, kn)
		default:
			delete(q.knotes, key)
		}
	}
	unix.Dup3(newSet, q.sets[setOf(filter)], unix.O_CLOEXEC)
	slices.SortFunc(alive, func(a, b *knote) int { return int(a.serial - b.serial) })
	for _, kn := range alive {
		q.ctl(unix.EPOLL_CTL_ADD, kn)
	}
}

// IsPlainFile reports whether a descriptor that fstat(2) calls a regular file, a
// directory or a block device really is one: since Linux 6.9 a pidfd looks like
// a regular file.
func IsPlainFile(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) != nil || st.Type != unix.PID_FS_MAGIC
}

// IsTerminal reports whether a descriptor is a terminal.
func IsTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// IsNamedPipe tells a pipe in a file system from one of pipe(2).
func IsNamedPipe(st *unix.Stat_t) bool {
	var p [2]int
	var anonymous unix.Stat_t
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return false
	}
	unix.Fstat(p[0], &anonymous)
	closeAll(p[:])
	return st.Dev != anonymous.Dev
}

// Filters returns, for tests, the filters that were added for a descriptor.
func (q *Queue) Filters(fd int) (list []int) {
	for key := range q.knotes {
		if key.ident == fd {
			list = append(list, key.filter)
		}
	}
	slices.SortFunc(list, func(a, b int) int { return b - a })
	return list
}
