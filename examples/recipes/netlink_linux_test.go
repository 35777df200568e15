package recipes

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// setFlags sets the flags of an interface, as "ip link set up" does, in the namespace
// of the calling thread.
func setFlags(name string, flags uint16) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// TestLinks turns the loopback interface of a new namespace on and off.
func TestLinks(t *testing.T) {
	type report struct {
		Index int
		Up    bool
		Err   error
	}
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		thread := newNamespace(t, unix.CLONE_NEWNET)
		var reports log[report]
		var fd int
		check(t, thread(func() (err error) {
			fd, err = WatchLinks(sel, func(index int, flags uint32, err error) {
				reports.add(report{index, flags&unix.IFF_UP != 0, err})
			})
			return err
		}))
		t.Cleanup(func() { Close(sel, fd) })
		for range 3 {
			up := func() error { return thread(func() error { return setFlags("lo", unix.IFF_UP) }) }
			down := func() error { return thread(func() error { return setFlags("lo", 0) }) }
			expect(t, sel, &reports, up, report{Index: 1, Up: true})
			expect(t, sel, &reports, down, report{Index: 1})
		}

		// More messages than the socket has room for, while nothing reads them.
		check(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
		check(t, thread(func() error {
			for i := range uint16(100) {
				if err := setFlags("lo", i%2*unix.IFF_UP); err != nil {
					return err
				}
			}
			return nil
		}))
		await(t, sel, nothing, func() bool {
			return slices.ContainsFunc(reports.entries, func(r report) bool { return r.Err == ErrMessagesLost })
		})
	})
}
