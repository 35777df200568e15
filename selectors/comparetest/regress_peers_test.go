//go:build linux

package comparetest_test

import (
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"

	"golang.org/x/sys/unix"
)

// Defects that other Go packages for readiness had or have, each with a test
// that this one does not have it. What cannot happen here, or not on Linux:
//
//	gnet, wake pipe of NetBSD and OpenBSD: registered under its own number,
//	  recognised as 0, so never drained      Linux wakes through an eventfd; what must
//	                                         hold of any waker: TestPeersWakeIsTakenOnce
//	gnet's Polling drops callbacks' errors   Select has no callbacks; that it returns its own
//	                                         errors: TestPeersSelectReturnsErrors
//	gaio: a hidden queue of 16 384 results   there is no queue: TestPeersNoHiddenQueue

// TestPeersFDZero: gnet (internal/netpoll, kqueue), evio, cloudwego/netpoll,
// gaio and nbio take the number 0 in an event for their own wake-up, so that
// fd 0, the standard input, can never be selected.
func TestPeersFDZero(t *testing.T) {
	saved := fdtest.Dup(t, 0)
	defer func() {
		if err := fdtest.Dup2(saved, 0); err != nil {
			t.Fatal(err)
		}
		unix.FcntlInt(0, unix.F_SETFD, 0) // inheritable, as it was
	}()
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		fdtest.Replace(t, 0, r)
		backendtest.Register(t, s, 0, read)

		// A wake is not taken for fd 0 …
		s.Wake()
		backendtest.Expect(t, s, batch{})
		c := backendtest.StartSelect(s, fdtest.Timeout)
		s.Wake()
		if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 {
			t.Fatalf("a woken Select returned %v, %v", a.Ready, a.Err)
		}

		// … nor fd 0 for a wake.
		c = backendtest.StartSelect(s, fdtest.Timeout)
		fdtest.Write(t, w, "x")
		a := backendtest.Await(t, c)
		if got := backendtest.NewBatch(t, a.Ready); a.Err != nil || !maps.Equal(got, batch{0: read}) {
			t.Fatalf("Select returned %v, %v, want fd 0 readable", got, a.Err)
		}
		backendtest.Modify(t, s, 0, read|oneShot)
		backendtest.Expect(t, s, batch{0: read})
		backendtest.ExpectNothing(t, s)
		backendtest.Unregister(t, s, 0)
		backendtest.ExpectNothing(t, s)
	})
}

// TestPeersWakeIsTakenOnce: gnet on NetBSD and OpenBSD never drains its wake
// pipe (pkg/netpoll, poller_kqueue_wakeup1.go), so after the first wake its
// loop spins. A wake ends one Select, and then the selector rests.
func TestPeersWakeIsTakenOnce(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, _ := fdtest.Pipe(t)
		backendtest.Register(t, s, r, read)
		for range 50 {
			for range 3 {
				s.Wake()
			}
			start := time.Now()
			if got := backendtest.Select(t, s, fdtest.Timeout); len(got) != 0 || time.Since(start) >= fdtest.Timeout {
				t.Fatalf("reported %v after %v, want a wake", got, time.Since(start))
			}
		}
		for range 10 {
			c := backendtest.StartSelect(s, fdtest.Timeout)
			s.Wake()
			if a := backendtest.Await(t, c); a.Err != nil || len(a.Ready) != 0 || a.Took >= fdtest.Timeout {
				t.Fatalf("a woken Select returned %v, %v", a.Ready, a.Err)
			}
		}
		backendtest.ExpectIdle(t, s, 50*time.Millisecond)
	})
}

// TestPeersInterestIsReplaced: on gnet's kqueue, Delete did nothing, ModRead
// left a key that waited for writing only without anything, and the constant
// for both was EVFILT_READ|EVFILT_WRITE, which is -1 (pkg/netpoll). Every
// change from one interest to another leaves exactly the new one.
func TestPeersInterestIsReplaced(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		fdtest.Write(t, b, "x") // so a is ready for both
		interests := []selectors.Event{read, write, read | write}
		for _, from := range interests {
			for _, to := range interests {
				backendtest.Register(t, s, a, from)
				backendtest.Expect(t, s, batch{a: from})
				backendtest.Modify(t, s, a, to)
				backendtest.Expect(t, s, batch{a: to})
				backendtest.Unregister(t, s, a)
				backendtest.ExpectNothing(t, s)
			}
		}
	})
}

