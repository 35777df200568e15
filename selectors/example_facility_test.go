//go:build unix

package selectors_test

import (
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// examplePoll is a selectors.Facility on poll(2). It watches for EventRead and
// EventWrite only. The first element of the list is the reading end of a pipe,
// with token 0, for Wake.
type examplePoll struct {
	wakeRead, wakeWrite int

	mu     sync.Mutex // Add, Modify and Remove run also during a Wait
	fds    []unix.PollFd
	tokens []uint64
}

func newExamplePoll() (*examplePoll, error) {
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	for _, fd := range pipe {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, true)
	}
	p := &examplePoll{wakeRead: pipe[0], wakeWrite: pipe[1]}
	return p, p.Add(p.wakeRead, selectors.EventRead, 0)
}

func (p *examplePoll) Add(fd int, events selectors.Event, token uint64) error {
	p.Remove(fd) // for Modify
	p.mu.Lock()
	defer p.mu.Unlock()
	entry := unix.PollFd{Fd: int32(fd)}
	if events&selectors.EventRead != 0 {
		entry.Events |= unix.POLLIN
	}
	if events&selectors.EventWrite != 0 {
		entry.Events |= unix.POLLOUT
	}
	p.fds, p.tokens = append(p.fds, entry), append(p.tokens, token)
	return nil
}

func (p *examplePoll) Modify(fd int, events selectors.Event, token uint64) error {
	return p.Add(fd, events, token)
}

func (p *examplePoll) Remove(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.fds, func(entry unix.PollFd) bool { return int(entry.Fd) == fd })
	if i >= 0 {
		p.fds, p.tokens = slices.Delete(p.fds, i, i+1), slices.Delete(p.tokens, i, i+1)
	}
}

func (p *examplePoll) Wait(timeout time.Duration, report func(token uint64, ready selectors.Event)) error {
	p.mu.Lock()
	fds, tokens := slices.Clone(p.fds), slices.Clone(p.tokens)
	p.mu.Unlock()
	milliseconds := -1
	if timeout >= 0 { // rounded up: a wait may not end early
		milliseconds = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	if _, err := unix.Poll(fds, milliseconds); err != nil {
		return os.NewSyscallError("poll", err)
	}
	if fds[0].Revents != 0 {
		unix.Read(p.wakeRead, make([]byte, 64))
	}
	for i := 1; i < len(fds); i++ {
		var ready selectors.Event
		for mask, event := range map[int]selectors.Event{
			unix.POLLIN:   selectors.EventRead,
			unix.POLLOUT:  selectors.EventWrite,
			unix.POLLHUP:  selectors.EventHangup,
			unix.POLLERR:  selectors.EventError,
			unix.POLLNVAL: selectors.EventInvalid,
		} {
			if int(fds[i].Revents)&mask != 0 {
				ready |= event
			}
		}
		report(tokens[i], ready)
	}
	return nil
}

func (p *examplePoll) Wake() error {
	if _, err := unix.Write(p.wakeWrite, []byte{0}); err != unix.EAGAIN { // EAGAIN: full of wakes
		return os.NewSyscallError("write", err)
	}
	return nil
}

func (p *examplePoll) Close() error {
	unix.Close(p.wakeRead)
	return unix.Close(p.wakeWrite)
}

// A selector on poll(2). The facility makes the system calls; what it lacks,
// such as one-shot keys, NewSelector adds.
func ExampleNewSelector() {
	facility, err := newExamplePoll()
	if err != nil {
		log.Fatal(err)
	}
	sel := selectors.NewSelector(facility, selectors.FacilityTraits{
		Name:     "example",
		Features: selectors.FeatureHangup | selectors.FeatureInvalid | selectors.FeatureAnyFile,
	})
	defer sel.Close()

	read, write, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	if _, err := sel.Register(read, selectors.EventRead|selectors.OneShot, "the pipe"); err != nil {
		log.Fatal(err)
	}
	write.WriteString("hello")
	for range 2 {
		batch, err := sel.Select(10 * time.Millisecond)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(batch), "ready")
		for _, ready := range batch {
			fmt.Println(ready.Key.Data, "is ready for", ready.Events)
		}
	}
	// Output:
	// 1 ready
	// the pipe is ready for Read
	// 0 ready
}
