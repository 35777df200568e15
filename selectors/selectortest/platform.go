package selectortest

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"goselectors/selectors"
)

// systemGroups are the rules that need descriptors.
var systemGroups = slices.Concat([]group{
	{"Register", registerRules},
	{"Modify", modifyRules},
	{"Unregister", unregisterRules},
	{"Keys", keysRules},
	{"FileObj", fileObjRules},
	{"InvalidEvents", invalidEventsRules},
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

// report returns an entry of a batch.
func report(key *selectors.SelectorKey, events selectors.Event) selectors.Ready {
	return selectors.Ready{Key: key, Events: events}
}

// pair returns two sockets that are connected to each other. Both are writable
// and not readable.
func (t *T) pair() (a, b int) {
	t.Helper()
	return t.pairOf(stream)
}

// A watched is one registered socket of a pair, and the other socket.
type watched struct {
	key  *selectors.SelectorKey
	peer int
}

// highFD is the lowest number of the descriptors that the rules move out of the
// way. The system allocates the lowest free number, so other descriptors of
// the process normally stay below it.
const highFD = 700

// moveHigh moves a descriptor to a number of at least highFD. That number stays
// unused after it is closed, because neither the runtime nor another goroutine
// gets it.
func (t *T) moveHigh(fd int) int {
	t.Helper()
	moved := t.dup(fd, highFD)
	t.close(fd)
	return moved
}

var loopback = [4]byte{127, 0, 0, 1}

// tcp returns two TCP sockets that are connected through the loopback interface.
func (t *T) tcp() (a, b int) {
	t.Helper()
	listener, address := t.listen()
	a = t.newSocket(stream)
	return a, t.connectAccept(a, listener, address)
}

// fdOf returns the descriptor of an object of package os or net.
func (t *T) fdOf(conn syscall.Conn) (fd int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	t.noError(err, "SyscallConn")
	t.noError(raw.Control(func(n uintptr) { fd = int(n) }), "Control")
	return fd
}

// A file is an object of package os or net.
type file interface {
	syscall.Conn
	io.ReadCloser
	SetReadDeadline(time.Time) error
}

// tcpConn returns a *net.TCPConn and its peer.
func (t *T) tcpConn() (a, b *net.TCPConn) {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IP(loopback[:])})
	t.noError(err, "listen")
	defer listener.Close()
	a, err = net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
	t.noError(err, "dial")
	t.Cleanup(func() { a.Close() })
	b, err = listener.AcceptTCP()
	t.noError(err, "accept")
	t.Cleanup(func() { b.Close() })
	return a, b
}

// udpConn returns a *net.UDPConn on the loopback interface.
func (t *T) udpConn() *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IP(loopback[:])})
	if err != nil && strings.Contains(err.Error(), "wsaioctl: winapi error #10045") {
		t.Skipf("package net cannot create a UDP socket: %v (Wine 8 lacks an ioctl that it uses)", err)
	}
	t.noError(err, "listen")
	t.Cleanup(func() { c.Close() })
	return c
}

// register calls Register. An error stops the test, as for the next three.
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

// wantKey checks that Key returns want for a registered file object.
func (t *T) wantKey(fileobj any, want *selectors.SelectorKey) {
	t.Helper()
	if got, err := t.s.Key(fileobj); err != nil || got != want {
		t.Errorf("Key(%T %v) = %v, %v, want %v", fileobj, fileobj, got, err, want)
	}
}

// wantUnregister checks that Unregister succeeds and returns want.
func (t *T) wantUnregister(fileobj any, want *selectors.SelectorKey) {
	t.Helper()
	if got := t.unregister(fileobj); got != want {
		t.Errorf("Unregister(%T %v) = %v, want %v", fileobj, fileobj, got, want)
	}
}

// wantReady checks that Select returns exactly the entries of want, in any order.
func (t *T) wantReady(want ...selectors.Ready) {
	t.Helper()
	t.wantBatch(t.mustSelect(reportTimeout), want...)
}

func (t *T) wantReadyOn(s selectors.Selector, want ...selectors.Ready) {
	t.Helper()
	t.wantBatch(t.mustSelectOn(s, reportTimeout), want...)
}

// wantNothing checks that no file is ready or becomes ready within quietTime.
func (t *T) wantNothing() {
	t.Helper()
	t.wantNothingOn(t.s)
}

func (t *T) wantNothingOn(s selectors.Selector) {
	t.Helper()
	for _, timeout := range []time.Duration{0, quietTime} {
		if batch := t.mustSelectOn(s, timeout); len(batch) != 0 {
			t.Fatalf("Select(%v) reported %v, want an empty batch", timeout, formatBatch(batch))
		}
	}
}

// wantStillReported checks that a key is registered and reported, and that no
// other file is ready. The key must be level-triggered with interest EventRead,
// for one socket of a pair, with nothing to read; peer is the other socket.
func (t *T) wantStillReported(key *selectors.SelectorKey, peer int) {
	t.Helper()
	t.wantKey(key.FD, key)
	t.write(peer, "?")
	t.wantReady(report(key, r))
	t.read(key.FD, "?")
	t.wantBatch(t.mustSelect(0))
}

// wantNoSpin checks that a Select with nothing ready uses little processor time.
// Other work of the process, such as garbage collection, can use some, so one
// quiet Select out of four is enough; a busy loop fails all four.
func (t *T) wantNoSpin() {
	t.Helper()
	const timeout = 50 * time.Millisecond
	var used time.Duration
	for range 4 {
		start := t.cpuTime()
		t.wantTimeout(t.s, timeout)
		if used = t.cpuTime() - start; used < timeout/4 {
			return
		}
	}
	t.Errorf("Select(%v) with nothing ready used %v of processor time, want less than %v", timeout, used, timeout/4)
}

// isTooLarge reports whether a Register failed because the backend does not
// support descriptor numbers that high, which is allowed.
func isTooLarge(err error) bool { return errors.Is(err, selectors.ErrFDTooLarge) }
