//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && simkqueue)

package selectors

import (
	"math"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/kqueue"
	"goselectors/selectors/internal/sys"
)

// Bits of entry.filters: the filters that are set, and the kind of file.
const (
	setRead uint8 = 1 << iota
	setWrite
	setUrgent

	setBits = setRead | setWrite | setUrgent
)

const (
	kindOther    = iota << 3
	kindSocket   // has urgent data, and each direction ends separately
	kindPipe     // a pipe that is open for reading and writing
	kindReadEnd  // of a pipe
	kindWriteEnd // of a pipe
	kindDevice   // may be one that the kernel does not watch
)

var kqueueFilters = [...]struct {
	bit    uint8
	filter int
	fflags uint32
}{
	{setRead, kqueue.FilterRead, 0},
	{setWrite, kqueue.FilterWrite, 0},
	{setUrgent, kqueue.FilterUrgent, kqueue.NoteOOB},
}

func (b *kqueueBackend) add(fd int, e *entry, replaces bool) error {
	id, kind, err := b.identify(fd, e.events)
	if err != nil && err != errAlwaysReady {
		return err
	}
	if replaces && id == e.fileID {
		if old := b.table.find(fd); b.holds(fd, old) {
			e.filters = old.filters
			return errExists
		}
	}
	e.fileID = id
	if err == nil {
		err = b.set(fd, e, id, kind, e.events, e.generation)
	}
	return err
}

func (b *kqueueBackend) modify(fd int, e *entry, events Event, generation uint32) error {
	id, kind, err := b.identify(fd, events)
	if err == nil {
		err = b.set(fd, e, id, kind, events, generation)
	}
	if err == errAlwaysReady {
		e.filters = kind
	}
	if err == nil || err == errAlwaysReady {
		e.fileID = id
	}
	return err
}

func (b *kqueueBackend) remove(fd int, e *entry) {
	b.startDeletes(fd, e.filters)
	b.submit()
	e.filters &^= setBits
}

// identify returns which file a descriptor is, and the kind of file.
func (b *kqueueBackend) identify(fd int, events Event) (id uint64, kind uint8, err error) {
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return 0, 0, err
	}
	id = sys.StatID(&st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return id, kindSocket, nil
	case unix.S_IFCHR:
		return id, kindDevice, nil
	case unix.S_IFIFO:
		if !b.dialect.FIFOEnd && events&(EventRead|EventReadClosed) != 0 && kqueue.IsNamedPipe(&st) {
			return 0, 0, sys.Unsupported("reading from a named pipe")
		}
		switch mode, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); mode & unix.O_ACCMODE {
		case unix.O_RDONLY:
			return id, kindReadEnd, nil
		case unix.O_WRONLY:
			return id, kindWriteEnd, nil
		}
		return id, kindPipe, nil
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
		// The kernels report a regular file as readable only before its end.
		if kqueue.IsPlainFile(fd) {
			return id, kindOther, errAlwaysReady
		}
	}
	return id, kindOther, nil
}

// holds reports whether the kernel still has the filters of an entry: it drops
// them when the number is closed, whatever file the number has afterwards.
// It asks by enabling a filter that is enabled. That changes nothing, except
// that an edge-triggered key that is ready is reported once more.
func (b *kqueueBackend) holds(fd int, e *entry) bool {
	for _, f := range kqueueFilters {
		if e.filters&f.bit != 0 {
			b.changes = b.changes[:0]
			b.appendChange(fd, f.filter, kqueue.Enable, f.fflags, e.generation)
			return b.submit() == nil
		}
	}
	return true // it has no filters
}

// set replaces the filters of an entry by those for events, in one call. If that
// fails it restores them.
func (b *kqueueBackend) set(fd int, e *entry, id uint64, kind uint8, events Event, generation uint32) error {
	was, want := e.filters, kind|filters(kind, events)
	b.startDeletes(fd, was)
	b.appendAdds(fd, want, events, generation)
	err := b.submit()
	switch {
	case err == nil:
		e.filters = want
		return nil
	case err == unix.EPIPE:
		// The reading end of this pipe is closed: every write fails at once.
		err = errAlwaysReady
	case kind == kindDevice && (err == unix.EINVAL || err == unix.ENODEV || err == unix.ENOTSUP || err == unix.EOPNOTSUPP || err == unix.EPERM):
		// /dev/null and the like on most systems, /dev/tty on macOS.
		if kqueue.IsTerminal(fd) {
			err = sys.Unsupported("waiting for this terminal")
		} else {
			err = errAlwaysReady
		}
	}
	b.startDeletes(fd, want)
	if err != errAlwaysReady && id == e.fileID {
		b.appendAdds(fd, was, e.events, e.generation)
	}
	b.submit()
	return err
}

// filters returns the filters for an interest. The read end of a pipe is never
// writable, and only sockets have urgent data.
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

// startDeletes starts a list of changes that deletes the given filters.
func (b *kqueueBackend) startDeletes(fd int, filters uint8) {
	b.changes = b.changes[:0]
	for _, f := range kqueueFilters {
		if filters&f.bit != 0 {
			b.appendChange(fd, f.filter, kqueue.Delete, 0, 0)
		}
	}
}

// appendAdds appends changes that add the given filters. The flags that a filter
// was added with, such as EV_CLEAR, cannot be changed; it has to be deleted first.
//
// The end of the data comes through the same filter as the data, and on Darwin
// through the one for urgent data as well. So a key that waits for the end alone,
// or for urgent data, is added with EV_CLEAR, which reports changes only, and is
// added again after each report; see collect.
func (b *kqueueBackend) appendAdds(fd int, filters uint8, events Event, generation uint32) {
	for _, f := range kqueueFilters {
		if filters&f.bit == 0 {
			continue
		}
		flags := kqueue.Add
		if events&EdgeTriggered != 0 || f.bit == setRead && events&EventRead == 0 || f.bit == setUrgent {
			flags |= kqueue.Clear
		}
		b.appendChange(fd, f.filter, flags, f.fflags, generation)
	}
}

func (b *kqueueBackend) appendChange(fd, filter, flags int, fflags, generation uint32) {
	var ev kqueue.Event
	ev.Set(fd, filter, flags|kqueue.Receipt, fflags, generation)
	b.changes = append(b.changes, ev)
}

// submit makes the changes in one call. It returns the error of a filter that
// could not be added or enabled. A delete may fail: the filter is gone if the
// descriptor was closed.
//
// With EV_RECEIPT the kernel answers with the outcome of each change instead of
// events. Systems without it do so only if a change fails, so the last change is
// one that has to.
func (b *kqueueBackend) submit() error {
	if len(b.changes) == 0 {
		return nil
	}
	if !b.dialect.Receipts {
		b.appendChange(math.MaxInt32, kqueue.FilterRead, kqueue.Delete, 0, 0)
	}
	b.receipts = append(b.receipts[:0], b.changes...)
	for {
		n, err := b.queue.Call(b.changes, b.receipts, &unix.Timespec{})
		if err == unix.EINTR {
			continue // making the changes again does no harm
		}
		if err != nil {
			return err
		}
		for i := range b.receipts[:n] {
			if r := &b.receipts[i]; r.Tag() != 0 && r.Flags()&kqueue.Error != 0 && r.Data() != 0 {
				return unix.Errno(r.Data())
			}
		}
		return nil
	}
}
