package selectortest

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"goselectors/selectors"
)

// fileObjRules check each kind of file object, and objects that were closed.
var fileObjRules = append([]rule{
	{"Int", 0, func(t *T) {
		a, b := t.pair()
		checkFileObj(t, a, a, func() { t.write(b, "x") })
	}},
	{"Uintptr", 0, func(t *T) {
		a, b := t.pair()
		checkFileObj(t, uintptr(a), a, func() { t.write(b, "x") })
	}},
	{"CustomFd", 0, func(t *T) {
		a, b := t.pair()
		checkFileObj(t, &fdPointer{uintptr(a)}, a, func() { t.write(b, "x") })
	}},
	{"CustomFdByValue", 0, func(t *T) {
		a, b := t.pair()
		checkFileObj(t, fdValue{uintptr(a)}, a, func() { t.write(b, "x") })
	}},
	{"SyscallConnPreferredOverFd", 0, func(t *T) {
		// SyscallConn is preferred because Fd can have side effects.
		f, _ := t.socketFile()
		other, _ := t.pair()
		obj := connWithFd{f, uintptr(other)}
		key := t.register(obj, w, nil)
		if key.FD != t.fdOf(f) {
			t.Errorf("key.FD = %d, want %d", key.FD, t.fdOf(f))
		}
		t.wantReady(report(key, w))
	}},

	{"File", anyFile, func(t *T) {
		read, write, err := os.Pipe()
		t.noError(err, "pipe")
		t.Cleanup(func() { read.Close(); write.Close() })
		checkFileObj(t, read, t.fdOf(read), func() { write.WriteString("x") })
		wantStillNonblocking(t, read, read)
	}},
	{"SocketFile", 0, func(t *T) {
		f, peer := t.socketFile()
		checkFileObj(t, f, t.fdOf(f), func() { t.write(peer, "x") })
		wantStillNonblocking(t, f, f)
	}},
	{"TCPConn", 0, func(t *T) {
		a, b := t.tcpConn()
		checkFileObj(t, a, t.fdOf(a), func() { b.Write([]byte("x")) })
		wantStillNonblocking(t, a, a)
	}},
	{"TCPListener", 0, func(t *T) {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IP(loopback[:])})
		t.noError(err, "listen")
		t.Cleanup(func() { l.Close() })
		checkFileObj(t, l, t.fdOf(l), func() {
			c, err := net.Dial("tcp4", l.Addr().String())
			t.noError(err, "dial")
			t.Cleanup(func() { c.Close() })
		})
	}},
	{"UDPConn", 0, func(t *T) {
		c := t.udpConn()
		checkFileObj(t, c, t.fdOf(c), func() { c.WriteTo([]byte("x"), c.LocalAddr()) })
		wantStillNonblocking(t, c, c)
		t.noError(c.Close(), "close")
		t.wantError(errorOf(t.s.Register(c, r, nil)), "Register of a closed object", os.ErrClosed, badFD)
		t.wantError(errorOf(t.s.Key(c)), "Key of a closed object", selectors.ErrNotRegistered)
	}},

	{"UncomparableObject", 0, func(t *T) {
		a, b := t.pair()
		for _, obj := range []any{
			fdSlice{uintptr(a), []int{1}},
			fdAny{uintptr(a), []int{1}}, // comparable type, but comparing panics
			fdAny{uintptr(a), fdAny{0, map[int]int{}}},
		} {
			key := t.register(obj, r, nil)
			_, err := t.s.Register(obj, r, nil)
			t.wantError(err, "the second Register", selectors.ErrRegistered)
			t.wantKey(obj, key)
			t.wantStillReported(t.modify(obj, r, "modified"), b)
			t.unregister(obj)
			_, err = t.s.Unregister(obj)
			t.wantError(err, "the second Unregister", selectors.ErrNotRegistered)
		}
	}},

	{"EqualObjects", 0, func(t *T) {
		// Equal values with the same descriptor count as the same object.
		a, b := t.pair()
		t.register(fdValue{uintptr(a)}, r, nil)
		t.wantStillReported(t.modify(fdValue{uintptr(a)}, r, nil), b)
		t.unregister(fdValue{uintptr(a)})
	}},

	{"ClosedReturnsErrClosedAndEBADF", 0, func(t *T) {
		for _, obj := range closedObjects(t) {
			_, err := t.s.Register(obj, r, nil)
			t.wantError(err, "Register of a closed object", os.ErrClosed, badFD)
			if errors.Is(err, selectors.ErrClosed) {
				t.Errorf("Register of a closed object: error %v matches selectors.ErrClosed, want os.ErrClosed only", err)
			}
		}
		t.wantLen(0)
	}},

	{"ClosedUnknownReturnsErrNotRegistered", 0, func(t *T) {
		for _, obj := range closedObjects(t) {
			for name, call := range fileObjCalls(t.s, obj) {
				if name != "Register" {
					t.wantError(call(), name+" of a closed object", selectors.ErrNotRegistered)
				}
			}
		}
	}},

	{"ClosedWhileRegistered", 0, func(t *T) {
		f, _ := t.socketFile()
		key := t.register(f, r, nil)
		t.noError(f.Close(), "close")
		t.wantKey(f, key)
		_, err := t.s.Modify(f, w, nil)
		t.wantError(err, "Modify of a closed object", badFD)
		t.wantKey(f, key)
		t.unregister(f)
	}},
}, systemFileObjRules...)

