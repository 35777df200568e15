package selectors

import (
	"errors"
	"time"

	"goselectors/selectors/internal/sys"
)

// A backend is the code for one kernel facility. It translates between Event and
// the kernel's masks and makes the system calls; the core does everything else.
//
// The core calls poll, sleep and close without holding mu, wake with or without
// it, and all other methods with it. A backend may write the fileID, slot, filters
// and nesting of an entry; epoll also changes the state edgeWatched, and
// mute the state muted.
type backend interface {
	// add starts watching for e.events. It returns errExists if the same file
	// is watched under this number already, and errAlwaysReady if the kernel
	// does not watch such files because they are always ready. If replaces is
	// true, the number already has an entry, which this one replaces if its file
	// is another one; e.fileID and e.slot are those of the old entry then. The
	// entry is not in the table yet.
	add(fd int, e *entry, replaces bool) error

	// owns reports whether a number is that of a descriptor of the backend itself.
	owns(fd int) bool

	// modify watches for events from now on, under the given generation,
	// whether or not the kernel still knows the descriptor. If the state
	// edgeWatched was set before and still is, the generation is not used. On
	// error the old interest remains.
	modify(fd int, e *entry, events Event, generation uint32) error

	// remove stops watching. The descriptor may be closed by now, belong to
	// another file, or not be watched at all.
	remove(fd int, e *entry)

	// mute makes the kernel report only changes of the descriptor's state, as
	// if it were edge-triggered. It returns false if the kernel cannot do that:
	// then the descriptor has been removed from the kernel's set. If the set does
	// not have the registration, so that its event comes from an orphan, mute clears
	// the state muted. unmute reverses both.
	mute(fd int, e *entry) bool
	unmute(fd int, e *entry)

	// prepare is called after changes of the set, before the next poll or
	// sleep.
	prepare(c *core)

	// poll asks the kernel without waiting. sleep waits, for at most timeout,
	// or without a limit if that is negative. Both return the number of events
	// that the kernel reported, which may include stale ones and the backend's
	// own. A sleep may end early with none.
	poll() (int, error)
	sleep(timeout time.Duration) (int, error)

	// collect passes what the last poll or sleep found to c.report, each
	// descriptor once.
	collect(c *core, dst []Ready) []Ready

	// wake ends the current sleep. It may also end a later one early.
	wake() error

	// repair makes the kernel's set agree with the table again. It is called when
	// orphans were noticed, and after requestRepair. On error the set is as it
	// was, and the core calls it again later.
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
	muteRepeats   bool // after mute the next poll or sleep reports a state that lasts once more
	hintsAreEdges bool // the kernel reports hints without an event of the interest only when they change: no mute
	pollIsCheap   bool // poll is cheap, so every Select polls before it sleeps
	scansAll      bool // poll and sleep ask every descriptor: see pollFirst
}

// noOrphans is for backends whose kernel keeps no registration of a descriptor
// that was closed: there is nothing to repair.
type noOrphans struct{}

func (noOrphans) repair(*core) error { return nil }

// identify stores which file a descriptor is. It returns errExists if this is, or
// may be, the file that was stored before, and EBADF if it was opened with O_PATH.
// Such a descriptor is not open for anything that one could wait for (open(2)):
// epoll refuses it, but poll(2) takes it for closed, and select(2) for ready.
func identify(fd int, e *entry) error {
	if sys.IsPath(fd) {
		return errBadFD
	}
	return storeFile(fd, e)
}

// storeFile is identify for a descriptor that cannot be one of O_PATH.
func storeFile(fd int, e *entry) error {
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
