package recipes

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// newCgroup makes a version 2 cgroup and returns its directory. The test is skipped
// where that is not allowed.
func newCgroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	check(t, err)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[2] == "cgroup2" {
			dir, err := os.MkdirTemp(fields[1], "recipes")
			if err != nil {
				t.Skip("needs a writable cgroup: ", err)
			}
			t.Cleanup(func() { removeCgroup(dir) })
			return dir
		}
	}
	t.Skip("needs a version 2 cgroup, and none is mounted")
	panic("unreachable")
}

// removeCgroup removes a cgroup. The kernel may take some time until it no longer
// counts processes that have ended.
func removeCgroup(dir string) (err error) {
	for start := time.Now(); time.Since(start) < timeout; time.Sleep(time.Millisecond) {
		if err = os.Remove(dir); !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return err
}

// startInCgroup starts a shell in a cgroup. It returns a function that kills it.
func startInCgroup(t *testing.T, dir, script string) (kill func() error) {
	t.Helper()
	group, err := os.Open(dir)
	check(t, err)
	defer group.Close()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Pdeathsig: unix.SIGKILL}
	check(t, cmd.Start())
	kill = func() error {
		err := cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	t.Cleanup(func() { kill() })
	return kill
}

// TestCgroup starts and kills a process in a cgroup.
func TestCgroup(t *testing.T) {
	type report struct {
		Populated bool
		Err       error
	}
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		dir := newCgroup(t)
		var reports log[report]
		fd, err := WatchCgroup(sel, dir, func(events []byte, err error) {
			reports.add(report{Populated(events), err})
		})
		check(t, err)
		expect(t, sel, &reports, nothing, report{})
		for range 3 {
			var kill func() error
			expect(t, sel, &reports, func() error {
				kill = startInCgroup(t, dir, "exec sleep 60")
				return nil
			}, report{Populated: true})
			expect(t, sel, &reports, func() error { return kill() }, report{Populated: false})
		}
		Close(sel, fd)
	})
}
