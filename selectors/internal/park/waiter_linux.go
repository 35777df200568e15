package park

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
	"goselectors/selectors/internal/wake"
)

// A Waiter sleeps until a Set has something to report or Wake is called.
//
// One goroutine at a time may call Sleep, Disarm, EachFile and SetReplaced. Wake may
// be called from any goroutine. The owner of the set calls CanPark, MayAsk, Forbid
// and Permit with the lock that it also holds in Set.Nest.
type Waiter struct {
	set      Set
	strategy Strategy
	wakes    *atomic.Uint32 // pending wakes: if not zero, Sleep need not wait
	waker    wake.Waker     // ends a wait that blocks

	gate    gate
	parked  atomic.Bool   // the goroutine is parked, or about to be
	retryAt time.Duration // when to try to park again after a shortage, by sys.Now; 0: there was none
	backoff time.Duration // the time from the last failure to retryAt

	timer         int // a timerfd in the set; -1 until it is needed
	timerCleanup  runtime.Cleanup
	ownTimer      atomic.Int32  // the timer, plus one, for Owns
	timerDeadline time.Duration // when it goes off, by sys.Now

	policy policy
}

// The times between two attempts to park after a shortage. Blocking in between
// costs a thread, so nothing is lost by waiting for a while.
const (
	minRetryInterval = 100 * time.Millisecond
	maxRetryInterval = 10 * time.Second
)

// Open prepares a Waiter for the epoll set with descriptor fd. wakes holds the
// pending wakes: a caller of Wake must set it first. Open falls back to Blocking if
// the runtime poller cannot be used. If no descriptor is left for the gate, sleeps
// block until there is one.
func (w *Waiter) Open(fd int, set Set, strategy Strategy, wakes *atomic.Uint32) (err error) {
	w.set, w.strategy, w.wakes, w.timer = set, strategy, wakes, -1
	w.gate.set, w.gate.owner = fd, set
	if err = w.waker.Open(); err != nil {
		return err
	}
	if err = set.Watch(w.waker.FD()); err != nil {
		w.waker.Close()
		return err
	}
	if w.strategy != Blocking {
		if err := w.gate.open(); err == errNotPollable {
			w.strategy = Blocking
		} else if err != nil {
			w.failed(err)
		}
	}
	return nil
}

// Close releases the Waiter's descriptors. No Sleep may be in progress.
func (w *Waiter) Close() {
	w.waker.Close()
	if w.timer >= 0 {
		w.timerCleanup.Stop()
		unix.Close(w.timer)
	}
	if w.gate.file != nil {
		w.gate.file.Close()
	}
}

// Strategy returns how the Waiter sleeps.
func (w *Waiter) Strategy() Strategy { return w.strategy }

// Owns reports whether a number is that of a descriptor of the Waiter. The owner of
// the set calls it with the lock that it also holds in Set.Nest.
func (w *Waiter) Owns(fd int) bool {
	return fd == w.waker.FD() || w.gate.file != nil && fd == w.gate.fd || int32(fd)+1 == w.ownTimer.Load()
}

// EachFile calls watch for each of the Waiter's own descriptors in the set, until
// an error. A new set must contain them before it replaces the set.
func (w *Waiter) EachFile(watch func(fd int) error) error {
	err := watch(w.waker.FD())
	if err == nil && w.timer >= 0 {
		err = watch(w.timer)
	}
	return err
}

// SetReplaced is called after the set's descriptor was given to a new set, which
// contains the Waiter's own descriptors.
func (w *Waiter) SetReplaced() { w.gate.replaced() }

// CanPark reports whether a sleep may park at some time, unless Forbid prevents
// it.
func (w *Waiter) CanPark() bool { return w.strategy != Blocking && !w.gate.disabled.Load() }

// MayAsk reports whether the kernel may ask the files in the set through the gate,
// now or at any time before the next call of Set.Nest.
func (w *Waiter) MayAsk() bool { return w.gate.mayAsk() }

// Forbid is called before the set gets a registration for which it makes a
// difference who asks, or which the kernel refuses while the set is nested. Until
// as many calls of Permit the set is not in the gate, and sleeps block. It reports
// whether it has taken the set out of the gate: the caller then has to end a sleep
// that may be parked.
func (w *Waiter) Forbid() (detached bool) {
	detached = w.gate.forbidden.Add(1) == 1 && w.gate.file != nil
	if detached {
		w.gate.detach()
	}
	return detached
}

// Permit is called after such a registration has been removed.
func (w *Waiter) Permit() { w.gate.forbidden.Add(-1) }

// HasForbidden reports whether the set has such a registration.
func (w *Waiter) HasForbidden() bool { return w.gate.forbidden.Load() != 0 }

// Disarm is called when a poll has found events without a sleep. It keeps the
// events of a busy set away from the runtime's poller.
func (w *Waiter) Disarm() {
	if w.gate.armed {
		w.gate.disarm()
	}
}

// Wake ends the current sleep.
func (w *Waiter) Wake() error {
	if w.parked.Load() {
		return w.gate.wake()
	}
	return w.waker.Wake()
}

// Sleep waits for events, for at most timeout, or without a limit if that is
// negative. It returns the number of events harvested from the set. It may
// return early with none.
func (w *Waiter) Sleep(timeout time.Duration) (int, error) {
	switch {
	case w.strategy == Blocking || w.mustBlock():
		return w.set.Block(timeout)
	case w.strategy == Parking:
		n, _, err := w.park(timeout, 0)
		return n, err
	}
	return w.adapt(timeout)
}

