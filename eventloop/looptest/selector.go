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

// ErrStuck is what Select and SelectInto fail with where a real program would
// hang, or spin, for ever: see [Selector.SetStuckAfter].
var ErrStuck = errors.New("looptest: nothing would ever happen")

// A Selector is a [selectors.Selector] without a kernel. It keeps to the
// contract of the selectors in that package, and returns their errors, but for
// this:
//
// A file object is anything that can be compared and is not nil: a string that
// names the file will do. An int or uintptr is a descriptor's number, as it is
// elsewhere. Anything else gets a number that is made up, even if it has a real
// descriptor, which is never looked at. Nothing is ever closed under the
// selector, unless the script says [selectors.EventInvalid].
//
// Files become ready when the script says so: see At and Once. A Select that has
// to wait does not; it moves the clock on, at once, to the next moment of the
// script or to the end of its timeout, whichever comes first. A batch holds the
// keys in the order in which they became ready.
//
// Features are all but [selectors.FeatureParked]. Any goroutine may call any
// method.
type Selector struct {
	clock *Clock

	selecting sync.Mutex    // held throughout a Select
	poke      chan struct{} // ends a wait of a Select that nothing is scripted for

	mu       sync.Mutex // guards what follows
	byFD     map[int]*file
	byObj    map[any]*file
	lastFD   int     // that was made up
	len      int     // keys
	script   []step  // to come, in order
	ready    []*file // those that are for anything, registered or not, in order
	woken    bool
	closed   bool
	timeouts []time.Duration

	stuckAfter time.Duration
	quiet      int           // Selects in which nothing has changed
	quietSince time.Time     // real time, at about the first of them
	quietAt    time.Duration // the clock, then
}

// A file is one that was registered or scripted once.
type file struct {
	fd     int
	key    *selectors.SelectorKey // nil while it is not registered
	state  selectors.Event        // until Clear
	once   selectors.Event        // until it is reported
	news   bool                   // for EdgeTriggered
	silent bool                   // has fired, or is invalid; until Modify
	told   selectors.Event        // hints that were reported with nothing else
}

// A step is one line of the script.
type step struct {
	when   time.Duration
	file   *file
	events selectors.Event
	once   bool
}

const (
	interests = selectors.EventRead | selectors.EventWrite | selectors.EventPriority | selectors.EventReadClosed
	reports   = interests | selectors.EventHangup | selectors.EventError | selectors.EventInvalid
	modes     = selectors.EdgeTriggered | selectors.OneShot | selectors.Exclusive
)

// Numbers are made up from here on, beyond those that a process has.
const madeUp = 1 << 20

// NewSelector makes a selector that waits by clock, with an empty script.
func NewSelector(clock *Clock) *Selector {
	return &Selector{
		clock:      clock,
		poke:       make(chan struct{}, 1),
		byFD:       make(map[int]*file),
		byObj:      make(map[any]*file),
		lastFD:     madeUp - 1,
		stuckAfter: 10 * time.Second,
	}
}

// At makes fileobj ready for events from the virtual time when on, until Clear:
// a socket that has data which nobody reads, level-triggered. A time that has
// come already is now. What is scripted for one time happens in the order of the
// calls.
//
// As on any kernel, EventHangup and EventReadClosed make a file readable too,
// EventError readable and writable, and EventInvalid ends it: that is reported
// once. At need not come after Register, and stands whether the file is
// registered by then or not.
//
// At panics if fileobj cannot be a file object, or if events is none or holds
// what is never reported.
func (s *Selector) At(when time.Duration, fileobj any, events selectors.Event) {
	s.schedule(when, fileobj, events, false)
}

// Once is At for one report only: data that the callback reads. A file that
// nobody waits for stays ready until somebody does.
func (s *Selector) Once(when time.Duration, fileobj any, events selectors.Event) {
	s.schedule(when, fileobj, events, true)
}

func (s *Selector) schedule(when time.Duration, fileobj any, events selectors.Event, once bool) {
	if events == 0 || events&^reports != 0 {
		panic(fmt.Sprintf("looptest: %v cannot be scripted", events))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _, err := s.file(fileobj, true)
	if err != nil {
		panic("looptest: " + err.Error())
	}
	i, _ := slices.BinarySearchFunc(s.script, when, func(s step, when time.Duration) int {
		if s.when <= when { // behind all of the same time
			return -1
		}
		return 1
	})
	s.script = slices.Insert(s.script, i, step{when, f, events, once})
	s.play(s.clock.Now())
	s.changed()
}

// Clear makes fileobj not ready for events any more: what was there has been
// read. The rest of the script stands.
func (s *Selector) Clear(fileobj any, events selectors.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, _, err := s.file(fileobj, false)
	if err != nil || f.state|f.once == 0 {
		return
	}
	f.state &^= events
	f.once &^= events
	f.told &^= events
	if f.state|f.once == 0 {
		i := slices.Index(s.ready, f)
		s.ready = slices.Delete(s.ready, i, i+1)
	}
	s.quiet = 0
}

// Timeouts returns the timeout of each call of Select and SelectInto so far:
// how long the loop wanted to sleep.
func (s *Selector) Timeouts() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.timeouts)
}

