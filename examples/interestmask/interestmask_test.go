//go:build unix

package interestmask_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goselectors/eventloop"
	"goselectors/examples/interestmask"
	"goselectors/selectors"
)

const timeout = 20 * time.Second

// A multi is a small library of the kind: it transfers pages over sockets of its own and
// never waits. All transfers begin when its timer expires for the first time.
type multi struct {
	driver    *interestmask.Driver
	addresses []string
	transfers map[int]*transfer // by socket
	results   map[string]string // by address
	calls     int               // of SocketReady
	setErr    error             // first error of the driver
}

// A transfer connects, sends a request, pauses, and reads the answer.
type transfer struct {
	address string
	sent    bool
	paused  bool
	answer  strings.Builder
}

const pause = 50 * time.Millisecond

func (m *multi) set(fd int, mask interestmask.Mask) {
	if err := m.driver.SetSocket(fd, mask); err != nil && m.setErr == nil {
		m.setErr = err
	}
}

// TimerExpired starts the transfers. Later it continues those that are paused.
func (m *multi) TimerExpired() {
	for _, address := range m.addresses {
		m.start(address)
	}
	m.addresses = nil
	for fd, t := range m.transfers {
		if t.paused {
			t.paused = false
			m.set(fd, interestmask.In)
		}
	}
}

func (m *multi) start(address string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		tcp, _ := net.ResolveTCPAddr("tcp", address)
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())})
	}
	if err != nil && err != unix.EINPROGRESS {
		m.results[address] = err.Error()
		return
	}
	m.transfers[fd] = &transfer{address: address}
	m.set(fd, interestmask.Out)
}

func (m *multi) SocketReady(fd int, ready interestmask.Readiness) {
	m.calls++
	t := m.transfers[fd]
	switch {
	case t == nil || t.paused:
		m.results[fmt.Sprint("unexpected call for ", fd)] = fmt.Sprint(ready)
	case ready&interestmask.Failed != 0: // with select a call fails instead
		_, err := unix.Read(fd, make([]byte, 1))
		m.finish(fd, fmt.Sprint(err))
	case ready&interestmask.Writable != 0 && !t.sent:
		if _, err := unix.Write(fd, []byte("page of "+t.address+"\n")); err != nil {
			m.finish(fd, err.Error())
			return
		}
		t.sent, t.paused = true, true
		m.set(fd, interestmask.InOut)
		m.set(fd, interestmask.None) // the answer comes in the meantime
		m.driver.SetTimer(pause)
	case ready&interestmask.Readable != 0:
		buf := make([]byte, 5)
		n, err := unix.Read(fd, buf)
		switch {
		case n > 0:
			t.answer.Write(buf[:n])
		case err == nil:
			m.finish(fd, t.answer.String())
		case err != unix.EAGAIN:
			m.finish(fd, err.Error())
		}
	}
}

func (m *multi) finish(fd int, result string) {
	m.results[m.transfers[fd].address] = result
	delete(m.transfers, fd)
	m.set(fd, interestmask.Remove)
	unix.Close(fd)
}

// startServer answers one line in upper case and closes the connection.
func startServer(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, strings.ToUpper(line))
			conn.Close()
		}
	}()
	return l.Addr().String()
}

func eachLoop(t *testing.T, test func(t *testing.T, loop *eventloop.Loop)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			loop, err := eventloop.New(eventloop.WithSelector(sel), eventloop.WithDebug())
			if err != nil {
				t.Fatal(err)
			}
			defer loop.Close()
			test(t, loop)
		})
	}
}

