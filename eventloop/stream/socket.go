package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// A boundSocket is a duplicate of a listening or UDP socket that package net
// has made. The original is closed, because Go's runtime polls it and would
// wake up for all events of the duplicate.
type boundSocket struct {
	fd   int // -1 after close
	addr net.Addr
	path string // file of a Unix socket, to remove on close; may be empty
}

// listen makes a listening socket with package net.
func listen(network, address string, o *options) (boundSocket, error) {
	noSocket := boundSocket{fd: -1}
	if err := checkNetwork(network, "tcp", "tcp4", "tcp6", "unix"); err != nil {
		return noSocket, err
	}
	config, err := listenConfig(network, o)
	if err != nil {
		return noSocket, err
	}
	l, err := config.Listen(context.Background(), network, address)
	if err != nil {
		return noSocket, err
	}
	defer l.Close()
	fd, err := duplicate(l.(syscall.Conn))
	if err != nil {
		return noSocket, err
	}
	s := boundSocket{fd: fd, addr: l.Addr()}
	if l, ok := l.(interface{ SetUnlinkOnClose(bool) }); ok {
		l.SetUnlinkOnClose(false)
		if s.path = s.addr.String(); strings.HasPrefix(s.path, "@") {
			s.path = "" // the abstract namespace of Linux has no files
		}
	} else {
		setNoDelay(fd)
		setKeepAlive(fd, o.keepAlive)
	}
	return s, nil
}

// listenConfig returns the configuration of package net for a listening or UDP
// socket.
func listenConfig(network string, o *options) (config net.ListenConfig, err error) {
	// Package net turns Multipath TCP on by default. It is slower, and
	// it helps only if the client and the network support it.
	config.SetMultipathTCP(false)
	if o.reusePort {
		if !canReusePort || network == "unix" {
			return config, fmt.Errorf("stream: reuse port on network %s: %w", network, errors.ErrUnsupported)
		}
		config.Control = func(_, _ string, rc syscall.RawConn) (err error) {
			controlErr := rc.Control(func(fd uintptr) { err = reusePort(int(fd)) })
			return errors.Join(controlErr, err)
		}
	}
	return config, nil
}

// close closes the socket and removes its file.
func (s *boundSocket) close() {
	if s.path != "" {
		os.Remove(s.path)
	}
	closeFD(s.fd)
	s.fd = -1
}

// checkNetwork returns an error if the network is not one of supported, or if the
// platform is not supported.
func checkNetwork(network string, supported ...string) error {
	if !slices.Contains(supported, network) {
		return net.UnknownNetworkError(network)
	}
	if !platformSupported {
		return fmt.Errorf("stream: %w on this platform", errors.ErrUnsupported)
	}
	return nil
}
