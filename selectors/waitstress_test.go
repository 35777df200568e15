//go:build linux

package selectors_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// A lost wake-up shows as a stall, but only if nothing else ends the sleep. So the
// first half of each stress is strict: one thing happens, and then nothing until
// the selector has answered. In the second half many goroutines act at once, and
// everything that was written has to be received.
//
//	go test -run TestNoWakeUpIsLost -wait.events 10000000 -timeout 30m ./selectors
var waitEvents = flag.Int("wait.events", 0, "events of the lost wake-up stress on each selector, a tenth of them on poll and select (0: a fifth of a second)")

// stallAfter is the time without progress that counts as a stall.
const stallAfter = 10 * time.Second

func TestNoWakeUpIsLost(t *testing.T) {
	for _, procs := range []int{1, 2} {
		for _, strategy := range selectors.Strategies {
			t.Run(fmt.Sprintf("%s/P=%d", strategy.Name, procs), func(t *testing.T) {
				s, err := selectors.NewEpollSelector(strategy.Option)
				stressSelector(t, s, err, procs, *waitEvents)
			})
		}
		t.Run(fmt.Sprintf("poll/P=%d", procs), func(t *testing.T) {
			s, err := selectors.NewPollSelector()
			stressSelector(t, s, err, procs, *waitEvents/10)
		})
		t.Run(fmt.Sprintf("select/P=%d", procs), func(t *testing.T) {
			s, err := selectors.NewSelectSelector()
			stressSelector(t, s, err, procs, *waitEvents/10)
		})
	}
}

func stressSelector(t *testing.T, s selectors.Selector, err error, procs, events int) {
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			s.Close()
		}()
		select {
		case <-closed:
		case <-time.After(stallAfter):
			t.Error("Close hangs")
		}
	})
	before := runtime.GOMAXPROCS(procs)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })

	st := &stress{t: t, s: s, quit: make(chan struct{})}
	if st.limit = int64(events / 2); events == 0 {
		st.limit, st.maxTime = 1<<62, 100*time.Millisecond
	}
	for i := range 32 {
		st.sources = append(st.sources, newStressSource(t, i%3))
	}
	for _, src := range st.sources {
		if _, err := s.Register(src.fd, selectors.EventRead, src); err != nil {
			t.Fatal(err)
		}
	}
	st.run(st.strict)
	st.run(st.concurrent)
	t.Logf("%d events, %d selects", st.events.Load(), st.selects.Load())
}

// A stressSource is a pipe, an eventfd or a socket.
type stressSource struct {
	fd, writeFD int
	counter     bool   // an eventfd
	sent        uint64 // by the writer
	received    atomic.Uint64
	answered    chan struct{} // has an element after something was received

	interest selectors.Event // of the strict part
}

