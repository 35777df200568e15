package selectors

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/faulttest"
	"goselectors/selectors/internal/fdtest"
)

// TestConstructorsWithoutDescriptors: with fewer descriptors free than a selector
// wants, the constructor returns an error or the selector works without; it never
// leaks one.
func TestConstructorsWithoutDescriptors(t *testing.T) {
	for name, make := range constructors() {
		t.Run(name, func(t *testing.T) {
			r, w := fdtest.Pipe(t)
			fdtest.Write(t, w, "x")
			before := fdtest.OpenFiles(t)
			succeeded := false
			for free := range 6 {
				faulttest.WithFreeDescriptors(t, free, func() {
					s, err := make()
					if err != nil {
						var e *Error
						if !errors.As(err, &e) || e.Op != "new" || !errors.Is(err, unix.EMFILE) || s != nil {
							t.Errorf("with %d descriptors: %v, %v", free, s, err)
						}
						if succeeded {
							t.Errorf("with %d descriptors: %v, but it worked with fewer", free, err)
						}
						return
					}
					succeeded = true
					defer s.Close()
					begin := time.Now()
					if ready, err := s.Select(2 * time.Millisecond); err != nil || len(ready) != 0 || time.Since(begin) < 2*time.Millisecond {
						t.Errorf("with %d descriptors: Select returned %v, %v after %v", free, ready, err, time.Since(begin))
					}
					stop := time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
					defer stop.Stop()
					if ready, err := s.Select(20 * time.Second); err != nil || len(ready) != 0 || time.Since(begin) > 19*time.Second {
						t.Errorf("with %d descriptors: a woken Select returned %v, %v after %v", free, ready, err, time.Since(begin))
					}
					mustRegister(t, s, r, EventRead)
					if ready, err := s.Select(20 * time.Second); err != nil || len(ready) != 1 {
						t.Errorf("with %d descriptors: Select returned %v, %v", free, ready, err)
					}
				})
			}
			if !succeeded {
				t.Error("no selector with 5 descriptors left")
			}
			if after := fdtest.OpenFiles(t); !slices.Equal(before, after) {
				t.Errorf("the open descriptors were %v and are %v", before, after)
			}
		})
	}
}

// TestConstructorRefused: if a system call fails, the constructor returns an error
// or the selector works without; no descriptor is left open.
func TestConstructorRefused(t *testing.T) {
	for name, call := range map[string]uint32{
		"epoll_create1": unix.SYS_EPOLL_CREATE1, "eventfd2": unix.SYS_EVENTFD2, "epoll_ctl": unix.SYS_EPOLL_CTL,
	} {
		for constructor, make := range constructors() {
			before := fdtest.OpenFiles(t)
			faulttest.WithFailingCall(t, call, unix.EACCES, func() {
				s, err := make()
				if err == nil {
					s.Close()
				} else if !errors.Is(err, unix.EACCES) || s != nil {
					t.Errorf("%s without %s: %v, %v", constructor, name, s, err)
				}
			})
			if after := fdtest.OpenFiles(t); !slices.Equal(before, after) {
				t.Errorf("%s without %s: the open descriptors were %v and are %v", constructor, name, before, after)
			}
		}
	}
}

// TestPollBeyondLimit: poll(2) refuses a list that is longer than RLIMIT_NOFILE.
// Select asks in several calls, and finds what is ready in each.
func TestPollBeyondLimit(t *testing.T) {
	s, err := NewPollSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, firstW := fdtest.Pipe(t)
	mustRegister(t, s, first, EventRead)
	for range 1200 { // more than twice the limit of WithFreeDescriptors
		mustRegister(t, s, dupAnywhere(t, firstW), EventPriority)
	}
	last, lastW := fdtest.Pipe(t)
	mustRegister(t, s, last, EventRead)
	want := map[int]Event{first: EventRead, last: EventRead}
	select1 := func(what string, timeout, atLeast time.Duration, want map[int]Event) {
		t.Helper()
		begin := time.Now()
		ready, err := s.Select(timeout)
		took := time.Since(begin)
		if diff := cmp.Diff(want, byDescriptor(ready)); diff != "" || err != nil || took < atLeast || took > 15*time.Second {
			t.Errorf("%s: %v after %v (-want +got):\n%s", what, err, took, diff)
		}
	}
	faulttest.WithFreeDescriptors(t, 0, func() {
		before := s.Stats().Shortages
		none := map[int]Event{}
		select1("nothing ready", 0, 0, none)
		select1("until the timeout", 10*time.Millisecond, 10*time.Millisecond, none)
		time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
		select1("until Wake", 20*time.Second, 0, none)
		time.AfterFunc(5*time.Millisecond, func() { unix.Write(lastW, []byte("x")) })
		select1("until an event", -1, 0, map[int]Event{last: EventRead})
		fdtest.Write(t, firstW, "x")
		for _, timeout := range []time.Duration{0, time.Millisecond, -1} {
			select1("ready", timeout, 0, want)
		}
		if s.Stats().Shortages == before {
			t.Error("Stats counts no shortage")
		}
	})
	faulttest.WithOpenLimit(t, 0, func() {
		select1("no descriptor allowed", 5*time.Millisecond, 5*time.Millisecond, map[int]Event{})
	})
	expectReported(t, s, 1, want)
}

