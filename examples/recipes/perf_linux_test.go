package recipes

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// TestPerf observes the page faults of a thread: a sample with the address of each, and
// a wake-up for each. All samples together fill the ring more than once.
func TestPerf(t *testing.T) {
	const rounds, faults = 10, 32
	page := os.Getpagesize()
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		pages, err := unix.Mmap(-1, 0, rounds*faults*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		check(t, err)
		t.Cleanup(func() { unix.Munmap(pages) })
		check(t, unix.Madvise(pages, unix.MADV_NOHUGEPAGE))
		first := uintptr(unsafe.Pointer(&pages[0]))

		var samples log[int] // the numbers of the pages
		// A record has 24 bytes, so that one of them wraps around the end of the ring.
		record := func(kind uint32, body []byte) {
			if kind != unix.PERF_RECORD_SAMPLE || len(body) != 16 {
				t.Fatalf("record of type %d with %d bytes", kind, len(body))
			}
			// The faults of Go's own memory are left out.
			if at := uintptr(binary.NativeEndian.Uint64(body[8:])) - first; at < uintptr(len(pages)) {
				samples.add(int(at) / page)
			}
		}
		var ends log[string]
		thread, end := newThread(t)
		err = thread(func() error {
			ring, err := OpenPerf(&unix.PerfEventAttr{
				Type:        unix.PERF_TYPE_SOFTWARE,
				Config:      unix.PERF_COUNT_SW_PAGE_FAULTS,
				Sample:      1,
				Sample_type: unix.PERF_SAMPLE_TID | unix.PERF_SAMPLE_ADDR,
				Wakeup:      1,
				Bits:        unix.PerfBitExcludeKernel,
			}, 0, 1)
			if err != nil {
				return err
			}
			return WatchPerf(sel, ring, record, func() { ends.add("ended") })
		})
		for _, unavailable := range []error{unix.ENOENT, unix.ENOSYS, unix.EPERM, unix.EACCES, errors.ErrUnsupported} {
			if errors.Is(err, unavailable) {
				t.Skip("needs perf events: ", err)
			}
		}
		check(t, err)
		for round := range rounds {
			var want []int
			for i := range faults {
				want = append(want, round*faults+i)
			}
			await(t, sel, func() error {
				return thread(func() error {
					for _, i := range want {
						pages[i*page] = 1
					}
					return nil
				})
			}, func() bool { return len(samples.entries) >= faults })
			// The wake-up of a sample that has been read with the one before it may follow.
			for reports := 0; ; reports++ {
				batch, err := sel.Select(quietTime)
				check(t, err)
				if len(batch) == 0 {
					break
				}
				if reports > 2*faults {
					t.Fatal("the ring is not silent")
				}
				batch[0].Key.Data.(Handler)(batch[0])
			}
			if diff := cmp.Diff(want, samples.take()); diff != "" {
				t.Fatalf("samples (-want +got):\n%s", diff)
			}
		}
		expect(t, sel, &ends, func() error { end(); return nil }, "ended")
		expectKeys(t, sel, 0)
	})
}
