//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
)

// An upperHandler sends received text back in upper case.
type upperHandler struct{ stream.BaseHandler }

func (upperHandler) DataReceived(c *stream.Conn, p []byte) {
	c.Write([]byte(strings.ToUpper(string(p))))
}

// A client sends a message and prints the answer.
type client struct {
	stream.BaseHandler
	message string
	done    func() // called when the connection has ended
}

func (h *client) ConnectionMade(c *stream.Conn) {
	c.Write([]byte(h.message))
	c.CloseWrite()
}

func (h *client) DataReceived(_ *stream.Conn, p []byte) { fmt.Printf("%s\n", p) }

func (h *client) ConnectionLost(_ *stream.Conn, err error) {
	fmt.Println("connection lost:", err)
	h.done()
}

func Example() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	l, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler { return upperHandler{} })
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := stream.Dial(ctx, loop, "tcp", l.Addr().String(), &client{message: "hello, loop", done: loop.Stop}); err != nil {
		log.Fatal(err)
	}
	if err := loop.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// HELLO, LOOP
	// connection lost: <nil>
}

func ExampleGroup() {
	g, err := stream.NewGroup(2, nil)
	if err != nil {
		log.Fatal(err)
	}
	addr, err := g.Listen("tcp", "127.0.0.1:0", func() stream.Handler { return upperHandler{} },
		stream.WithIdleTimeout(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the system chose a port:", addr.String() != "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println("shut down:", g.Shutdown(ctx))
	// Output:
	// the system chose a port: true
	// shut down: <nil>
}

// echoPackets sends datagrams back.
type echoPackets struct{}

func (echoPackets) DatagramReceived(c *stream.PacketConn, p []byte, from netip.AddrPort) {
	c.WriteTo(p, from)
}
func (echoPackets) ErrorReceived(*stream.PacketConn, error) {}

func ExampleListenPacket() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	c, err := stream.ListenPacket(loop, "udp", "127.0.0.1:0", echoPackets{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.LocalAddr().Network())
	// Output: udp
}
