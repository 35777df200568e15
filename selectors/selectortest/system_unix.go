//go:build unix

package selectortest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// systemGroups are the rules that need descriptors.
var systemGroups = slices.Concat([]group{
	{"Register", registerRules},
	{"Modify", modifyRules},
	{"Unregister", unregisterRules},
	{"Keys", keysRules},
	{"FileObj", fileObjRules},
	{"BadEvents", badEventsRules},
	{"Errors", errorRules},
	{"Readiness", readinessRules()},
	{"Modes", modesRules},
	{"TwoSelectors", twoSelectorsRules},
	{"TimeoutWithFiles", timeoutFileRules},
	{"WakeWithFiles", wakeFileRules},
	{"OtherGoroutine", otherGoroutineRules},
	{"CloseWithFiles", closeFileRules},
	{"Stale", staleRules},
	{"ClosedDescriptor", closedDescriptorRules},
	{"HintsOnly", hintsOnlyRules},
	{"AlwaysReady", alwaysReadyRules},
	{"Scale", scaleRules},
	{"SelectInto", selectIntoRules},
}, linuxGroups)

const (
	r  = selectors.EventRead
	w  = selectors.EventWrite
	p  = selectors.EventPriority
	rc = selectors.EventReadClosed
	hu = selectors.EventHangup
	er = selectors.EventError
	iv = selectors.EventInvalid

	edge    = selectors.EdgeTriggered
	oneShot = selectors.OneShot
	excl    = selectors.Exclusive

	anyFile = selectors.FeatureAnyFile
)

// is makes an entry of a batch to compare with.
func is(key *selectors.SelectorKey, events selectors.Event) selectors.Ready {
	return selectors.Ready{Key: key, Events: events}
}

// system keeps the descriptors of a test. They are bare numbers, all of them
// non-blocking and closed on exec.
type system struct{ fds map[int]bool }

// own has descriptors closed at the end of the test.
func (t *T) own(fds ...int) {
	if t.fds == nil {
		t.fds = make(map[int]bool)
		t.Cleanup(func() {
			for fd := range t.fds {
				unix.Close(fd)
			}
		})
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Errorf("making fd %d non-blocking: %v", fd, err)
		}
		t.fds[fd] = true
	}
}

func (t *T) close(fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if !t.fds[fd] {
			t.Fatalf("closing fd %d, which is none of this test's", fd)
		}
		delete(t.fds, fd)
		t.ok(unix.Close(fd), "close")
	}
}

// pair makes two sockets that are connected with each other. They can be
// written and there is nothing to read.
func (t *T) pair() (a, b int) {
	t.Helper()
	return t.pairOf(unix.SOCK_STREAM)
}

func (t *T) pairOf(kind int) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	t.ok(err, "socketpair")
	t.own(fds[0], fds[1])
	return fds[0], fds[1]
}

// pipe makes a pipe.
func (t *T) pipe() (read, write int) {
	t.Helper()
	var fds [2]int
	t.ok(unix.Pipe(fds[:]), "pipe")
	t.own(fds[0], fds[1])
	return fds[0], fds[1]
}

// openFile opens a file that is not a socket.
func (t *T) openFile(path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	t.ok(err, "open "+path)
	t.own(fd)
	return fd
}

// regular makes a regular file.
func (t *T) regular() int {
	t.Helper()
	return t.openFile(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT)
}

func (t *T) write(fd int, data string) {
	t.Helper()
	n, err := unix.Write(fd, []byte(data))
	if err != nil || n != len(data) {
		t.Fatalf("write of %q to fd %d: %d, %v", data, fd, n, err)
	}
}

func (t *T) read(fd int, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	n, err := unix.Read(fd, buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("read from fd %d: %q, %v; want %q", fd, buf[:max(n, 0)], err, want)
	}
}

// fill writes until there is no more room.
func (t *T) fill(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for len(buf) > 0 {
		switch _, err := unix.Write(fd, buf); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			buf = buf[:len(buf)/2] // a byte may fit where a block does not
		default:
			t.Fatalf("filling fd %d: %v", fd, err)
		}
	}
}