// TestTransfers runs several transfers at the same time, one of which fails. While they
// are paused, their sockets become readable, and the loop must sleep.
func TestTransfers(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		closed.Close()
		m := &multi{transfers: make(map[int]*transfer), results: make(map[string]string)}
		want := map[string]string{closed.Addr().String(): unix.ECONNREFUSED.Error()}
		m.addresses = []string{closed.Addr().String()}
		for range 5 {
			address := startServer(t)
			m.addresses = append(m.addresses, address)
			want[address] = strings.ToUpper("page of " + address + "\n")
		}
		m.driver = interestmask.NewDriver(loop, m)
		if err := m.driver.SetTimer(0); err != nil || len(m.transfers) > 0 {
			t.Fatalf("SetTimer has called the library, or failed: %v", err)
		}
		for deadline := time.Now().Add(timeout); len(m.results) < len(want); {
			if _, err := loop.RunOnce(time.Second); err != nil || time.Now().After(deadline) {
				t.Fatalf("%v or a timeout; results so far: %q", err, m.results)
			}
		}
		if diff := cmp.Diff(want, m.results); diff != "" || m.setErr != nil {
			t.Errorf("error of SetSocket: %v; results (-want +got):\n%s", m.setErr, diff)
		}
		if n := loop.Selector().Len(); n > 0 {
			t.Errorf("%d sockets are still registered", n)
		}
		// A connect, a write and about ten reads for each.
		if turns := loop.Stats().Turns; m.calls > 100 || turns > 200 {
			t.Errorf("%d calls in %d turns", m.calls, turns)
		}
	})
}

// recorder is a library that records its calls.
type recorder struct{ ready []interestmask.Readiness }

func (r *recorder) SocketReady(_ int, ready interestmask.Readiness) { r.ready = append(r.ready, ready) }
func (r *recorder) TimerExpired()                                   { r.ready = append(r.ready, -1) }

// TestMasks sets masks in any order, on a socket that is readable and writable.
func TestMasks(t *testing.T) {
	const (
		none, in, out = interestmask.None, interestmask.In, interestmask.Out
		inOut, remove = interestmask.InOut, interestmask.Remove
	)
	want := map[interestmask.Mask][]interestmask.Readiness{
		in:    {interestmask.Readable},
		out:   {interestmask.Writable},
		inOut: {interestmask.Readable | interestmask.Writable},
	}
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[0])
		defer unix.Close(fds[1])
		unix.Write(fds[1], []byte("x"))
		r := &recorder{}
		d := interestmask.NewDriver(loop, r)
		var before interestmask.Mask = -1
		for _, mask := range []interestmask.Mask{none, in, none, out, inOut, in, inOut, none, none, remove, out, in, remove, remove, inOut} {
			r.ready = nil
			if err := d.SetSocket(fds[0], mask); err != nil {
				t.Errorf("%d after %d: %v", mask, before, err)
			}
			loop.RunOnce(0)
			if diff := cmp.Diff(want[mask], r.ready); diff != "" {
				t.Errorf("%d after %d (-want +got):\n%s", mask, before, diff)
			}
			before = mask
		}
		d.SetSocket(fds[0], remove)
	})
}

// TestReusedNumber requires that a socket gets its events although its number belonged
// to one that the library has closed without Remove.
func TestReusedNumber(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		r := &recorder{}
		d := interestmask.NewDriver(loop, r)
		for _, mask := range []interestmask.Mask{interestmask.In, interestmask.Out, interestmask.Out} {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.SetSocket(fds[0], mask); err != nil {
				t.Error(err)
			}
			r.ready = nil
			loop.RunOnce(0)
			if got := len(r.ready) == 1 && r.ready[0] == interestmask.Writable; got != (mask == interestmask.Out) {
				t.Errorf("mask %d: %v", mask, r.ready)
			}
			unix.Close(fds[0])
			unix.Close(fds[1])
			defer d.SetSocket(fds[0], interestmask.Remove)
		}
	})
}

func TestTimer(t *testing.T) {
	eachLoop(t, func(t *testing.T, loop *eventloop.Loop) {
		r := &recorder{}
		d := interestmask.NewDriver(loop, r)
		for _, after := range []time.Duration{time.Hour, -1, -1, 0, time.Millisecond} {
			if err := d.SetTimer(after); err != nil {
				t.Error(err)
			}
		}
		for deadline := time.Now().Add(timeout); len(r.ready) == 0 && time.Now().Before(deadline); {
			loop.RunOnce(time.Second)
		}
		loop.RunOnce(10 * time.Millisecond)
		if len(r.ready) != 1 || loop.Alive() {
			t.Errorf("the timer has expired %d times, and one is active: %v", len(r.ready), loop.Alive())
		}
	})
}
