//go:build unix

package selectors

import (
	"math/bits"
	"time"

	"golang.org/x/sys/unix"
)

var selectTraits = traits{features: FeaturePriority | FeatureInvalid | FeatureAnyFile, scans: true}

// An fdSet is a bitmap in the kernel's layout: an array of unsigned long.
type fdSet []uintptr

// selectBackend is the backend. The three sets are readable, writable and
// exceptional. The set may change while a wait goes on, and the kernel
// overwrites what it is given: hence the copies.
type selectBackend struct {
	waker
	want   [3]fdSet // as registered
	asked  [3]fdSet // as of the last prepare
	got    [3]fdSet // what the kernel left of asked
	found  int      // bits in got
	closed []int    // descriptors for which the kernel refused the whole call
	first  int      // the word where the last batch began; the next one begins behind it
}

func (b *selectBackend) open(*table) error {
	if err := b.waker.open(); err != nil {
		return err
	}
	if b.waker.fd() >= maxSelectFD {
		b.waker.close()
		return ErrFDTooLarge
	}
	b.put(b.waker.fd(), EventRead)
	return nil
}

func (b *selectBackend) add(fd int, e *entry, _ bool) error {
	if fd >= maxSelectFD {
		return ErrFDTooLarge
	}
	if err := identify(fd, e); err != nil {
		return err
	}
	b.put(fd, e.events)
	return nil
}

func (b *selectBackend) modify(fd int, e *entry, events Event, _ uint32) error {
	if err := identify(fd, e); err != nil && err != errExists {
		return err
	}
	b.put(fd, events)
	return nil
}

func (b *selectBackend) put(fd int, events Event) {
	word, bit := fd/bits.UintSize, uintptr(1)<<(fd%bits.UintSize)
	for i, want := range [3]Event{EventRead, EventWrite, EventPriority} {
		for word >= len(b.want[i]) {
			if events == 0 {
				return
			}
			b.want[i] = append(b.want[i], 0)
		}
		if events&want != 0 {
			b.want[i][word] |= bit
		} else {
			b.want[i][word] &^= bit
		}
	}
}

func (b *selectBackend) remove(fd int, _ *entry) { b.put(fd, 0) }

// mute has nothing to do: select reports only what was asked for.
func (b *selectBackend) mute(int, *entry) bool { return true }
func (b *selectBackend) unmute(int, *entry)    {}

func (b *selectBackend) prepare(*core) {
	words := len(b.want[0])
	for words > 0 && b.want[0][words-1]|b.want[1][words-1]|b.want[2][words-1] == 0 {
		words--
	}
	for i := range b.want {
		b.want[i] = b.want[i][:words]
		if cap(b.want[i]) > 4*words+16 {
			b.want[i] = append(fdSet(nil), b.want[i]...)
			b.asked[i], b.got[i] = nil, nil
		}
		b.asked[i] = append(b.asked[i][:0], b.want[i]...)
	}
}

func (b *selectBackend) poll() (int, error) { return b.sleep(0) }

func (b *selectBackend) sleep(timeout time.Duration) (int, error) {
	for i := range b.got {
		b.got[i] = append(b.got[i][:0], b.asked[i]...)
	}
	var err error
	b.found, err = pselect(b.got[0], b.got[1], b.got[2], timeout)
	if err == unix.EBADF && b.findClosed() {
		_, err = b.poll() // the others
		return len(b.closed) + b.found, err
	}
	if b.found > 0 {
		fd := b.waker.fd()
		if bit := uintptr(1) << (fd % bits.UintSize); b.got[0][fd/bits.UintSize]&bit != 0 {
			b.got[0][fd/bits.UintSize] &^= bit
			b.found--
			b.drain()
		}
	}
	return b.found, err
}

// findClosed finds out for which descriptors the kernel refused to work, and
// asks for them no more: one that is closed makes the whole call fail.
func (b *selectBackend) findClosed() (found bool) {
	for word := range b.asked[0] {
		for set := b.asked[0][word] | b.asked[1][word] | b.asked[2][word]; set != 0; set &= set - 1 {
			fd := word*bits.UintSize + bits.TrailingZeros(uint(set))
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == unix.EBADF {
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
		if e := c.table.find(fd); e != nil && c.older(e) {
			dst = c.report(dst, e, EventError|EventInvalid)
		}
	}
	b.closed = b.closed[:0]

	words, word, left := len(b.got[0]), b.first, b.found
	b.first = -1
	for range words {
		if left == 0 {
			break
		}
		if word++; word >= words {
			word = 0
		}
		r, w, x := b.got[0][word], b.got[1][word], b.got[2][word]
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
			if e := c.table.find(fd); e != nil && c.older(e) {
				dst = c.report(dst, e, events)
			}
		}
	}
	return dst
}

// No registration outlives a call, so there are no ghosts.
func (b *selectBackend) repair(*core) error { return nil }