// TestPeersSelectReturnsErrors: gnet's Polling drops every error but two, and
// has neither a timeout nor a way to do one round. Select does one round, in
// its time, and returns its errors.
func TestPeersSelectReturnsErrors(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, _ := fdtest.UnixPair(t)
		backendtest.Register(t, s, a, write)
		backendtest.Expect(t, s, batch{a: write})
		backendtest.Modify(t, s, a, read)
		start := time.Now()
		if got := backendtest.Select(t, s, fdtest.QuietTime); len(got) != 0 || time.Since(start) < fdtest.QuietTime {
			t.Errorf("Select(%v) reported %v after %v", fdtest.QuietTime, got, time.Since(start))
		}
		c := backendtest.StartSelect(s, -1)
		_, err := s.Select(0)
		backendtest.ExpectError(t, err, selectors.ErrConcurrentSelect)
		s.Close()
		backendtest.ExpectError(t, backendtest.Await(t, c).Err, selectors.ErrClosed)
	})
}

// TestPeersRegisterKeepsNonBlocking: gnet's documentation taught to take a
// connection's descriptor by File and Fd, which makes the connection itself
// block: its deadlines never fire again (mailru/easygo#11, mosn/mosn#210,
// m-lab/ndt-server#371).
func TestPeersRegisterKeepsNonBlocking(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		conn, _ := fdtest.NetPair(t)
		file, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close(); w.Close() })
		for _, object := range []interface {
			SetReadDeadline(time.Time) error
			Read([]byte) (int, error)
		}{conn, file} {
			key := backendtest.Register(t, s, object, read)
			backendtest.ExpectNothing(t, s)
			backendtest.Modify(t, s, object, read|oneShot)
			if _, err := selectors.TryRead(object, make([]byte, 1)); err != selectors.ErrWouldBlock {
				t.Errorf("TryRead of %T: %v", object, err)
			}
			backendtest.Unregister(t, s, object)

			flags, err := unix.FcntlInt(uintptr(key.FD), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("%T is in blocking mode: flags %#x, %v", object, flags, err)
			}
			failed := make(chan error, 1)
			object.SetReadDeadline(time.Now().Add(fdtest.QuietTime))
			go func() {
				_, err := object.Read(make([]byte, 1))
				failed <- err
			}()
			select {
			case err := <-failed:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Read of %T: %v", object, err)
				}
			case <-time.After(fdtest.Timeout):
				t.Fatalf("the deadline of a %T does not fire", object)
			}
		}
	})
}

// TestPeersNothingForTheCollector: cloudwego/netpoll kept pointers in the
// kernel that the garbage collector did not see, and crashed on the memory
// they once pointed to (cloudwego/netpoll#362; alike #330, #351, #408).
func TestPeersNothingForTheCollector(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		type payload struct{ fd int }
		churn := func() (want batch) {
			want = batch{}
			for i := range 200 {
				r, w := fdtest.Pipe(t)
				fdtest.Write(t, w, "x")
				if _, err := s.Register(r, read, &payload{r}); err != nil {
					t.Fatal(err)
				}
				switch i % 3 {
				case 0: // leaves
					backendtest.Unregister(t, s, r)
				case 1: // leaves an orphan behind
					fdtest.Dup(t, r)
					fdtest.Close(t, r)
					backendtest.Unregister(t, s, r)
				default:
					want[r] = read
				}
			}
			return want
		}
		want := churn()
		for range 3 {
			runtime.GC()
			ready, err := s.Select(fdtest.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range ready {
				if p, ok := r.Key.Data.(*payload); !ok || p.fd != r.Key.FD {
					t.Fatalf("key %+v came back with somebody else's data %+v", r.Key, p)
				}
			}
			if got := backendtest.NewBatch(t, ready); !maps.Equal(got, want) {
				t.Fatalf("reported %v, want %v", got, want)
			}
		}
	})
}

