package looptest

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"goselectors/selectors"
)

// ErrStuck is the error of Select and SelectInto where a real program would hang
// or spin forever. See [Selector.SetStuckAfter].
var ErrStuck = errors.New("looptest: the loop makes no progress")

// A Selector is a [selectors.Selector] without a kernel. It follows the contract
// of the selectors in that package and returns the same errors, with these
// differences:
//
//   - A file object is any comparable value that is not nil, such as a string.
//     An int or uintptr is a descriptor number, as elsewhere. Any other value is
//     assigned a number, even if it has a real descriptor, which is never used.
//   - Files become ready when the script says so: see At and Once. No file is
//     ever closed under the selector, unless the script reports
//     [selectors.EventInvalid].
//   - Where another Select would sleep, this one moves the clock forward, to the
//     next step of the script or to the end of its timeout, whichever is
//     earlier. Only without a timeout and without further steps does it block.
//   - A batch lists the files in the order in which they became ready.
//
// The selector has all features except [selectors.FeatureParked]. Its methods may
// be called from any goroutine.
type Selector struct {
	clock *Clock

	selecting sync.Mutex    // held during a Select
	change    chan struct{} // buffered; a value ends waitForChange

	mu             sync.Mutex // guards the fields below
	byFD           map[int]*file
	byObj          map[any]*file
	lastAssignedFD int
	keyCount       int
	script         []step  // the steps to come, by time
	ready          []*file // files with events, registered or not, in the order they became ready
	woken          bool
	closed         bool
	timeouts       []time.Duration

	stuckAfter     time.Duration
	stalledSelects int           // calls of Select since the last progress: see checkStalled
	stalledSince   time.Time     // real time at call number minStalledSelects
	stalledAt      time.Duration // virtual time of those calls
}

const (
	allInterests = selectors.EventRead | selectors.EventWrite | selectors.EventPriority | selectors.EventReadClosed
	allModes     = selectors.EdgeTriggered | selectors.OneShot | selectors.Exclusive
)

// firstAssignedFD is the first number assigned to a file object that is not a
// number. It is above the descriptors that a process has.
const firstAssignedFD = 1 << 20

// minStalledSelects is the number of calls of Select without progress from which
// real time is measured. Fewer calls may take any time, so that a test can be
// stopped in a debugger.
const minStalledSelects = 1000

// NewSelector returns a selector with an empty script. Its Select moves clock.
func NewSelector(clock *Clock) *Selector {
	return &Selector{
		clock:          clock,
		change:         make(chan struct{}, 1),
		byFD:           make(map[int]*file),
		byObj:          make(map[any]*file),
		lastAssignedFD: firstAssignedFD - 1,
		stuckAfter:     10 * time.Second,
	}
}

// Timeouts returns the timeouts passed to Select and SelectInto so far, in the
// order of the calls. They say how long the loop wanted to sleep. A negative
// timeout means without limit.
func (s *Selector) Timeouts() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.timeouts)
}

// SetStuckAfter sets the real time without progress after which Select fails with
// [ErrStuck]. The default is 10 s. There are two cases:
//
//   - Hang: Select has no timeout, the script has no steps left, nothing is ready,
//     and for d no other goroutine calls Wake, At, Once, Register, Modify or
//     Unregister.
//   - Spin: Select is called at least 1000 times, and then for d, while the clock
//     stands still, no step of the script runs, Wake is not called and Clear is
//     not called for a ready file. Examples are a file that stays ready because
//     Clear is never called, and a loop that always schedules a callback to run at
//     once and so never sleeps.
func (s *Selector) SetStuckAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuckAfter = d
	s.signalChange()
}

// Register implements [selectors.Selector].
func (s *Selector) Register(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	return s.setInterest("register", fileobj, events, data)
}

// Modify implements [selectors.Selector].
func (s *Selector) Modify(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	return s.setInterest("modify", fileobj, events, data)
}

// setInterest does the work of Register and Modify; op is "register" or "modify".
func (s *Selector) setInterest(op string, fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, fd, err := s.lookup(fileobj, op == "register")
	switch {
	case err != nil:
	case checkInterest(events) != nil:
		err = checkInterest(events)
	case op == "register" && f.key != nil:
		err = selectors.ErrRegistered
	case op == "modify" && f.key == nil:
		err = selectors.ErrNotRegistered
	}
	if err != nil || s.closed {
		return nil, s.newError(op, fd, err)
	}
	// Modify with the same interest arms a file again only if it is disabled or
	// edge-triggered.
	if f.key == nil || f.key.Events != events || f.disabled || events&selectors.EdgeTriggered != 0 {
		f.edgePending, f.disabled, f.reportedHints = true, false, 0
	}
	if f.key == nil {
		s.keyCount++
	} else {
		fileobj = f.key.FileObj
	}
	f.key = &selectors.SelectorKey{FileObj: fileobj, FD: f.fd, Events: events, Data: data}
	s.signalChange()
	return f.key, nil
}

