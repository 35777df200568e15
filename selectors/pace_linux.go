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
	usual [2]log2          // length of a sleep, by way: the geometric mean
	mean  [2]time.Duration // and the arithmetic one, each sleep cut to maxMean
	known [2]bool          // whether there was one yet
	since int              // sleeps since the other way was last tried
	next  time.Duration    // when it may be tried again
	trial bool             // this sleep tries it
	again int              // and so many after it
}

type way int

const (
	byParking way = iota
	byBlocking
)

const (
	brief    = 30 * time.Microsecond // shorter sleeps are better blocked through
	maxMean  = time.Millisecond
	maxTrial = time.Millisecond       // what a park may starve while it is only a trial
	starved  = 32 * time.Millisecond  // and what it would have taken then
	short    = 200 * time.Microsecond // sleeps for which a trial is several
	maxBlock = 20 * time.Millisecond  // what has not come by then is worth a park
	minSince = 128                    // sleeps between two trials of the other way,
	maxSince = 250 * time.Millisecond // or as much time
	share    = 32                     // the trials' part of the time: one in so many
)

// choose says how to sleep next.
func (p *pace) choose(at time.Duration) way {
	for w, known := range p.known {
		if !known {
			p.trial = true
			return way(w)
		}
	}
	if p.again > 0 { // of blocking
		p.again--
		return byBlocking
	}
	park, block := p.usual[byParking], p.usual[byBlocking]
	w := byParking
	switch {
	case block > park+much || p.mean[byBlocking] > 3*p.mean[byParking]:
	case park > block+much || p.mean[byParking] > 3*p.mean[byBlocking] ||
		min(park, block) < logOf(brief) ||
		park > block+some && block < logOf(2*brief):
		w = byBlocking
	}
	p.since++
	p.trial = at >= p.next && (p.since >= minSince || at >= p.next+maxSince)
	if p.trial {
		w = 1 - w
		if w == byBlocking && min(park, block) < logOf(short) {
			// What answers fast does so only when it is not idle itself, so
			// one sleep shows little.
			p.again = 7
		}
	}
	return w
}

// slept notes the length of a sleep that has just ended.
func (p *pace) slept(w way, d, at time.Duration) {
	x := logOf(min(d, time.Second))
	if !p.known[w] {
		p.known[w], p.usual[w], p.mean[w] = true, x, min(d, maxMean)
	}
	weight := 4
	if p.trial { // there are few of them
		weight = 2
	}
	p.usual[w] += (x - p.usual[w]) / log2(weight)
	p.mean[w] += (min(d, maxMean) - p.mean[w]) / time.Duration(2*weight)
	if p.trial {
		p.since, p.next = 0, max(p.next, at)+share*min(d, time.Second)
		if w == byBlocking { // it was not the blocking if it was that long
			p.next = min(p.next, at+maxSince)
			if x > p.usual[byParking]+some {
				p.again = 0 // bad enough
			}
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
		// The runtime serves its timers in time, also when it is too busy to
		// look at its poller. What we find then has been waiting for us.
		var late bool
		if n, late, err = b.park(timeout, maxTrial); late && b.foreign() {
			b.slept(w, starved, now())
			return n, err
		}
	}
	if n == 0 && err == nil && b.core.wakes.Load() == 0 {
		if timeout > 0 {
			left -= now() - begin
		}
		if left > 0 || timeout < 0 {
			n, _, err = b.park(left, 0)
		}
	}
	if n != 0 && !b.foreign() && b.known[w] && !b.trial {
		return n, err // our own timer or waker ended it: that says nothing of the way
	}
	end := now()
	b.slept(w, end-begin, end)
	return n, err
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
