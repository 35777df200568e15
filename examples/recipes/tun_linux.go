package recipes

import (
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// OpenTun creates a tun interface, or attaches to a persistent one, and returns its
// descriptor and name. A name like "tun%d" lets the kernel choose the number.
// IFF_TAP instead of IFF_TUN gives Ethernet frames. The descriptor is to be
// registered only when OpenTun has returned: before TUNSETIFF poll(2) says POLLERR,
// and epoll does not get any later event (tun_chr_poll in drivers/net/tun.c).
// os.OpenFile registers with Go's runtime at once (golang/go#30426).
func OpenTun(name string) (int, string, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return -1, "", err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return -1, "", err
	}
	return fd, request.Name(), nil
}

// WatchTun calls packet with each packet that the kernel sends to the interface. The
// packet is valid during the call. When the interface is deleted, the error is EBADFD.
func WatchTun(sel selectors.Selector, fd int, packet func(p []byte, err error)) error {
	buf := make([]byte, 65536) // a packet that does not fit is truncated
	_, err := sel.Register(fd, selectors.EventRead, func(selectors.Ready) {
		// Each read returns one packet. After a limited number the handler returns: what is left
		// is reported again, and other files get their turn.
		for range 64 {
			n, err := selectors.TryRead(fd, buf)
			if err == selectors.ErrWouldBlock {
				return
			}
			if err != nil {
				Close(sel, fd)
			}
			packet(buf[:n], err)
			if err != nil {
				return
			}
		}
	})
	return err
}
