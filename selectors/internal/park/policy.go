package park

import (
	"math/bits"
	"time"
)

// A policy chooses between parking and blocking for the next sleep. It has no side
// effects: its input is how long sleeps lasted, and it makes no system calls.
//
// What is known of the two methods (docs/waiting.md has the figures):
//   - Parking costs one context switch. But the runtime polls its network poller
//     only when its run queues are empty (golang/go#51651): beside busy
//     goroutines a parked one starves, and sleeps that could last 10 µs last
//     10 ms and more.
//   - Blocking keeps the processor (the runtime's P) for about 20 µs and then
//     costs four context switches. That is the cheapest method for shorter
//     sleeps, an expensive one for longer sleeps, and the most expensive one if
//     the event comes from a goroutine of this process that waits for that P.
//
// The policy keeps statistics of the sleeps of each method. It uses the method
// whose sleeps are much shorter. If they are similar, it blocks for very short
// sleeps and parks for longer ones. From time to time it tries the other method.
type policy struct {
	stats      [2]sleepStats // by method
	started    bool          // the first sleep is over; its length is ignored, because no peer was active yet
	endedByUs  bool          // the last sleep was ended in time by our own timer or waker
	starving   bool          // when last tried, a parked sleep ended late
	trial      bool          // the current sleep is a trial
	blockTrial blockTrial

	sinceTrial    int           // sleeps since the last trial
	trialInterval int           // minimum of sleeps before the next trial
	nextTrial     time.Duration // earliest time of the next trial
}

// sleepStats describes the sleeps of one method.
type sleepStats struct {
	known   bool          // there was a sleep
	typical log2          // geometric mean of the lengths
	mean    time.Duration // arithmetic mean, each length at most meanCap
}

// blockTrial is a series of sleeps that block. A peer answers fast only if it is not
// idle itself, so a single sleep is not representative: two processes that take
// turns need hundreds of sleeps until the kernel has them on one processor, and
// then the sleeps last 5 µs instead of 50.
type blockTrial struct {
	left     int  // sleeps left in the series
	hadShort bool // one was shorter than blockBelow
}

// A method is a way to sleep.
type method int

const (
	methodPark method = iota
	methodBlock
)

const (
	blockBelow = 40 * time.Microsecond  // shorter sleeps are better blocked
	parkAbove  = 150 * time.Microsecond // longer sleeps are better parked, unless they starve

	blockLimit = 20 * time.Millisecond // after this time a blocking sleep continues as a park
	firstCheck = time.Millisecond      // first interval between the checks for starvation in a trial of parking
	lastCheck  = 32 * time.Millisecond // last interval; also the minimum length recorded for a starved sleep

	seriesLength = 255 // sleeps that follow the first one, or the last short one, of a trial of blocking

	meanCap = time.Millisecond

	minTrialInterval = 8                      // first minimum of sleeps between two trials
	maxTrialInterval = 128                    // largest minimum
	maxTrialPause    = 250 * time.Millisecond // a trial that is overdue by this time does not wait for the minimum
	trialShare       = 32                     // trials take about one part in this many of the time
)

// choose returns the method for the next sleep.
func (p *policy) choose(now time.Duration) method {
	if !p.started || p.endedByUs {
		p.trial = false
		return methodPark
	}
	if p.blockTrial.left > 0 {
		p.blockTrial.left--
		return methodBlock
	}
	p.trial = false
	if !p.stats[methodPark].known {
		p.trial = true
		return methodPark
	}
	blockingMayHelp := p.starving || p.stats[methodPark].typical < log2Of(parkAbove)
	if !p.stats[methodBlock].known && blockingMayHelp && !p.starving {
		return p.tryBlocking()
	}
	best := p.best()
	p.sinceTrial++
	switch {
	case best == methodBlock && p.stats[methodBlock].known && p.stats[methodBlock].typical < log2Of(blockBelow):
		return methodBlock // parking cannot be better
	case now < p.nextTrial || p.sinceTrial < p.trialInterval && now < p.nextTrial+maxTrialPause:
		return best
	case best == methodPark && blockingMayHelp:
		return p.tryBlocking()
	}
	p.trial = true // also if parking is best: only a trial detects starvation
	return methodPark
}

