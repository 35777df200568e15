package selectors

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/sys"
)

// hasStaleEvents reports whether the last poll or sleep found events of
// registrations that have ended.
func (b *epoll) hasStaleEvents(c *core) bool {
	return slices.ContainsFunc(b.events[:b.found], func(ev unix.EpollEvent) bool {
		e := c.table.find(int(ev.Fd))
		return ev.Fd >= 0 && (e == nil || e.generation != uint32(ev.Pad))
	})
}

// pollRest harvests the events that did not fit into the array. The kernel reports
// first what it has not reported yet (fs/eventpoll.c, ep_send_events, moves
// level-triggered files to the end of its list), then repeats events, which are
// merged.
func (b *epoll) pollRest() {
	type registration struct{ fd, generation int32 }
	index := make(map[registration]int)
	merged := 0
	for b.found == len(b.events) {
		b.events = append(b.events, make([]unix.EpollEvent, len(b.events))...)
		n, err := sys.EpollPoll(b.fd, b.events[b.found:], true)
		if err != nil {
			return
		}
		last := b.found + n
		b.found = merged
		for _, ev := range b.events[merged:last] {
			at, repeated := index[registration{ev.Fd, ev.Pad}]
			if repeated {
				b.events[at].Events |= ev.Events
				continue
			}
			index[registration{ev.Fd, ev.Pad}] = b.found
			b.events[b.found] = ev
			b.found++
		}
		merged = b.found
	}
}

// repair repeats the changes that the kernel has refused. If there are orphans, it
// then moves all registrations to a new epoll set, which leaves them behind.
func (b *epoll) repair(c *core) error {
	if err := b.retryRefused(c); err != nil || c.orphans == 0 {
		return err
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	defer unix.Close(set)
	if err := b.copyTo(set, c); err != nil {
		return err
	}
	// The new set takes the old one's number, so that b.fd and the gate keep it.
	// RLIMIT_NOFILE may be lower than that number by now: then this is EBADF.
	if err := unix.Dup3(set, b.fd, unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("dup3", err)
	}
	b.mayHaveOrphans = false
	b.waiter.SetReplaced()
	return nil
}

// copyTo adds to a new set all that the old one has, except orphans. It fails if
// one registration fails: fs.epoll.max_user_watches may not allow that many twice.
func (b *epoll) copyTo(set int, c *core) error {
	err := b.waiter.EachFile(func(fd int) error { return watchOwn(set, fd) })
	c.table.all(func(e *entry) {
		if err != nil || e.state&alwaysReady != 0 {
			return
		}
		var held bool
		if held, err = b.holds(e); held {
			if b.classifyNow(e.key.FD, e); e.nesting&fileTakesNews != 0 {
				c.recheckLater(e.key.FD, true) // adding it asks the file
			}
			if e.state&muted != 0 {
				c.checkHints(e.key.FD, e) // the new set reports a hint that lasts once more
			}
			err = os.NewSyscallError("epoll_ctl", epollCtl(set, unix.EPOLL_CTL_ADD, e.key.FD, maskOf(e), e.generation))
		}
	})
	return err
}

// maskOf returns the mask of an entry in its present state.
func maskOf(e *entry) uint32 {
	switch {
	case e.state&edgeWatched != 0:
		return everyEdge
	case e.state&disabled != 0:
		return unix.EPOLLONESHOT // registered, but it reports nothing
	case e.state&muted != 0:
		return toEpoll(e.events) | unix.EPOLLET
	}
	return toEpoll(e.events)
}

// holds reports whether the set has a registration of the file that now has the
// entry's number. The number may have been reused by a file that was not
// registered, or for which only an orphan exists.
func (b *epoll) holds(e *entry) (bool, error) {
	fd := e.key.FD
	if e.fileID != 0 {
		id, err := sys.FileID(fd)
		if err == unix.EBADF {
			return false, nil
		}
		if err != nil || id != e.fileID {
			return false, err
		}
	}
	switch err := b.ctl(unix.EPOLL_CTL_ADD, fd, 0, 0); err {
	case unix.EEXIST: // comes before every shortage (fs/eventpoll.c, do_epoll_ctl)
		return true, nil
	case nil:
		return false, os.NewSyscallError("epoll_ctl", b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0))
	case unix.EBADF, unix.EPERM, unix.EINVAL, unix.ELOOP: // closed, or another file, which cannot be added
		return false, nil
	default:
		return false, os.NewSyscallError("epoll_ctl", err)
	}
}

// noteRefused notes that the kernel's registration of an entry is not the one that it
// should be, because the kernel refused a change. repair makes the change.
func (b *epoll) noteRefused(fd int, e *entry) {
	if !slices.Contains(b.refused, fd) {
		b.refused = append(b.refused, fd)
		e.fileID, _ = sys.FileID(fd)
	}
	b.core.requestRepair()
}

// wasRefused reports whether the kernel's registration of a file is missing, for
// an entry with the number and the fileID of an existing one.
func (b *epoll) wasRefused(fd int, e *entry) (bool, error) {
	if !slices.Contains(b.refused, fd) {
		return false, nil
	}
	id, err := sys.FileID(fd)
	return err == nil && id == e.fileID, err
}

// dropRefused is called when the kernel has taken a change of a registration or its
// end.
func (b *epoll) dropRefused(fd int) {
	if len(b.refused) > 0 {
		b.refused = slices.DeleteFunc(b.refused, func(n int) bool { return n == fd })
	}
}

// retryRefused makes the changes that the kernel refused, or as many of them as it now
// takes.
func (b *epoll) retryRefused(c *core) (err error) {
	for _, fd := range slices.Clone(b.refused) {
		if e := c.table.find(fd); e != nil && e.state&alwaysReady == 0 {
			id, fdErr := sys.FileID(fd)
			if fdErr == nil && (id == e.fileID || e.fileID == 0) {
				fdErr = b.overwrite(fd, maskOf(e), e.generation)
				if e.nesting&fileTakesNews != 0 {
					c.recheckLater(fd, true)
				}
			}
			if fdErr != nil && fdErr != unix.EBADF {
				err = os.NewSyscallError("epoll_ctl", fdErr)
				continue
			}
		}
		b.dropRefused(fd)
	}
	return err
}

// overwrite makes a registration, whatever the set has for the descriptor: nothing,
// or a registration of any mask.
func (b *epoll) overwrite(fd int, mask, generation uint32) error {
	err := b.ctl(unix.EPOLL_CTL_MOD, fd, mask, generation)
	if err == unix.EINVAL { // one of the two is exclusive, see setMask
		if err = b.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0); err == nil {
			err = unix.ENOENT
		}
	}
	if err == unix.ENOENT {
		err = b.ctl(unix.EPOLL_CTL_ADD, fd, mask, generation)
	}
	return err
}
