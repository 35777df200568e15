package selectors

import (
	"errors"
	"time"
)

// backend is a kernel facility. It translates and calls the kernel; what must
// hold on every backend is the core's business.
//
// The core calls poll, sleep and wake without its lock, all else with it. The
// entries it hands out are the backend's to read; it may write id and slot.
type backend interface {
	// add starts watching for e.events. It is errExists if this very file is
	// watched under this number already, and errAlwaysReady if the kernel
	// does not watch such files because they are always ready. If the number
	// is known with another file, the new one takes its place; e.id and
	// e.slot are that one's.
	add(fd int, e *entry, known bool) error

	// modify watches for events from now on, under the registration number
	// gen, whether the kernel still knows the descriptor or not. On error the
	// old interest stands.
	modify(fd int, e *entry, events Event, gen uint32) error

	// remove stops watching. The descriptor may be closed by now, belong to
	// another file, or not be watched at all.
	remove(fd int, e *entry)

	// mute lets a wait end for changes only, no longer for the state as it
	// is. It reports false if the kernel cannot do that: the descriptor is
	// then out of the set. unmute undoes either.
	mute(fd int, e *entry) bool
	unmute(fd int, e *entry)

	// prepare is called after changes of the set, before the next poll or
	// sleep.
	prepare(c *core)

	// poll asks the kernel without waiting, sleep waits, if timeout is not
	// negative at most so long. Both return how much collect will find. A
	// sleep may end early with nothing.
	poll() (int, error)
	sleep(timeout time.Duration) (int, error)

	// collect hands what the last poll or sleep found to c.report.
	collect(c *core, dst []Ready) []Ready

	// wake ends the sleep that goes on, or the next one.
	wake() error

	// repair is called when the kernel reports registrations that no longer
	// exist.
	repair(c *core) error

	close() error
}

var (
	errExists      = errors.New("already watched")
	errAlwaysReady = errors.New("always ready")
)

// traits are the differences between backends that the core has to know.
type traits struct {
	features Feature
	oneShot  bool // the kernel disables a one-shot registration itself
	live     bool // changes of the set reach a sleep that goes on
	cheap    bool // poll costs next to nothing, so ask before going to sleep, each time
	scans    bool // poll and sleep ask each descriptor: see habit
}

// Backend is one of the kernel facilities of this platform.
type Backend struct {
	Name     string // as in SELECTORS_BACKEND: "epoll", "kqueue", "poll", "select"
	Features Feature
	New      func(...Option) (Selector, error)
}

// Backends lists what this platform has, best first. Where there is nothing it
// is empty, and NewDefaultSelector says [errors.ErrUnsupported].
func Backends() []Backend {
	return append([]Backend(nil), backends...)
}

// milliseconds rounds up: a wait may end late, never early.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int((timeout + time.Millisecond - 1) / time.Millisecond)
}
