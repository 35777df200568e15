//go:build unix

// Lesson 5: a client. It fetches many pages at the same time in one goroutine.
// Connect, send and receive never wait; each has a callback. For comparison it
// first fetches the pages one after another with blocking calls. A slow server
// is part of the program.
//
//	go run ./examples/05-fetch
//	go run ./examples/05-fetch -n 200 -delay 1s -skip
//
// The lesson is in fetch_unix.go. This file has the server and the comparison.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

// request is the same for all pages. In HTTP/1.0 a page ends where the
// connection ends.
var request = []byte("GET / HTTP/1.0\r\n\r\n")

// serve starts a server that answers each request after the delay.
func serve(delay time.Duration) *net.TCPAddr {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	cli.Check(err)
	page := bytes.Repeat([]byte("slow "), 2000)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(delay)
		w.Write(page)
	}))
	return listener.Addr().(*net.TCPAddr)
}

// fetchOneByOne fetches n pages with blocking calls.
func fetchOneByOne(ctx context.Context, addr *net.TCPAddr, n int) (bytes int, err error) {
	for range n {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return bytes, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // Ctrl-C ends a blocking call
		_, err = conn.Write(request)
		var page []byte
		if err == nil {
			page, err = io.ReadAll(conn)
		}
		stop()
		conn.Close()
		if err != nil {
			return bytes, err
		}
		bytes += len(page)
	}
	return bytes, nil
}

// fetchAtOnce fetches n pages with callbacks: it starts all of them, and the
// loop does the rest.
func (l *loop) fetchAtOnce(ctx context.Context, addr *net.TCPAddr, n int) (bytes int, err error) {
	fetches := make([]fetch, n)
	for i := range fetches {
		fetches[i] = fetch{loop: l, request: request}
		fetches[i].connect(&unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())})
	}
	err = l.run(ctx)
	for _, f := range fetches {
		if f.err != nil {
			err = f.err
		}
		bytes += len(f.page)
	}
	return bytes, err
}

func main() {
	n := flag.Int("n", 20, "fetch this `number` of pages, from 1 to 1000")
	delay := flag.Duration("delay", 200*time.Millisecond, "the server waits for this `duration` before each answer")
	skip := flag.Bool("skip", false, "skip the slow way, one page after another")
	cli.BackendFlag()
	cli.Parse("05-fetch")
	if *n < 1 || *n > 1000 || *delay < 0 {
		cli.UsageError("-n must be from 1 to 1000, and -delay not negative")
	}
	sel, err := selectors.NewDefaultSelector()
	cli.Check(err)
	defer sel.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	addr := serve(*delay)
	cli.Printf("the server on %v answers after %v", addr, *delay)
	run := func(name string, fetch func(context.Context, *net.TCPAddr, int) (int, error)) {
		start := time.Now()
		bytes, err := fetch(ctx, addr, *n)
		if ctx.Err() == nil { // otherwise Ctrl-C ended it
			cli.Check(err)
			fmt.Printf("  %-12s %d pages, %d bytes, %v\n", name, *n, bytes, time.Since(start).Round(time.Millisecond))
		}
	}
	if !*skip {
		run("one by one", fetchOneByOne)
	}
	run("all at once", (&loop{sel: sel}).fetchAtOnce)
	if !*skip {
		cli.Printf("for more pages try: -n 500 -delay 1s -skip")
	}
	cli.Printf("bye")
}
