//go:build unix

package selectortest_test

import (
	"cmp"
	"errors"
	"iter"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/selectortest"
)

// TestNaive: a selector that was written from the documentation of
// selectors.Selector passes the contract.
func TestNaive(t *testing.T) {
	selectortest.Run(t, func() (selectors.Selector, error) { return newNaive() })
}

// naive is the plainest Selector on poll(2): a map of keys, a list that each wait
// makes anew, and a pipe that ends a wait. It uses nothing of package selectors
// but what is exported for implementations.
type naive struct {
	selecting sync.Mutex
	mu        sync.Mutex // guards the fields below
	entries   map[int]*naiveEntry
	waiting   bool
	woken     bool
	closed    bool
	recheck   time.Time // when to ask for entries that are quiet
	pipe      [2]int
}

// A naiveEntry is never changed but by Select: another registration of the same
// number is another naiveEntry, so that its address tells stale events.
type naiveEntry struct {
	key      *selectors.SelectorKey
	dev, ino uint64
	invalid  bool            // reported with EventInvalid
	quiet    bool            // has only hints to report
	hints    selectors.Event // reported while quiet
}

const recheckInterval = 100 * time.Millisecond

func newNaive() (selectors.Selector, error) {
	s := &naive{entries: make(map[int]*naiveEntry)}
	if err := unix.Pipe(s.pipe[:]); err != nil {
		return nil, s.fail("new", -1, err)
	}
	for _, fd := range s.pipe {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, true)
	}
	return s, nil
}

func (s *naive) fail(op string, fd int, err error) error {
	if s.closed {
		err = selectors.ErrClosed
	}
	return &selectors.Error{Op: op, Backend: "naive", FD: fd, Err: err}
}

func (s *naive) Features() selectors.Feature {
	f := selectors.FeaturePriority | selectors.FeatureHangup | selectors.FeatureInvalid | selectors.FeatureAnyFile
	if pollRdHup != 0 {
		f |= selectors.FeatureReadClosed
	}
	return f
}

func (s *naive) Register(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, err := selectors.FileDescriptor(fileobj)
	if err == nil {
		err = selectors.CheckInterest(events, s.Features())
	}
	var e *naiveEntry
	if err == nil {
		e, err = newEntry(fileobj, fd, events, data)
	}
	if err != nil || s.closed {
		return nil, s.fail("register", fd, err)
	}
	old := s.entries[fd]
	if old != nil && old.dev == e.dev && old.ino == e.ino && !old.invalid && hasDescriptor(old.key) {
		return nil, s.fail("register", fd, selectors.ErrRegistered)
	}
	s.entries[fd] = e
	s.interrupt()
	return e.key, nil
}

// newEntry returns EBADF if the descriptor is not open.
func newEntry(fileobj any, fd int, events selectors.Event, data any) (*naiveEntry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	key := &selectors.SelectorKey{FileObj: fileobj, FD: fd, Events: events, Data: data}
	return &naiveEntry{key: key, dev: uint64(st.Dev), ino: uint64(st.Ino)}, nil
}

// hasDescriptor reports whether the file object of a key still has the key's
// descriptor.
func hasDescriptor(key *selectors.SelectorKey) bool {
	fd, err := selectors.FileDescriptor(key.FileObj)
	return err == nil && fd == key.FD
}

// find returns the entry of a file object.
func (s *naive) find(fileobj any) (*naiveEntry, error) {
	if s.closed {
		return nil, selectors.ErrClosed
	}
	if fileobj != nil && reflect.ValueOf(fileobj).Comparable() {
		for _, e := range s.entries {
			if reflect.ValueOf(e.key.FileObj).Comparable() && e.key.FileObj == fileobj {
				return e, nil // also if the object was closed
			}
		}
	}
	fd, err := selectors.FileDescriptor(fileobj)
	if errors.Is(err, selectors.ErrInvalidFileObj) {
		return nil, err
	}
	e := s.entries[fd]
	switch fileobj.(type) {
	case int, uintptr:
	default:
		if e != nil && !hasDescriptor(e.key) {
			e = nil // the key of an object that was closed
		}
	}
	if err != nil || e == nil {
		return &naiveEntry{key: &selectors.SelectorKey{FD: fd}}, selectors.ErrNotRegistered
	}
	return e, nil
}

func (s *naive) failFind(op string, e *naiveEntry, err error) error {
	fd := -1
	if e != nil {
		fd = e.key.FD
	}
	return s.fail(op, fd, err)
}

func (s *naive) Modify(fileobj any, events selectors.Event, data any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.find(fileobj)
	if err == nil {
		err = selectors.CheckInterest(events, s.Features())
	}
	if err == nil {
		_, err = selectors.FileDescriptor(fileobj)
	}
	var e *naiveEntry
	if err == nil {
		e, err = newEntry(old.key.FileObj, old.key.FD, events, data)
	}
	if err != nil {
		return nil, s.failFind("modify", old, err)
	}
	s.entries[old.key.FD] = e
	s.interrupt()
	return e.key, nil
}

func (s *naive) Unregister(fileobj any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(fileobj)
	if err != nil {
		return nil, s.failFind("unregister", e, err)
	}
	delete(s.entries, e.key.FD)
	s.interrupt()
	return e.key, nil
}

func (s *naive) Key(fileobj any) (*selectors.SelectorKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(fileobj)
	if err != nil {
		return nil, s.failFind("key", e, err)
	}
	return e.key, nil
}

func (s *naive) Keys() iter.Seq[*selectors.SelectorKey] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []*selectors.SelectorKey
	for _, e := range s.entries {
		keys = append(keys, e.key)
	}
	slices.SortFunc(keys, func(a, b *selectors.SelectorKey) int { return cmp.Compare(a.FD, b.FD) })
	return slices.Values(keys)
}

