// Lesson 1: a server that blocks. Read and Write wait until there is something
// to do, so while the server waits for one client it cannot serve another. The
// way out that needs no new idea is more waiters: a goroutine or a process for
// each client. What do they cost while all of them only wait?
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
)

// echo serves one client from beginning to end. It reads like a story, because
// it may wait wherever it likes. But it needs a stack and a buffer of its own.
func echo(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf) // waits here: this is where idle clients are
		if err != nil {
			return // the client has gone
		}
		if _, err := conn.Write(buf[:n]); err != nil { // and here, for slow ones
			return
		}
	}
}

// process serves one client with a process, as inetd did: cat copies its input
// to its output, and both are the connection.
func process(ctx context.Context, conn net.Conn) (*exec.Cmd, error) {
	defer conn.Close() // cat has its own descriptor of it
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
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `host:port`; port 0 is any free one")
	mode := flag.String("mode", "goroutine", "`what` each client gets: goroutine or process")
	idle := flag.Int("idle", 0, "connect `n` idle clients, print what they cost, and end")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 01-blocking [-addr host:port] [-mode goroutine|process] [-idle n]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || *mode != "goroutine" && *mode != "process" || *idle < 0 || *idle > 4000 { // 4096 may wait for accept
		flag.Usage()
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", *addr)
	check(err)

	// The kernel completes connections before anybody accepts them. So make
	// the clients now, and what accepting them adds is what serving costs.
	var clients []net.Conn
	for range *idle {
		conn, err := net.Dial("tcp", listener.Addr().String())
		check(err)
		clients = append(clients, conn)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { listener.Close() }) // ends the Accept below
	if *idle == 0 {
		host, port, _ := net.SplitHostPort(listener.Addr().String())
		fmt.Printf("01-blocking: listening on %s with a %s a client; try: nc %s %s\n", listener.Addr(), *mode, host, port)
	}
	before := measure()
	var processes []*exec.Cmd
	var running sync.WaitGroup
	for n := 0; n < *idle || *idle == 0; n++ {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			break
		} else if err != nil { // too many open files, most likely
			fmt.Fprintln(os.Stderr, "01-blocking:", err)
			time.Sleep(time.Second)
			n--
		} else if *mode == "goroutine" {
			go echo(conn)
		} else if cat, err := process(ctx, conn); err != nil {
			fmt.Fprintln(os.Stderr, "01-blocking:", err)
		} else {
			running.Add(1)
			go func() { cat.Wait(); running.Done() }() // nobody else buries it
			if *idle > 0 {
				processes = append(processes, cat)
			}
		}
	}
	if *idle > 0 && ctx.Err() == nil {
		for _, conn := range clients { // all are served once, and then idle
			fmt.Fprint(conn, "!")
			_, err := conn.Read(make([]byte, 1))
			check(err)
		}
		report(before, measure(), *idle, processes)
	}
	for _, conn := range clients { // not earlier: the garbage collector closes what nobody needs
		conn.Close()
	}
	stop()
	running.Wait()
	fmt.Println("01-blocking: bye")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "01-blocking:", err)
		os.Exit(1)
	}
}
