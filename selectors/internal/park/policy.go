package park

import (
	"math/bits"
	"time"
)

// A policy chooses between parking and blocking for the next sleep. It is a pure
// type: it is told how long sleeps lasted and makes no system calls.
//
// What is known of the two methods (docs/waiting.md has the figures):
//   - Parking costs one context switch. But the runtime polls its network poller
//     only when its run queues are empty (golang/go#51651): beside busy
//     goroutines a parked one starves, and sleeps that could last 10 µs last
//     10 ms and more.
//   - Blocking keeps the processor (the runtime's P) for some 20 µs and then
//     costs four context switches. That is the cheapest method for shorter
//     sleeps, an expensive one for longer sleeps, and the most expensive one if
//     the event comes from a goroutine of this process that waits for that P.
//
// The policy keeps statistics of the sleeps of each method. It takes the method
// whose sleeps are much shorter; where they are alike, blocking for very short
// sleeps and parking for others. Now and then it tries the other method.
type policy struct {
	stats      [2]sleepStats // by method
	started    bool          // the first sleep is over; its length means nothing, because nobody has talked to us yet
	endedByUs  bool          // the last sleep was ended in time by our own timer or waker
	starving   bool          // when last tried, a parked sleep lasted longer than it had to
	trial      bool          // the current sleep is a trial
	blockTrial blockTrial

	sinceTrial    int           // sleeps since the last trial,
	trialInterval int           // how many there have to be before the next one,
	nextTrial     time.Duration // and the time that it has to be
}

// sleepStats describes the sleeps of one method.
type sleepStats struct {
	known   bool          // there was a sleep
	typical log2          // geometric mean of the lengths
	mean    time.Duration // arithmetic mean, each length cut to meanCap
}

// blockTrial is a series of sleeps that block. A peer that answers fast does so
// only when it is not idle itself, so one sleep shows little: where two processes
// take turns it takes hundreds of sleeps until the kernel has them on one
// processor, and then they last 5 µs instead of 50.
type blockTrial struct {
	left     int  // sleeps that follow
	hadShort bool // one was shorter than blockBelow
}

// A method is a way to sleep.
type method int

const (
	park method = iota
	block
)

const (
	blockBelow = 40 * time.Microsecond  // shorter sleeps are better blocked
	parkAbove  = 150 * time.Microsecond // longer sleeps are better parked, unless they starve

	blockLimit = 20 * time.Millisecond // a blocked sleep of this length goes on parked
	firstCheck = time.Millisecond      // when a park that is a trial is first checked for starvation,
	lastCheck  = 32 * time.Millisecond // and when last; also taken as the length of a starved sleep

	seriesLength = 255 // sleeps of a trial of blocking, counted again from each short one

	meanCap = time.Millisecond

	minTrialInterval = 8                      // sleeps between two trials, at first,
	maxTrialInterval = 128                    // and later on;
	maxTrialPause    = 250 * time.Millisecond // after this time fewer will do
	trialShare       = 32                     // trials take at most one part in this many of the time
)

// choose returns the method for the next sleep.
func (p *policy) choose(now time.Duration) method {
	if !p.started || p.endedByUs {
		p.trial = false
		return park
	}
	if p.blockTrial.left > 0 {
		p.blockTrial.left--
		return block
	}
	p.trial = false
	if !p.stats[park].known {
		p.trial = true
		return park
	}
	blockingMayHelp := p.starving || p.stats[park].typical < log2Of(parkAbove)
	if !p.stats[block].known && blockingMayHelp && !p.starving {
		return p.tryBlocking()
	}
	best := p.best()
	p.sinceTrial++
	switch {
	case best == block && p.stats[block].known && p.stats[block].typical < log2Of(blockBelow):
		return block // parking cannot be better
	case now < p.nextTrial || p.sinceTrial < p.trialInterval && now < p.nextTrial+maxTrialPause:
		return best
	case best == park && blockingMayHelp:
		return p.tryBlocking()
	}
	p.trial = true // also of parking where that is best: so starvation is found out
	return park
}

// best returns the method whose sleeps have been better.
func (p *policy) best() method {
	parked, blocked := &p.stats[park], &p.stats[block]
	switch {
	case !blocked.known:
		if p.starving {
			return block
		}
	case blocked.typical > parked.typical+longer || blocked.mean > 3*parked.mean:
		return park
	case blocked.typical < log2Of(blockBelow),
		parked.typical > blocked.typical+muchLonger,
		parked.mean > 3*blocked.mean,
		parked.typical > blocked.typical+longer && blocked.typical < log2Of(2*blockBelow):
		return block
	}
	return park
}

// tryBlocking begins a trial of blocking.
func (p *policy) tryBlocking() method {
	p.trial, p.blockTrial.hadShort = true, false
	if p.stats[park].typical < log2Of(parkAbove) {
		p.blockTrial.left = seriesLength
	}
	return block
}

// parkInstead is called when the sleep is parked although choose said block.
func (p *policy) parkInstead() method {
	p.trial = false
	return park
}

// A sleep is what happened.
type sleep struct {
	method  method
	length  time.Duration
	timeout time.Duration // that the caller asked for; negative means none
	ours    bool          // no event of the user's ended it: our own timer or waker, or nothing
	starved bool          // it was seen to last longer than it had to
}

// record takes note of a sleep that ended now.
func (p *policy) record(s sleep, now time.Duration) {
	if s.ours && s.method == park && s.timeout > 0 && s.length > s.timeout+firstCheck {
		s.starved = true // our own timer was noticed late
	}
	length := s.length
	if s.starved {
		p.starving, length = true, max(length, lastCheck)
	} else if p.trial && s.method == park {
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
	if m == block && length < blockBelow {
		p.blockTrial.left, p.blockTrial.hadShort = seriesLength, true
	}
	s.typical += (x - s.typical) / 4
	s.mean += (min(length, meanCap) - s.mean) / 8
}

// planTrial sets the time of the next trial, after a sleep that was one.
func (p *policy) planTrial(m method, length, now time.Duration) {
	p.sinceTrial, p.trialInterval = 0, min(max(2*p.trialInterval, minTrialInterval), maxTrialInterval)
	p.nextTrial = max(p.nextTrial, now) + trialShare*min(length, time.Second)
	if m == block { // a long sleep then is not the fault of blocking
		p.nextTrial = min(p.nextTrial, now+maxTrialPause)
		if !p.blockTrial.hadShort && p.stats[park].known && p.stats[block].typical > p.stats[park].typical+longer {
			p.blockTrial.left = 0 // bad enough
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