// checkInterest returns an error for an interest that all selectors reject.
func checkInterest(events selectors.Event) error {
	const withExclusive = selectors.EventRead | selectors.EventWrite | selectors.EdgeTriggered | selectors.Exclusive
	if events&^(allInterests|allModes) != 0 || events&allInterests == 0 ||
		events&selectors.Exclusive != 0 && events&^withExclusive != 0 {
		return fmt.Errorf("%w: %v", selectors.ErrInvalidEvents, events)
	}
	return nil
}

// Unregister implements [selectors.Selector].
func (s *Selector) Unregister(fileobj any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.registered("unregister", fileobj)
	if err != nil {
		return nil, err
	}
	key := f.key
	f.key = nil
	s.keyCount--
	s.signalChange()
	return key, nil
}

// Key implements [selectors.Selector].
func (s *Selector) Key(fileobj any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.registered("key", fileobj)
	if err != nil {
		return nil, err
	}
	return f.key, nil
}

// registered returns the file of fileobj, or an error if it is not registered.
func (s *Selector) registered(op string, fileobj any) (*file, error) {
	f, fd, err := s.lookup(fileobj, false)
	if err == nil && f.key == nil {
		err = selectors.ErrNotRegistered
	}
	if err != nil || s.closed {
		return nil, s.newError(op, fd, err)
	}
	return f, nil
}

// lookup returns the file of fileobj and its number. The number is -1 if it is
// not known. lookup adds the file if there is none and create is true.
func (s *Selector) lookup(fileobj any, create bool) (f *file, fd int, err error) {
	isNumber := true
	switch v := fileobj.(type) {
	case int:
		fd = v
	case uintptr:
		fd = int(min(v, math.MaxInt32+1))
	default:
		isNumber = false
	}
	switch {
	case isNumber && 0 <= fd && fd <= math.MaxInt32:
		f = s.byFD[fd]
	case !isNumber && isValidFileObj(fileobj):
		f = s.byObj[fileobj]
	default:
		return nil, -1, fmt.Errorf("%w: %T %v", selectors.ErrInvalidFileObj, fileobj, fileobj)
	}
	switch {
	case f != nil:
		return f, f.fd, nil
	case !create && isNumber:
		return nil, fd, selectors.ErrNotRegistered
	case !create:
		return nil, -1, selectors.ErrNotRegistered
	}
	if !isNumber {
		for fd = s.lastAssignedFD + 1; s.byFD[fd] != nil; fd++ {
		}
		s.lastAssignedFD = fd
	}
	f = &file{fd: fd}
	s.byFD[fd] = f
	if !isNumber {
		s.byObj[fileobj] = f
	}
	return f, fd, nil
}

// isValidFileObj reports whether v can be a file object: it is comparable and
// not nil.
func isValidFileObj(v any) bool {
	if v == nil {
		return false
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer, reflect.Chan, reflect.UnsafePointer:
		return !r.IsNil()
	}
	return r.Comparable()
}

// Keys implements [selectors.Selector].
func (s *Selector) Keys() iter.Seq[*selectors.SelectorKey] {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]*selectors.SelectorKey, 0, s.keyCount)
	for _, f := range s.byFD {
		if f.key != nil {
			keys = append(keys, f.key)
		}
	}
	slices.SortFunc(keys, func(a, b *selectors.SelectorKey) int { return cmp.Compare(a.FD, b.FD) })
	return slices.Values(keys)
}

// Len implements [selectors.Selector].
func (s *Selector) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keyCount
}

// Features implements [selectors.Selector].
func (s *Selector) Features() selectors.Feature {
	return selectors.FeatureEdgeTriggered | selectors.FeatureOneShot | selectors.FeatureExclusive | selectors.FeaturePriority |
		selectors.FeatureReadClosed | selectors.FeatureHangup | selectors.FeatureInvalid | selectors.FeatureAnyFile
}