// best returns the method whose sleeps have been better.
func (p *policy) best() method {
	parked, blocked := &p.stats[methodPark], &p.stats[methodBlock]
	switch {
	case !blocked.known:
		if p.starving {
			return methodBlock
		}
	case blocked.typical > parked.typical+longer || blocked.mean > 3*parked.mean:
		return methodPark
	case blocked.typical < log2Of(blockBelow),
		parked.typical > blocked.typical+muchLonger,
		parked.mean > 3*blocked.mean,
		parked.typical > blocked.typical+longer && blocked.typical < log2Of(2*blockBelow):
		return methodBlock
	}
	return methodPark
}

// tryBlocking begins a trial of blocking.
func (p *policy) tryBlocking() method {
	p.trial, p.blockTrial.hadShort = true, false
	if p.stats[methodPark].typical < log2Of(parkAbove) {
		p.blockTrial.left = seriesLength
	}
	return methodBlock
}

// parkInstead is called when the sleep is parked although choose said block.
func (p *policy) parkInstead() method {
	p.trial = false
	return methodPark
}

// A sleep describes a finished sleep, for record.
type sleep struct {
	method  method
	length  time.Duration
	timeout time.Duration // that the caller asked for; negative means none
	ours    bool          // no user event ended it: our timer, our waker or a timeout did
	starved bool          // events were found waiting, or a timer was late
}

// record adds a sleep that ended now.
func (p *policy) record(s sleep, now time.Duration) {
	if s.ours && s.method == methodPark && s.timeout > 0 && s.length > s.timeout+firstCheck {
		s.starved = true // our own timer was noticed late
	}
	length := s.length
	if s.starved {
		p.starving, length = true, max(length, lastCheck)
	} else if p.trial && s.method == methodPark {
		p.starving = false
	}
	p.endedByUs = s.ours && !p.starving
	if !p.started {
		p.started = true
	} else if !s.ours || s.starved { // otherwise its length says nothing about the method
		p.learn(s.method, length)
	}
	if p.trial {
		p.planTrial(s.method, s.length, now)
	}
}

// learn adds the length of a sleep to the statistics.
func (p *policy) learn(m method, length time.Duration) {
	s := &p.stats[m]
	x := log2Of(min(length, time.Second))
	if !s.known {
		*s = sleepStats{true, x, min(length, meanCap)}
	}
	if m == methodBlock && length < blockBelow {
		p.blockTrial.left, p.blockTrial.hadShort = seriesLength, true
	}
	s.typical += (x - s.typical) / 4
	s.mean += (min(length, meanCap) - s.mean) / 8
}

// planTrial sets the time of the next trial, after a sleep that was one.
func (p *policy) planTrial(m method, length, now time.Duration) {
	p.sinceTrial, p.trialInterval = 0, min(max(2*p.trialInterval, minTrialInterval), maxTrialInterval)
	p.nextTrial = max(p.nextTrial, now) + trialShare*min(length, time.Second)
	if m == methodBlock { // a long sleep here is not caused by blocking
		p.nextTrial = min(p.nextTrial, now+maxTrialPause)
		if !p.blockTrial.hadShort && p.stats[methodPark].known && p.stats[methodBlock].typical > p.stats[methodPark].typical+longer {
			p.blockTrial.left = 0 // blocking is slower: end the trial
		}
	}
}

// log2 is the binary logarithm of a duration in ns, times 256. A mean of
// logarithms is a geometric one, in which a few outliers do not hide the rest.
type log2 int

const (
	longer     log2 = 192 // 1.7 times as long
	muchLonger log2 = 512 // four times
)

func log2Of(d time.Duration) log2 {
	n := bits.Len64(uint64(max(d, 1))) - 1
	return log2(n<<8) + log2(uint64(d)<<8>>n&255)
}
