package selectors

import (
	"fmt"
	"iter"
	"strings"
	"time"
)

// A SelectorKey says what is registered: Python's SelectorKey. It never
// changes; Modify makes a new one. It keeps FileObj and Data alive until it is
// unregistered.
type SelectorKey struct {
	FileObj any   // the object given to Register
	FD      int   // its descriptor
	Events  Event // the interest, modes included
	Data    any   // what the caller wants back: a callback, a connection …
}

// Ready is one entry of a batch: a key, and what it is ready for.
type Ready struct {
	Key    *SelectorKey
	Events Event
}

// A Selector waits until registered files are ready: Python's BaseSelector.
//
// All methods may be called from any goroutine, also while another one is in
// Select; only Select and SelectInto admit one goroutine at a time. What the
// methods share is said here once:
//
// A file object is an int or uintptr (a descriptor), a [syscall.Conn] such as
// *os.File and the connections and listeners of package net (its descriptor is
// borrowed through Control, so that the file keeps its mode), or anything with
// an Fd() uintptr method. The selector never owns or closes it. Where a method
// takes the file object of an existing key, the descriptor's number does as
// well.
//
// Errors are of type [*Error]; on any error nothing has changed.
type Selector interface {
	// Register starts watching fileobj for events, with data to be found in
	// the key. It takes effect at once, also when another goroutine is
	// blocked in Select.
	//
	// If the descriptor has a key, Register is ErrRegistered, unless that
	// key's file has been closed meanwhile and the number has come back with
	// another file: then the old key is replaced. Poll and select cannot tell
	// two anonymous files (eventfd, timerfd, signalfd, inotify, epoll) that
	// had the same number apart when both were registered by number; nor can
	// epoll if the number went from one to the other and back.
	//
	// Regular files, directories and the likes of /dev/null are always ready,
	// on every backend.
	Register(fileobj any, events Event, data any) (*SelectorKey, error)

	// Modify replaces interest and data of a key and returns the new key. On
	// error the old registration stands. It asks the kernel only where the
	// interest changes, or where the key is edge-triggered or one-shot and is
	// thereby armed again.
	Modify(fileobj any, events Event, data any) (*SelectorKey, error)

	// Unregister stops watching and returns the key that was. It succeeds, in
	// constant time, also after the file was closed: by the object that was
	// registered, or by the old number.
	Unregister(fileobj any) (*SelectorKey, error)

	// Select waits until at least one key is ready and returns every key that
	// is, each once, in no particular order; it is SelectInto with a fresh
	// slice.
	Select(timeout time.Duration) ([]Ready, error)

	// SelectInto is Select appending to dst, as strconv.AppendInt does; it
	// allocates only if dst has to grow.
	//
	// A negative timeout waits for ever, zero asks the kernel without
	// waiting, a positive one waits that long: never shorter unless there are
	// events or a Wake, and longer only by what the kernel and the scheduler
	// add. Any duration up to math.MaxInt64 is fine. With nothing registered
	// it just waits.
	//
	// An empty batch without an error means that the time is up or that Wake
	// was called. On error the batch is dst as it was given.
	SelectInto(dst []Ready, timeout time.Duration) ([]Ready, error)

	// Wake makes the current Select return early, or the next one if there is
	// none. Any number of calls before a Select returns count as one. It
	// shows in no batch.
	Wake() error

	// Key returns the key of a registered file object.
	Key(fileobj any) (*SelectorKey, error)

	// Keys yields the keys as they are at the call of Keys, by ascending
	// descriptor. It is empty after Close.
	Keys() iter.Seq[*SelectorKey]

	// Len is the number of keys, 0 after Close.
	Len() int

	// Features tells what this selector can do beyond the common contract.
	Features() Feature

	// Close unregisters everything and releases the selector's own
	// descriptors, not the users' files. It wakes a waiting Select and
	// returns when that has left; every later call is ErrClosed, but Close
	// itself is nil again.
	Close() error
}

// Feature is a set of capabilities that not every backend has.
type Feature uint32

const (
	// FeatureEdgeTriggered: the EdgeTriggered mode.
	FeatureEdgeTriggered Feature = 1 << iota

	// FeatureExclusive: the Exclusive mode.
	FeatureExclusive

	// FeaturePriority: EventPriority may be asked for.
	FeaturePriority

	// FeatureReadClosed: EventReadClosed may be asked for; it is also a hint
	// beside EventRead.
	FeatureReadClosed

	// FeatureHangup: the hints EventHangup and EventError are told, whatever
	// the interest. Without it a backend may still tell some.
	FeatureHangup

	// FeatureInvalid: a descriptor closed while registered is reported with
	// EventError|EventInvalid. Without it such a key falls silent.
	FeatureInvalid

	// FeatureAnyFile: any descriptor can be registered, not sockets only.
	FeatureAnyFile

	// FeatureParked: a waiting Select parks its goroutine and does not keep a
	// thread of the operating system.
	FeatureParked
)

var featureNames = [...]string{"EdgeTriggered", "Exclusive", "Priority", "ReadClosed", "Hangup", "Invalid", "AnyFile", "Parked"}

// String names the features, "EdgeTriggered|Priority" for example.
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
