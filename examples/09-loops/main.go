// Lesson 9: one loop per core. A loop does one thing at a time, so it uses at
// most one core. To use more cores, run more loops, and give each client to one
// of them for its whole life. Then the loops share nothing, and the code for one
// client stays as it was, without locks.
//
//	go run ./examples/09-loops -loops 1 -work 256
//	go run ./examples/09-loops -drive 127.0.0.1:8080   (in a second terminal)
//
// The second command prints the answers per second. Start the server again with
// -loops 2: on two idle cores there are nearly twice as many. Without -work the
// difference is smaller, because the clients and the kernel need most of the time.
//
//	go run ./examples/09-loops -stream
//
// group.go gives clients to the loops, worker.go serves them. stream.go does the
// same with the group of package stream.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"goselectors/examples/internal/cli"
)

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	loops := flag.Int("loops", runtime.GOMAXPROCS(0), "the `number` of loops that serve, from 1 to 64")
	work := flag.Int("work", 0, "hash this many `KB` for each answer, as an example of computing")
	drive := flag.String("drive", "", "do not serve, but send requests to the server at `host:port` for a second, and print the rate")
	useStream := flag.Bool("stream", false, "serve with the group of package stream")
	cli.Parse("09-loops")
	if *loops < 1 || *loops > 64 || *work < 0 || *work > 1<<20 {
		cli.UsageError("-loops must be from 1 to 64, and -work from 0 to %d", 1<<20)
	}
	if *drive != "" {
		runClients(*drive, 16)
		return
	}
	if *useStream {
		serveStream(*addr, *loops, *work)
		return
	}
	listener, err := net.Listen("tcp", *addr)
	cli.Check(err)
	g := newGroup(listener, *loops, *work)
	cli.StopOnInterrupt(g.Loop)
	listening(listener.Addr(), fmt.Sprintf("loops: %d", *loops))
	cli.Check(g.Run(context.Background()))
	g.close()
	for i, w := range g.workers {
		cli.Printf("loop %d served %d clients, %d answers", i, w.clients, w.answers)
	}
	cli.Printf("bye")
}

func listening(addr net.Addr, details string) {
	cli.Listening(addr, details)
	cli.Printf("measure it in a second terminal: go run ./examples/09-loops -drive %v", addr)
}

// runClients runs n clients, each on a goroutine as in lesson 1. Each sends a
// request as soon as it has the last answer, for one second. It runs in another
// process than the server. Still both use the cores of the same machine.
func runClients(addr string, n int) {
	var answers atomic.Int64
	var running sync.WaitGroup
	start := time.Now()
	for range n {
		running.Add(1)
		go func() {
			defer running.Done()
			conn, err := net.Dial("tcp", addr)
			cli.Check(err)
			defer conn.Close()
			for time.Since(start) < time.Second {
				_, err := conn.Write([]byte("?"))
				cli.Check(err)
				_, err = conn.Read(make([]byte, 1))
				cli.Check(err)
				answers.Add(1)
			}
		}()
	}
	running.Wait()
	cli.Printf("%d clients, %.0f answers per second", n, float64(answers.Load())/time.Since(start).Seconds())
	cli.Printf("compare: restart the server with another -loops or -work, and run this again")
}
