// Httpd serves the files of a directory by HTTP/1.1, on as many loops as there
// are processors. It keeps connections alive, takes pipelined requests, and
// sends what it does not know the length of in chunks: lists of directories,
// and /ticks/5, which says something five times, a tenth of a second apart.
//
//	go run ./examples/httpd -addr 127.0.0.1:8080 -dir .
//	curl http://127.0.0.1:8080/README.md
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goselectors/eventloop/stream"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen at")
	dir := flag.String("dir", ".", "directory to serve")
	loops := flag.Int("loops", 0, "number of loops; 0: one a processor")
	flag.Parse()
	if err := run(*addr, *dir, *loops); err != nil {
		fmt.Fprintln(os.Stderr, "httpd:", err)
		os.Exit(1)
	}
	fmt.Println("httpd: bye")
}

func run(addr, dir string, loops int) error {
	root, err := os.OpenRoot(dir) // nothing outside it can be named
	if err != nil {
		return err
	}
	defer root.Close()
	g, err := stream.NewGroup(loops, nil)
	if err != nil {
		return err
	}
	// Each loop has a server of its own, with its own cache: so there are no
	// locks, and a loop never waits for another one.
	servers := make(map[any]*server)
	for _, loop := range g.Loops() {
		servers[loop] = &server{loop: loop, root: root, files: make(map[string]*file)}
	}
	at, err := g.Listen("tcp", addr, func() stream.Handler { return &client{servers: servers} },
		stream.WithIdleTimeout(time.Minute))
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	fmt.Println("httpd: listening on", at)
	<-signals
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return g.Shutdown(ctx)
}
