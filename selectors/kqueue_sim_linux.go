//go:build simkqueue

package selectors

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kqueue for tests on Linux, as the manual pages kqueue(2) of FreeBSD, macOS
// and NetBSD have it. Whether a file is ready is Linux's word, and so are its
// ends and errors; how one asks for them and is told, and what is refused, is
// kqueue's. It is made for telling wrong callers, not for speed: see
// kqueue_sim_test.go for what it does.

const (
	filterRead = -1 - iota
	filterWrite
	filterUrgent
	filterUser
)

const (
	evAdd = 1 << iota
	evDelete
	evEnable
	evClear
	evReceipt
	evError
	evEOF
)

const (
	noteOOB     = 2
	noteTrigger = 1 << 24
)

// A flavour is a system whose kqueue is simulated.
type flavour struct {
	name string
	dialect
	user    bool       // there is EVFILT_USER
	million bool       // a timeout of more than 1e6 seconds is EINVAL
	device  unix.Errno // for devices that cannot be watched
	endOOB  bool       // the filter for urgent data tells of the end as well
}

var (
	simFreeBSD = flavour{"kqueue-freebsd", dialect{receipt: true, fifoEnd: true}, true, false, unix.ENODEV, false}
	simMacOS   = flavour{"kqueue-macos", dialect{urgent: true, receipt: true}, true, true, unix.EINVAL, true}
	simNetBSD  = flavour{"kqueue-netbsd", dialect{fifoEnd: true}, false, false, unix.EOPNOTSUPP, false}

	native = simFreeBSD.dialect
)

func init() {
	for _, f := range []flavour{simFreeBSD, simMacOS, simNetBSD} {
		backends = append(backends, Backend{f.name, f.traits().features, func(...Option) (Selector, error) { return orNil(newSimulated(f)) }})
	}
}

func newSimulated(f flavour) (*KqueueSelector, error) {
	s := &KqueueSelector{}
	s.kqueue.queue.flavour, s.kqueue.waker.user = f, f.user
	return openKqueue(s, f.name, f.dialect)
}

type kevent struct {
	id, filt, flag int
	note, udata    uint32
	datum          int64
}

func (e *kevent) set(ident, filter, flags int, fflags, gen uint32) {
	*e = kevent{ident, filter, flags, fflags, gen, 0}
}

func (e *kevent) ident() int     { return e.id }
func (e *kevent) filter() int    { return e.filt }
func (e *kevent) flags() int     { return e.flag }
func (e *kevent) fflags() uint32 { return e.note }
func (e *kevent) data() int64    { return e.datum }
func (e *kevent) gen() uint32    { return e.udata }

// kernelQueue is a simulated kqueue: an epoll set for each filter, because a
// set takes a descriptor once. A knote, kqueue's word for a registration, is
// level-triggered in its set, or edge-triggered if it has EV_CLEAR.
type kernelQueue struct {
	flavour flavour
	fault   func(change *kevent) unix.Errno // for tests: refuses changes
	signal  bool                            // for tests: the next call that makes changes ends with EINTR

	mu      sync.Mutex
	sets    [3]int // by filter
	bell    int    // an eventfd that makes a call that waits look again
	knotes  map[knoteKey]*knote
	serials int32
	turn    int // of the sets, to be fair
	fired   *knote
	calls   int // for tests: how often it was asked
	batch   []unix.EpollEvent
}

type knoteKey struct{ ident, filter int }

type knote struct {
	kevent
	serial int32
	plain  bool // a regular file: not in a set
	quiet  bool // level-triggered, but Linux says what kqueue does not
}

func set(filter int) int { return filterRead - filter }

func (q *kernelQueue) open() (err error) {
	if q.flavour.name == "" {
		q.flavour = simFreeBSD
	}
	q.knotes = map[knoteKey]*knote{}
	for i := range q.sets {
		if q.sets[i], err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			closeAll(q.sets[:i])
			return err
		}
	}
	if q.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		closeAll(q.sets[:])
	}
	return err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func (q *kernelQueue) close() error {
	closeAll(q.sets[:])
	return unix.Close(q.bell)
}

