//go:build linux

package main

import (
	"net"

	"github.com/tidwall/evio"
)

func init() { work["evio"] = map[string]func(args){"echo": echoEvio} }

// echoEvio cannot set TCP_NODELAY: evio has no option for it, and shows no
// descriptor. An answer that is one write to an idle connection goes out at once
// all the same.
func echoEvio(a args) {
	check(evio.Serve(evio.Events{
		NumLoops: 1,
		Serving: func(s evio.Server) evio.Action {
			serving(s.Addrs[0].(*net.TCPAddr).Port)
			return evio.None
		},
		Opened: func(evio.Conn) ([]byte, evio.Options, evio.Action) {
			return nil, evio.Options{ReuseInputBuffer: true}, evio.None // it copies what is to be written
		},
		Data: func(_ evio.Conn, in []byte) ([]byte, evio.Action) { return in, evio.None },
	}, "tcp://127.0.0.1:0"))
}
