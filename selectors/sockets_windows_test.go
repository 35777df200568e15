package selectors_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"goselectors/selectors"
	"goselectors/selectors/internal/fdtest"
)

// eachSelector runs a test with a selector of every backend.
func eachSelector(t *testing.T, test func(t *testing.T, s selectors.Selector)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			s, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test(t, s)
		})
	}
}

// socket makes a non-blocking socket.
func socket(t *testing.T) windows.Handle {
	t.Helper()
	s, err := windows.WSASocket(windows.AF_INET, windows.SOCK_STREAM, 0, nil, 0, windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { windows.Closesocket(s) })
	on := uint32(1)
	ioctl := windows.NewLazySystemDLL("ws2_32.dll").NewProc("ioctlsocket")
	if n, _, err := ioctl.Call(uintptr(s), 0x8004667e, uintptr(unsafe.Pointer(&on))); n != 0 {
		t.Fatal(err)
	}
	return s
}

// dial makes a connection of package net and the other end of it.
func dial(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// TestWindowsConnectRefused: before Windows 10 2004, WSAPoll did not report a
// failed connect, so that libraries waited for ever.
func TestWindowsConnectRefused(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close() // the port is closed now
	for _, interest := range []selectors.Event{selectors.EventRead, selectors.EventWrite, selectors.EventRead | selectors.EventWrite} {
		eachSelector(t, func(t *testing.T, s selectors.Selector) {
			fd := socket(t)
			key, err := s.Register(uintptr(fd), interest, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = windows.Connect(fd, &windows.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
			if err != windows.WSAEWOULDBLOCK && err != windows.WSAECONNREFUSED {
				t.Fatalf("connect: %v", err)
			}
			// Windows tries three times, which takes two seconds.
			until := time.Now().Add(fdtest.Timeout)
			for {
				batch, err := s.Select(time.Until(until))
				if err != nil {
					t.Fatal(err)
				}
				if len(batch) == 1 && batch[0].Key == key && batch[0].Events&interest == interest && batch[0].Events&selectors.EventError != 0 {
					return
				}
				if len(batch) == 0 {
					t.Fatalf("a refused connect was not reported in %v, with interest %v", fdtest.Timeout, interest)
				}
			}
		})
	}
}

// TestWindowsConnect: a successful connect is reported as writable.
func TestWindowsConnect(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		fd := socket(t)
		if _, err := s.Register(uintptr(fd), selectors.EventWrite, nil); err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := windows.Connect(fd, &windows.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil && err != windows.WSAEWOULDBLOCK {
			t.Fatal(err)
		}
		server, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if batch, err := s.Select(fdtest.Timeout); err != nil || len(batch) != 1 || batch[0].Events != selectors.EventWrite {
			t.Fatalf("the batch is %v, %v; want the connect, writable", batch, err)
		}
	})
}

// TestWindowsManySockets: more sockets than FD_SETSIZE, which is 64.
func TestWindowsManySockets(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		var servers []*net.TCPConn
		for range 150 {
			client, server := dial(t)
			if _, err := s.Register(client, selectors.EventRead, len(servers)); err != nil {
				t.Fatal(err)
			}
			servers = append(servers, server)
		}
		for _, server := range servers {
			if _, err := server.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[any]bool{}
		for until := time.Now().Add(fdtest.Timeout); len(seen) < len(servers) && time.Now().Before(until); {
			batch, err := s.Select(fdtest.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range batch {
				seen[r.Key.Data] = true
			}
		}
		if len(seen) != len(servers) {
			t.Errorf("%d sockets were reported, want %d", len(seen), len(servers))
		}
	})
}

// TestWindowsNumbers: numbers that are not sockets, and that would make the table
// of keys very large.
func TestWindowsNumbers(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, number := range []int{0, 1, 2, 3, 4, 1 << 20, 1 << 26, 1<<31 - 4} {
			_, err := s.Register(number, selectors.EventRead, nil)
			if !errors.Is(err, windows.WSAENOTSOCK) && !errors.Is(err, selectors.ErrFDTooLarge) {
				t.Errorf("Register(%d) is %v", number, err)
			}
		}
		if n := s.Len(); n != 0 {
			t.Errorf("Len is %d", n)
		}
	})
}

