//go:build !unix

package stream_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"goselectors/eventloop/stream"
)

type nothing struct{ stream.BaseHandler }

func (nothing) DatagramReceived(*stream.PacketConn, []byte, netip.AddrPort) {}
func (nothing) ErrorReceived(*stream.PacketConn, error)                     {}

// TestUnsupported checks the errors where no connection can be made.
func TestUnsupported(t *testing.T) {
	_, listening := stream.Listen(nil, "tcp", "127.0.0.1:0", func() stream.Handler { return nothing{} })
	_, dialing := stream.Dial(context.Background(), nil, "tcp", "127.0.0.1:1", nothing{})
	_, wrapping := stream.Wrap(nil, 0, nothing{})
	_, packets := stream.ListenPacket(nil, "udp", "127.0.0.1:0", nothing{})
	for _, err := range []error{listening, dialing, wrapping, packets} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v, want errors.ErrUnsupported", err)
		}
	}
}
