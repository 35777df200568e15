// Soak runs servers on a group of loops under random clients for as long as it is
// told, and reports whether something grows. Clients and servers are one process
// and use loopback addresses only.
//
//	go run ./examples/soak
//	go run ./examples/soak -time 30m -clients 64
//	SELECTORS_BACKEND=poll go run ./examples/soak -time 1m
//
// The clients pause several times a minute. Then soak counts the turns of the loops
// while connections in various states are open and silent, and, when all are closed,
// descriptors, goroutines and memory. It exits with status 1 if one of these figures
// has grown, if a client got other bytes than it should, or if a connection did not
// end as it should. The criterion is in report.go, the clients are in clients.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"goselectors/examples/internal/cli"
)

// A config is what the flags set.
type config struct {
	duration time.Duration
	clients  int
	seed     uint64
	out      io.Writer
}

// A soak is one run.
type soak struct {
	config
	server *server
	data   []byte // random
	ends   []endpoint
	start  time.Time

	running sync.RWMutex // a client holds it to read during a session, a pause to write
	ended   atomic.Bool  // clients start no session any more

	sessions []atomic.Int64 // by index in kinds
	bytes    atomic.Int64   // received by clients and compared

	mu       sync.Mutex // guards failures and out
	failures int
}

func main() {
	c := config{out: os.Stdout}
	flag.DurationVar(&c.duration, "time", time.Minute, "run for this `duration`, at least 2s")
	flag.IntVar(&c.clients, "clients", 32, "the `number` of clients, from 1 to 1000")
	flag.Uint64Var(&c.seed, "seed", 0, "the `number` that determines what the clients do; 0 means a new one")
	cli.BackendFlag()
	cli.Parse("soak")
	if c.duration < 2*time.Second || c.clients < 1 || c.clients > 1000 {
		cli.UsageError("-time must be at least 2s, and -clients from 1 to 1000")
	}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, c, newEcho)
	cli.Check(err)
	if !ok {
		os.Exit(1)
	}
}

// run runs clients against a new server until the time is over or ctx ends. It
// reports whether nothing has failed or grown.
func run(ctx context.Context, c config, echo handlerFunc) (ok bool, err error) {
	before := countAtStart()
	s := &soak{config: c, start: time.Now(), data: newData(c.seed), sessions: make([]atomic.Int64, len(kinds))}
	if s.server, s.ends, err = startServer(echo); err != nil {
		return false, err
	}
	s.printf("seed %d, %d clients, %v", c.seed, c.clients, c.duration)
	var clients sync.WaitGroup
	for i := range c.clients {
		clients.Add(1)
		go func() {
			defer clients.Done()
			s.client(i)
		}()
	}
	period := min(10*time.Second, c.duration/12)
	var samples []sample
	s.printf("%s", header())
	for ctx.Err() == nil && (time.Since(s.start) < c.duration || len(samples) < minSamples) {
		select {
		case <-ctx.Done():
		case <-time.After(period):
		}
		samples = append(samples, s.pause())
		s.printf("%s", samples[len(samples)-1])
	}
	s.ended.Store(true)
	clients.Wait()
	if err := s.server.stop(); err != nil {
		s.fail("shutdown: %v", err)
	}
	grown := s.report(samples)
	left := countAtEnd(before)
	s.printf("after the end: %d descriptors and %d goroutines more than before the start", left.descriptors, left.goroutines)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures == 0 && !grown && left.descriptors <= 0 && left.goroutines <= 0, nil
}

// pause waits until all sessions have ended, and takes a sample.
func (s *soak) pause() sample {
	s.running.Lock()
	defer s.running.Unlock()
	turns := s.idleTurns()
	if left := s.server.waitEmpty(); left > 0 {
		s.fail("all clients have closed their connections, but the server has not: %s", s.server.openByService())
	}
	return s.measure(turns)
}

// fail counts a failure and prints the first ones.
func (s *soak) fail(format string, args ...any) {
	s.mu.Lock()
	s.failures++
	n := s.failures
	s.mu.Unlock()
	if n <= 20 {
		s.printf("FAILED after %v: %s", time.Since(s.start).Round(time.Millisecond), fmt.Sprintf(format, args...))
	}
}

// printf prints a line.
func (s *soak) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}