func (s *naive) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// interrupt ends the poll that is under way. It is called with mu.
func (s *naive) interrupt() {
	if s.waiting {
		s.waiting = false // once for each poll
		unix.Write(s.pipe[1], []byte{0})
	}
}

func (s *naive) Wake() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.fail("wake", -1, nil)
	}
	s.woken = true
	s.interrupt()
	return nil
}

func (s *naive) Close() error {
	s.mu.Lock()
	wasClosed := s.closed
	s.closed = true
	clear(s.entries)
	s.interrupt()
	s.mu.Unlock()
	if wasClosed {
		return nil
	}
	s.selecting.Lock() // wait for a Select to return
	defer s.selecting.Unlock()
	unix.Close(s.pipe[0])
	return unix.Close(s.pipe[1])
}

func (s *naive) Select(timeout time.Duration) ([]selectors.Ready, error) {
	return s.SelectInto(nil, timeout)
}

func (s *naive) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	if !s.selecting.TryLock() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return dst, s.fail("select", -1, selectors.ErrConcurrentSelect)
	}
	defer s.selecting.Unlock()
	start, given := time.Now(), len(dst)
	for {
		fds, entries, wait := s.prepare()
		if timeout >= 0 {
			left := max(timeout-time.Since(start), 0)
			if wait < 0 || left < wait {
				wait = left
			}
		}
		_, err := unix.Poll(fds, milliseconds(wait))
		if dst, err = s.collect(dst, fds, entries, err); err != nil {
			return dst[:given], err
		}
		if woken := s.takeWake(); len(dst) > given || woken || timeout >= 0 && time.Since(start) >= timeout {
			return dst, nil
		}
	}
}

// collect appends what poll(2) has reported.
func (s *naive) collect(dst []selectors.Ready, fds []unix.PollFd, entries []*naiveEntry, err error) ([]selectors.Ready, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = false
	if err == unix.EINTR {
		return dst, nil
	}
	if err != nil || s.closed {
		return dst, s.fail("select", -1, err)
	}
	if fds[0].Revents != 0 {
		var buf [16]byte
		unix.Read(s.pipe[0], buf[:])
	}
	for i, e := range entries {
		if s.entries[e.key.FD] == e { // otherwise the event is stale
			dst = e.report(dst, fromPoll(uint32(uint16(fds[i+1].Revents))))
		}
	}
	return dst, nil
}

func (s *naive) takeWake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	woken := s.woken
	s.woken = false
	return woken
}

// prepare makes the list for poll(2) and tells how long to wait at most.
func (s *naive) prepare() (fds []unix.PollFd, entries []*naiveEntry, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, wait = true, -1
	fds = append(fds, pollFD(s.pipe[0], unix.POLLIN))
	askQuiet := !time.Now().Before(s.recheck)
	if askQuiet {
		s.recheck = time.Now().Add(recheckInterval)
	}
	for fd, e := range s.entries {
		if e.quiet {
			wait = recheckInterval
		}
		if !e.invalid && (!e.quiet || askQuiet) {
			fds, entries = append(fds, pollFD(fd, toPoll(e.key.Events))), append(entries, e)
		}
	}
	if s.woken || s.closed {
		wait = 0
	}
	return fds, entries, wait
}

// report appends what is ready. Hints alone are reported once; the entry is quiet
// then, because poll(2) would return at once, again and again.
func (e *naiveEntry) report(dst []selectors.Ready, ready selectors.Event) []selectors.Ready {
	const hints = selectors.EventReadClosed | selectors.EventHangup | selectors.EventError | selectors.EventInvalid
	ready &= e.key.Events | hints
	e.invalid = ready&selectors.EventInvalid != 0
	switch {
	case ready == 0:
		return dst
	case e.invalid:
	case ready&e.key.Events != 0:
		e.quiet, e.hints = false, 0
	default:
		e.quiet = true
		if ready&^e.hints == 0 {
			return dst
		}
		e.hints |= ready
	}
	return append(dst, selectors.Ready{Key: e.key, Events: ready})
}

func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((min(d, time.Hour) + time.Millisecond - 1) / time.Millisecond)
}

func toPoll(events selectors.Event) (mask uint32) {
	if events&selectors.EventRead != 0 {
		mask |= unix.POLLIN | pollRdHup
	}
	if events&selectors.EventWrite != 0 {
		mask |= unix.POLLOUT
	}
	if events&selectors.EventPriority != 0 {
		mask |= unix.POLLPRI
	}
	if events&selectors.EventReadClosed != 0 {
		mask |= pollRdHup
	}
	return mask
}

func fromPoll(mask uint32) (ready selectors.Event) {
	for _, m := range []struct {
		mask  uint32
		ready selectors.Event
	}{
		{unix.POLLIN, selectors.EventRead},
		{unix.POLLOUT, selectors.EventWrite},
		{unix.POLLPRI, selectors.EventPriority},
		{pollRdHup, selectors.EventReadClosed},
		{unix.POLLHUP, selectors.EventRead | selectors.EventHangup},
		{unix.POLLERR, selectors.EventRead | selectors.EventWrite | selectors.EventError},
	} {
		if mask&m.mask != 0 {
			ready |= m.ready
		}
	}
	if mask&unix.POLLNVAL != 0 {
		ready = selectors.EventError | selectors.EventInvalid
	}
	return ready
}

func pollFD(fd int, mask uint32) (p unix.PollFd) {
	p.Fd = int32(fd)
	setMask(&p.Events, mask)
	return p
}

// setMask exists because the field is unsigned on AIX.
func setMask[T int16 | uint16](field *T, mask uint32) { *field = T(mask) }
