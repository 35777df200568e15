package selectors

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"goselectors/selectors/internal/sys"
)

// expectFullSleep checks that a sleep does not end early. Something that ends every
// sleep makes Select spin, which cannot be seen from outside.
func expectFullSleep(t *testing.T, s Selector, b backend, why string) {
	t.Helper()
	const timeout = 60 * time.Millisecond
	if _, err := s.Select(0); err != nil { // prepares the backend
		t.Fatal(err)
	}
	begin := time.Now()
	if n, err := b.sleep(timeout); n != 0 || err != nil || time.Since(begin) < timeout/2 {
		t.Errorf("%s: a sleep of %v ended after %v with %d, %v", why, timeout, time.Since(begin), n, err)
	}
}

// eachBackend runs a test over the backends, with a selector and its backend.
func eachBackend(t *testing.T, test func(t *testing.T, s Selector, b backend)) {
	p, err := NewPollSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s, err := NewSelectSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Run("poll", func(t *testing.T) { test(t, p, &p.poll) })
	t.Run("select", func(t *testing.T) { test(t, s, &s.fdsets) })
}

// TestWindowsWakeOnce: a wake ends one sleep only.
func TestWindowsWakeOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, s Selector, b backend) {
		expectFullSleep(t, s, b, "new")
		for range 3 {
			if err := b.wake(); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if n, err := b.sleep(10 * time.Second); n != 0 || err != nil || time.Since(begin) > 5*time.Second {
			t.Fatalf("the sleep after a wake took %v: %d, %v", time.Since(begin), n, err)
		}
		expectFullSleep(t, s, b, "woken")
	})
}

// TestWindowsUrgentWithoutInterest: urgent data does not end a sleep if no key has
// EventPriority, although select reports it with the same set as failed connects.
func TestWindowsUrgentWithoutInterest(t *testing.T) {
	eachBackend(t, func(t *testing.T, s Selector, b backend) {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		key, err := s.Register(client, EventRead, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := withFD(server, func(fd int) error {
			urgent := byte('!')
			var n uint32
			const msgOOB = 1
			return windows.WSASend(windows.Handle(fd), &windows.WSABuf{Len: 1, Buf: &urgent}, 1, &n, msgOOB, nil, nil)
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if batch, err := s.Select(20 * time.Millisecond); err != nil || len(batch) != 0 {
			t.Fatalf("the batch is %v, %v", batch, err)
		}
		expectFullSleep(t, s, b, "urgent data without interest")
		if _, err := s.Modify(client, EventRead|EventPriority, nil); err != nil {
			t.Fatal(err)
		}
		batch, err := s.Select(10 * time.Second)
		if err != nil || len(batch) != 1 || batch[0].Key.FD != key.FD || batch[0].Events != EventPriority {
			t.Errorf("with EventPriority the batch is %v, %v", batch, err)
		}
	})
}

// TestWindowsHandleTooLarge: the table of keys is an array.
func TestWindowsHandleTooLarge(t *testing.T) {
	var table table
	table.put(sys.MaxHandle-4, entry{key: &SelectorKey{FD: sys.MaxHandle - 4}})
	if pages := cap(table.pages); pages > 1<<20 {
		t.Errorf("the highest handle takes %d pages", pages)
	}
}
