//go:build unix

package recipes_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/recipes"
	"goselectors/selectors"
)

// beating is a connection that is a member of a heartbeat as long as it lives.
type beating struct {
	stream.BaseHandler
	beats *recipes.Heartbeat[*stream.Conn]
}

func (h beating) ConnectionMade(c *stream.Conn)          { h.beats.Add(c) }
func (h beating) ConnectionLost(c *stream.Conn, _ error) { h.beats.Remove(c) }

// TestHeartbeatConnections sends heartbeats on real connections, over every backend.
func TestHeartbeatConnections(t *testing.T) {
	const clients, interval, count = 50, 50 * time.Millisecond, 3
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			loop, err := eventloop.New(eventloop.WithSelector(sel))
			if err != nil {
				t.Fatal(err)
			}
			defer loop.Close()
			message := []byte("beat\n")
			beats := recipes.NewHeartbeat(loop, interval, func(c *stream.Conn) {
				if c.Unsent() == 0 {
					c.Write(message)
				}
			})
			l, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler { return beating{beats: beats} })
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			received := make(chan error, clients)
			for range clients {
				go func() {
					conn, err := net.Dial("tcp", l.Addr().String())
					if err == nil {
						defer conn.Close()
						conn.SetDeadline(time.Now().Add(20 * time.Second))
						got := make([]byte, count*len(message))
						if _, err = io.ReadFull(conn, got); err == nil && !bytes.Equal(got, bytes.Repeat(message, count)) {
							t.Errorf("received %q", got)
						}
					}
					received <- err
				}()
			}
			for left := clients; left > 0; {
				if _, err := loop.RunOnce(10 * time.Millisecond); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-received:
					if left--; err != nil {
						t.Error(err)
					}
				default:
				}
			}
			for deadline := time.Now().Add(20 * time.Second); l.Len() > 0 && time.Now().Before(deadline); {
				loop.RunOnce(10 * time.Millisecond)
			}
			l.Close()
			if loop.RunOnce(0); loop.Alive() {
				t.Error("a timer or a connection is left")
			}
		})
	}
}
