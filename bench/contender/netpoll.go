//go:build linux && (amd64 || arm64 || loong64)

package main

import (
	"bytes"
	"context"

	"github.com/cloudwego/netpoll"
)

// netpoll builds only on the architectures in the build constraint.
func init() { contenders["netpoll"] = map[string]func(args){"echo": echoNetpoll} }

func echoNetpoll(a args) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	check(err)
	serve, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
		r, w := conn.Reader(), conn.Writer()
		p, err := r.Next(r.Len())
		if err != nil {
			return err
		}
		copied, err := w.Malloc(len(p))
		if err != nil {
			return err
		}
		copy(copied, p)
		if err := r.Release(); err != nil {
			return err
		}
		return w.Flush()
	})
	check(err)
	netpoll.SetLoggerOutput(bytes.NewBuffer(nil)) // netpoll logs each connection that is reset
	announcePort(portOf(ln.Addr().String()))
	check(serve.Serve(ln))
}
