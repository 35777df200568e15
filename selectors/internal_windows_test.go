package selectors

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// lasts checks that a sleep is not cut short: something that ends each of them
// makes Select spin, which no batch shows.
func lasts(t *testing.T, s Selector, b backend, why string) {
	t.Helper()
	const timeout = 60 * time.Millisecond
	if _, err := s.Select(0); err != nil { // has the backend prepared
		t.Fatal(err)
	}
	from := time.Now()
	if n, err := b.sleep(timeout); n != 0 || err != nil || time.Since(from) < timeout/2 {
		t.Errorf("%s: a sleep of %v ended after %v with %d, %v", why, timeout, time.Since(from), n, err)
	}
}

func backendsOf(t *testing.T, test func(t *testing.T, s Selector, b backend)) {
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
	t.Run("select", func(t *testing.T) { test(t, s, &s.sel) })
}

// TestWindowsWakeIsTakenBack: what ended a sleep does not end the next.
func TestWindowsWakeIsTakenBack(t *testing.T) {
	backendsOf(t, func(t *testing.T, s Selector, b backend) {
		lasts(t, s, b, "new")
		for range 3 {
			if err := b.wake(); err != nil {
				t.Fatal(err)
			}
		}
		from := time.Now()
		if n, err := b.sleep(10 * time.Second); n != 0 || err != nil || time.Since(from) > 5*time.Second {
			t.Fatalf("the sleep after a wake took %v: %d, %v", time.Since(from), n, err)
		}
		lasts(t, s, b, "woken")
	})
}

// TestWindowsUrgentUnasked: urgent data, which select tells as an exceptional
// condition, as it tells failed connects, ends no sleep of who did not ask.
func TestWindowsUrgentUnasked(t *testing.T) {
	backendsOf(t, func(t *testing.T, s Selector, b backend) {
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
		lasts(t, s, b, "urgent data, unasked")
		if _, err := s.Modify(client, EventRead|EventPriority, nil); err != nil {
			t.Fatal(err)
		}
		batch, err := s.Select(10 * time.Second)
		if err != nil || len(batch) != 1 || batch[0].Key.FD != key.FD || batch[0].Events != EventPriority {
			t.Errorf("asked for, the batch is %v, %v", batch, err)
		}
	})
}

// TestWindowsHandleTooLarge: the table of keys is an array.
func TestWindowsHandleTooLarge(t *testing.T) {
	var table table
	table.put(maxHandle-4, entry{key: &SelectorKey{FD: maxHandle - 4}})
	if words := cap(table.pages); words > 1<<20 {
		t.Errorf("the highest handle takes %d pages", words)
	}
}