// SetStuckAfter sets how much real time, 10 s unless it is called, may pass with
// nothing happening before a Select fails with [ErrStuck] instead of hanging.
// Nothing happens if a Select without a timeout has come to the end of the
// script and nobody calls Wake, At, Register or Modify; or if Select is called
// over and over while the clock stands still and nothing else changes, as when
// nobody calls Clear for a file that is reported, or when a loop always has
// something to do at once and so never waits.
func (s *Selector) SetStuckAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuckAfter = d
	s.changed()
}

// Register implements [selectors.Selector].
func (s *Selector) Register(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	return s.set("register", fileobj, events, data)
}

// Modify implements [selectors.Selector].
func (s *Selector) Modify(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	return s.set("modify", fileobj, events, data)
}

func (s *Selector) set(op string, fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, fd, err := s.file(fileobj, op == "register")
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
		return nil, s.fail(op, fd, err)
	}
	// Nothing is armed again if the interest stays, but for the two modes that
	// Modify is there for.
	if f.key == nil || f.key.Events != events || f.silent || events&selectors.EdgeTriggered != 0 {
		f.news, f.silent, f.told = true, false, 0
	}
	if f.key == nil {
		s.len++
	} else {
		fileobj = f.key.FileObj
	}
	f.key = &selectors.SelectorKey{FileObj: fileobj, FD: f.fd, Events: events, Data: data}
	s.changed()
	return f.key, nil
}

// checkInterest is what all selectors say of an interest.
func checkInterest(events selectors.Event) error {
	const exclusiveToo = selectors.EventRead | selectors.EventWrite | selectors.EdgeTriggered | selectors.Exclusive
	if events&^(interests|modes) != 0 || events&interests == 0 ||
		events&selectors.Exclusive != 0 && events&^exclusiveToo != 0 {
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
	s.len--
	s.changed()
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

func (s *Selector) registered(op string, fileobj any) (*file, error) {
	f, fd, err := s.file(fileobj, false)
	if err == nil && f.key == nil {
		err = selectors.ErrNotRegistered
	}
	if err != nil || s.closed {
		return nil, s.fail(op, fd, err)
	}
	return f, nil
}

// file finds the file of a file object, with its number where that is known, or
// makes one, if it is to.
func (s *Selector) file(fileobj any, create bool) (f *file, fd int, err error) {
	number := true
	switch v := fileobj.(type) {
	case int:
		fd = v
	case uintptr:
		fd = int(min(v, math.MaxInt32+1))
	default:
		number = false
	}
	switch {
	case number && 0 <= fd && fd <= math.MaxInt32:
		f = s.byFD[fd]
	case !number && isObject(fileobj):
		f = s.byObj[fileobj]
	default:
		return nil, -1, fmt.Errorf("%w: %T %v", selectors.ErrInvalidFileObj, fileobj, fileobj)
	}
	switch {
	case f != nil:
		return f, f.fd, nil
	case !create && number:
		return nil, fd, selectors.ErrNotRegistered
	case !create:
		return nil, -1, selectors.ErrNotRegistered
	}
	if !number {
		for fd = s.lastFD + 1; s.byFD[fd] != nil; fd++ {
		}
		s.lastFD = fd
	}
	f = &file{fd: fd}
	s.byFD[fd] = f
	if !number {
		s.byObj[fileobj] = f
	}
	return f, fd, nil
}

// isObject reports whether v can be found again by comparison, and is not nil.
func isObject(v any) bool {
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
	keys := make([]*selectors.SelectorKey, 0, s.len)
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
	return s.len
}

// Features implements [selectors.Selector].
func (s *Selector) Features() selectors.Feature {
	return selectors.FeatureEdgeTriggered | selectors.FeatureExclusive | selectors.FeaturePriority |
		selectors.FeatureReadClosed | selectors.FeatureHangup | selectors.FeatureInvalid | selectors.FeatureAnyFile
}

// Wake implements [selectors.Selector]. The Select that it ends leaves the clock
// where it is.
func (s *Selector) Wake() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.fail("wake", -1, selectors.ErrClosed)
	}
	s.woken = true
	s.quiet = 0
	s.changed()
	return nil
}

// Close implements [selectors.Selector].
func (s *Selector) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, f := range s.byFD {
		f.key, f.state, f.once = nil, 0, 0
	}
	s.len, s.script, s.ready = 0, nil, nil
	s.changed()
	s.mu.Unlock()
	s.selecting.Lock() // until a Select has left
	defer s.selecting.Unlock()
	return nil
}

// Select implements [selectors.Selector].
func (s *Selector) Select(timeout time.Duration) ([]selectors.Ready, error) {
	return s.SelectInto(nil, timeout)
}

