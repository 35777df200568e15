// An echo server on a selector that package selectors does not have: one on
// Linux's asynchronous I/O, io_submit(2) with IOCB_CMD_POLL. All that it needs is
// in aio_linux.go: the six methods of a selectors.Facility. NewSelector does the
// rest, and an event loop runs on the result as on every other selector.
//
//	go run ./examples/customselector
//
// main_linux_test.go runs the conformance suite over it.
package main

import (
	"context"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/internal/cli"
	"goselectors/selectors"
)

func newSelector() (selectors.Selector, error) {
	a, err := newAIO()
	if err != nil {
		return nil, err
	}
	return selectors.NewSelector(a, selectors.FacilityTraits{Name: "aio", Features: features, Live: true}), nil
}

type echo struct{ stream.BaseHandler }

func (echo) DataReceived(c *stream.Conn, p []byte) { c.Write(p) }

// While a client does not read its answers, the server does not read from it.

func (echo) PauseWriting(c *stream.Conn)  { c.PauseReading() }
func (echo) ResumeWriting(c *stream.Conn) { c.ResumeReading() }

func main() {
	addr := cli.AddrFlag("127.0.0.1:8080")
	cli.Parse("customselector")
	sel, err := newSelector()
	cli.Check(err)
	loop, err := eventloop.New(eventloop.WithSelector(sel))
	cli.Check(err)
	defer loop.Close()
	listener, err := stream.Listen(loop, "tcp", *addr, func() stream.Handler { return echo{} })
	cli.Check(err)
	cli.StopOnInterrupt(loop)
	cli.Listening(listener.Addr(), sel.Features().String())
	cli.Check(loop.Run(context.Background()))
	cli.Printf("bye")
}
