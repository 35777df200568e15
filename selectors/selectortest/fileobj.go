package selectortest

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"goselectors/selectors"
)

// Everything that may be registered, and objects that were closed.
var fileObjRules = append([]rule{
	{"Int", 0, func(t *T) {
		a, b := t.pair()
		object(t, a, a, func() { t.write(b, "x") })
	}},
	{"Uintptr", 0, func(t *T) {
		a, b := t.pair()
		object(t, uintptr(a), a, func() { t.write(b, "x") })
	}},
	{"CustomFd", 0, func(t *T) {
		a, b := t.pair()
		object(t, &fdPointer{uintptr(a)}, a, func() { t.write(b, "x") })
	}},
	{"CustomFdByValue", 0, func(t *T) {
		a, b := t.pair()
		object(t, fdValue{uintptr(a)}, a, func() { t.write(b, "x") })
	}},
	{"SyscallConnBeforeFd", 0, func(t *T) {
		// Of the two the one without side effects counts.
		f, _ := t.socketFile()
		other, _ := t.pair()
		both := connWithFd{f, uintptr(other)}
		key := t.register(both, w, nil)
		if key.FD != t.descriptor(f) {
			t.Errorf("the key has fd %d, want %d", key.FD, t.descriptor(f))
		}
		t.ready(is(key, w))
	}},

	{"File", anyFile, func(t *T) {
		read, write, err := os.Pipe()
		t.ok(err, "pipe")
		t.Cleanup(func() { read.Close(); write.Close() })
		object(t, read, t.descriptor(read), func() { write.WriteString("x") })
		keepsMode(t, read, read)
	}},
	{"SocketFile", 0, func(t *T) {
		f, peer := t.socketFile()
		object(t, f, t.descriptor(f), func() { t.write(peer, "x") })
		keepsMode(t, f, f)
	}},
	{"TCPConn", 0, func(t *T) {
		a, b := t.tcpConn()
		object(t, a, t.descriptor(a), func() { b.Write([]byte("x")) })
		keepsMode(t, a, a)
	}},
	{"TCPListener", 0, func(t *T) {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IP(loopback[:])})
		t.ok(err, "listen")
		t.Cleanup(func() { l.Close() })
		object(t, l, t.descriptor(l), func() {
			c, err := net.Dial("tcp4", l.Addr().String())
			t.ok(err, "dial")
			t.Cleanup(func() { c.Close() })
		})
	}},
	{"UDPConn", 0, func(t *T) {
		c := t.udpConn()
		object(t, c, t.descriptor(c), func() { c.WriteTo([]byte("x"), c.LocalAddr()) })
		keepsMode(t, c, c)
		t.ok(c.Close(), "close")
		t.fails(second(t.s.Register(c, r, nil)), "Register of a closed object", os.ErrClosed, badFD)
		t.fails(second(t.s.Key(c)), "Key of a closed object", selectors.ErrNotRegistered)
	}},

	{"Uncomparable", 0, func(t *T) {
		a, b := t.pair()
		for _, obj := range []any{
			fdSlice{uintptr(a), []int{1}},
			fdAny{uintptr(a), []int{1}}, // Go finds out when it compares
			fdAny{uintptr(a), fdAny{0, map[int]int{}}},
		} {
			key := t.register(obj, r, nil)
			_, err := t.s.Register(obj, r, nil)
			t.fails(err, "the second Register", selectors.ErrRegistered)
			if got, err := t.s.Key(obj); err != nil || got != key {
				t.Errorf("Key is %v, %v; want the key", got, err)
			}
			t.stays(t.modify(obj, r, "modified"), b)
			t.unregister(obj)
			_, err = t.s.Unregister(obj)
			t.fails(err, "the second Unregister", selectors.ErrNotRegistered)
		}
	}},

	{"EqualObjects", 0, func(t *T) {
		// Equal values with the same descriptor are the same object.
		a, b := t.pair()
		t.register(fdValue{uintptr(a)}, r, nil)
		t.stays(t.modify(fdValue{uintptr(a)}, r, nil), b)
		t.unregister(fdValue{uintptr(a)})
	}},

	{"ClosedIsErrClosedAndEBADF", 0, func(t *T) {
		for _, obj := range closedObjects(t) {
			_, err := t.s.Register(obj, r, nil)
			t.fails(err, "Register of a closed object", os.ErrClosed, badFD)
			if errors.Is(err, selectors.ErrClosed) {
				t.Errorf("the error of a closed object is that of a closed selector: %v", err)
			}
		}
		if n := t.s.Len(); n != 0 {
			t.Errorf("Len is %d, want 0", n)
		}
	}},

	{"ClosedAndUnknownIsErrNotRegistered", 0, func(t *T) {
		for _, obj := range closedObjects(t) {
			for name, call := range callsWith(t.s, obj) {
				if name != "Register" {
					t.fails(call(), name+" of a closed object", selectors.ErrNotRegistered)
				}
			}
		}
	}},

	{"ClosedButKnown", 0, func(t *T) {
		f, _ := t.socketFile()
		key := t.register(f, r, nil)
		t.ok(f.Close(), "close")
		if got, err := t.s.Key(f); err != nil || got != key {
			t.Errorf("Key of a closed object is %v, %v; want its key", got, err)
		}
		_, err := t.s.Modify(f, w, nil)
		t.fails(err, "Modify of a closed object", badFD)
		if got, err := t.s.Key(f); err != nil || got != key {
			t.Errorf("Key of a closed object is %v, %v; want its key", got, err)
		}
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

// object takes a file object, which has nothing to read until send is called,
// through all methods.
func object(t *T, obj any, fd int, send func()) {
	t.Helper()
	key := t.register(obj, r, "data")
	if key.FileObj != obj || key.FD != fd {
		t.Fatalf("the key is %+v; want fd %d and the object", *key, fd)
	}
	for _, name := range []any{obj, fd} {
		if got, err := t.s.Key(name); err != nil || got != key {
			t.Errorf("Key(%T) is %v, %v; want the key", name, got, err)
		}
		_, err := t.s.Register(name, r, nil)
		t.fails(err, "the second Register", selectors.ErrRegistered)
	}
	t.silent()
	send()
	t.ready(is(key, r))
	key = t.modify(obj, r, "other data")
	t.ready(is(key, r))
	if got := t.unregister(obj); got != key {
		t.Errorf("Unregister returned %v, want the key %v", got, key)
	}
	t.silent()
}

// keepsMode checks that an object with something to read is non-blocking still
// and that its deadlines work.
func keepsMode(t *T, conn syscall.Conn, f interface {
	SetReadDeadline(time.Time) error
	Read([]byte) (int, error)
}) {
	t.Helper()
	if !t.nonblocking(t.descriptor(conn)) {
		t.Error("the object has become blocking")
		return // Read might never return
	}
	buf := make([]byte, 1)
	if _, err := f.Read(buf); err != nil {
		t.Errorf("Read of what was sent: %v", err)
	}
	t.ok(f.SetReadDeadline(time.Now().Add(2*time.Millisecond)), "SetReadDeadline")
	_, err := f.Read(buf)
	t.fails(err, "Read with nothing there", os.ErrDeadlineExceeded)
	t.ok(f.SetReadDeadline(time.Time{}), "SetReadDeadline")
}

// closedObjects is one of each kind that can tell it was closed.
func closedObjects(t *T) []any {
	t.Helper()
	f, _ := t.socketFile()
	c, _ := t.tcpConn()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IP(loopback[:])})
	t.ok(err, "listen")
	f.Close()
	c.Close()
	l.Close()
	return []any{f, c, l}
}
