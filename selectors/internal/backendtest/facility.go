package backendtest

import (
	"slices"
	"sync"
	"time"

	"goselectors/selectors"
	"goselectors/selectors/internal/sys"
	"goselectors/selectors/internal/wake"
)

// custom is a backend made by selectors.NewSelector.
var custom = selectors.Backend{Name: "custom", Features: pollFeatures(), New: func(...selectors.Option) (selectors.Selector, error) {
	f, err := NewPollFacility()
	if err != nil {
		return nil, err
	}
	return selectors.NewSelector(f, selectors.FacilityTraits{Name: "custom", Features: pollFeatures()}), nil
}}

func pollFeatures() selectors.Feature {
	features := selectors.FeatureOneShot | selectors.FeaturePriority | selectors.FeatureInvalid
	if sys.AnyFile {
		features |= selectors.FeatureAnyFile
	}
	if sys.PollRdHup != 0 || sys.HupIsReadClosed {
		features |= selectors.FeatureReadClosed
	}
	if !sys.HupIsReadClosed {
		features |= selectors.FeatureHangup
	}
	return features
}

// A PollFacility is a selectors.Facility on poll(2). Its first element is the
// waker.
type PollFacility struct {
	waker wake.Waker

	mu     sync.Mutex
	index  map[int]int // of a descriptor in fds and tokens
	fds    []sys.PollFD
	tokens []uint64

	asked       []sys.PollFD // the copy of Wait
	askedTokens []uint64
}

// NewPollFacility returns a facility that watches nothing.
func NewPollFacility() (*PollFacility, error) {
	f := &PollFacility{index: make(map[int]int)}
	if err := f.waker.Open(); err != nil {
		return nil, err
	}
	f.put(f.waker.FD(), sys.PollIn, 0)
	return f, nil
}

func (f *PollFacility) put(fd int, mask uint32, token uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, found := f.index[fd]
	if !found {
		i = len(f.fds)
		f.index[fd] = i
		f.fds, f.tokens = append(f.fds, sys.NewPollFD(fd, 0)), append(f.tokens, 0)
	}
	sys.SetEvents(&f.fds[i], mask)
	f.tokens[i] = token
}

var pollBits = []struct {
	event selectors.Event
	mask  uint32
}{
	{selectors.EventRead, sys.PollIn},
	{selectors.EventWrite, sys.PollOut},
	{selectors.EventPriority, sys.PollPri},
	{selectors.EventReadClosed, sys.PollRdHup},
	{selectors.EventHangup, sys.PollHup},
	{selectors.EventError, sys.PollErr},
	{selectors.EventInvalid, sys.PollNval},
}

// Add implements selectors.Facility.
func (f *PollFacility) Add(fd int, events selectors.Event, token uint64) error {
	if events&selectors.EventRead != 0 {
		events |= selectors.EventReadClosed // the hint
	}
	var mask uint32
	for _, b := range pollBits[:4] {
		if events&b.event != 0 {
			mask |= b.mask
		}
	}
	f.put(fd, mask, token)
	return nil
}

// Modify implements selectors.Facility.
func (f *PollFacility) Modify(fd int, events selectors.Event, token uint64) error {
	return f.Add(fd, events, token)
}

// Remove implements selectors.Facility.
func (f *PollFacility) Remove(fd int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, found := f.index[fd]
	if !found {
		return
	}
	last := len(f.fds) - 1
	f.index[int(f.fds[last].Fd)] = i
	f.fds[i], f.tokens[i] = f.fds[last], f.tokens[last]
	f.fds, f.tokens = f.fds[:last], f.tokens[:last]
	delete(f.index, fd)
}

// Wait implements selectors.Facility.
func (f *PollFacility) Wait(timeout time.Duration, report func(token uint64, ready selectors.Event)) error {
	f.mu.Lock()
	f.asked = append(f.asked[:0], f.fds...)
	f.askedTokens = append(f.askedTokens[:0], f.tokens...)
	f.mu.Unlock()
	n, err := sys.Poll(f.asked, timeout)
	if n == 0 || err != nil {
		return err
	}
	for i, p := range f.asked {
		mask := uint32(uint16(p.Revents))
		if mask == 0 {
			continue
		}
		if f.askedTokens[i] == 0 {
			f.waker.Drain()
			continue
		}
		report(f.askedTokens[i], fromPoll(mask))
	}
	return nil
}

func fromPoll(mask uint32) (ready selectors.Event) {
	for _, b := range pollBits {
		if mask&b.mask != 0 {
			ready |= b.event
		}
	}
	if sys.HupIsReadClosed && ready&selectors.EventHangup != 0 {
		ready |= selectors.EventReadClosed
		if ready&selectors.EventError == 0 {
			ready &^= selectors.EventHangup
		}
	}
	return ready
}

// Wake implements selectors.Facility.
func (f *PollFacility) Wake() error { return f.waker.Wake() }

// Close implements selectors.Facility.
func (f *PollFacility) Close() error { return f.waker.Close() }

// Backends lists the backends of the platform and, where there is poll, the
// backend custom.
func Backends() []selectors.Backend {
	list := selectors.Backends()
	if slices.ContainsFunc(list, func(b selectors.Backend) bool { return b.Name == "poll" }) {
		list = append(list, custom)
	}
	return list
}
