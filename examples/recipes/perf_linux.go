package recipes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// A PerfRing is a perf event with its ring buffer.
type PerfRing struct {
	FD     int
	memory []byte
	header *unix.PerfEventMmapPage
	data   []byte
}

// OpenPerf opens a perf event of a thread (0 is the calling one) with a ring buffer of
// pages, a power of two. The kernel reports the ring as readable once every
// attr.Wakeup samples. It drops records for which the ring has no room.
func OpenPerf(attr *unix.PerfEventAttr, tid, pages int) (*PerfRing, error) {
	attr.Size = uint32(unsafe.Sizeof(*attr))
	fd, err := unix.PerfEventOpen(attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	page := os.Getpagesize()
	memory, err := unix.Mmap(fd, 0, (1+pages)*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &PerfRing{fd, memory, (*unix.PerfEventMmapPage)(unsafe.Pointer(&memory[0])), memory[page:]}, nil
}

// Read calls record with the type and the body of each record in the ring and gives
// the space back to the kernel.
func (r *PerfRing) Read(record func(kind uint32, body []byte)) {
	size := uint64(len(r.data))
	tail := r.header.Data_tail // only this side writes it
	head := atomic.LoadUint64(&r.header.Data_head)
	for tail != head {
		// A record is: type (4 bytes), misc, size (2 bytes each), body. Records are aligned
		// to 8 bytes, so only the body can wrap around.
		header := r.data[tail%size:][:8]
		end := tail + uint64(binary.NativeEndian.Uint16(header[6:]))
		body := make([]byte, end-tail-8)
		n := copy(body, r.data[(tail+8)%size:])
		copy(body[n:], r.data)
		record(binary.NativeEndian.Uint32(header), body)
		tail = end
	}
	atomic.StoreUint64(&r.header.Data_tail, tail)
}

// Close unmaps the ring and closes the descriptor, which must not be registered.
func (r *PerfRing) Close() {
	unix.Munmap(r.memory)
	unix.Close(r.FD)
}

// WatchPerf calls record with each record. When the observed thread has ended it closes
// the ring and calls ended. It needs [selectors.FeatureHangup] to see that, which the
// select backend does not have. On error the ring stays open.
func WatchPerf(sel selectors.Selector, ring *PerfRing, record func(kind uint32, body []byte), ended func()) error {
	if sel.Features()&selectors.FeatureHangup == 0 {
		return fmt.Errorf("%v: %w", selectors.FeatureHangup, errors.ErrUnsupported)
	}
	// The ring must be mapped before Register: without it poll(2) says POLLHUP. A wake-up
	// is POLLIN until it is reported once, whether or not the ring is empty (perf_poll in
	// kernel/events/core.c exchanges it for 0). So the handler has to read all.
	_, err := sel.Register(ring.FD, selectors.EventRead, func(ready selectors.Ready) {
		ring.Read(record)
		if ready.Events&selectors.EventHangup != 0 {
			sel.Unregister(ring.FD)
			ring.Close()
			ended()
		}
	})
	if err == nil {
		ring.Read(record) // on epoll Register takes a wake-up that came before it
	}
	return err
}
