// Kv is a key-value store that speaks Redis' protocol. All of it, store,
// connections and the clock that keys expire by, is on one loop, so there is
// not a lock in it, and every command is atomic by nature.
//
//	go run ./examples/kv -addr 127.0.0.1:6380
//	redis-cli -p 6380 set greeting hello ex 60
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:6380", "address to listen at")
	flag.Parse()
	if err := run(*addr); err != nil {
		fmt.Fprintln(os.Stderr, "kv:", err)
		os.Exit(1)
	}
	fmt.Println("kv: bye")
}

func run(addr string) error {
	loop, err := eventloop.New() // SELECTORS_BACKEND=poll makes it wait with poll
	if err != nil {
		return err
	}
	defer loop.Close()
	db := &store{loop: loop, keys: make(map[string]*value)}
	l, err := stream.Listen(loop, "tcp", addr, func() stream.Handler { return &client{db: db} })
	if err != nil {
		return err
	}
	defer l.Close()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if _, err := loop.OnSignal(sig, func(os.Signal) { loop.Stop() }); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	fmt.Println("kv: listening on", l.Addr())
	return loop.Run(context.Background())
}
