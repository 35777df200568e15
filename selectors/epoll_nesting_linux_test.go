package selectors

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
	"goselectors/selectors/internal/park"
)

// openMounts opens a file whose poll method takes the news away.
func openMounts(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/proc/self/mounts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func newParking(t *testing.T) *EpollSelector {
	t.Helper()
	s, err := NewEpollSelector(func(o *options) { o.wait = park.Parking })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mayAsk(s *EpollSelector) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoll.waiter.MayAsk()
}

// checkNesting checks that the entries agree with the number of those that keep
// the set out of the gate, and that those that are not classified are in the list.
func checkNesting(t *testing.T, s *EpollSelector) (forbidden int) {
	t.Helper()
	listed := map[int32]bool{}
	for _, fd := range s.epoll.unclassified {
		listed[fd] = true
	}
	s.table.all(func(e *entry) {
		if e.nesting&nestingForbidden != 0 {
			forbidden++
		}
		inSet := e.state&alwaysReady == 0
		want := inSet && (e.events&Exclusive != 0 || e.nesting&(fileUnsafe|pathLimited) != 0)
		if got := e.nesting&nestingForbidden != 0; got != want {
			t.Errorf("%d with %v: keeps the set out of the gate is %t, want %t", e.key.FD, e.events, got, want)
		}
		if inSet && e.nesting&(fileSafe|fileUnsafe) == 0 && (!listed[int32(e.key.FD)] || e.nesting&unclassified == 0) {
			t.Errorf("%d is neither classified nor in the list of those to classify", e.key.FD)
		}
	})
	if got := s.epoll.waiter.HasForbidden(); got != (forbidden != 0) {
		t.Errorf("parking is forbidden: %t, with %d registrations that forbid it", got, forbidden)
	}
	if len(s.epoll.unclassified) > 2*s.table.len+65 {
		t.Errorf("the list has %d descriptors, the table %d", len(s.epoll.unclassified), s.table.len)
	}
	return forbidden
}

// TestNesting: which registrations keep the set out of the gate, when they come
// before the first park, while the gate may ask the set, and while Select is
// parked.
func TestNesting(t *testing.T) {
	phases := []struct {
		name   string
		atOnce bool // the gate may ask the set, so the file is classified at once
		with   func(t *testing.T, s *EpollSelector, register func())
	}{
		{"before the first park", false, func(_ *testing.T, _ *EpollSelector, register func()) { register() }},
		{"after a wake, with the gate armed", true, func(t *testing.T, s *EpollSelector, register func()) {
			time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
			s.Select(-1)
			register()
		}},
		{"after a wake and an event, with the gate disarmed", true, func(t *testing.T, s *EpollSelector, register func()) {
			time.AfterFunc(5*time.Millisecond, func() { s.Wake() })
			s.Select(-1)
			_, w := fdtest.Pipe(t)
			mustRegister(t, s, w, EventWrite)
			s.Select(0)
			if _, err := s.Unregister(w); err != nil {
				t.Fatal(err)
			}
			register()
		}},
		{"during a park", true, func(t *testing.T, s *EpollSelector, register func()) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.Select(-1)
			}()
			for !mayAsk(s) {
				time.Sleep(time.Millisecond)
			}
			register()
			s.Wake()
			<-done
		}},
	}
	for _, test := range []struct {
		name   string
		events Event
		open   func(t *testing.T) int
		want   int
	}{
		{"pipe", EventRead, func(t *testing.T) int { r, _ := fdtest.Pipe(t); return r }, 0},
		{"exclusive pipe", EventRead | Exclusive, func(t *testing.T) int { r, _ := fdtest.Pipe(t); return r }, 1},
		{"mounts", EventPriority, openMounts, 1},
		{"/dev/null", EventRead, func(t *testing.T) int { fd, _ := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); return fd }, 0},
	} {
		for _, phase := range phases {
			t.Run(test.name+"/"+phase.name, func(t *testing.T) {
				s := newParking(t)
				fd := test.open(t)
				phase.with(t, s, func() { mustRegister(t, s, fd, test.events) })
				if got := checkNesting(t, s); phase.atOnce && got != test.want {
					t.Errorf("%d registrations keep the set out of the gate, want %d", got, test.want)
				}
				s.Select(time.Millisecond)
				s.Select(time.Millisecond)
				if got := checkNesting(t, s); got != test.want {
					t.Errorf("after the next wait %d registrations keep the set out of the gate, want %d", got, test.want)
				}
				if test.want != 0 && mayAsk(s) {
					t.Error("the kernel may ask the set through the gate")
				}
				if _, err := s.Unregister(fd); err != nil {
					t.Fatal(err)
				}
				if got := checkNesting(t, s); got != 0 {
					t.Errorf("after Unregister %d registrations keep the set out of the gate", got)
				}
			})
		}
	}
}

