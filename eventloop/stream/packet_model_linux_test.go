package stream_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var packetSeeds = flag.Uint64("packet.seeds", 20, "number of random sequences of TestPacketModel for each backend")

// packetModel says what a socket does. Between two operations nothing is left to do.
type packetModel struct {
	open       bool
	target     string // of a connected socket: "peer" or "refused"; "" for an unconnected one
	recvErr    bool   // IP_RECVERR
	stamps     bool   // SO_TIMESTAMPING of sent datagrams
	onDatagram string // what the handler does with the next datagram: "", "close" or "panic"
}

// packetResult is what an operation does: the calls of the handler in any order, the
// number of datagrams that the peer gets, and whether a write is refused because the
// socket has ended or because it is connected.
type packetResult struct {
	Events    []string
	Delivered int
	Closed    int
	Connected int
}

var packetOps = []string{
	"open", "open connected to peer", "open connected to refused",
	"receive 1", "receive 3", "receive empty", "send peer", "send refused", "send refused and peer",
	"send refused and close", "recverr", "stamps", "handler closes", "handler panics", "close",
}

func (m *packetModel) apply(op string) (r packetResult) {
	end := func(by string) {
		if m.open {
			m.open = false
			r.Events = append(r.Events, "closed by "+by)
		}
	}
	send := func(to string) {
		switch {
		case !m.open:
			r.Closed++
			return
		case m.target != "" && m.target != to:
			r.Connected++
			return
		case to == "peer":
			r.Delivered++
		case m.recvErr:
			r.Events = append(r.Events, "error write refused: connection refused")
		case m.target != "":
			r.Events = append(r.Events, "error read refused: connection refused")
		}
		if m.stamps {
			r.Events = append(r.Events, "message true")
		}
	}
	receive := func(messages ...string) {
		for _, message := range messages {
			if !m.open || m.target == "refused" {
				return
			}
			r.Events = append(r.Events, fmt.Sprintf("datagram %q", message))
			switch m.onDatagram {
			case "close":
				end("nil")
			case "panic":
				end("panic in DatagramReceived")
			}
		}
	}
	switch op {
	case "open", "open connected to peer", "open connected to refused":
		end("nil")
		target := ""
		fmt.Sscanf(op, "open connected to %s", &target)
		*m = packetModel{open: true, target: target}
		r.Events = append(r.Events, "opened")
	case "receive 1":
		receive("a")
	case "receive 3":
		receive("a", "b", "c")
	case "receive empty":
		receive("")
	case "send peer":
		send("peer")
	case "send refused":
		send("refused")
	case "send refused and peer":
		send("refused")
		send("peer")
	case "send refused and close":
		send("refused")
		r.Events = nil
		end("nil")
	case "recverr":
		m.recvErr = m.open
	case "stamps":
		m.stamps = m.open
	case "handler closes":
		m.onDatagram = "close"
	case "handler panics":
		m.onDatagram = "panic"
	case "close":
		end("nil")
	}
	return r
}

// packetSystem does the same with real sockets.
type packetSystem struct {
	l       *testLoop
	h       *packets
	c       *stream.PacketConn
	peer    *net.UDPConn
	refused netip.AddrPort
	target  string
}

func (s *packetSystem) apply(op string, want packetResult) (r packetResult) {
	l := s.l
	l.do(func() { r = s.start(op) })
	// The events that must come, and a turn for those that must not.
	for range want.Events {
		select {
		case event := <-s.h.events:
			r.Events = append(r.Events, s.named(event))
		case <-time.After(testTimeout):
			l.Error("an event is missing")
		}
	}
	l.do(func() {})
	for len(s.h.events) > 0 {
		r.Events = append(r.Events, s.named(<-s.h.events))
	}
	for range want.Delivered {
		if _, err := s.peer.Read(make([]byte, 10)); err != nil {
			l.Error(err)
			break
		}
		r.Delivered++
	}
	return r
}

// named replaces the address, which is another one in each run.
func (s *packetSystem) named(event string) string {
	for _, op := range []string{"read", "write"} {
		if event == fmt.Sprintf("error %s %v: connection refused", op, s.refused) {
			return "error " + op + " refused: connection refused"
		}
	}
	return event
}

