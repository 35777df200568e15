//go:build linux

package main

import (
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
)

func init() { work["nbio"] = map[string]func(args){"echo": echoNbio} }

func echoNbio(a args) {
	logging.SetLevel(logging.LevelNone) // it logs to stdout, where the port goes
	e := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{"127.0.0.1:0"}, NPoller: 1})
	e.OnData(func(c *nbio.Conn, p []byte) { c.Write(p) }) // Write copies what it must keep
	check(e.Start())
	serving(portOf(e.Addrs[0]))
	select {}
}
