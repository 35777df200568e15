package selectors

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
)

// pace is how an adaptive wait chooses between two ways to sleep. It keeps the
// usual length of a sleep in either way and takes the one that serves better
// here and now; now and then it tries the other.
//
// What there is to know of the two (figures: package documentation):
//   - Parking costs one context switch. But the runtime looks at its poller
//     only when its run queues are empty: beside busy goroutines a parked one
//     starves, and sleeps last 10 ms and more that could last 10 µs.
//   - Blocking keeps the processor (the runtime's P) for some 20 µs and then
//     costs four context switches: the cheapest of all for shorter sleeps,
//     dear for longer ones, and dearer still if the event comes from a
//     goroutine of this process that waits for the very same P.
//
// So: where one way's sleeps are much shorter, that one; where they are alike,
// blocking for very short sleeps, parking for others.
type pace struct {
	usual  [2]log2          // length of a sleep, by way: the geometric mean
	mean   [2]time.Duration // and the arithmetic one, each sleep cut to maxMean
	known  [2]bool          // whether there was one yet
	begun  bool             // the first sleep is over; it says nothing, nobody talked to us yet
	own    bool             // the last sleep ended by our own timer or waker, in time
	hungry bool             // when last tried, a parked sleep lasted longer than it had to
	trial  bool             // this sleep is a trial
	again  int              // so many sleeps more are blocked
	fast   bool             // there has been a brief one among them
	since  int              // sleeps since the last trial,
	span   int              // how many there have to be before the next one,
	next   time.Duration    // and the time that has to come
}

type way int

const (
	byParking way = iota
	byBlocking
)

const (
	brief    = 40 * time.Microsecond // shorter sleeps are better blocked through
	stay     = 255                   // sleeps for which blocking goes on after a brief one
	maxMean  = time.Millisecond
	maxTrial = time.Millisecond       // when a park that is only a trial is looked after first
	starved  = 32 * time.Millisecond  // and last; and what it would have taken then
	short    = 150 * time.Microsecond // longer sleeps are better parked, unless they starve
	maxBlock = 20 * time.Millisecond  // what has not come by then is worth a park
	minSpan  = 8                      // sleeps between two trials, to begin with
	maxSpan  = 128                    // and later on,
	maxSince = 250 * time.Millisecond // or as much time
	share    = 32                     // the trials' part of the time: one in so many
)

// choose says how to sleep next.
func (p *pace) choose(at time.Duration) way {
	if !p.begun || p.own {
		p.trial = false
		return byParking
	}
	if p.again > 0 {
		p.again--
		return byBlocking
	}
	p.trial = false
	if !p.known[byParking] {
		p.trial = true
		return byParking
	}
	// Whether blocking may be any better at all.
	worth := p.hungry || p.usual[byParking] < logOf(short)
	if !p.known[byBlocking] && worth && !p.hungry {
		return p.tryBlocking()
	}
	park, block := p.usual[byParking], p.usual[byBlocking]
	w := byParking
	switch {
	case !p.known[byBlocking]:
		if p.hungry {
			w = byBlocking
		}
	case block > park+some || p.mean[byBlocking] > 3*p.mean[byParking]:
	case block < logOf(brief), park > block+much, p.mean[byParking] > 3*p.mean[byBlocking],
		park > block+some && block < logOf(2*brief):
		w = byBlocking
	}
	p.since++
	switch {
	case w == byBlocking && p.known[byBlocking] && block < logOf(brief): // parking cannot be better
	case at < p.next || p.since < p.span && at < p.next+maxSince: // not yet
	case w == byParking && worth:
		return p.tryBlocking()
	default: // parked too: that is how to find out whether it starves
		p.trial = true
		return byParking
	}
	return w
}

// tryBlocking begins a trial of blocking. What answers fast does so only when
// it is not idle itself, so one sleep shows little: where two processes take
// turns it takes hundreds until the kernel has them on one processor, with
// sleeps of 5 µs instead of 50.
func (p *pace) tryBlocking() way {
	p.trial, p.fast = true, false
	switch park := p.usual[byParking]; {
	case park < logOf(3*brief):
		p.again = stay
	case park < logOf(short):
		p.again = 7
	}
	return byBlocking
}

// learn notes the length of a sleep.
func (p *pace) learn(w way, d time.Duration) {
	x := logOf(min(d, time.Second))
	if !p.known[w] {
		p.known[w], p.usual[w], p.mean[w] = true, x, min(d, maxMean)
	}
	if w == byBlocking && d < brief {
		p.again, p.fast = max(p.again, stay), true
	}
	weight := 4
	if p.trial && w == byParking { // there are few of them
		weight = 2
	}
	p.usual[w] += (x - p.usual[w]) / log2(weight)
	p.mean[w] += (min(d, maxMean) - p.mean[w]) / time.Duration(2*weight)
}

