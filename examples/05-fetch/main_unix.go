//go:build unix

// Lesson 5: a client. It fetches many pages at once, in one goroutine, by
// connect, send and receive that never wait and a callback after each. Beside
// it the plain way: one page after another, waiting each time. The slow server
// is part of the program.
//
//	go run ./examples/05-fetch
//	go run ./examples/05-fetch -n 200 -delay 1s -skip
//
// The lesson is in fetch_unix.go; here is what surrounds it.
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

	"goselectors/selectors"
)

// request is the same for all pages. With HTTP/1.0 the end of the connection
// is the end of the page.
var request = []byte("GET / HTTP/1.0\r\n\r\n")

// serve answers every request after a while.
func serve(delay time.Duration) *net.TCPAddr {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err)
	page := bytes.Repeat([]byte("slow "), 2000)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(delay)
		w.Write(page)
	}))
	return listener.Addr().(*net.TCPAddr)
}

// oneByOne fetches n pages by calls that wait.
func oneByOne(ctx context.Context, addr *net.TCPAddr, n int) (bytes int, err error) {
	for range n {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return bytes, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // or Ctrl-C would have to wait, too
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

// atOnce fetches them by callbacks: it starts all, and then there is only the
// loop.
func (l *loop) atOnce(ctx context.Context, addr *net.TCPAddr, n int) (bytes int, err error) {
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
	n := flag.Int("n", 20, "fetch so `many` pages, up to 1000")
	delay := flag.Duration("delay", 200*time.Millisecond, "the server takes so `long` for each")
	backend := flag.String("backend", "", "use the `backend` of this name instead of the best")
	skip := flag.Bool("skip", false, "leave out the slow way")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: 05-fetch [-n pages] [-delay time] [-backend name] [-skip]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *backend != "" {
		os.Setenv(selectors.BackendEnv, *backend) // NewDefaultSelector looks at it
	}
	sel, err := selectors.NewDefaultSelector()
	if flag.NArg() > 0 || *n < 1 || *n > 1000 || *delay < 0 || err != nil {
		if err != nil {
			fmt.Fprintln(os.Stderr, "05-fetch:", err)
		}
		flag.Usage()
		os.Exit(2)
	}
	defer sel.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	addr := serve(*delay)
	fmt.Printf("05-fetch: the server on %v takes %v for a page\n", addr, *delay)
	for _, way := range []struct {
		name  string
		fetch func(context.Context, *net.TCPAddr, int) (int, error)
	}{{"one by one", oneByOne}, {"all at once", (&loop{sel: sel}).atOnce}} {
		if *skip && way.name == "one by one" {
			continue
		}
		start := time.Now()
		bytes, err := way.fetch(ctx, addr, *n)
		if ctx.Err() != nil {
			break
		}
		check(err)
		fmt.Printf("  %-12s %d pages, %d bytes, %v\n", way.name, *n, bytes, time.Since(start).Round(time.Millisecond))
	}
	fmt.Println("05-fetch: try -n 500 -delay 1s -skip; bye")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "05-fetch:", err)
		os.Exit(1)
	}
}