// call is kevent(2). The changes come first; if there is anything to say of
// them, an error or a receipt, that is the answer. Without room for it an
// error ends the call, and the rest of the changes is not made.
func (q *kernelQueue) call(changes, events []kevent, timeout *unix.Timespec) (n int, err error) {
	if timeout != nil && (timeout.Sec > 1e6 && q.flavour.million || timeout.Sec < 0 || timeout.Nsec < 0 || timeout.Nsec >= 1e9) {
		return 0, unix.EINVAL
	}
	q.mu.Lock()
	q.calls++
	for i := range changes {
		errno := q.change(&changes[i])
		if errno == 0 && (changes[i].flag&evReceipt == 0 || !q.flavour.receipt) {
			continue
		}
		if n == len(events) {
			q.mu.Unlock()
			if errno != 0 {
				return 0, errno
			}
			return n, nil
		}
		events[n] = changes[i]
		events[n].flag, events[n].datum = evError, int64(errno)
		n++
	}
	if q.signal && len(changes) > 0 { // the changes have been made, says FreeBSD
		q.signal = false
		q.mu.Unlock()
		return 0, unix.EINTR
	}
	q.mu.Unlock()
	if n > 0 || len(events) == 0 {
		return n, nil
	}
	var deadline time.Duration
	if timeout != nil {
		deadline = now() + time.Duration(timeout.Nano())
	}
	for {
		if n := q.harvest(events); n > 0 {
			return n, nil
		}
		left := time.Duration(-1)
		if timeout != nil {
			if left = deadline - now(); left <= 0 {
				return 0, nil
			}
		}
		ts := unix.NsecToTimespec(int64(left))
		limit := &ts
		if left < 0 {
			limit = nil
		}
		fds := [4]unix.PollFd{{Fd: int32(q.bell), Events: unix.POLLIN}}
		for i, fd := range q.sets {
			fds[i+1] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		}
		if _, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), uintptr(len(fds)), uintptr(unsafe.Pointer(limit)), 0, 0, 0); errno != 0 {
			return 0, errno // EINTR
		}
	}
}

// change is one entry of the list of changes.
func (q *kernelQueue) change(c *kevent) unix.Errno {
	if q.fault != nil {
		if errno := q.fault(c); errno != 0 {
			return errno
		}
	}
	key := knoteKey{c.id, c.filt}
	kn := q.knotes[key]
	switch c.filt {
	case filterUser:
		if !q.flavour.user {
			return unix.EINVAL
		}
		if c.flag&evAdd != 0 && kn == nil {
			kn = &knote{kevent: *c}
			q.knotes[key] = kn
		}
		if kn == nil {
			return unix.ENOENT
		}
		if c.note&noteTrigger != 0 {
			q.fired = kn
			q.ring()
		}
		return 0
	case filterUrgent:
		if !q.flavour.urgent {
			return unix.EINVAL
		}
	case filterRead, filterWrite:
	default:
		return unix.EINVAL
	}
	if _, err := unix.FcntlInt(uintptr(c.id), unix.F_GETFD, 0); err != nil {
		return unix.EBADF
	}
	if kn != nil && !q.alive(kn) {
		kn = nil // close(2) deleted it
		delete(q.knotes, key)
	}
	switch {
	case c.flag&evDelete != 0 && kn != nil:
		delete(q.knotes, key)
		unix.EpollCtl(q.sets[set(c.filt)], unix.EPOLL_CTL_DEL, c.id, nil)
		return 0
	case kn != nil: // other values, but the flags it was added with
		kn.udata = c.udata
		kn.quiet = false
		if !kn.plain {
			q.ctl(unix.EPOLL_CTL_MOD, kn)
		}
		q.ring()
		return 0
	case c.flag&evAdd == 0:
		return unix.ENOENT
	}
	q.serials++
	kn = &knote{kevent: *c, serial: q.serials}
	errno := q.attach(kn)
	if errno == 0 {
		q.knotes[key] = kn
		q.ring()
	}
	return errno
}

