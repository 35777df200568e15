package selectors

import (
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"
)

// A SelectorKey describes a registration: Python's SelectorKey. It never changes;
// Modify makes a new one. It keeps FileObj and Data alive until it is
// unregistered.
type SelectorKey struct {
	FileObj any   // the object given to Register
	FD      int   // its descriptor
	Events  Event // the interest, with its modes
	Data    any   // the caller's data: a callback, a connection …
}

// Ready is one entry of a batch: a key, and the events it is ready for.
type Ready struct {
	Key    *SelectorKey
	Events Event
}

// A Selector waits until registered files are ready: Python's BaseSelector.
//
// All methods may be called from any goroutine, also while another one is in
// Select. Only one goroutine at a time may be in Select or SelectInto; a second
// one gets [ErrConcurrentSelect].
//
// A file object is one of:
//   - an int or uintptr: a descriptor
//   - a [syscall.Conn], such as *os.File and the connections and listeners of
//     package net; its descriptor is taken through Control, so that the file
//     keeps its mode
//   - any other type with an Fd() uintptr method
//
// The selector never owns or closes a file object. Methods that take the file
// object of an existing key take its descriptor's number as well.
//
// Errors have type [*Error]. After an error nothing has changed.
//
// # Duties of an implementation
//
// [NewSelector] makes a Selector of a kernel facility and fulfils all of this. An
// implementation without it owes its callers what the methods below, [Event],
// [SelectorKey] and [Error] say, and the following. Package selectortest checks
// it. [CheckInterest] and [FileDescriptor] do the first part.
//
// Arguments and errors:
//   - An interest is checked against Features. One that is ErrInvalidEvents is
//     that whatever the features; one that a feature is missing for is an error
//     that wraps [errors.ErrUnsupported].
//   - A file object that is no such thing is ErrInvalidFileObj in all four methods
//     that take one, also if it is nil, a nil pointer, or a value whose methods
//     panic because it was never opened.
//   - A file object that was closed, and a number that is larger than any
//     descriptor, are ErrNotRegistered for Modify, Unregister and Key if they have
//     no key. Register of them, and Modify of a closed one that has a key, is EBADF.
//     A number is never truncated.
//   - After Close every error is ErrClosed, whatever the arguments.
//   - Error.Op is the method's name in lower case; for SelectInto it is "select".
//     Error.FD is the descriptor if the file object has one, otherwise -1.
//     Error.Backend is a name of the implementation's own.
//   - A constructor that fails leaves no descriptor open, and its error matches the
//     system's, such as EMFILE.
//
// Keys:
//   - Register and Modify, Key, Keys, Ready and Unregister hand out the same
//     pointer, until Modify makes a new key. Modify keeps the FileObj.
//   - A key is found by its descriptor's number, by the object that was
//     registered or one that is equal to it, and by another object with the same
//     descriptor. Objects that cannot be compared are found by their descriptor.
//     The object itself finds its key also after it was closed. If its number has
//     come back as that of another object, a new object does not find the old key.
//   - A key that is stale (see Register) is recognised by its file, which fstat(2)
//     tells, or by its object, which no longer has the number.
//
// What a Select reports:
//   - The bits mean what Linux's select(2) and poll(2) make of them: EventRead is
//     POLLIN, POLLHUP or POLLERR; EventWrite is POLLOUT or POLLERR; EventPriority
//     is POLLPRI; EventReadClosed is POLLRDHUP; EventHangup is POLLHUP; EventError
//     is POLLERR; and POLLNVAL is EventError|EventInvalid and nothing else. So the
//     reading end of a pipe is never ready for EventWrite.
//   - A report has the bits of the interest and hints. Hints alone are reported
//     once, until an event of the interest or another hint appears; meanwhile
//     Select does not return, uses no processor time, and still reports events of
//     the interest.
//   - Each key is in a batch once, with all its events. All keys that are ready are
//     in it, as many as there are.
//   - After Unregister and Modify nothing is reported that is due to the old
//     registration, also if its descriptor was closed before and a duplicate keeps
//     the file open. Such a file does not keep Select busy either.
//
// Waiting:
//   - A waiting Select uses no processor time. Signals do not end it.
//   - A change by another goroutine takes effect in a Select that is waiting, and
//     does not end it by itself.
//   - A Wake is consumed by the Select that it ends, and hides no event.
//   - The selector's own descriptors are closed on exec. Close closes them, and no
//     sequence of registrations leaves one open.
type Selector interface {
	// Register starts watching fileobj for events and returns its key, which
	// holds data. It takes effect at once, also if another goroutine is blocked
	// in Select.
	//
	// If the descriptor has a key already the error is ErrRegistered. An
	// exception is a stale key: its file has been closed, and the number has
	// come back with another file. Register replaces it. Files are told apart by
	// device and inode number. Two files that have both in common and had the same
	// number one after the other cannot be told apart if both were registered by
	// number: anonymous files (eventfd, timerfd, signalfd, inotify, epoll), which
	// all have the same inode, and a file that got the inode number of one that
	// was deleted. Epoll is wrong only if the number went from one file to the
	// other and back, and about files that are always ready. Register by object
	// to be safe.
	//
	// Regular files, directories and files like /dev/null are always ready, on
	// every backend that has FeatureAnyFile.
	//
	// A descriptor that was opened with O_PATH, and one of the selector's own, which
	// a number that was closed may have become, is EBADF. An epoll set that contains
	// the set of an epoll selector is that selector's ELOOP (epoll_ctl(2)).
	Register(fileobj any, events Event, data any) (*SelectorKey, error)

	// Modify replaces the interest and the data of a key and returns the new
	// key. On error the old registration stands. It arms a key again that is
	// edge-triggered or a one-shot that has fired. The selectors of this package
	// call the kernel only then, or if the interest changes.
	//
	// On Linux there are files that tell their news only to the first who asks,
	// such as /proc/self/mounts (docs/parking.md). The first Modify of such a key
	// asks. So epoll reports the key once after it, whether there is news or not.
	Modify(fileobj any, events Event, data any) (*SelectorKey, error)

	// Unregister stops watching and returns the key. After the file was closed it
	// works too: by the object that was registered or by the old number. The
	// selectors of this package do it in constant time.
	Unregister(fileobj any) (*SelectorKey, error)

	// Select waits until at least one key is ready and returns every key that
	// is, each once, in no particular order. It is SelectInto with a new slice.
	Select(timeout time.Duration) ([]Ready, error)

	// SelectInto is Select that appends to dst and returns the longer slice, as
	// strconv.AppendInt does. The selectors of this package allocate only if dst
	// has to grow.
	//
	// A negative timeout waits without a limit. Zero asks the kernel without
	// waiting. A positive one waits that long: never shorter, unless there are
	// events, a Wake or a Close, and longer only by what the kernel and the
	// scheduler add. Every duration up to math.MaxInt64 is valid. With nothing registered
	// SelectInto just waits.
	//
	// An empty batch without an error means that the time is up or that Wake
	// was called. On error dst is returned as it was.
	SelectInto(dst []Ready, timeout time.Duration) ([]Ready, error)

	// Wake makes the current Select return early, or the next one if there is
	// none. Any number of calls before a Select returns count as one. A wake
	// appears in no batch.
	Wake() error

	// Key returns the key of a registered file object.
	Key(fileobj any) (*SelectorKey, error)

	// Keys yields the keys that are registered when Keys is called, by ascending
	// descriptor. After Close it yields none.
	Keys() iter.Seq[*SelectorKey]

	// Len returns the number of keys. After Close it is 0.
	Len() int

	// Features returns what this selector can do beyond the common contract.
	Features() Feature

	// Close unregisters all keys and closes the selector's own descriptors, not
	// the users' files. It wakes a waiting Select and returns when that has
	// returned. Later calls of other methods return ErrClosed, of Close nil.
	//
	// A selector that is dropped without Close gives its descriptors back when it
	// is garbage collected, as an os.File does. That may be late; close it.
	Close() error
}

