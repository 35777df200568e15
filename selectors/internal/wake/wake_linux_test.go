package wake

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func openWaker(t *testing.T) *Waker {
	t.Helper()
	w := &Waker{}
	if err := w.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func readable(t *testing.T, w *Waker) bool {
	t.Helper()
	for {
		// A signal ends it also if it does not wait (fs/select.c, do_poll).
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.FD()), Events: unix.POLLIN}}, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	}
}

// TestWakeAddsOne: an epoll set's waker is never drained, so a wake may add no
// more than 1 to its counter, whatever the machine's byte order.
func TestWakeAddsOne(t *testing.T) {
	w := openWaker(t)
	const wakes = 1000
	for range wakes {
		if err := w.Wake(); err != nil {
			t.Fatal(err)
		}
	}
	var count [8]byte
	if _, err := unix.Read(w.FD(), count[:]); err != nil {
		t.Fatal(err)
	}
	if n := binary.NativeEndian.Uint64(count[:]); n != wakes {
		t.Errorf("after %d wakes the counter is %#x", wakes, n)
	}
}

// TestWakeFull: a wake of an eventfd whose counter is full succeeds, because it
// is readable already.
func TestWakeFull(t *testing.T) {
	w := openWaker(t)
	if _, err := unix.Write(w.FD(), slices.Repeat([]byte{0xff}, 7)); err == nil {
		t.Fatal("an eventfd took 7 bytes")
	}
	if _, err := unix.Write(w.FD(), binary.NativeEndian.AppendUint64(nil, math.MaxUint64-1)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.Wake(); err != nil {
			t.Errorf("wake of a full eventfd: %v", err)
		}
	}
	w.Drain()
	w.Drain() // must not block
	if readable(t, w) {
		t.Error("readable after Drain")
	}
	if err := w.Wake(); err != nil {
		t.Error(err)
	}
	if !readable(t, w) {
		t.Error("not readable after Wake")
	}
}

// TestWakeFails: the error of a wake that is not one of a full eventfd.
func TestWakeFails(t *testing.T) {
	w := &Waker{eventfd: -1}
	if err := w.Wake(); err == nil {
		t.Error("no error")
	}
}