// dupAnywhere is fdtest.Dup for more descriptors than that has numbers for.
func dupAnywhere(t *testing.T, fd int) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 1024)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dup) })
	return dup
}

func byDescriptor(batch []Ready) map[int]Event {
	events := map[int]Event{}
	for _, r := range batch {
		events[r.Key.FD] |= r.Events
	}
	return events
}

// TestSelectErrorsOfTheKernel: errors of the waiting system calls that do not pass
// are returned. The others are not.
func TestSelectErrorsOfTheKernel(t *testing.T) {
	for name, call := range map[string]uint32{
		"poll": unix.SYS_PPOLL, "select": unix.SYS_PSELECT6, "epoll/blocking": unix.SYS_EPOLL_PWAIT, "epoll/parking": unix.SYS_EPOLL_PWAIT,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := constructors()[name]()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r, w := fdtest.Pipe(t)
			mustRegister(t, s, r, EventRead)
			fdtest.Write(t, w, "x")
			fault := faulttest.Fault{Call: call}
			if s, ok := s.(*EpollSelector); ok {
				fault.Args = map[int]uint32{0: uint32(s.epoll.fd)} // Go's runtime makes this call too
			}
			for _, errno := range []unix.Errno{unix.EACCES, unix.ENOMEM, unix.EINTR} {
				fault.Errno = errno
				faulttest.WithFault(t, fault, func() {
					given := []Ready{{Events: EventWrite}}
					got, err := s.SelectInto(given, 0)
					if len(got) != 1 || got[0] != given[0] {
						t.Errorf("%v: the batch is %v", errno, got)
					}
					if errno != unix.EACCES {
						if err != nil {
							t.Errorf("%v: Select returned %v", errno, err)
						}
						return
					}
					var e *Error
					if !errors.As(err, &e) || e.Op != "select" || !errors.Is(err, errno) {
						t.Errorf("the error is %v, want %v", err, errno)
					}
				})
			}
			expectReported(t, s, 1, map[int]Event{r: EventRead})
		})
	}
	t.Run("epoll/blocking, sleeping", func(t *testing.T) {
		s, err := NewEpollSelector(WithBlockingWait())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		faulttest.WithFailingCall(t, unix.SYS_EPOLL_PWAIT2, unix.EACCES, func() {
			if _, err := s.Select(time.Millisecond); !errors.Is(err, unix.EACCES) {
				t.Errorf("the error is %v", err)
			}
		})
		if _, err := s.Select(time.Millisecond); err != nil {
			t.Error(err)
		}
	})
}

// TestRegisterErrorsOfTheKernel: unexpected errors of the system calls that
// register. Nothing changes.
func TestRegisterErrorsOfTheKernel(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, test := range []struct {
		constructor string
		call        uint32
		fds         []int
	}{
		{"poll", sysFstat, []int{0}},
		{"select", sysFstat, []int{0}},
		{"epoll/adaptive", unix.SYS_EPOLL_CTL, []int{0}},
		{"epoll/adaptive", sysFstat, []int{int(null.Fd())}},
	} {
		s, err := constructors()[test.constructor]()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r, w := fdtest.Pipe(t)
		mustRegister(t, s, r, EventRead)
		fdtest.Write(t, w, "x")
		for _, fd := range test.fds {
			if fd == 0 {
				fd, _ = fdtest.Pipe(t)
			}
			faulttest.WithFailingCall(t, test.call, unix.ENOMEM, func() {
				var e *Error
				if _, err := s.Register(fd, EventRead, nil); !errors.As(err, &e) || !errors.Is(err, unix.ENOMEM) || e.FD != fd || e.Op != "register" {
					t.Errorf("%s: Register: %v", test.constructor, err)
				}
				if fd != int(null.Fd()) {
					if _, err := s.Modify(r, EventWrite, nil); !errors.Is(err, unix.ENOMEM) {
						t.Errorf("%s: Modify: %v", test.constructor, err)
					}
				}
			})
		}
		if s.Len() != 1 {
			t.Errorf("%s: Len is %d", test.constructor, s.Len())
		}
		expectReported(t, s, 1, map[int]Event{r: EventRead})
	}
}

// TestWakeFails: Wake returns the error of the system call.
func TestWakeFails(t *testing.T) {
	s, err := NewPollSelector()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.asleep.Store(true)
	faulttest.WithFailingCall(t, unix.SYS_WRITE, unix.EBADF, func() { err = s.Wake() })
	s.asleep.Store(false)
	var e *Error
	if !errors.As(err, &e) || e.Op != "wake" || !errors.Is(err, unix.EBADF) {
		t.Errorf("the error is %v", err)
	}
}

// TestCloseFails: Close returns the error of the system call once. The selector is
// closed all the same.
func TestCloseFails(t *testing.T) {
	for name, make := range constructors() {
		s, err := make()
		if err != nil {
			t.Fatal(err)
		}
		switch s := s.(type) {
		case *EpollSelector:
			unix.Close(s.epoll.fd)
		case *PollSelector:
			unix.Close(s.poll.waker.FD())
		case *SelectSelector:
			unix.Close(s.fdsets.waker.FD())
		}
		err = s.Close()
		var e *Error
		if !errors.As(err, &e) || e.Op != "close" || !errors.Is(err, unix.EBADF) || errors.Is(err, ErrClosed) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: the second Close returns %v", name, err)
		}
		if _, err := s.Select(0); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Select returns %v", name, err)
		}
	}
}
