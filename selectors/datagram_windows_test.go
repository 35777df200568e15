package selectors_test

import (
	"net"
	"net/netip"
	"testing"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// TestWindowsTryDatagrams: datagrams with their senders, between sockets of package
// net of both families.
func TestWindowsTryDatagrams(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		a, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Logf("no UDP on %s: %v", address, err)
			continue
		}
		defer a.Close()
		b, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		addrA, addrB := a.LocalAddr().(*net.UDPAddr).AddrPort(), b.LocalAddr().(*net.UDPAddr).AddrPort()
		s, err := selectors.NewDefaultSelector()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Register(a, selectors.EventRead, nil); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		if n, from, err := selectors.TryReadFrom(a, buf); n != 0 || from.IsValid() || err != selectors.ErrWouldBlock {
			t.Fatalf("TryReadFrom without a datagram is %d, %v, %v", n, from, err)
		}
		for _, message := range []string{"data", "", "more than 8 bytes"} {
			if n, err := selectors.TryWriteTo(b, []byte(message), addrA); n != len(message) || err != nil {
				t.Fatalf("TryWriteTo is %d, %v", n, err)
			}
			if batch, err := s.Select(fdtest.Timeout); err != nil || len(batch) != 1 {
				t.Fatalf("Select is %v, %v", batch, err)
			}
			n, from, err := selectors.TryReadFrom(a, buf)
			if want := message[:min(len(message), len(buf))]; string(buf[:n]) != want || from != addrB || err != nil {
				t.Fatalf("TryReadFrom is %q from %v, %v; want %q from %v", buf[:n], from, err, want, addrB)
			}
		}
		if _, err := selectors.TryWriteTo(b, nil, netip.AddrPort{}); err == nil {
			t.Error("no error for the zero address")
		}
	}
}
