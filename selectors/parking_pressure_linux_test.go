package selectors

import (
	"flag"
	"fmt"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

var newsTriggers = flag.Int("news.triggers", 1, "pressure triggers of each selector in TestPressureNews")

// TestPressureNews: triggers of pressure stall information are reported. The
// kernel triggers each at most once in a window, and the shortest that every user may
// have is two seconds (kernel/sched/psi.c, psi_trigger_create). Therefore the selectors
// wait side by side, for few pieces of news each. All triggers go off at the same
// time, so news that is lost is noticed if it does not come with that of the others.
func TestPressureNews(t *testing.T) {
	const rounds = 3
	triggers := 0
	reports := make(chan string, 1<<16)
	for name, new := range constructors() {
		s, err := new()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		for range *newsTriggers {
			triggers++
			mustRegister(t, s, openTrigger(t), EventPriority)
		}
		t.Cleanup(selectInBackground(t, s, func(r Ready) { reports <- fmt.Sprint(name, " ", r.Key.FD) }))
	}
	stop := pressProcessors(t)
	defer stop()
	for i := range rounds {
		reported := map[string]bool{}
		limit := time.After(newsLimit)
		for len(reported) < triggers {
			select {
			case who := <-reports:
				if reported[who] && i > 0 {
					t.Fatalf("round %d: %s was reported again when only %d of %d had been", i+1, who, len(reported), triggers)
				}
				reported[who] = true
			case <-limit:
				t.Fatalf("round %d: %d of %d triggers were reported in %v", i+1, len(reported), triggers, newsLimit)
			}
		}
	}
}

func openTrigger(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/proc/pressure/cpu", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs pressure stall information: ", err)
	}
	fd = fdtest.Own(t, fd)
	if _, err := unix.Write(fd, []byte("some 2000 2000000\x00")); err != nil {
		t.Skip("needs triggers of pressure stall information: ", err)
	}
	return fd
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
