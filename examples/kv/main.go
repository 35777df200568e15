// Kv is a key-value store that speaks the protocol of Redis. The store, the
// connections and the timers that expire keys all run on one event loop, so the
// program has no locks and every command is atomic.
//
//	go run ./examples/kv -addr 127.0.0.1:6380
//	redis-cli -p 6380 set greeting hello ex 60
//
// redis-cli is the client of Redis (Debian package redis-tools). Without it, any
// program that connects a terminal to a TCP port will do: "nc 127.0.0.1 6380"
// or "telnet 127.0.0.1 6380", then "SET greeting hello EX 60".
//
// The files in reading order:
//
//	main.go      the loop and the listener
//	client.go    a connection: commands in, replies out, and no faster than the client reads
//	parser.go    the parser, which accepts its input in pieces of any size
//	commands.go  the table of commands
//	strings.go   the commands on keys
//	store.go     the keys, and their expiry
//	session.go   the commands that client libraries send before any other
//	reply.go     the encoding of replies
//
// node-redis and ioredis, client libraries for Node.js, work with their default
// settings: TestNode installs and uses them where node and npm are installed.
// TestHostile sends invalid and excessive input; -hostile.time makes it longer.
package main

import (
	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/internal/cli"
	"goselectors/examples/internal/server"
)

func main() {
	addr := cli.AddrFlag("127.0.0.1:6380")
	server.Main("kv", func() error { return run(*addr) })
}

func run(addr string) error {
	loop, err := eventloop.New() // SELECTORS_BACKEND=poll selects the backend poll
	if err != nil {
		return err
	}
	defer loop.Close()
	db := newStore(loop)
	return server.ListenAndRun(loop, addr, func() stream.Handler { return &client{db: db} })
}