// TestWindowsReuse: a handle is closed while it is registered, and then refers to
// another socket.
func TestWindowsReuse(t *testing.T) {
	eachSelector(t, func(t *testing.T, s selectors.Selector) {
		bind := func(fd windows.Handle) {
			if err := windows.Bind(fd, &windows.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
		}
		old := socket(t)
		if _, err := s.Register(uintptr(old), selectors.EventRead, "old"); err != nil {
			t.Fatal(err)
		}
		// A port that it gets later does not make it another socket.
		bind(old)
		if _, err := s.Register(uintptr(old), selectors.EventRead, "again"); !errors.Is(err, selectors.ErrRegistered) {
			t.Errorf("Register of a socket that was bound meanwhile is %v, want ErrRegistered", err)
		}
		if _, err := s.Modify(uintptr(old), selectors.EventWrite, "old"); err != nil { // the port is known now
			t.Fatal(err)
		}
		windows.Closesocket(old)
		for range 200 {
			fd := socket(t)
			if fd != old {
				continue
			}
			bind(fd)
			key, err := s.Register(uintptr(fd), selectors.EventRead, "new")
			if err != nil || s.Len() != 1 {
				t.Fatalf("Register of the new socket is %v, %v, Len %d", key, err, s.Len())
			}
			return
		}
		t.Skip("the number did not come back")
	})
}

// TestWindowsTry: the calls that do not wait, on connections of package net, which
// are in blocking mode, and on socket numbers.
func TestWindowsTry(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ready := func(fileobj any, events selectors.Event) {
		t.Helper()
		s, err := selectors.NewDefaultSelector()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Register(fileobj, events, nil); err != nil {
			t.Fatal(err)
		}
		if batch, err := s.Select(fdtest.Timeout); err != nil || len(batch) != 1 {
			t.Fatalf("Select is %v, %v", batch, err)
		}
	}
	if _, err := selectors.TryAccept(l); err != selectors.ErrWouldBlock {
		t.Fatalf("TryAccept without a connection is %v", err)
	}
	if _, err := selectors.TryAcceptFD(l); err != selectors.ErrWouldBlock {
		t.Fatalf("TryAcceptFD without a connection is %v", err)
	}
	client, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ready(l, selectors.EventRead)
	server, err := selectors.TryAccept(l)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	// If a call waits, closing its connection ends it.
	watchdog := time.AfterFunc(2*fdtest.Timeout, func() { client.Close() })
	defer watchdog.Stop()

	buf := make([]byte, 1<<16)
	if n, err := selectors.TryRead(client, buf); n != 0 || err != selectors.ErrWouldBlock {
		t.Fatalf("TryRead without data is %d, %v", n, err)
	}
	if n, err := selectors.TryWrite(server, []byte("hello")); n != 5 || err != nil {
		t.Fatalf("TryWrite is %d, %v", n, err)
	}
	ready(client, selectors.EventRead)
	if n, err := selectors.TryRead(client, buf); string(buf[:n]) != "hello" || err != nil {
		t.Fatalf("TryRead is %q, %v", buf[:n], err)
	}
	// Write until the buffer is full. No call may wait.
	sent := 0
	for until := time.Now().Add(fdtest.Timeout); ; {
		n, err := selectors.TryWrite(server, buf)
		if sent += n; err == selectors.ErrWouldBlock {
			break
		} else if err != nil || time.Now().After(until) {
			t.Fatalf("TryWrite after %d bytes: %v", sent, err)
		}
	}
	// The methods of package net still work.
	go func() { io.CopyN(io.Discard, client, int64(sent)+2); client.Write([]byte("ok")) }()
	if _, err := server.Write([]byte("!!")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(server, buf[:2]); string(buf[:n]) != "ok" || err != nil {
		t.Fatalf("net.Conn.Read is %q, %v", buf[:n], err)
	}
	server.Close()
	ready(client, selectors.EventRead)
	if n, err := selectors.TryRead(client, buf); n != 0 || err != io.EOF {
		t.Fatalf("TryRead at the end is %d, %v", n, err)
	}

	second, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	ready(l, selectors.EventRead)
	fd, err := selectors.TryAcceptFD(l)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.Closesocket(windows.Handle(fd))
	if _, err := selectors.TryRead(fd, buf); err != selectors.ErrWouldBlock {
		t.Fatalf("TryRead of a number without data is %v", err)
	}
	if n, err := selectors.TryWrite(fd, []byte("number")); n != 6 || err != nil {
		t.Fatalf("TryWrite to a number is %d, %v", n, err)
	}
	if n, err := io.ReadFull(second, buf[:6]); string(buf[:n]) != "number" || err != nil {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
}
