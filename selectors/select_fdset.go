//go:build !windows

package selectors

import (
	"math/bits"
	"time"

	"goselectors/selectors/internal/sys"
	"goselectors/selectors/internal/wake"
)

var selectTraits = traits{features: FeaturePriority | FeatureInvalid | FeatureAnyFile, scansAll: true}

// selectBackend is the backend where a set of descriptors is a bitmap. The three
// sets are for reading, writing and exceptional conditions. They may change
// during a wait, and the kernel overwrites what it is given; therefore the
// copies.
type selectBackend struct {
	noOrphans
	waker    wake.Waker
	interest [3]sys.FDSet // as registered
	asked    [3]sys.FDSet // as of the last prepare
	ready    [3]sys.FDSet // what the kernel left of asked
	found    int          // bits in ready
	closed   []int        // descriptors because of which the kernel refused the whole call
	first    int          // index of the word where the last batch began; the next one begins behind it
}

func (b *selectBackend) open(*table) error {
	if !sys.HasSelect {
		return errNoBackend
	}
	if err := b.waker.Open(); err != nil {
		return err
	}
	if b.waker.FD() >= sys.MaxSelectFD {
		b.waker.Close()
		return ErrFDTooLarge
	}
	b.put(b.waker.FD(), EventRead)
	return nil
}

func (b *selectBackend) close() error { return b.waker.Close() }
func (b *selectBackend) wake() error  { return b.waker.Wake() }

func (b *selectBackend) owns(fd int) bool { return fd == b.waker.FD() }

func (b *selectBackend) add(fd int, e *entry, _ bool) error {
	if fd >= sys.MaxSelectFD {
		return ErrFDTooLarge
	}
	err := identify(fd, e)
	if err == nil {
		b.put(fd, e.events)
	}
	return err
}

func (b *selectBackend) modify(fd int, e *entry, events Event, _ uint32) error {
	err := reidentify(fd, e)
	if err == nil {
		b.put(fd, events)
	}
	return err
}

func (b *selectBackend) put(fd int, events Event) {
	word, bit := fd/bits.UintSize, uintptr(1)<<(fd%bits.UintSize)
	for i, event := range [3]Event{EventRead, EventWrite, EventPriority} {
		for word >= len(b.interest[i]) {
			if events == 0 {
				return
			}
			b.interest[i] = append(b.interest[i], 0)
		}
		if events&event != 0 {
			b.interest[i][word] |= bit
		} else {
			b.interest[i][word] &^= bit
		}
	}
}

func (b *selectBackend) remove(fd int, _ *entry) { b.put(fd, 0) }

// mute is not called: select(2) reports only what it is asked for.
func (b *selectBackend) mute(int, *entry) bool { return true }
func (b *selectBackend) unmute(int, *entry)    {}

func (b *selectBackend) prepare(*core) {
	words := len(b.interest[0])
	for words > 0 && b.interest[0][words-1]|b.interest[1][words-1]|b.interest[2][words-1] == 0 {
		words--
	}
	for i := range b.interest {
		b.interest[i] = b.interest[i][:words]
		if cap(b.interest[i]) > 4*words+16 {
			b.interest[i] = append(sys.FDSet(nil), b.interest[i]...)
			b.asked[i], b.ready[i] = nil, nil
		}
		b.asked[i] = append(b.asked[i][:0], b.interest[i]...)
	}
}

func (b *selectBackend) poll() (int, error) { return b.sleep(0) }

func (b *selectBackend) sleep(timeout time.Duration) (int, error) {
	for i := range b.ready {
		b.ready[i] = append(b.ready[i][:0], b.asked[i]...)
	}
	var err error
	b.found, err = sys.Select(b.ready[0], b.ready[1], b.ready[2], timeout)
	if err == sys.ErrBadFD {
		if !b.findClosed() { // the number is open again
			return 0, sys.ErrRefused
		}
		_, err = b.poll() // the others
		return len(b.closed) + b.found, err
	}
	if b.found > 0 {
		fd := b.waker.FD()
		if bit := uintptr(1) << (fd % bits.UintSize); b.ready[0][fd/bits.UintSize]&bit != 0 {
			b.ready[0][fd/bits.UintSize] &^= bit
			b.found--
			b.waker.Drain()
		}
	}
	return b.found, err
}

// findClosed finds the closed descriptors and asks for them no more: one of them
// makes the whole call fail, with EBADF.
func (b *selectBackend) findClosed() (found bool) {
	for word := range b.asked[0] {
		for set := b.asked[0][word] | b.asked[1][word] | b.asked[2][word]; set != 0; set &= set - 1 {
			fd := word*bits.UintSize + bits.TrailingZeros(uint(set))
			if !sys.IsOpen(fd) {
				found = true
				b.closed = append(b.closed, fd)
				for i := range b.asked {
					b.asked[i][word] &^= 1 << (fd % bits.UintSize)
				}
			}
		}
	}
	return found
}

func (b *selectBackend) collect(c *core, dst []Ready) []Ready {
	for _, fd := range b.closed {
		dst = c.reportCurrent(dst, fd, EventError|EventInvalid)
	}
	b.closed = b.closed[:0]

	words, word, left := len(b.ready[0]), b.first, b.found
	b.first = -1
	for range words {
		if left == 0 {
			break
		}
		if word++; word >= words {
			word = 0
		}
		r, w, x := b.ready[0][word], b.ready[1][word], b.ready[2][word]
		for set := r | w | x; set != 0; set &= set - 1 {
			if b.first < 0 {
				b.first = word
			}
			var events Event
			bit := set & -set
			if r&bit != 0 {
				events = EventRead
				left--
			}
			if w&bit != 0 {
				events |= EventWrite
				left--
			}
			if x&bit != 0 {
				events |= EventPriority
				left--
			}
			fd := word*bits.UintSize + bits.TrailingZeros(uint(set))
			dst = c.reportCurrent(dst, fd, events)
		}
	}
	return dst
}
