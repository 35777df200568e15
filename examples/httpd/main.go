// Httpd serves the files of a directory over HTTP/1.1, on as many event loops as
// there are processors. It supports persistent connections and pipelined
// requests. A response of unknown length is sent in chunks: the list of a
// directory, and /ticks/5, which sends five lines at intervals of 100 ms.
//
//	go run ./examples/httpd -addr 127.0.0.1:8080 -dir .
//	curl http://127.0.0.1:8080/README.md
//
// Any other HTTP client works too, such as a browser.
package main

import (
	"cmp"
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/examples/internal/cli"
	"goselectors/examples/internal/server"
)

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	dir := flag.String("dir", ".", "serve the files of this `directory`")
	loops := flag.Int("loops", 0, "`number` of event loops; 0 means one per processor")
	server.Main("httpd", func() error { return run(*addr, *dir, *loops) })
}

func run(addr, dir string, loops int) error {
	root, err := os.OpenRoot(dir) // rejects every name outside dir
	if err != nil {
		return err
	}
	defer root.Close()
	group, err := stream.NewGroup(loops, nil)
	if err != nil {
		return err
	}
	// Each loop has its own state and cache. So there are no locks, and no loop waits
	// for another one.
	loopStates := make(map[any]*loopState)
	for _, loop := range group.Loops() {
		loopStates[loop] = &loopState{loop: loop, root: root, files: make(map[string]*file)}
	}
	listenAddr, err := group.Listen("tcp", addr, func() stream.Handler { return &client{loopStates: loopStates} },
		stream.WithIdleTimeout(time.Minute))
	if err == nil {
		interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		server.Listening(listenAddr)
		<-interrupted.Done()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return cmp.Or(err, group.Shutdown(ctx))
}
