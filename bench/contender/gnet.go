//go:build linux && gnet

package main

import (
	"os"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
	"golang.org/x/sys/unix"
)

// Whatever links gnet has a pool of goroutines from its start, whose tickers wake
// the process four times a second. The others are measured without: this file has
// a build of its own.
func init() {
	work["gnet"] = map[string]func(args){"echo": echoGnet}
	others = []string{"github.com/panjf2000/gnet/v2"}
}

type gnetEcho struct{ gnet.BuiltinEventEngine }

func (*gnetEcho) OnBoot(e gnet.Engine) gnet.Action {
	listener, err := e.Dup()
	check(err)
	at, err := unix.Getsockname(listener)
	check(err)
	check(unix.Close(listener))
	serving(at.(*unix.SockaddrInet4).Port)
	return gnet.None
}

func (*gnetEcho) OnTraffic(c gnet.Conn) gnet.Action {
	p, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	c.Write(p)
	return gnet.None
}

func echoGnet(a args) {
	// It logs to stdout, where the port goes.
	check(gnet.Run(&gnetEcho{}, "tcp://127.0.0.1:0", gnet.WithNumEventLoop(1), gnet.WithTCPNoDelay(gnet.TCPNoDelay),
		gnet.WithLogPath(os.DevNull), gnet.WithLogLevel(logging.FatalLevel)))
}
