package stream_test

import (
	"net"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

// A stampCounter is a handler that counts the messages of the error queue.
type stampCounter struct {
	*recorder
	stamps int
}

func (s *stampCounter) ErrorQueueReceived(_ *stream.Conn, _, control []byte) {
	if len(control) > 0 {
		s.stamps++
	}
}

// fill writes pieces until more is queued than the peer reads below.
func fill(c *stream.Conn) {
	for c.Unsent() < 4<<20 {
		c.Write(make([]byte, 64<<10))
	}
}

// TestErrorQueue checks that time stamps on the error queue of a connection do not
// keep the loop busy in any state, that they end no connection, and that a handler
// can have them.
func TestErrorQueue(t *testing.T) {
	states := map[string]func(l *testLoop, c *stream.Conn, peer net.Conn){
		"reading": func(*testLoop, *stream.Conn, net.Conn) {},
		"paused":  func(l *testLoop, c *stream.Conn, _ net.Conn) { l.do(c.PauseReading) },
		"after EOF": func(l *testLoop, c *stream.Conn, peer net.Conn) {
			closeWrite(peer)
			time.Sleep(quietPeriod)
		},
		"writing": func(l *testLoop, c *stream.Conn, _ net.Conn) { l.do(func() { fill(c) }) },
		"paused and writing": func(l *testLoop, c *stream.Conn, _ net.Conn) {
			l.do(func() {
				c.PauseReading()
				fill(c)
			})
		},
	}
	for name, enter := range states {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(l *testLoop) {
				p := &stampCounter{recorder: newRecorder()}
				p.keepOpen = true
				ln := l.listen("tcp", func() stream.Handler { return p })
				peer := l.connect(ln)
				p.expect(l, "ConnectionMade")
				c := p.conn
				l.do(func() {
					flags := unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
					if err := unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags); err != nil {
						l.Error(err)
					}
				})
				enter(l, c, peer)
				l.do(func() { unix.Write(c.FD(), []byte("x")) })
				if name == "writing" || name == "paused and writing" {
					peer.Read(make([]byte, 1<<20))
				}
				time.Sleep(quietPeriod)
				turns := l.Stats().Turns
				time.Sleep(quietPeriod)
				if n := l.Stats().Turns - turns; n > 20 {
					l.Errorf("%d turns in %v", n, quietPeriod)
				}
				l.do(func() {
					if c.Closed() {
						l.Errorf("the connection has ended: %v", p.err)
					}
					if name == "reading" && p.stamps == 0 {
						l.Error("no time stamp")
					}
				})
			})
		})
	}
}
