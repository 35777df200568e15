// Lesson 9: one loop a core. A loop does one thing at a time, so it uses one
// core at most. To use more, run more loops, and give each client to one of them
// for good: then the loops share nothing, and the code of a client stays as it
// was, without locks.
//
//	go run ./examples/09-loops
//	go run ./examples/09-loops -loops 1 -work 256
//	go run ./examples/09-loops -drive 127.0.0.1:8080
//	go run ./examples/09-loops -stream
//
// How clients get from one loop to another is in group.go, what happens to them
// there in worker.go. The group of package stream does both: see stream.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `host:port`; port 0 is any free one")
	loops := flag.Int("loops", runtime.GOMAXPROCS(0), "`how many` loops serve")
	work := flag.Int("work", 0, "hash so many `KB` for each answer, to have something to compute")
	drive := flag.String("drive", "", "do not serve, but be clients of the server on `host:port`, and print how many answers they get")
	group := flag.Bool("stream", false, "serve with the group of package stream instead of our own")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 09-loops [-addr host:port] [-loops n] [-work KB] [-stream] [-drive host:port]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || *loops < 1 || *loops > 64 || *work < 0 || *work > 1<<20 {
		flag.Usage()
		os.Exit(2)
	}
	if *drive != "" {
		clients(*drive, 16)
		return
	}
	if *group {
		serveStream(*addr, *loops, *work)
		return
	}
	listener, err := net.Listen("tcp", *addr)
	check(err)
	g := newGroup(listener, *loops, *work)
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		_, err := g.OnSignal(sig, func(os.Signal) { g.Stop() })
		check(err)
	}
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	fmt.Printf("09-loops: listening on %s, %d loops serve; try: nc %s %s\n", listener.Addr(), *loops, host, port)
	check(g.Run(context.Background()))
	g.end()
	for i, w := range g.workers {
		fmt.Printf("09-loops: loop %d served %d clients, %d answers\n", i, w.clients, w.answers)
	}
	fmt.Println("09-loops: bye")
}

// clients asks the server as fast as it answers, for a second, by goroutines as
// in lesson 1. It is for another process: beside the loops, they would compete
// for the cores of this one.
func clients(addr string, n int) {
	var answers atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range n {
		all.Add(1)
		go func() {
			defer all.Done()
			conn, err := net.Dial("tcp", addr)
			check(err)
			defer conn.Close()
			for time.Since(start) < time.Second {
				_, err := conn.Write([]byte("?"))
				check(err)
				_, err = conn.Read(make([]byte, 1))
				check(err)
				answers.Add(1)
			}
		}()
	}
	all.Wait()
	fmt.Printf("09-loops: %d clients, %.0f answers a second\n", n, float64(answers.Load())/time.Since(start).Seconds())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "09-loops:", err)
		os.Exit(1)
	}
}
