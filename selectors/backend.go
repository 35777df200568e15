package selectors

import (
	"errors"
	"time"

	"goselectors/selectors/internal/sys"
)

// A backend is a kernel facility. It translates and calls the kernel; what must
// be the same on every backend is done by the core.
//
// The core calls poll, sleep and wake without holding its lock, all other
// methods with it. A backend may read the entries that it is given and write
// their fileID, slot and filters.
type backend interface {
	// add starts watching for e.events. It returns errExists if this very file
	// is watched under this number already, and errAlwaysReady if the kernel
	// does not watch such files because they are always ready. If replaces is
	// set, the number has a registration for another file, which the new one
	// replaces; e.fileID and e.slot are the old one's then.
	add(fd int, e *entry, replaces bool) error

	// modify watches for events from now on, under the given generation,
	// whether or not the kernel still knows the descriptor. On error the old
	// interest stands.
	modify(fd int, e *entry, events Event, generation uint32) error

	// remove stops watching. The descriptor may be closed by now, belong to
	// another file, or not be watched at all.
	remove(fd int, e *entry)

	// mute makes the kernel report changes of the descriptor only, no longer
	// its state. It returns false if the kernel cannot do that: the descriptor
	// is then out of the set. unmute undoes either.
	mute(fd int, e *entry) bool
	unmute(fd int, e *entry)

	// prepare is called after changes of the set, before the next poll or
	// sleep.
	prepare(c *core)

	// poll asks the kernel without waiting. sleep waits, for at most timeout,
	// or without a limit if that is negative. Both return the number of events
	// that collect will find. A sleep may end early with none.
	poll() (int, error)
	sleep(timeout time.Duration) (int, error)

	// collect passes what the last poll or sleep found to c.report.
	collect(c *core, dst []Ready) []Ready

	// wake ends the current sleep, or the next one.
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
	features      Feature
	kernelOneShot bool // the kernel disables a one-shot registration itself
	updatesLive   bool // changes of the set reach a sleep that is under way
	pollIsCheap   bool // poll costs next to nothing, so every Select polls before it sleeps
	scansAll      bool // poll and sleep ask every descriptor: see pollFirst
}

// noOrphans is for backends whose kernel keeps no registration of a descriptor
// that was closed: there is nothing to repair.
type noOrphans struct{}

func (noOrphans) repair(*core) error { return nil }

// identify stores which file a descriptor is. It returns errExists if it is, or
// may be, the file that was stored before.
func identify(fd int, e *entry) error {
	id, same, err := sys.Identify(fd, e.fileID)
	if err != nil {
		return err
	}
	e.fileID = id
	if same {
		return errExists
	}
	return nil
}

// reidentify is identify for a change of a registration, where the same file is
// no error.
func reidentify(fd int, e *entry) error {
	if err := identify(fd, e); err != errExists {
		return err
	}
	return nil
}
