package selectors

import (
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// A core is the part of a Selector that is the same on every backend. This file
// has the registrations, Wake and Close; wait.go has Select.
//
// There are three locks, which are taken in this order: selecting is held for the
// whole of a Select, so that only one goroutine can be in it. mu guards the table
// and every change of the kernel's set; a Select takes it for a short time only,
// never while it waits. wakeMu is held while backend.wake runs, so that Close
// cannot close its descriptor meanwhile.
//
// Changes of the set are numbered. A registration carries the number of its own
// last change, its generation. Backends use it to recognise stale events: events
// that the kernel reports for a registration that has ended or was changed. See
// the type epoll for registrations that report stale events without end.
//
// wakes and asleep let another goroutine end a sleep. The goroutine that ends the
// sleep sets a bit in wakes and then reads asleep; the one that sleeps sets
// asleep and then reads wakes. At least one of the two sees the other's store.
// Only the goroutine that sets the first bit calls backend.wake: once for each
// sleep, unless it fails. Close calls it always.
type core struct {
	self    Selector // the exported type that contains this core
	name    string
	backend backend
	traits

	mu             sync.Mutex
	table          table
	fdByObject     map[any]int   // descriptors of file objects that are not numbers
	alwaysReady    []int         // descriptors of entries in that state
	muted          []int         // descriptors that mute removed from the kernel's set; some may have been unmuted since
	checks         []checkedKey  // keys with hints only, which the first wait after checksSince checks
	oldChecks      []checkedKey  // the array of an earlier list, to use again
	checksSince    uint64        // value of waits when checks were added
	rechecks       []recheck     // see recheckLater
	generation     uint32        // number of the last change of the set
	waitGeneration uint32        // a generation not later than the start of the last poll or sleep; see predatesWait
	scratch        entry         // a registration that is not in the table yet
	staleEvents    int           // stale events in this batch
	mayFollow      int           // bound on the reports in this batch: see append
	orphans        int           // orphans that were noticed since the last repair
	repairDelay    time.Duration // from the last attempt to repair that failed to the next one; 0: none has failed

	closed           atomic.Bool
	dirty            atomic.Bool  // the set has changed: prepare before the next poll or sleep
	alwaysReadyCount atomic.Int32 // entries of alwaysReady that are enabled and have EventRead or EventWrite
	mutedCount       atomic.Int32 // length of muted
	mustRecheck      atomic.Bool  // rechecks is not empty
	repairAt         atomic.Int64 // sys.Now of the next attempt to repair; 0: no repair is pending
	counters         counters

	selecting   sync.Mutex
	waits       uint64        // polls and sleeps so far
	lastRecheck time.Duration // sys.Now when recheckMuted last ran or the first entry of muted was added
	pollFirst   pollFirst

	wakes      atomic.Uint32
	asleep     atomic.Bool
	wakeFailed atomic.Bool // the last backend.wake failed, so a pending wake does not mean that the sleep ends
	wakeMu     sync.Mutex
	closeOnce  sync.Once
}

// Bits of core.wakes.
const (
	wakeByUser   uint32 = 1 << iota // by Wake: the Select returns
	wakeInternal                    // the set has changed, a context has ended, or Close was called: Select starts its loop again
)

func (c *core) init(self Selector, name string, b backend, t traits) {
	c.self, c.name, c.backend, c.traits = self, name, b, t
	c.fdByObject = make(map[any]int)
	c.dirty.Store(true)
}

// isClosed reports whether Close was called. The zero value of a selector is like a
// closed one.
func (c *core) isClosed() bool { return c.closed.Load() || c.backend == nil }

func (c *core) fail(op string, fd int, err error) error {
	if c.isClosed() {
		err = ErrClosed
	}
	return &Error{Op: op, Backend: c.name, FD: fd, Err: err}
}

// Features implements [Selector].
func (c *core) Features() Feature { return c.features }

// Register implements [Selector].
func (c *core) Register(fileobj any, events Event, data any) (*SelectorKey, error) {
	return c.change("register", fileobj, events, data)
}

// Modify implements [Selector].
func (c *core) Modify(fileobj any, events Event, data any) (*SelectorKey, error) {
	return c.change("modify", fileobj, events, data)
}

func (c *core) change(op string, fileobj any, events Event, data any) (*SelectorKey, error) {
	if fd, number := asNumber(fileobj); number && fd >= 0 {
		key, err := c.changeFD(op, fd, fileobj, events, data)
		if err != nil {
			return nil, c.fail(op, fd, err)
		}
		return key, nil
	}
	return c.changeObject(op, fileobj, events, data)
}

func (c *core) changeObject(op string, fileobj any, events Event, data any) (key *SelectorKey, err error) {
	fd := -1
	err = withFD(fileobj, func(n int) (err error) {
		fd = n
		key, err = c.changeFD(op, n, fileobj, events, data)
		return err
	})
	if err != nil {
		if op == "modify" && errors.Is(err, errBadFD) {
			// The file is closed. If it has no key, that is the better error.
			if _, missing := c.Key(fileobj); errors.Is(missing, ErrNotRegistered) {
				err = ErrNotRegistered
			}
		}
		return nil, c.fail(op, fd, err)
	}
	return key, nil
}

func (c *core) changeFD(op string, fd int, fileobj any, events Event, data any) (*SelectorKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock() // also if a method of a file object panics
	if c.isClosed() {
		return nil, ErrClosed
	}
	if err := CheckInterest(events, c.features); err != nil {
		return nil, err
	}
	if op == "register" {
		return c.register(fd, fileobj, events, data)
	}
	return c.modify(fd, fileobj, events, data)
}

func (c *core) register(fd int, fileobj any, events Event, data any) (*SelectorKey, error) {
	if c.backend.owns(fd) {
		return nil, errBadFD
	}
	old := c.table.find(fd)
	e := &c.scratch
	key := &SelectorKey{FileObj: fileobj, FD: fd, Events: events, Data: data}
	*e = entry{key: key, generation: c.nextGeneration(), slot: -1, events: events, state: initialState(events)}
	replaceable := old == nil
	if old != nil {
		e.fileID, e.slot = old.fileID, old.slot
		if old.state&alwaysReady != 0 {
			e.slot = -1
		}
		replaceable = old.state&invalid != 0 || c.fdChanged(old.key)
	}
	err := c.backend.add(fd, e, old != nil)
	if err == errExists && replaceable {
		// The kernel has a registration of this file under this number: its
		// descriptor was closed, but a duplicate kept the file open, and now the
		// file has the number again.
		err = c.backend.modify(fd, e, events, e.generation)
	}
	switch err {
	case nil:
	case errAlwaysReady:
		e.state |= alwaysReady
	case errExists:
		return nil, ErrRegistered
	default:
		return nil, err
	}
	if old != nil {
		c.forget(old)
	}
	c.generation = e.generation
	e = c.table.put(fd, *e)
	c.scratch.key = nil // the table keeps the key alive as long as it is registered
	if isComparable(fileobj) {
		c.fdByObject[fileobj] = fd
	}
	if e.state&alwaysReady != 0 {
		c.addAlwaysReady(fd, e)
	}
	c.markDirty() // prepare makes room for the new entry's events
	c.publishChange(e)
	return e.key, nil
}

// nextGeneration returns the number of the next change. It is never 0, the
// generation of a free entry.
func (c *core) nextGeneration() uint32 { return max(c.generation+1, 1) }

func (c *core) modify(fd int, fileobj any, events Event, data any) (*SelectorKey, error) {
	e := c.table.find(fd)
	if e == nil || !c.isKeyOf(e.key, fileobj) {
		return nil, ErrNotRegistered
	}
	if events != e.events || events&EdgeTriggered != 0 || e.state&disabled != 0 {
		wasAlwaysReady := e.state&alwaysReady != 0
		if wasAlwaysReady {
			c.removeAlwaysReady(e)
		}
		// A new generation makes stale what the kernel reported for the old
		// interest, or for a file that had this descriptor before.
		generation, wasEdgeWatched := c.nextGeneration(), e.state&edgeWatched
		err := c.backend.modify(fd, e, events, generation)
		if err != nil && err != errAlwaysReady {
			if wasAlwaysReady {
				c.addAlwaysReady(fd, e)
			}
			return nil, err
		}
		c.generation = generation
		if kept := wasEdgeWatched & e.state; kept == 0 {
			e.generation = generation
		}
		e.state, e.reportedHints, e.events = initialState(events)|e.state&edgeWatched, 0, events
		if err == errAlwaysReady {
			c.addAlwaysReady(fd, e)
		}
		c.publishChange(e)
	}
	e.key = &SelectorKey{FileObj: e.key.FileObj, FD: fd, Events: events, Data: data}
	return e.key, nil
}

// publishChange makes a change of the set take effect in a Select that is under
// way.
func (c *core) publishChange(e *entry) {
	if c.updatesLive && e.state&alwaysReady == 0 {
		return
	}
	c.markDirty()
	c.interrupt(wakeInternal)
}

// markDirty makes the next poll or sleep call backend.prepare first.
func (c *core) markDirty() {
	if !c.dirty.Load() {
		c.dirty.Store(true)
	}
}

// Unregister implements [Selector].
func (c *core) Unregister(fileobj any) (*SelectorKey, error) {
	fd, err := c.findFD(fileobj)
	if err != nil {
		return nil, c.fail("unregister", fd, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.table.find(fd)
	if e == nil || !c.isKeyOf(e.key, fileobj) {
		return nil, c.fail("unregister", fd, ErrNotRegistered)
	}
	key := e.key
	c.backend.remove(fd, e)
	c.forget(e)
	c.table.free(e)
	c.generation = c.nextGeneration()
	c.markDirty()
	if !c.updatesLive {
		c.interrupt(wakeInternal)
	}
	return key, nil
}

// forget removes a registration from fdByObject and alwaysReady. The caller
// handles the table and the kernel's set.
func (c *core) forget(e *entry) {
	if isComparable(e.key.FileObj) && c.fdByObject[e.key.FileObj] == e.key.FD {
		delete(c.fdByObject, e.key.FileObj)
	}
	if e.state&alwaysReady != 0 {
		c.removeAlwaysReady(e)
	}
}

// addAlwaysReady adds an entry to the list of files that are always ready.
func (c *core) addAlwaysReady(fd int, e *entry) {
	e.slot = int32(len(c.alwaysReady))
	c.alwaysReady = append(c.alwaysReady, fd)
	e.state |= alwaysReady
	if e.events&(EventRead|EventWrite) != 0 && e.state&disabled == 0 {
		c.alwaysReadyCount.Add(1)
	}
}

// removeAlwaysReady removes an entry from that list and moves the last entry to
// its place.
func (c *core) removeAlwaysReady(e *entry) {
	last := len(c.alwaysReady) - 1
	fd := c.alwaysReady[last]
	c.alwaysReady[e.slot] = fd
	c.table.find(fd).slot = e.slot
	c.alwaysReady = c.alwaysReady[:last]
	if e.events&(EventRead|EventWrite) != 0 && e.state&disabled == 0 {
		c.alwaysReadyCount.Add(-1)
	}
	e.state &^= alwaysReady
	e.slot = -1
}

// Key implements [Selector].
func (c *core) Key(fileobj any) (*SelectorKey, error) {
	fd, err := c.findFD(fileobj)
	if err != nil {
		return nil, c.fail("key", fd, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.table.find(fd); e != nil && c.isKeyOf(e.key, fileobj) {
		return e.key, nil
	}
	return nil, c.fail("key", fd, ErrNotRegistered)
}

// findFD returns the descriptor under which a file object may be registered.
func (c *core) findFD(fileobj any) (int, error) {
	if fd, ok := asNumber(fileobj); ok && fd >= 0 {
		return fd, nil
	}
	if isComparable(fileobj) {
		// Try the object itself first: this also works after the file was closed.
		c.mu.Lock()
		fd, ok := c.fdByObject[fileobj]
		c.mu.Unlock()
		if ok {
			return fd, nil
		}
	}
	fd := -1
	err := withFD(fileobj, func(n int) error { fd = n; return nil })
	if err != nil && !errors.Is(err, ErrInvalidFileObj) {
		err = ErrNotRegistered // a closed file that has no key
	}
	return fd, err
}

// isKeyOf reports whether key is the key of fileobj; both have the same
// descriptor. For a number it always is. For an object it is too, unless the key
// belongs to another object that no longer has the descriptor.
func (c *core) isKeyOf(key *SelectorKey, fileobj any) bool {
	if _, number := asNumber(fileobj); number {
		return true
	}
	if isComparable(fileobj) && isComparable(key.FileObj) && key.FileObj == fileobj {
		return true
	}
	return !c.fdChanged(key)
}

// fdChanged reports whether a key's file object no longer has the key's
// descriptor. That cannot be known if the file object is a number.
func (c *core) fdChanged(key *SelectorKey) bool {
	if _, number := asNumber(key.FileObj); number {
		return false
	}
	fd := -1
	err := withFD(key.FileObj, func(n int) error { fd = n; return nil })
	return err != nil || fd != key.FD
}

// Keys implements [Selector].
func (c *core) Keys() iter.Seq[*SelectorKey] {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]*SelectorKey, 0, c.table.len)
	c.table.all(func(e *entry) { keys = append(keys, e.key) })
	return func(yield func(*SelectorKey) bool) {
		for _, key := range keys {
			if !yield(key) {
				return
			}
		}
	}
}

// Len implements [Selector].
func (c *core) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.len
}

// Wake implements [Selector].
func (c *core) Wake() error {
	if c.isClosed() {
		return c.fail("wake", -1, ErrClosed)
	}
	if err := c.interrupt(wakeByUser); err != nil {
		return c.fail("wake", -1, err)
	}
	return nil
}

// interrupt ends the current sleep, or keeps the next one from beginning. It leaves
// that to the goroutine that has set the first bit, if there is one.
func (c *core) interrupt(bit uint32) error {
	if c.wakes.Or(bit) != 0 && !c.wakeFailed.Load() || !c.asleep.Load() {
		return nil
	}
	return c.endSleep()
}

// endSleep ends the current sleep.
func (c *core) endSleep() error {
	c.wakeMu.Lock()
	defer c.wakeMu.Unlock()
	if !c.asleep.Load() { // the sleep has ended, and Close may have followed
		return nil
	}
	err := c.backend.wake()
	c.wakeFailed.Store(err != nil)
	return err
}

// Close implements [Selector].
func (c *core) Close() (err error) {
	if c.backend == nil {
		return nil
	}
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.closed.Store(true)
		c.table, c.fdByObject, c.alwaysReady, c.muted, c.checks, c.rechecks = table{}, nil, nil, nil, nil, nil
		c.dirty.Store(true)
		c.repairAt.Store(0)
		c.mu.Unlock()
		// The goroutine that has set the first bit may be about to fail, so do not
		// leave the wake to it.
		c.wakes.Or(wakeInternal)
		for c.asleep.Load() && c.endSleep() != nil {
			time.Sleep(pauseTime)
		}
		c.selecting.Lock() // wait for the current Select to return
		defer c.selecting.Unlock()
		c.wakeMu.Lock()
		defer c.wakeMu.Unlock()
		if closeErr := c.backend.close(); closeErr != nil {
			err = &Error{Op: "close", Backend: c.name, FD: -1, Err: closeErr}
		}
	})
	return err
}