// Feature is a set of capabilities that not every backend has.
type Feature uint32

const (
	// FeatureEdgeTriggered: the mode EdgeTriggered.
	FeatureEdgeTriggered Feature = 1 << iota

	// FeatureOneShot: the mode OneShot. Every backend of this package has it.
	FeatureOneShot

	// FeatureExclusive: the mode Exclusive.
	FeatureExclusive

	// FeaturePriority: EventPriority may be part of an interest.
	FeaturePriority

	// FeatureReadClosed: EventReadClosed may be part of an interest. It is also
	// reported as a hint with EventRead.
	FeatureReadClosed

	// FeatureHangup: the hints EventHangup and EventError are reported whatever
	// the interest. Without it a backend may still report some.
	FeatureHangup

	// FeatureInvalid: a descriptor that was closed while registered is reported
	// with EventError|EventInvalid. Without it such a key is never reported.
	FeatureInvalid

	// FeatureAnyFile: descriptors of any kind can be registered, not only
	// sockets.
	FeatureAnyFile

	// FeatureParked: a waiting Select can park its goroutine and then holds no
	// thread of the operating system. It blocks one for short waits, during a
	// shortage of descriptors or memory, and while it has a key that does not
	// allow parking: an Exclusive one, or one of an unusual file (docs/parking.md).
	FeatureParked
)

