// Lesson 1: a blocking server. Read and Write wait until they can do something.
// While a goroutine waits for one client, it cannot serve another client. The
// simple solution is one goroutine or one process per client. What does each of
// them cost while it only waits?
//
//	go run ./examples/01-blocking
//	go run ./examples/01-blocking -idle 1000
//	go run ./examples/01-blocking -idle 100 -mode process
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"goselectors/examples/internal/cli"
)

// echo serves one client from beginning to end. The code is simple because it
// may wait at any place. The price: each client needs its own stack and buffer.
func echo(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf) // an idle client makes the goroutine wait here
		if err != nil {
			return // io.EOF: the client closed the connection
		}
		if _, err := conn.Write(buf[:n]); err != nil { // a slow client, here
			return
		}
	}
}

// startProcess serves one client with a process, as inetd did. The process is
// cat: it copies its input to its output, and both are the connection.
func startProcess(ctx context.Context, conn net.Conn) (*exec.Cmd, error) {
	defer conn.Close() // cat has its own descriptor for the connection
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cat := exec.CommandContext(ctx, "cat") // killed when ctx ends
	cat.Stdin, cat.Stdout = file, file
	return cat, cat.Start()
}

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	mode := flag.String("mode", "goroutine", "what serves one client: `goroutine|process`")
	idle := flag.Int("idle", 0, "connect `n` idle clients (at most 4000), print what they cost, and exit")
	cli.Parse("01-blocking")
	if *mode != "goroutine" && *mode != "process" {
		cli.UsageError("-mode must be goroutine or process")
	}
	if *idle < 0 || *idle > 4000 { // at most 4096 connections can wait for accept
		cli.UsageError("-idle must be from 0 to 4000")
	}
	listener, err := net.Listen("tcp", *addr)
	cli.Check(err)

	// The kernel completes a connection before the server accepts it. So the
	// clients connect first. What accepting them adds is the cost of serving.
	var clients []net.Conn
	for range *idle {
		conn, err := net.Dial("tcp", listener.Addr().String())
		cli.Check(err)
		clients = append(clients, conn)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { listener.Close() }) // ends the Accept below
	if *idle == 0 {
		cli.Listening(listener.Addr(), "one "+*mode+" per client")
	}
	before := measure()
	var processes []*exec.Cmd
	var running sync.WaitGroup
	for n := 0; n < *idle || *idle == 0; n++ {
		conn, err := listener.Accept()
		var cat *exec.Cmd
		if ctx.Err() != nil {
			break
		} else if err == nil && *mode == "goroutine" {
			go echo(conn)
		} else if err == nil {
			cat, err = startProcess(ctx, conn)
		}
		if err != nil && *idle > 0 {
			cli.Check(err) // the result would be wrong
		} else if err != nil {
			// Usually "too many open files". The next Accept would fail at
			// once, so wait until a client may have left.
			cli.Errorf("%v", err)
			time.Sleep(100 * time.Millisecond)
		} else if cat != nil {
			running.Add(1)
			go func() { cat.Wait(); running.Done() }() // otherwise it stays a zombie
			if *idle > 0 {
				processes = append(processes, cat)
			}
		}
	}
	if *idle > 0 && ctx.Err() == nil {
		for _, conn := range clients { // serve each client once; then it is idle
			fmt.Fprint(conn, "!")
			_, err := conn.Read(make([]byte, 1))
			cli.Check(err)
		}
		report(before, measure(), *idle, processes)
	}
	for _, conn := range clients { // also keeps the garbage collector from closing them earlier
		conn.Close()
	}
	stop()
	running.Wait()
	cli.Printf("bye")
}