func (q *kernelQueue) ring() {
	unix.Write(q.bell, binary.NativeEndian.AppendUint64(nil, 1))
}

func (q *kernelQueue) attach(kn *knote) unix.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(kn.id, &st); err != nil {
		return unix.EBADF
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kn.filt == filterUrgent && kind != unix.S_IFSOCK:
		return unix.EINVAL
	case kind == unix.S_IFIFO && kn.filt == filterWrite:
		// Both ends are pipes like any other; it counts that there is one
		// on the other side.
		fds := []unix.PollFd{{Fd: int32(kn.id)}}
		unix.Poll(fds, 0)
		if fds[0].Revents != 0 {
			return unix.EPIPE
		}
	}
	err := q.ctl(unix.EPOLL_CTL_ADD, kn)
	switch {
	case err == unix.EEXIST: // deleted by close(2), but not in Linux
		err = q.ctl(unix.EPOLL_CTL_MOD, kn)
	case err == unix.EPERM && st.Mode&unix.S_IFMT == unix.S_IFREG:
		kn.plain = true
		return 0
	case err == unix.EPERM:
		return q.flavour.device
	}
	if err != nil {
		return err.(unix.Errno)
	}
	return 0
}

func (q *kernelQueue) ctl(op int, kn *knote) error {
	mask := [...]uint32{unix.EPOLLIN | unix.EPOLLRDHUP, unix.EPOLLOUT, unix.EPOLLPRI}[set(kn.filt)]
	if kn.filt == filterUrgent && q.flavour.endOOB {
		mask |= unix.EPOLLRDHUP
	}
	if kn.flag&evClear != 0 || kn.quiet {
		mask |= unix.EPOLLET
	}
	return unix.EpollCtl(q.sets[set(kn.filt)], op, kn.id, &unix.EpollEvent{Events: mask, Fd: int32(kn.id), Pad: kn.serial})
}

// alive reports whether a knote's number still has the file it was added for.
func (q *kernelQueue) alive(kn *knote) bool {
	switch err := unix.EpollCtl(q.sets[set(kn.filt)], unix.EPOLL_CTL_ADD, kn.id, &unix.EpollEvent{}); err {
	case nil:
		unix.EpollCtl(q.sets[set(kn.filt)], unix.EPOLL_CTL_DEL, kn.id, nil)
		return false
	case unix.EPERM:
		return kn.plain
	default:
		return err == unix.EEXIST
	}
}

// harvest takes events out of the sets.
func (q *kernelQueue) harvest(events []kevent) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var count [8]byte
	unix.Read(q.bell, count[:])
	if q.fired != nil {
		events[0] = q.fired.kevent
		q.fired = nil // EV_CLEAR
		n++
	}
	for _, kn := range q.knotes {
		if kn.plain && n < len(events) && q.alive(kn) {
			if left := unread(kn.id); left != 0 || kn.filt == filterWrite {
				events[n] = kn.kevent
				events[n].flag, events[n].datum = 0, left
				n++
			}
		}
	}
	q.turn++
	for i := range q.sets {
		filter := filterRead - (i+q.turn)%len(q.sets)
		haunted := false
		if n == len(events) {
			return n
		}
		q.batch = slices.Grow(q.batch[:0], len(events)-n)[:len(events)-n]
		found, _ := unix.EpollWait(q.sets[set(filter)], q.batch, 0)
		for _, ev := range q.batch[:max(found, 0)] {
			kn := q.knotes[knoteKey{int(ev.Fd), filter}]
			if kn == nil || kn.serial != ev.Pad || !q.alive(kn) {
				haunted = true
				continue
			}
			if told, ok := q.tell(kn, ev.Events); ok {
				events[n] = told
				n++
			}
		}
		if haunted {
			q.exorcise(filter)
		}
	}
	return n
}