// lonely is a floor for descriptor numbers that nothing else takes: the system
// gives the lowest that is free.
const lonely = 700

// move gives a file another number, far from those that the runtime or another
// goroutine may get, so that it stays unused when it has been closed.
func (t *T) move(fd int) int {
	t.Helper()
	moved := t.dup(fd, lonely)
	t.close(fd)
	return moved
}

// dup makes a duplicate, with a number from least up.
func (t *T) dup(fd, least int) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, least)
	t.ok(err, "fcntl(F_DUPFD)")
	t.own(dup)
	return dup
}

// place puts a duplicate of a file at a number, which loses its own file.
func (t *T) place(fd, number int) {
	t.Helper()
	t.ok(unix.Dup2(fd, number), "dup2")
	t.own(number)
}

// becomes waits until poll(2) tells all of mask, for states that take the
// network a moment.
func (t *T) becomes(fd int, mask int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd)}}
	setMask(&fds[0].Events, mask)
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(50 * time.Microsecond) {
		if _, err := unix.Poll(fds, 0); err == nil && int(fds[0].Revents)&mask == mask {
			return
		}
	}
	t.Fatalf("fd %d does not get into the state that the test is about: poll tells %#x, want %#x", fd, fds[0].Revents, mask)
}

// setMask is for the members of a pollfd, which are unsigned on AIX.
func setMask[M int16 | uint16](member *M, mask int) { *member = M(mask) }

var loopback = [4]byte{127, 0, 0, 1}

// inet makes a socket that is not connected.
func (t *T) inet(kind int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	t.ok(err, "socket")
	t.own(fd)
	return fd
}

// bound makes a socket with a port of its own.
func (t *T) bound(kind int) (fd int, address unix.Sockaddr) {
	t.Helper()
	fd = t.inet(kind)
	t.ok(unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}), "bind")
	address, err := unix.Getsockname(fd)
	t.ok(err, "getsockname")
	return fd, address
}

func (t *T) listen() (fd int, address unix.Sockaddr) {
	t.Helper()
	fd, address = t.bound(unix.SOCK_STREAM)
	t.ok(unix.Listen(fd, 8), "listen")
	return fd, address
}

func (t *T) connect(fd int, address unix.Sockaddr) {
	t.Helper()
	if err := unix.Connect(fd, address); err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		t.Fatalf("connect: %v", err)
	}
}

// tcp makes two sockets that are connected through the loopback interface.
func (t *T) tcp() (a, b int) {
	t.Helper()
	listener, address := t.listen()
	a = t.inet(unix.SOCK_STREAM)
	return a, t.join(a, listener, address)
}

// join connects a to a listener and returns the other end.
func (t *T) join(a, listener int, address unix.Sockaddr) (b int) {
	t.Helper()
	t.connect(a, address)
	t.becomes(listener, unix.POLLIN)
	b, _, err := unix.Accept(listener)
	t.ok(err, "accept")
	t.own(b)
	t.becomes(a, unix.POLLOUT)
	return b
}

// descriptor is the number of an object of package os or net.
func (t *T) descriptor(conn syscall.Conn) (fd int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	t.ok(err, "SyscallConn")
	t.ok(raw.Control(func(n uintptr) { fd = int(n) }), "Control")
	return fd
}

// socketFile makes an *os.File of one end of a pair.
func (t *T) socketFile() (f *os.File, peer int) {
	t.Helper()
	a, b := t.pair()
	delete(t.fds, a) // the file's now
	f = os.NewFile(uintptr(a), "socket")
	t.Cleanup(func() { f.Close() })
	return f, b
}

// tcpConn makes a *net.TCPConn and its other end.
func (t *T) tcpConn() (a, b *net.TCPConn) {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IP(loopback[:])})
	t.ok(err, "listen")
	defer listener.Close()
	a, err = net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
	t.ok(err, "dial")
	t.Cleanup(func() { a.Close() })
	b, err = listener.AcceptTCP()
	t.ok(err, "accept")
	t.Cleanup(func() { b.Close() })
	return a, b
}

