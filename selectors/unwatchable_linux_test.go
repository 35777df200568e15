package selectors

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// eachConstructor runs a test on every backend, with every strategy.
func eachConstructor(t *testing.T, test func(t *testing.T, s Selector)) {
	for name, open := range constructors() {
		t.Run(name, func(t *testing.T) {
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			test(t, s)
		})
	}
}

// expectRefused checks that Register and Modify refuse a number with EBADF. They say
// so as for a descriptor that is not open.
func expectRefused(t *testing.T, s Selector, what string, fd int) {
	t.Helper()
	for _, events := range []Event{EventRead, EventWrite, EventRead | OneShot} {
		if _, err := s.Register(fd, events, nil); !errors.Is(err, unix.EBADF) {
			t.Errorf("Register of %s: %v, want EBADF", what, err)
		}
	}
	if _, err := s.Key(fd); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("%s has a key: %v", what, err)
	}
}

// openPath opens a file with O_PATH.
func openPath(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// expectWorking checks that a selector is woken, that a timeout ends its wait, and
// that it reports a pipe.
func expectWorking(t *testing.T, s Selector) {
	t.Helper()
	r, w := fdtest.Pipe(t)
	mustRegister(t, s, r, EventRead)
	defer time.AfterFunc(fdtest.Timeout, func() { s.Wake() }).Stop() // ends a wait that hangs
	for range 2 {
		start := time.Now()
		if ready, err := s.Select(5 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(start) > fdtest.Timeout/2 {
			t.Fatalf("Select(5ms) returned %v, %v after %v", ready, err, time.Since(start))
		}
		time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
		if ready, err := s.Select(fdtest.Timeout); err != nil || len(ready) != 0 || time.Since(start) > fdtest.Timeout/2 {
			t.Fatalf("a woken Select returned %v, %v after %v", ready, err, time.Since(start))
		}
	}
	fdtest.Write(t, w, "x")
	expectReported(t, s, 1, map[int]Event{r: EventRead})
	if _, err := s.Unregister(r); err != nil {
		t.Fatal(err)
	}
}

// TestRegisterUnwatchable: what cannot be waited for is refused by every backend, in
// the same way.
func TestRegisterUnwatchable(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eachConstructor(t, func(t *testing.T, s Selector) {
		for _, name := range []string{dir, dir + "/file", dir + "/fifo", os.DevNull} {
			expectRefused(t, s, name+" with O_PATH", openPath(t, name))
		}
		own := 0
		for fd := range 1024 {
			if coreOf(s).backend.owns(fd) {
				own++
				expectRefused(t, s, "the selector's own "+strconv.Itoa(fd), fd)
			}
		}
		if own == 0 {
			t.Error("the selector has no descriptors")
		}
		expectWorking(t, s)
	})
}

// TestModifyToPath: a number that was closed comes back with O_PATH.
func TestModifyToPath(t *testing.T) {
	eachConstructor(t, func(t *testing.T, s Selector) {
		r, _ := fdtest.Pipe(t)
		mustRegister(t, s, r, EventRead)
		fdtest.Replace(t, r, openPath(t, os.DevNull))
		if _, err := s.Modify(r, EventWrite, nil); !errors.Is(err, unix.EBADF) {
			t.Errorf("Modify: %v, want EBADF", err)
		}
		if _, err := s.Unregister(r); err != nil {
			t.Error(err)
		}
		expectWorking(t, s)
	})
}

// TestNumberBecomesOwn: a key's descriptor is closed, and its number is given to a
// descriptor that the selector opens later: the timer of a parked wait. What is done
// to the key must not change that.
func TestNumberBecomesOwn(t *testing.T) {
	for name, change := range map[string]func(s Selector, fd int) error{
		"Unregister": func(s Selector, fd int) error {
			_, err := s.Unregister(fd)
			return err
		},
		"Modify": func(s Selector, fd int) error {
			if _, err := s.Modify(fd, EventWrite, nil); !errors.Is(err, unix.EBADF) {
				return err
			}
			return nil
		},
		"Register": func(s Selector, fd int) error {
			if _, err := s.Register(fd, EventRead, nil); !errors.Is(err, unix.EBADF) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachConstructor(t, func(t *testing.T, s Selector) {
				var pipe [2]int
				if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
					t.Fatal(err)
				}
				fd := pipe[0] // not moved to a high number, so that it is given out again
				mustRegister(t, s, fd, EventRead)
				unix.Close(pipe[1])
				unix.Close(fd)
				reported(t, s, 2) // poll and select report that it was closed
				for range 3 {
					if _, err := s.Select(3 * time.Millisecond); err != nil {
						t.Fatal(err)
					}
				}
				name, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
				if !strings.Contains(name, "timerfd") {
					t.Skip("the selector opened no timer, or another goroutine took the number")
				}
				if err := change(s, fd); err != nil {
					t.Error(err)
				}
				expectWorking(t, s)
			})
		})
	}
}

// TestRegisterSetOfOwnSet: an epoll set that contains the selector's own set cannot
// be in it. The other backends have no set.
func TestRegisterSetOfOwnSet(t *testing.T) {
	eachConstructor(t, func(t *testing.T, s Selector) {
		e, ok := s.(*EpollSelector)
		if !ok {
			t.Skip("this backend has no epoll set")
		}
		outer, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		outer = fdtest.Own(t, outer)
		if err := unix.EpollCtl(outer, unix.EPOLL_CTL_ADD, e.epoll.fd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Register(outer, EventRead, nil); !errors.Is(err, unix.ELOOP) {
			t.Errorf("Register: %v, want ELOOP", err)
		}
		expectWorking(t, s)
	})
}

// TestInodeReused: a file is deleted, and a new one gets its inode number and its
// descriptor number. By object, Register replaces the stale key.
func TestInodeReused(t *testing.T) {
	eachConstructor(t, func(t *testing.T, s Selector) {
		name := t.TempDir() + "/file"
		create := func() (f *os.File, inode uint64) {
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &st); err != nil {
				t.Fatal(err)
			}
			return f, st.Ino
		}
		for range 20 {
			old, inode := create()
			fd := int(old.Fd())
			if _, err := s.Register(old, EventRead, "old"); err != nil {
				t.Fatal(err)
			}
			old.Close()
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			f, again := create()
			defer f.Close()
			if again != inode || int(f.Fd()) != fd {
				if _, err := s.Unregister(old); err != nil {
					t.Fatal(err)
				}
				continue
			}
			key, err := s.Register(f, EventRead, "new")
			if err != nil || key.Data != "new" || s.Len() != 1 {
				t.Fatalf("Register returned %v, %v; %d keys", key, err, s.Len())
			}
			expectReported(t, s, 2, map[int]Event{fd: EventRead})
			if _, err := s.Unregister(old); !errors.Is(err, ErrNotRegistered) {
				t.Errorf("Unregister by the old object: %v, want ErrNotRegistered", err)
			}
			return
		}
		t.Skip("this file system does not give an inode number out again at once")
	})
}