type fdValue struct{ fd uintptr }

func (v fdValue) Fd() uintptr { return v.fd }

type connWithFd struct {
	syscall.Conn
	fd uintptr
}

func (v connWithFd) Fd() uintptr { return v.fd }

type fdSlice struct {
	fd    uintptr
	slice []int
}

func (v fdSlice) Fd() uintptr { return v.fd }

type fdAny struct {
	fd  uintptr
	any any
}

func (v fdAny) Fd() uintptr { return v.fd }

// checkFileObj calls all methods with a file object. The object must not be
// readable until send is called.
func checkFileObj(t *T, obj any, fd int, send func()) {
	t.Helper()
	key := t.register(obj, r, "data")
	if key.FileObj != obj || key.FD != fd {
		t.Fatalf("Register returned key %+v, want fd %d and file object %v", *key, fd, obj)
	}
	for _, name := range []any{obj, fd} {
		t.wantKey(name, key)
		_, err := t.s.Register(name, r, nil)
		t.wantError(err, "the second Register", selectors.ErrRegistered)
	}
	t.wantNothing()
	send()
	t.wantReady(report(key, r))
	key = t.modify(obj, r, "other data")
	t.wantReady(report(key, r))
	t.wantUnregister(obj, key)
	t.wantNothing()
}

// wantStillNonblocking checks that an object with one byte to read is still
// non-blocking and that its deadlines work.
func wantStillNonblocking(t *T, conn syscall.Conn, f interface {
	SetReadDeadline(time.Time) error
	Read([]byte) (int, error)
}) {
	t.Helper()
	if !t.isNonblocking(t.fdOf(conn)) {
		t.Error("the object is in blocking mode, want non-blocking")
		return // Read might never return
	}
	buf := make([]byte, 1)
	if _, err := f.Read(buf); err != nil {
		t.Errorf("Read of the sent byte: %v", err)
	}
	t.noError(f.SetReadDeadline(time.Now().Add(2*time.Millisecond)), "SetReadDeadline")
	_, err := f.Read(buf)
	t.wantError(err, "Read with no data", os.ErrDeadlineExceeded)
	t.noError(f.SetReadDeadline(time.Time{}), "SetReadDeadline")
}

// closedObjects returns one closed object of each kind that reports that it is
// closed.
func closedObjects(t *T) []any {
	t.Helper()
	f, _ := t.socketFile()
	c, _ := t.tcpConn()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IP(loopback[:])})
	t.noError(err, "listen")
	f.Close()
	c.Close()
	l.Close()
	return []any{f, c, l}
}