// unread is what a regular file has left to read.
func unread(fd int) int64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	at, _ := unix.Seek(fd, 0, unix.SEEK_CUR)
	return st.Size - at
}

// tell translates an event.
func (q *kernelQueue) tell(kn *knote, mask uint32) (ev kevent, ready bool) {
	var st unix.Stat_t
	unix.Fstat(kn.id, &st)
	socket := st.Mode&unix.S_IFMT == unix.S_IFSOCK
	var end bool
	switch kn.filt {
	case filterRead:
		ready = mask&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0
		end = socket && mask&unix.EPOLLRDHUP != 0 || !socket && mask&(unix.EPOLLHUP|unix.EPOLLERR) != 0
	case filterWrite:
		ready = mask&(unix.EPOLLOUT|unix.EPOLLERR) != 0
		end = mask&unix.EPOLLHUP != 0 || !socket && mask&unix.EPOLLERR != 0
	case filterUrgent:
		end = mask&unix.EPOLLRDHUP != 0
		ready = end || mask&unix.EPOLLPRI != 0
	}
	if quiet := !ready && kn.flag&evClear == 0; quiet != kn.quiet {
		// epoll tells hang-ups and errors whether asked or not. Wait for
		// changes then, so as not to be told again and again.
		kn.quiet = quiet
		q.ctl(unix.EPOLL_CTL_MOD, kn)
	}
	ev = kn.kevent
	ev.flag, ev.note = kn.flag&evClear, 0
	if mask&unix.EPOLLPRI != 0 && kn.filt == filterUrgent {
		ev.note = noteOOB
	}
	if end {
		ev.flag |= evEOF
		if socket && mask&unix.EPOLLERR != 0 {
			ev.note |= uint32(unix.ECONNRESET) // or another; asking would take it away
		}
	}
	return ev, ready
}

// exorcise gets rid of registrations that close(2) left in a set, because a
// duplicate keeps the file open. What has EV_CLEAR and is ready is told once
// more by that.
func (q *kernelQueue) exorcise(filter int) {
	fresh, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(fresh)
	var living []*knote
	for key, kn := range q.knotes {
		switch {
		case key.filter != filter || kn.plain:
		case q.alive(kn):
			living = append(living, kn)
		default:
			delete(q.knotes, key)
		}
	}
	unix.Dup3(fresh, q.sets[set(filter)], unix.O_CLOEXEC)
	slices.SortFunc(living, func(a, b *knote) int { return int(a.serial - b.serial) })
	for _, kn := range living {
		q.ctl(unix.EPOLL_CTL_ADD, kn)
	}
}

// kqueueWaker is one of the two, by flavour.
type kqueueWaker struct {
	user     bool
	withUser userWaker
	withPipe pipeWaker
}

func (w *kqueueWaker) open(q *kernelQueue) error {
	if w.user {
		return w.withUser.open(q)
	}
	return w.withPipe.open(q)
}

func (w *kqueueWaker) wake() error {
	if w.user {
		return w.withUser.wake()
	}
	return w.withPipe.wake()
}

func (w *kqueueWaker) drain() {
	if w.user {
		w.withUser.drain()
	} else {
		w.withPipe.drain()
	}
}

func (w *kqueueWaker) close() error {
	if w.user {
		return w.withUser.close()
	}
	return w.withPipe.close()
}

// isPlain leaves out processes: since Linux 6.9 a pidfd looks like a regular
// file.
func isPlain(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) != nil || st.Type != unix.PID_FS_MAGIC
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// isNamedPipe tells a pipe in a file system from one of pipe(2).
func isNamedPipe(st *unix.Stat_t) bool {
	var p [2]int
	var anonymous unix.Stat_t
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return false
	}
	unix.Fstat(p[0], &anonymous)
	closeAll(p[:])
	return st.Dev != anonymous.Dev
}