// tried plans the next trial, after a sleep that was one.
func (p *pace) tried(w way, d, at time.Duration) {
	d = min(d, time.Second)
	p.since, p.span = 0, min(max(2*p.span, minSpan), maxSpan)
	p.next = max(p.next, at) + share*d
	if w == byBlocking { // it was not the blocking if it was that long
		p.next = min(p.next, at+maxSince)
		if !p.fast && p.known[byParking] && p.usual[byBlocking] > p.usual[byParking]+some {
			p.again = 0 // bad enough
		}
	}
}

// log2 is the binary logarithm of a duration in ns, times 256. Its mean is a
// geometric one: a few outliers do not hide what is usual.
type log2 int

const (
	some log2 = 192 // 1.7 times as long
	much log2 = 512 // four times
)

func logOf(d time.Duration) log2 {
	n := bits.Len64(uint64(max(d, 1))) - 1
	return log2(n<<8) + log2(uint64(d)<<8>>n&255)
}

// blocked counts the threads that adaptive waits block at this moment, in the
// whole process. The runtime never ends a thread that it had to start, so they
// are kept to a handful, however many selectors there are.
var (
	blocked    atomic.Int32
	maxBlocked = int32(max(4, runtime.NumCPU()))
)

// adapt sleeps in the way that serves best.
func (b *epoll) adapt(timeout time.Duration) (n int, err error) {
	begin := now()
	w := b.choose(begin)
	if w == byBlocking && blocked.Add(1) > maxBlocked {
		blocked.Add(-1)
		w, b.trial = byParking, false
	}
	left := timeout
	late := false
	if w == byBlocking {
		most := maxBlock
		if timeout >= 0 && timeout < most {
			most = timeout
		}
		n, err = b.blockFor(most)
		blocked.Add(-1)
		if n > 0 && !b.foreign() && now()-begin >= maxBlock/2 {
			n = 0 // it has been long enough
		}
	} else if b.trial {
		n, late, err = b.parkToSee(timeout)
	}
	if n == 0 && err == nil && b.core.wakes.Load() == 0 {
		if timeout > 0 {
			left -= now() - begin
		}
		if left > 0 || timeout < 0 {
			n, _, err = b.park(left, 0)
		}
	}
	end := now()
	b.rate(w, end-begin, timeout, n == 0 || !b.foreign(), late)
	if b.trial {
		b.tried(w, end-begin, end)
	}
	return n, err
}

// parkToSee is a park, but for the first 63 ms, that finds out whether it lasts
// longer than it has to. The runtime serves its timers more promptly than its
// poller: what is there when a timer ends the park has been waiting for us; and
// if even the timer is late, all the more so. What comes may come late itself,
// so there are several looks, each after twice as long.
func (b *epoll) parkToSee(timeout time.Duration) (n int, late bool, err error) {
	end := now() + timeout
	for bound := maxTrial; bound <= starved; bound *= 2 {
		begin := now()
		if timeout >= 0 {
			if timeout = end - begin; timeout <= 0 {
				break
			}
		}
		var timer bool
		n, timer, err = b.park(timeout, bound)
		late = timer && b.foreign() || now()-begin > bound+maxTrial
		if n != 0 || late || !timer || err != nil {
			break
		}
	}
	return n, late, err
}

// rate draws the conclusions from a sleep. If our own timer or waker ended it,
// its length says nothing of the way, unless the timer was noticed late.
func (p *pace) rate(w way, d, timeout time.Duration, own, late bool) {
	if own && w == byParking && timeout > 0 && d > timeout+maxTrial {
		late = true
	}
	if late {
		p.hungry, d = true, max(d, starved)
	} else if p.trial && w == byParking {
		p.hungry = false
	}
	p.own = own && !p.hungry
	if !p.begun {
		p.begun = true
	} else if !own || late {
		p.learn(w, d)
	}
}

// blockFor blocks for at most so long, roughly. The time limit is the timer's
// that stays set from one sleep to the next: to set one for each sleep, as
// epoll_pwait2 does, costs more than many a sleep lasts.
func (b *epoll) blockFor(most time.Duration) (int, error) {
	if b.setTimer(most) != nil {
		return b.block(most)
	}
	return b.block(-1)
}
