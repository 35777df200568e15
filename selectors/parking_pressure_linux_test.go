package selectors

import (
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// TestPressureNews: a trigger of pressure stall information is reported. The
// kernel triggers it at most once in a window, and the shortest that every user may
// have is two seconds (kernel/sched/psi.c, psi_trigger_create). Therefore the selectors
// wait side by side, for few pieces of news.
func TestPressureNews(t *testing.T) {
	type waiting struct {
		name    string
		reports chan struct{}
	}
	var selectors []waiting
	for name, new := range constructors() {
		fd, err := unix.Open("/proc/pressure/cpu", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skip("needs pressure stall information: ", err)
		}
		fd = fdtest.Own(t, fd)
		if _, err := unix.Write(fd, []byte("some 2000 2000000\x00")); err != nil {
			t.Skip("needs triggers of pressure stall information: ", err)
		}
		s, err := new()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		mustRegister(t, s, fd, EventPriority)
		reports := make(chan struct{}, 1)
		t.Cleanup(selectInBackground(t, s, func(Ready) {
			select {
			case reports <- struct{}{}:
			default:
			}
		}))
		selectors = append(selectors, waiting{name, reports})
	}
	for i := range 2 {
		for _, s := range selectors {
			select {
			case <-s.reports:
			default:
			}
		}
		stop := pressProcessors(t)
		limit := make(chan struct{})
		timer := time.AfterFunc(newsLimit, func() { close(limit) })
		for _, s := range selectors {
			select {
			case <-s.reports:
			case <-limit:
				t.Errorf("%s: no report in %v of piece %d of news", s.name, newsLimit, i+1)
			}
		}
		timer.Stop()
		stop()
		if t.Failed() {
			return
		}
	}
}

// pressProcessors keeps more processes running than there are processors, until
// stop is called.
func pressProcessors(t *testing.T) (stop func()) {
	var processes []*exec.Cmd
	stop = func() {
		for _, p := range processes {
			p.Process.Kill()
			p.Wait()
		}
	}
	for range runtime.NumCPU() + 1 {
		p := exec.Command("sh", "-c", "while :; do :; done")
		if err := p.Start(); err != nil {
			stop()
			t.Skip("needs processes: ", err)
		}
		processes = append(processes, p)
	}
	return stop
}
