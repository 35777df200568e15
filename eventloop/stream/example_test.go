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

// A shouter answers in capitals.
type upperHandler struct{ stream.BaseHandler }

func (upperHandler) DataReceived(c *stream.Conn, p []byte) {
	c.Write([]byte(strings.ToUpper(string(p))))
}

// A caller says something and waits for the answer.
type client struct {
	stream.BaseHandler
	say string
	end func()
}

func (h *client) ConnectionMade(c *stream.Conn) {
	c.Write([]byte(h.say))
	c.CloseWrite()
}

func (h *client) DataReceived(_ *stream.Conn, p []byte) { fmt.Printf("%s\n", p) }

func (h *client) ConnectionLost(_ *stream.Conn, err error) {
	fmt.Println("lost:", err)
	h.end()
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
	if _, err := stream.Dial(ctx, loop, "tcp", l.Addr().String(), &client{say: "hello, loop", end: loop.Stop}); err != nil {
		log.Fatal(err)
	}
	if err := loop.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// HELLO, LOOP
	// lost: <nil>
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
	fmt.Println("listening at a port of its own:", addr.String() != "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println("shut down:", g.Shutdown(ctx))
	// Output:
	// listening at a port of its own: true
	// shut down: <nil>
}

// A mirror sends datagrams back.
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