// TestPeersNoNewsOfOldRegistrations: even Go's runtime took an event of a
// descriptor's former life for one of its present life
// (https://go.dev/issue/59545) until it numbered them. A batch tells nothing
// of a registration that has ended before the Select, even if it was ready.
func TestPeersNoNewsOfOldRegistrations(t *testing.T) {
	for _, test := range []struct {
		name string
		turn func(t *testing.T, s selectors.Selector, fd, quiet int)
	}{
		{"unregistered and registered again, with another file", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			backendtest.Unregister(t, s, fd)
			fdtest.Replace(t, fd, quiet)
			backendtest.Register(t, s, fd, read)
		}},
		{"another file before it was unregistered", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			fdtest.Replace(t, fd, quiet)
			backendtest.Unregister(t, s, fd)
			backendtest.Register(t, s, fd, read)
		}},
		{"another file, registered over it", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			fdtest.Replace(t, fd, quiet)
			backendtest.Register(t, s, fd, read)
		}},
		{"another file, modified", func(t *testing.T, s selectors.Selector, fd, quiet int) {
			fdtest.Replace(t, fd, quiet)
			backendtest.Modify(t, s, fd, read|oneShot)
		}},
	} {
		for _, keep := range []string{"old file gone", "old file kept by a duplicate"} {
			t.Run(test.name+"/"+keep, func(t *testing.T) {
				backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
					fd, w := fdtest.UnixPair(t)
					fdtest.Write(t, w, "x")
					if keep != "old file gone" {
						fdtest.Dup(t, fd)
					}
					backendtest.Register(t, s, fd, read)
					backendtest.Expect(t, s, batch{fd: read})
					quiet, peer := fdtest.UnixPair(t)
					test.turn(t, s, fd, quiet)
					backendtest.ExpectNothing(t, s)
					fdtest.Write(t, peer, "y")
					backendtest.Expect(t, s, batch{fd: read})
					if got := fdtest.Read(t, fd, 9); got != "y" {
						t.Errorf("read %q", got)
					}
				})
			})
		}
	}
}

// TestPeersNoPanics: evio panics when the kernel refuses a descriptor
// (tidwall/evio#51), and with a nil error when it cannot make its eventfd.
// Whatever the kernel refuses is an error, and the selector goes on. (That
// constructors fail cleanly: TestConstructorsWithoutDescriptors.)
func TestPeersNoPanics(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		good, peer := fdtest.UnixPair(t)
		backendtest.Register(t, s, good, read)

		gone, _ := fdtest.UnixPair(t)
		other, _ := fdtest.UnixPair(t)
		backendtest.Register(t, s, gone, read)
		fdtest.Close(t, gone)
		_, err := s.Modify(gone, write, nil)
		backendtest.ExpectError(t, err, unix.EBADF)
		_, err = s.Register(gone, write, nil)
		backendtest.ExpectError(t, err, unix.EBADF)
		fdtest.Replace(t, gone, other) // epoll_ctl(MOD) is ENOENT now
		backendtest.Modify(t, s, gone, write)
		backendtest.Expect(t, s, batch{gone: write})
		fdtest.Close(t, gone)
		backendtest.Unregister(t, s, gone) // EPOLL_CTL_DEL is EBADF

		fdtest.Write(t, peer, "x")
		backendtest.Expect(t, s, batch{good: read})
	})
}

