//go:build linux

package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"goselectors/eventloop/stream"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// modelSockets are listening sockets of peers, which many sequences use.
type modelSockets struct {
	dir     string
	count   int
	tcp     int // listening socket
	tcpAddr unix.Sockaddr
	tcpName string
	unix    int
}

func newModelSockets(t testing.TB) *modelSockets {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	s := &modelSockets{dir: dir, tcp: -1, unix: -1}
	t.Cleanup(func() {
		unix.Close(s.tcp)
		unix.Close(s.unix)
		os.RemoveAll(dir)
	})
	s.unix = mustFD(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))
	must(unix.Bind(s.unix, &unix.SockaddrUnix{Name: dir + "/l"}))
	must(unix.Listen(s.unix, 10))
	s.listenTCP()
	// Under the race detector, package selectors opens a file for good with the first
	// read or write.
	var ends [2]int
	must(unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	selectors.TryWrite(ends[1], make([]byte, 1))
	selectors.TryRead(ends[0], make([]byte, 1))
	unix.Close(ends[0])
	unix.Close(ends[1])
	return s
}

// listenTCP makes a listening socket on a new port. A port is good for some ten
// thousand connections, because each leaves a socket in the state TIME_WAIT.
func (s *modelSockets) listenTCP() {
	unix.Close(s.tcp)
	s.tcp = mustFD(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))
	smallBuffers(s.tcp)
	must(unix.Bind(s.tcp, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(unix.Listen(s.tcp, 10))
	addr, err := unix.Getsockname(s.tcp)
	must(err)
	s.tcpAddr, s.tcpName = addr, fmt.Sprintf("127.0.0.1:%d", addr.(*unix.SockaddrInet4).Port)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func mustFD(fd int, err error) int {
	must(err)
	return fd
}

// smallBuffers makes a TCP socket hold little data, in segments so small that a
// little room counts.
func smallBuffers(fd int) {
	must(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1000))
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10))
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10))
	must(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

func (r *modelRun) handler() stream.Handler {
	if r.modelConfig.hangup {
		return modelHangupHandler{modelHandler{r}}
	}
	return modelHandler{r}
}

func (r *modelRun) options() []stream.Option {
	opts := []stream.Option{stream.WithWaterMarks(r.high, r.low), stream.WithMaxUnsent(r.maxUnsent)}
	if r.hasFirstByte {
		opts = append(opts, stream.WithFirstByteTimeout(modelFirstByte))
	}
	return opts
}

// open makes the connection and its peer.
func (r *modelRun) open() error {
	switch s := r.sockets; r.origin {
	case byWrap:
		fd := r.pair()
		var err error
		r.conn, err = stream.Wrap(r.loop, fd, r.handler(), r.options()...)
		return err
	case byListen:
		return r.listen()
	default:
		network, address := "tcp", s.tcpName
		if r.network == unixNet {
			network, address = "unix", s.dir+"/l"
		}
		if r.origin == byRefusedDial {
			network, address = "unix", s.dir+"/refused"
			if r.network == tcpNet {
				network, address = "tcp", "127.0.0.1:1"
			} else if err := s.makeRefused(address); err != nil {
				return err
			}
		}
		var err error
		r.conn, err = stream.Dial(context.Background(), r.loop, network, address, r.handler(), r.options()...)
		return err
	}
}

// makeRefused makes a socket file where nothing listens.
func (s *modelSockets) makeRefused(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	fd := mustFD(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
}

// pair makes the file of a connection of Wrap, and its peer.
func (r *modelRun) pair() (fd int) {
	switch r.network {
	case tcpNet:
		r.peer = mustFD(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		smallBuffers(r.peer)
		r.connectPeer(r.sockets.nextTCP())
		fd, _, err := unix.Accept4(r.sockets.tcp, unix.SOCK_CLOEXEC)
		return mustFD(fd, err)
	case unixNet:
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(err)
		r.peer, fd = ends[0], ends[1]
		shrinkUnix(fd)
	default:
		var ends [2]int
		must(unix.Pipe2(ends[:], unix.O_CLOEXEC))
		fd, r.peer = ends[0], ends[1]
		if r.network == writePipe {
			fd, r.peer = r.peer, fd
		}
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 4096)
		must(err)
	}
	must(unix.SetNonblock(r.peer, true))
	return fd
}

func shrinkUnix(fd int) { must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10)) }

// nextTCP returns the address of the listening TCP socket, which is a new one from
// time to time.
func (s *modelSockets) nextTCP() unix.Sockaddr {
	if s.count++; s.count%5000 == 0 {
		s.listenTCP()
	}
	return s.tcpAddr
}

func (r *modelRun) connectPeer(addr unix.Sockaddr) {
	must(unix.Connect(r.peer, addr))
	must(unix.SetNonblock(r.peer, true))
}

