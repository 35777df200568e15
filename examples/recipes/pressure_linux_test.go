package recipes

import (
	"bytes"
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// Of stall, in a window of 2 s: the shortest without CAP_SYS_RESOURCE.
const millisecond = "some 1000 2000000"

// A pressureReport is a call of WatchPressure's callback.
type pressureReport struct {
	Averages bool
	Err      error
}

func watchPressure(t *testing.T, sel selectors.Selector, name string) *log[pressureReport] {
	t.Helper()
	var reports log[pressureReport]
	fd, err := WatchPressure(sel, name, millisecond, func(averages []byte, err error) {
		reports.add(pressureReport{bytes.HasPrefix(averages, []byte("some avg10=")), err})
	})
	for _, unavailable := range []error{unix.ENOENT, unix.EOPNOTSUPP, unix.EPERM, unix.EACCES} {
		if errors.Is(err, unavailable) {
			t.Skip("needs pressure stall information: ", err)
		}
	}
	check(t, err)
	t.Cleanup(func() {
		if _, err := sel.Key(fd); err == nil {
			Close(sel, fd)
		}
	})
	return &reports
}

// TestPressure makes more processes busy than there are processors.
func TestPressure(t *testing.T) {
	dir := newCgroup(t)
	for range runtime.NumCPU() + 1 {
		startInCgroup(t, dir, "while :; do :; done")
	}
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		system := watchPressure(t, sel, "/proc/pressure/cpu")
		group := watchPressure(t, sel, filepath.Join(dir, "cpu.pressure"))
		await(t, sel, nothing, func() bool { return len(system.entries) >= 2 && len(group.entries) >= 2 })
		for _, got := range append(system.take(), group.take()...) {
			if want := (pressureReport{Averages: true}); got != want {
				t.Fatalf("reported %+v, want %+v", got, want)
			}
		}
	})
}

// TestPressureEnd removes a cgroup, which ends its triggers.
func TestPressureEnd(t *testing.T) {
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		dir := newCgroup(t)
		reports := watchPressure(t, sel, filepath.Join(dir, "cpu.pressure"))
		expect(t, sel, reports, nothing)
		expect(t, sel, reports, func() error { return removeCgroup(dir) }, pressureReport{Err: unix.ENODEV})
		expectKeys(t, sel, 0)
	})
}

// TestPressureErrors requires that nothing stays registered if the kernel refuses the
// file or the trigger.
func TestPressureErrors(t *testing.T) {
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		for _, c := range []struct{ name, trigger string }{
			{"/proc/pressure/nosuchresource", millisecond},
			{"/proc/pressure/cpu", "some"},
			{"/proc/pressure/cpu", "some 1000 12000000"}, // the window is too long
		} {
			if _, err := WatchPressure(sel, c.name, c.trigger, nil); err == nil {
				t.Errorf("%s accepts %q", c.name, c.trigger)
			}
			expectKeys(t, sel, 0)
		}
	})
}