var featureNames = [...]string{"EdgeTriggered", "OneShot", "Exclusive", "Priority", "ReadClosed", "Hangup", "Invalid", "AnyFile", "Parked"}

// String returns the names of the features, such as "EdgeTriggered|Priority".
func (f Feature) String() string {
	if f == 0 {
		return "0"
	}
	var names []string
	for i, name := range featureNames {
		if bit := Feature(1) << i; f&bit != 0 {
			names = append(names, name)
			f &^= bit
		}
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(f)))
	}
	return strings.Join(names, "|")
}

// Stats counts what a selector could not have for the moment, and what it did
// about it. All zero is normal.
//
// Every selector of this package has a method Stats. For a [Selector] that
// [NewDefaultSelector] has returned it is
//
//	sel.(interface{ Stats() selectors.Stats }).Stats()
type Stats struct {
	// Orphans counts stale registrations that were noticed: the kernel goes on
	// reporting a descriptor that was closed, because a duplicate keeps its file
	// open. Only epoll has them. Orphans that are never ready at the same time may
	// be counted as one.
	Orphans uint64

	// Repairs counts how often the kernel's set was made to agree with the keys
	// again: a new set without orphans has replaced it, or the kernel has taken a
	// registration that it had refused. RepairFailures counts attempts that failed.
	// Nothing changes then, and another attempt follows after 10 ms, and after
	// twice the time of the last one, up to 5 s.
	Repairs        uint64
	RepairFailures uint64

	// RepairPending tells whether such an attempt is due. Until it succeeds, a
	// Select in which only orphans are ready asks the kernel every 2 ms.
	RepairPending bool

	// Shortages counts the waiting system calls that the kernel refused for
	// lack of memory or descriptors, or because RLIMIT_NOFILE was lowered below
	// the number of keys. Select repeats them.
	Shortages uint64
}

// counters are the figures of Stats. They change in rare cases only.
type counters struct {
	orphans, repairs, repairFailures, shortages atomic.Uint64
}

// Stats returns the counters. Any goroutine may call it, also after Close. The
// figures are not one atomic snapshot.
func (c *core) Stats() Stats {
	return Stats{
		Orphans:        c.counters.orphans.Load(),
		Repairs:        c.counters.repairs.Load(),
		RepairFailures: c.counters.repairFailures.Load(),
		RepairPending:  c.repairAt.Load() != 0,
		Shortages:      c.counters.shortages.Load(),
	}
}
