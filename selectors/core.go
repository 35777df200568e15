package selectors

import (
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// core is a Selector without a kernel: everything that must not vary between
// backends.
//
// Two locks. sel is held for the whole of a Select and admits one goroutine.
// mu guards the table and every change of the kernel's set; a Select takes it
// for moments only, never while it waits. Order: sel before mu.
//
// A sleep is ended from outside through wakes and asleep. Who wants to end one
// sets a bit in wakes and then looks at asleep; who wants to sleep sets asleep
// and then looks at wakes. At least one of them sees the other, and only the
// first bit needs the kernel: one wake a sleep, however many ask.
type core struct {
	self Selector // the exported type around this core
	name string
	b    backend
	traits

	mu     sync.Mutex
	table  table
	byObj  map[any]int // descriptors of file objects that are not numbers
	always []int       // descriptors of emulated entries
	hushed []int       // descriptors of entries that were muted and need looking after; some may no longer be
	gens   uint32      // the number of the last change of the set; a registration bears that of its own last one
	seen   uint32      // gens when the last poll or sleep began, or earlier: when the set was last prepared or a batch collected
	fresh  entry       // room for a registration that is not in the table yet
	ghosts int         // reports in this batch for registrations that are gone

	closed   atomic.Bool
	dirty    atomic.Bool  // the set has changed: prepare before the next poll or sleep
	hot      atomic.Int32 // emulated entries that are ready now
	restless atomic.Int32 // entries in hushed, at most

	sel    sync.Mutex
	looked time.Duration // when the hushed were last looked after
	habit  habit

	wakes     atomic.Uint32
	asleep    atomic.Bool
	waking    sync.Mutex // held while b.wake runs, so that close cannot pull its descriptor away
	closeOnce sync.Once
}

// Bits of core.wakes.
const (
	wakeCaller uint32 = 1 << iota // Wake: the Select is to return
	wakeSelf                      // look again: the set changed, a context ended, Close was called
)

const (
	// maxSleep is the longest single wait asked of a kernel. Longer ones are
	// made of several, so that no backend has to know how its clock overflows.
	maxSleep = 24 * time.Hour

	// lookAfter is how often entries are looked at again that the kernel
	// could not mute.
	lookAfter = 100 * time.Millisecond
)

var epoch = time.Now()

// now is the monotonic clock; its zero is arbitrary.
func now() time.Duration { return time.Since(epoch) }

func (c *core) init(self Selector, name string, b backend, t traits) {
	c.self, c.name, c.b, c.traits = self, name, b, t
	c.byObj = make(map[any]int)
	c.dirty.Store(true)
}

func (c *core) fail(op string, fd int, err error) error {
	if c.closed.Load() {
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
			// A closed file with a key is an error of the file. Without one it
			// is nothing that we know.
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
	defer c.mu.Unlock() // also if a file object's method panics
	if c.closed.Load() {
		return nil, ErrClosed
	}
	if err := checkInterest(events, c.features); err != nil {
		return nil, err
	}
	if op == "register" {
		return c.register(fd, fileobj, events, data)
	}
	return c.modify(fd, fileobj, events, data)
}

func (c *core) register(fd int, fileobj any, events Event, data any) (*SelectorKey, error) {
	old := c.table.find(fd)
	fresh := &c.fresh
	*fresh = entry{gen: c.nextGen(), slot: -1, events: events, state: initial(events)}
	stale := old == nil
	if old != nil {
		fresh.id, fresh.slot = old.id, old.slot
		if old.state&emulated != 0 {
			fresh.slot = -1
		}
		stale = old.state&invalid != 0 || c.moved(old.key)
	}
	err := c.b.add(fd, fresh, old != nil)
	if err == errExists && stale {
		// The kernel knows this file under this number: a registration whose
		// descriptor was closed, but whose file lived on in a duplicate and
		// now has its number back.
		err = c.b.modify(fd, fresh, events, fresh.gen)
	}
	switch err {
	case nil:
	case errAlwaysReady:
		fresh.state |= emulated
	case errExists:
		return nil, ErrRegistered
	default:
		return nil, err
	}
	if old != nil {
		c.forget(old)
	}
	c.gens = fresh.gen
	fresh.key = &SelectorKey{FileObj: fileobj, FD: fd, Events: events, Data: data}
	e := c.table.put(fd, *fresh)
	if isIdentity(fileobj) {
		c.byObj[fileobj] = fd
	}
	if fresh.state&emulated != 0 {
		c.emulate(fd, e)
	}
	c.touch()
	c.changed(e)
	return e.key, nil
}

// nextGen numbers the next change. A free entry bears 0, so nothing else may.
func (c *core) nextGen() uint32 { return max(c.gens+1, 1) }

func (c *core) modify(fd int, fileobj any, events Event, data any) (*SelectorKey, error) {
	e := c.table.find(fd)
	if e == nil || !c.same(e.key, fileobj) {
		return nil, ErrNotRegistered
	}
	if events != e.events || events&EdgeTriggered != 0 || e.state&silent != 0 {
		was := e.state & emulated
		if was != 0 {
			c.unemulate(e)
		}
		// A new number too, so that what the kernel said of the old interest,
		// or of the file that had this descriptor before, is not taken for news.
		gen := c.nextGen()
		err := c.b.modify(fd, e, events, gen)
		if err != nil && err != errAlwaysReady {
			if was != 0 {
				c.emulate(fd, e)
			}
			return nil, err
		}
		c.gens = gen
		e.gen, e.state, e.told, e.events = gen, initial(events), 0, events
		if err == errAlwaysReady {
			c.emulate(fd, e)
		}
		c.changed(e)
	}
	e.key = &SelectorKey{FileObj: e.key.FileObj, FD: fd, Events: events, Data: data}
	return e.key, nil
}

// changed makes a change of the set known to the Select that may go on.
func (c *core) changed(e *entry) {
	if c.live && e.state&emulated == 0 {
		return
	}
	c.touch()
	c.interrupt(wakeSelf)
}

// touch has the backend prepared before the next poll or sleep.
func (c *core) touch() {
	if !c.dirty.Load() {
		c.dirty.Store(true)
	}
}

// Unregister implements [Selector].
func (c *core) Unregister(fileobj any) (*SelectorKey, error) {
	fd, err := c.locate(fileobj)
	if err != nil {
		return nil, c.fail("unregister", fd, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.table.find(fd)
	if e == nil || !c.same(e.key, fileobj) {
		return nil, c.fail("unregister", fd, ErrNotRegistered)
	}
	key := e.key
	c.b.remove(fd, e)
	c.forget(e)
	c.table.free(e)
	c.gens = c.nextGen()
	c.touch()
	if !c.live {
		c.interrupt(wakeSelf)
	}
	return key, nil
}

// forget ends a registration but for its place in the table and the kernel.
func (c *core) forget(e *entry) {
	if isIdentity(e.key.FileObj) && c.byObj[e.key.FileObj] == e.key.FD {
		delete(c.byObj, e.key.FileObj)
	}
	if e.state&emulated != 0 {
		c.unemulate(e)
	}
}

// Key implements [Selector].
func (c *core) Key(fileobj any) (*SelectorKey, error) {
	fd, err := c.locate(fileobj)
	if err != nil {
		return nil, c.fail("key", fd, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.table.find(fd); e != nil && c.same(e.key, fileobj) {
		return e.key, nil
	}
	return nil, c.fail("key", fd, ErrNotRegistered)
}

// locate finds the descriptor under which a file object may be registered.
func (c *core) locate(fileobj any) (int, error) {
	if fd, ok := asNumber(fileobj); ok && fd >= 0 {
		return fd, nil
	}
	if isIdentity(fileobj) {
		// By identity first: it works for closed files too.
		c.mu.Lock()
		fd, ok := c.byObj[fileobj]
		c.mu.Unlock()
		if ok {
			return fd, nil
		}
	}
	fd := -1
	err := withFD(fileobj, func(n int) error { fd = n; return nil })
	if err != nil && !errors.Is(err, ErrInvalidFileObj) {
		err = ErrNotRegistered // closed, and nothing that we know
	}
	return fd, err
}

// same reports whether the key of a descriptor is the one meant by fileobj,
// which resolved to that descriptor. A number always means its key. An object
// means it unless the key belongs to another object that has left the number
// since.
func (c *core) same(key *SelectorKey, fileobj any) bool {
	if _, number := asNumber(fileobj); number {
		return true
	}
	if isIdentity(fileobj) && isIdentity(key.FileObj) && key.FileObj == fileobj {
		return true
	}
	return !c.moved(key)
}

// moved reports whether a key's file object no longer has the key's
// descriptor. Of a number that cannot be known.
func (c *core) moved(key *SelectorKey) bool {
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
	if c.closed.Load() {
		return c.fail("wake", -1, ErrClosed)
	}
	if err := c.interrupt(wakeCaller); err != nil {
		return c.fail("wake", -1, err)
	}
	return nil
}

func (c *core) interrupt(bit uint32) error {
	if c.wakes.Or(bit) != 0 || !c.asleep.Load() {
		return nil
	}
	c.waking.Lock()
	defer c.waking.Unlock()
	if !c.asleep.Load() { // it has left, and Close may have followed
		return nil
	}
	return c.b.wake()
}

// Close implements [Selector].
func (c *core) Close() (err error) {
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.closed.Store(true)
		c.table, c.byObj, c.always, c.hushed = table{}, nil, nil, nil
		c.dirty.Store(true)
		c.mu.Unlock()
		c.interrupt(wakeSelf)
		c.sel.Lock() // until the Select that goes on has left
		defer c.sel.Unlock()
		c.waking.Lock()
		defer c.waking.Unlock()
		if failed := c.b.close(); failed != nil {
			err = &Error{Op: "close", Backend: c.name, FD: -1, Err: failed}
		}
	})
	return err
}

// Select implements [Selector].
func (c *core) Select(timeout time.Duration) ([]Ready, error) {
	return c.SelectInto(nil, timeout)
}

// SelectInto implements [Selector].
func (c *core) SelectInto(dst []Ready, timeout time.Duration) ([]Ready, error) {
	return c.selectUntil(nil, dst, timeout)
}

// selectUntil is the one Select behind all others. If ended is not nil, it says
// whether to end with an error; who changes its mind calls interrupt.
func (c *core) selectUntil(ended func() error, dst []Ready, timeout time.Duration) ([]Ready, error) {
	if !c.sel.TryLock() {
		return dst, c.fail("select", -1, ErrConcurrentSelect)
	}
	dst, err := c.selectLocked(ended, dst, timeout)
	c.sel.Unlock() // not deferred, for speed: nobody else's code has run
	return dst, err
}

func (c *core) selectLocked(ended func() error, dst []Ready, timeout time.Duration) ([]Ready, error) {
	given := len(dst)
	deadline := time.Duration(-1) // set when the clock is first needed
	remaining := func() time.Duration {
		if timeout <= 0 {
			return timeout
		}
		at := now()
		if deadline < 0 {
			deadline = at + timeout
			if deadline < at { // overflow: as good as for ever
				timeout = -1
				return timeout
			}
		}
		return max(deadline-at, 0)
	}
	for {
		// First take the wakes, then look at what they may announce.
		woken := c.takeWakes()
		if c.dirty.Load() {
			if err := c.prepare(); err != nil {
				return dst, err
			}
		}
		if c.restless.Load() != 0 {
			c.look()
		}
		if ended != nil {
			if err := ended(); err != nil {
				return dst, err
			}
		}

		mayWait := timeout != 0 && !woken && c.hot.Load() == 0
		var n int
		var err error
		switch {
		case c.cheap || !mayWait:
			n, err = c.b.poll()
		case c.scans && c.habit.look():
			n, err = c.b.poll()
			c.habit.saw(n > 0)
		}
		late := timeout == 0
		if n == 0 && err == nil && mayWait {
			left := remaining()
			if late = left == 0; !late {
				n, err = c.sleep(left)
				woken = c.takeWakes()
			}
		}
		if err != nil {
			return dst, c.fail("select", -1, err)
		}
		if n > 0 || c.hot.Load() != 0 {
			if dst, err = c.collect(dst, n); err != nil {
				return dst[:given], err
			}
		}
		if len(dst) > given || woken || late || n > 0 && remaining() == 0 {
			if c.closed.Load() {
				return dst[:given], c.fail("select", -1, ErrClosed)
			}
			return dst, nil
		}
	}
}

// A habit says whether to ask without waiting first, where the kernel asks each
// descriptor. If nothing is ready all of them are asked once more, by the wait.
// But if something is, much is saved: a wait puts itself on the list of every
// file up to the first that is ready. So it is done for as long as something is
// ready each time. Where nothing was, it is left out the next time, and for
// longer each time that this happens again.
type habit struct{ waits, span uint8 }

func (h *habit) look() bool {
	if h.waits > 0 {
		h.waits--
		return false
	}
	return true
}

func (h *habit) saw(ready bool) {
	if ready {
		h.span /= 2
	} else {
		h.span = min(2*h.span+1, 63)
		h.waits = h.span
	}
}

// takeWakes takes the pending wakes and reports whether Wake was among them.
func (c *core) takeWakes() bool {
	return c.wakes.Load() != 0 && c.wakes.Swap(0)&wakeCaller != 0
}

// prepare brings the backend up to date with the set.
func (c *core) prepare() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() { // dirty for ever
		return c.fail("select", -1, ErrClosed)
	}
	c.dirty.Store(false)
	c.seen = c.gens
	c.b.prepare(c)
	return nil
}

func (c *core) sleep(left time.Duration) (int, error) {
	if left > maxSleep {
		left = maxSleep
	}
	if c.restless.Load() != 0 && (left < 0 || left > lookAfter) {
		left = lookAfter
	}
	c.asleep.Store(true)
	defer c.asleep.Store(false)
	if c.wakes.Load() != 0 {
		return 0, nil
	}
	return c.b.sleep(left)
}

// collect turns what the kernel said into Ready entries.
func (c *core) collect(dst []Ready, n int) ([]Ready, error) {
	c.mu.Lock()
	dst, err := c.collectLocked(dst, n)
	c.mu.Unlock()
	return dst, err
}

func (c *core) collectLocked(dst []Ready, n int) ([]Ready, error) {
	if c.closed.Load() {
		return dst, c.fail("select", -1, ErrClosed)
	}
	given := len(dst)
	if n > 0 {
		c.ghosts = 0
		dst = c.b.collect(c, dst)
		// Reports for a registration that ended while the kernel made them are
		// natural. If nothing has changed since, the kernel will repeat them
		// for ever.
		if c.ghosts > 0 && c.gens == c.seen {
			if err := c.b.repair(c); err != nil && len(dst) == given {
				return dst, c.fail("select", -1, err)
			}
		}
		c.seen = c.gens
	}
	for _, fd := range c.always {
		e := c.table.find(fd)
		ready := e.events & (EventRead | EventWrite)
		if ready == 0 || e.state&silent != 0 {
			continue
		}
		id, err := fileID(fd)
		if closed := err != nil || id != e.id; !closed {
			dst = append(dst, Ready{e.key, ready})
			if e.events&(OneShot|EdgeTriggered) == 0 {
				continue
			}
		}
		e.state |= silent
		c.hot.Add(-1)
	}
	return dst, nil
}

// older reports whether an entry was registered before the last poll or sleep
// began: backends whose kernel knows descriptors only by their number ask, so
// that a report is not taken for a later registration of the same number.
func (c *core) older(e *entry) bool { return int32(e.gen-c.seen) <= 0 }

// report appends what is ready of a descriptor: the part of events that was
// asked for, and the hints.
func (c *core) report(dst []Ready, e *entry, events Event) []Ready {
	events &= e.events | hintBits
	if e.state == 0 && events&e.events != 0 {
		return append(dst, Ready{e.key, events})
	}
	return c.reportRare(dst, e, events)
}

// reportRare is report for one-shot keys, keys that are or were muted, keys
// that are to be, and closed descriptors.
func (c *core) reportRare(dst []Ready, e *entry, events Event) []Ready {
	fd := e.key.FD
	switch {
	case e.state&silent != 0 || events == 0:
		return dst
	case events&EventInvalid != 0:
		c.b.remove(fd, e)
		c.touch()
		e.state |= silent | invalid
	case e.events&OneShot != 0:
		if !c.oneShot {
			c.b.remove(fd, e)
			c.touch()
		}
		e.state |= silent
	case events&e.events != 0:
		if e.state&muted != 0 {
			c.b.unmute(fd, e)
			c.touch()
		}
		e.state &^= muted | hinted
		e.told = 0
	case e.events&EdgeTriggered == 0:
		// Nothing that was asked for, and the kernel would say so again and
		// again: poll(2) and epoll_ctl(2) report hang-ups and errors whether
		// asked or not. Say it once and listen for changes.
		if e.state&muted == 0 {
			e.state |= muted
			if !c.b.mute(fd, e) {
				c.hushed = append(c.hushed, fd)
				c.restless.Store(int32(len(c.hushed)))
			}
			c.touch()
		}
		if hints(events)&^e.told == 0 {
			return dst
		}
		e.told |= hints(events)
		e.state |= hinted
	}
	return append(dst, Ready{e.key, events})
}

// look takes those entries back into the set, from time to time, that were
// taken out of it to mute them.
func (c *core) look() {
	at := now()
	if at-c.looked < lookAfter {
		return
	}
	c.looked = at
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fd := range c.hushed {
		if e := c.table.find(fd); e != nil && e.state&muted != 0 {
			e.state &^= muted
			c.b.unmute(fd, e)
		}
	}
	c.hushed = c.hushed[:0]
	c.restless.Store(0)
	c.b.prepare(c)
}

// emulate takes an entry into the list of files that are always ready.
func (c *core) emulate(fd int, e *entry) {
	e.slot = int32(len(c.always))
	c.always = append(c.always, fd)
	e.state |= emulated
	if e.events&(EventRead|EventWrite) != 0 && e.state&silent == 0 {
		c.hot.Add(1)
	}
}

// unemulate takes it out again.
func (c *core) unemulate(e *entry) {
	last := len(c.always) - 1
	moved := c.always[last]
	c.always[e.slot] = moved
	c.table.find(moved).slot = e.slot
	c.always = c.always[:last]
	if e.events&(EventRead|EventWrite) != 0 && e.state&silent == 0 {
		c.hot.Add(-1)
	}
	e.state &^= emulated
	e.slot = -1
}
