package recipes

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// deleteLink does what "ip link delete" does, in the namespace of the calling thread.
func deleteLink(name string) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	type request struct {
		unix.NlMsghdr
		unix.IfInfomsg
		unix.RtAttr
		Name [unix.IFNAMSIZ]byte
	}
	const size = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg + unix.SizeofRtAttr + unix.IFNAMSIZ
	r := request{
		NlMsghdr: unix.NlMsghdr{Len: size, Type: unix.RTM_DELLINK, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK},
		RtAttr:   unix.RtAttr{Len: unix.SizeofRtAttr + unix.IFNAMSIZ, Type: unix.IFLA_IFNAME},
	}
	copy(r.Name[:], name)
	if err := unix.Sendto(fd, (*[size]byte)(unsafe.Pointer(&r))[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var answer [128]byte
	n, err := unix.Read(fd, answer[:])
	if err != nil || n < unix.SizeofNlMsghdr+4 {
		return errors.Join(err, errors.New("no answer to RTM_DELLINK"))
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// A tunnel is a tun interface in a namespace of its own, and a UDP socket there.
type tunnel struct {
	thread  func(func() error) error
	fd, udp int
	name    string
}

func newTunnel(t *testing.T) *tunnel {
	t.Helper()
	l := &tunnel{thread: newNamespace(t, unix.CLONE_NEWNET)}
	err := l.thread(func() (err error) {
		l.fd, l.name, err = OpenTun("tun%d")
		return err
	})
	for _, unavailable := range []error{unix.ENOENT, unix.ENODEV, unix.ENXIO, unix.EPERM, unix.EACCES} {
		if errors.Is(err, unavailable) {
			t.Skip("needs /dev/net/tun: ", err)
		}
	}
	check(t, err)
	check(t, l.thread(func() (err error) {
		if l.udp, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		// Only the test's own packets: without IPv6 there are no router solicitations.
		os.WriteFile("/proc/sys/net/ipv6/conf/"+l.name+"/disable_ipv6", []byte("1"), 0)
		request, err := unix.NewIfreq(l.name)
		if err != nil {
			return err
		}
		return errors.Join(
			request.SetInet4Addr([]byte{192, 0, 2, 1}),
			unix.IoctlIfreq(l.udp, unix.SIOCSIFADDR, request),
			request.SetInet4Addr([]byte{192, 0, 2, 2}),
			unix.IoctlIfreq(l.udp, unix.SIOCSIFDSTADDR, request),
			setFlags(l.name, unix.IFF_UP))
	}))
	t.Cleanup(func() { unix.Close(l.udp) })
	return l
}

// send sends datagrams to the network behind the interface.
func (l *tunnel) send(payloads ...string) error {
	for _, p := range payloads {
		if err := unix.Sendto(l.udp, []byte(p), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 2}}); err != nil {
			return err
		}
	}
	return nil
}

// TestTun sends datagrams, of which each is one packet, and deletes the interface.
func TestTun(t *testing.T) {
	type report struct {
		Payload string
		Err     error
	}
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		l := newTunnel(t)
		var reports log[report]
		check(t, WatchTun(sel, l.fd, func(p []byte, err error) {
			const headers = 20 + 8 // IPv4 and UDP
			if err == nil && len(p) >= headers && p[9] == unix.IPPROTO_UDP {
				reports.add(report{string(p[headers:]), nil})
			} else if err != nil {
				reports.add(report{"", err})
			}
		}))
		expect(t, sel, &reports, nothing)
		expect(t, sel, &reports, func() error { return l.send("one") }, report{Payload: "one"})
		expect(t, sel, &reports, func() error { return l.send("two", "", "four") },
			report{Payload: "two"}, report{Payload: ""}, report{Payload: "four"})
		expect(t, sel, &reports, func() error {
			return l.thread(func() error { return deleteLink(l.name) })
		}, report{Err: unix.EBADFD})
		expectKeys(t, sel, 0)
	})
}

// TestTunRegisteredEarly requires the reports that the documentation describes when a
// descriptor is registered before it has an interface.
func TestTunRegisteredEarly(t *testing.T) {
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skip("needs /dev/net/tun: ", err)
		}
		t.Cleanup(func() { Close(sel, fd) })
		_, err = sel.Register(fd, selectors.EventRead, nil)
		check(t, err)
		batch, err := sel.Select(timeout)
		check(t, err)
		if len(batch) != 1 {
			t.Fatal("a descriptor without an interface is not reported")
		}
		if n, err := selectors.TryRead(fd, make([]byte, 1)); !errors.Is(err, unix.EBADFD) {
			t.Errorf("read %d, %v, want EBADFD", n, err)
		}
	})
}
