//go:build linux

package main

import (
	"context"
	"net"

	"goselectors/eventloop/stream"
)

func init() { contenders["stream"] = map[string]func(args){"echo": echoStream} }

type echoHandler struct{ stream.BaseHandler }

func (echoHandler) DataReceived(c *stream.Conn, p []byte) { c.Write(p) }

func echoStream(a args) {
	l := newLoop(a)
	ln, err := stream.Listen(l, "tcp", "127.0.0.1:0", func() stream.Handler { return echoHandler{} })
	check(err)
	announcePort(ln.Addr().(*net.TCPAddr).Port)
	check(l.Run(context.Background()))
}