// TestNestingRandom changes registrations of all kinds in random order, with waits
// in between, and checks the state after each step.
func TestNestingRandom(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := newParking(t)
		const n = 12
		numbers := make([]int, n) // descriptors, some of which change their file
		for i := range numbers {
			numbers[i], _ = fdtest.Pipe(t)
		}
		var trace []string
		for range 400 {
			fd := numbers[rng.IntN(n)]
			events := []Event{EventRead, EventPriority, EventRead | Exclusive, EventRead | OneShot, EventRead | EdgeTriggered}[rng.IntN(5)]
			switch op := rng.IntN(12); op {
			case 0, 1, 2:
				_, err := s.Register(fd, events, nil)
				trace = append(trace, fmt.Sprintf("register %d %v: %v", fd, events, err))
			case 3, 4, 5:
				_, err := s.Modify(fd, events, nil)
				trace = append(trace, fmt.Sprintf("modify %d %v: %v", fd, events, err))
			case 6, 7:
				_, err := s.Unregister(fd)
				trace = append(trace, fmt.Sprintf("unregister %d: %v", fd, err))
			case 8:
				path := []string{"/proc/self/mounts", os.DevNull, "/proc/self/mounts", "/dev/ptmx"}[rng.IntN(4)]
				other, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
				if err != nil {
					other, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				}
				if err != nil {
					t.Fatal(err)
				}
				unix.Dup3(other, fd, unix.O_CLOEXEC)
				unix.Close(other)
				trace = append(trace, fmt.Sprintf("%d is %s now", fd, path))
			case 9:
				s.Wake()
				s.Select(-1)
				trace = append(trace, "wake, select")
			case 10:
				s.Select(100 * time.Microsecond)
				trace = append(trace, "select")
			case 11:
				s.Select(0)
				trace = append(trace, "poll")
			}
			checkNesting(t, s)
			if t.Failed() {
				t.Fatalf("seed %d, last steps: %q", seed, trace[max(0, len(trace)-12):])
			}
		}
	}
}

// TestUnclassifiedListIsBounded: a selector that never waits does not collect
// descriptors without end.
func TestUnclassifiedListIsBounded(t *testing.T) {
	s := newParking(t)
	r, _ := fdtest.Pipe(t)
	for range 10000 {
		mustRegister(t, s, r, EventRead)
		if _, err := s.Unregister(r); err != nil {
			t.Fatal(err)
		}
	}
	mustRegister(t, s, r, EventRead)
	checkNesting(t, s)
}

// TestModifyNews: changing the interest asks the file, which takes its news away.
// So the key is reported once after the first change, also in a Select that waits.
// Later changes do not ask: a program that modifies the key after each report does
// not get reports without end.
func TestModifyNews(t *testing.T) {
	for _, strategy := range Strategies {
		for _, mode := range []Event{0, OneShot, EdgeTriggered} {
			t.Run(fmt.Sprint(strategy.Name, "/", mode), func(t *testing.T) {
				s, err := NewEpollSelector(strategy.Option)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				fd := openMounts(t)
				modify := func(events Event) {
					if _, err := s.Modify(fd, events|mode, nil); err != nil {
						t.Error(err)
					}
				}
				expect := func(when string, want int, events Event) {
					t.Helper()
					got := 0
					for i := range 10 {
						ready, err := s.Select(0)
						if err != nil {
							t.Fatal(err)
						}
						for _, r := range ready {
							if got++; r.Events&events != events {
								t.Errorf("%s: reported %v, want %v", when, r.Events, events)
							}
						}
						if i > 0 && len(ready) == 0 {
							break
						}
						modify([]Event{EventPriority | EventReadClosed, EventPriority}[i%2])
					}
					if got != want {
						t.Errorf("%s: %d reports, want %d", when, got, want)
					}
				}
				mustRegister(t, s, fd, EventPriority|mode)
				if got := reported(t, s, 3); len(got) != 0 {
					t.Errorf("reported %v without news", got)
				}
				modify(EventPriority | EventReadClosed)
				expect("after the first Modify", 1, EventPriority)
				expect("later", 0, EventPriority)
				modify(EventPriority | EventRead) // a mount table is always readable
				want := 3
				if mode != 0 {
					want = 1
				}
				for i := range 3 {
					if ready, err := s.Select(0); err != nil || (len(ready) == 1) != (i < want) {
						t.Errorf("Select %d: reported %v, %v; want the key %d times", i, ready, err, want)
					}
				}
				if _, err := s.Unregister(fd); err != nil {
					t.Fatal(err)
				}
				if got := reported(t, s, 3); len(got) != 0 {
					t.Errorf("reported %v after Unregister", got)
				}

				mustRegister(t, s, fd, EventPriority|mode)
				timer := time.AfterFunc(10*time.Millisecond, func() { modify(EventPriority | EventReadClosed) })
				defer timer.Stop()
				if ready, err := s.Select(10 * time.Second); err != nil || len(ready) != 1 {
					t.Errorf("Modify during a wait: reported %v, %v; want the key once", ready, err)
				}
			})
		}
	}
}

// TestForbidDuringPark: a registration that takes the set out of the gate while
// Select is parked ends the park, so that the events of other files are noticed.
func TestForbidDuringPark(t *testing.T) {
	s := newParking(t)
	r, w := fdtest.Pipe(t)
	mustRegister(t, s, r, EventRead)
	result := make(chan []Ready, 1)
	for _, forbid := range []struct {
		fd     int
		events Event
	}{{openMounts(t), EventPriority}, {fdtest.Dup(t, r), EventRead | Exclusive}} {
		go func() {
			ready, err := s.Select(10 * time.Second)
			if err != nil {
				t.Error(err)
			}
			result <- ready
		}()
		for !mayAsk(s) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond) // until it is parked
		mustRegister(t, s, forbid.fd, forbid.events)
		fdtest.Write(t, w, "x")
		select {
		case ready := <-result:
			if len(ready) == 0 {
				t.Error("the Select that was parked reported nothing")
			}
		case <-time.After(15 * time.Second):
			t.Fatal("the Select that was parked does not return")
		}
		fdtest.Read(t, r, 1)
		if _, err := s.Unregister(forbid.fd); err != nil {
			t.Fatal(err)
		}
	}
}
