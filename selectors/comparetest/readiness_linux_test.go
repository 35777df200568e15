package comparetest_test

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestLibuvPollNested: An epoll set can itself be watched. It is ready while
// it has an event.
func TestLibuvPollNested(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		set = fdtest.Own(t, set)
		r, w := fdtest.Pipe(t)
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
			t.Fatal(err)
		}
		backendtest.Register(t, s, set, read)
		backendtest.ExpectNothing(t, s)
		c := backendtest.StartSelect(s, fdtest.Timeout)
		fdtest.Write(t, w, "x")
		a := backendtest.Await(t, c)
		if a.Err != nil || len(a.Ready) != 1 || a.Ready[0].Key.FD != set || a.Ready[0].Events != read {
			t.Errorf("Select returned %v, %v", a.Ready, a.Err)
		}
		fdtest.Drain(t, r)
		backendtest.ExpectNothing(t, s)
	})
}

// TestLinuxEventFiles: The kinds of files that deliver events: eventfd,
// timerfd, inotify.
func TestLinuxEventFiles(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(t *testing.T) (fd int, makeReady func())
	}{
		{"eventfd", func(t *testing.T) (int, func()) {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			return fd, func() { fdtest.Write(t, fd, "\x01\x01\x01\x01\x01\x01\x01\x01") }
		}},
		{"timerfd", func(t *testing.T) (int, func()) {
			fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			return fd, func() {
				if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(1000)}, nil); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"inotify", func(t *testing.T) (int, func()) {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			dir := t.TempDir()
			if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE); err != nil {
				t.Fatal(err)
			}
			n := 0
			return fd, func() {
				n++
				if err := os.WriteFile(dir+"/"+strconv.Itoa(n), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				fd, makeReady := kind.make(t)
				backendtest.Register(t, s, fd, read)
				backendtest.ExpectNothing(t, s)
				for range 3 {
					makeReady()
					backendtest.Expect(t, s, batch{fd: read})
					readEvent(t, fd)
					backendtest.ExpectNothing(t, s)
				}
			})
		})
	}
}

func readEvent(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Read(fd, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
}

// TestRegressAlwaysReadyStdin: Python's epoll selector raises PermissionError
// if the standard input is a regular file or /dev/null.
func TestRegressAlwaysReadyStdin(t *testing.T) {
	saved := fdtest.Dup(t, 0)
	defer func() {
		if err := fdtest.Dup2(saved, 0); err != nil {
			t.Fatal(err)
		}
		unix.FcntlInt(0, unix.F_SETFD, 0)
	}()
	name := t.TempDir() + "/input"
	if err := os.WriteFile(name, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{name, os.DevNull, t.TempDir()} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		fdtest.Replace(t, 0, fdtest.Number(t, f))
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			other, peer := fdtest.UnixPair(t)
			backendtest.Register(t, s, 0, read)
			backendtest.Register(t, s, other, read)
			backendtest.Expect(t, s, batch{0: read})
			backendtest.Expect(t, s, batch{0: read})
			fdtest.Write(t, peer, "x")
			backendtest.Expect(t, s, batch{0: read, other: read})
			backendtest.Modify(t, s, 0, read|write)
			backendtest.Expect(t, s, batch{0: read | write, other: read})
			_, err := s.Register(0, read, nil)
			backendtest.ExpectError(t, err, selectors.ErrRegistered)
			backendtest.Unregister(t, s, 0)
			backendtest.Expect(t, s, batch{other: read})
		})
	}
}

// TestRegressAlwaysReadyReplaced: A number changes from an always-ready file
// to a pipe and back. The new file is registered by Register or by Modify.
func TestRegressAlwaysReadyReplaced(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	for _, how := range []string{"registered over", "modified"} {
		t.Run(how, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				arm := func(fd int, events selectors.Event) {
					t.Helper()
					if how == "modified" {
						backendtest.Modify(t, s, fd, events)
					} else {
						backendtest.Register(t, s, fd, events)
					}
				}
				r, w := fdtest.Pipe(t)
				bystander, _ := os.Open(os.DevNull) // two more always-ready keys, with a lower and a higher number
				defer bystander.Close()
				before := backendtest.Register(t, s, fdtest.Dup(t, fdtest.Number(t, bystander)), write).FD
				fd := fdtest.Dup(t, fdtest.Number(t, null))
				backendtest.Register(t, s, fd, read)
				after := backendtest.Register(t, s, fdtest.Dup(t, fdtest.Number(t, bystander)), write).FD
				want := batch{before: write, after: write, fd: read}
				backendtest.Expect(t, s, want)

				fdtest.Replace(t, fd, r)
				arm(fd, read|oneShot)
				delete(want, fd)
				backendtest.Expect(t, s, want)
				fdtest.Write(t, w, "x")
				want[fd] = read
				backendtest.Expect(t, s, want)

				fdtest.Replace(t, fd, fdtest.Number(t, null))
				arm(fd, write)
				want[fd] = write
				backendtest.Expect(t, s, want)
				backendtest.Modify(t, s, fd, read|write)
				want[fd] = read | write
				backendtest.Expect(t, s, want)

				// A closed descriptor cannot be modified. Its key stays.
				fdtest.Close(t, fd)
				_, err := s.Modify(fd, read, nil)
				backendtest.ExpectError(t, err, unix.EBADF)
				if key, err := s.Key(fd); err != nil || key.Events != read|write {
					t.Errorf("Key is %v, %v", key, err)
				}
				backendtest.Unregister(t, s, fd)
				delete(want, fd)
				backendtest.Expect(t, s, want)
				backendtest.Unregister(t, s, before)
				delete(want, before)
				backendtest.Expect(t, s, want)
				backendtest.Unregister(t, s, after)
				backendtest.ExpectNothing(t, s)
			})
		})
	}
}

// TestPeersFDZero: gnet (internal/netpoll, kqueue), evio, cloudwego/netpoll,
// gaio and nbio take the number 0 in an event for their own wake-up, so that
// descriptor 0, the standard input, cannot be watched.
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

		// A wake-up is not taken for an event of descriptor 0.
		s.Wake()
		backendtest.Expect(t, s, batch{})
		c := backendtest.StartSelect(s, fdtest.Timeout)
		s.Wake()
		backendtest.AwaitWoken(t, c)

		// An event of descriptor 0 is not taken for a wake-up.
		c = backendtest.StartSelect(s, fdtest.Timeout)
		fdtest.Write(t, w, "x")
		backendtest.AwaitBatch(t, c, batch{0: read})
		backendtest.Modify(t, s, 0, read|oneShot)
		backendtest.Expect(t, s, batch{0: read})
		backendtest.ExpectNothing(t, s)
		backendtest.Unregister(t, s, 0)
		backendtest.ExpectNothing(t, s)
	})
}

// TestPeersNoHiddenQueue: gaio's loop stalls for all connections once 16 384
// results wait in its queue. Here an event that is not handled is reported
// again by the next Select.
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