// TestPeersTailAfterHangup: nbio closes a connection on a hang-up after at
// most three reads: a longer tail of data is lost. Readiness says that a read
// will not block, and no more; the end is what the read says.
func TestPeersTailAfterHangup(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		for _, kind := range []struct {
			name string
			make func(testing.TB) (int, int)
		}{{"unix", fdtest.UnixPair}, {"tcp", fdtest.TCPPair}, {"pipe", fdtest.Pipe}} {
			r, w := kind.make(t)
			sent := fdtest.Fill(t, w)
			fdtest.Close(t, w)
			backendtest.Register(t, s, r, read)
			received, batches := 0, 0
			for buf := make([]byte, 4096); ; batches++ {
				if got := backendtest.Select(t, s, fdtest.Timeout).Interests(t, s); !maps.Equal(got, batch{r: read}) {
					t.Fatalf("%s: reported %v after %d of %d bytes", kind.name, got, received, sent)
				}
				n, err := selectors.TryRead(r, buf)
				received += n
				if err != nil {
					break
				}
			}
			if received != sent || batches < 4 {
				t.Errorf("%s: received %d of %d bytes in %d batches", kind.name, received, sent, batches)
			}
			backendtest.Unregister(t, s, r)
		}
	})
}

// TestPeersNoDuplicates: gaio duplicates every descriptor because the standard
// library owns them (xtaci/gaio#11 wants them back). A key is of the
// descriptor itself, and registering opens none.
func TestPeersNoDuplicates(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		conn, peer := fdtest.NetPair(t)
		s.Select(0) // whatever the first Select opens
		before := fdtest.OpenFiles(t)
		key := backendtest.Register(t, s, conn, read)
		if want := fdtest.Number(t, conn); key.FD != want {
			t.Errorf("the key is of fd %d, the connection's is %d", key.FD, want)
		}
		if after := fdtest.OpenFiles(t); !slices.Equal(before, after) {
			t.Errorf("registering changed the open descriptors from %v to %v", before, after)
		}
		s.Close()
		// The connection is as alive as before, with its deadlines.
		conn.SetDeadline(time.Now().Add(fdtest.Timeout))
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
	})
}

// TestPeersNoHiddenQueue: gaio's loop stalls for every connection once 16 384
// results wait to be taken. What nobody acts on is simply reported again.
func TestPeersNoHiddenQueue(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for range 100 {
			_, w := fdtest.Pipe(t)
			backendtest.Register(t, s, w, write)
			want[w] = write
		}
		late, peer := fdtest.UnixPair(t)
		backendtest.Register(t, s, late, read)
		var dst []selectors.Ready
		for i := range 200 { // 20 000 reports
			var err error
			if dst, err = s.SelectInto(dst[:0], fdtest.Timeout); err != nil || len(dst) != len(want) {
				t.Fatalf("batch %d has %d entries, %v", i, len(dst), err)
			}
		}
		fdtest.Write(t, peer, "x")
		want[late] = read
		backendtest.Expect(t, s, want)
	})
}

// TestPeersIndependentSelectors: the peers have one loop a poller and no
// timeout for a single call. Any number of selectors work side by side, each
// in its own goroutine and with its own timeouts.
func TestPeersIndependentSelectors(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		type worker struct {
			s    selectors.Selector
			r, w int
		}
		var workers []worker
		for range 8 {
			r, w := fdtest.Pipe(t)
			s := backendtest.New(t, b)
			backendtest.Register(t, s, r, read)
			workers = append(workers, worker{s, r, w})
		}
		failed := make(chan error, len(workers))
		for i, me := range workers {
			next := workers[(i+1)%len(workers)]
			go func() {
				for round := range 50 {
					ready, err := me.s.Select(fdtest.Timeout)
					if err != nil || len(ready) != 1 {
						failed <- errors.Join(err, errors.New("no token"))
						return
					}
					if _, err = unix.Read(me.r, make([]byte, 1)); err != nil {
						failed <- err
						return
					}
					if round == 49 && i == len(workers)-1 {
						break
					}
					if _, err = unix.Write(next.w, []byte("t")); err != nil {
						failed <- err
						return
					}
				}
				failed <- nil
			}()
		}
		fdtest.Write(t, workers[0].w, "t") // one token goes round
		for range workers {
			select {
			case err := <-failed:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(3 * fdtest.Timeout):
				t.Fatal("the token got lost")
			}
		}
	})
}
