//go:build linux

package main

import (
	"net"

	"github.com/tidwall/evio"
)

func init() { contenders["evio"] = map[string]func(args){"echo": echoEvio} }

// echoEvio cannot set TCP_NODELAY: evio has no option for it and does not expose
// the descriptor. A reply that is one write to a connection without unacknowledged
// data is sent immediately anyway.
func echoEvio(a args) {
	check(evio.Serve(evio.Events{
		NumLoops: 1,
		Serving: func(s evio.Server) evio.Action {
			announcePort(s.Addrs[0].(*net.TCPAddr).Port)
			return evio.None
		},
		Opened: func(evio.Conn) ([]byte, evio.Options, evio.Action) {
			return nil, evio.Options{ReuseInputBuffer: true}, evio.None // evio copies the data to write
		},
		Data: func(_ evio.Conn, in []byte) ([]byte, evio.Action) { return in, evio.None },
	}, "tcp://127.0.0.1:0"))
}
