//go:build !unix

package stream_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"goselectors/eventloop/stream"
)

type discardHandler struct{ stream.BaseHandler }

func (discardHandler) DatagramReceived(*stream.PacketConn, []byte, netip.AddrPort) {}
func (discardHandler) ErrorReceived(*stream.PacketConn, error)                     {}

// TestUnsupported checks the errors of the constructors on other systems.
func TestUnsupported(t *testing.T) {
	_, listenErr := stream.Listen(nil, "tcp", "127.0.0.1:0", func() stream.Handler { return discardHandler{} })
	_, dialErr := stream.Dial(context.Background(), nil, "tcp", "127.0.0.1:1", discardHandler{})
	_, wrapErr := stream.Wrap(nil, 0, discardHandler{})
	_, packetErr := stream.ListenPacket(nil, "udp", "127.0.0.1:0", discardHandler{})
	for _, err := range []error{listenErr, dialErr, wrapErr, packetErr} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v, want errors.ErrUnsupported", err)
		}
	}
}
