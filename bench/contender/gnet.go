//go:build linux && gnet

package main

import (
	"os"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
	"golang.org/x/sys/unix"
)

// A program that links gnet starts a pool of goroutines whose tickers wake the
// process four times a second. This would disturb the other contenders, so this
// file is built into a program of its own, with the build tag gnet.
func init() {
	contenders["gnet"] = map[string]func(args){"echo": echoGnet}
	comparedModules = []string{"github.com/panjf2000/gnet/v2"}
}

type gnetEcho struct{ gnet.BuiltinEventEngine }

func (*gnetEcho) OnBoot(e gnet.Engine) gnet.Action {
	listener, err := e.Dup()
	check(err)
	addr, err := unix.Getsockname(listener)
	check(err)
	check(unix.Close(listener))
	announcePort(addr.(*unix.SockaddrInet4).Port)
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
	// gnet logs to stdout by default, which is used for the port.
	check(gnet.Run(&gnetEcho{}, "tcp://127.0.0.1:0", gnet.WithNumEventLoop(1), gnet.WithTCPNoDelay(gnet.TCPNoDelay),
		gnet.WithLogPath(os.DevNull), gnet.WithLogLevel(logging.FatalLevel)))
}