// listen makes a listener, and connects the peer to it.
func (r *modelRun) listen() error {
	network, address, family := "tcp", "127.0.0.1:0", unix.AF_INET
	if r.network == unixNet {
		network, address, family = "unix", r.sockets.dir+"/s", unix.AF_UNIX
	}
	var err error
	if r.ln, err = stream.Listen(r.loop, network, address, r.handler, r.options()...); err != nil {
		return err
	}
	r.peer = mustFD(unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	if family == unix.AF_UNIX {
		r.connectPeer(&unix.SockaddrUnix{Name: address})
		return nil
	}
	smallBuffers(r.peer)
	r.connectPeer(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: r.ln.Addr().(*net.TCPAddr).Port})
	return nil
}

// acceptPeer gets the peer of a connection of Dial.
func (r *modelRun) acceptPeer() {
	if r.origin != byDial || r.peer >= 0 || r.peerGone {
		return
	}
	ln := r.sockets.tcp
	if r.network == unixNet {
		ln = r.sockets.unix
	}
	if fd, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK); err == nil {
		r.peer = fd
	}
}

// doPeer does an operation of the peer.
func (r *modelRun) doPeer(op *modelOp) bool {
	r.acceptPeer()
	switch op.verb {
	case "peer-write":
		if r.peer >= 0 && !r.peerFinished && r.network != writePipe {
			r.peerWrite(op.arg)
		}
	case "peer-read":
		r.peerReads(op.arg)
	case "peer-drain":
		r.drain()
	case "peer-finish":
		if r.peer >= 0 && r.network <= unixNet && !r.peerFinished {
			unix.Shutdown(r.peer, unix.SHUT_WR)
			r.peerFinished = true
			r.noteArrived()
		}
	case "peer-close":
		r.closePeer(false)
	case "peer-reset":
		r.closePeer(true)
	default:
		return false
	}
	return true
}

func (r *modelRun) peerWrite(n int) {
	if r.peerSent+n > len(modelBytes[1]) {
		return
	}
	n, err := unix.Write(r.peer, modelBytes[1][r.peerSent:r.peerSent+n])
	if err == nil {
		r.peerSent += n
	} else if err != unix.EAGAIN && r.life < inEnded {
		r.fail(fmt.Errorf("the peer cannot write: %w", err))
	}
	r.noteArrived()
}

// noteArrived looks how much of the peer's data this end's kernel has.
func (r *modelRun) noteArrived() {
	if r.network != tcpNet {
		r.arrived = r.peerSent
		return
	}
	if r.conn == nil || r.conn.FD() < 0 {
		return
	}
	if n, err := unix.IoctlGetUint32(r.conn.FD(), unix.TIOCINQ); err == nil {
		r.arrived = max(r.arrived, min(r.received+int(n), r.peerSent))
	}
}

// peerReads reads at most n bytes, and returns how many.
func (r *modelRun) peerReads(n int) int {
	if r.peer < 0 || r.network == readPipe || n == 0 {
		return 0
	}
	p := make([]byte, n)
	n, err := unix.Read(r.peer, p)
	if err != nil {
		if r.life < inEnded && err != unix.EAGAIN {
			r.fail(fmt.Errorf("the peer cannot read: %w", err))
		}
		return 0
	}
	limit := r.accepted
	if errors.Is(r.cause.err, stream.ErrTooMuchUnsent) {
		limit += r.rejected // a part of the write that was one too many
	}
	if r.peerRead+n > limit || !bytes.Equal(p[:n], modelBytes[0][r.peerRead:r.peerRead+n]) {
		r.fail(fmt.Errorf("the peer read %d wrong bytes after %d, %d were written", n, r.peerRead, r.accepted))
	}
	if n == 0 && r.life <= inConnected && r.writing == writeIsOpen {
		r.fail(errors.New("the peer reads the end of the data"))
	}
	r.peerRead += n
	if n > 0 {
		// The kernel of a TCP peer may have accepted the data long before.
		r.clock.peerTook(r.network != tcpNet && r.peerRead+r.view().unsent >= r.accepted)
	}
	return n
}

// drain makes the peer read until nothing comes any more.
func (r *modelRun) drain() {
	limit := time.Now().Add(settleTime)
	for tries := 0; ; tries++ {
		n := r.peerReads(64 << 10)
		r.settle()
		switch {
		case n > 0:
		case r.peer < 0 || !r.owesData() || len(r.errs) > 0:
			return
		case tries > 100 && time.Now().After(limit):
			r.fail(fmt.Errorf("the peer read %d bytes of %d", r.peerRead, r.accepted))
			return
		default:
			time.Sleep(100 * time.Microsecond)
		}
	}
}

func (r *modelRun) closePeer(reset bool) {
	if r.peer < 0 {
		return
	}
	r.noteArrived()
	pending := r.accepted - r.view().unsent - r.peerRead
	r.peerReset = pending > 0 || reset && r.network == tcpNet
	if reset && r.network == tcpNet {
		unix.SetsockoptLinger(r.peer, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(r.peer)
	r.peer, r.peerGone = -1, true
	r.peerFinished = r.peerFinished || !r.peerReset
}
