//go:build linux

package main

import (
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
)

func init() { contenders["nbio"] = map[string]func(args){"echo": echoNbio} }

func echoNbio(a args) {
	logging.SetLevel(logging.LevelNone) // nbio logs to stdout, which is used for the port
	e := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{"127.0.0.1:0"}, NPoller: 1})
	e.OnData(func(c *nbio.Conn, p []byte) { c.Write(p) }) // Write copies the data that it has to queue
	check(e.Start())
	announcePort(portOf(e.Addrs[0]))
	select {}
}
