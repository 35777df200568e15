package recipes

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// TestMounts mounts and unmounts in a namespace of its own.
func TestMounts(t *testing.T) {
	eachSelector(t, func(t *testing.T, sel selectors.Selector) {
		dir := t.TempDir()
		thread := newNamespace(t, unix.CLONE_NEWNS)
		check(t, thread(func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }))

		var tables log[bool] // whether each table has the mount
		check(t, thread(func() error {
			fd, err := WatchMounts(sel, "/proc/thread-self/mounts", func(table []byte, err error) {
				if err != nil {
					t.Error(err)
				}
				tables.add(bytes.Contains(table, []byte(" "+dir+" tmpfs ")))
			})
			if err == nil {
				t.Cleanup(func() { Close(sel, fd) })
			}
			return err
		}))
		expect(t, sel, &tables, nothing, false)
		mount := func() error { return thread(func() error { return unix.Mount("none", dir, "tmpfs", 0, "") }) }
		unmount := func() error { return thread(func() error { return unix.Unmount(dir, 0) }) }
		for range 5 {
			expect(t, sel, &tables, mount, true)
			expect(t, sel, &tables, unmount, false)
			// Changes while nothing waits, of which the second hides the first.
			check(t, mount())
			check(t, unmount())
			time.Sleep(quietTime)
			expect(t, sel, &tables, nothing, false)
		}
	})
}
