package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// features are what IOCB_CMD_POLL can do. FeatureAnyFile is missing, because it
// refuses files that use two wait queues, such as terminals (aio_poll in
// fs/aio.c). So is FeatureInvalid: a closed descriptor ends no request.
const features = selectors.FeaturePriority | selectors.FeatureReadClosed | selectors.FeatureHangup

const iocbCmdPoll = 5 // linux/aio_abi.h, since Linux 4.18

// An iocb is struct iocb of linux/aio_abi.h. The fields without a name are 0.
type iocb struct {
	token  uint64 // aio_data: comes back in the event
	_      [2]uint32
	opcode uint16
	_      uint16
	fd     uint32
	mask   uint64 // aio_buf
	_      [4]uint64
}

// An ioEvent is struct io_event.
type ioEvent struct {
	token uint64
	_     uint64
	mask  int64 // res: what is ready; 0 for a request that was cancelled
	_     int64
}

// An aio is a selectors.Facility on Linux's asynchronous I/O. A request ends when
// its file is ready, and then has to be submitted again. Requests reach a wait
// that is under way, so the facility is live.
type aio struct {
	context uintptr
	eventfd int // always writable: a request for it ends at once, which wakes

	mu       sync.Mutex
	requests map[int]*iocb // by descriptor
	byToken  map[uint64]*iocb
	ended    []uint64 // tokens of requests to submit again

	events []ioEvent // only Wait uses it
}

func newAIO() (*aio, error) {
	a := &aio{requests: make(map[int]*iocb), byToken: make(map[uint64]*iocb)}
	const limit = 8192 // of requests; fs.aio-max-nr limits their sum over all processes
	if _, _, err := unix.Syscall(unix.SYS_IO_SETUP, limit, uintptr(unsafe.Pointer(&a.context)), 0); err != 0 {
		return nil, fmt.Errorf("io_setup: %w", err)
	}
	var err error
	if a.eventfd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Syscall(unix.SYS_IO_DESTROY, a.context, 0, 0)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return a, nil
}

func (a *aio) submit(request *iocb) error {
	_, _, err := unix.Syscall(unix.SYS_IO_SUBMIT, a.context, 1, uintptr(unsafe.Pointer(&request)))
	switch err {
	case 0:
		return nil
	case unix.EINVAL:
		return fmt.Errorf("io_submit: %w for this kind of file", errors.ErrUnsupported)
	}
	return fmt.Errorf("io_submit: %w", err)
}

// Add submits a request.
func (a *aio) Add(fd int, events selectors.Event, token uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	request := &iocb{token: token, opcode: iocbCmdPoll, fd: uint32(fd), mask: toPoll(events)}
	if err := a.submit(request); err != nil {
		return err
	}
	a.cancel(fd) // of Modify
	a.requests[fd], a.byToken[token] = request, request
	return nil
}

// Modify submits a new request before it cancels the old one, which stays if that
// fails.
func (a *aio) Modify(fd int, events selectors.Event, token uint64) error {
	return a.Add(fd, events, token)
}

// Remove cancels a request. The kernel finds it by its address, so that the
// descriptor may be closed.
func (a *aio) Remove(fd int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel(fd)
}

func (a *aio) cancel(fd int) {
	request := a.requests[fd]
	if request == nil {
		return
	}
	delete(a.requests, fd)
	delete(a.byToken, request.token)
	// EINVAL: it has ended. Its event is stale then, as that of a cancelled one.
	var event ioEvent
	unix.Syscall(unix.SYS_IO_CANCEL, a.context, uintptr(unsafe.Pointer(request)), uintptr(unsafe.Pointer(&event)))
}

// Wait submits the requests again that have ended, and waits for events.
func (a *aio) Wait(timeout time.Duration, report func(token uint64, ready selectors.Event)) error {
	if err := a.submitEnded(); err != nil {
		return err
	}
	limit := unix.NsecToTimespec(int64(max(timeout, 0)))
	wait := &limit
	if timeout < 0 {
		wait = nil
	}
	for {
		n, _, err := unix.Syscall6(unix.SYS_IO_GETEVENTS, a.context, 1, uintptr(len(a.events)),
			uintptr(unsafe.Pointer(&a.events[0])), uintptr(unsafe.Pointer(wait)), 0)
		if err != 0 {
			return fmt.Errorf("io_getevents: %w", err) // EINTR is no error for the selector
		}
		a.reportAll(a.events[:n], report)
		if int(n) < len(a.events) {
			return nil
		}
		limit = unix.Timespec{} // there may be more
		wait = &limit
	}
}

// submitEnded makes level-triggered what reports once. A request for a file that
// is still ready ends at once.
func (a *aio) submitEnded() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ; len(a.ended) > 0; a.ended = a.ended[:len(a.ended)-1] {
		request := a.byToken[a.ended[len(a.ended)-1]]
		if request == nil {
			continue // removed or modified since
		}
		if err := a.submit(request); errors.Is(err, unix.EBADF) {
			a.cancel(int(request.fd)) // the descriptor was closed
		} else if err != nil {
			return err
		}
	}
	if need := len(a.requests) + 16; len(a.events) < need {
		a.events = make([]ioEvent, 2*need)
	}
	return nil
}

func (a *aio) reportAll(events []ioEvent, report func(token uint64, ready selectors.Event)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range events {
		request := a.byToken[e.token]
		if request == nil { // a wake, or stale
			continue
		}
		// A request keeps its file open when the descriptor is closed.
		if _, err := unix.FcntlInt(uintptr(request.fd), unix.F_GETFD, 0); err != nil {
			a.cancel(int(request.fd))
			continue
		}
		a.ended = append(a.ended, e.token)
		report(e.token, fromPoll(e.mask))
	}
}

// Wake submits a request that ends at once. Its token is 0.
func (a *aio) Wake() error {
	return a.submit(&iocb{opcode: iocbCmdPoll, fd: uint32(a.eventfd), mask: unix.POLLOUT})
}

// Close cancels all requests.
func (a *aio) Close() error {
	unix.Syscall(unix.SYS_IO_DESTROY, a.context, 0, 0)
	return unix.Close(a.eventfd)
}

var masks = []struct {
	event selectors.Event
	mask  uint64
}{
	{selectors.EventRead, unix.POLLIN},
	{selectors.EventWrite, unix.POLLOUT},
	{selectors.EventPriority, unix.POLLPRI},
	{selectors.EventReadClosed, unix.POLLRDHUP},
	{selectors.EventHangup, unix.POLLHUP},
	{selectors.EventError, unix.POLLERR},
}

func toPoll(events selectors.Event) (mask uint64) {
	if events&selectors.EventRead != 0 {
		events |= selectors.EventReadClosed // the hint
	}
	for _, m := range masks {
		if events&m.event != 0 {
			mask |= m.mask
		}
	}
	return mask
}

func fromPoll(mask int64) (ready selectors.Event) {
	for _, m := range masks {
		if uint64(mask)&m.mask != 0 {
			ready |= m.event
		}
	}
	return ready
}