func (t *T) register(fileobj any, events selectors.Event, data any) *selectors.SelectorKey {
	t.Helper()
	return t.registerWith(t.s, fileobj, events, data)
}

func (t *T) registerWith(s selectors.Selector, fileobj any, events selectors.Event, data any) *selectors.SelectorKey {
	t.Helper()
	key, err := s.Register(fileobj, events, data)
	if err != nil {
		t.Fatalf("Register(%v, %v): %v", fileobj, events, err)
	}
	return key
}

func (t *T) modify(fileobj any, events selectors.Event, data any) *selectors.SelectorKey {
	t.Helper()
	key, err := t.s.Modify(fileobj, events, data)
	if err != nil {
		t.Fatalf("Modify(%v, %v): %v", fileobj, events, err)
	}
	return key
}

func (t *T) unregister(fileobj any) *selectors.SelectorKey {
	t.Helper()
	key, err := t.s.Unregister(fileobj)
	if err != nil {
		t.Fatalf("Unregister(%v): %v", fileobj, err)
	}
	return key
}

// ready checks that the next batch comes and is exactly want, in any order.
func (t *T) ready(want ...selectors.Ready) {
	t.Helper()
	t.same(t.selects(patience), want...)
}

func (t *T) readyOn(s selectors.Selector, want ...selectors.Ready) {
	t.Helper()
	t.same(t.selectsOn(s, patience), want...)
}

// silent checks that nothing is ready, and that nothing becomes so.
func (t *T) silent() {
	t.Helper()
	t.silentOn(t.s)
}

func (t *T) silentOn(s selectors.Selector) {
	t.Helper()
	for _, timeout := range []time.Duration{0, moment} {
		if batch := t.selectsOn(s, timeout); len(batch) != 0 {
			t.Fatalf("the batch is %v, want nothing", show(batch))
		}
	}
}

// stays checks that a key is still registered and still reported: what went
// wrong elsewhere has done it no harm. It must be of one end of a pair, level-
// triggered, with EventRead as its interest and nothing to read.
func (t *T) stays(key *selectors.SelectorKey, peer int) {
	t.Helper()
	if got, err := t.s.Key(key.FD); err != nil || got != key {
		t.Errorf("Key(%d) is %v, %v; want the key %v", key.FD, got, err, key)
	}
	t.write(peer, "?")
	t.ready(is(key, r))
	t.read(key.FD, "?")
	t.same(t.selects(0))
}

// cpu is the processor time that the process has used.
func (t *T) cpu() time.Duration {
	t.Helper()
	var use unix.Rusage
	t.ok(unix.Getrusage(unix.RUSAGE_SELF, &use), "getrusage")
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// sleeps checks that a Select with nothing to tell really sleeps: it takes its
// time and no processor time to speak of. The rest of the process may be busy
// for a moment, with collecting garbage for example, so it may try again; who
// spins does so every time.
func (t *T) sleeps() {
	t.Helper()
	const timeout = 50 * time.Millisecond
	var used time.Duration
	for range 4 {
		from := t.cpu()
		t.lasts(t.s, timeout)
		if used = t.cpu() - from; used < timeout/4 {
			return
		}
	}
	t.Errorf("Select(%v) used %v of processor time, with nothing to tell: it spins", timeout, used)
}

// isOpen checks that a descriptor is open.
func (t *T) isOpen(fd int) {
	t.Helper()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("fd %d is not open any more: %v", fd, err)
	}
}

// limit is how many descriptors the process may have.
func (t *T) limit() int {
	t.Helper()
	var limit unix.Rlimit
	t.ok(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), "getrlimit")
	return int(min(uint64(limit.Cur), 1<<16))
}

// tooLarge tells whether a Register failed because the number is beyond what
// the selector's facility can do, which it may say.
func tooLarge(err error) bool { return errors.Is(err, selectors.ErrFDTooLarge) }

// drain reads until there is nothing left.
func (t *T) drain(fd int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		switch n, err := unix.Read(fd, buf); {
		case err == unix.EAGAIN || err == nil && n == 0:
			return
		case err != nil && err != unix.EINTR:
			t.Fatalf("draining fd %d: %v", fd, err)
		}
	}
}