func newStressSource(t *testing.T, kind int) *stressSource {
	src := &stressSource{answered: make(chan struct{}, 1), interest: selectors.EventRead}
	var p [2]int
	var err error
	switch kind {
	case 0:
		err = unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	case 1:
		p[0], err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		p[1], src.counter = p[0], true
	case 2:
		p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	src.fd, src.writeFD = p[0], p[1]
	t.Cleanup(func() {
		unix.Close(p[0])
		if p[1] != p[0] {
			unix.Close(p[1])
		}
	})
	return src
}

func (src *stressSource) pending() uint64 { return src.sent - src.received.Load() }

func (src *stressSource) write(n int) error {
	b := make([]byte, 8)
	if src.counter {
		*(*uint64)(unsafe.Pointer(&b[0])) = uint64(n)
	} else {
		b = b[:n]
	}
	src.sent += uint64(n)
	if done := rawWrite(src.writeFD, b); done != len(b) {
		return fmt.Errorf("wrote %d bytes of %d", done, len(b))
	}
	return nil
}

// read reads 16 bytes at most. A level-triggered source that has more is reported
// again; an edge-triggered one never has more.
func (src *stressSource) read(b *[16]byte) {
	n := rawRead(src.fd, b[:])
	switch {
	case n <= 0:
		return
	case src.counter:
		src.received.Add(*(*uint64)(unsafe.Pointer(b)))
	default:
		src.received.Add(uint64(n))
	}
	select {
	case src.answered <- struct{}{}:
	default:
	}
}

// A stress is one selector under test.
type stress struct {
	t       *testing.T
	s       selectors.Selector
	sources []*stressSource
	limit   int64         // events of each half
	maxTime time.Duration // of each half, if limit is not reached before
	begin   time.Time

	events  atomic.Int64 // that happened and were answered
	selects atomic.Int64
	woken   chan struct{} // has an element after a Select returned without events
	quit    chan struct{} // closed on failure
	once    sync.Once
}

func (st *stress) fail(format string, args ...any) {
	st.once.Do(func() {
		st.t.Errorf(format, args...)
		close(st.quit)
		go st.s.Close() // may hang as well
	})
}

// done reports whether a half is over after n events.
func (st *stress) done(n int64) bool {
	select {
	case <-st.quit:
		return true
	default:
	}
	return n >= st.limit || st.maxTime > 0 && time.Since(st.begin) > st.maxTime
}

// run runs one half beside the selecting goroutine, and fails if there is no
// progress.
func (st *stress) run(half func()) {
	st.begin = time.Now()
	st.woken = make(chan struct{}, 1)
	var stop atomic.Bool
	selected, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(selected)
		st.selectUntil(&stop)
	}()
	go func() {
		defer close(finished)
		half()
		stop.Store(true)
		st.s.Wake()
		<-selected
	}()
	lastCount, at := int64(-1), time.Now()
	tick := time.NewTicker(stallAfter / 20)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return
		case <-tick.C:
		}
		select {
		case <-st.quit:
			select {
			case <-finished:
			case <-time.After(stallAfter):
				st.t.Fatal("the stress does not end after a failure")
			}
		default:
		}
		if n := st.events.Load(); n != lastCount {
			lastCount, at = n, time.Now()
		} else if time.Since(at) > stallAfter {
			trace := make([]byte, 1<<20)
			trace = trace[:runtime.Stack(trace, true)]
			st.fail("no progress for %v after %d events\n%s", stallAfter, lastCount, trace)
		}
	}
}

func (st *stress) selectUntil(stop *atomic.Bool) {
	var batch []selectors.Ready
	var buf [16]byte
	for i := 0; !stop.Load(); i++ {
		// A timeout that never ends takes another path through the code, and hides
		// no lost wake-up.
		timeout := time.Duration(-1)
		if i%16 == 0 {
			timeout = time.Minute
		}
		var err error
		batch, err = st.s.SelectInto(batch[:0], timeout)
		if err != nil {
			st.fail("Select: %v", err)
			return
		}
		st.selects.Add(1)
		for _, ready := range batch {
			if extra := ready.Events &^ ready.Key.Events; extra != 0 {
				st.fail("%v reported for a key with %v", ready.Events, ready.Key.Events)
			}
			ready.Key.Data.(*stressSource).read(&buf)
		}
		if len(batch) == 0 {
			select {
			case st.woken <- struct{}{}:
			default:
			}
		}
	}
}

func (st *stress) modify(src *stressSource, events selectors.Event) {
	if _, err := st.s.Modify(src.fd, events, src); err != nil {
		st.fail("Modify: %v", err)
	}
	src.interest = events
}

// Interests that a source is switched between. A source never has urgent data.
const (
	reading    = selectors.EventRead
	urgentOnly = selectors.EventPriority
)

