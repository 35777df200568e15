package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// A boundSocket is a listening or UDP socket. One that package net has made is a
// duplicate: the original is closed, because Go's runtime polls it and would wake
// up for all events of the duplicate.
type boundSocket struct {
	fd     int // -1 after close
	addr   net.Addr
	id     fileID // of the socket itself; zero if not known
	file   socketFile
	shared bool // other processes may have the same open socket
}

// A socketFile is the file of a Unix socket. The zero value stands for no file.
type socketFile struct {
	path string // absolute, because the working directory may change
	id   fileID
}

// listen makes a listening socket with package net.
func listen(network, address string, o *options) (boundSocket, error) {
	if err := checkNetwork(network, "tcp", "tcp4", "tcp6", "unix"); err != nil {
		return boundSocket{fd: -1}, err
	}
	config, err := listenConfig(network, o)
	if err != nil {
		return boundSocket{fd: -1}, err
	}
	if network == "unix" {
		return listenUnix(config, address, o)
	}
	s, err := bindAndListen(config, network, address)
	if err == nil {
		s.setTCPOptions(o)
	}
	return s, err
}

// setTCPOptions sets the options that accepted connections inherit.
func (s *boundSocket) setTCPOptions(o *options) {
	setNoDelay(s.fd)
	setKeepAlive(s.fd, o.keepAlive)
}

// bindAndListen makes a listening socket. The caller takes care of its file.
func bindAndListen(config net.ListenConfig, network, address string) (boundSocket, error) {
	l, err := config.Listen(context.Background(), network, address)
	if err != nil {
		return boundSocket{fd: -1}, err
	}
	defer l.Close()
	fd, err := duplicate(l.(syscall.Conn))
	if err != nil {
		return boundSocket{fd: -1}, err // Close removes the file
	}
	if l, ok := l.(interface{ SetUnlinkOnClose(bool) }); ok { // *net.UnixListener, which plan9 has without it
		l.SetUnlinkOnClose(false)
	}
	s := boundSocket{fd: fd, addr: l.Addr()}
	s.id, _ = idOfFD(fd)
	return s, nil
}

// listenUnix makes a listening Unix socket and records the identity of its file.
func listenUnix(config net.ListenConfig, address string, o *options) (boundSocket, error) {
	if isAbstract(address) {
		return bindAndListen(config, "unix", address)
	}
	path, err := filepath.Abs(address)
	if err != nil {
		return boundSocket{fd: -1}, err
	}
	var s boundSocket
	if o.replaceStale {
		s, err = listenReplacing(config, path, address)
	} else {
		s, err = bindAndListen(config, "unix", address)
	}
	if err != nil {
		return s, err
	}
	if id, err := idOfSocketFile(path); err == nil {
		s.file = socketFile{path, id}
	}
	return s, nil
}

// listenReplacing makes a listening Unix socket in the place of one whose owner is
// dead. Between bind(2) and listen(2) of another process its socket looks as if its
// owner were dead, so the processes that use this function keep each other out with
// the lock of the directory.
func listenReplacing(config net.ListenConfig, path, address string) (boundSocket, error) {
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return boundSocket{fd: -1}, err
	}
	defer unlock()
	s, err := bindAndListen(config, "unix", address)
	if !isAddrInUse(err) {
		return s, err
	}
	id, idErr := idOfSocketFile(path)
	if idErr != nil || !hasDeadOwner(address) {
		return s, err
	}
	if stale := (socketFile{path, id}); !stale.remove() {
		return s, err
	}
	return bindAndListen(config, "unix", address)
}

// remove removes the file if it is still the one that was recorded, and reports
// whether it did.
func (f socketFile) remove() bool {
	id, err := idOfSocketFile(f.path)
	return err == nil && id == f.id && os.Remove(f.path) == nil
}

// listenConfig returns the configuration of package net for a listening or UDP
// socket.
func listenConfig(network string, o *options) (config net.ListenConfig, err error) {
	// Package net turns Multipath TCP on by default. It is slower, and
	// it helps only if the client and the network support it.
	config.SetMultipathTCP(false)
	if o.reusePort {
		if !canReusePort || network == "unix" {
			return config, fmt.Errorf("reuse port on network %s: %w", network, errors.ErrUnsupported)
		}
		config.Control = func(_, _ string, rc syscall.RawConn) (err error) {
			controlErr := rc.Control(func(fd uintptr) { err = reusePort(int(fd)) })
			return errors.Join(controlErr, err)
		}
	}
	return config, nil
}

// A holder says what a descriptor number stands for.
type holder uint8

const (
	heldByUs     holder = iota // the socket
	heldByNone                 // nothing: other code has closed the socket
	heldByOthers               // another file: other code has closed the socket, and the number was used again
)

// holder returns what the number of the socket stands for now.
func (s *boundSocket) holder() holder {
	id, err := idOfFD(s.fd)
	switch {
	case err != nil:
		return heldByNone
	case s.id != (fileID{}) && id != s.id:
		return heldByOthers
	}
	return heldByUs
}

// close closes the socket and removes its file, as far as they are still ours.
// The file is removed first: as long as the socket is open, the kernel keeps the
// inode of its file, and no other file can have the same number (unix_bind in
// net/unix/af_unix.c on Linux, unp_vnode in the BSDs).
func (s *boundSocket) close() {
	if s.holder() == heldByUs {
		if s.file.path != "" {
			s.file.remove()
		}
		closeFD(s.fd)
	}
	s.fd = -1
}

// checkNetwork returns an error if the network is not one of supported, or if the
// platform is not supported.
func checkNetwork(network string, supported ...string) error {
	if !slices.Contains(supported, network) {
		return net.UnknownNetworkError(network)
	}
	if !platformSupported {
		return fmt.Errorf("%w on this platform", errors.ErrUnsupported)
	}
	return nil
}
