package recipes

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// TestErrorQueue sends datagrams to a socket, which gives time stamps, and to a closed
// port, which gives an error as well.
func TestErrorQueue(t *testing.T) {
	type report struct {
		Errno    syscall.Errno
		Stamp    bool // has a plausible time
		Datagram string
	}
	stamp, refused := report{Errno: unix.ENOMSG, Stamp: true}, report{Errno: unix.ECONNREFUSED}
	listen := func(t *testing.T) *net.UDPConn {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		check(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		conn, open, closed := listen(t), listen(t), listen(t)
		closed.Close()
		start := time.Now()
		var reports log[report]
		check(t, WatchDatagrams(sel, conn, func(q QueuedError) {
			reports.add(report{Errno: q.Errno, Stamp: q.Time.After(start.Add(-time.Minute))})
		}, func(p []byte, err error) {
			// An error that comes after the queue was read is returned by the read too.
			if !errors.Is(err, unix.ECONNREFUSED) {
				check(t, err)
				reports.add(report{Datagram: string(p)})
			}
		}))
		send := func(to *net.UDPConn, number int) func() error {
			return func() error {
				for range number {
					if _, err := conn.WriteTo([]byte("hello"), to.LocalAddr()); err != nil {
						return err
					}
				}
				return nil
			}
		}
		expect(t, sel, &reports, nothing)
		for range 3 {
			expect(t, sel, &reports, send(open, 1), stamp)
			expect(t, sel, &reports, send(open, 3), stamp, stamp, stamp)
			expect(t, sel, &reports, send(closed, 1), stamp, refused)
		}
		expect(t, sel, &reports, func() error {
			_, err := open.WriteTo([]byte("data"), conn.LocalAddr())
			return err
		}, report{Datagram: "data"})
		// A datagram to itself: its stamp and the datagram. The stamp is first in the queue.
		expect(t, sel, &reports, send(conn, 1), stamp, report{Datagram: "hello"})
	})
}