// Wake implements [selectors.Selector]. The Select that it ends does not move the
// clock.
func (s *Selector) Wake() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.newError("wake", -1, selectors.ErrClosed)
	}
	s.woken = true
	s.stalledSelects = 0
	s.signalChange()
	return nil
}

// Close implements [selectors.Selector]. It waits until a running Select has
// returned.
func (s *Selector) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, f := range s.byFD {
		f.key, f.untilCleared, f.untilReported = nil, 0, 0
	}
	s.keyCount, s.script, s.ready = 0, nil, nil
	s.signalChange()
	s.mu.Unlock()
	s.selecting.Lock()
	defer s.selecting.Unlock()
	return nil
}

// Select implements [selectors.Selector].
func (s *Selector) Select(timeout time.Duration) ([]selectors.Ready, error) {
	return s.SelectInto(nil, timeout)
}

// SelectInto implements [selectors.Selector]. It fails with [ErrStuck] if the
// program makes no progress: see [Selector.SetStuckAfter].
func (s *Selector) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	if !s.selecting.TryLock() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return dst, s.newError("select", -1, selectors.ErrConcurrentSelect)
	}
	defer s.selecting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeouts = append(s.timeouts, timeout)
	start := len(dst)
	end := time.Duration(math.MaxInt64)
	if timeout >= 0 {
		end = addClamped(s.clock.Now(), timeout)
	}
	for {
		if s.closed {
			return dst, s.newError("select", -1, selectors.ErrClosed)
		}
		now := s.clock.Now()
		s.runScript(now)
		dst = s.appendReady(dst)
		if len(dst) > start || s.woken || timeout >= 0 && now >= end {
			s.woken = false
			if err := s.checkStalled(now, dst[start:]); err != nil {
				return dst[:start], s.newError("select", -1, err)
			}
			return dst, nil
		}
		switch {
		case len(s.script) > 0 && s.script[0].when <= end:
			s.clock.advanceTo(s.script[0].when)
		case timeout >= 0:
			s.clock.advanceTo(end)
		default:
			if !s.waitForChange() {
				return dst, s.newError("select", -1, fmt.Errorf("%w: no timeout, no steps left in the script and no Wake for %v", ErrStuck, s.stuckAfter))
			}
		}
	}
}

// appendReady appends the reports that are due to dst.
func (s *Selector) appendReady(dst []selectors.Ready) []selectors.Ready {
	stillReady := s.ready[:0]
	for _, f := range s.ready {
		if events := f.report(); events != 0 {
			dst = append(dst, selectors.Ready{Key: f.key, Events: events})
		}
		if f.isReady() {
			stillReady = append(stillReady, f)
		}
	}
	clear(s.ready[len(stillReady):])
	s.ready = stillReady
	return dst
}

// waitForChange blocks in real time until signalChange is called. It returns
// false after stuckAfter. It unlocks s.mu meanwhile.
func (s *Selector) waitForChange() bool {
	timer := time.NewTimer(s.stuckAfter)
	defer timer.Stop()
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-s.change:
		return true
	case <-timer.C:
		return false
	}
}

// signalChange ends a running waitForChange, or the next one.
func (s *Selector) signalChange() {
	select {
	case s.change <- struct{}{}:
	default:
	}
}

// checkStalled returns an error if Select, which is about to return batch, has
// been called too long without progress: see SetStuckAfter.
func (s *Selector) checkStalled(now time.Duration, batch []selectors.Ready) error {
	if now != s.stalledAt {
		s.stalledSelects, s.stalledAt = 0, now
	}
	switch s.stalledSelects++; {
	case s.stalledSelects < minStalledSelects:
		return nil
	case s.stalledSelects == minStalledSelects:
		s.stalledSince = time.Now()
		return nil
	case time.Since(s.stalledSince) < s.stuckAfter:
		return nil
	case len(batch) == 0:
		return fmt.Errorf("%w: %d calls of Select without any virtual time passing", ErrStuck, s.stalledSelects)
	}
	key := batch[0].Key
	return fmt.Errorf("%w: descriptor %d (%v) is still ready for %v after %d calls of Select; is a call of Clear missing?",
		ErrStuck, key.FD, key.FileObj, batch[0].Events, s.stalledSelects)
}

// newError wraps err, or ErrClosed if the selector is closed. s.mu is held.
func (s *Selector) newError(op string, fd int, err error) error {
	if s.closed {
		err = selectors.ErrClosed
	}
	return &selectors.Error{Op: op, Backend: "looptest", FD: fd, Err: err}
}