// strict makes one thing happen at a time and waits for the answer.
func (st *stress) strict() {
	random := rand.New(rand.NewPCG(1, 2))
	edge := reading
	if st.s.Features()&selectors.FeatureEdgeTriggered != 0 {
		edge |= selectors.EdgeTriggered
	}
	for n := int64(0); !st.done(n); n++ {
		src := st.sources[random.IntN(len(st.sources))]
		units := 1 + random.IntN(8)
		if n/64%64 == 1 { // so that some sleeps are long, for which the wait strategy differs
			time.Sleep(time.Duration(random.IntN(200)) * time.Microsecond)
		}
		var err error
		switch random.IntN(16) {
		case 0: // the data is there before the interest
			st.modify(src, urgentOnly)
			err = src.write(units)
			st.modify(src, reading)
		case 1: // the interest is there before the data
			st.modify(src, urgentOnly)
			st.modify(src, reading)
			err = src.write(units)
		case 2:
			st.modify(src, reading|selectors.OneShot)
			err = src.write(units)
		case 3:
			st.modify(src, urgentOnly)
			err = src.write(units)
			st.modify(src, reading|selectors.OneShot)
		case 4:
			st.modify(src, edge)
			err = src.write(units)
		case 5:
			st.modify(src, urgentOnly)
			err = src.write(units)
			st.modify(src, edge)
		case 6: // a wake alone
			select {
			case <-st.woken: // left from an earlier wake
			default:
			}
			if err = st.s.Wake(); err == nil {
				select {
				case <-st.woken:
				case <-st.quit:
				}
			}
		case 7: // registered after the data came
			if _, err = st.s.Unregister(src.fd); err == nil {
				err = src.write(units)
				if _, registerErr := st.s.Register(src.fd, reading, src); registerErr != nil {
					err = registerErr
				}
				src.interest = reading
			}
		case 8: // data together with a wake, and more data at about the time when the next sleep begins
			if src.interest != reading {
				st.modify(src, reading)
			}
			if err = st.s.Wake(); err == nil {
				err = src.write(units)
			}
			st.await(src, 0)
			for range random.IntN(256) {
				src.received.Load()
			}
			if err == nil {
				err = src.write(units)
			}
		default: // mostly a write alone
			if src.interest&selectors.OneShot != 0 {
				st.modify(src, reading)
			}
			err = src.write(units)
		}
		if err != nil {
			st.fail("%v", err)
		}
		st.await(src, 0)
		st.events.Add(1)
	}
	for _, src := range st.sources {
		st.modify(src, reading)
	}
}

// concurrent runs four goroutines that write, one that changes the interests, and
// one that calls Wake.
func (st *stress) concurrent() {
	var writers, others sync.WaitGroup
	start := func(group *sync.WaitGroup, f func()) {
		group.Add(1)
		go func() {
			defer group.Done()
			f()
		}()
	}
	var done atomic.Bool
	var total atomic.Int64
	for i := range 4 {
		start(&writers, func() { st.produce(st.sources[i*8:i*8+8], rand.New(rand.NewPCG(3, uint64(i))), &total) })
	}
	start(&others, func() {
		random := rand.New(rand.NewPCG(4, 4))
		for !done.Load() {
			for range 64 {
				src := st.sources[random.IntN(len(st.sources))]
				var err error
				if random.IntN(8) == 0 {
					if _, err = st.s.Unregister(src.fd); err == nil {
						_, err = st.s.Register(src.fd, reading, src)
					}
				} else if _, err = st.s.Modify(src.fd, urgentOnly, src); err == nil {
					_, err = st.s.Modify(src.fd, reading, src)
				}
				if err != nil {
					st.fail("change of the interest: %v", err)
					return
				}
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	start(&others, func() {
		for !done.Load() {
			if err := st.s.Wake(); err != nil {
				st.fail("Wake: %v", err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	writers.Wait()
	done.Store(true)
	others.Wait()
	for _, src := range st.sources {
		if n := src.received.Load(); n != src.sent {
			st.fail("received %d of %d", n, src.sent)
		}
	}
}

// produce writes bursts to several sources and waits until each burst was read.
func (st *stress) produce(sources []*stressSource, random *rand.Rand, total *atomic.Int64) {
	const maxInFlight = 256 // bytes in one source
	for !st.done(total.Load()) {
		burst := 1 + random.IntN(64)
		for range burst {
			src := sources[random.IntN(len(sources))]
			st.await(src, maxInFlight-8)
			if err := src.write(1 + random.IntN(8)); err != nil {
				st.fail("%v", err)
				return
			}
		}
		for _, src := range sources {
			st.await(src, 0)
		}
		total.Add(int64(burst))
		st.events.Add(int64(burst))
	}
}

// await waits until no more than limit is in flight.
func (st *stress) await(src *stressSource, limit uint64) {
	for src.pending() > limit {
		select {
		case <-src.answered:
		case <-st.quit:
			return
		}
	}
}
