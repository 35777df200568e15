package selectors

import (
	"errors"
	"flag"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// Files whose readiness goes away when it is asked for, or depends on the thread
// that asks (docs/parking.md). Every backend and every wait strategy must report
// them.

var newsRounds = flag.Int("news.rounds", 200, "pieces of news from each file in TestNews; slow files make fewer")

// newsLimit is how long a report may take. Lost news never comes; on a busy machine
// a report may come late.
const newsLimit = 20 * time.Second

// TestNews: each change of a file is reported while Select waits, beside other
// traffic.
func TestNews(t *testing.T) {
	for _, kind := range newsKinds {
		t.Run(kind.name, func(t *testing.T) {
			for _, name := range slices.Sorted(maps.Keys(constructors())) {
				t.Run(name, func(t *testing.T) {
					s, err := constructors()[name]()
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					expectNews(t, s, kind.open(t), max(*newsRounds/kind.slower, 1))
				})
			}
		})
	}
}

// TestNewsBesideModify: no news is lost while another goroutine changes the interest
// all the time, which asks the file, or drops what was found for the old interest.
func TestNewsBesideModify(t *testing.T) {
	for _, kind := range newsKinds {
		for _, name := range slices.Sorted(maps.Keys(constructors())) {
			t.Run(kind.name+"/"+name, func(t *testing.T) {
				s, err := constructors()[name]()
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				file := kind.open(t)
				var stopped atomic.Bool
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for !stopped.Load() {
						for _, events := range []Event{file.events | OneShot, file.events} {
							// It is not registered at times: see expectNews.
							if _, err := s.Modify(file.fd, events, nil); err != nil && !errors.Is(err, ErrNotRegistered) {
								t.Error(err)
							}
						}
						time.Sleep(50 * time.Microsecond)
					}
				}()
				defer func() {
					stopped.Store(true)
					<-ended
				}()
				expectNews(t, s, file, max(*newsRounds/kind.slower/4, 1))
			})
		}
	}
}

// expectNews makes pieces of news while another goroutine is in Select, each
// after the report of the one before. From time to time it registers the file anew,
// also during a wait.
func expectNews(t *testing.T, s Selector, file newsFile, rounds int) {
	t.Helper()
	mustRegister(t, s, file.fd, file.events)
	file.read() // Register asks the file once, too
	echo, quiet := startTraffic(t)
	mustRegister(t, s, echo, EventRead)

	reports := make(chan uint64, rounds)
	stop := selectInBackground(t, s, func(r Ready) {
		switch r.Key.FD {
		case file.fd:
			reports <- file.read()
		case echo:
			var b [8]byte
			n, _ := unix.Read(echo, b[:])
			unix.Write(echo, b[:max(n, 0)])
		}
	})
	defer stop()

	for i := range rounds {
		quiet.Store(i/10%2 == 0)
		if i%20 == 19 {
			if _, err := s.Unregister(file.fd); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Microsecond)
			mustRegister(t, s, file.fd, file.events)
			file.read()
		}
		time.Sleep(time.Duration(i%5) * 100 * time.Microsecond)
		for len(reports) > 0 {
			<-reports
		}
		want := file.change(t)
		limit := time.NewTimer(newsLimit)
		for got := want + 1; got != want; {
			select {
			case got = <-reports:
			case <-limit.C:
				t.Fatalf("no report in %v of piece %d of news", newsLimit, i+1)
			}
		}
		limit.Stop()
	}
}

// TestNewsWhileDisabled: news that comes while a one-shot key is disabled is reported
// when the key is armed again, also if a Select in between has found it.
func TestNewsWhileDisabled(t *testing.T) {
	for name, newSelector := range constructors() {
		t.Run(name, func(t *testing.T) {
			s, err := newSelector()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			file := mountsFile(t)
			mustRegister(t, s, file.fd, file.events|OneShot)
			file.change(t)
			expectNewsOf := func(want bool) {
				t.Helper()
				if got := reported(t, s, 3); (got[file.fd]&EventPriority != 0) != want {
					t.Errorf("reported %v, want news of %d: %t", got, file.fd, want)
				}
			}
			expectNewsOf(true)
			for i := range 4 {
				file.change(t)
				expectNewsOf(false)
				if _, err := s.Modify(file.fd, file.events|OneShot, nil); err != nil {
					t.Fatal(err)
				}
				expectNewsOf(true)
				if i == 2 { // it stays quiet if there is no news
					if _, err := s.Modify(file.fd, file.events|OneShot, nil); err != nil {
						t.Fatal(err)
					}
					expectNewsOf(false)
					file.change(t)
					expectNewsOf(true)
				}
			}
		})
	}
}