// SelectInto implements [selectors.Selector]. It fails with [ErrStuck] where
// nothing would ever happen.
func (s *Selector) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	if !s.selecting.TryLock() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return dst, s.fail("select", -1, selectors.ErrConcurrentSelect)
	}
	defer s.selecting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeouts = append(s.timeouts, timeout)
	given := len(dst)
	end := time.Duration(math.MaxInt64)
	if timeout >= 0 {
		end = addClamped(s.clock.Now(), timeout)
	}
	for {
		if s.closed {
			return dst, s.fail("select", -1, selectors.ErrClosed)
		}
		now := s.clock.Now()
		s.play(now)
		dst = s.collect(dst)
		if len(dst) > given || s.woken || timeout >= 0 && now >= end {
			s.woken = false
			if err := s.spinning(now, dst[given:]); err != nil {
				return dst[:given], s.fail("select", -1, err)
			}
			return dst, nil
		}
		switch {
		case len(s.script) > 0 && s.script[0].when <= end:
			s.clock.advanceTo(s.script[0].when)
		case timeout >= 0:
			s.clock.advanceTo(end)
		default:
			if !s.wait() {
				return dst, s.fail("select", -1, fmt.Errorf("%w: no timeout, nothing scripted and no Wake for %v", ErrStuck, s.stuckAfter))
			}
		}
	}
}

// play does what the script says up to now.
func (s *Selector) play(now time.Duration) {
	done := 0
	for ; done < len(s.script) && s.script[done].when <= now; done++ {
		step := s.script[done]
		f := step.file
		if f.state|f.once == 0 {
			s.ready = append(s.ready, f)
		}
		if step.once {
			f.once |= step.events
		} else {
			f.state |= step.events
		}
		f.news = true
	}
	if done > 0 {
		s.script = slices.Delete(s.script, 0, done)
		s.quiet = 0
	}
}

// collect appends what is to be reported now.
func (s *Selector) collect(dst []selectors.Ready) []selectors.Ready {
	still := s.ready[:0]
	for _, f := range s.ready {
		if events := f.report(); events != 0 {
			dst = append(dst, selectors.Ready{Key: f.key, Events: events})
		}
		if f.state|f.once != 0 {
			still = append(still, f)
		}
	}
	clear(s.ready[len(still):])
	s.ready = still
	return dst
}

// report is what there is to say of a file.
func (f *file) report() selectors.Event {
	if f.key == nil || f.silent {
		return 0
	}
	interest := f.key.Events
	if interest&selectors.EdgeTriggered != 0 && !f.news {
		return 0
	}
	is := f.state | f.once
	if is&selectors.EventInvalid != 0 {
		f.silent = true
		f.once &^= selectors.EventInvalid
		return selectors.EventError | selectors.EventInvalid
	}
	if is&(selectors.EventReadClosed|selectors.EventHangup|selectors.EventError) != 0 {
		is |= selectors.EventRead
	}
	if is&selectors.EventError != 0 {
		is |= selectors.EventWrite
	}
	hints := is & (selectors.EventHangup | selectors.EventError)
	if interest&selectors.EventRead != 0 {
		hints |= is & selectors.EventReadClosed
	}
	events := is&interest | hints
	switch {
	case events == 0:
		return 0
	case is&interest != 0:
		f.told = 0
	case interest&(selectors.EdgeTriggered|selectors.OneShot) != 0:
	case hints&^f.told == 0:
		return 0 // nothing that was asked for, and it was said
	default:
		f.told |= hints
	}
	f.once &^= events
	f.news = false
	f.silent = interest&selectors.OneShot != 0
	return events
}

// wait waits until something changes. It is false if nothing does.
func (s *Selector) wait() bool {
	timer := time.NewTimer(s.stuckAfter)
	defer timer.Stop()
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-s.poke:
		return true
	case <-timer.C:
		return false
	}
}

// changed ends a wait.
func (s *Selector) changed() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// spinning reports that Select, which is about to return batch, has been called
// for long to no avail.
func (s *Selector) spinning(now time.Duration, batch []selectors.Ready) error {
	const few = 1000 // these may take as long as they like: somebody is debugging
	if now != s.quietAt {
		s.quiet, s.quietAt = 0, now
	}
	switch s.quiet++; {
	case s.quiet < few:
		return nil
	case s.quiet == few:
		s.quietSince = time.Now()
		return nil
	case time.Since(s.quietSince) < s.stuckAfter:
		return nil
	case len(batch) == 0:
		return fmt.Errorf("%w: %d calls of Select, and none lets time pass", ErrStuck, s.quiet)
	}
	key := batch[0].Key
	return fmt.Errorf("%w: descriptor %d (%v) is ready for %v each time, in %d calls of Select; does nobody call Clear?",
		ErrStuck, key.FD, key.FileObj, batch[0].Events, s.quiet)
}

func (s *Selector) fail(op string, fd int, err error) error {
	if s.closed {
		err = selectors.ErrClosed
	}
	return &selectors.Error{Op: op, Backend: "looptest", FD: fd, Err: err}
}