// start does the part of an operation that is done on the loop.
func (s *packetSystem) start(op string) (r packetResult) {
	send := func(to string) {
		var err error
		addr := map[string]netip.AddrPort{"peer": addrPortOf(s.peer.LocalAddr()), "refused": s.refused}[to]
		if s.target == to {
			_, err = s.c.Write([]byte("x"))
		} else {
			_, err = s.c.WriteTo([]byte("x"), addr)
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			r.Closed++
		case errors.Is(err, net.ErrWriteToConnected):
			r.Connected++
		case err != nil:
			s.l.Errorf("write to %s: %v", to, err)
		}
	}
	receive := func(messages ...string) {
		for _, message := range messages {
			if s.c.LocalAddr() != nil {
				s.peer.WriteToUDPAddrPort([]byte(message), addrPortOf(s.c.LocalAddr()))
			}
		}
	}
	switch op {
	case "open", "open connected to peer", "open connected to refused":
		s.open(op)
	case "receive 1":
		receive("a")
	case "receive 3":
		receive("a", "b", "c")
	case "receive empty":
		receive("")
	case "send peer":
		send("peer")
	case "send refused":
		send("refused")
	case "send refused and peer":
		send("refused")
		send("peer")
	case "send refused and close":
		send("refused")
		s.c.Close()
	case "recverr":
		if !s.c.Closed() {
			setOptions(s.l, s.c, recvErr)
		}
	case "stamps":
		if !s.c.Closed() {
			unix.SetsockoptInt(s.c.FD(), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_TX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE)
		}
	case "handler closes":
		s.h.onDatagram = func(c *stream.PacketConn, _ []byte, _ netip.AddrPort) { c.Close() }
	case "handler panics":
		s.h.onDatagram = func(*stream.PacketConn, []byte, netip.AddrPort) { panic("in the handler") }
	case "close":
		s.c.Close()
	}
	return r
}

func (s *packetSystem) open(op string) {
	s.c.Close()
	s.h.onDatagram, s.target = nil, ""
	fmt.Sscanf(op, "open connected to %s", &s.target)
	var err error
	switch s.target {
	case "peer":
		s.c, err = stream.DialPacket(context.Background(), s.l.Loop, "udp4", s.peer.LocalAddr().String(), s.h)
	case "refused":
		s.c, err = stream.DialPacket(context.Background(), s.l.Loop, "udp4", s.refused.String(), s.h)
	default:
		s.c, err = stream.ListenPacket(s.l.Loop, "udp4", "127.0.0.1:0", s.h)
	}
	if err != nil {
		s.l.Error(err)
		s.c = &stream.PacketConn{}
	}
}

// TestPacketModel compares sockets with the model in random sequences. In the end
// the loop sleeps, and nothing is left.
func TestPacketModel(t *testing.T) {
	eachPanicLoop(t, func(l *testLoop, _ *atomic.Int64) {
		before := descriptors(l)
		for seed := range *packetSeeds {
			random := rand.New(rand.NewPCG(seed, 0))
			peer := udpPeer(l)
			s := &packetSystem{l: l, h: newPackets(), c: &stream.PacketConn{}, peer: peer, refused: refusedAddr(l)}
			var m packetModel
			var ops []string
			for range 40 {
				op := packetOps[random.IntN(len(packetOps))]
				ops = append(ops, op)
				want := m.apply(op)
				got := s.apply(op, want)
				slices.Sort(want.Events)
				slices.Sort(got.Events)
				if diff := cmp.Diff(want, got); diff != "" {
					l.Fatalf("seed %d, after %q (-model +socket):\n%s", seed, ops, diff)
				}
			}
			l.do(func() { s.c.Close() })
			peer.Close()
		}
		l.quiet()
		l.do(func() {
			if n := l.Selector().Len(); n != 0 {
				l.Errorf("%d files are registered", n)
			}
		})
		waitAtMost(l, "descriptors", before, func() int { return descriptors(l) })
	})
}
