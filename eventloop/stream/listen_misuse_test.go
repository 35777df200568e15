//go:build unix

package stream_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// TestZeroListener checks that the methods of zero values are harmless.
func TestZeroListener(t *testing.T) {
	var ln stream.Listener
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := ln.Shutdown(context.Background(), func(error) { t.Error("done was called") }); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if ln.Addr() != nil || ln.Loop() != nil || ln.Len() != 0 {
		t.Error("a zero listener has an address, a loop or connections")
	}
	for range ln.Conns() {
		t.Error("a zero listener has a connection")
	}
	if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); err != nil {
		t.Errorf("descriptor 0 was closed: %v", err)
	}

	var g stream.Group
	newHandler := func() stream.Handler { return echo{} }
	var noContext context.Context
	for range 2 {
		if _, err := g.Listen("tcp", "127.0.0.1:0", newHandler); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := g.ListenFile(0, newHandler); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := g.Shutdown(noContext); err != nil {
			t.Error(err)
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if len(g.Loops()) != 0 {
			t.Error("a zero group has loops")
		}
	}
}

// TestListenErrors checks the form of the errors of Listen.
func TestListenErrors(t *testing.T) {
	eachBackend(t, func(l *testLoop) {
		newHandler := func() stream.Handler { return echo{} }
		used := l.listen("tcp", newHandler).Addr().String()
		closed := newLoop(l, selectors.Backends()[0])
		closed.Close()
		l.do(func() {
			for _, test := range []struct {
				loop             *eventloop.Loop
				network, address string
				newHandler       func() stream.Handler
				want             string
				is               error
			}{
				{nil, "tcp", "127.0.0.1:0", newHandler, "stream: listen tcp 127.0.0.1:0: nil loop", stream.ErrNilLoop},
				{l.Loop, "tcp", "127.0.0.1:0", nil, "stream: listen tcp 127.0.0.1:0: nil handler", stream.ErrNilHandler},
				{l.Loop, "tcp", used, newHandler, "stream: listen tcp " + used + ": bind: address already in use", unix.EADDRINUSE},
				{l.Loop, "udp", ":0", newHandler, "stream: listen udp :0: unknown network udp", net.UnknownNetworkError("udp")},
				{l.Loop, "tcp", "127.0.0.1", newHandler, "stream: listen tcp 127.0.0.1: address 127.0.0.1: missing port in address", nil},
				{closed, "tcp", "127.0.0.1:0", newHandler, "stream: listen tcp 127.0.0.1:0: eventloop: register: loop is closed", eventloop.ErrClosed},
			} {
				ln, err := stream.Listen(test.loop, test.network, test.address, test.newHandler, nil)
				if ln != nil || err == nil || err.Error() != test.want {
					l.Errorf("%v, %v, want %s", ln, err, test.want)
				}
				if test.is != nil && !errors.Is(err, test.is) {
					l.Errorf("%v is not %v", err, test.is)
				}
			}
		})
	})
}

// TestGroupErrors checks the errors of groups.
func TestGroupErrors(t *testing.T) {
	newHandler := func() stream.Handler { return echo{} }
	eachGroup(t, func(t *testing.T, g *stream.Group, network, address string) {
		if _, err := g.Listen("tcp", "127.0.0.1", newHandler); err == nil || !strings.HasPrefix(err.Error(), "stream: listen tcp 127.0.0.1: ") {
			t.Error(err)
		}
		if _, err := g.ListenFile("x", newHandler); err == nil || !strings.HasPrefix(err.Error(), "stream: listen string: ") {
			t.Error(err)
		}
		files := descriptors(t)
		var noContext context.Context
		if err := g.Loops()[2].Close(); err != nil {
			t.Error(err)
		}
		if _, err := g.Listen(network, address, newHandler); network == "tcp" && !errors.Is(err, eventloop.ErrClosed) {
			t.Errorf("Listen with an ended loop: %v", err)
		} else if network == "unix" && err != nil {
			t.Errorf("the first loop runs: %v", err)
		}
		if err := g.Shutdown(noContext); err != nil {
			t.Error(err)
		}
		if n := descriptors(t); n > files {
			t.Errorf("%d descriptors, before %d", n, files)
		}
	})
	var loops []*eventloop.Loop
	for name, newLoop := range map[string]func() (*eventloop.Loop, error){
		"nil loop": func() (*eventloop.Loop, error) {
			if len(loops) == 1 {
				return nil, nil
			}
			loop, err := eventloop.New()
			loops = append(loops, loop)
			return loop, err
		},
		"same loop": func() (*eventloop.Loop, error) {
			if len(loops) == 1 {
				return loops[0], nil
			}
			loop, err := eventloop.New()
			loops = append(loops, loop)
			return loop, err
		},
	} {
		loops = nil
		g, err := stream.NewGroup(2, newLoop)
		if g != nil || err == nil || name == "nil loop" && !errors.Is(err, stream.ErrNilLoop) {
			t.Errorf("%s: %v, %v", name, g, err)
		}
		if err := loops[0].Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) {
			t.Errorf("%s: the first loop was not closed: %v", name, err)
		}
	}
}
