package selectors_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

// TestOwnDescriptorsNonblocking: no descriptor of a selector is in blocking mode,
// so that a wake never waits.
func TestOwnDescriptorsNonblocking(t *testing.T) {
	backendtest.EachBackend(t, func(t *testing.T, b selectors.Backend) {
		use := func() {
			s := backendtest.New(t, b)
			backendtest.Select(t, s, time.Millisecond)
		}
		use() // opens what the process opens only once
		before := fdtest.OpenFiles(t)
		use()
		for _, line := range fdtest.OpenFiles(t) {
			number, file, _ := strings.Cut(line, " ")
			if slices.Contains(before, line) || strings.Contains(file, "eventpoll") { // O_NONBLOCK has no effect on epoll_wait
				continue
			}
			fd, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && flags&unix.O_NONBLOCK == 0 {
				t.Errorf("fd %s is in blocking mode", line)
			}
		}
	})
}