// TestNewsBesideOrphans: registrations that cannot be deleted make the selector
// replace its epoll set. That asks the files, so news that is pending then must be
// reported all the same.
func TestNewsBesideOrphans(t *testing.T) {
	eachStrategy(t, func(t *testing.T, s *EpollSelector) {
		file := mountsFile(t)
		mustRegister(t, s, file.fd, file.events)
		for range 5 {
			file.read()
			reported(t, s, 2)
			for range 40 { // more events than the selector has room for
				makeOrphan(t, s)
			}
			file.change(t)
			if got := reported(t, s, 3); got[file.fd]&EventPriority == 0 {
				t.Errorf("reported %v, want news of %d", got, file.fd)
			}
		}
	})
}

// startTraffic starts a peer that sends bytes and waits for each to come back, at
// intervals of up to 300 µs. It pauses while quiet is set.
func startTraffic(t *testing.T) (fd int, quiet *atomic.Bool) {
	t.Helper()
	fd, peer := fdtest.UnixPair(t)
	fdtest.SetBlocking(t, peer)
	quiet = new(atomic.Bool)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := []byte{'x'}
		for i := 0; ; i++ {
			time.Sleep(time.Duration(i%4) * 100 * time.Microsecond)
			if quiet.Load() {
				time.Sleep(time.Millisecond)
			} else if n, _ := unix.Write(peer, b); n != 1 {
				return
			} else if n, _ = unix.Read(peer, b); n != 1 {
				return
			}
		}
	}()
	t.Cleanup(func() {
		quiet.Store(false)
		unix.Shutdown(peer, unix.SHUT_RDWR)
		<-ended
	})
	return fd, quiet
}

// selectInBackground calls handle for each report of s. stop waits until that
// has ended.
func selectInBackground(t *testing.T, s Selector, handle func(Ready)) (stop func()) {
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !stopped.Load() {
			ready, err := s.Select(-1)
			if err != nil {
				t.Error(err)
				return
			}
			for _, r := range ready {
				handle(r)
			}
		}
	}()
	return func() {
		stopped.Store(true)
		s.Wake()
		<-ended
	}
}

// TestThreadSignals: a signal that is sent to one thread is reported by a signalfd
// if that thread asks, and to no other (fs/signalfd.c, signalfd_poll). A Select in
// that thread must report it.
func TestThreadSignals(t *testing.T) {
	const sig = unix.SIGWINCH // ignored wherever it is not blocked
	for name, new := range constructors() {
		t.Run(name, func(t *testing.T) {
			thread := newLockedThread(t)
			s, err := new()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var mask unix.Sigset_t
			mask.Val[0] = 1 << (sig - 1)
			var fd, tid int
			thread.run(func() {
				tid = unix.Gettid()
				if err = unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil); err == nil {
					fd, err = unix.Signalfd(-1, &mask, unix.SFD_CLOEXEC)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			fd = fdtest.Own(t, fd)
			mustRegister(t, s, fd, EventRead)
			info := make([]byte, unsafe.Sizeof(unix.SignalfdSiginfo{}))
			for i := range 50 {
				timer := time.AfterFunc(time.Duration(i%5)*200*time.Microsecond, func() {
					if err := unix.Tgkill(os.Getpid(), tid, sig); err != nil {
						t.Error(err)
					}
				})
				var ready []Ready
				var n int
				thread.run(func() {
					ready, err = s.Select(newsLimit)
					n, _ = unix.Read(fd, info)
				})
				timer.Stop()
				if err != nil || len(ready) != 1 || n != len(info) {
					t.Fatalf("Select number %d reported %v, %v; read %d bytes", i+1, ready, err, n)
				}
			}
		})
	}
}
