package stream

import (
	"testing"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// TestUnixHasNoErrorQueue checks that looking for messages on the error queue takes
// no data from a Unix socket, for which the kernel ignores MSG_ERRQUEUE.
func TestUnixHasNoErrorQueue(t *testing.T) {
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "packets": unix.SOCK_SEQPACKET, "datagrams": unix.SOCK_DGRAM} {
		t.Run(name, func(t *testing.T) {
			loop := newLoop(t)
			ends, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(ends[1])
			if name == "datagrams" {
				c := &PacketConn{loop: loop, life: packetOpen, socket: packetSocket{boundSocket: boundSocket{fd: ends[0]}, isUnix: true}}
				unix.Write(ends[1], []byte("data"))
				c.takeErrors()
				unix.SetNonblock(ends[0], true)
				defer unix.Close(ends[0])
			} else {
				c, err := Wrap(loop, ends[0], &lifeRecorder{})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Abort()
				unix.Write(ends[1], []byte("data"))
				c.takeErrorQueue()
			}
			var buf [8]byte
			if n, err := selectors.TryRead(ends[0], buf[:]); n != 4 || err != nil {
				t.Errorf("read returns %d, %v", n, err)
			}
		})
	}
}
