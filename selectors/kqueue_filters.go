//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && simkqueue)

package selectors

import (
	"math"

	"golang.org/x/sys/unix"
)

// entry.mark: the filters that are set, and what sort of file it is.
const (
	setRead uint8 = 1 << iota
	setWrite
	setUrgent

	setBits = setRead | setWrite | setUrgent
)

const (
	kindOther    = iota << 3
	kindSocket   // urgent data, and each direction ends for itself
	kindPipe     // for both directions
	kindReadEnd  // of a pipe
	kindWriteEnd // of a pipe
	kindDevice   // may be one that the kernel does not watch
)

var kqueueFilters = [...]struct {
	bit    uint8
	filter int
	fflags uint32
}{
	{setRead, filterRead, 0},
	{setWrite, filterWrite, 0},
	{setUrgent, filterUrgent, noteOOB},
}

func (b *kqueue) add(fd int, e *entry, known bool) error {
	id, kind, err := b.identify(fd, e.events)
	if err != nil && err != errAlwaysReady {
		return err
	}
	if known && id == e.id {
		if old := b.table.find(fd); b.holds(fd, old) {
			e.mark = old.mark
			return errExists
		}
	}
	e.id = id
	if err == nil {
		err = b.set(fd, e, id, kind, e.events, e.gen)
	}
	return err
}

func (b *kqueue) modify(fd int, e *entry, events Event, gen uint32) error {
	id, kind, err := b.identify(fd, events)
	if err == nil {
		err = b.set(fd, e, id, kind, events, gen)
	}
	if err == errAlwaysReady {
		e.mark = kind
	}
	if err == nil || err == errAlwaysReady {
		e.id = id
	}
	return err
}

func (b *kqueue) remove(fd int, e *entry) {
	b.begin(fd, e.mark)
	b.submit()
	e.mark &^= setBits
}

// identify tells which file a descriptor is, and what kind of file.
func (b *kqueue) identify(fd int, events Event) (id uint64, kind uint8, err error) {
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return 0, 0, err
	}
	id = statID(&st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return id, kindSocket, nil
	case unix.S_IFCHR:
		return id, kindDevice, nil
	case unix.S_IFIFO:
		if !b.fifoEnd && events&(EventRead|EventReadClosed) != 0 && isNamedPipe(&st) {
			return 0, 0, &unsupportedError{"reading from a named pipe"}
		}
		switch mode, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); mode & unix.O_ACCMODE {
		case unix.O_RDONLY:
			return id, kindReadEnd, nil
		case unix.O_WRONLY:
			return id, kindWriteEnd, nil
		}
		return id, kindPipe, nil
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
		// To the kernels a regular file is readable up to its end only.
		if isPlain(fd) {
			return id, kindOther, errAlwaysReady
		}
	}
	return id, kindOther, nil
}

// holds reports whether the kernel still has the filters of an entry: it drops
// them when the number is closed, whatever file the number has afterwards.
// Enabling what is enabled changes nothing, but for one more report of an
// edge-triggered key that is ready.
func (b *kqueue) holds(fd int, e *entry) bool {
	for _, f := range kqueueFilters {
		if e.mark&f.bit != 0 {
			b.changes = b.changes[:0]
			b.put(fd, f.filter, evEnable, f.fflags, e.gen)
			return b.submit() == nil
		}
	}
	return true // there was nothing to drop
}

// set replaces the filters of an entry by those for events, in one call, and
// puts them back if that fails.
func (b *kqueue) set(fd int, e *entry, id uint64, kind uint8, events Event, gen uint32) error {
	was, want := e.mark, kind|filters(kind, events)
	b.begin(fd, was)
	b.extend(fd, want, events, gen)
	err := b.submit()
	switch {
	case err == nil:
		e.mark = want
		return nil
	case err == unix.EPIPE:
		// Nobody reads this pipe any more: a write fails at once, for ever.
		err = errAlwaysReady
	case kind == kindDevice && (err == unix.EINVAL || err == unix.ENODEV || err == unix.ENOTSUP || err == unix.EOPNOTSUPP || err == unix.EPERM):
		// /dev/null and the like on most systems, /dev/tty on macOS.
		if isTerminal(fd) {
			err = &unsupportedError{"waiting for this terminal"}
		} else {
			err = errAlwaysReady
		}
	}
	b.begin(fd, want)
	if err != errAlwaysReady && id == e.id {
		b.extend(fd, was, e.events, e.gen)
	}
	b.submit()
	return err
}

// filters is the part of an interest that there are filters for. Nobody can
// write to the read end of a pipe, and only sockets have urgent data.
func filters(kind uint8, events Event) (bits uint8) {
	if events&(EventRead|EventReadClosed) != 0 {
		bits = setRead
	}
	if events&EventWrite != 0 && kind != kindReadEnd {
		bits |= setWrite
	}
	if events&EventPriority != 0 && kind == kindSocket {
		bits |= setUrgent
	}
	return bits
}

// begin begins a list of changes: without the filters in mark.
func (b *kqueue) begin(fd int, mark uint8) {
	b.changes = b.changes[:0]
	for _, f := range kqueueFilters {
		if mark&f.bit != 0 {
			b.put(fd, f.filter, evDelete, 0, 0)
		}
	}
}

// extend adds to the list: with the filters in mark. What a filter was added
// with, EV_CLEAR for one, stays with it: it cannot be changed, only deleted.
//
// The end of the data comes through the same filter as the data, and on Darwin
// through the one for urgent data as well. So who waits for the end alone, or
// for urgent data, has to be told of changes only, and then asks again; see
// collect.
func (b *kqueue) extend(fd int, mark uint8, events Event, gen uint32) {
	for _, f := range kqueueFilters {
		if mark&f.bit == 0 {
			continue
		}
		flags := evAdd
		if events&EdgeTriggered != 0 || f.bit == setRead && events&EventRead == 0 || f.bit == setUrgent {
			flags |= evClear
		}
		b.put(fd, f.filter, flags, f.fflags, gen)
	}
}

func (b *kqueue) put(fd, filter, flags int, fflags, gen uint32) {
	var ev kevent
	ev.set(fd, filter, flags|evReceipt, fflags, gen)
	b.changes = append(b.changes, ev)
}

// submit makes the changes in one call. The error is that of a filter that
// cannot be added or is not there; what is to be deleted may be gone, with the
// number of a closed descriptor.
//
// The kernel answers with the outcome of each change instead of events. Where
// it does not know EV_RECEIPT it does so if one of them fails, so the last one
// has to.
func (b *kqueue) submit() error {
	if len(b.changes) == 0 {
		return nil
	}
	if !b.receipt {
		b.put(math.MaxInt32, filterRead, evDelete, 0, 0)
	}
	b.receipts = append(b.receipts[:0], b.changes...)
	for {
		n, err := b.queue.call(b.changes, b.receipts, &unix.Timespec{})
		if err == unix.EINTR {
			continue // once more does no harm
		}
		if err != nil {
			return err
		}
		for i := range b.receipts[:n] {
			if r := &b.receipts[i]; r.gen() != 0 && r.flags()&evError != 0 && r.data() != 0 {
				return unix.Errno(r.data())
			}
		}
		return nil
	}
}