// mustBlock reports whether the sleep that begins cannot park.
func (w *Waiter) mustBlock() bool {
	if w.gate.disabled.Load() || w.gate.forbidden.Load() != 0 {
		return true
	}
	if w.retryAt == 0 {
		return false
	}
	if sys.Now() < w.retryAt {
		return true
	}
	if w.gate.file == nil {
		if err := w.set.Nest(w.gate.open); err != nil {
			w.failed(err)
			return true
		}
	}
	w.retryAt = 0
	return false
}

// failed decides what happens after an attempt to park that failed. Most reasons
// may pass: no descriptor, no memory, max_user_watches (epoll(7)), or the kernel's
// limit for nested sets (fs/eventpoll.c, path_limits), which another selector's
// registration of the same file may have reached.
func (w *Waiter) failed(err error) {
	switch err {
	case errForbidden: // until Permit
	case errNotPollable:
		w.gate.disabled.Store(true)
	default:
		w.backoff = min(max(2*w.backoff, minRetryInterval), maxRetryInterval)
		w.retryAt = sys.Now() + w.backoff
	}
}

// park waits without a thread and then polls the set. If limit is positive, the
// park ends after that time with timedOut set.
func (w *Waiter) park(timeout, limit time.Duration) (n int, timedOut bool, err error) {
	if timeout > 0 {
		if err := w.setTimer(timeout); err != nil {
			n, err = w.set.Block(timeout)
			return n, false, err
		}
	}
	w.parked.Store(true)
	timedOut, err = w.gate.wait(w.wakes, limit)
	w.parked.Store(false)
	if err != nil {
		// The caller checks for wakes that went to the gate, and sleeps again.
		w.failed(err)
		return 0, false, nil
	}
	w.backoff = 0
	n, err = w.set.Poll()
	return n, timedOut, err
}

// setTimer makes the set ready after timeout. A kernel timer is exact to some
// 50 µs; the runtime poller, when idle, to a millisecond or two. If the timer is
// set already and goes off earlier it is left alone: that saves a system call now,
// and a later sleep may end early without events.
func (w *Waiter) setTimer(timeout time.Duration) error {
	if w.timer < 0 {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
		if err != nil {
			return err
		}
		if err := w.set.Watch(fd); err != nil {
			unix.Close(fd)
			return err
		}
		w.timer, w.timerCleanup = fd, sys.CloseWithOwner(w, fd)
		w.ownTimer.Store(int32(fd) + 1)
	}
	at := sys.Now()
	if w.timerDeadline > at && w.timerDeadline <= at+timeout {
		return nil
	}
	w.timerDeadline = 0
	err := unix.TimerfdSettime(w.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(timeout))}, nil)
	if err == nil {
		w.timerDeadline = at + timeout
	}
	return err
}

// blockedThreads counts the threads that adaptive sleeps block at this moment, in
// the whole process. Their number is limited, because the runtime never ends a
// thread that it had to start.
var (
	blockedThreads    atomic.Int32
	maxBlockedThreads = int32(max(4, runtime.NumCPU()))
)

// adapt sleeps as the policy chooses.
func (w *Waiter) adapt(timeout time.Duration) (n int, err error) {
	begin := sys.Now()
	chosen := w.policy.choose(begin)
	if chosen == methodBlock && blockedThreads.Add(1) > maxBlockedThreads {
		blockedThreads.Add(-1)
		chosen = w.policy.parkInstead()
	}
	starved := false
	switch {
	case chosen == methodBlock:
		limit := blockLimit
		if timeout >= 0 && timeout < limit {
			limit = timeout
		}
		n, err = w.blockFor(limit)
		blockedThreads.Add(-1)
		if n > 0 && !w.set.HasUserEvents() && sys.Now()-begin >= blockLimit/2 {
			n = 0 // only the timer's event: continue parked
		}
	case w.policy.trial:
		n, starved, err = w.parkChecked(timeout)
	}
	if n == 0 && err == nil && w.wakes.Load() == 0 {
		left := timeout
		if timeout > 0 {
			left -= sys.Now() - begin
		}
		if left > 0 || timeout < 0 {
			n, _, err = w.park(left, 0)
		}
	}
	end := sys.Now()
	w.policy.record(sleep{
		method:  chosen,
		length:  end - begin,
		timeout: timeout,
		ours:    n == 0 || !w.set.HasUserEvents(),
		starved: starved,
	}, end)
	return n, err
}

// parkChecked is a park whose first 63 ms find out whether parked sleeps last
// longer than they have to. The runtime serves its timers more promptly than its
// poller. So an event that is there when a timer ends the park has been waiting;
// and if even the timer is late, events are too. The event may not have come by
// the first check, so there are several, after 1, 3, 7, 15, 31 and 63 ms.
func (w *Waiter) parkChecked(timeout time.Duration) (n int, starved bool, err error) {
	end := sys.Now() + timeout
	for limit := firstCheck; limit <= lastCheck; limit *= 2 {
		begin := sys.Now()
		if timeout >= 0 {
			if timeout = end - begin; timeout <= 0 {
				break
			}
		}
		var timedOut bool
		n, timedOut, err = w.park(timeout, limit)
		starved = timedOut && w.set.HasUserEvents() || sys.Now()-begin > limit+firstCheck
		if n != 0 || starved || !timedOut || err != nil {
			break
		}
	}
	return n, starved, err
}

// blockFor blocks for about limit at most. It uses the timer, which stays set
// from one sleep to the next: setting a time limit for each sleep, as
// epoll_pwait2 does, takes longer than many sleeps last.
func (w *Waiter) blockFor(limit time.Duration) (int, error) {
	if w.setTimer(limit) != nil {
		return w.set.Block(limit)
	}
	return w.set.Block(-1)
}
